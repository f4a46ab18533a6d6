//! Programs from a seed. The weights are chosen so that about two thirds of the calls succeed: failures are wanted too.

mod arguments;
mod mapping;

use super::guess::Guess;
use super::random::Random;
use super::step::{Length, PAGE, Place, Step, StepKind};

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
        if forked && self.random.one_in(2) {
            // What the child's map will be without, or empty.
            let (at, len) = self.area();
            let advice = self.random.pick(&[10, 18]);
            self.push(Step::Madvise { at, len, advice });
        }
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

    /// A place and a length: anywhere, or where probably no hole is.
    fn area(&mut self) -> (Place, Length) {
        let len = self.length();
        if !self.random.one_in(3) {
            return (self.place(), len);
        }
        self.guess.aim(&mut self.random, len, |_| true)
    }

    fn prot(&mut self) -> u64 {
        self.random.weighted(&[(3, 0), (6, 1), (12, 3), (1, 4), (2, 5), (1, 2), (1, 7)])
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
