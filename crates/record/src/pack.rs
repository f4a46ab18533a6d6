//! Packing: a folder becomes one file, whole or not at all. The folder stays as it is.

use crate::batch::complete;
use crate::error::{Damage, RecordError};
use crate::files;
use crate::meta::{Meta, VERSION};
use crate::packed::{self, META, MOST};
use crate::reader::Reader;
use crate::seal::{self, BLOCK, Seal, SealedTable};
use crate::sealed::LARGEST;
use crate::store::Store;
use crate::table::{ALL, EVENTS, Table};
use crate::tail::Tail;
use crate::writer::Existing;
use crate::zip::{self, HEADER, Member};
use parquet::arrow::ArrowWriter;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// Files inside.
    pub files: u64,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// What of the recording is not in it, or is damaged in it too.
    pub lost: Vec<Damage>,
}

impl Reader {
    /// Packs the recording into a new file. `progress` is told how many bytes of how many were read, and answers whether
    /// to go on. A part that was not sealed is sealed on the way, as far as it is whole.
    ///
    /// # Errors
    /// [`RecordError::Packed`], [`RecordError::BeingWritten`], [`RecordError::Exists`], [`RecordError::NotOurs`],
    /// [`RecordError::Stopped`], [`RecordError::Io`], and [`RecordError::Damaged`] where meta.json is. Nothing is left then.
    pub fn pack(
        &self,
        to: &Path,
        existing: Existing,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Packing, RecordError> {
        let Store::Folder(folder) = &self.store else {
            return Err(RecordError::Packed(self.folder().to_owned()));
        };
        if self.is_being_written() {
            return Err(RecordError::BeingWritten(folder.clone()));
        }
        may_be_made(to, existing)?;
        let mut out = Out::create(to)?;
        let mut lost = self.damage().to_vec();
        // Without it nobody would know what it is.
        let meta = self.store.read(META, files::LONGEST_JSON)?;
        files::parse_json::<Meta>(&meta, META)?;
        out.member(META.to_owned(), |content| content.put(&meta))?;
        let parts = self.store.parts()?;
        // Tails are read twice.
        let total = self.store.size().saturating_add(self.store.tail_size(&parts));
        let mut meter = Meter { read: 0, total, progress, to };
        for (number, is_sealed) in &parts {
            let tail = match is_sealed {
                true => None,
                false => match Tail::open(&seal::tail(folder, *number)) {
                    // It has been sealed since.
                    Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
                    tail => Some(tail?),
                },
            };
            let Some(tail) = tail else {
                out.segment(folder, *number, &mut meter)?;
                continue;
            };
            let Some(damage) = out.tail(tail, *number, &mut meter)? else { continue };
            if !lost.contains(&damage) {
                lost.push(damage);
            }
            if let Some((next, _)) = parts.range(number + 1..).next() {
                // Replay would be wrong after a gap that nobody sees.
                let (file, what) = (format!("seg-{next:06}"), "it and what follows are left out".to_owned());
                lost.push(Damage { file, at: None, what });
                break;
            }
        }
        let (files, bytes) = out.finish(to, existing)?;
        Ok(Packing { files, bytes, lost })
    }
}

/// Looks before anything is written; that nothing came meanwhile is seen at the end.
fn may_be_made(to: &Path, existing: Existing) -> Result<(), RecordError> {
    match (fs::symlink_metadata(to), existing) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (Err(error), _) => Err(RecordError::io(to, error)),
        (Ok(_), Existing::Refuse) => Err(RecordError::Exists(to.to_owned())),
        (Ok(meta), Existing::Replace) if meta.is_file() && packed::is_packed(to) => Ok(()),
        (Ok(_), Existing::Replace) => Err(RecordError::NotOurs(to.to_owned())),
    }
}

/// How far the reading is.
struct Meter<'a> {
    read: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
    to: &'a Path,
}

impl Meter<'_> {
    /// So much more was read.
    fn step(&mut self, bytes: u64) -> Result<(), RecordError> {
        self.read = self.read.saturating_add(bytes).min(self.total);
        let goes_on = (self.progress)(self.read, self.total);
        if goes_on { Ok(()) } else { Err(RecordError::Stopped(self.to.to_owned())) }
    }
}

/// The file being made; it goes when it is dropped before its end.
struct Out {
    file: File,
    temporary: PathBuf,
    members: Vec<Member>,
}

impl Drop for Out {
    fn drop(&mut self) {
        // Where all is well it has its name already, or a second one.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The content of a member on its way: counted, summed, written.
struct Content<'a> {
    file: &'a File,
    path: &'a Path,
    at: u64,
    length: u64,
    crc: crc32fast::Hasher,
    /// The same for each block, as seal.json has it.
    blocks: Vec<u32>,
    block: crc32fast::Hasher,
    in_block: usize,
}

impl Write for Content<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..bytes.len().min(BLOCK - self.in_block)).unwrap_or(bytes);
        self.file.write_all_at(part, self.at + self.length)?;
        self.crc.update(part);
        self.block.update(part);
        self.length += part.len() as u64;
        self.in_block += part.len();
        if self.in_block == BLOCK {
            self.end_block();
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Content<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.write_all(bytes).map_err(|e| RecordError::io(self.path, e))
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.blocks.push(block.finalize());
        self.in_block = 0;
    }
}

impl Out {
    fn create(to: &Path) -> Result<Out, RecordError> {
        let mut name: OsString = to.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let file = files::create(&temporary)?;
        Ok(Out { file, temporary, members: Vec::new() })
    }

