use super::*;
use crate::space::tests::{anon, r};
use crate::{PageChange, Spaces};
use vmatlas_event::{
    Advice, Dev, Errno, MapFlags, MmId, MonoNs, Name, Pid, Prot, ProtArg, Sharing, SnapshotReason, Source,
    TaskId, Tid,
};

pub(crate) const PAGE: u64 = 4096;

/// The address space of one process, and its events so far.
pub(crate) struct World {
    pub(crate) spaces: Spaces,
    pub(crate) seq: u64,
}

impl World {
    pub(crate) fn with(rows: Vec<VmaRow>) -> World {
        let mut world = World { spaces: Spaces::new(PageSize::FOUR_KIB), seq: 0 };
        world.send(Op::Snapshot { reason: SnapshotReason::Exec, rows }, Outcome::Done(0));
        world
    }

    pub(crate) fn event(&mut self, op: Op, outcome: Outcome) -> Event {
        self.seq += 1;
        Event {
            seq: Seq(self.seq),
            entered: MonoNs(0),
            left: MonoNs(0),
            task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
            mm: MmId(1),
            op,
            outcome,
            stack: None,
            source: Source::Ptrace,
        }
    }

    pub(crate) fn send(&mut self, op: Op, outcome: Outcome) -> crate::Progress {
        let event = self.event(op, outcome);
        self.spaces.event(&event)
    }

    /// Sends a call and answers what it asks with `rows`.
    pub(crate) fn call(&mut self, op: Op, outcome: Outcome, rows: &[VmaRow]) -> Change {
        let mut progress = self.send(op, outcome);
        for asked in std::mem::take(&mut progress.ask) {
            let rows = rows.iter().filter(|r| r.range.intersects(asked)).cloned().collect();
            progress =
                self.send(Op::Observed { rows, asked, late: false, in_flight: vec![] }, Outcome::Done(0));
        }
        progress.done.unwrap().change
    }

    pub(crate) fn rows(&self) -> Vec<VmaRow> {
        self.spaces.get(MmId(1)).unwrap().vmas().cloned().collect()
    }
}

pub(crate) fn mmap(pages: u64, prot: u64, flags: u64) -> Op {
    Op::Mmap {
        addr: Addr(0),
        len: Bytes(pages * PAGE),
        prot: ProtArg(prot),
        flags: MapFlags(flags),
        fd: -1,
        offset: 0,
    }
}

pub(crate) fn done(page: u64) -> Outcome {
    Outcome::Done(page * PAGE)
}

/// Checks that one byte maps one page, and that the origin is the call.
#[test]
fn one_byte_is_a_page() {
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    let op =
        Op::Mmap { addr: Addr(0), len: Bytes(1), prot: ProtArg(3), flags: MapFlags(0x22), fd: -1, offset: 0 };
    let change = world.call(op, done(10), &[anon(10, 11, Prot::RW)]);
    assert_eq!(change.pages(), [PageChange::Added(anon(10, 11, Prot::RW))]);
    assert_eq!(world.spaces.get(MmId(1)).unwrap().size(), Bytes(2 * PAGE));
    assert_eq!(world.spaces.get(MmId(1)).unwrap().origin_of(Addr(10 * PAGE)), Some(Seq(2)));
}

/// Checks that a mapping the kernel merged shows the old row out, the larger one in, and only the new pages added.
#[test]
fn a_merge_is_seen_in_the_answer() {
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    let change = world.call(mmap(3, 3, 0x22), done(2), &[anon(1, 5, Prot::RW)]);
    assert_eq!(change.before[..], [anon(1, 2, Prot::RW)]);
    assert_eq!(change.after[..], [anon(1, 5, Prot::RW)]);
    assert_eq!(change.pages(), [PageChange::Added(anon(2, 5, Prot::RW))]);
    assert_eq!(world.rows(), [anon(1, 5, Prot::RW)]);
    assert_eq!(world.spaces.tally().drift, 0);
    // The VMA is one, the origins are two.
    let space = world.spaces.get(MmId(1)).unwrap();
    assert_eq!((space.origin_of(Addr(PAGE)), space.origin_of(Addr(3 * PAGE))), (Some(Seq(1)), Some(Seq(2))));
}

/// Checks that MAP_FIXED over an equal mapping is removed and added, though the map looks the same afterwards.
#[test]
fn map_fixed_over_a_mapping_is_removed_and_added() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let change = world.call(mmap(2, 3, 0x32), done(3), &[anon(1, 9, Prot::RW)]);
    assert_eq!(
        change.pages(),
        [PageChange::Removed(anon(3, 5, Prot::RW)), PageChange::Added(anon(3, 5, Prot::RW))]
    );
    assert_eq!(world.rows(), [anon(1, 9, Prot::RW)]);
}

