//! A packed recording: one file, its members read where they are.
//!
//! Members are found by their headers from the first byte on, so what comes before a damage or a missing end is there.
//! Nothing but what `pack` writes is taken: the names of the format, each once and in their order, one after the other
//! without a gap, stored; and at the end the one directory that follows from them.

use crate::error::{Damage, RecordError};
use crate::sealed::LARGEST;
use crate::table::ALL;
use crate::zip::{self, HEADER, Member};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The first member, by which such a file is known.
pub(crate) const META: &str = "meta.json";
/// No recording has more files: 64 MiB of tail make ten.
pub(crate) const MOST: usize = 1 << 18;
/// No name is longer.
const LONGEST_NAME: usize = 64;

/// An opened packed recording.
#[derive(Debug)]
pub(crate) struct Packed {
    path: PathBuf,
    file: File,
    length: u64,
    members: Vec<Member>,
    /// Why its end is not there, or not as it was written.
    pub(crate) damage: Option<Damage>,
}

/// Where a member stands among the others: its part and its table. Nothing else may be in a packed recording.
pub(crate) fn place(name: &str) -> Option<(u32, u16)> {
    if name == META {
        return Some((0, 0));
    }
    let (part, file) = name.split_once('/')?;
    let digits =
        part.strip_prefix("seg-").filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    let table = match file.strip_suffix(".parquet") {
        Some(name) => ALL.iter().find(|table| table.name == name)?.id,
        // After the tables: a part whose end is missing has none.
        None => (file == "seal.json").then_some(u16::MAX)?,
    };
    Some((number, table))
}

/// Whether this is a packed recording, whole or not: by its first bytes, not by its name.
pub fn is_packed(path: &Path) -> bool {
    open(path).is_ok_and(|file| {
        let mut begin = [0; HEADER + META.len()];
        let (header, name) = match file.read_exact_at(&mut begin, 0) {
            Ok(()) => begin.split_at(HEADER),
            Err(_) => return false,
        };
        let length = header.get(26..28) == Some(&[META.len() as u8, 0]);
        length && name == META.as_bytes() && header.starts_with(b"PK\x03\x04")
    })
}

/// Opens a plain file, also through a link: it is what a person named. Devices are not even opened.
fn open(path: &Path) -> io::Result<File> {
    let not_plain = || io::Error::other("not a plain file");
    if !fs::metadata(path)?.is_file() {
        return Err(not_plain());
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_plain()) }
}

impl Packed {
    pub(crate) fn open(path: &Path) -> Result<Packed, RecordError> {
        let file = open(path).map_err(|e| RecordError::io(path, e))?;
        let length = file.metadata().map_err(|e| RecordError::io(path, e))?.len();
        let mut packed = Packed { path: path.to_owned(), file, length, members: Vec::new(), damage: None };
        let damage = packed.find_members();
        if packed.members.is_empty() && !is_packed(path) {
            return Err(RecordError::NotARecording(path.to_owned()));
        }
        packed.damage = damage.err().map(|(at, what)| {
            let file = crate::files::name(path);
            Damage { file, at: Some(at), what }
        });
        Ok(packed)
    }

