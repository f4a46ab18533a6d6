//! Functions by the symbol tables of ELF files.

use super::elf::{Elf, Section};
use super::error::Flaw;
use super::limits::{Budget, Limits};
use super::ranges::Ranges;
use std::rc::Rc;

const NOTYPE_TO_RESERVED: usize = 0xff00;
const FUNC: u8 = 2;
const GNU_IFUNC: u8 = 10;
const LOCAL: u8 = 0;
/// How much of a name is looked at to choose among names of one place.
const JUDGED: usize = 256;

/// The functions of a module and its debug files.
#[derive(Debug)]
pub(super) struct Functions {
    ranges: Ranges<NameAt>,
    strings: Vec<Rc<[u8]>>,
}

/// Where a name is: which table of strings, and where in it.
#[derive(Clone, Copy, Debug)]
struct NameAt {
    table: u32,
    at: u32,
}

/// Takes in tables, one after the other.
#[derive(Debug, Default)]
pub(super) struct Builder {
    symbols: Vec<Symbol>,
    strings: Vec<Rc<[u8]>>,
    seen: u64,
}

#[derive(Debug)]
struct Symbol {
    start: u64,
    /// Where it ends; where its size is 0, how far it may reach.
    end: u64,
    has_size: bool,
    is_local: bool,
    name: NameAt,
}

impl Builder {
    /// Adds the functions of `.symtab` or `.dynsym` (`name`), where the file has it.
    ///
    /// # Errors
    /// A [`Flaw`] of that table; what was added before stays.
    pub(super) fn add(
        &mut self,
        elf: &Elf,
        name: &str,
        limits: &Limits,
        budget: &Budget,
    ) -> Result<(), Flaw> {
        let Some(section) = elf.section(name) else { return Ok(()) };
        let strings = elf.section_at(section.link as usize).ok_or_else(|| Flaw::Damaged(name.to_owned()))?;
        let size = if elf.is_wide() { 24 } else { 16 };
        self.seen = self.seen.saturating_add(section.size / size);
        if self.seen > limits.symbols {
            return Err(Flaw::TooLarge { what: name.to_owned(), size: self.seen, limit: limits.symbols });
        }
        let table = elf.data(section, budget)?;
        let strings = elf.data(strings, budget)?;
        let number = u32::try_from(self.strings.len()).unwrap_or(u32::MAX);
        self.strings.push(strings);
        let entries = table.chunks_exact(size as usize);
        self.symbols.extend(entries.filter_map(|entry| {
            let entry = if elf.is_wide() { wide(entry) } else { narrow(entry) }?;
            entry.function(number, |index| elf.section_at(index))
        }));
        Ok(())
    }

    /// The functions of all tables. Of several names of one range the best for people stays: global, without leading
    /// underscores, short (`mmap`, not `__GI___mmap64`).
    pub(super) fn build(mut self) -> Functions {
        self.end_at_the_next();
        let strings = &self.strings;
        self.symbols.sort_by_cached_key(|s| {
            let name = bytes_of(strings, s.name, JUDGED);
            let underscores = name.iter().take_while(|b| **b == b'_').count();
            (s.start, std::cmp::Reverse(s.end), std::cmp::Reverse((s.is_local, underscores, name.len())))
        });
        // The best of a range is its last.
        let mut ranges: Vec<(u64, u64, NameAt)> = Vec::with_capacity(self.symbols.len());
        for symbol in &self.symbols {
            let range = (symbol.start, symbol.end, symbol.name);
            match ranges.last_mut() {
                Some(last) if (last.0, last.1) == (symbol.start, symbol.end) => *last = range,
                _ => ranges.push(range),
            }
        }
        Functions { ranges: Ranges::new(ranges), strings: self.strings }
    }

    /// A symbol of size 0 (hand-written assembler) reaches to the next, or to the end of its section.
    fn end_at_the_next(&mut self) {
        let mut starts: Vec<u64> = self.symbols.iter().map(|s| s.start).collect();
        starts.sort_unstable();
        for symbol in self.symbols.iter_mut().filter(|s| !s.has_size) {
            let next = starts.partition_point(|start| *start <= symbol.start);
            symbol.end = symbol.end.min(starts.get(next).copied().unwrap_or(u64::MAX));
        }
    }
}

/// What a table says of one symbol (elf(5), Elf64_Sym and Elf32_Sym).
struct Entry {
    name: u32,
    info: u8,
    section: usize,
    value: u64,
    size: u64,
}

fn wide(bytes: &[u8]) -> Option<Entry> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (&[info, _], rest) = rest.split_first_chunk::<2>()?;
    let (section, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_first_chunk::<8>()?;
    let size = rest.first_chunk::<8>()?;
    Some(Entry {
        name: u32::from_le_bytes(*name),
        info,
        section: u16::from_le_bytes(*section).into(),
        value: u64::from_le_bytes(*value),
        size: u64::from_le_bytes(*size),
    })
}

fn narrow(bytes: &[u8]) -> Option<Entry> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let (&[info, _], rest) = rest.split_first_chunk::<2>()?;
    let section = rest.first_chunk::<2>()?;
    Some(Entry {
        name: u32::from_le_bytes(*name),
        info,
        section: u16::from_le_bytes(*section).into(),
        value: u32::from_le_bytes(*value).into(),
        size: u32::from_le_bytes(*size).into(),
    })
}

impl Entry {
    /// As a function that is defined in this file; `None` for everything else.
    fn function<'a>(&self, table: u32, section: impl Fn(usize) -> Option<&'a Section>) -> Option<Symbol> {
        if !matches!(self.info & 0xf, FUNC | GNU_IFUNC) || self.section == 0 {
            return None;
        }
        let end = match self.size {
            0 if self.section < NOTYPE_TO_RESERVED => {
                section(self.section).and_then(|s| s.addr.checked_add(s.size)).unwrap_or(u64::MAX)
            }
            0 => u64::MAX,
            size => self.value.saturating_add(size),
        };
        Some(Symbol {
            start: self.value,
            end,
            has_size: self.size != 0,
            is_local: self.info >> 4 == LOCAL,
            name: NameAt { table, at: self.name },
        })
    }
}

impl Functions {
    /// The name of the function that covers an address, as the linker has it, at most `limit` bytes and one more.
    pub(super) fn name_at(&self, at: u64, limit: usize) -> Option<&[u8]> {
        let mut names = self.ranges.covering(at).map(|name| bytes_of(&self.strings, *name, limit + 1));
        names.find(|name| !name.is_empty())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.len() == 0
    }

    /// Roughly the bytes they occupy.
    pub(super) fn size(&self) -> u64 {
        let strings: usize = self.strings.iter().map(|s| s.len()).sum();
        (strings + self.ranges.len() * 32) as u64
    }
}

fn bytes_of(strings: &[Rc<[u8]>], name: NameAt, most: usize) -> &[u8] {
    let rest = strings.get(name.table as usize).and_then(|s| s.get(name.at as usize..)).unwrap_or_default();
    let rest = rest.get(..most).unwrap_or(rest);
    rest.split(|b| *b == 0).next().unwrap_or_default()
}
