//! The bytes of a ZIP file whose members are stored one after the other: nothing of the format but that.
//!
//! Every header follows from the name, the length and the checksum of its member, and the directory at the end from the
//! headers. So a reader makes them again and compares: what is not the same byte by byte was made by somebody else.

/// Before the name of a member.
pub(crate) const HEADER: usize = 30;
/// How a header begins.
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// How an entry of the directory begins.
const ENTRY: [u8; 4] = *b"PK\x01\x02";
/// How the end of the directory begins.
const END: [u8; 4] = *b"PK\x05\x06";
/// The same with 64-bit numbers, and where that is.
const END_64: [u8; 4] = *b"PK\x06\x06";
const PLACE_64: [u8; 4] = *b"PK\x06\x07";
/// Stored files, and numbers of 64 bits.
const STORED: u16 = 10;
const LARGE: u16 = 45;
/// Unix, for the mode; a plain file of its owner alone.
const UNIX: u16 = 3 << 8;
const MODE: u32 = 0o100_600 << 16;
/// 1980-01-01: the same recording makes the same bytes.
const DATE: u16 = 0x21;

/// A file inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Where its header begins.
    pub(crate) header: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

/// What a header says that is not the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    pub(crate) name: u16,
}

impl Member {
    /// Where its content begins.
    pub(crate) fn content(&self) -> u64 {
        self.header + HEADER as u64 + self.name.len() as u64
    }

    /// Where what follows it begins.
    pub(crate) fn end(&self) -> u64 {
        self.content() + u64::from(self.length)
    }

    /// What stands before its content.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = LOCAL.to_vec();
        put(&mut out, STORED);
        self.common(&mut out);
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// What header and entry have in common.
    fn common(&self, out: &mut Vec<u8>) {
        // Flags, method: stored.
        out.extend_from_slice(&[0; 4]);
        put(out, 0);
        put(out, DATE);
        for number in [self.crc, self.length, self.length] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put(out, self.name.len() as u16);
    }

    /// Its entry in the directory.
    fn entry(&self, out: &mut Vec<u8>) {
        let far = u32::try_from(self.header).ok().filter(|at| *at != u32::MAX).is_none();
        out.extend_from_slice(&ENTRY);
        put(out, UNIX | LARGE);
        put(out, if far { LARGE } else { STORED });
        self.common(out);
        put(out, if far { 12 } else { 0 });
        // Comment, disk, kind of content.
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&MODE.to_le_bytes());
        out.extend_from_slice(&(if far { u32::MAX } else { self.header as u32 }).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        if far {
            put(out, 1);
            put(out, 8);
            out.extend_from_slice(&self.header.to_le_bytes());
        }
    }
}

fn put(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// The directory that stands at `at`, with its end.
pub(crate) fn directory(members: &[Member], at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    members.iter().for_each(|member| member.entry(&mut out));
    let (count, length) = (members.len() as u64, out.len() as u64);
    let is_large = count >= u64::from(u16::MAX) || at.max(length) >= u64::from(u32::MAX);
    if is_large {
        out.extend_from_slice(&END_64);
        out.extend_from_slice(&44u64.to_le_bytes());
        put(&mut out, UNIX | LARGE);
        put(&mut out, LARGE);
        out.extend_from_slice(&[0; 8]);
        for number in [count, count, length, at] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&PLACE_64);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(at + length).to_le_bytes());
        out.extend_from_slice(&1u32.to_le_bytes());
    }
    out.extend_from_slice(&END);
    out.extend_from_slice(&[0; 4]);
    for _ in 0..2 {
        put(&mut out, if is_large { u16::MAX } else { count as u16 });
    }
    for number in [length, at] {
        out.extend_from_slice(&(if is_large { u32::MAX } else { number as u32 }).to_le_bytes());
    }
    put(&mut out, 0);
    out
}

/// Whether the directory begins here, or where there is no member the end of it.
pub(crate) fn is_directory(bytes: &[u8]) -> bool {
    bytes.starts_with(&ENTRY) || bytes.starts_with(&END)
}

/// Reads a header; what is wrong with one that a member of ours does not have.
pub(crate) fn read_header(bytes: &[u8; HEADER]) -> Result<Header, &'static str> {
    let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..4] != LOCAL {
        return Err("is not as it was written");
    }
    if two(6) & 1 != 0 {
        return Err("is encrypted");
    }
    if two(8) != 0 {
        return Err("is compressed");
    }
    let header = Header { crc: four(14), length: four(22), name: two(26) };
    // The name is compared by who reads it.
    let name = "x".repeat(header.name.into());
    let again = Member { name, header: 0, length: header.length, crc: header.crc }.bytes();
    if again.get(..HEADER) == Some(bytes) { Ok(header) } else { Err("is not as it was written") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::process::Command;
    use vmatlas_testkit::{Capability, need};

    fn member(name: &str, header: u64, length: u32) -> Member {
        Member { name: name.to_owned(), header, length, crc: 0xdead_beef }
    }

    /// Checks that a header is read as it was written, and that any other bit in it is an error or another value.
    #[test]
    fn headers_come_back() {
        let wanted = member("meta.json", 0, 77);
        let bytes: [u8; HEADER] = wanted.bytes()[..HEADER].try_into().unwrap();
        let header = Header { length: 77, crc: wanted.crc, name: 9 };
        assert_eq!(read_header(&bytes), Ok(header));
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(read_header(&bytes), Ok(header), "bit {bit}");
        }
        let mut other = bytes;
        other[8] = 8;
        assert_eq!(read_header(&other), Err("is compressed"));
        other[6] = 1;
        assert_eq!(read_header(&other), Err("is encrypted"));
    }

    /// Checks, with the reader of Python, that directories of large files are right: beyond 4 GiB, and beyond 65,535 members.
    #[test]
    fn large_files_have_a_directory_of_64_bits() {
        if !need(Capability::Tool("python3")) {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.zip");
        let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\ni = z.infolist()[-1]\n\
                      print(len(z.infolist()), i.filename, i.header_offset, i.file_size, oct(i.external_attr >> 16))";
        let many = (0..70_000).map(|n| member(&format!("m{n}"), n * 100, 3));
        let far = [member("a", 0, 5), member("last", u64::from(u32::MAX) + 5, 9)];
        for (members, wanted) in [
            (many.collect::<Vec<_>>(), "70000 m69999 6999900 3 0o100600"),
            (far.to_vec(), "2 last 4294967300 9 0o100600"),
            (far[..1].to_vec(), "1 a 0 5 0o100600"),
        ] {
            // Sparse: nothing but the directory is written.
            let file = File::create(&path).unwrap();
            let at = members.last().unwrap().end();
            file.write_all_at(&directory(&members, at), at).unwrap();
            let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
            let found = String::from_utf8_lossy(&output.stdout);
            assert_eq!(found.trim(), wanted, "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
