//! The memory of control groups, and who is in them.
//!
//! A cgroup's files lie wherever its hierarchy is mounted, which mountinfo tells; names in /proc/PID/cgroup are seen
//! from our own cgroup namespace, and so are the roots of mounts. What lies outside of what we have mounted cannot be
//! read and is `None`.

use crate::parse::{cgroup as parse, decimal, mountinfo};
use crate::read::error::ProcError;
use crate::read::process::Process;
use crate::read::root::ProcRoot;
use mountinfo::Mount;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use vmatlas_event::{CgroupMemory, CgroupVersion, Pid};

/// Where cgroups with a memory controller are mounted.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    v1: Vec<Mount>,
    v2: Vec<Mount>,
}

/// One cgroup that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    version: CgroupVersion,
    path: Vec<u8>,
    dir: PathBuf,
}

/// The processes of a cgroup and of all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Ascending.
    pub pids: Vec<Pid>,
    /// How many cgroups were looked into.
    pub cgroups: u64,
    /// Members that have no number here: they are in another PID namespace.
    pub elsewhere: u64,
    /// Whether there are more than were read.
    pub more: bool,
}

impl Cgroups {
    /// Those of this machine as we see them. A copied /proc has none: its mounts are not ours.
    ///
    /// # Errors
    /// When mountinfo cannot be read.
    pub fn read(root: &ProcRoot) -> io::Result<Cgroups> {
        if !root.is_live() {
            return Ok(Cgroups::default());
        }
        let text = fs::read(root.path().join("self/mountinfo"))?;
        Ok(Cgroups::of_mounts(mountinfo::parse(&text)))
    }

    /// Those of these mounts.
    pub fn of_mounts(mounts: Vec<Mount>) -> Cgroups {
        let (v2, others): (Vec<Mount>, Vec<Mount>) =
            mounts.into_iter().partition(|m| m.fs_type == b"cgroup2");
        let v1 = others.into_iter().filter(|m| m.fs_type == b"cgroup" && m.has_option(b"memory")).collect();
        Cgroups { v1, v2 }
    }

    /// The cgroup that the memory of a process is charged to now (what it touched in another one before stays there);
    /// `None` when it is not mounted here.
    ///
    /// # Errors
    /// By kind, when the process's file cannot be read.
    pub fn of_process(&self, process: &Process) -> Result<Option<Cgroup>, ProcError> {
        Ok(self.of_text(&process.read_file("cgroup")?))
    }

    /// The cgroup that the text of /proc/PID/cgroup names.
    pub fn of_text(&self, text: &[u8]) -> Option<Cgroup> {
        let (version, path) = parse::of_memory(text)?;
        self.find(version, path)
    }

    /// The cgroup that a person means: a folder below a mount point (`/sys/fs/cgroup/…`), or a path in a hierarchy.
    pub fn named(&self, name: &[u8]) -> Option<Cgroup> {
        let as_folder = |(version, mount): (CgroupVersion, &Mount)| {
            let rest = name.strip_prefix(mount.mount_point.as_slice())?;
            if !rest.is_empty() && !rest.starts_with(b"/") {
                return None;
            }
            let root = mount.root.strip_suffix(b"/").unwrap_or(&mount.root);
            self.find(version, &[root, if rest.is_empty() { b"/" } else { rest }].concat())
        };
        let mut mounts = self.all();
        if let Some(found) = mounts.find_map(as_folder) {
            return Some(found);
        }
        let name = if name.starts_with(b"/") { name.to_vec() } else { [b"/", name].concat() };
        [CgroupVersion::V1, CgroupVersion::V2].into_iter().find_map(|version| self.find(version, &name))
    }

    fn all(&self) -> impl Iterator<Item = (CgroupVersion, &Mount)> {
        let of = |version| move |mount| (version, mount);
        self.v1.iter().map(of(CgroupVersion::V1)).chain(self.v2.iter().map(of(CgroupVersion::V2)))
    }