/// Checks that a file mapping gets its identity from the answer, without counting as drift.
#[test]
fn a_file_is_known_by_the_answer() {
    let file = VmaRow {
        range: r(5, 7),
        prot: Prot::READ,
        sharing: Sharing::Private,
        offset: 0x3000,
        dev: Dev { major: 8, minor: 1 },
        inode: 42,
        name: Some(Name::new(b"/lib/x.so")),
    };
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    let op = Op::Mmap {
        addr: Addr(0),
        len: Bytes(2 * PAGE),
        prot: ProtArg(1),
        flags: MapFlags(2),
        fd: 3,
        offset: 0x3000,
    };
    let change = world.call(op, done(5), std::slice::from_ref(&file));
    assert_eq!(change.pages(), [PageChange::Added(file)]);
    assert_eq!(world.spaces.tally().drift, 0);
}

/// Checks that munmap in the middle leaves two VMAs, with nothing to ask.
#[test]
fn munmap_in_the_middle_splits() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let progress = world.send(Op::Munmap { addr: Addr(3 * PAGE), len: Bytes(PAGE + 1) }, Outcome::Done(0));
    assert!(progress.ask.is_empty());
    let change = progress.done.unwrap().change;
    assert_eq!(change.pages(), [PageChange::Removed(anon(3, 5, Prot::RW))]);
    assert_eq!(world.rows(), [anon(1, 3, Prot::RW), anon(5, 9, Prot::RW)]);
    assert_eq!(world.spaces.get(MmId(1)).unwrap().size(), Bytes(6 * PAGE));
}

/// Checks that mprotect of the middle is one alteration and three VMAs.
#[test]
fn mprotect_of_the_middle_splits() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let op = Op::Mprotect { addr: Addr(3 * PAGE), len: Bytes(2 * PAGE), prot: ProtArg(1), pkey: None };
    let change = world.call(op, Outcome::Done(0), &[anon(3, 5, Prot::READ)]);
    assert_eq!(change.pages().len(), 1);
    assert_eq!((change.before.len(), change.after.len()), (1, 3));
    assert_eq!(world.rows(), [anon(1, 3, Prot::RW), anon(3, 5, Prot::READ), anon(5, 9, Prot::RW)]);
}

/// Checks that a failed call's range is read again: munmap into a sealed VMA leaves the first one split (KERNEL-FACTS).
#[test]
fn a_failed_call_is_read_again() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let op = Op::Munmap { addr: Addr(3 * PAGE), len: Bytes(9 * PAGE) };
    let change = world.call(op, Outcome::Failed(Errno(1)), &[anon(1, 3, Prot::RW), anon(3, 9, Prot::RW)]);
    assert_eq!(change.pages(), []);
    assert_eq!(change.after.len(), 2);
    assert_eq!(world.spaces.tally().drift, 0);
}

/// Checks that [vsyscall], which is in maps but no VMA, survives an answer that reaches over it.
#[test]
fn vsyscall_is_no_vma_of_an_answer() {
    let vsyscall = VmaRow { name: Some(Name::new(b"[vsyscall]")), ..anon(20, 21, Prot::EXEC) };
    let mut world = World::with(vec![anon(1, 9, Prot::RW), vsyscall.clone()]);
    let op = Op::Munmap { addr: Addr(3 * PAGE), len: Bytes(90 * PAGE) };
    for left in [anon(1, 9, Prot::RW), anon(1, 3, Prot::RW)] {
        world.call(op.clone(), Outcome::Failed(Errno(22)), std::slice::from_ref(&left));
        assert_eq!(world.rows(), [left, vsyscall.clone()]);
    }
}

/// Checks that a failed mmap without MAP_FIXED asks nothing and changes nothing.
#[test]
fn a_failed_mmap_changes_nothing() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let progress = world.send(mmap(0, 3, 0x22), Outcome::Failed(Errno(22)));
    assert!(progress.ask.is_empty() && progress.done.unwrap().change.is_empty());
}

