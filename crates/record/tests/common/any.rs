//! Events with any bits in them.

use super::ops::{Parts, VARIANTS, op};
use super::range;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use vmatlas_event::*;

fn any_range() -> impl Strategy<Value = AddrRange> {
    (any::<u64>(), any::<u64>()).prop_map(|(a, b)| range(a.min(b), a.max(b)))
}

fn any_task() -> impl Strategy<Value = TaskId> {
    (any::<i32>(), any::<i32>(), option::of(any::<u64>())).prop_map(|(pid, tid, started)| TaskId {
        pid: Pid(pid),
        tid: Tid(tid),
        started: started.map(StartTime),
    })
}

fn any_row() -> impl Strategy<Value = VmaRow> {
    (
        any_range(),
        0u8..8,
        any::<bool>(),
        any::<[u64; 2]>(),
        any::<[u32; 2]>(),
        option::of(vec(any::<u8>(), 0..20)),
    )
        .prop_map(|(range, prot, shared, [offset, inode], [major, minor], name)| VmaRow {
            range,
            prot: Prot::new(prot & 1 != 0, prot & 2 != 0, prot & 4 != 0),
            sharing: if shared { Sharing::Shared } else { Sharing::Private },
            offset,
            dev: Dev { major, minor },
            inode,
            name: name.map(|bytes| Name::new(&bytes)),
        })
}

/// Every variant there is, by a number.
fn any_op() -> impl Strategy<Value = Op> {
    let values = (
        0..VARIANTS,
        any::<[u64; 8]>(),
        any::<[i32; 2]>(),
        option::of(any::<u64>()),
        option::of(any::<i32>()),
    );
    let rest =
        (vec(any_row(), 0..5), vec(any_task(), 0..3), any_range(), any_task(), ".{0,9}", any::<bool>());
    (values, rest).prop_map(
        |((variant, numbers, ints, count, status), (rows, in_flight, asked, child, name, yes))| {
            op(variant, Parts { numbers, ints, count, status, rows, in_flight, asked, child, name, yes })
        },
    )
}

pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        any::<u64>().prop_map(Outcome::Done),
        any::<i32>().prop_map(|e| Outcome::Failed(Errno(e))),
        Just(Outcome::NoReturn)
    ];
    let source =
        prop_oneof![Just(Source::Ptrace), Just(Source::Bpf), Just(Source::Perf), Just(Source::Observed)];
    (any_op(), any::<[u64; 2]>(), any_task(), any::<u32>(), outcome, option::of(any::<u32>()), source)
        .prop_map(|(op, [entered, left], task, mm, outcome, stack, source)| Event {
            seq: Seq(0),
            entered: MonoNs(entered),
            left: MonoNs(left),
            task,
            mm: MmId(mm),
            op,
            outcome,
            stack: stack.map(StackId),
            source,
        })
}
