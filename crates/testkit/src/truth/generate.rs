//! Programs from a seed. The weights are chosen so that about two thirds of the calls succeed: failures are wanted too.

use super::guess::Guess;
use super::random::Random;
use super::step::{Length, PAGE, Place, Source, Step, StepKind};

/// The first pages of the playground, crowded, so that calls meet many VMAs.
pub(super) const CROWD: u64 = 80;
/// Where areas that grow downwards have room to grow.
const TALL: u64 = 512;
const TALL_PAGES: u64 = 1024;
/// How many pages the file has, whole and a bit more than any mapping needs.
pub(super) const FILE_PAGES: u64 = 256;
const SLOTS: u64 = vmatlas_sys::playground::SLOTS as u64;
const RINGS: u64 = vmatlas_sys::playground::RINGS as u64;

/// Steps to leave out: what a kernel lacks, or what a model is known not to know yet.
#[derive(Clone, Debug, Default)]
pub struct Without(Vec<StepKind>);

impl Without {
    /// From their words, with commas.
    ///
    /// # Errors
    /// The word that is none.
    pub fn parse(text: &str) -> Result<Without, String> {
        let kinds = text.split(',').filter(|word| !word.is_empty());
        kinds
            .map(|word| StepKind::from_word(word).ok_or_else(|| word.to_owned()))
            .collect::<Result<_, _>>()
            .map(Without)
    }
}

/// The program of an epoch; several threads have one each.
pub fn program(seed: u64, epoch: u64, thread: u64, without: &Without) -> Vec<Step> {
    let mut make =
        Make { random: Random::new(seed, epoch, thread), guess: Guess::new(), steps: Vec::new(), without };
    // A first layer, so that later calls find something to act on.
    for at in (0..CROWD).step_by(16) {
        let len = Length::pages(4 + make.random.below(13));
        let step = make.map_fixed(Place::Page(at as u32), len);
        make.push(step);
    }
    let length = 100 + make.random.below(80);
    for _ in 0..length {
        make.step(Depth::Parent);
    }
    make.steps
}

/// Whose step it is: a child makes no children, and only a forked one may seal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Parent,
    Forked,
    Sharing,
}

struct Make<'a> {
    random: Random,
    guess: Guess,
    steps: Vec<Step>,
    without: &'a Without,
}

/// What is drawn first; each then draws its arguments.
const WEIGHTS: &[(u64, StepKind)] = &[
    (220, StepKind::Mmap),
    (50, StepKind::Munmap),
    (140, StepKind::Mprotect),
    (6, StepKind::PkeyMprotect),
    (90, StepKind::Mremap),
    (30, StepKind::Brk),
    (130, StepKind::Madvise),
    (12, StepKind::ProcessMadvise),
    (24, StepKind::Mlock),
    (12, StepKind::MlockOnFault),
    (20, StepKind::Munlock),
    (1, StepKind::Mlockall),
    (1, StepKind::Munlockall),
    (30, StepKind::Mbind),
    (6, StepKind::HomeNode),
    (14, StepKind::RemapFilePages),
    (6, StepKind::Name),
    (14, StepKind::Shmat),
    (12, StepKind::Shmdt),
    (2, StepKind::IoSetup),
    (2, StepKind::IoDestroy),
    (12, StepKind::UffdRegister),
    (6, StepKind::UffdUnregister),
    (2, StepKind::UffdClose),
    (120, StepKind::Touch),
    (12, StepKind::Grow),
    (8, StepKind::Fork),
    (3, StepKind::Vfork),
    (1, StepKind::Spawn),
];
const SEAL: (u64, StepKind) = (200, StepKind::Mseal);

