//! What is probably mapped: good enough to aim by, not a model. Wrong guesses make calls that fail, which are wanted too.

use super::generate::CROWD;
use super::random::Random;
use super::step::{Length, PAGE, Place, Step};

/// The crowded pages, each with its protection; `None` where probably nothing is.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    pages: [Option<u64>; CROWD as usize],
}

impl Guess {
    pub(super) fn new() -> Guess {
        Guess { pages: [None; CROWD as usize] }
    }

    /// A place and length that probably hold no hole, the length cut where one begins.
    pub(super) fn aim(
        &self,
        random: &mut Random,
        len: Length,
        wanted: impl Fn(u64) -> bool,
    ) -> (Place, Length) {
        const TRIES: usize = 8;
        let fits = |page: &u64| self.pages.get(*page as usize).copied().flatten().is_some_and(&wanted);
        for _ in 0..TRIES {
            let start = random.below(CROWD);
            let whole = (start..CROWD).take_while(fits).count() as u64;
            if whole > 0 {
                return (Place::Page(start as u32), Length(len.0.min(whole * PAGE)));
            }
        }
        (Place::Page(random.below(CROWD) as u32), len)
    }

    /// What a step probably does.
    pub(super) fn follow(&mut self, step: &Step) {
        match *step {
            Step::Mmap { at, len, prot, flags, .. } if flags & 0x10 != 0 => self.set(at, len, Some(prot)),
            Step::Munmap { at, len } => self.set(at, len, None),
            Step::Mprotect { at, len, prot } | Step::PkeyMprotect { at, len, prot, key: -1 | 0 } => {
                for page in self.pages_of(at, len) {
                    *page = page.map(|_| prot);
                }
            }
            Step::Mremap { at, len, new, flags, to, .. } => self.moved(at, len, new, flags, to),
            Step::Shmat { at, .. } => self.set(at, Length::pages(4), Some(3)),
            Step::Shmdt { at } => self.set(at, Length::pages(4), None),
            _ => {}
        }
    }

    fn moved(&mut self, at: Place, len: Length, new: Length, flags: u64, to: Place) {
        let prot = self.pages_of(at, Length(1)).first().copied().flatten();
        if prot.is_none() || flags & 1 == 0 && new.0 > len.0 {
            return;
        }
        if flags & 4 == 0 && (flags & 1 != 0 || new.0 < len.0) {
            self.set(at, len, None);
        }
        let to = if flags & 2 != 0 { to } else { at };
        if flags & 2 != 0 || new.0 <= len.0 {
            self.set(to, new, prot);
        }
    }

    fn set(&mut self, at: Place, len: Length, prot: Option<u64>) {
        self.pages_of(at, len).fill(prot);
    }

    fn pages_of(&mut self, at: Place, len: Length) -> &mut [Option<u64>] {
        let Place::Page(page) = at else { return &mut [] };
        let start = (page as usize).min(self.pages.len());
        let end = (start + len.0.div_ceil(PAGE) as usize).min(self.pages.len());
        &mut self.pages[start..end]
    }
}
