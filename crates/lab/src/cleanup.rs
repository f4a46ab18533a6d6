//! What an experiment leaves outside of its process (files, SysV segments, settings), and the one place that removes it.
//!
//! Processes need nothing of this: the subject ends with the experimenter (its socket, its tracer), its children with
//! it (PR_SET_PDEATHSIG). For the rest there is a janitor: vmatlas executed again, in a process group of its own so that
//! ^C does not reach it, which waits for the end of its input, however we end, and then undoes all it was told of.

use crate::error::LabError;
use crate::segments;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vmatlas_event::Errno;

/// The hidden first argument that makes vmatlas the janitor.
pub(crate) const JANITOR_ARGUMENT: &str = "__lab-janitor";

const EBUSY: i32 = 16;

/// Something to undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// Remove a file.
    Remove(PathBuf),
    /// Remove a SysV shared memory segment.
    Segment(i32),
    /// Remove the segments that a process of ours has made, or is about to make.
    SegmentsOf(i32),
    /// Take a swap file away from the kernel.
    SwapOff(PathBuf),
    /// Write a setting back: a file of /proc or /sys, and its text.
    Restore(PathBuf, Vec<u8>),
}

impl Undo {
    fn line(&self) -> String {
        match self {
            Undo::Remove(path) => format!("remove {}\n", hex(path.as_os_str().as_bytes())),
            Undo::SwapOff(path) => format!("swapoff {}\n", hex(path.as_os_str().as_bytes())),
            Undo::Segment(id) => format!("segment {id}\n"),
            Undo::SegmentsOf(pid) => format!("segments-of {pid}\n"),
            Undo::Restore(path, text) => {
                format!("restore {} {}\n", hex(path.as_os_str().as_bytes()), hex(text))
            }
        }
    }

    fn parse(line: &str) -> Option<Undo> {
        let mut words = line.split_whitespace();
        let path = |word: &str| Some(PathBuf::from(OsString::from_vec(unhex(word)?)));
        Some(match words.next()? {
            "remove" => Undo::Remove(path(words.next()?)?),
            "swapoff" => Undo::SwapOff(path(words.next()?)?),
            "segment" => Undo::Segment(words.next()?.parse().ok()?),
            "segments-of" => Undo::SegmentsOf(words.next()?.parse().ok()?),
            "restore" => Undo::Restore(path(words.next()?)?, unhex(words.next().unwrap_or(""))?),
            _ => return None,
        })
    }

    /// What is gone already is as good as undone.
    fn undo(&self) {
        let _ = match self {
            Undo::Remove(path) => fs::remove_file(path),
            Undo::SwapOff(path) => vmatlas_sys::swap_off(path).map_err(io_error),
            Undo::Segment(id) => remove_segment(*id),
            Undo::SegmentsOf(pid) => {
                wait_for_end(*pid);
                segments::made_by(*pid)
                    .and_then(|all| all.iter().try_for_each(|made| remove_segment(made.id)))
            }
            Undo::Restore(path, text) => fs::write(path, text),
        };
    }
}

fn remove_segment(id: i32) -> io::Result<()> {
    vmatlas_sys::workbench::remove_segment(id).map_err(io_error)
}

pub(crate) fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

/// Waits, though not for ever, until a process can make nothing any more. It ends with us, which takes a moment.
fn wait_for_end(pid: i32) {
    const LOOKS: u32 = 200;
    let ended = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"));
        status.map_or(true, |text| text.contains("\nState:\tZ"))
    };
    for _ in 0..LOOKS {
        if ended() {
            return;
        }
        vmatlas_sys::sleep(Duration::from_millis(10));
    }
}

/// Everything that an experiment has to undo. It is undone when this value goes, or this process, however it ends.
#[derive(Debug)]
pub(crate) struct Cleanup {
    janitor: Child,
}

impl Cleanup {
    /// Starts the janitor.
    ///
    /// # Errors
    /// When no process can be started.
    pub(crate) fn start() -> io::Result<Cleanup> {
        Cleanup::holding(Stdio::null())
    }

