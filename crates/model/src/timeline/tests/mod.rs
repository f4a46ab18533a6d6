//! Time travel over made up recordings: whatever way a moment is reached, the state is that of a replay from the start.

mod compared;
mod faults;
mod play;
mod told;
mod verified;

use super::window::Effects;
use super::{Moment, Timeline, Whose};
use crate::space::AddressSpace;
use crate::{Origin, Spaces};
use play::{Memory, recording};
use proptest::prelude::*;
use vmatlas_event::{Addr, Bytes, Event, EventSource as _, Keyframe, MmId, Op, PageSize, Seq, VmaRow};

type Acts = Vec<(u8, u64)>;

fn acts(most: usize) -> impl Strategy<Value = Acts> {
    proptest::collection::vec((any::<u8>(), 0u64..1_000_000), 1..most)
}

/// All that a space is.
#[derive(Debug, PartialEq)]
struct State {
    mm: MmId,
    vmas: Vec<VmaRow>,
    origins: Vec<Origin>,
    brk: Option<Addr>,
    size: Bytes,
    peak: Bytes,
    rules: crate::Rules,
}

fn states(spaces: &Spaces) -> Vec<State> {
    let state = |mm| {
        let space: &AddressSpace = spaces.get(mm).unwrap();
        State {
            mm,
            vmas: space.vmas().cloned().collect(),
            origins: space.origins().cloned().collect(),
            brk: space.brk(),
            size: space.size(),
            peak: space.peak(),
            rules: space.rules.clone(),
        }
    };
    spaces.alive().into_iter().map(state).collect()
}

fn open(memory: &Memory) -> Timeline<Memory> {
    Timeline::open(memory.clone(), PageSize::FOUR_KIB, false).unwrap()
}

fn here(timeline: &Timeline<Memory>) -> (Option<Seq>, Vec<State>) {
    (timeline.position().seq, states(timeline.window.spaces()))
}

