//! From an address of a file to its rule: `.eh_frame_hdr`, `.eh_frame` (LSB Core 10.6, DWARF 6.4).
//!
//! gimli parses the entries and runs their instructions. It wants a whole section in memory; so that nobody has to
//! read one (a browser's has 10 MB), the two entries that matter are copied out and put together as a section of their
//! own, at the addresses they had.

use crate::elf::{Elf, Tables};
use crate::rule::{Rule, Told};
use gimli::{
    BaseAddresses, CieOrFde, EhFrame, EhFrameOffset, EndianSlice, FrameDescriptionEntry, LittleEndian,
    UnwindContext, UnwindOffset, UnwindSection,
};
use std::sync::Arc;

/// An entry is not longer than this; the longest of a browser has 4 KB.
const ENTRY: usize = 64 * 1024;
/// A table without an index is not longer than this; then an index is made of it, once.
pub(crate) const PLAIN: u64 = 16 << 20;
/// The first three fields of `.eh_frame_hdr` as every linker writes them: pcrel|sdata4, udata4, datarel|sdata4.
const HDR: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
const HDR_LEN: u64 = 12;

/// Reads bytes at an address of the file's own (SVMA); whether all were there.
pub(crate) type ReadSvma<'a> = dyn FnMut(u64, &mut [u8]) -> bool + 'a;

/// How entries are found in one module.
#[derive(Debug, Default)]
pub(crate) enum Index {
    /// By the file's own index: where it is, and how many entries it has.
    Sorted { at: u64, count: u64 },
    /// By one that was made: first address, address after the last, place of the entry.
    Made(Vec<(u64, u64, u64)>),
    /// There is none.
    #[default]
    None,
}

impl Index {
    /// Reads the head of the tables, or all of them where the file has no index.
    pub(crate) fn new(elf: &Elf, read: &mut ReadSvma<'_>) -> Index {
        match &elf.tables {
            Tables::Indexed(range) => {
                let mut head = [0; HDR_LEN as usize];
                if !read(range.start, &mut head) || !head.starts_with(&HDR) {
                    return Index::None;
                }
                let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
                // A length of lies is cut at the end of its segment by what can be read.
                let room = (range.end - range.start).saturating_sub(HDR_LEN) / 8;
                Index::Sorted { at: range.start, count: u64::from(count).min(room) }
            }
            Tables::Plain(range) => {
                let len = (range.end - range.start).min(PLAIN);
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
                if !read(range.start, &mut bytes) {
                    return Index::None;
                }
                Index::Made(make(&bytes, range.start))
            }
            Tables::None => Index::None,
        }
    }

    /// The address of the entry that may hold `svma`.
    fn entry(&self, svma: u64, read: &mut ReadSvma<'_>) -> Option<u64> {
        match self {
            Index::Sorted { at, count } => {
                let mut pair = |i: u64| {
                    let mut bytes = [0; 8];
                    let [a, b, c, d, e, f, g, h] =
                        read(at.checked_add(HDR_LEN + i * 8)?, &mut bytes).then_some(bytes)?;
                    let from_hdr = |v: [u8; 4]| at.wrapping_add_signed(i32::from_le_bytes(v).into());
                    Some((from_hdr([a, b, c, d]), from_hdr([e, f, g, h])))
                };
                let (mut low, mut high) = (0, *count);
                while low < high {
                    let middle = low + (high - low) / 2;
                    if pair(middle)?.0 <= svma { low = middle + 1 } else { high = middle }
                }
                pair(low.checked_sub(1)?).map(|(_, entry)| entry)
            }
            Index::Made(entries) => {
                let after = entries.partition_point(|(start, ..)| *start <= svma);
                let (_, end, entry) = entries.get(after.checked_sub(1)?)?;
                (svma < *end).then_some(*entry)
            }
            Index::None => None,
        }
    }

    /// The rule for an address of the file's own.
    pub(crate) fn rule(
        &self,
        svma: u64,
        context: &mut UnwindContext<usize>,
        read: &mut ReadSvma<'_>,
    ) -> Rule {
        self.entry(svma, read).and_then(|entry| rule_of(entry, svma, context, read)).unwrap_or(Rule::Missing)
    }
}