/// Checks that a failed MAP_FIXED of huge pages is read again over whole huge pages: they went before it failed.
#[test]
fn a_failed_huge_mmap_is_read_again_whole() {
    const HUGE: u64 = 512;
    let fixed = |flags: u64, fd: i32| Op::Mmap {
        addr: Addr(HUGE * PAGE),
        len: Bytes(PAGE),
        prot: ProtArg(3),
        flags: MapFlags(flags),
        fd,
        offset: 0,
    };
    let anonymous_huge = fixed(0x4_0032, -1);
    // A file of hugetlbfs: nothing in the flags tells.
    let file = fixed(0x12, 3);
    for op in [anonymous_huge, file] {
        let mut world = World::with(vec![anon(1, 4 * HUGE, Prot::RW)]);
        let left = [anon(1, HUGE, Prot::RW), anon(2 * HUGE, 4 * HUGE, Prot::RW)];
        world.call(op, Outcome::Failed(Errno(12)), &left);
        assert_eq!(world.rows(), left);
    }
}

/// Checks that the break grows and shrinks the heap by whole pages, and that asking where it is changes nothing.
#[test]
fn the_break_moves_whole_pages() {
    let heap = |a, b| VmaRow { name: Some(Name::new(b"[heap]")), ..anon(a, b, Prot::RW) };
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    assert!(world.call(Op::Brk { addr: Addr(0) }, Outcome::Done(10 * PAGE + 5), &[]).is_empty());
    let change = world.call(Op::Brk { addr: Addr(12 * PAGE) }, Outcome::Done(12 * PAGE), &[heap(11, 12)]);
    assert_eq!(change.pages(), [PageChange::Added(heap(11, 12))]);
    let change = world.call(Op::Brk { addr: Addr(12 * PAGE - 1) }, Outcome::Done(12 * PAGE - 1), &[]);
    assert!(change.is_empty());
    // Refused: the break stays.
    let change = world.call(Op::Brk { addr: Addr(1 << 60) }, Outcome::Done(12 * PAGE - 1), &[]);
    assert!(change.is_empty());
    let change = world.call(Op::Brk { addr: Addr(11 * PAGE) }, Outcome::Done(11 * PAGE), &[]);
    assert_eq!(change.pages(), [PageChange::Removed(heap(11, 12))]);
}

/// Checks that a break whose past is unknown is asked about, not guessed.
#[test]
fn an_unknown_break_is_asked_about() {
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    let progress = world.send(Op::Brk { addr: Addr(12 * PAGE) }, Outcome::Done(12 * PAGE));
    assert_eq!(progress.ask, [AddrRange::ALL]);
}

/// Checks that a moved mapping keeps its origin, and that what it grew has the call as its own.
#[test]
fn mremap_moves_and_grows() {
    let mut world = World::with(vec![anon(1, 3, Prot::RW)]);
    let op = Op::Mremap {
        old: Addr(PAGE),
        old_len: Bytes(2 * PAGE),
        new_len: Bytes(4 * PAGE),
        flags: 1,
        new: Addr(0),
    };
    let change = world.call(op, done(20), &[anon(20, 24, Prot::RW)]);
    assert_eq!(
        change.pages(),
        [PageChange::Moved { from: r(1, 3), to: r(20, 22) }, PageChange::Added(anon(22, 24, Prot::RW))]
    );
    assert_eq!(world.rows(), [anon(20, 24, Prot::RW)]);
    let space = world.spaces.get(MmId(1)).unwrap();
    assert_eq!(
        (space.origin_of(Addr(20 * PAGE)), space.origin_of(Addr(23 * PAGE))),
        (Some(Seq(1)), Some(Seq(2)))
    );
    assert_eq!(space.origin_of(Addr(PAGE)), None);
}

/// Checks that shrinking in place removes the tail.
#[test]
fn mremap_shrinks_in_place() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let op = Op::Mremap {
        old: Addr(PAGE),
        old_len: Bytes(8 * PAGE),
        new_len: Bytes(PAGE),
        flags: 0,
        new: Addr(0),
    };
    let change = world.call(op, done(1), &[anon(1, 2, Prot::RW)]);
    assert_eq!(change.pages(), [PageChange::Removed(anon(2, 9, Prot::RW))]);
}

/// Checks that advice on pages asks nothing and advice that splits is known by the answer alone.
#[test]
fn madvise_is_asked_about_when_it_can_split() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let advise = |advice| Op::Madvise { addr: Addr(3 * PAGE), len: Bytes(PAGE), advice: Advice(advice) };
    assert!(world.send(advise(4), Outcome::Done(0)).ask.is_empty());
    let change = world.call(advise(16), Outcome::Done(0), &[anon(3, 4, Prot::RW)]);
    assert_eq!((change.pages(), change.after.len()), (vec![], 3));
    assert_eq!(world.spaces.tally().drift, 0);
}

