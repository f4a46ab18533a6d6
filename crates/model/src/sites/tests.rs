//! Sums by sites.

use super::*;
use crate::space::tests::{anon, r};
use vmatlas_event::{ForkKind, MapFlags, MonoNs, Outcome, Prot, ProtArg, Source, TaskId, Tid};

const PAGE: u64 = 4096;

/// Events of one task, numbered.
struct Run {
    spaces: Spaces,
    sites: Sites,
    seq: u64,
}

impl Run {
    fn new(mm: u32) -> Run {
        let page = PageSize::new(PAGE).unwrap();
        Run { spaces: Spaces::new(page), sites: Sites::new(MmId(mm), page), seq: 0 }
    }

    fn event(&mut self, mm: u32, op: Op, result: u64, stack: Option<u32>) {
        let event = Event {
            seq: Seq(self.seq),
            entered: MonoNs(self.seq),
            left: MonoNs(self.seq),
            task: TaskId { pid: Pid(mm as i32), tid: Tid(mm as i32), started: None },
            mm: MmId(mm),
            op,
            outcome: Outcome::Done(result),
            stack: stack.map(StackId),
            source: Source::Ptrace,
        };
        self.seq += 1;
        let progress = self.spaces.event(&event);
        // Nobody asks a kernel here: what was asked is as it was predicted.
        let done = progress.done.into_iter().chain(progress.unanswered).chain(self.spaces.give_up());
        for done in done {
            self.sites.add(&done, &self.spaces);
        }
    }

    fn mmap(&mut self, mm: u32, from: u64, pages: u64, stack: Option<u32>) {
        let flags = MapFlags(2 | MapFlags::ANONYMOUS);
        let op =
            Op::Mmap { addr: Addr(0), len: Bytes(pages * PAGE), prot: ProtArg(3), flags, fd: -1, offset: 0 };
        self.event(mm, op, from * PAGE, stack);
    }

    fn finish(self, mm: u32, resident: &dyn Fn(AddrRange) -> Option<Bytes>) -> BTreeMap<Site, SiteSum> {
        self.sites.finish(self.spaces.get(MmId(mm)).unwrap(), resident)
    }
}

fn stack(id: u32) -> Site {
    Site::Stack(StackId(id))
}

/// Checks that bytes go to the stack that asked, also when only a part is left, and that all sums are those of the map.
#[test]
fn bytes_go_to_who_asked() {
    let mut run = Run::new(1);
    let rows = vec![anon(1, 3, Prot::READ)];
    run.event(1, Op::Snapshot { reason: SnapshotReason::Exec, rows }, 0, None);
    run.mmap(1, 10, 4, Some(7));
    run.mmap(1, 20, 4, Some(7));
    run.mmap(1, 40, 1, None);
    run.event(1, Op::Munmap { addr: Addr(11 * PAGE), len: Bytes(PAGE) }, 0, Some(8));
    let size = run.spaces.get(MmId(1)).unwrap().size();
    let vmas = run.spaces.get(MmId(1)).unwrap().vma_count() as i64;
    let sums = run.finish(1, &|_| None);
    let seven = sums[&stack(7)];
    assert_eq!((seven.calls, seven.asked, seven.mapped), (2, Bytes(8 * PAGE), Bytes(7 * PAGE)));
    assert_eq!(seven.resident, None);
    // The hole made two of one.
    assert_eq!((sums[&stack(8)].calls, sums[&stack(8)].mapped, sums[&stack(8)].vmas), (1, Bytes(0), 1));
    assert_eq!(sums[&Site::Call(Pid(1), OpKind::Mmap)].mapped, Bytes(PAGE));
    assert_eq!(sums[&Site::Found(SnapshotReason::Exec)].mapped, Bytes(2 * PAGE));
    assert_eq!(sums.values().map(|sum| sum.mapped.0).sum::<u64>(), size.0);
    assert_eq!(sums.values().map(|sum| sum.vmas).sum::<i64>(), vmas);
}

