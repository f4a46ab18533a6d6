//! Whatever is written is read again, bit by bit.

mod common;

use common::{create, keyframe, meta, range, read, read_from, small, task, write};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Reader, Writer};

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
        0usize..37,
        any::<[u64; 8]>(),
        any::<[i32; 2]>(),
        option::of(any::<u64>()),
        option::of(any::<i32>()),
    );
    let rest =
        (vec(any_row(), 0..5), vec(any_task(), 0..3), any_range(), any_task(), ".{0,9}", any::<bool>());
    (values, rest).prop_map(|((variant, n, i, flags, maybe), (rows, in_flight, asked, child, name, yes))| {
        let (addr, len, prot) = (Addr(n[0]), Bytes(n[1]), ProtArg(n[2]));
        let (advice, child_mm) = (Advice(i[0]), MmId(n[1] as u32));
        let kinds = [ForkKind::Process, ForkKind::SharedProcess, ForkKind::Thread];
        let reasons = [
            SnapshotReason::Exec,
            SnapshotReason::Fork,
            SnapshotReason::Attach,
            SnapshotReason::Unclear,
            SnapshotReason::Request,
            SnapshotReason::Reconcile,
            SnapshotReason::Last,
            SnapshotReason::Check,
        ];
        match variant {
            0 => Op::Mmap { addr, len, prot, flags: MapFlags(n[3]), fd: i[0], offset: n[4] },
            1 => Op::Munmap { addr, len },
            2 => Op::Mremap { old: addr, old_len: len, new_len: Bytes(n[2]), flags: n[3], new: Addr(n[4]) },
            3 => Op::Mprotect { addr, len, prot, pkey: None },
            4 => Op::Mprotect { addr, len, prot, pkey: Some(i[0]) },
            5 => Op::Brk { addr },
            6 => Op::Madvise { addr, len, advice },
            7 => Op::Shmat { id: i[0], addr, flags: i[1] },
            8 => Op::Shmdt { addr },
            9 => Op::Mlock { addr, len, flags: None },
            10 => Op::Mlock { addr, len, flags: Some(n[2]) },
            11 => Op::Munlock { addr, len },
            12 => Op::Mlockall { flags: n[0] },
            13 => Op::Munlockall,
            14 => Op::Mseal { addr, len, flags: n[2] },
            15 => Op::Mbind { addr, len, mode: n[2], flags: n[3] },
            16 => Op::SetMempolicyHomeNode { addr, len, node: n[2], flags: n[3] },
            17 => Op::RemapFilePages { addr, len, prot, pgoff: n[3], flags: MapFlags(n[4]) },
            18 => Op::Prctl { option: i[0], args: [n[0], n[1], n[2], n[3]] },
            19 => Op::ArchPrctl { code: n[0], addr: n[1] },
            20 => Op::MapShadowStack { addr, len, flags: n[2] },
            21 => Op::IoSetup { events: n[0] },
            22 => Op::IoDestroy { ctx: addr },
            23 => Op::Ioctl { fd: i[0], request: n[1], arg: addr },
            24 => Op::ProcessMadvise { pidfd: i[1], iovec: addr, count: n[1], advice },
            25 => Op::Personality { persona: n[0] },
            26 => Op::Other { arch: n[6] as u32, nr: n[7], args: [n[0], n[1], n[2], n[3], n[4], n[5]] },
            27 => Op::Seccomp { flags: n[0] },
            28 => Op::Joined,
            29 => Op::Fork { kind: kinds[n[0] as usize % 3], child, child_mm },
            30 => Op::Exec { old_mm: child_mm },
            31 => Op::Exit { status: maybe, signal: (n[0] % 2 == 0).then_some(i[0]), last: yes },
            32 => Op::Fault { addr },
            33 => Op::Snapshot { reason: reasons[n[0] as usize % 8], rows },
            34 => Op::Observed { rows, asked, late: yes, in_flight },
            35 => Op::Lost { count: flags, from: MonoNs(n[0]), to: MonoNs(n[1]) },
            _ => Op::Mark { name },
        }
    })
}

