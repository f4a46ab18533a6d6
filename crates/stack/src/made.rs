//! Code made at run time: in which address spaces its frames were met, and when.
//!
//! A frame of no module is an address, which several processes can have, and one process more than once. Who names
//! them must know which process at which time is meant.

use rustc_hash::FxHashMap;
use vmatlas_event::{FrameId, MmId, MonoNs};

/// So many are kept; of what comes after no frame can be named.
const MOST: usize = 1 << 20;

/// A frame of no module in one address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The frame.
    pub frame: FrameId,
    /// When it was met first.
    pub first: MonoNs,
    /// When it was met last.
    pub last: MonoNs,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Made {
    spaces: FxHashMap<MmId, FxHashMap<FrameId, (MonoNs, MonoNs)>>,
    count: usize,
    is_full: bool,
}

impl Made {
    /// A frame was met; whether for the first time there.
    pub(crate) fn saw(&mut self, mm: MmId, frame: FrameId, at: MonoNs) -> bool {
        let frames = self.spaces.entry(mm).or_default();
        if let Some((_, last)) = frames.get_mut(&frame) {
            *last = at;
            return false;
        }
        if self.count >= MOST {
            self.is_full = true;
            return false;
        }
        self.count += 1;
        frames.insert(frame, (at, at));
        true
    }

    /// Those of an address space, in the order of frames; they are not told again.
    pub(crate) fn take(&mut self, mm: MmId) -> Vec<Sighting> {
        let frames = self.spaces.remove(&mm).unwrap_or_default().into_iter();
        let mut all: Vec<Sighting> =
            frames.map(|(frame, (first, last))| Sighting { frame, first, last }).collect();
        all.sort_unstable_by_key(|sighting| sighting.frame);
        all
    }

    /// The address spaces that have some, in order.
    pub(crate) fn spaces(&self) -> Vec<MmId> {
        let mut all: Vec<MmId> = self.spaces.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Whether there were more than can be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that address spaces are told apart, first and last time are kept, and that there is a limit.
    #[test]
    fn sightings_are_kept_by_address_space() {
        let mut made = Made::default();
        for (mm, frame, at) in [(1, 7, 10), (2, 7, 11), (1, 3, 12), (1, 7, 13)] {
            assert_eq!(made.saw(MmId(mm), FrameId(frame), MonoNs(at)), at != 13);
        }
        let sighting =
            |frame, first, last| Sighting { frame: FrameId(frame), first: MonoNs(first), last: MonoNs(last) };
        assert_eq!(made.take(MmId(1)), [sighting(3, 12, 12), sighting(7, 10, 13)]);
        assert_eq!(made.take(MmId(1)), []);
        assert_eq!(made.take(MmId(2)), [sighting(7, 11, 11)]);
        assert!(!made.is_full());
        made.count = MOST;
        assert!(!made.saw(MmId(3), FrameId(1), MonoNs(1)) && made.is_full());
    }
}
