//! Recordings that an enemy made, from any bytes at all: what the fuzzer gives, and the corpus that it left behind.
//!
//! Checksums, lengths of frames and their numbers are put right first, so that what comes behind them is reached. One
//! file, two users: the test `corpus` and the fuzz targets in fuzz/.

mod bytes;
mod drive;
mod json;
#[path = "../common/ops.rs"]
mod ops;
mod packed;
mod replay;
mod segment;
mod tail;

pub(crate) use json::json;
pub(crate) use packed::packed;
pub(crate) use replay::replay;
pub(crate) use segment::segment;
pub(crate) use tail::tail;

use std::fs;
use std::path::Path;
use vmatlas_record::VERSION;

/// What a target does with its bytes.
pub(crate) type Target = fn(&[u8]);

/// The targets by their names, which are those of the folders of the corpus.
pub(crate) const TARGETS: [(&str, Target); 5] =
    [("tail", tail), ("segment", segment), ("json", json), ("replay", replay), ("packed", packed)];

/// A packed file put together again as `packed` does it, but for what seal.json says of tables.
pub(crate) fn put_together(file: &[u8]) -> Vec<u8> {
    packed::made(file, 1).0
}

/// Gives a new folder with a good meta.json to `fill`, then reads it in every way.
fn recording(fill: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let meta =
        format!("{{\n\"format\": \"vmatlas-recording\",\n\"version\": {VERSION},\n\"page_size\": 4096");
    put(&folder.path().join("meta.json"), &sealed_json(meta.as_bytes()));
    fill(folder.path());
    drive::everything(folder.path());
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file in a temporary folder");
}

/// A JSON file with the checksum at its end.
fn sealed_json(body: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(body);
    [body, format!(",\n\"crc32\": \"{crc:08x}\"\n}}\n").as_bytes()].concat()
}