    /// Writes a member; its length and the checksums of its blocks.
    fn member(
        &mut self,
        name: String,
        write: impl FnOnce(&mut Content<'_>) -> Result<(), RecordError>,
    ) -> Result<(u64, Vec<u32>), RecordError> {
        let header = self.members.last().map_or(0, Member::end);
        let mut content = Content {
            file: &self.file,
            path: &self.temporary,
            at: header + HEADER as u64 + name.len() as u64,
            length: 0,
            crc: crc32fast::Hasher::new(),
            blocks: Vec::new(),
            block: crc32fast::Hasher::new(),
            in_block: 0,
        };
        write(&mut content)?;
        if content.in_block > 0 {
            content.end_block();
        }
        let (length, crc, blocks) = (content.length, content.crc.finalize(), content.blocks);
        let fits = u32::try_from(length).ok().filter(|length| u64::from(*length) <= LARGEST);
        let Some(length) = fits.filter(|_| self.members.len() < MOST) else {
            return Err(RecordError::damaged(&name, LARGEST, "larger than any file of its kind"));
        };
        let member = Member { name, header, length, crc };
        let written = self.file.write_all_at(&member.bytes(), header);
        written.map_err(|e| RecordError::io(&self.temporary, e))?;
        self.members.push(member);
        Ok((length.into(), blocks))
    }

    /// Takes the files of a segment as they are: what is damaged stays so, and is found by its checksums.
    fn segment(&mut self, folder: &Path, number: u32, meter: &mut Meter<'_>) -> Result<(), RecordError> {
        let tables = by_id().into_iter().map(|table| format!("{}.parquet", table.name));
        let mut block = vec![0; BLOCK];
        for file in tables.chain(["seal.json".to_owned()]) {
            let name = format!("seg-{number:06}/{file}");
            let path = folder.join(&name);
            let mut source = match files::open(&path) {
                Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                // One byte more tells that it is too large.
                source => source?.take(LARGEST + 1),
            };
            self.member(name, |content| {
                loop {
                    let read = match source.read(&mut block) {
                        Ok(0) => return Ok(()),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        read => read.map_err(|e| RecordError::io(&path, e))?,
                    };
                    content.put(block.get(..read).unwrap_or_default())?;
                    meter.step(read as u64)?;
                }
            })?;
        }
        Ok(())
    }

    /// Seals a tail as far as it is whole; where and why it is not.
    fn tail(
        &mut self,
        mut tail: Tail,
        number: u32,
        meter: &mut Meter<'_>,
    ) -> Result<Option<Damage>, RecordError> {
        let mut seal = Seal { version: VERSION, ..Seal::default() };
        for index in 0..tail.frames.len() {
            let Some(frame) = tail.frames.get(index).copied() else { break };
            meter.step(frame.size())?;
            match tail.batch(&frame) {
                Ok(batch) if frame.table.id == EVENTS.id => {
                    seal.first.get_or_insert(frame.key as u64);
                    let last = batch.len().checked_sub(1).and_then(|row| batch.row(row).get(0));
                    seal.last = last.map(|value| value as u64);
                }
                Ok(_) => {}
                // A frame with the right checksum that cannot be decoded ends the tail.
                Err(error) => {
                    tail.damage = Some(error.into_damage()?);
                    tail.frames.truncate(index);
                }
            }
        }
        for table in by_id() {
            let frames: Vec<_> = tail.frames.iter().filter(|frame| frame.table.id == table.id).collect();
            if frames.is_empty() {
                continue;
            }
            let mut rows = 0;
            let name = format!("seg-{number:06}/{}.parquet", table.name);
            let (bytes, blocks) = self.member(name, |content| {
                let path = content.path;
                let failed = |e| RecordError::io(path, io::Error::other(e));
                let properties = Some(table.properties());
                let mut writer = ArrowWriter::try_new(content, table.schema(), properties).map_err(failed)?;
                for frame in frames {
                    let batch = tail.record_batch(frame)?;
                    rows += batch.num_rows() as u64;
                    let batch = complete(table, &batch).map_err(|e| failed(e.into()))?;
                    writer.write(&batch).map_err(failed)?;
                    meter.step(frame.size())?;
                }
                writer.close().map(|_| ()).map_err(failed)
            })?;
            seal.tables.insert(table.name.to_owned(), SealedTable { rows, bytes, blocks });
        }
        let name = format!("seg-{number:06}/seal.json");
        let text = files::json_text(&seal).map_err(|e| RecordError::io(&self.temporary, e.into()))?;
        self.member(name, |content| content.put(text.as_bytes()))?;
        Ok(tail.damage.take())
    }

    /// Writes the directory and gives the file its name; how many members there are, and how large it is.
    fn finish(self, to: &Path, existing: Existing) -> Result<(u64, u64), RecordError> {
        let at = self.members.last().map_or(0, Member::end);
        let directory = zip::directory(&self.members, at);
        let written = self.file.write_all_at(&directory, at).and_then(|()| self.file.sync_all());
        written.map_err(|e| RecordError::io(&self.temporary, e))?;
        let named = match existing {
            Existing::Replace => fs::rename(&self.temporary, to),
            // What came there meanwhile is not replaced.
            Existing::Refuse => match fs::hard_link(&self.temporary, to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(RecordError::Exists(to.to_owned()));
                }
                // A file system without such links.
                Err(_) => fs::rename(&self.temporary, to),
                linked => linked,
            },
        };
        named.map_err(|e| RecordError::io(to, e))?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A folder that may be written and not read cannot be synced.
        let _ = files::sync_folder(folder);
        Ok((self.members.len() as u64, at + directory.len() as u64))
    }
}

/// The tables in the order in which a packed file has them.
fn by_id() -> Vec<&'static Table> {
    let mut tables = ALL.to_vec();
    tables.sort_by_key(|table| table.id);
    tables
}