fn any_event() -> impl Strategy<Value = Event> {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Checks that events of every kind, with any bits, are the same after sealing, and in the tail.
    #[test]
    fn events_survive_bit_by_bit(mut events in vec(any_event(), 1..60), gaps in vec(1u64..1 << 40, 60)) {
        let mut seq = 0;
        for (event, gap) in events.iter_mut().zip(gaps) {
            event.seq = Seq(seq);
            seq += gap;
        }
        let folder = tempfile::tempdir().unwrap();
        let (sealed, torn) = (folder.path().join("sealed"), folder.path().join("torn"));
        let mut writer = create(&sealed, Options::default());
        events.iter().for_each(|event| writer.event(event));
        writer.finish(End::default()).unwrap();
        prop_assert!(!sealed.join("tail-000001").exists());
        prop_assert_eq!(&read(&sealed), &(events.clone(), Ok(())));
        let mut writer = create(&torn, Options::default());
        events.iter().for_each(|event| writer.event(event));
        drop(writer);
        prop_assert!(torn.join("tail-000001").exists());
        prop_assert_eq!(&read(&torn), &(events, Ok(())));
    }
}

/// Checks that every keyframe comes again as it was, with its events, over several segments and a tail.
#[test]
fn keyframes_and_events_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(3000);
    let mut writer = create(&path, Options { rotate_at: 100_000, ..Options::default() });
    write(&mut writer, &events, 500);
    assert!(writer.take_failure().is_none());
    writer.finish(End { at: 9_000_000_000, status: Some(3), ..End::default() }).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert!(path.join("seg-000002").exists(), "it was rotated");
    assert_eq!(reader.damage(), []);
    assert_eq!(reader.last(), Some(Seq(3003)));
    let end = reader.meta().end.clone().unwrap();
    assert_eq!((end.events, end.keyframes, end.status), (3004, 6, Some(3)));
    for from in [0, 1, 499, 500, 1777, 3003] {
        let wanted = &events[from as usize..];
        assert!(read_from(&mut reader, from) == (wanted.to_vec(), Ok(())), "from {from}");
    }
    assert_eq!(read_from(&mut reader, 3004), (Vec::new(), Ok(())));
    assert_eq!(reader.keyframe(Seq(498)).unwrap(), None);
    assert_eq!(reader.keyframe(Seq(499)).unwrap(), Some(keyframe(499)));
    assert_eq!(reader.keyframe(Seq(2100)).unwrap(), Some(keyframe(1999)));
    assert_eq!(reader.keyframe(Seq(u64::MAX)).unwrap(), Some(keyframe(2999)));
    let spaces: Vec<_> =
        reader.spaces().iter().map(|s| (s.mm.0, s.parent, s.how.as_str(), s.first.0, s.last)).collect();
    assert_eq!(spaces, [(1, None, "start", 0, Some(Seq(3003))), (2, Some(MmId(1)), "fork", 3001, None)]);
    assert!(reader.tasks().contains(&task(50)));
}

/// Checks that the folder and its files are for their owner alone.
#[test]
fn a_recording_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = create(&path, Options::default());
    write(&mut writer, &small(10), 4);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&path.join("tail-000001"))), (0o700, 0o600));
    writer.finish(End::default()).unwrap();
    assert_eq!(mode(&path.join("meta.json")), 0o600);
    assert_eq!(mode(&path.join("seg-000001")), 0o700);
    assert_eq!(mode(&path.join("seg-000001/events.parquet")), 0o600);
}

/// Checks that a reader may look while the writer writes, and sees what was flushed.
#[test]
fn a_recording_can_be_read_while_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(3000);
    let mut writer =
        Writer::create(&path, meta(), Options { rotate_at: 200_000, flush_after: 0, ..Options::default() })
            .unwrap();
    for (n, event) in events.iter().enumerate() {
        writer.event(event);
        if n % 250 == 249 {
            let (found, result) = read(&path);
            assert_eq!((found.len(), result), (n + 1, Ok(())));
        }
    }
}
