//! Which pages belong to VMAs that grow down when they are touched below their start (VM_GROWSDOWN): no row shows it.

use vmatlas_event::{Addr, AddrRange};

/// Such ranges, in no order: a process has one, its stack, and hardly ever another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growing(Vec<AddrRange>);

impl Growing {
    pub(crate) fn add(&mut self, range: AddrRange) {
        self.remove(range);
        self.0.push(range);
    }

    pub(crate) fn remove(&mut self, range: AddrRange) {
        if !self.0.iter().any(|r| r.intersects(range)) {
            return;
        }
        let rest = |r: AddrRange| {
            [
                AddrRange::new(r.start(), range.start().min(r.end())),
                AddrRange::new(range.end().max(r.start()), r.end()),
            ]
        };
        self.0 = self.0.iter().flat_map(|r| rest(*r)).flatten().filter(|r| !r.is_empty()).collect();
    }

    /// The parts inside `range`.
    pub(crate) fn within(&self, range: AddrRange) -> Vec<AddrRange> {
        self.0.iter().filter_map(|r| r.intersect(range)).collect()
    }

    pub(crate) fn contains(&self, addr: Addr) -> bool {
        self.0.iter().any(|r| r.contains(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::r;

    /// Checks that what is unmapped in the middle grows no more, and its rest does.
    #[test]
    fn the_middle_goes() {
        let mut growing = Growing::default();
        growing.add(r(10, 20));
        growing.remove(r(12, 15));
        growing.remove(r(40, 50));
        let contains = |page: u64| growing.contains(Addr(page << 12));
        assert_eq!([11, 12, 14, 15, 19, 20].map(contains), [true, false, false, true, true, false]);
        assert_eq!(growing.within(r(0, 16)), [r(10, 12), r(15, 16)]);
    }
}
