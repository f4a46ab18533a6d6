//! ELF core files (core(5), kernel `fs/binfmt_elf.c:elf_core_dump()`; gdb's gcore writes the same).
//!
//! Segments are the VMAs, notes tell names, threads and the program. The file is read in bounded pieces and never
//! mapped: a core file of a terabyte costs its headers. Cut files are common, because disks fill up and limits cut, so
//! what the headers say is shown, with how much of it is there.

mod memory;
mod notes;

pub use memory::CoreMemory;
use notes::{FileEntry, Notes};

use crate::parse::maps::MapsLine;
use crate::read::snapshot::{Maps, push};
use crate::saved::{Saved, SavedError, SavedKind, Truncated, range};
use object::elf::{ET_CORE, FileHeader32, FileHeader64, PF_R, PF_W, PF_X, PN_XNUM, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};
use rustc_hash::FxHashSet;
use std::fs::File;
use std::path::Path;
use vmatlas_event::{Addr, Bytes, Dev, Prot, Sharing};

/// The most segments that are read; the kernel's own limit of VMAs is far below.
const SEGMENTS: usize = 1 << 22;

/// One program header, whatever the width and byte order of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    addr: u64,
    in_file: u64,
    in_memory: u64,
}

/// The machine that wrote the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    /// EM_* of the ELF header.
    number: u16,
    is_64: bool,
    little: bool,
}

pub(super) fn read(path: &Path, file: File) -> Result<Saved, SavedError> {
    let len = file.metadata()?.len();
    let (machine, segments) = headers(file.try_clone()?)?;
    let mut notes = Notes::default();
    for segment in segments.iter().filter(|s| s.kind == PT_NOTE) {
        notes.read(&file, machine, segment.offset, segment.in_file.min(len.saturating_sub(segment.offset)));
    }
    let mut loads: Vec<Segment> = segments.iter().copied().filter(|s| s.kind == PT_LOAD).collect();
    loads.sort_by_key(|s| s.addr);
    let mut saved = Saved::new(SavedKind::Core, path);
    rows(&mut saved, &loads, &mut notes.files, len);
    if saved.rows.is_empty() {
        return Err(SavedError::Core("no segments"));
    }
    let of = segments.iter().map(|s| s.offset.saturating_add(s.in_file)).max().unwrap_or(0);
    saved.truncated = (of > len).then_some(Truncated { have: Bytes(len), of: Bytes(of) });
    saved.left_out =
        notes.files.iter().filter(|file| saved.row_at(Addr(file.start)).is_none()).count() as u64;
    saved.facts = notes.facts();
    saved.memory = Some(CoreMemory::new(file, &loads, len));
    Ok(saved)
}

/// Reads the ELF header and the program headers of either width and byte order.
fn headers(file: File) -> Result<(Machine, Vec<Segment>), SavedError> {
    let cache = ReadCache::new(file);
    const ELFCLASS64: u8 = 2;
    match (&cache).read_bytes_at(4, 1) {
        Ok([ELFCLASS64]) => of_width::<FileHeader64<Endianness>>(&cache),
        Ok(_) => of_width::<FileHeader32<Endianness>>(&cache),
        Err(()) => Err(SavedError::Core("it ends inside the ELF header")),
    }
}

fn of_width<H: FileHeader<Endian = Endianness>>(
    cache: &ReadCache<File>,
) -> Result<(Machine, Vec<Segment>), SavedError> {
    let bad = |_| SavedError::Core("its ELF header is wrong or cut");
    let header = H::parse(cache).map_err(bad)?;
    let endian = header.endian().map_err(bad)?;
    if header.e_type(endian) != ET_CORE {
        return Err(SavedError::NotCore);
    }
    if usize::from(header.e_phentsize(endian)) != size_of::<H::ProgramHeader>() {
        return Err(SavedError::Core("its program headers have another size"));
    }
    let cut = |_| SavedError::Core("it ends inside its program headers");
    let at: u64 = header.e_phoff(endian).into();
    let count = match header.phnum(endian, cache) {
        Ok(count) => count,
        // The count stands in a section header at the very end, which a cut file has lost; but the kernel writes the
        // notes directly after the program headers.
        Err(_) if header.e_phnum(endian) == PN_XNUM => {
            let first: &H::ProgramHeader = cache.read_at(at).map_err(cut)?;
            let notes: u64 = first.p_offset(endian).into();
            let bytes = if first.p_type(endian) == PT_NOTE { notes.saturating_sub(at) } else { 0 };
            usize::try_from(bytes / size_of::<H::ProgramHeader>() as u64).unwrap_or(usize::MAX)
        }
        Err(_) => return Err(SavedError::Core("its program headers are not there")),
    };
    if count == 0 {
        return Err(SavedError::Core("no segments"));
    }
    if count > SEGMENTS {
        return Err(SavedError::Core("more segments than any process has"));
    }
    let list: &[H::ProgramHeader] = cache.read_slice_at(at, count).map_err(cut)?;
    let segments = list
        .iter()
        .map(|h| Segment {
            kind: h.p_type(endian),
            flags: h.p_flags(endian),
            offset: h.p_offset(endian).into(),
            addr: h.p_vaddr(endian).into(),
            in_file: h.p_filesz(endian).into(),
            in_memory: h.p_memsz(endian).into(),
        })
        .collect();
    let little = endian == Endianness::Little;
    Ok((Machine { number: header.e_machine(endian), is_64: header.is_type_64(), little }, segments))
}

/// Makes rows of segments, which come in address order, and names them by NT_FILE.
fn rows(saved: &mut Saved, loads: &[Segment], files: &mut [FileEntry], len: u64) {
    files.sort_by_key(|file| file.start);
    let mut maps = Maps::default();
    let mut names = FxHashSet::default();
    let mut dumped: Vec<Bytes> = Vec::new();
    for segment in loads {
        let Some(range) = segment.addr.checked_add(segment.in_memory).and_then(|e| range(segment.addr, e))
        else {
            maps.torn += u64::from(segment.in_memory != 0);
            continue;
        };
        let at = files.partition_point(|file| file.end <= segment.addr);
        let file = files.get(at).filter(|file| file.start <= segment.addr);
        let line = MapsLine {
            range,
            prot: Prot::new(segment.flags & PF_R != 0, segment.flags & PF_W != 0, segment.flags & PF_X != 0),
            // Not told; private is what most are (see `Saved::knows_sharing`).
            sharing: Sharing::Private,
            offset: file.map_or(0, |f| f.offset.wrapping_add(segment.addr - f.start)),
            dev: Dev::default(),
            inode: 0,
            name: file.map_or(&[], |f| &f.name),
        };
        push(&mut maps, &mut names, &line);
        let there = segment.in_file.min(segment.in_memory).min(len.saturating_sub(segment.offset));
        // Rows that this one overlapped are gone or shorter.
        dumped.truncate(maps.rows.len().saturating_sub(1));
        dumped.push(Bytes(there));
    }
    for (row, bytes) in maps.rows.iter().zip(&mut dumped) {
        *bytes = (*bytes).min(row.range.len());
    }
    saved.torn = maps.torn;
    saved.rows = maps.rows;
    saved.dumped = Some(dumped);
}
