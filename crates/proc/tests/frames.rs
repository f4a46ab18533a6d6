//! The frames behind pages, compared with the kernel's own smaps on a program that stands still.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Backing, Bytes, VmaRow};
use vmatlas_proc::parse::smaps::{self, Field, SmapsFields};
use vmatlas_proc::read::backing;
use vmatlas_proc::read::frames::{self, Frames, Mapped};
use vmatlas_proc::{Budget, MapsReader, NoFrames, ProcRoot, Process};
use vmatlas_testkit::{Capability, Tracee, need, need_root, wait_until};

/// A python3 with anonymous, file and shared memory (memfd and System V too), huge pages (where the kernel gives any), and pages that a child
/// shares; both stand still.
const PROGRAM: &str = "
import ctypes, mmap, os
m = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
if hasattr(m, 'madvise'): m.madvise(14)
for at in range(0, 4 << 20, 4096): m[at] = 1
s = mmap.mmap(-1, 1 << 20)
for at in range(0, 1 << 19, 4096): s[at] = 1
fd = os.memfd_create('vmatlas-test'); os.ftruncate(fd, 1 << 20)
f = mmap.mmap(fd, 1 << 20)
for at in range(0, 1 << 18, 4096): f[at] = 1
c = ctypes.CDLL(None)
c.shmat.restype = ctypes.c_void_p
c.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
i = c.shmget(0, 1 << 20, 0o600)
v = c.shmat(i, None, 0)
c.shmctl(i, 0, None)
ctypes.memset(v, 1, 1 << 19)
z = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
z[0:1 << 20]
r, w = os.pipe()
if os.fork() == 0:
    for at in range(0, 1 << 20, 4096): m[at] = 2
    os.write(w, b'x'); os.read(0, 1); os._exit(0)
os.read(r, 1)
print('ready', flush=True)
os.read(0, 1)
";

fn stopped_python() -> Tracee {
    const SIGSTOP: i32 = 19;
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = Tracee::start(&mut command).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    python.signal(SIGSTOP).unwrap();
    let stat = format!("/proc/{}/stat", python.pid());
    let is_stopped = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "));
    assert!(wait_until(is_stopped, Duration::from_secs(10)));
    python
}

/// Compares each VMA once while its figures stand still: other programs map the same libraries, now more, now fewer.
fn compare(process: &Process, mut same: impl FnMut(&VmaRow, usize, &Frames, &SmapsFields)) -> Frames {
    let rows = MapsReader::new().read(process).unwrap().rows;
    let read = || frames::read(process, &rows, Budget::default()).unwrap();
    let mut is_open: Vec<bool> = rows.iter().map(|row| row.special() != Some(b"vsyscall")).collect();
    let mut before = read();
    let compared = wait_until(
        || {
            let text = std::fs::read(format!("/proc/{}/smaps", process.pid())).unwrap();
            let smaps = smaps::parse(&text).unwrap();
            let after = read();
            assert_eq!(rows.len(), smaps.len());
            for (index, row) in
                rows.iter().enumerate().filter(|(index, _)| is_open[*index]).collect::<Vec<_>>()
            {
                let stood = before.per_row[index] == after.per_row[index]
                    && before.mapped[index] == after.mapped[index];
                if stood {
                    same(row, index, &after, &smaps[index].fields);
                    is_open[index] = false;
                }
            }
            before = after;
            !is_open.contains(&true)
        },
        Duration::from_secs(20),
    );
    assert!(compared, "figures that never stood still");
    before
}

fn private(fields: &SmapsFields) -> Bytes {
    fields.sum(&[Field::PrivateClean, Field::PrivateDirty]).unwrap()
}

fn shared(fields: &SmapsFields) -> Bytes {
    fields.sum(&[Field::SharedClean, Field::SharedDirty]).unwrap()
}

/// Checks that private and shared sizes are those of smaps for every VMA, without any privilege.
#[test]
fn private_and_shared_equal_smaps() {
    if !need(Capability::PagemapScan) || !need(Capability::Tool("python3")) {
        return;
    }
    let python = stopped_python();
    let process = ProcRoot::system().process(python.pid()).unwrap();
    let mut sum = Mapped::default();
    let frames = compare(&process, |row, index, frames, fields| {
        let Some(mapped) = frames.mapped[index] else {
            // A huge page tells of its first part alone, unless frames are told.
            assert!(frames.why.is_some() && fields.get(Field::AnonHugePages) > Some(Bytes(0)), "{row:?}");
            return;
        };
        assert_eq!((mapped.alone, mapped.shared), (private(fields), shared(fields)), "{row:?}");
        let pages = frames.pages.per_row[index].unwrap();
        assert_eq!(Some(pages.resident), fields.get(Field::Rss), "{row:?}");
        assert_eq!(Some(pages.anonymous), fields.get(Field::Anonymous), "{row:?}");
        let huge = fields.sum(&[Field::AnonHugePages, Field::ShmemPmdMapped, Field::FilePmdMapped]);
        assert_eq!(Some(pages.huge), huge, "{row:?}");
        sum.alone += mapped.alone;
        sum.shared += mapped.shared;
        if vmatlas_sys::effective_uid() != 0 {
            let has_none = fields.get(Field::Rss) == Some(Bytes(0));
            assert!(has_none || frames.per_row[index].is_none());
        }
    });
    assert!(sum.alone >= Bytes(1 << 20) && sum.shared >= Bytes(1 << 20), "{sum:?}");
    assert_eq!(frames.why.is_none(), vmatlas_sys::effective_uid() == 0);
    assert!(frames.why.is_none_or(|why| why == NoFrames::Hidden));
}

/// Checks that shared objects of every make are told from files, and files from nothing.
#[test]
fn backings_are_told_apart() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let python = stopped_python();
    let process = ProcRoot::system().process(python.pid()).unwrap();
    let rows = MapsReader::new().read(&process).unwrap().rows;
    let backings = backing::read(&process, &rows);
    let of = |part: &str| {
        let is_it = |row: &VmaRow| String::from_utf8_lossy(row.name_bytes()).contains(part);
        rows.iter().position(is_it).map(|index| backings[index])
    };
    for (part, backing) in [
        ("/memfd:vmatlas-test", Backing::Shmem),
        ("/SYSV", Backing::Shmem),
        ("/dev/zero (deleted)", Backing::Shmem),
        ("libc.so", Backing::File),
        ("[stack]", Backing::Anonymous),
        ("[vdso]", Backing::Special),
    ] {
        assert_eq!(of(part), Some(backing), "{part}");
    }
}

/// Checks that the proportional share of every VMA is that of smaps to the KiB, and what else root may know.
#[test]
fn shares_equal_smaps() {
    if !need_root("/proc/kpagecount is root's")
        || !need(Capability::PagemapScan)
        || !need(Capability::Tool("python3"))
    {
        return;
    }
    let python = stopped_python();
    let process = ProcRoot::system().process(python.pid()).unwrap();
    let frames = compare(&process, |row, index, frames, fields| {
        let counts = frames.per_row[index].unwrap();
        let whole_kib = Bytes(counts.pss.bytes().0 / 1024 * 1024);
        assert_eq!(whole_kib, fields.get(Field::Pss).unwrap(), "{row:?}");
        assert_eq!((counts.private, counts.shared), (private(fields), shared(fields)), "{row:?}");
        assert_eq!(Some(counts.ksm), fields.get(Field::Ksm).or(Some(Bytes(0))), "{row:?}");
    });
    assert_eq!(frames.why, None);
    assert!(frames.cost.frame_reads > 0 && frames.cost.bytes > 0);
}
