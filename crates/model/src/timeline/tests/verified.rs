//! What `verify` asks of its source, whatever keyframes an enemy made.

use super::play::{Memory, recording};
use crate::timeline::Timeline;
use vmatlas_event::{Event, EventSource, Keyframe, PageSize, Seq};

/// Counts what is asked of it.
struct Counted {
    memory: Memory,
    given: usize,
    loaded: usize,
}

impl EventSource for Counted {
    type Error = String;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), String> {
        let given = &mut self.given;
        self.memory.events(from, &mut |event| {
            *given += 1;
            found(event)
        })
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, String> {
        self.loaded += 1;
        self.memory.keyframe(at)
    }

    fn keyframe_place(&mut self, at: Seq) -> Result<Option<Seq>, String> {
        Ok(self.memory.keyframe(at)?.map(|keyframe| keyframe.after))
    }

    fn last(&self) -> Option<Seq> {
        self.memory.last()
    }
}

/// Checks that each event is read once and each keyframe at most once, where there is a keyframe after each event, where many
/// come after events that there are not, and where they are wrong.
#[test]
fn each_is_read_once() {
    let acts: Vec<_> = (0..200_u64).map(|n| (n as u8, n.wrapping_mul(48_271) % 1_000_000)).collect();
    let whole = recording(&acts).with_keyframes(1);
    let (events, keyframes) = (whole.events.len(), whole.keyframes.len());
    assert!(keyframes > 50, "{keyframes} keyframes of {events} events");
    let mut gaps = whole.clone();
    // Every second event is gone, and its keyframe stays.
    gaps.events.retain(|event| event.seq.0 % 2 == 0);
    let mut wrong = whole.clone();
    wrong.keyframes.iter_mut().for_each(|keyframe| keyframe.spaces.clear());
    let mut later = whole.clone();
    later.events.truncate(10);
    for (memory, is_sound) in [(whole, true), (gaps, false), (wrong, false), (later, true)] {
        let events = memory.events.len();
        let source = Counted { memory, given: 0, loaded: 0 };
        let mut timeline = Timeline::open(source, PageSize::FOUR_KIB, false).unwrap();
        (timeline.source.given, timeline.source.loaded) = (0, 0);
        let verified = timeline.verify(|_| true).unwrap();
        assert_eq!((verified.events as usize, verified.wrong_keyframes == 0), (events, is_sound));
        assert_eq!(timeline.source.loaded as u64, verified.keyframes);
        assert!(timeline.source.given <= events, "{} of {events}", timeline.source.given);
    }
}
