//! A cgroup of version 2 that a test has for itself.

use crate::gate::left_off;
use crate::tracee::wait_until;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use vmatlas_event::Pid;

/// A cgroup of a test's own, which is removed with this, also where the test fails; what is still in it then is moved to the
/// one above.
#[derive(Debug)]
pub struct OwnCgroup {
    mount: PathBuf,
    folder: PathBuf,
}

impl OwnCgroup {
    /// Makes one right below the root of the hierarchy; `None`, and that is said aloud, where there is no cgroup version 2 or it cannot
    /// be written.
    #[must_use]
    #[track_caller]
    pub fn new() -> Option<OwnCgroup> {
        let Some(mount) = mount() else {
            left_off("cgroup version 2");
            return None;
        };
        match OwnCgroup::make(&mount, &mount) {
            Ok(cgroup) => Some(cgroup),
            Err(error) => {
                left_off(&format!("a cgroup of its own ({}: {error})", mount.display()));
                None
            }
        }
    }

    /// Makes one below it, which must be dropped before it.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn below(&self) -> io::Result<OwnCgroup> {
        OwnCgroup::make(&self.mount, &self.folder)
    }

    fn make(mount: &Path, parent: &Path) -> io::Result<OwnCgroup> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("vmatlas-test-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(OwnCgroup { mount: mount.to_owned(), folder })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its path as /proc/PID/cgroup has it.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(self.folder.strip_prefix(&self.mount).unwrap_or(&self.folder))
    }

    /// Moves a process into it.
    ///
    /// # Errors
    /// ESRCH when it has ended, as [`fs::write`] else.
    pub fn take(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.0.to_string())
    }

    /// The processes in it; a zombie whose threads have all ended is not listed.
    pub fn processes(&self) -> Vec<Pid> {
        let list = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).map(Pid).collect()
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let above = self.folder.with_file_name("cgroup.procs");
        let is_removed = || {
            for pid in self.processes() {
                // One that has just ended cannot be moved, and need not be.
                let _ = fs::write(&above, pid.0.to_string());
            }
            fs::remove_dir(&self.folder).is_ok()
        };
        // What has just ended may be in it for a moment.
        let _ = wait_until(is_removed, Duration::from_secs(5));
    }
}

/// Where cgroup version 2 is mounted.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    line.split(' ').nth(1).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tracee, need_root};
    use std::process::Command;

    /// Checks that a cgroup has what was moved into it, and is gone afterwards though that is still there.
    #[test]
    fn a_cgroup_is_removed_with_something_in_it() {
        if !need_root("cgroups are made") {
            return;
        }
        let Some(cgroup) = OwnCgroup::new() else { return };
        let lower = cgroup.below().unwrap();
        let tracee = Tracee::start(Command::new("sleep").arg("60")).unwrap();
        lower.take(tracee.pid()).unwrap();
        assert_eq!((lower.processes(), cgroup.processes()), (vec![tracee.pid()], vec![]));
        let text = fs::read_to_string(format!("/proc/{}/cgroup", tracee.pid())).unwrap();
        assert!(text.contains(&format!("0::{}\n", lower.path().display())), "{text}");
        let folder = cgroup.folder().to_owned();
        drop(lower);
        assert_eq!(cgroup.processes(), [tracee.pid()]);
        drop(cgroup);
        assert!(!folder.exists());
    }
}
