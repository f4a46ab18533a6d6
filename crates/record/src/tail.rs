//! The tail: frames that are appended while a recording is made, each with its length and checksum.

use crate::batch::Batch;
use crate::error::{Damage, RecordError};
use crate::files;
use crate::guard::{brief, guarded};
use crate::meta::{VERSION, is_known};
use crate::table::Table;
use arrow_array::RecordBatch;
use arrow_ipc::MessageHeader;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a tail begins.
pub(crate) const MAGIC: [u8; 8] = *b"VMATLAST";
/// The magic and the version.
pub(crate) const START: u64 = 16;
/// Length, table, reserved, number, rows, key, checksum.
const HEADER: usize = 32;
/// No frame is longer.
const LONGEST: u32 = 64 << 20;
/// No frame has more rows.
const MOST_ROWS: u32 = 1 << 20;

/// A tail being written.
pub(crate) struct TailWriter {
    file: File,
    /// Where the next frame goes: everything before is whole.
    pub(crate) length: u64,
    frames: u32,
}

impl TailWriter {
    pub(crate) fn create(path: &Path) -> Result<TailWriter, RecordError> {
        let mut file = files::create(path)?;
        let mut start = MAGIC.to_vec();
        start.extend_from_slice(&VERSION.to_le_bytes());
        file.write_all(&start).map_err(|e| RecordError::io(path, e))?;
        Ok(TailWriter { file, length: START, frames: 0 })
    }

    /// Appends a batch; when that fails the file ends where it ended before.
    pub(crate) fn append(&mut self, table: &Table, batch: &RecordBatch, key: i64) -> io::Result<()> {
        let mut frame = vec![0; HEADER];
        let mut stream = StreamWriter::try_new(&mut frame, batch.schema_ref()).map_err(io::Error::other)?;
        stream.write(batch).and_then(|()| stream.finish()).map_err(io::Error::other)?;
        drop(stream);
        let length = u32::try_from(frame.len() - HEADER).ok().filter(|n| *n <= LONGEST);
        let length = length.ok_or_else(|| io::Error::other("a frame is too long"))?;
        let header =
            Header { length, table: table.id, number: self.frames, rows: batch.num_rows() as u32, key };
        let payload = frame.get(HEADER..).unwrap_or_default();
        let bytes = header.to_bytes(payload);
        if let Some(place) = frame.get_mut(..HEADER) {
            place.copy_from_slice(&bytes);
        }
        let written = self.file.write_all_at(&frame, self.length);
        if let Err(error) = written {
            // What is half there would be taken for damage.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += frame.len() as u64;
        self.frames += 1;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    length: u32,
    table: u16,
    number: u32,
    rows: u32,
    key: i64,
}

impl Header {
    fn to_bytes(self, payload: &[u8]) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.table.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.number.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.rows.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.key.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..28]);
        crc.update(payload);
        bytes[28..32].copy_from_slice(&crc.finalize().to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER]) -> Header {
        let four = |at: usize| {
            let mut out = [0; 4];
            out.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(out)
        };
        let mut key = [0; 8];
        key.copy_from_slice(&bytes[16..24]);
        let table = u16::from_le_bytes([bytes[4], bytes[5]]);
        Header { length: four(0), table, number: four(8), rows: four(12), key: i64::from_le_bytes(key) }
    }
}

/// A whole frame of a tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) table: &'static Table,
    pub(crate) key: i64,
    rows: u32,
    at: u64,
    length: u32,
}

impl Frame {
    /// Where it begins.
    pub(crate) fn place(&self) -> u64 {
        self.at
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.into()
    }

    /// How long it is, in bytes.
    pub(crate) fn size(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }
}

/// A tail that was left behind, up to the first frame that is not whole.
#[derive(Debug)]
pub(crate) struct Tail {
    file: File,
    name: String,
    pub(crate) frames: Vec<Frame>,
    /// Why it ends before the end of the file.
    pub(crate) damage: Option<Damage>,
}

impl Tail {
    pub(crate) fn open(path: &Path) -> Result<Tail, RecordError> {
        Tail::open_with(path, &mut |_| {})
    }

    /// The same; `progress` is told the length of each frame that was read.
    pub(crate) fn open_with(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Tail, RecordError> {
        let name = files::name(path);
        let file = files::open(path)?;
        let size = file.metadata().map_err(|e| RecordError::io(path, e))?.len();
        let mut tail = Tail { file, name: name.clone(), frames: Vec::new(), damage: None };
        let mut start = [0; START as usize];
        let damaged =
            |at: u64, what: &str| Some(Damage { file: name.clone(), at: Some(at), what: what.to_owned() });
        if size < START {
            tail.damage = damaged(0, "ends before its first frame");
            return Ok(tail);
        }
        tail.file.read_exact_at(&mut start, 0).map_err(|e| RecordError::io(path, e))?;
        let (magic, version) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            tail.damage = damaged(0, "does not begin as a tail does");
            return Ok(tail);
        }
        let version = version.try_into().map_or(0, u64::from_le_bytes);
        if !is_known(version) {
            // The version has no checksum: a flipped bit must not look like the future.
            if version > u64::from(u16::MAX) {
                tail.damage = damaged(8, "no version");
                return Ok(tail);
            }
            return Err(RecordError::Version { path: path.to_owned(), version, known: VERSION });
        }
        let mut at = START;
        let mut payload = Vec::new();
        while at < size {
            match tail.frame(at, size, &mut payload) {
                Ok(frame) => {
                    at += frame.size();
                    progress(frame.size());
                    tail.frames.push(frame);
                }
                Err(what) => {
                    tail.damage = damaged(at, what);
                    break;
                }
            }
        }
        Ok(tail)
    }