    /// The same; the janitor keeps something open until all is undone, in place of an output.
    fn holding(kept: Stdio) -> io::Result<Cleanup> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(JANITOR_ARGUMENT).stdin(Stdio::piped()).stdout(kept).stderr(Stdio::null());
        Ok(Cleanup { janitor: command.process_group(0).spawn()? })
    }

    /// Tells what is to be undone; before it is done, so that there is no moment without.
    ///
    /// # Errors
    /// When the janitor is gone: then the thing must not be done.
    pub(crate) fn later(&mut self, undo: &Undo) -> io::Result<()> {
        let stdin = self.janitor.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(undo.line().as_bytes())
    }

    /// A new file in the folder for temporary files, for reading and writing, of this size.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn file(&mut self, size: u64) -> io::Result<(File, PathBuf)> {
        self.file_in(&std::env::temp_dir(), size)
    }

    /// The same in another folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn file_in(&mut self, folder: &Path, size: u64) -> io::Result<(File, PathBuf)> {
        let name = format!("vmatlas-lab-{}-{}", std::process::id(), vmatlas_sys::now().0);
        let path = folder.join(name);
        self.later(&Undo::Remove(path.clone()))?;
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        file.set_len(size)?;
        Ok((file, path))
    }

    /// Changes a setting until this value goes, where somebody asked for it; `None` when nobody did. `change` makes the new
    /// value of the present one.
    ///
    /// # Errors
    /// When it cannot be changed; EBUSY while another experiment has it changed.
    pub(crate) fn with_setting(
        path: &str,
        change: Option<impl FnOnce(&str) -> String>,
    ) -> Result<Option<Cleanup>, LabError> {
        let Some(change) = change else { return Ok(None) };
        Cleanup::changing(Path::new(path), change).map(Some).map_err(LabError::file(path))
    }

    fn changing(path: &Path, change: impl FnOnce(&str) -> String) -> io::Result<Cleanup> {
        let mut file = File::open(path)?;
        // Another experiment would take our value for the machine's, and leave it there in the end.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(io_error(Errno(EBUSY)));
        }
        let mut before = String::new();
        file.read_to_string(&mut before)?;
        let before = chosen(&before);
        let mut cleanup = Cleanup::holding(file.into())?;
        cleanup.later(&Undo::Restore(path.to_owned(), before.as_bytes().to_vec()))?;
        fs::write(path, change(before))?;
        Ok(cleanup)
    }
}

/// What to write to a setting to have what was read of it: some list all their words, the chosen one in brackets.
fn chosen(text: &str) -> &str {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text.trim_end(), |(word, _)| word)
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        // The end of its input is the order to begin.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// Reads what to undo until the end of the input, and undoes it, the latest first.
pub(crate) fn be_the_janitor(input: impl BufRead) {
    let lines = input.lines().map_while(Result::ok);
    let mut all: Vec<Undo> = lines.filter_map(|line| Undo::parse(&line)).collect();
    while let Some(undo) = all.pop() {
        undo.undo();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that files are removed and texts written back, the latest first, whatever bytes they have.
    #[test]
    fn all_is_undone_the_latest_first() {
        let (setting, gone) = (
            std::env::temp_dir().join(format!("vm atlas\n{}", std::process::id())),
            PathBuf::from("/nowhere/x"),
        );
        fs::write(&setting, "changed").unwrap();
        let undos = [
            Undo::Restore(setting.clone(), b"first\n".to_vec()),
            Undo::Restore(setting.clone(), b"second".to_vec()),
            Undo::SwapOff(gone.clone()),
            Undo::Remove(gone),
        ];
        let text: String = undos.iter().map(Undo::line).collect();
        assert!(text.lines().zip(&undos).all(|(line, undo)| Undo::parse(line).as_ref() == Some(undo)));
        be_the_janitor(format!("{text}nonsense\n").as_bytes());
        assert_eq!(fs::read(&setting).unwrap(), b"first\n");
        be_the_janitor(Undo::Remove(setting.clone()).line().as_bytes());
        assert!(!setting.exists());
    }

    /// Checks that of a setting that lists its words the chosen one is written back, and any other as it was read.
    #[test]
    fn the_chosen_word_is_written_back() {
        for (text, word) in [("always [madvise] never\n", "madvise"), ("0\n", "0"), ("", ""), ("]x[", "]x[")]
        {
            assert_eq!(chosen(text), word);
        }
    }
}
