//! Call stacks are read again as they were written.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::stacks::{frame, module, news, step, symbols};
use common::{create, event, small};
use std::fs;
use std::path::Path;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Queue, Reader};

/// Writes a recording; with several parts where `rotate_at` is small.
fn record(path: &Path, rotate_at: u64, end: bool) -> Vec<Event> {
    let flush_after = if rotate_at < 1 << 20 { 0 } else { u64::MAX };
    let mut writer = create(path, Options { rotate_at, flush_after, ..Options::default() });
    let mut events = small(400);
    // Everything that a stack refers to comes before it: all frames first.
    let mut all = news(0, 1);
    let stacks = std::mem::take(&mut all.stacks);
    writer.stacks(&all);
    for (n, event) in events.iter_mut().enumerate() {
        writer.stacks(&NewStacks {
            stacks: stacks.get(n..=n).unwrap_or_default().to_vec(),
            ..NewStacks::default()
        });
        event.stack = (event.op.is_call() && n < stacks.len()).then_some(StackId(n as u32));
        writer.event(event);
    }
    let named: Vec<(FrameId, Vec<Symbol>)> = (0..20).map(|n| (FrameId(n), symbols(n))).collect();
    writer.symbols(&named);
    match end {
        true => writer.finish(End::default()).unwrap(),
        false => drop(writer),
    }
    events
}

fn check(path: &Path, events: &[Event]) {
    let mut reader = Reader::open(path).unwrap();
    let stacks = reader.stacks().unwrap();
    assert_eq!(stacks.counts(), [3, 20, 200]);
    for n in 0..3 {
        assert_eq!(stacks.module(ModuleId(n)), Some(&module(n)));
    }
    for n in 0..20 {
        assert_eq!(stacks.frame(FrameId(n)), Some(frame(n)));
        assert_eq!(stacks.symbols(FrameId(n)).cloned().collect::<Vec<_>>(), symbols(n));
    }
    for n in 0..200u32 {
        let mut wanted = vec![(frame(n % 20), None)];
        let mut at = n;
        let end = loop {
            let found = match step(at).outer {
                Outer::Caller(caller, found) => {
                    at = caller.0;
                    found
                }
                Outer::End(end) => break end,
            };
            wanted.push((frame(at % 20), found));
        };
        assert_eq!(stacks.get(StackId(n)), Some(Stack { frames: wanted, end }));
    }
    assert_eq!(stacks.get(StackId(200)), None);
    let (found, result) = common::read_from(&mut reader, 0);
    assert_eq!(result, Ok(()));
    assert!(found == events);
}

/// Checks that modules, frames, stacks and symbols come again, sealed in one part and in several, and from a tail.
#[test]
fn stacks_come_again() {
    let folder = tempfile::tempdir().unwrap();
    for (name, rotate_at, end) in [("one", 1 << 30, true), ("many", 20_000, true), ("tail", 1 << 30, false)] {
        let path = folder.path().join(name);
        let events = record(&path, rotate_at, end);
        assert_eq!(path.join("seg-000002").exists(), name == "many");
        check(&path, &events);
    }
}

/// Checks that a recording cut anywhere gives stacks that are a beginning of what was written, and that each event that is
/// given has its own.
#[test]
fn torn_stacks_are_a_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torn");
    record(&path, 1 << 30, false);
    let tail = fs::read(path.join("tail-000001")).unwrap();
    for cut in (16..tail.len()).step_by(97) {
        fs::write(path.join("tail-000001"), &tail[..cut]).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let stacks = reader.stacks().unwrap();
        let (found, _) = common::read_from(&mut reader, 0);
        for id in found.iter().filter_map(|event| event.stack) {
            assert!(stacks.get(id).is_some_and(|stack| stack.frames[0].0 == frame(id.0 % 20)), "{cut}");
        }
    }
}

/// Checks that a recording without stacks has none, and that the queue brings what is new in order.
#[test]
fn the_queue_brings_stacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queued");
    let queue = Queue::start(create(&path, Options::default())).unwrap();
    for piece in 0..10 {
        assert_eq!(queue.stacks(news_in_order(piece)), None);
        let op = Op::Munlockall;
        let stack = Some(StackId(piece * 20 + 19));
        assert!(queue.event(&Event { stack, ..event(piece.into(), op) }));
    }
    queue.finish(End::default()).unwrap();
    assert_eq!(Reader::open(&path).unwrap().stacks().unwrap().counts(), [3, 20, 200]);
    let path = folder.path().join("without");
    let writer = create(&path, Options::default());
    writer.finish(End::default()).unwrap();
    assert_eq!(Reader::open(&path).unwrap().stacks().unwrap().counts(), [0; 3]);
}

/// Frames first, then stacks in ten pieces.
fn news_in_order(piece: u32) -> NewStacks {
    let all = news(0, 1);
    let stacks = news(piece, 10).stacks;
    match piece {
        0 => NewStacks { stacks, ..all },
        _ => NewStacks { stacks, ..NewStacks::default() },
    }
}