/// One entry with its length field, whole.
fn entry_at(at: u64, read: &mut ReadSvma<'_>) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    if !read(at, &mut len) {
        return None;
    }
    // 0xffff_ffff would announce a 64-bit length, which no linker writes into .eh_frame.
    let len = usize::try_from(u32::from_le_bytes(len)).ok().filter(|len| (4..=ENTRY).contains(len))?;
    let mut bytes = vec![0; len + 4];
    read(at, &mut bytes).then_some(bytes)
}

fn rule_of(at: u64, svma: u64, context: &mut UnwindContext<usize>, read: &mut ReadSvma<'_>) -> Option<Rule> {
    const POINTER: usize = 4;
    let mut entry = entry_at(at, read)?;
    let pointer: [u8; 4] = entry.get(POINTER..POINTER + 4)?.try_into().ok()?;
    // The pointer is the distance from itself back to the common entry.
    let common_at = (at + POINTER as u64).checked_sub(u64::from(u32::from_le_bytes(pointer)))?;
    let mut section = entry_at(common_at, read)?;
    let common_len = section.len();
    let distance = u32::try_from(common_len + POINTER).ok()?;
    entry.get_mut(POINTER..POINTER + 4)?.copy_from_slice(&distance.to_le_bytes());
    section.extend_from_slice(&entry);

    let bases = BaseAddresses::default().set_eh_frame(at.checked_sub(common_len as u64)?);
    let mut eh_frame = EhFrame::from(EndianSlice::new(&section, LittleEndian));
    eh_frame.set_address_size(8);
    if cfg!(target_arch = "aarch64") {
        eh_frame.set_vendor(gimli::Vendor::AArch64);
    }
    let fde = eh_frame
        .fde_from_offset(&bases, EhFrameOffset(common_len), |s, b, o| s.cie_from_offset(b, o))
        .ok()?;
    told(&eh_frame, &fde, &bases, context, svma)
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The rule that an entry has for an address.
pub(crate) fn told<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    fde: &FrameDescriptionEntry<Slice<'a>>,
    bases: &BaseAddresses,
    context: &mut UnwindContext<usize>,
    svma: u64,
) -> Option<Rule>
where
    S::Offset: UnwindOffset<usize>,
{
    if !fde.contains(svma) {
        return None;
    }
    let row = fde.unwind_info_for_address(section, bases, context, svma).ok()?;
    let ra = fde.cie().return_address_register().0;
    if ra != crate::arch::NATIVE.ra {
        return None;
    }
    let bytes = |e: gimli::UnwindExpression<usize>| Some(Arc::from(e.get(section).ok()?.0.slice()));
    Told::of_row(row, fde.cie().encoding(), ra, fde.is_signal_trampoline(), bytes)
}

/// An index of a section without one.
fn make(section: &[u8], svma: u64) -> Vec<(u64, u64, u64)> {
    let bases = BaseAddresses::default().set_eh_frame(svma);
    let mut eh_frame = EhFrame::from(EndianSlice::new(section, LittleEndian));
    eh_frame.set_address_size(8);
    let entries = index_of(&eh_frame, section, &bases).into_iter();
    entries.map(|(start, end, at)| (start, end, svma.wrapping_add(at as u64))).collect()
}

/// The entries of a section: first address, address after the last, offset of the entry. What comes before damage counts.
///
/// Each entry has its common entry read again; so that one that is long and shared by many does not take forever, all of that
/// together may be as much as four times the section. What compilers write needs once.
pub(crate) fn index_of<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bytes: &[u8],
    bases: &BaseAddresses,
) -> Vec<(u64, u64, usize)>
where
    S::Offset: UnwindOffset<usize>,
{
    let len = |at: usize| {
        let len = bytes.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*len)).ok().filter(|len| *len <= ENTRY)
    };
    let mut left = bytes.len().saturating_mul(4);
    let mut entries = section.entries(bases);
    let mut index = Vec::new();
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let Some(common) = len(UnwindOffset::into(partial.cie_offset())) else { continue };
        let Some(rest) = left.checked_sub(common) else { break };
        left = rest;
        let Ok(fde) = partial.parse(|s, b, o| s.cie_from_offset(b, o)) else { continue };
        if len(fde.offset()).is_some() {
            index.push((fde.initial_address(), fde.end_address(), fde.offset()));
        }
    }
    index.sort_unstable();
    index
}
