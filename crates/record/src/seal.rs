//! Sealing: a tail that is full becomes Parquet files, all of them or none.

use crate::batch::complete;
use crate::error::RecordError;
use crate::files;
use crate::meta::VERSION;
use crate::table::{ALL, EVENTS, Table};
use crate::tail::{Frame, Tail};
use arrow_array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::RowGroupMetaData;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes of a file one checksum covers.
pub(crate) const BLOCK: usize = 64 * 1024;

/// So many rows of keyframes are a row group, where the next ones are of another keyframe.
const LARGE: usize = 4096;

/// What seal.json of a segment says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seal {
    pub(crate) version: u64,
    /// The first and the last event.
    pub(crate) first: Option<u64>,
    pub(crate) last: Option<u64>,
    /// The tables that have rows, by name.
    pub(crate) tables: BTreeMap<String, SealedTable>,
}

/// A file of a segment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SealedTable {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// CRC-32 of each block of [`BLOCK`] bytes.
    pub(crate) blocks: Vec<u32>,
    /// Where each row group ends, and at last the description of the file, with the CRC-32 of each of these parts; empty
    /// in older recordings. Small row groups share a block, and are told apart here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<(u64, u32)>,
}

pub(crate) fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("seg-{number:06}"))
}

pub(crate) fn tail(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("tail-{number:06}"))
}

/// How far a writer is with sealing, in bytes of its tails.
#[derive(Debug, Default)]
pub struct Sealing {
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
}

impl Sealing {
    /// What was sealed, and what is to be: both only grow.
    pub fn amounts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// Makes a segment of a tail, and removes the tail.
pub(crate) fn seal(folder: &Path, number: u32, sealing: &Sealing) -> Result<(), RecordError> {
    let path = tail(folder, number);
    let source = Tail::open(&path)?;
    let temporary = segment(folder, number).with_extension("tmp");
    files::create_folder(&temporary)?;
    let mut step = |bytes| {
        sealing.done.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    };
    let sealed = convert(&source, &temporary, &mut step).and_then(|()| {
        files::sync_folder(&temporary)?;
        fs::rename(&temporary, segment(folder, number)).map_err(|e| RecordError::io(&temporary, e))?;
        files::sync_folder(folder)
    });
    if let Err(error) = sealed {
        // The tail is still whole; what is half made goes.
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    fs::remove_file(&path).map_err(|e| RecordError::io(&path, e))
}

/// A Parquet file being written.
struct Open {
    writer: ArrowWriter<BufWriter<File>>,
    path: PathBuf,
    rows: u64,
    key: i64,
}

impl Open {
    /// Adds a batch. A large keyframe has row groups of its own: whoever wants one need not unpack those beside it.
    fn write(&mut self, batch: &RecordBatch, frame: &Frame) -> parquet::errors::Result<()> {
        let is_of_keyframe = frame.table.columns.first().is_some_and(|column| column.name == "after");
        if is_of_keyframe && frame.key != self.key && self.writer.in_progress_rows() >= LARGE {
            self.writer.flush()?;
        }
        self.key = frame.key;
        self.writer.write(batch)
    }
}

/// Writes the tables of a tail into a folder; `step` is told the length of each frame that was taken, and can end it.
pub(crate) fn convert(
    source: &Tail,
    folder: &Path,
    step: &mut dyn FnMut(u64) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut open: BTreeMap<u16, Open> = BTreeMap::new();
    let mut seal = Seal { version: VERSION, ..Seal::default() };
    for frame in &source.frames {
        let batch = source.record_batch(frame)?;
        if frame.table.id == EVENTS.id {
            seal.first.get_or_insert(frame.key as u64);
            let last = source.batch(frame)?;
            seal.last = last.len().checked_sub(1).and_then(|row| last.row(row).get(0)).map(|v| v as u64);
        }
        let file = match open.entry(frame.table.id) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(start(frame.table, folder)?),
        };
        let written = complete(frame.table, &batch).map_err(Into::into).and_then(|b| file.write(&b, frame));
        written.map_err(|e| RecordError::io(&file.path, std::io::Error::other(e)))?;
        file.rows += batch.num_rows() as u64;
        step(frame.size())?;
    }
    for table in ALL {
        if let Some(file) = open.remove(&table.id) {
            seal.tables.insert(table.name.to_owned(), finish(file)?);
        }
    }
    files::write_json(&folder.join("seal.json"), &seal, files::Last::ThroughPowerLoss)
}

fn start(table: &Table, folder: &Path) -> Result<Open, RecordError> {
    let path = folder.join(format!("{}.parquet", table.name));
    let file = files::create(&path)?;
    let writer = ArrowWriter::try_new(BufWriter::new(file), table.schema(), Some(table.properties()))
        .map_err(|e| RecordError::io(&path, std::io::Error::other(e)))?;
    Ok(Open { writer, path, rows: 0, key: i64::MIN })
}

fn finish(open: Open) -> Result<SealedTable, RecordError> {
    let Open { mut writer, path, rows, .. } = open;
    writer.flush().map_err(|e| RecordError::io(&path, std::io::Error::other(e)))?;
    let ends: Vec<u64> = writer.flushed_row_groups().iter().map(end).collect();
    let file = writer.into_inner().map_err(|e| RecordError::io(&path, std::io::Error::other(e)))?;
    let file = file.into_inner().map_err(|e| RecordError::io(&path, e.into_error()))?;
    file.sync_all().map_err(|e| RecordError::io(&path, e))?;
    let mut sealed = SealedTable { rows, ..SealedTable::default() };
    let mut file = files::open(&path)?;
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        let read = (&mut file).take(BLOCK as u64).read_to_end(&mut block);
        if read.map_err(|e| RecordError::io(&path, e))? == 0 {
            break;
        }
        sealed.bytes += block.len() as u64;
        sealed.blocks.push(crc32fast::hash(&block));
    }
    sealed.parts =
        parts(&file, 0, ends.into_iter().chain([sealed.bytes])).map_err(|e| RecordError::io(&path, e))?;
    Ok(sealed)
}

/// Where the last byte of a row group is followed by the next thing.
pub(crate) fn end(group: &RowGroupMetaData) -> u64 {
    let ends = group.columns().iter().map(|column| {
        let (start, length) = column.byte_range();
        start + length
    });
    ends.max().unwrap_or(0)
}

/// The checksums of what stands between these places of a file that begins at `base`.
pub(crate) fn parts(
    file: &File,
    base: u64,
    ends: impl Iterator<Item = u64>,
) -> std::io::Result<Vec<(u64, u32)>> {
    let mut start = 0;
    let mut bytes = Vec::new();
    let part = |end: u64| {
        bytes.resize(end.saturating_sub(start) as usize, 0);
        file.read_exact_at(&mut bytes, base.saturating_add(start))?;
        start = end;
        Ok((end, crc32fast::hash(&bytes)))
    };
    ends.map(part).collect()
}
