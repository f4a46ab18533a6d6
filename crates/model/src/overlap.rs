//! Calls of one address space that overlap in time: which came first, nobody says.

use crate::apply::{Ranges, affected_ranges};
use crate::spaces::Spaces;
use smallvec::SmallVec;
use vmatlas_event::{AddrRange, Event, Op, Source};

/// So many calls of one address space are remembered, to tell which overlapped.
pub(crate) const REMEMBERED: usize = 128;

impl Spaces {
    /// Asks again about a call that overlapped another one in time and range: neither the order of entry nor that of
    /// exit is the kernel's own (exit order was wrong in 2 to 84 of 100 such pairs).
    pub(crate) fn overlapping(&mut self, event: &Event, ask: &mut Vec<AddrRange>) {
        let page = self.page;
        let living = self.living(event.mm);
        // Calls that BPF tells of come in the kernel's order: they were numbered under the lock.
        if living.users.len() < 2 || event.source == Source::Bpf {
            return;
        }
        let own = affected_ranges(&event.op, event.outcome, page);
        // Sorted by the time of leaving, nearly: another task's event may have come a little late.
        let others = || living.recent.iter().rev().take_while(|(left, _)| *left > event.entered);
        // What one of two calls did may have gone on with what the other one moved (mremap), so all ranges of both are
        // unclear, and with them those of a third that meets them.
        let mut unclear = own.clone();
        let mut met: SmallVec<[bool; 8]> = others().map(|_| false).collect();
        loop {
            let known = unclear.len();
            for ((_, ranges), met) in others().zip(&mut met) {
                if !*met && ranges.iter().any(|r| unclear.iter().any(|u| u.intersects(*r))) {
                    *met = true;
                    unclear.extend(ranges.iter().copied());
                }
            }
            if unclear.len() == known {
                break;
            }
        }
        if met.iter().any(|met| *met) {
            self.tally.conflicts += 1;
            // From where the break moved, its call does not say, and the prediction took the latest word for it.
            if matches!(event.op, Op::Brk { .. }) {
                unclear = Ranges::from_slice(&[AddrRange::ALL]);
            }
            for range in unclear {
                if !range.is_empty() && !ask.iter().any(|asked| asked.covers(range)) {
                    ask.push(range);
                }
            }
        }
        let living = self.living(event.mm);
        if living.recent.len() == REMEMBERED {
            living.recent.pop_front();
        }
        living.recent.push_back((event.left, own));
    }
}