/// Checks that what is resident of each origin is told where that is known, and that a figure of the whole is never shared out.
#[test]
fn resident_bytes_go_to_who_asked() {
    let make = || {
        let mut run = Run::new(1);
        run.mmap(1, 10, 4, Some(7));
        run.mmap(1, 14, 4, Some(8));
        run
    };
    let pages = |range: AddrRange| range.len().0 / PAGE;
    let of_parts = |range: AddrRange| match (range.start().0 / PAGE, pages(range)) {
        (10, 4) => Some(Bytes(PAGE)),
        (14, 4) => Some(Bytes(3 * PAGE)),
        _ => None,
    };
    let sums = make().finish(1, &of_parts);
    let resident = [7, 8].map(|id| sums[&stack(id)].resident);
    assert_eq!(resident, [Some(Bytes(PAGE)), Some(Bytes(3 * PAGE))]);
    let sums = make().finish(1, &|range| (pages(range) == 8).then_some(Bytes(5 * PAGE)));
    assert_eq!((sums[&stack(7)].resident, sums[&stack(8)].resident), (None, None));
}

/// Checks that a child's memory belongs to the stack of the parent that asked for it, though the child made no call.
#[test]
fn a_copy_knows_who_asked() {
    let mut run = Run::new(2);
    run.mmap(1, 10, 4, Some(7));
    let child = TaskId { pid: Pid(2), tid: Tid(2), started: None };
    run.event(1, Op::Fork { kind: ForkKind::Process, child, child_mm: MmId(2) }, 2, None);
    run.mmap(1, 30, 4, Some(7));
    let sums = run.finish(2, &|_| Some(Bytes(PAGE)));
    let seven = sums[&stack(7)];
    assert_eq!((seven.calls, seven.asked, seven.mapped), (0, Bytes(0), Bytes(4 * PAGE)));
    assert_eq!(seven.resident, Some(Bytes(PAGE)));
    assert_eq!(sums[&Site::Found(SnapshotReason::Fork)].vmas, 1);
}

/// Checks that faults go to who mapped the page, that a page counts once, and that one mapped anew was not touched.
#[test]
fn faults_go_to_who_mapped() {
    let mut run = Run::new(1);
    run.mmap(1, 10, 4, Some(7));
    for page in [10, 11, 11, 90] {
        run.event(1, fault(page), 0, None);
    }
    run.mmap(1, 11, 1, Some(8));
    let sums = run.finish(1, &|range| Some(if range == r(11, 12) { Bytes(0) } else { range.len() }));
    assert_eq!((sums[&stack(7)].faults, sums[&stack(7)].touched), (3, Bytes(PAGE)));
    assert_eq!((sums[&stack(8)].faults, sums[&stack(8)].touched), (0, Bytes(0)));
    assert_eq!(sums[&Site::Unknown].faults, 1);
}

fn fault(page: u64) -> Op {
    Op::Fault { addr: Addr(page * PAGE), ip: None, major: false }
}

/// Checks that of a VMA made by several the resident bytes are told only where all or none are.
#[test]
fn what_pages_do_not_tell_is_unknown() {
    for (resident, wanted) in [(0, Some(0)), (8, Some(4)), (3, None)] {
        let mut run = Run::new(1);
        let rows = vec![anon(10, 18, Prot::RW)];
        run.mmap(1, 10, 4, Some(7));
        run.mmap(1, 14, 4, Some(8));
        // The kernel has made one VMA of them.
        run.event(1, Op::Snapshot { reason: SnapshotReason::Reconcile, rows }, 0, None);
        let whole = |range| (range == r(10, 18)).then_some(Bytes(resident * PAGE));
        let sums = run.finish(1, &whole);
        let wanted = wanted.map(|pages: u64| Bytes(pages * PAGE));
        assert_eq!((sums[&stack(7)].resident, sums[&stack(8)].resident), (wanted, wanted), "{resident}");
    }
}

/// Checks that what nothing has any more is forgotten and what lives is not.
#[test]
fn only_the_living_are_remembered() {
    let mut run = Run::new(1);
    run.sites.forget_at = 8;
    run.mmap(1, 5, 1, Some(1));
    for _ in 0..50 {
        run.mmap(1, 10, 1, Some(2));
        run.event(1, Op::Munmap { addr: Addr(10 * PAGE), len: Bytes(PAGE) }, 0, Some(3));
    }
    run.sites.forget(&run.spaces);
    assert_eq!(run.sites.by_seq.len(), 1);
    let sums = run.finish(1, &|_| None);
    assert_eq!(sums[&stack(1)].mapped, Bytes(PAGE));
    assert_eq!((sums[&stack(2)].calls, sums[&stack(2)].mapped), (50, Bytes(0)));
}
