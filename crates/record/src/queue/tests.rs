//! The queue before a disk that is stuck.

use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use vmatlas_event::{MmId, MonoNs, Outcome as How, Pid, Seq, Source, Tid};

/// A disk that takes nothing until it is told to.
struct Stuck {
    go: Receiver<()>,
    seen: Sender<Event>,
    moving: bool,
}

impl Outlet for Stuck {
    fn look(&mut self, _: &Look, _: &[PageRow]) {}
    fn stacks(&mut self, _: &NewStacks) {}
    fn symbols(&mut self, _: &[(FrameId, Vec<Symbol>)]) {}

    fn event(&mut self, event: &Event) {
        if !self.moving {
            self.go.recv().unwrap();
            self.moving = true;
        }
        self.seen.send(event.clone()).unwrap();
    }

    fn keyframe(&mut self, _: &Keyframe) {}
    fn set_pid(&mut self, _: i32) {}
    fn tick(&mut self, _: MonoNs) {}

    fn take_failure(&mut self) -> Option<RecordError> {
        None
    }

    fn finish(self, _: Outcome) -> Result<(), RecordError> {
        Ok(())
    }

    fn discard(self) {}
}

fn event(seq: u64) -> Event {
    Event {
        seq: Seq(seq),
        entered: MonoNs(seq),
        left: MonoNs(seq),
        task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
        mm: MmId(1),
        op: Op::Munlockall,
        outcome: How::Done(0),
        stack: None,
        source: Source::Ptrace,
    }
}

/// Checks that a stuck disk holds nobody up, that what waits for it is bounded, and that nothing of that is lost or
/// out of order once it moves again.
#[test]
fn a_stuck_disk_holds_nobody_up() {
    let (go, stuck) = channel();
    let (seen, events) = channel();
    let outlet = Stuck { go: stuck, seen, moving: false };
    let queue = Queue::over(outlet, PathBuf::from("r"), Arc::default()).unwrap();
    let start = Instant::now();
    let taken = (0..1_000_000).take_while(|seq| queue.event(&event(*seq))).count();
    assert!((MOST_BYTES / size_of::<Item>() / 2..=MOST).contains(&taken), "{taken}");
    assert!(!queue.event(&event(taken as u64)) && !queue.has_room());
    // One event in hand of a thread that waits for a disk would be for ever.
    assert!(start.elapsed() < Duration::from_secs(30));
    go.send(()).unwrap();
    let all: Vec<u64> = events.iter().take(taken).map(|event| event.seq.0).collect();
    assert!(all.iter().copied().eq(0..taken as u64));
    assert!(vmatlas_testkit::wait_until(|| queue.has_room(), Duration::from_secs(10)));
    assert!(queue.event(&event(1 << 40)));
    queue.finish(Outcome::default()).unwrap();
    assert_eq!(events.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1 << 40]);
}

/// Checks that an event larger than all the room is taken where nothing else waits, so that none is lost for its size.
#[test]
fn an_empty_queue_takes_anything() {
    let state = State::default();
    assert!(state.fits(usize::MAX));
    let state = State { taken: Load { events: 1, bytes: 1 }, ..State::default() };
    assert!(state.fits(1000) && !state.fits(MOST_BYTES));
}