/// Checks that a System V segment has the size the kernel tells, and that only its own pieces go again.
#[test]
fn shared_segments_come_and_go() {
    let shm = |a, b| VmaRow {
        dev: Dev { major: 0, minor: 1 },
        inode: 7,
        name: Some(Name::new(b"/SYSV00000000 (deleted)")),
        sharing: Sharing::Shared,
        ..anon(a, b, Prot::RW)
    };
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    let op = Op::Shmat { id: 3, addr: Addr(0), flags: 0 };
    let change = world.call(op, done(30), &[anon(1, 2, Prot::RW), shm(30, 40)]);
    assert_eq!(change.pages(), [PageChange::Added(shm(30, 40))]);
    let change = world.call(Op::Shmdt { addr: Addr(30 * PAGE) }, Outcome::Done(0), &[anon(1, 2, Prot::RW)]);
    assert_eq!(change.pages(), [PageChange::Removed(shm(30, 40))]);
    assert_eq!(world.rows(), [anon(1, 2, Prot::RW)]);
}

/// Checks that an answer which contradicts the prediction is believed and counted.
#[test]
fn contradictions_are_counted() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    world.call(mmap(2, 3, 0x22), done(9), &[anon(9, 11, Prot::READ)]);
    assert_eq!(world.spaces.tally().drift, 1);
    assert_eq!(world.rows()[1], anon(9, 11, Prot::READ));
}

/// Checks that a change can be taken back.
#[test]
fn a_change_can_be_taken_back() {
    let mut world = World::with(vec![anon(1, 9, Prot::RW), anon(20, 22, Prot::READ)]);
    let start = world.rows();
    let mut space = world.spaces.get(MmId(1)).unwrap().clone();
    let event = world.event(
        Op::Mremap {
            old: Addr(3 * PAGE),
            old_len: Bytes(2 * PAGE),
            new_len: Bytes(3 * PAGE),
            flags: 3,
            new: Addr(21 * PAGE),
        },
        done(21),
    );
    let change = space.apply(&event).change;
    assert_ne!(space.vmas().cloned().collect::<Vec<_>>(), start);
    space.undo(&change);
    assert_eq!(space.vmas().cloned().collect::<Vec<_>>(), start);
}

/// Checks that an address space lives as long as one task uses it, through threads and exec.
#[test]
fn an_address_space_ends_with_its_last_task() {
    use vmatlas_event::ForkKind;
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let child = TaskId { pid: Pid(1), tid: Tid(2), started: None };
    world.send(Op::Fork { kind: ForkKind::Thread, child, child_mm: MmId(1) }, Outcome::Done(2));
    let exit = Op::Exit { status: Some(0), signal: None, last: false };
    assert!(world.send(exit.clone(), Outcome::Done(0)).done.unwrap().change.is_empty());
    assert!(world.spaces.get(MmId(1)).is_some());
    let last = Event { task: child, ..world.event(exit, Outcome::Done(0)) };
    let change = world.spaces.event(&last).done.unwrap().change;
    assert_eq!(change.before[..], [anon(1, 9, Prot::RW)]);
    assert!(world.spaces.get(MmId(1)).is_none());
}

/// Checks that a thread's exec takes its whole process out of the address space, and nobody else.
#[test]
fn an_exec_leaves_with_all_threads() {
    use vmatlas_event::ForkKind;
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let vforked = TaskId { pid: Pid(5), tid: Tid(5), started: None };
    let thread = TaskId { pid: Pid(5), tid: Tid(6), started: None };
    let fork = |kind, child| Op::Fork { kind, child, child_mm: MmId(1) };
    world.send(fork(ForkKind::SharedProcess, vforked), Outcome::Done(5));
    world.send(fork(ForkKind::Thread, thread), Outcome::Done(6));
    let exec = |world: &mut World, task, mm| {
        let event = world.event(Op::Exec { old_mm: MmId(1) }, Outcome::Done(0));
        world.spaces.event(&Event { task, mm: MmId(mm), ..event }).done.unwrap().change
    };
    assert!(exec(&mut world, vforked, 2).is_empty());
    let first = TaskId { pid: Pid(1), tid: Tid(1), started: None };
    assert_eq!(exec(&mut world, first, 3).before[..], [anon(1, 9, Prot::RW)]);
    assert!(world.spaces.get(MmId(1)).is_none() && world.spaces.get(MmId(2)).is_some());
}

