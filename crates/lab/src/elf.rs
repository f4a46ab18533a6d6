//! What an ELF file says of itself that decides where and how it is mapped (elf(5)).

use object::Endianness;
use object::elf::{
    DT_NEEDED, DT_STRTAB, ET_EXEC, FileHeader64, PF_W, PF_X, PT_GNU_RELRO, PT_INTERP, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{ReadCache, ReadRef};
use std::fs::File;
use vmatlas_event::{Bytes, PageSize};

/// More than any program has: those that say so are not read.
const MOST_HEADERS: usize = 64;
const MOST_NEEDED: usize = 256;
const LONGEST_NAME: u64 = 4096;

/// A program or a library.
#[derive(Clone, Debug, Default)]
pub(crate) struct Elf {
    /// Whether its addresses are fixed in the file (ET_EXEC), so that it can be nowhere else.
    pub(crate) is_fixed: bool,
    /// What is mapped of it, by address.
    pub(crate) loads: Vec<Load>,
    /// What its loader makes read-only after relocation (PT_GNU_RELRO): address in the file, and length.
    pub(crate) relro: Option<(u64, Bytes)>,
    /// The program that loads it (PT_INTERP): the path of ld.so; `None` for what is linked statically.
    pub(crate) interpreter: Option<Vec<u8>>,
    /// The names of the libraries it asks for (DT_NEEDED).
    pub(crate) needed: Vec<Vec<u8>>,
}

/// A piece that is mapped (PT_LOAD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// Its address as the file has it.
    pub(crate) addr: u64,
    /// How much of it is in the file.
    pub(crate) in_file: Bytes,
    /// What its address must be a multiple of.
    pub(crate) align: u64,
    /// PF_W and PF_X of its flags.
    pub(crate) allows: (bool, bool),
}

impl Elf {
    /// Reads the headers of a 64-bit file, and nothing else of it; `None` for what is none or is damaged.
    pub(crate) fn read(file: File) -> Option<Elf> {
        let cache = ReadCache::new(file);
        let data = &cache;
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let headers = header.program_headers(endian, data).ok()?;
        if headers.len() > MOST_HEADERS {
            return None;
        }
        let mut elf = Elf { is_fixed: header.e_type(endian) == ET_EXEC, ..Elf::default() };
        for header in headers {
            let (offset, addr) = (header.p_offset(endian), header.p_vaddr(endian));
            match header.p_type(endian) {
                PT_LOAD => {
                    let flags = header.p_flags(endian);
                    elf.loads.push(Load {
                        offset,
                        addr,
                        in_file: Bytes(header.p_filesz(endian)),
                        align: header.p_align(endian),
                        allows: (flags & PF_W != 0, flags & PF_X != 0),
                    });
                }
                PT_GNU_RELRO => elf.relro = Some((addr, Bytes(header.p_memsz(endian)))),
                PT_INTERP => {
                    let len = header.p_filesz(endian).min(LONGEST_NAME);
                    let path = data.read_bytes_at(offset, len).ok()?;
                    elf.interpreter = Some(path.split(|byte| *byte == 0).next()?.to_vec());
                }
                _ => {}
            }
        }
        let all = headers.iter().find_map(|header| header.dynamic(endian, data).ok().flatten());
        let all = all.unwrap_or_default();
        let strings = all.iter().find(|entry| entry.tag(endian) == DT_STRTAB);
        let strings = strings.and_then(|entry| elf.in_file(entry.val(endian)));
        let name = |at: u64| {
            let start = strings?.checked_add(at)?;
            data.read_bytes_at_until(start..start.checked_add(LONGEST_NAME)?, 0).ok().map(<[u8]>::to_vec)
        };
        let needed = all.iter().filter(|entry| entry.tag(endian) == DT_NEEDED).take(MOST_NEEDED);
        elf.needed = needed.filter_map(|entry| name(entry.val(endian))).collect();
        Some(elf)
    }

    /// Where in the file an address is.
    fn in_file(&self, addr: u64) -> Option<u64> {
        let inside = |load: &&Load| addr.checked_sub(load.addr).is_some_and(|at| at < load.in_file.0);
        let load = self.loads.iter().find(inside)?;
        load.offset.checked_add(addr - load.addr)
    }

    /// How many VMAs of the file the kernel makes of it at exec: one for each piece, unless two that follow each other in
    /// memory and in the file allow the same (fs/binfmt_elf.c, load_elf_binary()).
    pub(crate) fn vmas(&self, page: PageSize) -> u64 {
        let mapped: Vec<&Load> = self.loads.iter().filter(|load| load.in_file.0 > 0).collect();
        let merge = |pair: &&[&Load]| match pair {
            [a, b] => {
                let end = a.addr.saturating_add(a.in_file.0).checked_next_multiple_of(page.bytes());
                let shift = |load: &Load| load.addr.wrapping_sub(load.offset);
                a.allows == b.allows
                    && end == Some(b.addr / page.bytes() * page.bytes())
                    && shift(a) == shift(b)
            }
            _ => false,
        };
        (mapped.len() - mapped.windows(2).filter(merge).count()) as u64
    }

    /// What its address must be a multiple of, a page at least.
    pub(crate) fn align(&self, page: PageSize) -> u64 {
        let most = self.loads.iter().map(|load| load.align).filter(|align| align.is_power_of_two()).max();
        most.unwrap_or(1).max(page.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what is read of a program that is certainly there: of this one.
    #[test]
    fn this_program_is_read() {
        let page = vmatlas_sys::page_size();
        let elf = Elf::read(File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(elf.vmas(page) >= 2 && elf.vmas(page) <= elf.loads.len() as u64);
        assert!(elf.loads.iter().any(|load| load.allows == (false, true)));
        assert_eq!(elf.align(page) % page.bytes(), 0);
        if let Some(path) = &elf.interpreter {
            assert!(path.starts_with(b"/") && elf.needed.iter().any(|name| name.starts_with(b"libc")));
        }
    }

    /// Checks that pieces that continue each other are one VMA, and that others are not.
    #[test]
    fn pieces_that_continue_are_one() {
        let load = |offset, addr, allows| Load { offset, addr, in_file: Bytes(0x1000), align: 4096, allows };
        let vmas = |loads: &[Load]| Elf { loads: loads.to_vec(), ..Elf::default() }.vmas(PageSize::FOUR_KIB);
        let first = load(0, 0x1000, (false, false));
        assert_eq!(vmas(&[first, load(0x1000, 0x2000, (false, false))]), 1);
        assert_eq!(vmas(&[first, load(0x1000, 0x2000, (false, true))]), 2);
        assert_eq!(vmas(&[first, load(0x1000, 0x3000, (false, false))]), 2);
        assert_eq!(vmas(&[first, load(0x2000, 0x2000, (false, false))]), 2);
    }

    /// Checks that what is no such file is none.
    #[test]
    fn other_files_are_none() {
        assert!(Elf::read(File::open("/proc/self/maps").unwrap()).is_none());
    }
}
