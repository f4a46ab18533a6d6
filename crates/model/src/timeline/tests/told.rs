//! Recordings of a few events whose story is known.

use super::play::Play;
use super::{here, open};
use crate::space::tests::{anon, r};
use crate::timeline::{How, Moment, TimelineError, What, Whose, Wrong};
use vmatlas_event::{
    Addr, AddrRange, ForkKind, MapFlags, MmId, Op, Outcome, Pid, Prot, ProtArg, Seq, SnapshotReason,
};

/// The kernel answers with what the model has.
pub(super) const HONEST: u64 = 4;

pub(super) fn map(play: &mut Play, who: usize, range: AddrRange) -> Seq {
    let op = Op::Mmap {
        addr: range.start(),
        len: range.len(),
        prot: ProtArg(3),
        flags: MapFlags(0x32),
        fd: -1,
        offset: 0,
    };
    let seq = Seq(play.memory.events.len() as u64);
    play.call(who, op, Outcome::Done(range.start().0), HONEST);
    seq
}

pub(super) fn protect(play: &mut Play, who: usize, range: AddrRange) -> Seq {
    let op = Op::Mprotect { addr: range.start(), len: range.len(), prot: ProtArg(1), pkey: None };
    let seq = Seq(play.memory.events.len() as u64);
    play.call(who, op, Outcome::Done(0), HONEST);
    seq
}

fn unmap(play: &mut Play, who: usize, range: AddrRange) {
    let op = Op::Munmap { addr: range.start(), len: range.len() };
    play.call(who, op, Outcome::Done(0), HONEST);
}

/// A program (0, 1) that forks (2), whose child executes (3, 4), gets a thread (5), and ends (6 the thread, 7).
fn family() -> Play {
    let mut play = Play::new();
    play.fork(0, ForkKind::Process);
    play.exec(1);
    play.fork(1, ForkKind::Thread);
    play.exit(2);
    play.exit(1);
    play
}

/// Checks that forks and programs make a tree, and that whoever used an address space is known, from when to when.
#[test]
fn forks_form_a_tree() {
    let play = family();
    let mut timeline = open(&play.memory);
    let tree = timeline.tree().unwrap();
    let told: Vec<_> = tree.spaces.iter().map(|n| (n.mm.0, n.parent, n.how, n.first.0, n.last)).collect();
    assert_eq!(
        told,
        [
            (1, None, How::Executed, 0, None),
            (2, Some(MmId(1)), How::Forked, 2, Some(Seq(3))),
            (3, Some(MmId(2)), How::Executed, 3, Some(Seq(7))),
        ]
    );
    assert_eq!(tree.root(), Some(Pid(1)));
    let users = |mm| {
        tree.get(MmId(mm)).unwrap().users.iter().map(|u| (u.pid.0, u.first.0, u.last)).collect::<Vec<_>>()
    };
    assert_eq!(users(1), [(1, 0, None)]);
    assert_eq!(users(2), [(2, 2, Some(Seq(3)))]);
    assert_eq!(users(3), [(2, 3, Some(Seq(7)))]);
    assert_eq!(tree.of(Pid(2)).count(), 2);
}

/// Checks that a program that starts many others, each in its own address space for a moment, is no trouble.
#[test]
fn many_may_share_an_address_space() {
    const MANY: u64 = 3000;
    let mut play = Play::new();
    for _ in 0..MANY {
        play.fork(0, ForkKind::SharedProcess);
        play.exit(1);
    }
    let mut timeline = open(&play.memory);
    let tree = timeline.tree().unwrap();
    let [node] = &tree.spaces[..] else { panic!("{} address spaces", tree.spaces.len()) };
    assert_eq!((node.users.len() as u64, node.last), (MANY + 1, None));
    let last = &node.users[MANY as usize];
    assert_eq!((last.first, last.last), (Seq(2 * MANY), Some(Seq(2 * MANY + 1))));
    assert_eq!(node.users[0].last, None);
}