/// Checks that a fork told of after its child was read neither undoes what was read nor counts the child twice.
#[test]
fn a_late_fork_changes_nothing() {
    use vmatlas_event::ForkKind;
    let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
    let child = TaskId { pid: Pid(2), tid: Tid(2), started: None };
    let rows = vec![anon(1, 3, Prot::READ)];
    let read =
        world.event(Op::Snapshot { reason: SnapshotReason::Attach, rows: rows.clone() }, Outcome::Done(0));
    world.spaces.event(&Event { task: child, mm: MmId(2), ..read });
    world.send(Op::Fork { kind: ForkKind::Process, child, child_mm: MmId(2) }, Outcome::Done(2));
    assert_eq!(world.spaces.get(MmId(2)).unwrap().vmas().cloned().collect::<Vec<_>>(), rows);
    let exit = Op::Exit { status: Some(0), signal: None, last: true };
    let exit = Event { task: child, mm: MmId(2), ..world.event(exit, Outcome::Done(0)) };
    assert_eq!(world.spaces.event(&exit).done.unwrap().change.before[..], rows);
}

/// Checks that what grew down stays growing when its top is unmapped, and grows on from there.
#[test]
fn what_grew_grows_on_without_its_top() {
    let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
    world.call(mmap(4, 3, 0x122), done(20), &[anon(20, 24, Prot::RW)]);
    // It grew by three pages, and then its former first page is unmapped.
    let op = Op::Munmap { addr: Addr(20 * PAGE), len: Bytes(PAGE) };
    world.call(op, Outcome::Done(0), &[anon(17, 20, Prot::RW), anon(21, 24, Prot::RW)]);
    assert_eq!(world.rows(), [anon(1, 2, Prot::RW), anon(17, 20, Prot::RW), anon(21, 24, Prot::RW)]);
    // It grows once more: no drift.
    let rows = vec![anon(1, 2, Prot::RW), anon(15, 20, Prot::RW), anon(21, 24, Prot::RW)];
    world.send(Op::Snapshot { reason: SnapshotReason::Reconcile, rows }, Outcome::Done(0));
    let tally = world.spaces.tally();
    assert_eq!((tally.drift, tally.observed), (0, 2));
}

/// Checks that the page of a probe that somebody else set is an observed change, and any other page without a call drift.
#[test]
fn pages_without_a_call() {
    let row = |name: &[u8]| VmaRow { name: Some(Name::new(name)), ..anon(40, 41, Prot::EXEC) };
    for (name, expected) in [(&b"[uprobes]"[..], (1, 0)), (b"[anon:x]", (0, 1))] {
        let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
        let rows = vec![anon(1, 9, Prot::RW), row(name)];
        world.send(Op::Snapshot { reason: SnapshotReason::Reconcile, rows }, Outcome::Done(0));
        let tally = world.spaces.tally();
        assert_eq!((tally.observed, tally.drift), expected);
        assert_eq!(world.rows().len(), 2);
    }
}

/// Checks that a mark changes nothing: no call waits less for its answer, and no address space comes of it.
#[test]
fn a_mark_changes_nothing() {
    let mut world = World::with(vec![anon(1, 3, Prot::RW)]);
    assert!(!world.send(Op::Munlockall, Outcome::Done(0)).ask.is_empty());
    let mark = Op::Mark { name: "here".to_owned() };
    let progress = world.send(mark.clone(), Outcome::Done(0));
    assert!(progress.unanswered.is_none() && progress.ask.is_empty() && world.spaces.is_waiting());
    assert_eq!(progress.done.map(|done| done.event.op.clone()), Some(mark.clone()));
    let alive = world.spaces.alive();
    let elsewhere = Event { mm: vmatlas_event::MmId(99), ..world.event(mark, Outcome::Done(0)) };
    world.spaces.event(&elsewhere);
    assert_eq!(world.spaces.alive(), alive);
}

/// Checks that a call whose answer never comes is given up, so that states can be kept again.
#[test]
fn a_call_without_an_answer_is_given_up() {
    let mut world = World::with(vec![anon(1, 3, Prot::RW)]);
    assert!(!world.send(Op::Munlockall, Outcome::Done(0)).ask.is_empty());
    assert!(world.spaces.is_waiting());
    assert_eq!(world.spaces.keyframe(Seq(world.seq), MonoNs(0)), None);
    let other = TaskId { pid: Pid(1), tid: Tid(2), started: None };
    let mut given_up = Vec::new();
    for _ in 0..2000 {
        let event = Event { task: other, ..world.event(Op::Joined, Outcome::Done(0)) };
        given_up.extend(world.spaces.event(&event).unanswered);
    }
    assert_eq!(given_up.len(), 1);
    assert!(!given_up[0].confirmed && given_up[0].event.op == Op::Munlockall);
    assert!(world.spaces.keyframe(Seq(world.seq), MonoNs(0)).is_some());
}
