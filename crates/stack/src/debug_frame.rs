//! `.debug_frame` (DWARF 6.4): the tables of Go, which writes no others, and of assembly that has debug information alone.
//!
//! It is not mapped, has no index and is often packed. So it is read as a whole, once, when a place of its file has
//! no other rule.

use crate::elf::{Elf, Section};
use crate::rule::Rule;
use crate::symbolize::unpacked;
use crate::tables::{PLAIN, index_of, told};
use gimli::{
    BaseAddresses, DebugFrame as Parsed, DebugFrameOffset, EndianSlice, LittleEndian, UnwindContext,
    UnwindSection,
};

/// The tables of one file.
#[derive(Debug)]
pub(crate) struct DebugFrame {
    bytes: Vec<u8>,
    /// First address, address after the last, offset of the entry.
    entries: Vec<(u64, u64, usize)>,
}

impl DebugFrame {
    /// Reads them; `None` where there are none, or more than 16 MiB. `read` reads at an offset of the file.
    pub(crate) fn of(read: &mut dyn FnMut(u64, &mut [u8]) -> bool) -> Option<DebugFrame> {
        let Section { offset, size, is_packed, .. } = Elf::section(b".debug_frame", read)?;
        if size > PLAIN {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        if !read(offset, &mut bytes) {
            return None;
        }
        DebugFrame::new(if is_packed { unpacked(&bytes, PLAIN)? } else { bytes })
    }

    fn new(bytes: Vec<u8>) -> Option<DebugFrame> {
        let entries = index_of(&parsed(&bytes), &bytes, &BaseAddresses::default());
        (!entries.is_empty()).then_some(DebugFrame { bytes, entries })
    }

    /// The rule for an address of the file's own.
    pub(crate) fn rule(&self, svma: u64, context: &mut UnwindContext<usize>) -> Rule {
        self.find(svma, context).unwrap_or(Rule::Missing)
    }

    fn find(&self, svma: u64, context: &mut UnwindContext<usize>) -> Option<Rule> {
        let after = self.entries.partition_point(|(start, ..)| *start <= svma);
        let (_, end, at) = *self.entries.get(after.checked_sub(1)?)?;
        if svma >= end {
            return None;
        }
        let (section, bases) = (parsed(&self.bytes), BaseAddresses::default());
        let fde =
            section.fde_from_offset(&bases, DebugFrameOffset(at), |s, b, o| s.cie_from_offset(b, o)).ok()?;
        told(&section, &fde, &bases, context, svma)
    }

    /// So many bytes are kept for it.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + size_of_val(self.entries.as_slice())
    }
}

fn parsed(bytes: &[u8]) -> Parsed<EndianSlice<'_, LittleEndian>> {
    let mut section = Parsed::from(EndianSlice::new(bytes, LittleEndian));
    section.set_address_size(8);
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths are filled in.
    fn entry(id: u32, body: &[u8]) -> Vec<u8> {
        let mut out = ((body.len() + 4) as u32).to_le_bytes().to_vec();
        out.extend(id.to_le_bytes());
        out.extend(body);
        out
    }

    /// As Go writes it: version 3, factors 1 and -4, return address in 16; the frame is at rsp + 8.
    const CIE: [u8; 12] = [3, 0, 1, 0x7c, 16, 12, 7, 8, 5, 16, 2, 0];

    fn fde(cie: u32, start: u64, len: u64) -> Vec<u8> {
        entry(cie, &[&start.to_le_bytes()[..], &len.to_le_bytes(), &[0x0e, 32, 0, 0, 0, 0, 0, 0]].concat())
    }

    /// Checks that places are found by their entries, and others are not.
    #[test]
    fn places_have_rules() {
        let section = [entry(u32::MAX, &CIE), fde(0, 0x2000, 0x10), fde(0, 0x1000, 0x20)].concat();
        let tables = DebugFrame::new(section).unwrap();
        let mut context = UnwindContext::new();
        for (at, is_told) in
            [(0xfff, false), (0x1000, true), (0x101f, true), (0x1020, false), (0x200f, true), (0x2010, false)]
        {
            assert_eq!(matches!(tables.rule(at, &mut context), Rule::Told(_)), is_told, "{at:#x}");
        }
    }

    /// Checks that damage anywhere gives fewer rules and nothing worse, and that no entries are no tables.
    #[test]
    fn damage_gives_fewer_rules() {
        let whole = [entry(u32::MAX, &CIE), fde(0, 0x1000, 0x20), fde(0, 0x2000, 0x10)].concat();
        let mut context = UnwindContext::new();
        for cut in 0..whole.len() {
            if let Some(tables) = DebugFrame::new(whole[..cut].to_vec()) {
                assert_eq!(tables.rule(0x2000, &mut context), Rule::Missing, "{cut}");
            }
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(tables) = DebugFrame::new(bytes) {
                tables.rule(0x1000, &mut context);
            }
        }
        assert!(DebugFrame::new(entry(u32::MAX, &CIE)).is_none());
    }

    /// Checks a common entry of 8 MiB that a hundred thousand entries refer to: it is not read for each of them.
    #[test]
    fn a_common_entry_costs_its_length() {
        let mut common = entry(u32::MAX, &vec![b'x'; 8 << 20]);
        common[8] = 3;
        let mut bytes = common;
        for _ in 0..100_000 {
            bytes.extend(fde(0, 0x1000, 0x20));
        }
        // Reading it each time would take minutes.
        assert!(DebugFrame::new(bytes).is_none());
    }
}
