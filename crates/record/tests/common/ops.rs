//! An event of any kind, of values of any kind.

use vmatlas_event::*;

/// How many kinds there are.
pub(crate) const VARIANTS: usize = 37;

/// Values of which an operation takes those that it needs.
pub(crate) struct Parts {
    pub(crate) numbers: [u64; 8],
    pub(crate) ints: [i32; 2],
    pub(crate) count: Option<u64>,
    pub(crate) status: Option<i32>,
    pub(crate) rows: Vec<VmaRow>,
    pub(crate) in_flight: Vec<TaskId>,
    pub(crate) asked: AddrRange,
    pub(crate) child: TaskId,
    pub(crate) name: String,
    pub(crate) yes: bool,
}

/// The operation of a number below [`VARIANTS`].
pub(crate) fn op(variant: usize, parts: Parts) -> Op {
    let Parts { numbers: n, ints: i, count: flags, status: maybe, rows, in_flight, asked, child, name, yes } =
        parts;
    let (addr, len, prot) = (Addr(n[0]), Bytes(n[1]), ProtArg(n[2]));
    let (advice, child_mm) = (Advice(i[0]), MmId(n[1] as u32));
    let kinds = [ForkKind::Process, ForkKind::SharedProcess, ForkKind::Thread];
    let reasons = [
        SnapshotReason::Exec,
        SnapshotReason::Fork,
        SnapshotReason::Attach,
        SnapshotReason::Watch,
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
        32 => Op::Fault { addr, ip: yes.then_some(Addr(n[2])), major: n[3] % 2 == 0 },
        33 => Op::Snapshot { reason: reasons[n[0] as usize % reasons.len()], rows },
        34 => Op::Observed { rows, asked, late: yes, in_flight },
        35 => Op::Lost { count: flags, from: MonoNs(n[0]), to: MonoNs(n[1]), state: None },
        _ => Op::Mark { name },
    }
}
