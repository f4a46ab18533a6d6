//! Reading maps and pages, tried on ourselves and on the first process of the machine.

use super::{errno_of, error, has, setcap, tried};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use vmatlas_event::{Addr, AddrRange, Bytes, CgroupVersion, Errno};
use vmatlas_proc::parse::mountinfo;
use vmatlas_proc::{Cgroups, ProcRoot};
use vmatlas_sys::privilege::Cap;
use vmatlas_view::doctor::{Finding, Item, State, texts};
use vmatlas_view::escape;

const ENOENT: Errno = Errno(2);

pub(super) fn look(root: &ProcRoot) -> Vec<Finding> {
    let mounts = mountinfo::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default());
    vec![
        stood_in(Item::MapQuery, can_query_maps(), texts::MAPS_ARE_READ),
        stood_in(Item::PageScan, can_scan_pages(), texts::ENTRIES_ARE_READ),
        stood_in(Item::Guards, guards(), texts::NO_GUARDS),
        frames(),
        tried(Item::Rollup, opened("/proc/self/smaps_rollup")),
        soft_dirty(),
        maps_of_others(),
        hidepid(&mounts),
        cgroup(root),
    ]
}

/// What something else stands in for where it is missing.
fn stood_in(item: Item, answer: Result<(), Errno>, note: vmatlas_view::Text) -> Finding {
    match answer {
        Ok(()) => Finding::new(item, State::Works),
        Err(errno) => Finding::new(item, State::InPart).because(note, error(errno)),
    }
}

/// Whether maps answers about one address.
pub(crate) fn can_query_maps() -> Result<(), Errno> {
    let maps = File::open("/proc/self/maps").map_err(|e| errno_of(&e))?;
    vmatlas_sys::procmap_query(maps.as_fd(), Addr(0), vmatlas_sys::QueryMode::CoveringOrNext).map(|_| ())
}

/// Whether pagemap is read in runs.
pub(crate) fn can_scan_pages() -> Result<(), Errno> {
    let pagemap = File::open("/proc/self/pagemap").map_err(|e| errno_of(&e))?;
    let page = Bytes(vmatlas_sys::page_size().bytes());
    let range = AddrRange::from_len(Addr(0), page).ok_or(ENOENT)?;
    let mut runs = [vmatlas_sys::PageRun::default()];
    vmatlas_sys::pagemap_scan(pagemap.as_fd(), range, 1, &mut runs).map(|_| ())
}

fn guards() -> Result<(), Errno> {
    let pagemap = File::open("/proc/self/pagemap").map_err(|e| errno_of(&e))?;
    vmatlas_sys::pagemap_scan_tells_guards(pagemap.as_fd())
}

/// Opens a file and reads its first byte.
fn opened(path: &str) -> Result<(), Errno> {
    let read = File::open(path).and_then(|mut file| file.read(&mut [0]));
    read.map(|_| ()).map_err(|e| errno_of(&e))
}

/// The entry of a page that we have written to just now.
fn own_entry() -> Result<u64, Errno> {
    let page = vmatlas_sys::page_size().bytes();
    let mut written = vec![0u8; usize::try_from(2 * page).unwrap_or(0)];
    written.iter_mut().for_each(|byte| *byte = 1);
    let written = std::hint::black_box(written);
    let addr = written.as_ptr() as u64 + page;
    let mut entry = [0; 8];
    let pagemap = File::open("/proc/self/pagemap").map_err(|e| errno_of(&e))?;
    pagemap.read_exact_at(&mut entry, addr / page * 8).map_err(|e| errno_of(&e))?;
    Ok(u64::from_ne_bytes(entry))
}

/// Frame numbers, and the counts that belong to them.
fn frames() -> Finding {
    const FRAME: u64 = (1 << 55) - 1;
    let counts = File::open("/proc/kpagecount").and_then(|file| file.read_exact_at(&mut [0; 8], 0));
    let counts = counts.map_err(|e| errno_of(&e));
    match (own_entry(), counts) {
        (Ok(entry), Ok(())) if entry & FRAME != 0 => Finding::new(Item::Frames, State::Works),
        (_, Err(ENOENT)) => tried(Item::Frames, Err(ENOENT)),
        (entry, counts) => {
            let why = entry.and(counts).err().map_or_else(|| "CAP_SYS_ADMIN".to_owned(), error);
            let finding = Finding::new(Item::Frames, State::InPart).because(texts::NO_FRAMES, why);
            match has(Cap::SysAdmin) {
                true => finding,
                // setcap does not help: /proc/kpagecount has root's mode too.
                false => finding.granted_by("sudo vmatlas ..."),
            }
        }
    }
}

fn soft_dirty() -> Finding {
    const SOFT_DIRTY: u64 = 1 << 55;
    match own_entry() {
        Ok(entry) if entry & SOFT_DIRTY != 0 => Finding::new(Item::SoftDirty, State::Works),
        Ok(_) => {
            Finding::new(Item::SoftDirty, State::Missing).because(texts::NOT_BUILT, "CONFIG_MEM_SOFT_DIRTY")
        }
        Err(errno) => tried(Item::SoftDirty, Err(errno)),
    }
}

fn maps_of_others() -> Finding {
    let answer = opened("/proc/1/maps");
    match (answer, has(Cap::SysPtrace)) {
        (Ok(()), true) => Finding::new(Item::OthersMaps, State::Works),
        // A user namespace of its own, or an LSM.
        (Err(errno), true) => {
            Finding::new(Item::OthersMaps, State::Works).because(texts::EXCEPT_FIRST, error(errno))
        }
        (answer, false) => {
            let why = answer.err().map_or_else(|| "CAP_SYS_PTRACE".to_owned(), error);
            Finding::new(Item::OthersMaps, State::InPart)
                .because(texts::OWN_MAPS, why)
                .granted_by(setcap("cap_sys_ptrace"))
        }
    }
}

fn hidepid(mounts: &[mountinfo::Mount]) -> Finding {
    let of_proc = mounts.iter().rfind(|mount| mount.mount_point == b"/proc");
    let level = of_proc.and_then(|mount| {
        let options = mount.super_options.split(|b| *b == b',');
        options.filter_map(|option| option.strip_prefix(b"hidepid=")).next_back()
    });
    match level {
        Some(level) if !matches!(level, b"0" | b"off") => Finding::new(Item::HidePid, State::InPart)
            .because(texts::PIDS_HIDDEN, escape::terminal(level))
            .granted_by("sudo mount -o remount,hidepid=0 /proc"),
        _ => Finding::new(Item::HidePid, State::Works),
    }
}

fn cgroup(root: &ProcRoot) -> Finding {
    let text = fs::read(root.path().join("self/cgroup")).unwrap_or_default();
    let found = Cgroups::read(root).ok().and_then(|cgroups| cgroups.of_text(&text));
    match found.map(|cgroup| cgroup.version()) {
        Some(CgroupVersion::V1) => Finding::new(Item::Cgroup, State::Works).because(texts::SETTING, "v1"),
        Some(CgroupVersion::V2) => Finding::new(Item::Cgroup, State::Works).because(texts::SETTING, "v2"),
        None => Finding::new(Item::Cgroup, State::Missing).because(texts::NOT_MOUNTED, "/sys/fs/cgroup"),
    }
}