/// Checks each named moment of a process, and what is said of one that is not there.
#[test]
fn moments_have_names() {
    let mut play = family();
    let mapped = map(&mut play, 0, r(10, 20));
    play.send(0, Op::Mark { name: "here".to_owned() }, Outcome::Done(0));
    unmap(&mut play, 0, r(10, 20));
    let last = play.memory.events.last().unwrap().seq;
    let mut timeline = open(&play.memory);
    let mut spot = |text: &str, whose| {
        let spot = timeline.locate(&Moment::parse(text), whose)?;
        Ok::<_, TimelineError<String>>((spot.seq.0, spot.mm.map(|mm| mm.0)))
    };
    let child = Whose::Process(Pid(2));
    assert_eq!(spot("exec", Whose::First), Ok((1, Some(1))));
    assert_eq!(spot("exec", child), Ok((4, Some(3))));
    assert_eq!(spot("exec:2", child), Err(TimelineError::NoSuchMoment));
    assert_eq!(spot("exit", child), Ok((6, Some(3))));
    assert_eq!(spot("exit", Whose::First), Ok((last.0, Some(1))));
    assert_eq!(spot("exit", Whose::Space(MmId(2))), Ok((2, Some(2))));
    assert_eq!(spot("2", child), Ok((2, Some(2))));
    assert_eq!(spot("#7", child), Ok((7, None)));
    assert_eq!(spot("here", Whose::First), Ok((mapped.0 + 1, Some(1))));
    assert_eq!(spot("there", Whose::First), Err(TimelineError::NoSuchMoment));
    assert_eq!(spot("peak", Whose::First), Ok((mapped.0, Some(1))));
    assert_eq!(spot("end", Whose::First), Ok((last.0, Some(1))));
    assert_eq!(spot("31ns", Whose::First), Ok((3, Some(1))));
    assert_eq!(spot("exit", Whose::Process(Pid(9))), Err(TimelineError::NoSuchProcess(Pid(9))));
    assert_eq!(spot("exit", Whose::Space(MmId(9))), Err(TimelineError::NoSuchSpace(MmId(9))));
    // The last state alive is one.
    timeline.seek(&Moment::Exit, child).unwrap();
    assert_eq!(timeline.spaces(), [MmId(1), MmId(3)]);
    assert!(timeline.step_forward(None).unwrap());
    assert_eq!(timeline.spaces(), [MmId(1)]);
}

/// Checks how moments are written.
#[test]
fn moments_are_read() {
    let mark = |name: &str| Moment::Mark(name.to_owned());
    for (text, moment) in [
        ("1042", Moment::Event(Seq(1042))),
        ("#1042", Moment::Event(Seq(1042))),
        ("0.5ms", Moment::Time(500_000)),
        ("1.0000000019s", Moment::Time(1_000_000_001)),
        ("7ns", Moment::Time(7)),
        ("exec:3", Moment::Exec(3)),
        ("exec:0", mark("exec:0")),
        ("mark:7", mark("7")),
        ("s", mark("s")),
        ("1.s", mark("1.s")),
        ("-1s", mark("-1s")),
        ("99999999999999999999", mark("99999999999999999999")),
        ("99999999999999999999s", mark("99999999999999999999s")),
        ("", mark("")),
    ] {
        assert_eq!(Moment::parse(text), moment, "{text}");
    }
}

