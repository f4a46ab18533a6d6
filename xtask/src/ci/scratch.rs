//! A folder outside the tree that every user can enter, removed at the end.

use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const PREFIX: &str = "vmatlas-ci-";

/// Removed when dropped; what a killed run left behind is removed by the next.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        // $TMPDIR may be one that only we can enter.
        let place = [env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        let place = place.into_iter().find(|p| everyone_may_enter(p));
        let place = place.context("no temporary folder that every user can enter")?;
        remove_leftovers(&place);
        let path = place.join(format!("{PREFIX}{}", std::process::id()));
        // Fails when somebody put something there, so nobody can lead us elsewhere by a link.
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let scratch = Scratch(path);
        set_mode(scratch.path(), 0o755)?;
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder in it that all can enter.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        make_folder(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} stays behind: {error}", self.0.display());
        }
    }
}

/// Copies a file so that all can read it, and execute it when its owner can.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    let executable = fs::metadata(to)?.permissions().mode() & 0o100 != 0;
    set_mode(to, if executable { 0o755 } else { 0o644 })
}

/// Copies a folder so that all can read it, without the files and folders named in `leave_out`.
pub(super) fn copy_tree(from: &Path, to: &Path, leave_out: &[&str]) -> Result<()> {
    make_folder(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if leave_out.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if kind.is_dir() {
            copy_tree(&from, &to, leave_out)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            bail!("{}: {error}", path.display())
        }
        _ => set_mode(path, 0o755),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| path.display().to_string())
}

fn everyone_may_enter(path: &Path) -> bool {
    let enterable =
        |p: &Path| fs::metadata(p).is_ok_and(|m| m.is_dir() && m.permissions().mode() & 0o001 != 0);
    path.is_absolute() && path.ancestors().all(enterable)
}

/// Removes folders of ours whose process is gone; a failure is left for somebody who can do better.
fn remove_leftovers(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    let Ok(me) = fs::metadata("/proc/self").map(|m| m.uid()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.parse::<u32>().ok());
        let is_left = |pid: u32| !Path::new("/proc").join(pid.to_string()).exists();
        let is_ours = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        if is_ours && pid.is_some_and(is_left) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that copies can be read by all, keep their right to run, keep links, and leave out what they should.
    #[test]
    fn trees_are_copied_for_everyone() {
        let scratch = Scratch::new().unwrap();
        let from = scratch.folder("from").unwrap();
        fs::create_dir_all(from.join("a/target")).unwrap();
        fs::write(from.join("a/x.sh"), "x").unwrap();
        fs::write(from.join("a/x.txt"), "x").unwrap();
        set_mode(&from.join("a/x.sh"), 0o700).unwrap();
        set_mode(&from.join("a/x.txt"), 0o600).unwrap();
        set_mode(&from.join("a"), 0o700).unwrap();
        symlink("x.txt", from.join("a/link")).unwrap();
        let to = scratch.path().join("to");
        copy_tree(&from, &to, &["target"]).unwrap();
        let mode = |name: &str| fs::symlink_metadata(to.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/x.sh"), mode("a/x.txt")), (0o755, 0o755, 0o644));
        assert_eq!(fs::read_link(to.join("a/link")).unwrap(), Path::new("x.txt"));
        assert!(!to.join("a/target").exists());
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    /// Checks that a folder only its owner can enter is not taken.
    #[test]
    fn closed_folders_are_not_taken() {
        assert!(everyone_may_enter(Path::new("/usr")));
        assert!(!everyone_may_enter(Path::new("/proc/self/fd")));
        assert!(!everyone_may_enter(Path::new("relative")));
    }
}
