//! The frames behind pages, compared with the kernel's own smaps on a program that stands still.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fmt::Debug;
use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Backing, Bytes, VmaRow};
use vmatlas_proc::parse::smaps::{self, Field, SmapsFields};
use vmatlas_proc::read::backing;
use vmatlas_proc::read::frames::{self, Frames, Mapped};
use vmatlas_proc::{Budget, MapsReader, NoFrames, ProcRoot, Process};
use vmatlas_testkit::{Capability, Tracee, need, need_root, wait_until};

/// Looks at one VMA that stood still.
const DIFFERS: u32 = 20;

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

/// What two figures say that should be one.
fn equal<T: PartialEq + Debug>(ours: T, smaps: T) -> Result<(), String> {
    if ours == smaps { Ok(()) } else { Err(format!("{ours:?}, but smaps {smaps:?}")) }
}

/// Compares each VMA once while its figures stand still: other programs map the same libraries, now more, now fewer.
///
/// Where one program ends and another one begins between two looks these say the same, and nothing stood still. So what differs
/// is looked at again, and is an error when it has differed [`DIFFERS`] times.
fn compare(
    process: &Process,
    mut same: impl FnMut(usize, &Frames, &SmapsFields) -> Result<(), String>,
) -> Frames {
    let rows = MapsReader::new().read(process).unwrap().rows;
    let read = || frames::read(process, &rows, Budget::default()).unwrap();
    // Those that are not compared yet, and how often they have differed.
    let mut open: Vec<(usize, u32)> =
        (0..rows.len()).filter(|index| rows[*index].special() != Some(b"vsyscall")).map(|i| (i, 0)).collect();
    let read_smaps = || {
        let text = std::fs::read(format!("/proc/{}/smaps", process.pid())).unwrap();
        let fields: Vec<SmapsFields> =
            smaps::parse(&text).unwrap().into_iter().map(|row| row.fields).collect();
        assert_eq!(rows.len(), fields.len());
        fields
    };
    let (mut before, mut smaps_before) = (read(), read_smaps());
    let compared = wait_until(
        || {
            let (after, smaps) = (read(), read_smaps());
            open.retain_mut(|(index, differed)| {
                let index = *index;
                let stood = before.per_row[index] == after.per_row[index]
                    && before.mapped[index] == after.mapped[index]
                    && smaps_before[index] == smaps[index];
                let found = if stood { same(index, &after, &smaps[index]) } else { return true };
                let Err(said) = found else { return false };
                *differed += 1;
                assert!(*differed < DIFFERS, "{said}: {:?}", rows[index]);
                true
            });
            (before, smaps_before) = (after, smaps);
            open.is_empty()
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
    let frames = compare(&process, |index, frames, fields| {
        let Some(mapped) = frames.mapped[index] else {
            // A huge page tells of its first part alone, unless frames are told.
            return equal(
                (frames.why.is_some(), true),
                (true, fields.get(Field::AnonHugePages) > Some(Bytes(0))),
            );
        };
        equal((mapped.alone, mapped.shared), (private(fields), shared(fields)))?;
        let pages = frames.pages.per_row[index].unwrap();
        equal(Some(pages.resident), fields.get(Field::Rss))?;
        equal(Some(pages.anonymous), fields.get(Field::Anonymous))?;
        let huge = fields.sum(&[Field::AnonHugePages, Field::ShmemPmdMapped, Field::FilePmdMapped]);
        equal(Some(pages.huge), huge)?;
        sum.alone += mapped.alone;
        sum.shared += mapped.shared;
        if vmatlas_sys::effective_uid() != 0 {
            let has_none = fields.get(Field::Rss) == Some(Bytes(0));
            assert!(has_none || frames.per_row[index].is_none());
        }
        Ok(())
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
    let frames = compare(&process, |index, frames, fields| {
        let counts = frames.per_row[index].unwrap();
        let whole_kib = Bytes(counts.pss.bytes().0 / 1024 * 1024);
        equal(whole_kib, fields.get(Field::Pss).unwrap())?;
        equal((counts.private, counts.shared), (private(fields), shared(fields)))?;
        equal(Some(counts.ksm), fields.get(Field::Ksm).or(Some(Bytes(0))))
    });
    assert_eq!(frames.why, None);
    assert!(frames.cost.frame_reads > 0 && frames.cost.bytes > 0);
}
