//! The arguments of mmap and mremap.

use super::super::step::{Length, PAGE, Place, Source, Step};
use super::{CROWD, Make, TALL, TALL_PAGES};

impl Make<'_> {
    pub(super) fn map_fixed(&mut self, at: Place, len: Length) -> Step {
        let prot = self.prot();
        let (flags, source, page) = self.mapping();
        Step::Mmap { at, len, prot, flags: flags | 0x10, source, page, slot: 0 }
    }

    /// Flags but for those of the place, and what is mapped.
    fn mapping(&mut self) -> (u64, Source, u32) {
        let source = self.random.weighted(&[
            (60, Source::Anonymous),
            (14, Source::File),
            (5, Source::Again),
            (5, Source::Dup),
            (3, Source::ReadOnly),
            (2, Source::Sealed),
            (3, Source::Zero),
            (1, Source::Perf),
        ]);
        let mut flags = match source {
            Source::Anonymous => self.random.weighted(&[(30, 2), (6, 1), (1, 8)]),
            Source::Zero => self.random.weighted(&[(6, 2), (1, 1)]),
            Source::Perf => 1,
            Source::ReadOnly | Source::Sealed => self.random.weighted(&[(1, 2), (2, 1)]),
            _ => self.random.weighted(&[(5, 2), (5, 1), (1, 3)]),
        };
        let extra = self.random.weighted(&[
            (40, 0),
            (3, 0x4000),
            (2, 0x2_0000),
            (3, 0x8000),
            (1, 0x2000),
            (2, 0x100),
            (1, 0x4_0000),
        ]);
        if source == Source::Anonymous || extra & (0x100 | 0x4_0000) == 0 {
            flags |= extra;
        }
        // Few offsets, so that neighbours often continue each other.
        let page = match source {
            Source::Anonymous | Source::Zero | Source::Perf => 0,
            _ => self.random.below(24) as u32,
        };
        (flags, source, page)
    }

    pub(super) fn mmap(&mut self) -> Step {
        let (len, prot) = (self.length(), self.prot());
        if self.random.one_in(40) {
            // In the way of the break, which can then not move past it; more so when it may grow downwards.
            let at = Place::Break(self.random.below(24) as u32);
            let flags = 0x10_0002 | self.random.pick(&[0, 0, 0x100]);
            let slot = self.slot();
            return Step::Mmap { at, len, prot, flags, source: Source::Anonymous, page: 0, slot };
        }
        match self.random.below(20) {
            0..11 => {
                let at = self.page();
                self.map_fixed(at, len)
            }
            11..13 => self.continued(len, prot),
            13 => {
                // Room below, for growing downwards.
                let at = Place::Page((TALL + 300 + self.random.below(TALL_PAGES - 300)) as u32);
                let flags = 0x112 | self.random.pick(&[0, 0, 0x2_0000, 0x4000]);
                Step::Mmap { at, len, prot: 3, flags, source: Source::Anonymous, page: 0, slot: 0 }
            }
            choice => {
                let (flags, source, page) = self.mapping();
                // Without a fixed place a huge page would take more than the slot notes.
                let flags = flags & !0x4_0000;
                let (at, flags) = match choice {
                    14..16 => (Place::Null, flags),
                    16 => (Place::Null, flags | 0x40),
                    17 => (self.page(), flags),
                    _ => (self.page(), flags | 0x10_0000),
                };
                Step::Mmap { at, len, prot, flags, source, page, slot: self.slot() }
            }
        }
    }

    /// A file at the page that its place would give it, so that such mappings continue each other and merge.
    fn continued(&mut self, len: Length, prot: u64) -> Step {
        let page = self.random.below(CROWD) as u32;
        let source = self.random.pick(&[Source::File, Source::File, Source::Dup, Source::Again]);
        let flags = 0x10 | self.random.pick(&[1, 2]);
        Step::Mmap { at: Place::Page(page), len, prot, flags, source, page, slot: 0 }
    }

    pub(super) fn mremap(&mut self) -> Step {
        let (at, len) = self.area();
        let (to, slot) = (self.page(), self.slot());
        let other = self.length();
        let shrunk = Length::pages(1 + self.random.below(1 + len.0 / PAGE));
        let len = if len.0 == 0 { Length::pages(1) } else { len };
        let (len, new, flags) = match self.random.below(14) {
            0..3 => (len, shrunk, 0),
            3..5 => (len, Length(len.0 + other.0), 0),
            5 => (len, Length(len.0 + other.0), 1),
            6..8 => (len, other, 1),
            8..11 => (len, len, 3),
            11 => (len, other, 3),
            12 => (len, len, self.random.pick(&[5, 7])),
            _ => (Length(0), other, self.random.pick(&[1, 3])),
        };
        Step::Mremap { at, len, new, flags, to: if flags & 2 != 0 { to } else { Place::Null }, slot }
    }
}
