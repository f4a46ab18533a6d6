//! `--cgroup` of `attach` and `run`: a cgroup of version 2, what is in it and below it, and moving a program into it.

use crate::context::Context;
use crate::failure::Failure;
use crate::texts;
use anyhow::anyhow;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vmatlas_event::Pid;

/// A folder of cgroup version 2.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    /// By which the kernel knows it.
    pub(crate) inode: u64,
}

impl Cgroup {
    /// Finds it: a folder, or a path as /proc/PID/cgroup has it.
    pub(crate) fn find(path: &Path, context: &Context) -> Result<Cgroup, Failure> {
        let lang = context.lang;
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let Some(mount) = mount_of(&mounts) else {
            return Err(anyhow!(texts::NO_CGROUP2.get(lang)).into());
        };
        let below = path.strip_prefix("/").unwrap_or(path);
        let places = [path.to_owned(), mount.join(below)];
        // Only version 2 has this file.
        let found = places.into_iter().find(|place| place.join("cgroup.controllers").is_file());
        let found = found.and_then(|place| Some((place.metadata().ok()?.ino(), place)));
        match found {
            Some((inode, path)) => Ok(Cgroup { path, inode }),
            None => {
                let values: [(&str, &dyn std::fmt::Display); 2] =
                    [("path", &path.display()), ("mount", &mount.display())];
                Err(anyhow!(texts::NOT_CGROUP2.fill(lang, &values)).into())
            }
        }
    }

    /// Moves a program that we start into it, which waits still.
    pub(crate) fn take(&self, pid: Pid, context: &Context) -> Result<(), Failure> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).map_err(|error| {
            let values: [(&str, &dyn std::fmt::Display); 2] =
                [("path", &self.path.display()), ("why", &error)];
            anyhow!(texts::CANNOT_MOVE.fill(context.lang, &values)).into()
        })
    }

    /// All processes in it now, those in cgroups below it too.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        // Deeper or larger ones were not made by hand.
        const MOST: usize = 1 << 16;
        let mut waiting = vec![self.path.clone()];
        let mut seen = 0;
        let mut pids = Vec::new();
        while let Some(folder) = waiting.pop() {
            seen += 1;
            // Where processes are threads of another cgroup it cannot be read, and they are listed there.
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).map(Pid));
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            waiting.extend(folders.map(|entry| entry.path()).take(MOST.saturating_sub(seen + waiting.len())));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

/// Where cgroup version 2 is mounted; see proc_pid_mountinfo(5).
fn mount_of(mounts: &[u8]) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(mounts);
    text.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let place = front.split(' ').nth(4)?;
        back.starts_with("cgroup2 ").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the mount of version 2 is found beside those of version 1, and that there may be none.
    #[test]
    fn the_mount_is_found() {
        let v1 = "31 27 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";
        let v2 = "40 27 0:35 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw\n";
        let both = [v1, v2].concat();
        assert_eq!(mount_of(both.as_bytes()), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_of(v1.as_bytes()), None);
    }
}