    fn find(&self, version: CgroupVersion, path: &[u8]) -> Option<Cgroup> {
        let path = match path {
            b"/" => path,
            _ => path.strip_suffix(b"/").unwrap_or(path),
        };
        // What was mounted last hides what was mounted there before.
        let places = self.all().filter(|(v, _)| *v == version).collect::<Vec<_>>().into_iter().rev();
        places
            .filter_map(|(_, mount)| mount.locate(path))
            .map(to_path)
            .find(|dir| dir.is_dir())
            .map(|dir| Cgroup { version, path: path.to_vec(), dir })
    }
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

impl Cgroup {
    /// Which interface it has.
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// Its path in its hierarchy, as seen from our namespace.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads what it says of its memory. Under v2 a cgroup without the memory controller is charged to the nearest one
    /// above that has it: that one is read, and the answer's path says which it was.
    pub fn memory(&self) -> CgroupMemory {
        let mut at = self.clone();
        while at.read("memory.stat").is_none() {
            match at.parent() {
                Some(parent) => at = parent,
                None => return CgroupMemory::new(self.version, self.path.clone()),
            }
        }
        at.memory_here()
    }

    fn memory_here(&self) -> CgroupMemory {
        let mut memory = CgroupMemory::new(self.version, self.path.clone());
        let bytes = |name: &str| parse::bytes(&self.read(name)?);
        let limit = |name: &str| parse::limit(&self.read(name)?);
        let text = |name: &str| self.read(name).unwrap_or_default();
        match self.version {
            CgroupVersion::V2 => {
                memory.current = bytes("memory.current");
                memory.peak = bytes("memory.peak");
                memory.max = limit("memory.max");
                memory.high = limit("memory.high");
                memory.swap = bytes("memory.swap.current");
                memory.swap_max = limit("memory.swap.max");
                memory.stat = parse::stat_v2(&text("memory.stat"));
                memory.events = parse::events(&text("memory.events"));
            }
            CgroupVersion::V1 => {
                memory.current = bytes("memory.usage_in_bytes");
                memory.peak = bytes("memory.max_usage_in_bytes");
                memory.max = limit("memory.limit_in_bytes");
                memory.memory_and_swap = bytes("memory.memsw.usage_in_bytes");
                memory.memory_and_swap_max = limit("memory.memsw.limit_in_bytes");
                (memory.stat, memory.swap) = parse::stat_v1(&text("memory.stat"));
                memory.stat.kernel = bytes("memory.kmem.usage_in_bytes");
                memory.stat.sock = bytes("memory.kmem.tcp.usage_in_bytes");
                memory.events = parse::events(&text("memory.oom_control"));
                memory.events.max = bytes("memory.failcnt").map(|n| n.0);
            }
        }
        memory
    }

    /// The processes in it and below it, with bounds on how much is read.
    pub fn members(&self) -> Members {
        const MOST_CGROUPS: u64 = 20_000;
        const MOST_PIDS: usize = 4 << 20;
        let mut members = Members::default();
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            if members.cgroups == MOST_CGROUPS || members.pids.len() > MOST_PIDS {
                members.more = true;
                break;
            }
            members.cgroups += 1;
            // Threads below a threaded cgroup are listed as processes by the cgroup above it; there it is an error.
            let text = read_limited(&folder.join("cgroup.procs")).unwrap_or_default();
            for number in text.split(|b| *b == b'\n').filter_map(decimal) {
                match i32::try_from(number) {
                    Ok(0) | Err(_) => members.elsewhere += 1,
                    Ok(pid) => members.pids.push(Pid(pid)),
                }
            }
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
            folders.extend(below.map(|entry| entry.path()));
        }
        members.pids.sort_unstable();
        members.pids.dedup();
        members
    }

    fn parent(&self) -> Option<Cgroup> {
        let end = self.path.iter().rposition(|b| *b == b'/')?;
        let last = self.path.get(end + 1..).filter(|last| !last.is_empty())?;
        if self.dir.file_name()?.as_bytes() != last {
            return None;
        }
        let path = self.path.get(..end.max(1))?.to_vec();
        Some(Cgroup { version: self.version, path, dir: self.dir.parent()?.to_path_buf() })
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        read_limited(&self.dir.join(name))
    }
}

