//! A real run kept in memory: every moment of it comes back as it was when the program ran.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use vmatlas_event::{Event, EventSource, Keyframe, Next, Op, Seq, Sink};
use vmatlas_model::timeline::{How, Moment, Timeline, Whose};
use vmatlas_model::{Spaces, Tally};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Capability, left_off, need};
use vmatlas_trace::{End, Launch, TraceError, Tracer};

/// Every event, and the state after each at which nothing was pending.
struct Recorder {
    spaces: Spaces,
    events: Vec<Event>,
    states: Vec<Keyframe>,
}

impl Sink for Recorder {
    fn event(&mut self, event: &Event) -> Next {
        let ask = self.spaces.event(event).ask;
        self.events.push(event.clone());
        self.states.extend(self.spaces.keyframe(event.seq, event.left));
        if ask.is_empty() { Next::Go } else { Next::Ask(ask) }
    }
}

/// What a recorder kept; every 64th state is a keyframe.
struct Kept {
    events: Vec<Event>,
    states: Vec<Keyframe>,
}

impl EventSource for Kept {
    type Error = std::convert::Infallible;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Self::Error> {
        let at = self.events.partition_point(|event| event.seq < from);
        for event in &self.events[at..] {
            if !found(event.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, Self::Error> {
        let until = self.states.partition_point(|state| state.after <= at);
        Ok(self.states[..until].iter().step_by(64).next_back().cloned())
    }

    fn last(&self) -> Option<Seq> {
        self.events.last().map(|event| event.seq)
    }
}

/// Runs a command; `None` where tracing is not possible at all.
fn recorded(command: &[&str]) -> Option<(Timeline<Kept>, Vec<Keyframe>, Tally)> {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    let tracer = match Tracer::start(&launch) {
        Err(TraceError::NotPermitted { .. }) => {
            left_off("permission to trace");
            return None;
        }
        tracer => tracer.unwrap(),
    };
    let page = vmatlas_sys::page_size();
    let mut recorder = Recorder { spaces: Spaces::new(page), events: Vec::new(), states: Vec::new() };
    let end = tracer.run(&mut ProcKernel::new(ProcRoot::system()), &mut recorder).unwrap();
    assert_eq!(end, End::Exited(0));
    let Recorder { spaces, events, states } = recorder;
    let kept = Kept { events, states: states.clone() };
    Some((Timeline::open(kept, page, false).unwrap(), states, spaces.tally()))
}

/// Checks every moment against what was there, sought in no order and stepped to, and the whole by verification.
fn every_moment_comes_back(command: &[&str]) -> Option<Timeline<Kept>> {
    let (mut timeline, states, tally) = recorded(command)?;
    assert!(states.len() > 20, "{} states", states.len());
    let found = timeline.verify(|_| true).unwrap();
    assert_eq!(found.tally, tally);
    assert_eq!((found.different, found.wrong_keyframes), (0, 0), "{:?}", found.first);
    assert!(found.compared > 0 && found.keyframes > 0, "{found:?}");
    let is_at = |timeline: &Timeline<Kept>, state: &Keyframe| {
        let mms: Vec<_> = state.spaces.iter().map(|space| space.mm).collect();
        assert_eq!(timeline.spaces(), mms, "after {}", state.after);
        for there in &state.spaces {
            let space = timeline.space(there.mm).unwrap();
            assert!(space.vmas().eq(&there.rows), "rows of {} after {}", there.mm, state.after);
            assert!(space.origins().map(|o| (o.range, o.seq)).eq(there.origins.iter().copied()));
            assert_eq!((space.brk(), space.peak()), (there.brk, there.peak));
        }
    };
    for at in 0..states.len() {
        let state = &states[at * 7919 % states.len()];
        timeline.seek_event(state.after).unwrap();
        if timeline.position().seq == Some(state.after) {
            is_at(&timeline, state);
        }
    }
    while timeline.step_back(None).unwrap() {
        let at = timeline.position().seq;
        if let Some(state) = at.and_then(|at| states.iter().find(|state| state.after == at)) {
            is_at(&timeline, state);
        }
    }
    assert_eq!((timeline.position().seq, timeline.spaces()), (None, vec![]));
    while timeline.step_forward(None).unwrap() {}
    assert_eq!(timeline.position().seq, timeline.last());
    Some(timeline)
}

/// Checks a shell that forks and executes: its children are in the tree, and their last states alive have maps.
#[test]
fn a_shell_and_its_children_come_back() {
    let Some(mut timeline) = every_moment_comes_back(&["sh", "-c", "true; (true); ls / | cat > /dev/null"])
    else {
        return;
    };
    let tree = timeline.tree().unwrap().clone();
    let count = |how| tree.spaces.iter().filter(|node| node.how == how).count();
    assert!(count(How::Forked) >= 2 && count(How::Executed) >= 3, "{tree:?}");
    assert_eq!(count(How::Found), 0, "{tree:?}");
    for node in &tree.spaces {
        let spot = timeline.seek(&Moment::Exit, Whose::Space(node.mm)).unwrap();
        assert_eq!(spot.mm, Some(node.mm));
        let space = timeline.space(node.mm).unwrap();
        assert!(space.vma_count() > 3, "{node:?}");
        let row = space.vmas().last().unwrap().range;
        let history = timeline.history(node.mm, row.start(), |_| true).unwrap();
        assert_eq!(history.chapters.first().map(|chapter| chapter.event.seq), history.origin, "{history:?}");
        timeline.seek(&Moment::Peak, Whose::Space(node.mm)).unwrap();
        assert!(timeline.space(node.mm).is_some_and(|space| space.size() == space.peak()), "{node:?}");
    }
}

/// Checks a program with threads whose calls overlap.
#[test]
fn a_program_with_threads_comes_back() {
    // While threads call, the whole map may never be read: the calls at the end are alone, and more than a second apart.
    let script = "import json, mmap, threading, time\n\
                  def work():\n    for i in range(60): mmap.mmap(-1, 65536).close()\n\
                  ts = [threading.Thread(target=work) for _ in range(4)]\n\
                  [t.start() for t in ts]; [t.join() for t in ts]\n\
                  for i in range(3): time.sleep(1.1); mmap.mmap(-1, 65536).close()";
    if !need(Capability::Tool("python3")) {
        return;
    }
    let Some(mut timeline) = every_moment_comes_back(&["python3", "-c", script]) else { return };
    let calls = timeline.source().events.iter().filter(|event| event.op.is_call()).count();
    assert!(calls > 200, "{calls} calls");
    let has_answers = |event: &Event| matches!(event.op, Op::Observed { .. });
    assert!(timeline.source().events.iter().any(has_answers));
}