    fn frame(&self, at: u64, size: u64, payload: &mut Vec<u8>) -> Result<Frame, &'static str> {
        const TORN: &str = "a frame is torn: what was flushed before it is kept";
        let mut bytes = [0; HEADER];
        if size - at < HEADER as u64 {
            return Err(TORN);
        }
        self.file.read_exact_at(&mut bytes, at).map_err(|_| TORN)?;
        let header = Header::from_bytes(&bytes);
        if header.length > LONGEST || header.rows > MOST_ROWS {
            return Err("a frame is longer than any");
        }
        if size - at - (HEADER as u64) < u64::from(header.length) {
            return Err(TORN);
        }
        payload.resize(header.length as usize, 0);
        self.file.read_exact_at(payload, at + HEADER as u64).map_err(|_| TORN)?;
        if header.to_bytes(payload) != bytes {
            return Err("the checksum of a frame is another one");
        }
        if header.number as usize != self.frames.len() {
            return Err("frames are not in order");
        }
        let table = Table::by_id(header.table).ok_or("a frame of an unknown table")?;
        Ok(Frame { table, key: header.key, rows: header.rows, at, length: header.length })
    }

    /// The rows of a frame, as Arrow has them.
    pub(crate) fn record_batch(&self, frame: &Frame) -> Result<RecordBatch, RecordError> {
        let damaged = |what: String| RecordError::damaged(&self.name, frame.at, what);
        let mut payload = vec![0; frame.length as usize];
        self.file
            .read_exact_at(&mut payload, frame.at + HEADER as u64)
            .map_err(|e| RecordError::io(Path::new(&self.name), e))?;
        if !claims_fit(&payload) {
            return Err(damaged("a frame claims more than it holds".to_owned()));
        }
        #[cfg(test)]
        DECODED.set(DECODED.get() + 1);
        // A frame made by an enemy has the right checksum; what the decoder makes of it must not end us.
        let decoded = guarded(|| {
            let mut stream = StreamReader::try_new(payload.as_slice(), None)?;
            let first = stream.next().transpose()?;
            Ok::<_, arrow_schema::ArrowError>((first, stream.next().is_some()))
        });
        match decoded {
            Some(Ok((Some(batch), false))) if batch.num_rows() == frame.rows as usize => Ok(batch),
            Some(Ok(_)) => Err(damaged("a frame holds other rows than it says".to_owned())),
            Some(Err(error)) => Err(damaged(brief(&error))),
            None => Err(damaged("a frame that cannot be decoded".to_owned())),
        }
    }

    /// The rows of a frame.
    pub(crate) fn batch(&self, frame: &Frame) -> Result<Batch, RecordError> {
        Batch::new(frame.table, &self.record_batch(frame)?, &self.name)
    }
}

/// Whether each message of a stream fits into it: the decoder would ask for as much memory as a message claims to need. Nor do
/// columns share their bytes, of which it may make a copy for each; nor are there dictionaries, that grow with each message.
fn claims_fit(mut stream: &[u8]) -> bool {
    const MARKER: [u8; 4] = [0xff; 4];
    while let Some((length, rest)) = stream.strip_prefix(&MARKER).and_then(|s| s.split_first_chunk::<4>()) {
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return true;
        }
        let Some((metadata, rest)) = rest.split_at_checked(length) else { return false };
        let Ok(message) = arrow_ipc::root_as_message(metadata) else { return false };
        let Ok(body) = usize::try_from(message.bodyLength()) else { return false };
        let Some((_, rest)) = rest.split_at_checked(body) else { return false };
        match message.header_type() {
            MessageHeader::Schema => {}
            MessageHeader::RecordBatch
                if message.header_as_record_batch().is_some_and(|b| is_apart(b, body)) => {}
            _ => return false,
        }
        stream = rest;
    }
    stream.is_empty()
}

/// Whether the columns of a batch have their bytes for themselves, as far as the sum of their lengths tells.
fn is_apart(batch: arrow_ipc::RecordBatch<'_>, body: usize) -> bool {
    let mut left = body as u64;
    batch.buffers().into_iter().flatten().all(|buffer| {
        let rest = u64::try_from(buffer.length()).ok().and_then(|length| left.checked_sub(length));
        left = rest.unwrap_or(left);
        rest.is_some()
    })
}

#[cfg(test)]
mod many;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
std::thread_local! {
    /// How many frames this thread has decoded.
    static DECODED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
