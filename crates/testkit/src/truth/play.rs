//! Playing the steps of a program. Nothing here allocates.

use super::Stage;
use super::step::{Length, PAGE, Place, Source, Step, StepKind};
use std::ffi::CStr;
use std::os::fd::AsFd;
use vmatlas_event::{Addr, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_sys::playground::{
    ChildStack, FaultMode, Player, REFUSED, RINGS, SLOTS, Userfault, run_forked, run_program, run_sharing,
};
use vmatlas_sys::{PidFd, WaitStatus, self_pid};

const NAMES: [Option<&CStr>; 3] = [None, Some(c"one"), Some(c"two")];
const DONTUNMAP: u64 = 4;
/// EFAULT, as touching would say.
const NOTHING_THERE: Errno = Errno(14);

/// One thread's play.
pub(super) struct Play<'a> {
    stage: &'a Stage,
    player: Player<'a>,
    /// The stack of children that share the address space; they make none themselves.
    stack: Option<&'a mut ChildStack>,
    uffd: Option<Userfault>,
    myself: Option<PidFd>,
    /// Whether this is a forked child, which may seal what it will take along.
    forked: bool,
    locked_all: bool,
}

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a Stage, stack: &'a mut ChildStack) -> Play<'a> {
        Play {
            stage,
            player: Player::new(stage.ground()),
            stack: Some(stack),
            uffd: None,
            myself: PidFd::open(self_pid()).ok(),
            forked: false,
            locked_all: false,
        }
    }

    /// Plays all steps; what stands between a fork and its end is the child's.
    pub(super) fn all(&mut self, steps: &[Step]) {
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            at += 1;
            if matches!(step, Step::Fork | Step::Vfork) {
                let body = &steps[at..];
                let body = &body[..end_of_child(body)];
                at += body.len();
                self.child(*step, body);
            } else {
                self.step(*step);
            }
        }
    }

    /// As at the start: nothing is mapped.
    pub(super) fn reset(&mut self) {
        self.reset_own();
        self.reset_ground();
    }

    /// The part of [`Play::reset`] that each thread has for itself.
    pub(super) fn reset_own(&mut self) {
        self.uffd = None;
        if std::mem::take(&mut self.locked_all) {
            self.step(Step::Munlockall);
        }
        for slot in 0..SLOTS {
            self.empty(slot as u8);
        }
        for ring in 0..RINGS {
            if self.player.has_ring(ring) {
                let result = self.player.io_destroy(ring);
                self.count(StepKind::IoDestroy, result);
            }
        }
    }

    /// The part that is common to all threads.
    pub(super) fn reset_ground(&mut self) {
        let range = self.stage.ground().range();
        let result = self.player.unmap(range.start(), range.len());
        self.count(StepKind::Munmap, result);
        let result = self.player.brk(Bytes(0));
        self.count(StepKind::Brk, result);
    }

    fn count<T>(&self, kind: StepKind, result: Result<T, Errno>) {
        match result {
            Err(REFUSED) => {}
            result => self.stage.counts().add(kind, result.is_ok()),
        }
    }

    fn step(&mut self, step: Step) {
        let result = self.result(step);
        self.count(step.kind(), result);
    }

    fn child(&mut self, step: Step, body: &[Step]) {
        let status = if step == Step::Fork {
            run_forked(|| {
                self.forked = true;
                // Both belong to the parent's address space.
                self.uffd = None;
                self.myself = PidFd::open(self_pid()).ok();
                self.all(body);
            })
        } else {
            let Some(stack) = self.stack.take() else { return };
            let status = run_sharing(stack, &mut || self.all(body));
            self.stack = Some(stack);
            status
        };
        self.ended(step.kind(), status);
    }

    fn ended(&self, kind: StepKind, status: Result<WaitStatus, Errno>) {
        if matches!(status, Ok(WaitStatus::Signaled(_))) {
            self.stage.child_was_killed();
        }
        self.count(kind, status);
    }

    fn addr(&self, place: Place) -> Result<Addr, Errno> {
        match place {
            Place::Null => Ok(Addr(0)),
            Place::Break(page) => {
                let floor = self.stage.ground().floor().0.next_multiple_of(PAGE);
                Ok(Addr(floor + u64::from(page) * PAGE))
            }
            Place::Page(page) => Ok(Addr(self.stage.ground().range().start().0 + u64::from(page) * PAGE)),
            Place::Slot(slot, page) => {
                let range = self.player.slot(slot.into()).ok_or(REFUSED)?;
                Ok(Addr(range.start().0 + u64::from(page) * PAGE))
            }
        }
    }

    fn area(&self, at: Place, len: Length) -> Result<(Addr, Bytes), Errno> {
        Ok((self.addr(at)?, Bytes(len.0)))
    }

    /// Unmaps what is in a slot, so that the kernel can be asked to choose a place again.
    fn empty(&mut self, slot: u8) {
        if let Some(range) = self.player.slot(slot.into()) {
            let result = self.player.unmap(range.start(), range.len());
            self.count(StepKind::Munmap, result);
        }
    }

    fn result(&mut self, step: Step) -> Result<(), Errno> {
        match step {
            Step::Mmap { at, len, prot, flags, source, page, slot } => {
                self.mmap(at, len, prot, flags, (source, page), slot)
            }
            Step::Mremap { at, len, new, flags, to, slot } => self.mremap(at, len, new, flags, to, slot),
            Step::Munmap { at, len } => {
                let (addr, len) = self.area(at, len)?;
                self.player.unmap(addr, len)
            }
            Step::Shmat { at, flags, slot } => {
                let place = match at {
                    Place::Null => None,
                    at => Some(self.addr(at)?),
                };
                if place.is_none() {
                    self.empty(slot);
                }
                self.player.attach(self.stage.segment(), place, flags, slot.into()).map(|_| ())
            }
            Step::Shmdt { at } => {
                let addr = self.addr(at)?;
                self.player.detach(self.stage.segment(), addr)
            }
            Step::Brk { pages } => self.player.brk(Bytes(u64::from(pages) * PAGE)),
            Step::IoSetup { ring } => self.player.io_setup(ring.into()),
            Step::IoDestroy { ring } => self.player.io_destroy(ring.into()),
            Step::Mlockall { flags } => {
                self.locked_all = true;
                self.player.lock_all(flags)
            }
            Step::Munlockall => self.player.unlock_all(),
            Step::UffdRegister { at, len, write_protect } => {
                let (addr, len) = self.area(at, len)?;
                if self.uffd.is_none() {
                    self.uffd = Some(Userfault::open()?);
                }
                let mode = if write_protect { FaultMode::WriteProtect } else { FaultMode::Missing };
                self.uffd.as_ref().ok_or(REFUSED)?.register(&self.player, addr, len, mode)
            }
            Step::UffdUnregister { at, len } => {
                let (addr, len) = self.area(at, len)?;
                self.uffd.as_ref().ok_or(REFUSED)?.unregister(&self.player, addr, len)
            }
            Step::UffdClose => self.uffd.take().map(drop).ok_or(REFUSED),
            Step::Spawn => {
                let Some(stack) = self.stack.as_deref_mut() else { return Err(REFUSED) };
                let status = run_program(stack, c"/bin/true");
                self.ended(StepKind::Spawn, status);
                // Counted already.
                Err(REFUSED)
            }
            Step::Reset => {
                self.reset();
                Ok(())
            }
            Step::Fork | Step::Vfork | Step::End => Err(REFUSED),
            step => self.alteration(step),
        }
    }

    /// The calls that alter what is mapped, and touching.
    fn alteration(&self, step: Step) -> Result<(), Errno> {
        let player = &self.player;
        let area = |at, len| self.area(at, len);
        match step {
            Step::Mprotect { at, len, prot } => {
                area(at, len).and_then(|(at, len)| player.protect(at, len, ProtArg(prot)))
            }
            Step::PkeyMprotect { at, len, prot, key } => {
                area(at, len).and_then(|(at, len)| player.protect_with_key(at, len, ProtArg(prot), key))
            }
            Step::Madvise { at, len, advice } => {
                area(at, len).and_then(|(at, len)| player.advise(at, len, advice))
            }
            Step::ProcessMadvise { at, len, advice } => {
                let myself = self.myself.as_ref().ok_or(REFUSED)?;
                area(at, len).and_then(|(at, len)| player.advise_process(myself.as_fd(), at, len, advice))
            }
            Step::Mlock { at, len } => area(at, len).and_then(|(at, len)| player.lock(at, len, false)),
            Step::MlockOnFault { at, len } => area(at, len).and_then(|(at, len)| player.lock(at, len, true)),
            Step::Munlock { at, len } => area(at, len).and_then(|(at, len)| player.unlock(at, len)),
            Step::Mseal { at, len } if self.forked => {
                area(at, len).and_then(|(at, len)| player.seal(at, len))
            }
            Step::Mbind { at, len, policy } => {
                area(at, len).and_then(|(at, len)| player.bind(at, len, policy))
            }
            Step::HomeNode { at, len } => area(at, len).and_then(|(at, len)| player.home_node(at, len)),
            Step::RemapFilePages { at, len, page } => {
                area(at, len).and_then(|(at, len)| player.remap_file_pages(at, len, page.into()))
            }
            Step::Name { at, len, name } => {
                let name = NAMES.get(usize::from(name)).copied().flatten();
                area(at, len).and_then(|(at, len)| player.name(at, len, name))
            }
            Step::Touch { at, len, write } => area(at, len).and_then(|(at, len)| self.touch(at, len, write)),
            Step::Grow { at } => {
                let at = self.addr(at)?;
                player.touch(at, Touch::Write, self.stage.zeros(), self.stage.sink())
            }
            _ => Err(REFUSED),
        }
    }

    /// Only what is mapped, so that nothing grows.
    fn touch(&self, at: Addr, len: Bytes, write: bool) -> Result<(), Errno> {
        let how = if write { Touch::Write } else { Touch::Read };
        let touch = |page: u64| {
            let at = Addr(at.0 + page * PAGE);
            if !self.player.is_mapped(at) {
                return Err(NOTHING_THERE);
            }
            self.player.touch(at, how, self.stage.zeros(), self.stage.sink())
        };
        (0..len.0.div_ceil(PAGE)).try_for_each(touch)
    }

    fn mmap(
        &mut self,
        at: Place,
        len: Length,
        prot: u64,
        flags: u64,
        (source, page): (Source, u32),
        slot: u8,
    ) -> Result<(), Errno> {
        let flags = if source == Source::Anonymous { flags | MapFlags::ANONYMOUS } else { flags };
        let flags = MapFlags(flags);
        if !flags.has(MapFlags::FIXED) || flags.has(MapFlags::FIXED_NOREPLACE) {
            self.empty(slot);
        }
        let (addr, len) = self.area(at, len)?;
        let (fd, offset) = (self.stage.fd(source), u64::from(page) * PAGE);
        let args = MmapArgs { addr, len, prot: ProtArg(prot), flags, fd, offset };
        self.player.map(args, slot.into()).map(|_| ())
    }

    /// A slot moves as a whole, whatever the length in the step says.
    fn mremap(
        &mut self,
        at: Place,
        len: Length,
        new: Length,
        flags: u64,
        to: Place,
        slot: u8,
    ) -> Result<(), Errno> {
        let (mut old, mut old_len) = self.area(at, len)?;
        let mut new_len = Bytes(new.0);
        if let Place::Slot(from, _) = at
            && len.0 != 0
            && flags & DONTUNMAP == 0
        {
            let range = self.player.slot(from.into()).ok_or(REFUSED)?;
            (old, old_len) = (range.start(), range.len());
            new_len = if new == len { old_len } else { new_len };
        }
        let to = match to {
            Place::Null => None,
            to => Some(self.addr(to)?),
        };
        if !matches!(at, Place::Slot(from, _) if from == slot) {
            self.empty(slot);
        }
        self.player.remap(old, old_len, new_len, flags, to, slot.into()).map(|_| ())
    }
}

/// How many steps the child has before the `end` that is its own, or the end of all.
fn end_of_child(steps: &[Step]) -> usize {
    let mut depth = 0_usize;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Fork | Step::Vfork => depth += 1,
            Step::End if depth == 0 => return at,
            Step::End => depth -= 1,
            _ => {}
        }
    }
    steps.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a child's steps end at its own `end`, past those of its children, or with the program.
    #[test]
    fn a_child_ends_where_it_should() {
        let brk = Step::Brk { pages: 0 };
        assert_eq!(end_of_child(&[brk, Step::End, brk]), 1);
        assert_eq!(end_of_child(&[Step::Fork, brk, Step::End, brk, Step::End, brk]), 4);
        assert_eq!(end_of_child(&[brk, brk]), 2);
        assert_eq!(end_of_child(&[]), 0);
    }
}
