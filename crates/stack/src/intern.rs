//! Numbers for places and stacks: each is kept once.
//!
//! A stack is a path in a tree: a number for its innermost frame below the number of its caller's stack. So stacks that share
//! their outer frames, as most of a program do, share what is kept of them.
//!
//! Memory is bounded: 2^20 places and 2^21 stacks, some 350 MiB at worst. What comes after has no stack, and is counted.

use crate::unwind::Known;
use rustc_hash::FxHashMap;
use vmatlas_event::{FoundBy, Frame, FrameId, Outer, StackEnd, StackId, StackStep};

/// So many places are told apart.
const PLACES: usize = 1 << 20;
/// So many stacks are told apart, each caller's of one counted too.
const STACKS: usize = 1 << 21;

/// Places in code, and what is known of each.
#[derive(Debug, Default)]
pub(crate) struct Places {
    numbers: FxHashMap<Frame, u32>,
    places: Vec<(Frame, Option<Known>)>,
}

impl Places {
    /// The number of a frame's place; `None` where there are too many.
    pub(crate) fn number(&mut self, frame: Frame) -> Option<u32> {
        if let Some(number) = self.numbers.get(&frame) {
            return Some(*number);
        }
        if self.places.len() >= PLACES {
            return None;
        }
        let number = u32::try_from(self.places.len()).ok()?;
        self.numbers.insert(frame, number);
        self.places.push((frame, None));
        Some(number)
    }

    pub(crate) fn frame(&self, number: u32) -> Option<Frame> {
        self.places.get(number as usize).map(|(frame, _)| *frame)
    }

    pub(crate) fn known(&self, number: u32) -> Option<&Known> {
        self.places.get(number as usize)?.1.as_ref()
    }

    pub(crate) fn learned(&mut self, number: u32, known: Known) {
        if let Some((_, slot)) = self.places.get_mut(number as usize) {
            *slot = Some(known);
        }
    }

    /// The frames from a number on.
    pub(crate) fn since(&self, number: usize) -> impl Iterator<Item = Frame> {
        self.places.get(number..).unwrap_or_default().iter().map(|(frame, _)| *frame)
    }
}

/// The number of a frame's place, and how the frame was found; `None` for the innermost one.
pub(crate) type Walked = (u32, Option<FoundBy>);

/// Stacks.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    numbers: FxHashMap<StackStep, u32>,
    steps: Vec<StackStep>,
}

impl Stacks {
    /// The number of a stack given innermost first; `None` where there are too many, or it has no frame.
    pub(crate) fn number(&mut self, frames: &[Walked], end: StackEnd) -> Option<StackId> {
        let mut outer = Outer::End(end);
        for (frame, found) in frames.iter().rev() {
            outer = Outer::Caller(self.step(StackStep { outer, frame: FrameId(*frame) })?, *found);
        }
        match outer {
            Outer::Caller(stack, _) => Some(stack),
            Outer::End(_) => None,
        }
    }

    fn step(&mut self, step: StackStep) -> Option<StackId> {
        if let Some(number) = self.numbers.get(&step) {
            return Some(StackId(*number));
        }
        if self.steps.len() >= STACKS {
            return None;
        }
        let number = u32::try_from(self.steps.len()).ok()?;
        self.numbers.insert(step, number);
        self.steps.push(step);
        Some(StackId(number))
    }

    pub(crate) fn get(&self, stack: StackId) -> Option<StackStep> {
        self.steps.get(stack.0 as usize).copied()
    }

    /// The stacks from a number on.
    pub(crate) fn since(&self, number: usize) -> &[StackStep] {
        self.steps.get(number..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Place};

    /// Checks that equal stacks have one number, and that stacks with common callers share them.
    #[test]
    fn stacks_are_kept_once() {
        let mut stacks = Stacks::default();
        let by = |last, found| [(last, None), (2, Some(found)), (1, Some(FoundBy::Tables))];
        let first = stacks.number(&by(5, FoundBy::Tables), StackEnd::Start).unwrap();
        let count = stacks.steps.len();
        assert_eq!(stacks.number(&by(5, FoundBy::Tables), StackEnd::Start), Some(first));
        assert_eq!(stacks.steps.len(), count);
        stacks.number(&by(6, FoundBy::Tables), StackEnd::Start).unwrap();
        assert_eq!(stacks.steps.len(), count + 1);
        assert_ne!(stacks.number(&by(5, FoundBy::FramePointer), StackEnd::Start), Some(first));
        assert_eq!(stacks.steps.len(), count + 2);
        assert_ne!(stacks.number(&by(5, FoundBy::Tables), StackEnd::Depth), Some(first));
        assert_eq!(stacks.number(&[], StackEnd::Start), None);
    }

    /// Checks that a place to return to and one that was interrupted are two, wherever they are the same address.
    #[test]
    fn places_are_told_apart() {
        let mut places = Places::default();
        let frame = |is_return| Frame { place: Place::Unknown(Addr(0x1000)), is_return };
        let number = places.number(frame(true)).unwrap();
        assert_eq!(places.number(frame(true)), Some(number));
        assert_ne!(places.number(frame(false)), Some(number));
        assert_eq!(places.frame(number), Some(frame(true)));
    }
}