impl Make<'_> {
    fn push(&mut self, step: Step) {
        if !self.without.0.contains(&step.kind()) {
            self.guess.follow(&step);
            self.steps.push(step);
        }
    }

    fn step(&mut self, depth: Depth) {
        let kind = match depth {
            Depth::Forked if self.random.below(1000) < SEAL.0 => SEAL.1,
            _ => self.random.weighted(WEIGHTS),
        };
        let has_children = matches!(kind, StepKind::Fork | StepKind::Vfork);
        if depth != Depth::Parent && (has_children || kind == StepKind::Spawn) {
            return;
        }
        if has_children {
            self.child(kind);
        } else {
            let step = self.arguments(kind);
            self.push(step);
        }
    }

    fn child(&mut self, kind: StepKind) {
        if self.without.0.contains(&kind) {
            return;
        }
        let forked = kind == StepKind::Fork;
        self.steps.push(if forked { Step::Fork } else { Step::Vfork });
        let before = self.guess.clone();
        for _ in 0..2 + self.random.below(12) {
            self.step(if forked { Depth::Forked } else { Depth::Sharing });
        }
        self.steps.push(Step::End);
        if forked {
            self.guess = before;
        }
    }

    fn slot(&mut self) -> u8 {
        self.random.below(SLOTS) as u8
    }

    fn page(&mut self) -> Place {
        Place::Page(self.random.below(CROWD) as u32)
    }

    /// Anywhere a call may act: mostly in the crowd.
    fn place(&mut self) -> Place {
        match self.random.below(16) {
            0 => Place::Slot(self.slot(), 0),
            1 => Place::Slot(self.slot(), self.random.below(4) as u32),
            2 => Place::Page((TALL + self.random.below(TALL_PAGES)) as u32),
            _ => self.page(),
        }
    }

    /// Short mostly, so that most areas meet one or two VMAs, some many, and some have no whole number of pages.
    fn length(&mut self) -> Length {
        let pages = self.random.weighted(&[(8, 1), (6, 2), (4, 4), (2, 9), (1, 30)]);
        let len = Length::pages(1 + self.random.below(pages));
        match self.random.below(60) {
            0 => Length(len.0 - 1 - self.random.below(PAGE - 1)),
            1 => Length(0),
            _ => len,
        }
    }

    /// A place and a length: mostly without holes, sometimes anywhere.
    fn area(&mut self) -> (Place, Length) {
        let len = self.length();
        if self.random.one_in(2) {
            return (self.place(), len);
        }
        self.guess.aim(&mut self.random, len, |_| true)
    }

    fn prot(&mut self) -> u64 {
        self.random.weighted(&[(3, 0), (6, 1), (12, 3), (1, 4), (2, 5), (1, 2), (1, 7)])
    }

    fn map_fixed(&mut self, at: Place, len: Length) -> Step {
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

    fn mmap(&mut self) -> Step {
        let (len, prot) = (self.length(), self.prot());
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

    fn mremap(&mut self) -> Step {
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

    fn advice(&mut self) -> i32 {
        const SPLIT: &[i32] = &[0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
        const PAGES_ONLY: &[i32] = &[3, 4, 4, 8, 9, 20, 21, 22, 23, 24, 25, 102, 103];
        if self.random.below(3) < 2 { self.random.pick(SPLIT) } else { self.random.pick(PAGES_ONLY) }
    }

    fn touch(&mut self) -> Step {
        let write = !self.random.one_in(4);
        let len = Length::pages(1 + self.random.below(3));
        if self.random.one_in(12) {
            return Step::Touch { at: self.place(), len, write };
        }
        let wanted = if write { 2 } else { 1 };
        let (at, len) = self.guess.aim(&mut self.random, len, |prot| prot & wanted != 0);
        Step::Touch { at, len, write }
    }

    fn arguments(&mut self, kind: StepKind) -> Step {
        let random = &mut self.random;
        match kind {
            StepKind::Mmap => self.mmap(),
            StepKind::Mremap => self.mremap(),
            StepKind::Munmap => {
                let (at, len) = self.area();
                Step::Munmap { at, len }
            }
            StepKind::Mprotect => {
                let prot = if random.one_in(20) { 0x100_0003 } else { self.prot() };
                let (at, len) = self.area();
                Step::Mprotect { at, len, prot }
            }
            StepKind::PkeyMprotect => {
                let key = random.pick(&[-1, -1, 0, 5]);
                let (at, len) = self.area();
                Step::PkeyMprotect { at, len, prot: self.prot(), key }
            }
            StepKind::Brk => Step::Brk { pages: random.below(24) as u32 },
            StepKind::Madvise => {
                let (at, len) = self.area();
                Step::Madvise { at, len, advice: self.advice() }
            }
            StepKind::ProcessMadvise => {
                let (at, len) = self.area();
                Step::ProcessMadvise { at, len, advice: self.advice() }
            }
            StepKind::Mlock => {
                let (at, len) = self.area();
                Step::Mlock { at, len }
            }
            StepKind::MlockOnFault => {
                let (at, len) = self.area();
                Step::MlockOnFault { at, len }
            }
            StepKind::Munlock => {
                let (at, len) = self.area();
                Step::Munlock { at, len }
            }
            StepKind::Mlockall => Step::Mlockall { flags: random.pick(&[1, 2, 3, 5, 6, 7]) },
            StepKind::Munlockall => Step::Munlockall,
            StepKind::Mseal => {
                let (at, len) = self.area();
                Step::Mseal { at, len }
            }
            StepKind::Mbind => {
                let policy = random.pick(&[0, 0, 1, 2, 2, 3, 4]);
                let (at, len) = self.area();
                Step::Mbind { at, len, policy }
            }
            StepKind::HomeNode => {
                let (at, len) = self.area();
                Step::HomeNode { at, len }
            }
            StepKind::RemapFilePages => {
                let page = random.below(24) as u32;
                let (at, len) = self.area();
                Step::RemapFilePages { at, len, page }
            }
            StepKind::Name => {
                let name = random.below(3) as u8;
                let (at, len) = self.area();
                Step::Name { at, len, name }
            }
            StepKind::Shmat => {
                let flags = random.pick(&[0o40000, 0o40000, 0o50000, 0o140000, 0]);
                let at = if random.one_in(4) { Place::Null } else { self.page() };
                let flags = if at == Place::Null { flags & !0o40000 } else { flags };
                Step::Shmat { at, flags, slot: self.slot() }
            }
            StepKind::Shmdt => {
                // Best aimed at a place where one was attached.
                let attached = self.steps.iter().rev().find_map(|step| match step {
                    Step::Shmat { at: Place::Null, slot, .. } => Some(Place::Slot(*slot, 0)),
                    Step::Shmat { at, .. } => Some(*at),
                    _ => None,
                });
                match attached {
                    Some(at) if !self.random.one_in(4) => Step::Shmdt { at },
                    _ => Step::Shmdt { at: self.page() },
                }
            }
            StepKind::IoSetup => Step::IoSetup { ring: random.below(RINGS) as u8 },
            StepKind::IoDestroy => Step::IoDestroy { ring: random.below(RINGS) as u8 },
            StepKind::UffdRegister => {
                let write_protect = random.one_in(2);
                let (at, len) = self.area();
                Step::UffdRegister { at, len, write_protect }
            }
            StepKind::UffdUnregister => {
                let (at, len) = self.area();
                Step::UffdUnregister { at, len }
            }
            StepKind::UffdClose => Step::UffdClose,
            StepKind::Touch => self.touch(),
            StepKind::Grow if random.one_in(4) => Step::Grow { at: self.page() },
            StepKind::Grow => {
                // Below an area that was given room.
                let tall = self.steps.iter().rev().find_map(|step| match step {
                    Step::Mmap { at: Place::Page(page), .. } if u64::from(*page) >= TALL => Some(*page),
                    _ => None,
                });
                let below = self.random.below(300) as u32;
                Step::Grow { at: Place::Page(tall.unwrap_or(CROWD as u32).saturating_sub(below)) }
            }
            StepKind::Fork => Step::Fork,
            StepKind::Vfork => Step::Vfork,
            StepKind::End => Step::End,
            StepKind::Spawn => Step::Spawn,
            StepKind::Reset => Step::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a seed makes the same program every time, and that another epoch, thread or seed makes another.
    #[test]
    fn a_seed_makes_one_program() {
        let make = |seed, epoch, thread| program(seed, epoch, thread, &Without::default());
        assert_eq!(make(1, 2, 0), make(1, 2, 0));
        assert!(make(1, 2, 0).len() >= 100);
        for other in [make(2, 2, 0), make(1, 3, 0), make(1, 2, 1), make(2, 1, 0)] {
            assert_ne!(other, make(1, 2, 0));
        }
    }

    /// Checks that children are closed, do not nest, and that only forked ones seal.
    #[test]
    fn children_do_not_nest() {
        for epoch in 0..300 {
            let mut inside = None;
            for step in program(5, epoch, 0, &Without::default()) {
                match step {
                    Step::Fork | Step::Vfork => assert_eq!(inside.replace(step), None),
                    Step::End => assert!(inside.take().is_some()),
                    Step::Mseal { .. } => assert_eq!(inside, Some(Step::Fork)),
                    _ => {}
                }
            }
            assert_eq!(inside, None);
        }
    }

    /// Checks that what is left out does not appear, and that an unknown word is told.
    #[test]
    fn steps_can_be_left_out() {
        let without = Without::parse("touch,fork").unwrap();
        for epoch in 0..50 {
            let steps = program(1, epoch, 0, &without);
            assert!(!steps.iter().any(|s| matches!(s, Step::Touch { .. } | Step::Fork)));
        }
        assert_eq!(Without::parse("touch,walk").unwrap_err(), "walk");
    }
}
