//! The sections of an ELF file, by elf(5): only what names need, and every number checked before it is used.

use super::compressed;
use super::error::Flaw;
use super::input::Input;
use super::limits::Budget;
use std::rc::Rc;

const MAX_SECTIONS: u64 = 100_000;
const MAX_NAME: usize = 64;
const MAX_NOTES: u64 = 64 << 10;
const NOBITS: u32 = 8;
const NOTE: u32 = 7;
const COMPRESSED: u64 = 0x800;

/// An ELF file whose section headers were read.
#[derive(Debug)]
pub(super) struct Elf {
    input: Input,
    /// 64 bits, or 32.
    wide: bool,
    sections: Vec<Section>,
    /// PT_NOTE: offset and size.
    notes: Vec<(u64, u64)>,
}

/// One section header.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its name, cut at 64 bytes.
    pub(super) name: String,
    kind: u32,
    flags: u64,
    /// Its address in the file's own addresses (SVMA).
    pub(super) addr: u64,
    offset: u64,
    /// Its size in memory; in the file too, unless it has no bits there.
    pub(super) size: u64,
    /// The section it refers to: a symbol table's strings.
    pub(super) link: u32,
}

/// Little-endian numbers at fixed places of a header; 0 beyond its end, which the caller has excluded by its length.
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn number<const N: usize>(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        if let (Some(to), Some(from)) = (bytes.get_mut(..N), self.0.get(at..at + N)) {
            to.copy_from_slice(from);
        }
        u64::from_le_bytes(bytes)
    }

    fn half(&self, at: usize) -> u64 {
        self.number::<2>(at)
    }

    fn word(&self, at: usize) -> u64 {
        self.number::<4>(at)
    }

    /// A field that is as wide as the file's addresses, at its place in the narrow and in the wide header.
    fn field(&self, wide: bool, narrow_at: usize, wide_at: usize) -> u64 {
        if wide { self.number::<8>(wide_at) } else { self.word(narrow_at) }
    }
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// Every [`Flaw`] but compression's.
    pub(super) fn parse(input: Input) -> Result<Elf, Flaw> {
        const WHAT: &str = "the ELF header";
        if input.len() < 52 {
            return Err(Flaw::NotElf);
        }
        let bytes = input.read(WHAT, 0, input.len().min(64))?;
        let wide = match (bytes.get(..4), bytes.get(4), bytes.get(5)) {
            (Some(b"\x7fELF"), Some(1), Some(1)) => false,
            (Some(b"\x7fELF"), Some(2), Some(1)) => true,
            _ => return Err(Flaw::NotElf),
        };
        if wide && bytes.len() < 64 {
            return Err(Flaw::Cut(WHAT.to_owned()));
        }
        let head = Header(&bytes);
        let (program_at, sections_at) = (head.field(wide, 28, 32), head.field(wide, 32, 40));
        let tail = if wide { 52 } else { 40 };
        let [_, program_size, programs, section_size, sections, names] =
            [0, 2, 4, 6, 8, 10].map(|i| head.half(tail + i));
        let mut elf = Elf { input, wide, sections: Vec::new(), notes: Vec::new() };
        elf.read_sections(sections_at, section_size, sections, names)?;
        // What is wrong with program headers does not matter here: notes are found by sections too.
        elf.notes = elf.read_notes(program_at, program_size, programs).unwrap_or_default();
        Ok(elf)
    }

    fn read_sections(&mut self, at: u64, size: u64, count: u64, names: u64) -> Result<(), Flaw> {
        const WHAT: &str = "the table of sections";
        let wide = self.wide;
        if at == 0 {
            return Ok(());
        }
        if size != if wide { 64 } else { 40 } {
            return Err(Flaw::Damaged(WHAT.to_owned()));
        }
        // Numbers that do not fit are in the first header (elf(5), e_shnum and e_shstrndx).
        let first = self.input.read(WHAT, at, size)?;
        let first = Header(&first);
        let count = if count == 0 { first.field(wide, 20, 32) } else { count };
        let names = if names == 0xffff { first.field(wide, 24, 40) & 0xffff_ffff } else { names };
        if count > MAX_SECTIONS {
            return Err(Flaw::TooLarge { what: WHAT.to_owned(), size: count, limit: MAX_SECTIONS });
        }
        let table = self.input.read(WHAT, at, size * count)?;
        let mut name_at = Vec::new();
        for bytes in table.chunks_exact(size as usize) {
            let head = Header(bytes);
            name_at.push(head.word(0));
            self.sections.push(Section {
                name: String::new(),
                kind: head.word(4) as u32,
                flags: head.field(wide, 8, 8),
                addr: head.field(wide, 12, 16),
                offset: head.field(wide, 16, 24),
                size: head.field(wide, 20, 32),
                link: if wide { head.word(40) } else { head.word(24) } as u32,
            });
        }
        let Some(names) = usize::try_from(names).ok().and_then(|i| self.sections.get(i)) else {
            return Ok(());
        };
        if names.kind == NOBITS || names.size > MAX_SECTIONS * MAX_NAME as u64 {
            return Err(Flaw::Damaged("the names of sections".to_owned()));
        }
        let names = self.input.read("the names of sections", names.offset, names.size)?;
        for (section, at) in self.sections.iter_mut().zip(name_at) {
            let rest = usize::try_from(at).ok().and_then(|at| names.get(at..)).unwrap_or_default();
            let name = rest.split(|b| *b == 0).next().unwrap_or_default();
            section.name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name)).into_owned();
        }
        Ok(())
    }

    fn read_notes(&self, at: u64, size: u64, count: u64) -> Option<Vec<(u64, u64)>> {
        let wide = self.wide;
        if size != if wide { 56 } else { 32 } {
            return None;
        }
        let table = self.input.read("the program headers", at, size * count).ok()?;
        let segments = table.chunks_exact(size as usize).map(Header).filter(|h| h.word(0) == 4);
        Some(segments.map(|h| (h.field(wide, 4, 8), h.field(wide, 16, 32))).collect())
    }

    /// Whether addresses have 64 bits.
    pub(super) fn is_wide(&self) -> bool {
        self.wide
    }

    /// The bytes and identity of the file.
    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The first section of a name that has bits in the file.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name && s.kind != NOBITS)
    }

    /// A section by its number.
    pub(super) fn section_at(&self, index: usize) -> Option<&Section> {
        self.sections.get(index)
    }

    /// The bytes of a section, unpacked where they are compressed.
    ///
    /// # Errors
    /// Every [`Flaw`] but [`Flaw::NotElf`].
    pub(super) fn data(&self, section: &Section, budget: &Budget) -> Result<Rc<[u8]>, Flaw> {
        let name = &section.name;
        if section.kind == NOBITS {
            return Ok(Rc::from([]));
        }
        budget.take(name, section.size)?;
        let bytes = self.input.read(name, section.offset, section.size)?;
        if section.flags & COMPRESSED != 0 {
            return compressed::section(name, &bytes, self.wide, budget);
        }
        if name.starts_with(".zdebug_") {
            return compressed::old_section(name, &bytes, budget);
        }
        Ok(bytes)
    }

    /// The GNU build ID; `None` where there is none, or none of 1 to 64 bytes.
    pub(super) fn build_id(&self) -> Option<Vec<u8>> {
        let sections = self.sections.iter().filter(|s| s.kind == NOTE).map(|s| (s.offset, s.size));
        // A debug file keeps the program headers of its module, whose offsets mean nothing in it: sections come first.
        sections.chain(self.notes.iter().copied()).filter(|(_, size)| *size <= MAX_NOTES).find_map(
            |(at, size)| {
                let bytes = self.input.read("a note", at, size).ok()?;
                build_id_in(&bytes)
            },
        )
    }
}

/// The build ID among notes: name "GNU", type 3 (elf(5), Elf64_Nhdr; names and contents are padded to 4 bytes).
fn build_id_in(mut notes: &[u8]) -> Option<Vec<u8>> {
    while notes.len() >= 12 {
        let head = Header(notes);
        let (name_len, len, kind) = (head.word(0) as usize, head.word(4) as usize, head.word(8));
        let name = notes.get(12..)?.get(..name_len)?;
        let rest = notes.get(12 + name_len.next_multiple_of(4)..)?;
        let value = rest.get(..len)?;
        if kind == 3 && name == b"GNU\0" && (1..=64).contains(&len) {
            return Some(value.to_vec());
        }
        notes = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}
