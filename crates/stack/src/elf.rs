//! What unwinding needs of an ELF file: where its segments lie, where its unwind tables begin, who built it.
//!
//! Bytes come through a callback, so that a file and an image in memory are read alike. The program headers tell
//! nearly all, and those are loaded; sections are looked at where a static program has no `PT_GNU_EH_FRAME`.

use crate::arch::NATIVE;
use object::elf::{
    FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_GNU_EH_FRAME, PT_INTERP, PT_LOAD, PT_NOTE, ProgramHeader64,
    SHF_COMPRESSED, SHT_PROGBITS, SectionHeader64,
};
use object::pod;
use object::read::elf::FileHeader;
use object::{LittleEndian, U32};
use std::ops::Range;

type Le = LittleEndian;

/// More program headers than this has no program of this world.
const PROGRAM_HEADERS: u16 = 256;
/// So many sections are looked at.
const SECTIONS: u16 = 4096;
/// So many bytes of notes are read.
const NOTES: u64 = 4096;
/// A build ID is not longer; the usual one has 20 bytes.
const BUILD_ID: usize = 64;
/// Names of sections are looked for in so many bytes.
const SECTION_NAMES: u64 = 1 << 20;

/// A loaded part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) in_file: u64,
    pub(crate) svma: u64,
    pub(crate) is_executable: bool,
}

/// Where the unwind tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tables {
    /// `.eh_frame_hdr`, which indexes `.eh_frame`: its addresses (SVMA).
    Indexed(Range<u64>),
    /// `.eh_frame` alone: its addresses (SVMA).
    Plain(Range<u64>),
    /// None.
    None,
}

/// A section as its header tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) svma: u64,
    pub(crate) size: u64,
    /// Whether its bytes are packed (SHF_COMPRESSED).
    pub(crate) is_packed: bool,
}

/// The headers of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) segments: Vec<Segment>,
    pub(crate) entry: u64,
    /// Whether a dynamic loader starts it: then its own entry is not where the thread begins.
    pub(crate) has_loader: bool,
    pub(crate) tables: Tables,
    pub(crate) build_id: Vec<u8>,
}

