//! Stacks by frame pointers: followed by the kernel while the thread was there, or by us while it stands still.
//!
//! The innermost functions, those of the C library that make the call, mostly keep no frame pointer; the register then holds
//! the one of a function further out, and a bare chain would leave out who called the library. So the tables tell
//! callers until that function is reached, and the chain goes on from there.

use crate::arch::NATIVE;
use crate::intern::Walked;
use crate::modules::Here;
use crate::rule::Frame;
use crate::unwind::{DEPTH, Unwinder, row_of};
use vmatlas_event::{Addr, FoundBy, StackEnd, StackFrom, Stopped};

/// The innermost functions are looked for in so much of a stack: what the programs in the kernel copy beside a chain
/// (`TOP_BYTES` there), so that both backends tell the same.
const TOP: u64 = 128;
/// A chain has so many addresses at most: of our programs (`CHAIN` there), and of the kernel unless kernel.perf_event_max_stack says otherwise.
const KERNEL_DEPTH: usize = 127;

/// A place of the chain: one to return to, found by its frame pointer.
const BY_CHAIN: (bool, Option<FoundBy>) = (true, Some(FoundBy::FramePointer));

/// A walk under way.
struct Walk<'a> {
    frames: &'a mut Vec<Walked>,
    visit: &'a mut dyn FnMut(u64),
    /// The outermost place so far.
    ip: u64,
}

/// The frame pointer and the stack pointer, where the first one can be one.
fn own_pointer(innermost: &Frame) -> Option<(u64, u64)> {
    innermost.register(NATIVE.fp).zip(innermost.sp()).filter(|(fp, sp)| fp >= sp)
}

fn top_of(sp: u64) -> u64 {
    (sp & !7).saturating_add(TOP + 1)
}

impl Unwinder {
    /// As [`walk`](Unwinder::walk), by frame pointers.
    pub(crate) fn walk_chain(
        &mut self,
        here: Here<'_>,
        at: &Stopped<'_>,
        frames: &mut Vec<Walked>,
        visit: &mut dyn FnMut(u64),
    ) -> Option<StackEnd> {
        self.begin(at);
        let pointer = own_pointer(&Frame::innermost(at.registers));
        let mut walk = Walk { frames, visit, ip: 0 };
        let end = match self.innermost(here, at, &mut walk)? {
            Some(end) => return Some(end),
            None => match at.stack {
                StackFrom::Chain { addresses, .. } if pointer.is_some() => {
                    self.follow_told(here, addresses, &mut walk)?
                }
                StackFrom::Thread => self.follow(here, pointer, &mut walk)?,
                _ => StackEnd::NoRule,
            },
        };
        let outermost = walk.frames.last().copied();
        let is_start = outermost.is_some_and(|(number, _)| self.is_outermost(here, number, walk.ip));
        Some(if is_start { StackEnd::Start } else { end })
    }

    /// The innermost frames, up to the function that the frame pointer is of; an end where the stack ends before it.
    fn innermost(
        &mut self,
        here: Here<'_>,
        at: &Stopped<'_>,
        walk: &mut Walk<'_>,
    ) -> Option<Option<StackEnd>> {
        let mut frame = Frame::innermost(at.registers);
        let (mut is_return, mut found) = (false, None);
        let begin = match own_pointer(&frame) {
            // Such a frame begins above the saved frame pointer and the return address.
            Some((fp, sp)) => fp.saturating_add(16).min(top_of(sp)),
            None => frame.sp().map_or(0, top_of),
        };
        loop {
            let number = self.push(here, frame.ip, (is_return, found), walk)?;
            if walk.frames.len() == DEPTH {
                return Some(Some(StackEnd::Depth));
            }
            match self.caller(here, row_of(here, frame.ip), number, &frame) {
                Ok((caller, returns, by)) if caller.sp().is_some_and(|sp| sp < begin) => {
                    (frame, is_return, found) = (caller, returns, Some(by));
                }
                Err(StackEnd::Start) => return Some(Some(StackEnd::Start)),
                // The chain begins here, or nothing tells how far away it is.
                _ => return Some(None),
            }
        }
    }

    /// What the kernel told; the first address is where the thread was.
    fn follow_told(&mut self, here: Here<'_>, addresses: &[Addr], walk: &mut Walk<'_>) -> Option<StackEnd> {
        for ip in addresses.iter().skip(1) {
            // The kernel takes every frame pointer for one; this is none.
            if !self.follows_call(here, ip.0) {
                return Some(StackEnd::NoRule);
            }
            self.push(here, ip.0, BY_CHAIN, walk)?;
            if walk.frames.len() == DEPTH {
                return Some(StackEnd::Depth);
            }
        }
        Some(if addresses.len() >= KERNEL_DEPTH { StackEnd::Depth } else { StackEnd::NoRule })
    }

    /// The same in the memory of a thread that stands still.
    fn follow(
        &mut self,
        here: Here<'_>,
        pointer: Option<(u64, u64)>,
        walk: &mut Walk<'_>,
    ) -> Option<StackEnd> {
        let Some((mut fp, mut least)) = pointer else { return Some(StackEnd::NoRule) };
        loop {
            if fp < least || fp & 7 != 0 {
                return Some(StackEnd::NoRule);
            }
            let mut word = |at: u64| self.memory.word(at, least, here.pid, here.rows);
            let (saved, ip) = match word(fp).and_then(|saved| Ok((saved, word(fp.wrapping_add(8))?))) {
                Ok((saved, ip)) => (saved, ip & NATIVE.address),
                Err(end) => return Some(end),
            };
            if !self.follows_call(here, ip) {
                return Some(StackEnd::NoRule);
            }
            self.push(here, ip, BY_CHAIN, walk)?;
            if walk.frames.len() == DEPTH {
                return Some(StackEnd::Depth);
            }
            (least, fp) = (fp.wrapping_add(16), saved);
        }
    }

    fn push(
        &mut self,
        here: Here<'_>,
        ip: u64,
        (is_return, found): (bool, Option<FoundBy>),
        walk: &mut Walk<'_>,
    ) -> Option<u32> {
        (walk.visit)(ip);
        walk.ip = ip;
        let number = self.place(here, row_of(here, ip), ip, is_return)?;
        walk.frames.push((number, found));
        Some(number)
    }
}
