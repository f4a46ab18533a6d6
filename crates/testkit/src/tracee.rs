//! Programs that a test starts, and that end with it.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};
use vmatlas_event::Pid;
use vmatlas_sys::PidFd;

/// A started program, killed and reaped when this is dropped: exactly this one, never a process that got its PID later.
///
/// If the test program itself is killed, nobody drops it: start programs that end by themselves (`sleep 60`).
#[derive(Debug)]
pub struct Tracee {
    child: Child,
    /// Stays this very process where somebody else reaped it (a tracer that waits for everything).
    pidfd: Option<PidFd>,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Tracee {
    /// Starts a program; its standard streams are those of the command.
    ///
    /// # Errors
    /// When it cannot be started, as [`Command::spawn`].
    pub fn start(command: &mut Command) -> io::Result<Tracee> {
        let mut child = command.spawn()?;
        let pid = Pid(child.id() as i32);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Tracee { child, pidfd: PidFd::open(pid).ok(), stdin, stdout })
    }

    /// Its PID.
    pub fn pid(&self) -> Pid {
        Pid(self.child.id() as i32)
    }

    /// The next line of its piped stdout without the line end: the usual way to hear that it is ready.
    ///
    /// # Errors
    /// UnexpectedEof when it has closed its stdout, NotFound when that is no pipe.
    pub fn read_line(&mut self) -> io::Result<String> {
        let stdout = self.stdout.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut line = String::new();
        match stdout.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches('\n').to_owned()),
        }
    }

    /// Writes a line to its piped stdin: the usual way to let it go on.
    ///
    /// # Errors
    /// BrokenPipe when it has closed its stdin, NotFound when that is no pipe.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        writeln!(stdin, "{line}")?;
        stdin.flush()
    }

    /// Whether it has ended, seen without reaping it; a zombie has ended.
    pub fn has_ended(&mut self) -> bool {
        match &self.pidfd {
            Some(pidfd) => pidfd.has_ended(),
            None => self.child.try_wait().map_or(true, |status| status.is_some()),
        }
    }

    /// Waits until it ends by itself, closing its stdin first.
    ///
    /// # Errors
    /// ECHILD when somebody else reaped it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.child.wait()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// ESRCH when it has ended, ENOSYS before Linux 5.3.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        const ENOSYS: i32 = 38;
        let Some(pidfd) = &self.pidfd else { return Err(io::Error::from_raw_os_error(ENOSYS)) };
        pidfd.signal(signal).map_err(|errno| io::Error::from_raw_os_error(errno.0))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        const SIGKILL: i32 = 9;
        // Each may fail because it has ended already, and nothing is left to do then.
        let _ = match &self.pidfd {
            Some(pidfd) => pidfd.signal(SIGKILL).map_err(|errno| io::Error::from_raw_os_error(errno.0)),
            None => self.child.kill(),
        };
        let _ = self.child.wait();
    }
}

/// Looks every few milliseconds until `condition` holds; `false` when it did not hold within `limit`.
#[must_use]
pub fn wait_until(mut condition: impl FnMut() -> bool, limit: Duration) -> bool {
    const PAUSE: Duration = Duration::from_millis(2);
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    /// Checks that a program is gone, not even a zombie, once its guard is dropped.
    #[test]
    fn a_dropped_tracee_is_killed_and_reaped() {
        let mut tracee = Tracee::start(Command::new("sleep").arg("60")).unwrap();
        let proc = format!("/proc/{}", tracee.pid());
        assert!(std::path::Path::new(&proc).exists());
        assert!(!tracee.has_ended());
        let witness = PidFd::open(tracee.pid()).unwrap();
        drop(tracee);
        assert!(witness.has_ended());
        assert!(witness.signal(0).is_err());
    }

    /// Checks the handshake: it says that it is ready, hears us, and ends with its own status.
    #[test]
    fn lines_go_both_ways() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read answer; echo got $answer; exit 7"]);
        let mut tracee = Tracee::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
        assert_eq!(tracee.read_line().unwrap(), "ready");
        tracee.write_line("go").unwrap();
        assert_eq!(tracee.read_line().unwrap(), "got go");
        assert!(wait_until(|| tracee.has_ended(), Duration::from_secs(10)));
        assert_eq!(tracee.wait().unwrap().code(), Some(7));
        assert_eq!(tracee.read_line().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Checks that waiting gives up at its limit and sees a condition that holds later.
    #[test]
    fn waiting_ends() {
        assert!(!wait_until(|| false, Duration::from_millis(5)));
        let mut looks = 0;
        let third_time = || {
            looks += 1;
            looks == 3
        };
        assert!(wait_until(third_time, Duration::from_secs(10)));
    }
}
