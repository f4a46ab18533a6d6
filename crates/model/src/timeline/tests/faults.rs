//! Page faults between the events of made-up recordings: no moment is another one for them.

use super::play::{Memory, Play, recording};
use super::told::{map, protect};
use super::{Acts, acts, here, open, replayed};
use crate::space::tests::r;
use crate::timeline::{Moment, Whose};
use proptest::prelude::*;
use vmatlas_event::{Addr, Event, Op, Outcome, Seq, Source};

fn fault(like: &Event, seq: u64, addr: u64) -> Event {
    let op = Op::Fault { addr: Addr(addr), ip: None, major: false };
    Event { seq: Seq(seq), op, outcome: Outcome::Done(0), source: Source::Perf, ..like.clone() }
}

/// The events of a recording, and the same with up to two faults after each.
fn with_faults(acts: &Acts, distance: usize) -> (Vec<Event>, Memory) {
    let mut plain = recording(acts).events;
    let mut events = Vec::new();
    for event in &mut plain {
        event.seq = Seq(event.seq.0 * 3);
        events.push(event.clone());
        for more in 1..=event.seq.0 / 3 % 3 {
            events.push(fault(event, event.seq.0 + more.min(2), 0x1000 * more));
        }
    }
    events.dedup_by_key(|event| event.seq);
    (plain, Memory { events, ..Memory::default() }.with_keyframes(distance))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Checks that each moment is what it is without the faults, whatever way leads there, and that steps do not see them.
    #[test]
    fn moments_are_the_same_without_them(
        acts in acts(40),
        distance in 1usize..30,
        ways in proptest::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..20),
    ) {
        let (plain, memory) = with_faults(&acts, distance);
        let mut timeline = open(&memory);
        for (way, to) in ways {
            let to = memory.events[to.index(memory.events.len())].seq;
            match way {
                0 => { timeline.step_forward(None).unwrap(); }
                1 => { timeline.step_back(None).unwrap(); }
                2 => timeline.restart(to).unwrap(),
                _ => {
                    timeline.seek_event(to).unwrap();
                    prop_assert_eq!(here(&timeline).1, replayed(&plain, to).1);
                }
            }
            if let Some(at) = timeline.position().seq {
                prop_assert_eq!(here(&timeline).1, replayed(&plain, at).1);
            }
        }
        let bare = Memory { events: plain.clone(), ..Memory::default() };
        let steps = |memory: &Memory| {
            let mut timeline = open(memory);
            timeline.seek(&Moment::End, Whose::First).unwrap();
            let mut steps = 0;
            while timeline.step_back(None).unwrap() {
                steps += 1;
            }
            steps
        };
        prop_assert_eq!(steps(&memory), steps(&bare));
    }
}

/// Checks that the history of an address has the first fault on its page since it was mapped, and how many there were.
#[test]
fn the_first_fault_is_found() {
    let mut play = Play::new();
    let fault_at = |play: &mut Play, addr: u64| {
        let last = play.memory.events.last().unwrap().clone();
        play.memory.events.push(fault(&last, last.seq.0, addr));
    };
    map(&mut play, 0, r(16, 20));
    fault_at(&mut play, 0x1_1000);
    map(&mut play, 0, r(16, 20));
    for addr in [0x1_0000, 0x1_1008, 0x1_1ff0, 0x1_2000] {
        fault_at(&mut play, addr);
    }
    protect(&mut play, 0, r(16, 20));
    for (seq, event) in (0..).zip(&mut play.memory.events) {
        event.seq = Seq(seq);
    }
    let mut timeline = open(&play.memory);
    timeline.seek(&Moment::End, Whose::First).unwrap();
    let mm = timeline.spaces()[0];
    let history = timeline.history(mm, Addr(0x1_1abc), |_| true).unwrap();
    let first = history.first_fault.unwrap();
    assert!(matches!(first.op, Op::Fault { addr: Addr(0x1_1008), .. }), "{first:?}");
    assert_eq!(history.faults, 2);
    let history = timeline.history(mm, Addr(0x1_3000), |_| true).unwrap();
    assert_eq!((history.first_fault, history.faults), (None, 0));
}
