//! The arguments of every step but mmap and mremap.

use super::super::step::{Length, Place, Step, StepKind};
use super::{CROWD, Make, RINGS, TALL};

impl Make<'_> {
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

    /// What the last step of some sort was about; sometimes nothing, for variety.
    fn recent<T>(&mut self, about: impl Fn(&Step) -> Option<T>) -> Option<T> {
        const FAR: usize = 200;
        if self.random.one_in(4) { None } else { self.steps.iter().rev().take(FAR).find_map(about) }
    }

    /// Draws what the step needs.
    pub(super) fn arguments(&mut self, kind: StepKind) -> Step {
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
                // It wants a place with a policy.
                let bound = |step: &Step| match *step {
                    Step::Mbind { at, len, policy: 2 } => Some((at, len)),
                    _ => None,
                };
                let (at, len) = self.recent(bound).unwrap_or_else(|| self.area());
                Step::HomeNode { at, len }
            }
            StepKind::RemapFilePages => {
                let page = random.below(24) as u32;
                // It wants a shared mapping.
                let shared = |step: &Step| match *step {
                    Step::Mmap { at: at @ Place::Page(_), len, flags, .. } if flags & 3 == 1 => {
                        Some((at, len))
                    }
                    _ => None,
                };
                let (at, len) = self.recent(shared).unwrap_or_else(|| self.area());
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
                let attached = |step: &Step| match *step {
                    Step::Shmat { at: Place::Null, slot, .. } => Some(Place::Slot(slot, 0)),
                    Step::Shmat { at, .. } => Some(at),
                    _ => None,
                };
                Step::Shmdt { at: self.recent(attached).unwrap_or_else(|| self.page()) }
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
