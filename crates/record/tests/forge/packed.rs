//! A packed recording: a ZIP file of stored members, taken apart and put together again.

use super::{drive, put, sealed_json};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use vmatlas_event::{Event, EventSource, Seq};
use vmatlas_record::{Existing, Reader};

/// Before the name of a member.
const HEADER: usize = 30;
const LOCAL: &[u8] = b"PK\x03\x04";
const BLOCK: usize = 64 * 1024;
/// As they stand in a header from the version that it needs to its date: stored, of 1980-01-01.
const STORED: [u8; 10] = [10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];

/// A file inside, with the header that it came with.
pub(super) struct Member {
    header: Vec<u8>,
    name: Vec<u8>,
    content: Vec<u8>,
}

/// The bytes are such a file. The last one, which is 0 in a file that `pack` made, says what is not put right: 1 what seal.json says
/// of tables and the checksums of JSON, 2 headers, 4 the directory.
pub(crate) fn packed(data: &[u8]) {
    let (bytes, members) = made(data, data.last().copied().unwrap_or_default());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("r.zip");
    put(&path, &bytes);
    drive::everything(&path);
    again(&path, &members);
}

/// The file that is made of one, and its members.
pub(super) fn made(data: &[u8], flags: u8) -> (Vec<u8>, Vec<Member>) {
    let (mut members, rest) = members(data);
    if flags & 1 == 0 {
        mend(&mut members);
    }
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for member in &members {
        let at = bytes.len() as u32;
        let header = header(member);
        bytes.extend_from_slice(if flags & 2 == 0 { &header } else { &member.header });
        bytes.extend_from_slice(&member.name);
        bytes.extend_from_slice(&member.content);
        // Made by, then what the header has; no comment, disk or kind; a plain file of its owner.
        entries.extend_from_slice(b"PK\x01\x02\x2d\x03");
        entries.extend_from_slice(&header[4..]);
        entries.extend_from_slice(&[0; 6]);
        entries.extend_from_slice(&(0o100_600_u32 << 16).to_le_bytes());
        entries.extend_from_slice(&at.to_le_bytes());
        entries.extend_from_slice(&member.name);
    }
    if flags & 4 == 0 {
        let (at, count) = (bytes.len() as u32, (members.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&entries);
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&[count, count].concat());
        bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
    } else {
        bytes.extend_from_slice(rest);
    }
    (bytes, members)
}

/// The members of a file, as far as there are any, and what follows them.
fn members(data: &[u8]) -> (Vec<Member>, &[u8]) {
    let (mut members, mut rest) = (Vec::new(), data);
    while let Some((header, after)) = rest.split_at_checked(HEADER).filter(|_| rest.starts_with(LOCAL)) {
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (name, after) = after.split_at((number(26) as usize & 0xffff).min(after.len()));
        // A length that cannot be ends with the file.
        let (content, after) = after.split_at((number(22) as usize).min(after.len()));
        members.push(Member { header: header.to_vec(), name: name.to_vec(), content: content.to_vec() });
        rest = after;
    }
    (members, rest)
}

/// The right header of a member.
fn header(member: &Member) -> Vec<u8> {
    let length = (member.content.len() as u32).to_le_bytes();
    let mut header = [LOCAL, &STORED[..]].concat();
    header.extend_from_slice(&crc32fast::hash(&member.content).to_le_bytes());
    header.extend_from_slice(&[length, length].concat());
    header.extend_from_slice(&(member.name.len() as u16).to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    header
}

/// Makes each seal.json say what its tables are, and gives each JSON object its checksum.
fn mend(members: &mut [Member]) {
    let tables: Vec<_> =
        members.iter().map(|member| (member.name.clone(), described(&member.content))).collect();
    for member in members.iter_mut().filter(|member| member.name.ends_with(b".json")) {
        let Ok(mut object) = serde_json::from_slice::<Value>(&member.content) else { continue };
        let Some(fields) = object.as_object_mut() else { continue };
        fields.remove("crc32");
        if let Some(part) = member.name.strip_suffix(b"seal.json")
            && let Some(sealed) = fields.get_mut("tables").and_then(Value::as_object_mut)
        {
            for (name, table) in sealed.iter_mut() {
                let file = [part, name.as_bytes(), b".parquet"].concat();
                let Some((_, described)) = tables.iter().find(|(name, _)| *name == file) else { continue };
                let rows = table.get("rows").cloned().unwrap_or_default();
                *table = json!({ "rows": rows, "bytes": described.0, "blocks": described.1 });
            }
        }
        let text = serde_json::to_string_pretty(&object).expect("an object with words as keys");
        let body = text.strip_suffix("\n}").unwrap_or("{\n\"version\": 0");
        member.content = sealed_json(body.as_bytes());
    }
}

/// The length of a file, and the checksums of its blocks.
fn described(content: &[u8]) -> (usize, Vec<u32>) {
    (content.len(), content.chunks(BLOCK).map(crc32fast::hash).collect())
}

/// A whole file gives what the folder gives that `unzip` would make of it, and packing that folder makes a whole file
/// again, which gives the same.
fn again(path: &Path, members: &[Member]) {
    let Ok(mut reader) = Reader::open(path) else { return };
    let is_whole = |reader: &Reader, name: &str| reader.damage().iter().all(|damage| damage.file != name);
    if !is_whole(&reader, "r.zip") {
        return;
    }
    let folder = path.with_extension("");
    for member in members {
        let name = std::str::from_utf8(&member.name).expect("the names of a recording");
        let file = folder.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder in a temporary folder");
        put(&file, &member.content);
    }
    let wanted = events(&mut reader);
    let mut unpacked = Reader::open(&folder).expect("its meta.json was read before");
    assert_eq!(events(&mut unpacked), wanted, "unpacked");
    let twice = path.with_extension("again");
    if unpacked.pack(&twice, Existing::Refuse, &mut |_, _| true).is_ok() {
        let mut packed = Reader::open(&twice).expect("a recording");
        assert!(is_whole(&packed, "r.again"), "{:?}", packed.damage());
        assert_eq!(events(&mut packed).0, wanted.0, "packed again");
    }
}

/// The first events, and whether they end with an error.
fn events(reader: &mut Reader) -> (Vec<Event>, bool) {
    let mut found = Vec::new();
    let read = reader.events(Seq(0), &mut |event| {
        found.push(event);
        found.len() < 1000
    });
    (found, read.is_err())
}