/// The moment after the event `to`, by replay from the start.
fn replayed(events: &[Event], to: Seq) -> (Option<Seq>, Vec<State>) {
    let mut spaces = Spaces::new(PageSize::FOUR_KIB);
    let mut last = None;
    for event in events {
        let is_end = matches!(event.op, Op::Exit { .. } | Op::Exec { .. });
        if event.seq > to && (!spaces.is_waiting() || is_end) {
            break;
        }
        spaces.event(event);
        last = Some(event.seq);
    }
    (last, states(&spaces))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Checks that replay from a keyframe asks and does what replay from the start does, to the last rule.
    #[test]
    fn a_keyframe_is_all_that_replay_needs(acts in acts(60), cut in any::<prop::sample::Index>()) {
        let events = recording(&acts).events;
        let mut whole = Spaces::new(PageSize::FOUR_KIB);
        let cut = cut.index(events.len());
        let mut kept: Option<Keyframe> = None;
        let mut asked = Vec::new();
        for (at, event) in events.iter().enumerate() {
            asked.push(whole.event(event).ask);
            if at >= cut && kept.is_none() {
                kept = whole.keyframe(event.seq, event.left);
            }
        }
        let Some(kept) = kept else { return Ok(()) };
        let mut part = Spaces::from_keyframe(PageSize::FOUR_KIB, false, kept.clone());
        prop_assert_eq!(part.keyframe(kept.after, kept.at), Some(kept.clone()));
        for event in events.iter().filter(|event| event.seq > kept.after) {
            prop_assert_eq!(&part.event(event).ask, &asked[event.seq.0 as usize], "{:?}", event);
        }
        prop_assert_eq!(states(&part), states(&whole));
        let last = events.last().unwrap();
        prop_assert_eq!(part.keyframe(last.seq, last.left), whole.keyframe(last.seq, last.left));
    }

    /// Checks that a moment is the same, whatever came before: seeks, steps, keyframes near or far.
    #[test]
    fn every_way_leads_to_the_same_moment(
        acts in acts(50),
        distance in 1usize..40,
        ways in proptest::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..24),
    ) {
        let memory = recording(&acts).with_keyframes(distance);
        let mut timeline = open(&memory);
        for (way, to) in ways {
            let to = memory.events[to.index(memory.events.len())].seq;
            match way {
                0 => { timeline.step_forward(None).unwrap(); }
                1 => { timeline.step_back(None).unwrap(); }
                2 => timeline.restart(to).unwrap(),
                _ => {
                    timeline.seek_event(to).unwrap();
                    prop_assert_eq!(here(&timeline), replayed(&memory.events, to));
                }
            }
            if let Some(at) = timeline.position().seq {
                prop_assert_eq!(here(&timeline), replayed(&memory.events, at));
            }
        }
    }

    /// Checks that steps back to the start and forward to the end pass the same states, of all and of one address space.
    #[test]
    fn steps_back_and_forward_meet(acts in acts(40), distance in 1usize..40, one in any::<bool>()) {
        let memory = recording(&acts).with_keyframes(distance);
        let of = one.then_some(MmId(1));
        let mut timeline = open(&memory);
        timeline.seek(&Moment::End, Whose::First).unwrap();
        let end = here(&timeline);
        prop_assert_eq!(&end, &replayed(&memory.events, memory.events.last().unwrap().seq));
        let mut passed = vec![];
        while timeline.step_back(of).unwrap() {
            let back = here(&timeline);
            prop_assert!(timeline.step_forward(of).unwrap());
            prop_assert!(timeline.step_back(of).unwrap());
            prop_assert_eq!(&here(&timeline), &back);
            passed.push(back.0);
        }
        prop_assert_eq!(timeline.position().seq, None);
        let mut steps = 0;
        while timeline.step_forward(of).unwrap() {
            steps += 1;
        }
        prop_assert_eq!(steps, passed.len());
        prop_assert_eq!(here(&timeline), end);
    }

    /// Checks that a source that lies gives errors or some state, and never a panic or an endless loop.
    #[test]
    fn liars_do_no_harm(
        acts in acts(40),
        distance in 1usize..20,
        lies in proptest::collection::vec((0u8..8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        ways in proptest::collection::vec((0u8..8, any::<prop::sample::Index>()), 1..12),
    ) {
        let mut memory = recording(&acts).with_keyframes(distance);
        for (lie, a, b) in lies {
            let (a, b) = (a.index(memory.events.len()), b.index(memory.events.len()));
            match lie {
                0 => memory.events.swap(a, b),
                1 => { memory.events.remove(a); }
                2 => memory.events[a].mm = MmId(b as u32),
                3 => memory.events[a].seq = memory.events[b].seq,
                4 => memory.events[a].seq = Seq(u64::MAX),
                5 => memory.events[a].op = Op::Fork {
                    kind: vmatlas_event::ForkKind::Process,
                    child: memory.events[b].task,
                    child_mm: memory.events[b].mm,
                },
                6 if !memory.keyframes.is_empty() => {
                    let k = a % memory.keyframes.len();
                    memory.keyframes[k].after = Seq(b as u64);
                    let twice = memory.keyframes[k].spaces.clone();
                    memory.keyframes[k].spaces.extend(twice);
                }
                _ => {
                    for state in memory.keyframes.iter_mut().flat_map(|k| &mut k.spaces) {
                        state.rows.reverse();
                        let rows = state.rows.clone();
                        state.rows.extend(rows);
                        state.origins.truncate(b % 4);
                    }
                }
            }
            if memory.events.is_empty() {
                return Ok(());
            }
        }
        let mut timeline = open(&memory);
        for (way, to) in ways {
            let to = Seq(to.index(memory.events.len() + 3) as u64);
            let _ = match way {
                0 => timeline.step_forward(None).map(|_| ()),
                1 => timeline.step_back(Some(MmId(1))).map(|_| ()),
                2 => timeline.seek(&Moment::Peak, Whose::First).map(|_| ()),
                3 => timeline.seek(&Moment::Exit, Whose::First).map(|_| ()),
                4 => timeline.verify(|_| true).map(|_| ()),
                5 => timeline.history(MmId(1), Addr(to.0 << 12), |_| true).map(|_| ()),
                6 => timeline.seek(&Moment::Time(to.0 * 10), Whose::First).map(|_| ()),
                _ => timeline.seek_event(to),
            };
        }
    }

    /// Checks that the peak is the first moment at which an address space is as large as it ever was, and that a time
    /// finds the last event that was left by then.
    #[test]
    fn peaks_and_times_are_found(acts in acts(50), distance in 1usize..30, at in 0u64..2000) {
        let memory = recording(&acts).with_keyframes(distance);
        let mut timeline = open(&memory);
        for node in timeline.tree().unwrap().spaces.clone() {
            let Ok(end) = timeline.seek(&Moment::Exit, Whose::Space(node.mm)) else { continue };
            let Some(peak) = timeline.space(node.mm).map(|space| space.peak()) else { continue };
            let spot = timeline.seek(&Moment::Peak, Whose::Space(node.mm)).unwrap();
            let mut slow = open(&Memory { keyframes: vec![], ..memory.clone() });
            let is_there = |t: &Timeline<Memory>| t.space(node.mm).is_some_and(|space| space.peak() >= peak);
            while !is_there(&slow) && slow.step_forward(Some(node.mm)).unwrap() {}
            prop_assert_eq!(Some(spot.seq), slow.position().seq, "{:?} of {:?}", end, node);
            prop_assert!(spot.seq <= end.seq);
        }
        let by_then = memory.events.iter().rev().find(|event| event.left.0 <= at).map(|event| event.seq);
        prop_assert_eq!(timeline.source().at_time(vmatlas_event::MonoNs(at)).unwrap(), by_then);
    }

    /// Checks that what a step did is what was told when it happened, also at the edge of the window.
    #[test]
    fn what_a_step_did_is_told_again(acts in acts(40), distance in 1usize..20) {
        let memory = recording(&acts).with_keyframes(distance);
        let mut timeline = open(&memory);
        for event in &memory.events {
            timeline.restart(event.seq).unwrap();
            timeline.run_to(event.seq).unwrap();
            let here_before = here(&timeline);
            let told = timeline.latest().unwrap();
            prop_assert_eq!(here(&timeline), here_before);
            let after: Vec<_> = told.iter().map(|(mm, _)| timeline.space(*mm).cloned()).collect();
            for ((mm, change), space) in told.iter().zip(after) {
                let Some(mut space) = space else { continue };
                space.undo(change);
                space.redo(change);
                prop_assert!(space.vmas().eq(timeline.space(*mm).unwrap().vmas()));
            }
        }
    }

    /// Checks that a recording that nobody changed verifies: every keyframe is the state of the replay.
    #[test]
    fn keyframes_verify(acts in acts(50), distance in 1usize..20) {
        let memory = recording(&acts).with_keyframes(distance);
        let found = open(&memory).verify(|_| true).unwrap();
        prop_assert_eq!(found.events, memory.events.len() as u64);
        prop_assert_eq!((found.keyframes, found.wrong_keyframes), (memory.keyframes.len() as u64, 0));
        let mut spaces = Spaces::new(PageSize::FOUR_KIB);
        memory.events.iter().for_each(|event| { spaces.event(event); });
        prop_assert_eq!(found.tally, spaces.tally());
    }
}

/// Checks that remembering what happened changes nothing of it.
#[test]
fn effects_are_told_and_change_nothing() {
    let memory = recording(&(0..200).map(|i| (i as u8, i * 7919 % 99_991)).collect::<Vec<_>>());
    let mut plain = Spaces::new(PageSize::FOUR_KIB);
    let mut told = Spaces::new(PageSize::FOUR_KIB);
    for event in &memory.events {
        told.effects = Some(Effects::default());
        told.event(event);
        plain.event(event);
        assert_eq!(states(&told), states(&plain));
    }
}
