//! Arguments of processes, with a deadline.
//!
//! /proc/PID/cmdline is read from the process's own memory: where that is guarded by a userfaultfd or lies on a file
//! system in user space (FUSE), the read waits for as long as somebody there likes. So a thread reads, and who waits for
//! it does not wait for ever; a thread that hangs is left behind and ends with us.

use crate::read::processes::Unread;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use vmatlas_event::Pid;

/// Reads arguments of one process after another.
#[derive(Debug)]
pub struct CmdlineReader {
    root: PathBuf,
    worker: Option<Worker>,
    /// How many did not answer in time.
    late: u64,
}

#[derive(Debug)]
struct Worker {
    ask: Sender<PathBuf>,
    answer: Receiver<io::Result<Vec<u8>>>,
}

/// How long one process is waited for.
const DEADLINE: Duration = Duration::from_millis(250);
/// So many threads may be left behind; after that arguments are not read any more.
const MOST_LATE: u64 = 16;

impl CmdlineReader {
    /// For the processes of the /proc in this folder.
    pub fn new(root: &Path) -> CmdlineReader {
        CmdlineReader { root: root.to_owned(), worker: None, late: 0 }
    }

    /// The arguments of a process, each ended by a zero byte, at most 64 KiB of them; empty for a thread of the kernel.
    ///
    /// # Errors
    /// Why they were not read; [`Unread::Unknown`] when they did not come in time.
    pub fn read(&mut self, pid: Pid) -> Result<Vec<u8>, Unread> {
        if self.late >= MOST_LATE {
            return Err(Unread::Unknown);
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => start()?,
        };
        let path = self.root.join(pid.to_string()).join("cmdline");
        worker.ask.send(path).map_err(|_| Unread::Unknown)?;
        match worker.answer.recv_timeout(DEADLINE) {
            Ok(answer) => {
                self.worker = Some(worker);
                Ok(answer?)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.late += 1;
                Err(Unread::Unknown)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Unread::Unknown),
        }
    }

    /// How many did not come in time.
    pub fn late(&self) -> u64 {
        self.late
    }
}

fn start() -> io::Result<Worker> {
    const LIMIT: u64 = 64 * 1024;
    let (ask, asked) = channel::<PathBuf>();
    let (reply, answer) = channel();
    let work = move || {
        for path in asked {
            let mut text = Vec::new();
            let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text));
            // Nobody listens any more when it took too long.
            if reply.send(read.map(|_| text)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("cmdline".to_owned()).spawn(work)?;
    Ok(Worker { ask, answer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    /// Checks that our own arguments are read, again and again, and that nobody's are an end.
    #[test]
    fn arguments_are_read() {
        let mut reader = CmdlineReader::new(Path::new("/proc"));
        let own: Vec<u8> =
            std::env::args_os().flat_map(|arg| [arg.as_bytes(), &b"\0"[..]].concat()).collect();
        for _ in 0..3 {
            assert_eq!(reader.read(vmatlas_sys::self_pid()), Ok(own.clone()));
            assert_eq!(reader.read(Pid(i32::MAX)), Err(Unread::Ended));
        }
        assert_eq!(reader.late(), 0);
    }

    /// Checks that a file that never answers costs a bounded time, and that the next process is read all the same.
    #[test]
    fn what_hangs_is_left_behind() {
        let fake = vmatlas_testkit::FakeProc::new().unwrap();
        for (pid, file) in [(1, "other"), (2, "cmdline")] {
            fake.add(&vmatlas_testkit::FakeProcess::new(pid).file(file, "a\0b\0")).unwrap();
        }
        // Nobody ever writes into it, so opening it waits.
        let pipe = fake.path().join("1/cmdline");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut reader = CmdlineReader::new(fake.path());
        assert_eq!(reader.read(Pid(1)), Err(Unread::Unknown));
        assert_eq!(reader.read(Pid(2)), Ok(b"a\0b\0".to_vec()));
        assert_eq!(reader.late(), 1);
        // Lets the thread go.
        drop(File::options().write(true).open(pipe));
    }
}
