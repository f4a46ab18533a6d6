use super::*;
use crate::machine::{Limits, Memory, Thp};
use vmatlas_event::{Dev, PageCounts, Prot, ProtArg, Sharing, VmaRow};

const GIB: u64 = 1 << 30;

fn machine() -> Machine {
    Machine {
        kernel: String::new(),
        page: PageSize::FOUR_KIB,
        capabilities: 0,
        thp: Thp::default(),
        shmem_huge: false,
        overcommit: Some(0),
        min_addr: 65536,
        huge_extra: Some(0),
        memory: Memory {
            total: Some(Bytes(8 * GIB)),
            available: None,
            commit_room: Some(Bytes(4 * GIB)),
            huge_free: Some(2),
            huge_size: Some(Bytes(2 << 20)),
        },
        cgroup_room: None,
        limits: Limits { locked: Some(Bytes(1 << 20)), ..Limits::default() },
    }
}

/// A map with one VMA in the middle of the address space, of 4 KiB.
fn state() -> State {
    let row = VmaRow {
        range: AddrRange::from_len(Addr(1 << 46), Bytes(4096)).unwrap(),
        prot: Prot::RW,
        sharing: Sharing::Private,
        offset: 0,
        dev: Dev::default(),
        inode: 0,
        name: None,
    };
    State {
        rows: vec![row],
        raw: Vec::new(),
        pages: vec![None],
        virtual_size: Bytes(4096),
        total: PageCounts::default(),
        minor_faults: 0,
        major_faults: 0,
        zero_pages_counted: false,
    }
}

fn args(len: u64, prot: u64, flags: u64) -> MmapArgs {
    MmapArgs {
        addr: Addr(0),
        len: Bytes(len),
        prot: ProtArg(prot),
        flags: MapFlags(flags),
        fd: -1,
        offset: 0,
    }
}

fn word(args: MmapArgs, file: Option<FileKind>, machine: &Machine) -> &'static str {
    match ending(&args, Setting { machine, before: &state(), file }) {
        Ending::Succeeds => SUCCESS,
        Ending::Fails(errno, _) => errno,
        Ending::Open(_) => "open",
    }
}

/// Checks anonymous calls: lengths, types, places, locking, promises.
#[test]
fn anonymous_calls_are_predicted() {
    let at = |addr: u64, len: u64| MmapArgs { addr: Addr(addr), ..args(len, 3, 0x10_0022) };
    for (args, expected) in [
        (args(GIB, 3, 0x22), SUCCESS),
        (args(0, 3, 0x22), "EINVAL"),
        (args(u64::MAX, 3, 0x22), "ENOMEM"),
        (args(1 << 47, 0, 0x22), "ENOMEM"),
        (args((1 << 46) + 4096, 0, 0x22), "ENOMEM"),
        (args(1 << 46, 0, 0x22), "open"),
        (args(1 << 45, 0, 0x22), SUCCESS),
        (args(GIB, 3, 0x20), "EINVAL"),
        (args(GIB, 3, 0x23), "EINVAL"),
        (args(GIB, 3, 0x28), "open"),
        (args(GIB, 3, 0x02), "EBADF"),
        (MmapArgs { offset: 1, ..args(GIB, 3, 0x22) }, "EINVAL"),
        (args(8 * GIB, 3, 0x22), SUCCESS),
        (args(8 * GIB + 1, 3, 0x22), "ENOMEM"),
        (args(8 * GIB + 1, 1, 0x22), SUCCESS),
        (args(8 * GIB + 1, 3, 0x4022), SUCCESS),
        (args(8 * GIB + 1, 1, 0x21), "ENOMEM"),
        (args(4096, 3, 0x121), "EINVAL"),
        (args(2 * GIB, 3, 0x62), "ENOMEM"),
        (args(4096, 3, 0x62), SUCCESS),
        (args(1 << 20, 3, 0x2022), SUCCESS),
        (args((1 << 20) + 1, 3, 0x2022), "EAGAIN"),
        (args(1, 3, 0x4_0022), SUCCESS),
        (args((4 << 20) + 1, 3, 0x4_0022), "ENOMEM"),
        (args((4 << 20) + 1, 3, 0x4_4022), SUCCESS),
        (args(4096, 3, 0x22 | 1 << 40), "open"),
        (at(1 << 40, 4096), SUCCESS),
        (at(1 << 46, 4096), "EEXIST"),
        (at((1 << 46) - 4096, 4097), "EEXIST"),
        (at((1 << 40) + 1, 4096), "EINVAL"),
        (at(4096, 4096), "EPERM"),
        (at(USER_END - 4096, 8192), "ENOMEM"),
    ] {
        assert_eq!(word(args, None, &machine()), expected, "{args:?}");
    }
}