    /// Finds the members and compares the directory; the place of what is wrong, and what it is.
    fn find_members(&mut self) -> Result<(), (u64, String)> {
        const CUT: &str = "the file ends here, and its last members are missing";
        let mut before = None;
        let mut at = 0;
        loop {
            let wrong = |what: &str| Err((at, what.to_owned()));
            let mut bytes = [0; HEADER + LONGEST_NAME];
            let read = self.read_at(&mut bytes, at).map_err(|e| (at, e.to_string()))?;
            let bytes = bytes.get(..read).unwrap_or_default();
            if zip::is_directory(bytes) {
                return self.compare_directory(at);
            }
            let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return wrong(CUT) };
            let found = zip::read_header(header);
            let header = found.map_err(|what| (at, format!("a member {what}")))?;
            let length = usize::from(header.name);
            if length > LONGEST_NAME {
                return wrong("a member that no recording has");
            }
            let Some(name) = rest.get(..length) else { return wrong(CUT) };
            let name = std::str::from_utf8(name).ok().filter(|name| place(name).is_some());
            let Some(name) = name else { return wrong("a member that no recording has") };
            let here = place(name);
            if here <= before || (before.is_none() && name != META) {
                return wrong("a member that comes twice, or not in its place");
            }
            if self.members.len() >= MOST {
                return wrong("more members than any recording has");
            }
            let member = Member { name: name.to_owned(), header: at, length: header.length, crc: header.crc };
            if u64::from(member.length) > LARGEST {
                return wrong("a member that is longer than any");
            }
            if member.end() > self.length {
                return Err((self.length, format!("the file ends here, inside of {name}")));
            }
            before = here;
            at = member.end();
            self.members.push(member);
        }
    }

    fn compare_directory(&self, at: u64) -> Result<(), (u64, String)> {
        let wanted = zip::directory(&self.members, at);
        let mut found = vec![0; wanted.len() + 1];
        let read = self.read_at(&mut found, at).map_err(|e| (at, e.to_string()))?;
        let found = found.get(..read).unwrap_or_default();
        if found == wanted {
            return Ok(());
        }
        let same = found.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        Err((at + same as u64, "the directory at the end is not as it was written".to_owned()))
    }

    /// Fills the buffer as far as the file goes.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Which parts there are: all of them sealed.
    pub(crate) fn parts(&self) -> BTreeMap<u32, bool> {
        let places = self.members.iter().filter_map(|member| place(&member.name));
        places.map(|(number, _)| (number, true)).filter(|(number, _)| *number > 0).collect()
    }

    /// A member; `NotFound` where there is none.
    fn member(&self, name: &str) -> Result<&Member, RecordError> {
        let at = self.members.binary_search_by_key(&place(name), |member| place(&member.name)).ok();
        let member = at.and_then(|at| self.members.get(at));
        member.ok_or_else(|| RecordError::io(&self.path, io::ErrorKind::NotFound.into()))
    }

    /// Adds a member of at most `limit` bytes to `bytes`.
    pub(crate) fn read_into(&self, name: &str, limit: u64, bytes: &mut Vec<u8>) -> Result<(), RecordError> {
        let member = self.member(name)?;
        if u64::from(member.length) > limit {
            return Err(RecordError::damaged(name, limit, "larger than any file of its kind"));
        }
        let start = bytes.len();
        bytes.resize(start + member.length as usize, 0);
        let content = bytes.get_mut(start..).unwrap_or_default();
        self.file.read_exact_at(content, member.content()).map_err(|e| RecordError::io(&self.path, e))
    }

    /// Some bytes of a member, all of which must be there.
    pub(crate) fn read_part(&self, name: &str, part: Range<u64>) -> Result<Vec<u8>, RecordError> {
        let member = self.member(name)?;
        if part.start > part.end || part.end > u64::from(member.length) {
            return Err(RecordError::io(&self.path, io::ErrorKind::UnexpectedEof.into()));
        }
        let mut bytes = vec![0; usize::try_from(part.end - part.start).unwrap_or(usize::MAX)];
        let at = member.content() + part.start;
        self.file.read_exact_at(&mut bytes, at).map_err(|e| RecordError::io(&self.path, e))?;
        Ok(bytes)
    }

    /// The members whose checksum in the container is another one.
    pub(crate) fn check(&self) -> Result<Vec<Damage>, RecordError> {
        let mut wrong = Vec::new();
        let mut block = vec![0; 1 << 20];
        for member in &self.members {
            let mut crc = crc32fast::Hasher::new();
            let mut at = member.content();
            while at < member.end() {
                let length = usize::try_from(member.end() - at).unwrap_or(usize::MAX).min(block.len());
                let Some(part) = block.get_mut(..length) else { break };
                self.file.read_exact_at(part, at).map_err(|e| RecordError::io(&self.path, e))?;
                crc.update(part);
                at += length as u64;
            }
            if crc.finalize() != member.crc {
                let what = "the checksum of the packed file is another one".to_owned();
                wrong.push(Damage { file: member.name.clone(), at: None, what });
            }
        }
        Ok(wrong)
    }
}
