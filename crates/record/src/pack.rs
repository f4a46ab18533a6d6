//! Packing: a folder becomes one file, whole or not at all. The folder stays as it is.

use crate::error::{Damage, RecordError};
use crate::files;
use crate::meta::Meta;
use crate::packed::{self, META, MOST};
use crate::reader::Reader;
use crate::seal::{self, BLOCK};
use crate::sealed::LARGEST;
use crate::store::Store;
use crate::table::ALL;
use crate::tail::Tail;
use crate::writer::Existing;
use crate::zip::{self, Member};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
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
        let mut meta = Some(meta);
        out.member(META.to_owned(), &mut |block| {
            block.extend(meta.take().unwrap_or_default());
            Ok(())
        })?;
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
                let segment = seal::segment(folder, *number);
                out.segment(&segment, *number, &mut |bytes| meter.step(bytes))?;
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

/// A part that is sealed on the way, beside the file being made.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Out {
    fn create(to: &Path) -> Result<Out, RecordError> {
        let temporary = with_suffix(to, ".tmp");
        let file = files::create(&temporary)?;
        Ok(Out { file, temporary, members: Vec::new() })
    }

    /// Writes a member; `next` gives its content block by block, and at last nothing.
    fn member(
        &mut self,
        name: String,
        next: &mut dyn FnMut(&mut Vec<u8>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let header = self.members.last().map_or(0, Member::end);
        let mut member = Member { name, header, length: 0, crc: 0 };
        let start = member.content();
        let mut crc = crc32fast::Hasher::new();
        let mut length = 0;
        let mut block = Vec::new();
        loop {
            block.clear();
            next(&mut block)?;
            if block.is_empty() {
                break;
            }
            self.write(&block, start + length)?;
            crc.update(&block);
            length += block.len() as u64;
        }
        let fits = u32::try_from(length).ok().filter(|length| u64::from(*length) <= LARGEST);
        let Some(length) = fits.filter(|_| self.members.len() < MOST) else {
            return Err(RecordError::damaged(&member.name, LARGEST, "larger than any file of its kind"));
        };
        (member.length, member.crc) = (length, crc.finalize());
        self.write(&member.bytes(), header)?;
        self.members.push(member);
        Ok(())
    }

    fn write(&self, bytes: &[u8], at: u64) -> Result<(), RecordError> {
        self.file.write_all_at(bytes, at).map_err(|e| RecordError::io(&self.temporary, e))
    }

    /// Takes the files of a segment as they are: what is damaged stays so, and is found by its checksums.
    fn segment(
        &mut self,
        folder: &Path,
        number: u32,
        step: &mut dyn FnMut(u64) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let mut tables = ALL.to_vec();
        tables.sort_by_key(|table| table.id);
        let tables = tables.into_iter().map(|table| format!("{}.parquet", table.name));
        for file in tables.chain(["seal.json".to_owned()]) {
            let path = folder.join(&file);
            let source = match files::open(&path) {
                Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                source => source?,
            };
            // One byte more tells that it is too large.
            let mut source = source.take(LARGEST + 1);
            self.member(format!("seg-{number:06}/{file}"), &mut |block| {
                let read = source.by_ref().take(BLOCK as u64).read_to_end(block);
                step(read.map_err(|e| RecordError::io(&path, e))? as u64)
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
        for index in 0..tail.frames.len() {
            let Some(frame) = tail.frames.get(index).copied() else { break };
            meter.step(frame.size())?;
            // A frame with the right checksum that cannot be decoded ends the tail.
            if let Err(error) = tail.batch(&frame) {
                tail.damage = Some(error.into_damage()?);
                tail.frames.truncate(index);
            }
        }
        let place = with_suffix(&self.temporary, ".d");
        files::create_folder(&place)?;
        // Only now is it ours to remove.
        let beside = Beside(place);
        seal::convert(&tail, &beside.0, &mut |bytes| meter.step(bytes))?;
        self.segment(&beside.0, number, &mut |_| Ok(()))?;
        Ok(tail.damage.take())
    }

    /// Writes the directory and gives the file its name; how many members there are, and how large it is.
    fn finish(self, to: &Path, existing: Existing) -> Result<(u64, u64), RecordError> {
        let at = self.members.last().map_or(0, Member::end);
        let directory = zip::directory(&self.members, at);
        self.write(&directory, at)?;
        self.file.sync_all().map_err(|e| RecordError::io(&self.temporary, e))?;
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