/// Checks what the machine decides: overcommit modes, limits, privileges.
#[test]
fn the_machine_decides() {
    let large = args(6 * GIB, 3, 0x22);
    let strict = Machine { overcommit: Some(2), ..machine() };
    assert_eq!(word(large, None, &strict), "ENOMEM");
    assert_eq!(word(args(GIB, 3, 0x22), None, &strict), SUCCESS);
    assert_eq!(word(args(3 * GIB, 3, 0x22), None, &strict), "open");
    assert_eq!(word(args(6 * GIB, 3, 0x4022), None, &strict), "ENOMEM");
    let always = Machine { overcommit: Some(1), ..machine() };
    assert_eq!(word(args(64 * GIB, 3, 0x22), None, &always), SUCCESS);
    let small = Limits { address_space: Some(Bytes(GIB)), ..Limits::default() };
    let limited = Machine { limits: small, ..machine() };
    assert_eq!(word(args(GIB - 4096, 3, 0x22), None, &limited), SUCCESS);
    assert_eq!(word(args(GIB, 3, 0x22), None, &limited), "ENOMEM");
    let root = Machine { capabilities: u64::MAX, ..machine() };
    assert_eq!(word(args(2 << 20, 3, 0x2022), None, &root), SUCCESS);
    assert_eq!(word(MmapArgs { addr: Addr(0), ..args(4096, 3, 0x10_0022) }, None, &root), SUCCESS);
}

/// Checks calls with a file: its rights, its kind, and where touching it ends in a signal.
#[test]
fn files_are_predicted() {
    let file = |size, writable| Some(FileKind::Regular { size, writable });
    let machine = machine();
    for (args, kind, expected) in [
        (args(4096, 3, 2), file(5, false), SUCCESS),
        (args(4096, 3, 1), file(5, false), "EACCES"),
        (args(4096, 3, 1), file(5, true), SUCCESS),
        (args(4096, 1, 3), file(5, false), SUCCESS),
        (args(4096, 1, 0), file(5, false), "EINVAL"),
        (args(4096, 5, 2), file(5, false), "open"),
        (args(4096, 1, 2), file(0, false), "open"),
        (args(4096, 1, 0x102), file(5, false), "EINVAL"),
        (args(4096, 1, 2), Some(FileKind::Folder), "ENODEV"),
        (args(4096, 3, 1), Some(FileKind::Folder), "EACCES"),
        (args(4096, 1, 2), Some(FileKind::Other), "open"),
    ] {
        assert_eq!(word(args, kind, &machine), expected, "{args:?} {kind:?}");
    }
    let state = state();
    let raised = |args: MmapArgs, pages: u64, file| {
        signal(&args, pages, Setting { machine: &machine, before: &state, file })
    };
    assert_eq!(raised(args(GIB, 0, 0x22), 1, None), Ok(Some("SIGSEGV")));
    assert_eq!(raised(args(GIB, 3, 0x22), 9, None), Ok(None));
    // Two huge pages are free: 1,024 pages.
    assert_eq!(raised(args(GIB, 3, 0x4_4022), 1024, None), Ok(None));
    assert_eq!(raised(args(GIB, 3, 0x4_4022), 1025, None), Ok(Some("SIGBUS")));
    assert_eq!(raised(args(GIB, 1, 2), 2, file(4097, false)), Ok(None));
    assert_eq!(raised(args(GIB, 1, 2), 3, file(4097, false)), Ok(Some("SIGBUS")));
    assert_eq!(
        raised(MmapArgs { offset: 4096, ..args(GIB, 1, 2) }, 2, file(4097, false)),
        Ok(Some("SIGBUS"))
    );
    assert!(raised(args(GIB, 1, 2), 1, Some(FileKind::Other)).is_err());
}