/// Checks that a page is followed back through what was done to it, a move and a fork, and that its VMA's neighbours are
/// told apart.
#[test]
fn a_page_has_a_history() {
    let mut play = Play::new();
    let mapped = map(&mut play, 0, r(20, 24));
    let beside = map(&mut play, 0, r(24, 26));
    let altered = protect(&mut play, 0, r(21, 22));
    protect(&mut play, 0, r(25, 26));
    let op = Op::Mremap {
        old: r(21, 22).start(),
        old_len: r(21, 22).len(),
        new_len: r(21, 22).len(),
        flags: 3,
        new: r(40, 41).start(),
    };
    let moved = Seq(play.memory.events.len() as u64);
    play.call(0, op, Outcome::Done(r(40, 41).start().0), HONEST);
    let forked = Seq(play.memory.events.len() as u64);
    play.fork(0, ForkKind::Process);
    // Another page now lies where it was.
    map(&mut play, 1, r(21, 22));
    // Not in the child.
    protect(&mut play, 0, r(40, 41));
    let op = Op::Mprotect { addr: r(40, 41).start(), len: r(40, 41).len(), prot: ProtArg(0), pkey: None };
    let closed = Seq(play.memory.events.len() as u64);
    play.call(1, op, Outcome::Done(0), HONEST);
    for distance in [1, 3, 1000] {
        let mut timeline = open(&play.memory.clone().with_keyframes(distance));
        timeline.seek(&Moment::End, Whose::First).unwrap();
        let place = here(&timeline);
        let history = timeline.history(MmId(2), r(40, 41).start(), |_| true).unwrap();
        assert_eq!(history.origin, Some(mapped));
        let told: Vec<_> = history.chapters.iter().map(|c| (c.event.seq, c.mm.0, c.addr, c.what)).collect();
        let (old, new) = (r(21, 22).start(), r(40, 41).start());
        // The map of 24 to 26 merged with it before.
        assert_eq!(
            told,
            [
                (mapped, 1, old, What::Mapped),
                (altered, 1, old, What::Altered),
                (moved, 1, old, What::Moved(new)),
                (forked, 1, new, What::Forked(MmId(2))),
                (closed, 2, new, What::Altered),
            ]
        );
        assert_eq!(here(&timeline), place);
        let of_parent = timeline.history(MmId(1), r(24, 25).start(), |_| true).unwrap();
        assert_eq!((of_parent.origin, of_parent.chapters[0].what), (Some(beside), What::Mapped));
        let nothing = timeline.history(MmId(1), r(21, 22).start(), |_| true).unwrap();
        assert_eq!((nothing.row, nothing.origin), (None, None));
        assert!(matches!(nothing.chapters[..], [ref first, ..] if first.what == What::Mapped));
        assert!(matches!(timeline.history(MmId(9), new, |_| true), Err(TimelineError::NoSuchSpace(_))));
    }
}

/// Checks that neighbours in one VMA are told apart by what mapped them.
#[test]
fn merged_neighbours_are_told_apart() {
    let mut play = Play::new();
    let first = map(&mut play, 0, r(20, 24));
    let second = map(&mut play, 0, r(24, 26));
    let rows = vec![anon(20, 26, Prot::RW)];
    play.send(0, Op::Snapshot { reason: SnapshotReason::Request, rows }, Outcome::Done(0));
    let mut timeline = open(&play.memory);
    timeline.seek(&Moment::Exit, Whose::First).unwrap();
    let history = timeline.history(MmId(1), r(25, 26).start(), |_| true).unwrap();
    assert_eq!(history.row, Some(anon(20, 26, Prot::RW)));
    let told: Vec<_> = history.neighbours.iter().map(|o| (o.range, o.seq)).collect();
    assert_eq!(told, [(r(20, 24), first), (r(24, 26), second)]);
    assert_eq!(history.chapters.last().unwrap().what, What::Bounds);
}

/// Checks that a snapshot that shows what no call did, and a keyframe that is of another state, are found.
#[test]
fn contradictions_are_found() {
    let mut play = Play::new();
    map(&mut play, 0, r(20, 24));
    let rows = vec![anon(20, 24, Prot::RW)];
    play.send(0, Op::Snapshot { reason: SnapshotReason::Check, rows: rows.clone() }, Outcome::Done(0));
    play.send(0, Op::Snapshot { reason: SnapshotReason::Last, rows }, Outcome::Done(0));
    let mut memory = play.memory.with_keyframes(2);
    memory.keyframes[1].spaces[0].brk = Some(Addr(1));
    let found = open(&memory).verify(|_| true).unwrap();
    assert_eq!((found.compared, found.different, found.tally.differences), (2, 1, 1));
    assert_eq!((found.keyframes, found.wrong_keyframes), (memory.keyframes.len() as u64, 1));
    assert!(matches!(
        &found.first[..],
        [Wrong::Snapshot { difference: Some(_), .. }, Wrong::Keyframe { mm: Some(MmId(1)), .. }]
    ));
    let stopped = open(&memory).verify(|seq| seq < Seq(1)).unwrap();
    assert_eq!(stopped.events, 2);
}
