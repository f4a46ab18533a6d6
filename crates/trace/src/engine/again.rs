//! Mappings that are made again where everything is as it was: what the kernel said of the first holds for the second.
//!
//! Many programs take a large buffer and give it back a thousand times, and to ask about it costs a microsecond each time. So
//! among the calls that are kept (`later`), which no other event interrupts, maps are told apart: one is the same as before
//! when all that was mapped since is unmapped again, in reverse order and whole.
//!
//! Whether a new anonymous mapping becomes one with a neighbour follows from the map and from one thing that calls do not
//! tell: which neighbours have an `anon_vma` (mm/vma.c: `is_mergeable_anon_vma()`). The mapping itself has none yet, so that
//! matters only where it joins both neighbours to each other; such an answer is never used again. Nor are those about files, of which
//! a descriptor tells too little, and about mappings that grow by themselves.

use vmatlas_event::{AddrRange, MapFlags, MmId, Op, VmaRow};

/// So many answers are known at most.
const MOST: usize = 16;

/// MAP_PRIVATE and MAP_ANONYMOUS, and what may be with them: MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_STACK.
const PLAIN: u64 = 0x22;
const ALLOWED: u64 = PLAIN | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000;

/// What the kernel has said of mappings, as long as no other call was made.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Of this address space.
    mm: Option<MmId>,
    known: Vec<Known>,
    /// The map as it is: that after this mapping, or that before all of them.
    now: Option<usize>,
}

#[derive(Debug)]
struct Known {
    op: Op,
    range: AddrRange,
    row: VmaRow,
    /// The map it was made in.
    below: Option<usize>,
}

impl Answers {
    /// Something happened of which nothing is known here.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.now = None;
    }

    /// What the kernel would say of a mapping that was just made, where it has said so before.
    pub(super) fn mapped_again(&mut self, mm: MmId, op: &Op, range: AddrRange) -> Option<VmaRow> {
        if self.mm != Some(mm) {
            self.forget();
            self.mm = Some(mm);
        }
        let is_it = |known: &Known| known.below == self.now && known.range == range && known.op == *op;
        let at = self.known.iter().position(is_it)?;
        self.now = Some(at);
        self.known.get(at).map(|known| known.row.clone())
    }

    /// What the kernel has said of a mapping that was just made.
    pub(super) fn mapped(&mut self, op: &Op, range: AddrRange, rows: &[VmaRow]) {
        let is_plain = matches!(op, Op::Mmap { flags: MapFlags(flags), .. } if flags & PLAIN == PLAIN && flags & !ALLOWED == 0);
        let joins_neighbours =
            |row: &VmaRow| row.range.start() < range.start() && row.range.end() > range.end();
        match rows {
            [row] if is_plain && !joins_neighbours(row) && self.known.len() < MOST => {
                let below = self.now.replace(self.known.len());
                self.known.push(Known { op: op.clone(), range, row: row.clone(), below });
            }
            _ => self.forget(),
        }
    }

    /// A range was unmapped.
    pub(super) fn unmapped(&mut self, mm: MmId, range: AddrRange) {
        let last = self.now.and_then(|at| self.known.get(at));
        match last.filter(|last| self.mm == Some(mm) && last.range == range) {
            Some(last) => self.now = last.below,
            None => self.forget(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Bytes, Prot, ProtArg};

    const MM: MmId = MmId(1);

    fn r(start: u64, end: u64) -> AddrRange {
        AddrRange::new(Addr(start << 12), Addr(end << 12)).unwrap()
    }

    fn mmap(pages: u64, flags: u64) -> Op {
        let (addr, len, prot) = (Addr(0), Bytes(pages << 12), ProtArg(3));
        Op::Mmap { addr, len, prot, flags: MapFlags(flags), fd: -1, offset: 0 }
    }

    fn row(range: AddrRange) -> VmaRow {
        VmaRow::anonymous(range, Prot::RW)
    }

    /// Answers that know of a mapping of pages 5 to 7 which belongs to `of`.
    fn knowing(flags: u64, of: AddrRange) -> Answers {
        let mut answers = Answers::default();
        assert_eq!(answers.mapped_again(MM, &mmap(2, flags), r(5, 7)), None);
        answers.mapped(&mmap(2, flags), r(5, 7), &[row(of)]);
        answers
    }

    /// Checks that a mapping is known again when it was unmapped, as often as wanted, and one on top of it too.
    #[test]
    fn what_is_as_before_is_known() {
        let mut answers = knowing(PLAIN, r(5, 9));
        assert_eq!(answers.mapped_again(MM, &mmap(1, PLAIN), r(4, 5)), None);
        answers.mapped(&mmap(1, PLAIN), r(4, 5), &[row(r(4, 9))]);
        answers.unmapped(MM, r(4, 5));
        answers.unmapped(MM, r(5, 7));
        for _ in 0..3 {
            assert_eq!(answers.mapped_again(MM, &mmap(2, PLAIN), r(5, 7)), Some(row(r(5, 9))));
            assert_eq!(answers.mapped_again(MM, &mmap(1, PLAIN), r(4, 5)), Some(row(r(4, 9))));
            answers.unmapped(MM, r(4, 5));
            answers.unmapped(MM, r(5, 7));
        }
    }

    /// Checks that nothing is known of another call, another place, another map and another address space.
    #[test]
    fn what_is_not_as_before_is_asked() {
        let known = |change: fn(&mut Answers), mm, op: Op, range| {
            let mut answers = knowing(PLAIN, r(5, 7));
            change(&mut answers);
            answers.mapped_again(mm, &op, range).is_some()
        };
        let unmap: fn(&mut Answers) = |answers| answers.unmapped(MM, r(5, 7));
        assert!(known(unmap, MM, mmap(2, PLAIN), r(5, 7)));
        assert!(!known(unmap, MM, mmap(2, 0x4022), r(5, 7)));
        assert!(!known(unmap, MM, mmap(2, PLAIN), r(6, 8)));
        assert!(!known(unmap, MmId(2), mmap(2, PLAIN), r(5, 7)));
        assert!(!known(|_| (), MM, mmap(2, PLAIN), r(5, 7)));
        assert!(!known(|answers| answers.unmapped(MM, r(5, 6)), MM, mmap(2, PLAIN), r(5, 7)));
        assert!(!known(|answers| answers.unmapped(MmId(2), r(5, 7)), MM, mmap(2, PLAIN), r(5, 7)));
    }

    /// Checks that an answer that may be another one next time is not kept: of one that joined its neighbours, of a file, of
    /// several rows, of one that grows.
    #[test]
    fn what_may_change_is_asked() {
        let known = |flags, rows: &[VmaRow]| {
            let mut answers = Answers::default();
            answers.mapped_again(MM, &mmap(2, flags), r(5, 7));
            answers.mapped(&mmap(2, flags), r(5, 7), rows);
            answers.unmapped(MM, r(5, 7));
            answers.mapped_again(MM, &mmap(2, flags), r(5, 7)).is_some()
        };
        assert!(known(PLAIN, &[row(r(4, 7))]) && known(PLAIN, &[row(r(5, 8))]));
        assert!(!known(PLAIN, &[row(r(4, 8))]));
        assert!(!known(PLAIN, &[]) && !known(PLAIN, &[row(r(5, 6)), row(r(6, 7))]));
        assert!(
            !known(0x02, &[row(r(5, 7))]) && !known(0x122, &[row(r(5, 7))]) && !known(0x21, &[row(r(5, 7))])
        );
    }
}
