//! A sealed segment: a seal.json that says what is asked for, and its tables.

use super::bytes::Bytes;
use super::{put, recording, sealed_json};
use std::fs;
use vmatlas_record::VERSION;

const TABLES: [&str; 16] = [
    "events",
    "rows",
    "in_flight",
    "names",
    "tasks",
    "spaces",
    "keyframes",
    "states",
    "state_rows",
    "state_parts",
    "looks",
    "pages",
    "modules",
    "frames",
    "stacks",
    "symbols",
];
const BLOCK: usize = 64 * 1024;

/// A byte of which 1 stands for checksums of blocks that are wrong, 2 for no events and 4 for checksums of two parts, the
/// second of which is right, the numbers of the first and the last event, then tables: which, how many rows, how many bytes, the bytes.
pub(crate) fn segment(data: &[u8]) {
    let mut data = Bytes(data);
    let flags = data.u8();
    let (first, last) = (data.u64(), data.u64());
    let mut tables = Vec::new();
    let mut files = Vec::new();
    while !data.is_empty() && files.len() < TABLES.len() {
        let name = TABLES[usize::from(data.u8()) % TABLES.len()];
        let (rows, length) = (data.u64(), data.u32());
        let bytes = data.take(length as usize);
        if files.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let wrong = u32::from(flags & 1);
        let crcs = bytes.chunks(BLOCK).map(|block| (crc32fast::hash(block) ^ wrong).to_string());
        let (length, blocks) = (bytes.len(), crcs.collect::<Vec<_>>().join(","));
        let parts = match flags & 4 {
            0 => String::new(),
            _ => {
                let (begin, end) = bytes.split_at(length / 2);
                let (first, second) = (crc32fast::hash(begin) ^ wrong, crc32fast::hash(end));
                format!(", \"parts\": [[{}, {first}], [{length}, {second}]]", length / 2)
            }
        };
        tables.push(format!(
            "\"{name}\": {{\"rows\": {rows}, \"bytes\": {length}, \"blocks\": [{blocks}]{parts}}}"
        ));
        files.push((name, bytes));
    }
    let range = match flags & 2 {
        0 => format!("\"first\": {first},\n\"last\": {last},\n"),
        _ => String::new(),
    };
    let seal = format!("{{\n\"version\": {VERSION},\n{range}\"tables\": {{{}}}", tables.join(","));
    recording(|folder| {
        let segment = folder.join("seg-000001");
        fs::create_dir(&segment).expect("a folder in a temporary folder");
        put(&segment.join("seal.json"), &sealed_json(seal.as_bytes()));
        for (name, bytes) in files {
            put(&segment.join(format!("{name}.parquet")), bytes);
        }
    });
}