fn read_limited(path: &Path) -> Option<Vec<u8>> {
    const LIMIT: u64 = 64 << 20;
    let mut text = Vec::new();
    File::open(path).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Bytes, Limit};

    /// A made-up hierarchy of v2 in a temporary folder; the memory controller ends above `/a/leaf`.
    fn made_up(root: &[u8]) -> (tempfile::TempDir, Cgroups) {
        let dir = tempfile::Builder::new().prefix("vmatlas-cgroup-").tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("cgroup.procs", "1\n");
        write("memory.stat", "anon 9\n");
        write("a/cgroup.procs", "20\n10\n0\n");
        write("a/memory.current", "5000\n");
        write("a/memory.max", "max\n");
        write("a/memory.high", "4096\n");
        write("a/memory.swap.current", "0\n");
        write("a/memory.stat", "anon 1000\nfile 2000\nshmem 500\n");
        write("a/memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n");
        write("a/leaf/cgroup.procs", "30\n");
        let mount = Mount {
            id: 1,
            dev: vmatlas_event::Dev::default(),
            root: root.to_vec(),
            mount_point: dir.path().as_os_str().as_bytes().to_vec(),
            fs_type: b"cgroup2".to_vec(),
            super_options: b"rw".to_vec(),
        };
        (dir, Cgroups::of_mounts(vec![mount]))
    }

    /// Checks the figures of v2, also for a cgroup that is charged to the one above, and that nothing is made up.
    #[test]
    fn memory_of_v2() {
        let (_dir, cgroups) = made_up(b"/");
        for path in ["0::/a\n", "0::/a/leaf\n"] {
            let memory = cgroups.of_text(path.as_bytes()).unwrap().memory();
            assert_eq!(memory.path, b"/a");
            assert_eq!((memory.current, memory.peak), (Some(Bytes(5000)), None));
            assert_eq!((memory.max, memory.high), (Some(Limit::Unlimited), Some(Limit::At(Bytes(4096)))));
            assert_eq!((memory.swap, memory.swap_max), (Some(Bytes(0)), None));
            assert_eq!((memory.stat.anon, memory.stat.pagetables), (Some(Bytes(1000)), None));
            assert_eq!((memory.events.oom, memory.events.oom_kill), (Some(3), Some(4)));
        }
        assert_eq!(cgroups.of_text(b"0::/\n").unwrap().memory().stat.anon, Some(Bytes(9)));
        assert_eq!(cgroups.of_text(b"0::/gone\n"), None);
        assert_eq!(cgroups.of_text(b"0::/../a\n"), None);
        assert_eq!(cgroups.of_text(b"4:memory:/a\n0::/a\n"), None);
    }

    /// Checks that members are those of all below, once each, and that strangers are counted.
    #[test]
    fn members_are_those_of_all_below() {
        let (_dir, cgroups) = made_up(b"/");
        let members = cgroups.named(b"/a").unwrap().members();
        assert_eq!(members.pids, [Pid(10), Pid(20), Pid(30)]);
        assert_eq!((members.cgroups, members.elsewhere, members.more), (2, 1, false));
        assert_eq!(cgroups.named(b"/").unwrap().members().pids.len(), 4);
    }

    /// Checks that a cgroup is found by its path, by its folder, and below a mount that shows only a part.
    #[test]
    fn cgroups_are_found_by_path_and_folder() {
        let (dir, cgroups) = made_up(b"/docker/abc");
        let folder = dir.path().join("a/leaf").into_os_string().into_encoded_bytes();
        for name in [&b"/docker/abc/a/leaf"[..], b"docker/abc/a/leaf/", &folder] {
            let found = cgroups.named(name).unwrap();
            assert_eq!(
                (found.path(), found.dir()),
                (&b"/docker/abc/a/leaf"[..], &*dir.path().join("a/leaf"))
            );
        }
        // Above what is mounted nothing can be read.
        let top = cgroups.named(b"/docker/abc").unwrap();
        assert_eq!(top.memory().stat.anon, Some(Bytes(9)));
        assert_eq!(cgroups.named(b"/docker"), None);
        assert_eq!(cgroups.named(b"/docker/abcd"), None);
    }

    /// Checks that our own cgroup is found on this machine and says what it says to anybody.
    #[test]
    fn our_own_cgroup() {
        let root = ProcRoot::system();
        let me = root.process(vmatlas_sys::self_pid()).unwrap();
        let Some(cgroup) = Cgroups::read(&root).unwrap().of_process(&me).unwrap() else {
            return vmatlas_testkit::left_off("a mounted memory cgroup");
        };
        assert!(cgroup.members().pids.contains(&me.pid()));
        let memory = cgroup.memory();
        if cgroup.dir().join("memory.stat").exists() {
            assert!(memory.stat.anon.is_some() && memory.stat.file.is_some(), "{memory:?}");
            assert_eq!(memory.path, cgroup.path());
        }
    }
}