impl Elf {
    /// Reads the headers; `None` for what is no 64-bit ELF file of this machine.
    ///
    /// `read` fills its buffer from an offset of the file, or says no. An image in memory has no sections.
    pub(crate) fn read(has_sections: bool, read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Elf> {
        let mut bytes = |offset: u64, len: u64| bytes_of(read, offset, len);
        let header = bytes(0, size_of::<FileHeader64<Le>>() as u64)?;
        let header = FileHeader64::<Le>::parse(header.as_slice()).ok()?;
        let at = header.endian().ok()?;
        if header.e_machine.get(at) != NATIVE.machine {
            return None;
        }
        let count = header.e_phnum.get(at);
        if count > PROGRAM_HEADERS
            || usize::from(header.e_phentsize.get(at)) != size_of::<ProgramHeader64<Le>>()
        {
            return None;
        }
        let size = u64::from(count) * size_of::<ProgramHeader64<Le>>() as u64;
        let programs = bytes(header.e_phoff.get(at), size)?;
        let (programs, _) =
            pod::slice_from_bytes::<ProgramHeader64<Le>>(&programs, usize::from(count)).ok()?;
        let mut elf = Elf {
            segments: Vec::new(),
            entry: header.e_entry.get(at),
            has_loader: false,
            tables: Tables::None,
            build_id: Vec::new(),
        };
        for p in programs {
            let (svma, offset, in_file) = (p.p_vaddr.get(at), p.p_offset.get(at), p.p_filesz.get(at));
            match p.p_type.get(at) {
                PT_LOAD => {
                    let is_executable = p.p_flags.get(at) & PF_X != 0;
                    elf.segments.push(Segment { offset, in_file, svma, is_executable });
                }
                PT_INTERP => elf.has_loader = true,
                PT_GNU_EH_FRAME => {
                    elf.tables = Tables::Indexed(svma..svma.checked_add(p.p_memsz.get(at))?);
                }
                PT_NOTE if elf.build_id.is_empty() => {
                    if let Some(notes) = bytes(offset, in_file.min(NOTES)) {
                        elf.build_id = build_id(&notes).unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
        if elf.tables == Tables::None && has_sections {
            let section = section(header, at, b".eh_frame", &mut bytes);
            let end = section.and_then(|s| s.svma.checked_add(s.size));
            let range = section.zip(end).map(|(s, end)| s.svma..end);
            elf.tables = range.map_or(Tables::None, Tables::Plain);
        }
        Some(elf)
    }

    /// A section of a file by its name; `read` as above.
    pub(crate) fn section(name: &[u8], read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<Section> {
        let mut bytes = |offset: u64, len: u64| bytes_of(read, offset, len);
        let header = bytes(0, size_of::<FileHeader64<Le>>() as u64)?;
        let header = FileHeader64::<Le>::parse(header.as_slice()).ok()?;
        section(header, header.endian().ok()?, name, &mut bytes)
    }

    /// The address of the file's own for an offset in it.
    pub(crate) fn svma_of(&self, offset: u64) -> Option<u64> {
        let holds = |s: &&Segment| s.offset <= offset && offset - s.offset < s.in_file;
        // Two segments may share a page of the file, and so be mapped with each other's bytes: code lies in the one
        // that can be executed.
        let segment = self.segments.iter().filter(|s| s.is_executable).find(holds);
        let segment = segment.or_else(|| self.segments.iter().find(holds))?;
        segment.svma.checked_add(offset - segment.offset)
    }

    /// The offset in the file for an address of the file's own.
    pub(crate) fn offset_of(&self, svma: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|s| s.svma <= svma && svma - s.svma < s.in_file)?;
        segment.offset.checked_add(svma - segment.svma)
    }

    /// Whether a place is among the first instructions of all: the start of the dynamic loader or of a static program.
    ///
    /// The start of glibc's loader is two pieces of assembly, `_start` and `_dl_start_user`, which has no rule, and is
    /// shorter than this.
    pub(crate) fn is_start(&self, svma: u64) -> bool {
        const LONG: u64 = 0x80;
        self.entry != 0 && svma.checked_sub(self.entry).is_some_and(|from| from < LONG)
    }
}

fn bytes_of(read: &mut dyn FnMut(u64, &mut [u8]) -> bool, offset: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    read(offset, &mut bytes).then_some(bytes)
}

/// A section with bytes in the file, by its name.
fn section(
    header: &FileHeader64<Le>,
    at: Le,
    name: &[u8],
    bytes: &mut dyn FnMut(u64, u64) -> Option<Vec<u8>>,
) -> Option<Section> {
    const SIZE: usize = size_of::<SectionHeader64<Le>>();
    let count = header.e_shnum.get(at);
    if count > SECTIONS || usize::from(header.e_shentsize.get(at)) != SIZE {
        return None;
    }
    let sections = bytes(header.e_shoff.get(at), u64::from(count) * SIZE as u64)?;
    let (sections, _) = pod::slice_from_bytes::<SectionHeader64<Le>>(&sections, usize::from(count)).ok()?;
    let names = sections.get(usize::from(header.e_shstrndx.get(at)))?;
    let names = bytes(names.sh_offset.get(at), names.sh_size.get(at).min(SECTION_NAMES))?;
    let is_it = |s: &&SectionHeader64<Le>| {
        let from = names.get(s.sh_name.get(at) as usize..);
        let is_named =
            from.is_some_and(|from| from.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0)));
        is_named && s.sh_type.get(at) >= SHT_PROGBITS && s.sh_type.get(at) != object::elf::SHT_NOBITS
    };
    let found = sections.iter().find(is_it)?;
    Some(Section {
        offset: found.sh_offset.get(at),
        svma: found.sh_addr.get(at),
        size: found.sh_size.get(at),
        is_packed: found.sh_flags.get(at) & u64::from(SHF_COMPRESSED) != 0,
    })
}

/// The GNU build ID among notes, at most 64 bytes.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    loop {
        let (head, rest) = pod::slice_from_bytes::<U32<Le>>(notes, 3).ok()?;
        let [name_len, len, kind] = [head.first()?, head.get(1)?, head.get(2)?].map(|v| v.get(LittleEndian));
        let padded = |len: u32| (len as usize).checked_add(3).map(|len| len & !3);
        let name = rest.get(..name_len as usize)?;
        let rest = rest.get(padded(name_len)?..)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(rest.get(..len as usize)?.iter().copied().take(BUILD_ID).collect());
        }
        notes = rest.get(padded(len)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn read_file(path: &std::path::Path) -> Option<Elf> {
        let file = std::fs::File::open(path).unwrap();
        Elf::read(true, &mut |offset, buf| file.read_exact_at(buf, offset).is_ok())
    }

    /// Checks that the headers of this very program are read: code, entry, tables.
    #[test]
    fn a_program_is_read() {
        let elf = read_file(&std::env::current_exe().unwrap()).unwrap();
        assert!(elf.segments.iter().any(|s| s.is_executable));
        assert!(elf.has_loader && matches!(elf.tables, Tables::Indexed(_)), "{elf:?}");
        let offset = elf.offset_of(elf.entry).unwrap();
        assert_eq!(elf.svma_of(offset), Some(elf.entry));
    }

    /// Checks that the headers of a file that is cut anywhere, or has any one byte changed, end nothing.
    #[test]
    fn damaged_headers_are_refused_or_read() {
        let path = std::env::current_exe().unwrap();
        let mut head = vec![0; 2048];
        std::fs::File::open(path).unwrap().read_exact_at(&mut head, 0).unwrap();
        let read = |bytes: &[u8]| {
            Elf::read(true, &mut |offset, buf| {
                let range = usize::try_from(offset).ok().and_then(|at| Some(at..at.checked_add(buf.len())?));
                range.and_then(|range| bytes.get(range)).map(|from| buf.copy_from_slice(from)).is_some()
            })
        };
        for len in 0..head.len() {
            let _ = read(&head[..len]);
        }
        for at in 0..head.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bytes = head.clone();
                bytes[at] = value;
                let _ = read(&bytes);
            }
        }
        assert_eq!(read(&head[..40]), None);
    }

    /// Checks that a build ID is found behind other notes, and that lengths of lies are refused.
    #[test]
    fn build_ids_are_found() {
        let mut notes = Vec::new();
        let mut note = |name: &[u8], kind: u32, content: &[u8]| {
            for word in [name.len() as u32, content.len() as u32, kind] {
                notes.extend(word.to_le_bytes());
            }
            for part in [name, content] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        };
        note(b"GNU\0", 1, &[1, 2, 3]);
        note(b"GNU\0", 3, &[9; 20]);
        assert_eq!(build_id(&notes), Some(vec![9; 20]));
        notes[4] = 0xff;
        notes[7] = 0xff;
        assert_eq!(build_id(&notes), None);
    }
}
