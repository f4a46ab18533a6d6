//! The experimenter's side of the subject: starts it under our tracer, gives it commands, and ends it.

use crate::child::{CHILD_ARGUMENT, COMMAND_FD, FILE_FDS, PEER_FDS};
use crate::command::{Command, REPLY_SIZE, Reply, decode_reply};
use crate::error::{Ending, LabError};
use crate::state::State;
use crate::watch::{Tap, Watch};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use vmatlas_event::{Addr, AddrRange, Errno, Pid};
use vmatlas_proc::{ProcKernel, ProcRoot, Process};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_sys::signal::Inherited;
use vmatlas_sys::{Program, WaitStatus};
use vmatlas_trace::{End, Launch, TraceError, Tracer};

const SELF: &str = "/proc/self/exe";
/// Pages touched by one command: small enough that the subject soon notices when we are gone.
const TOUCH_AT_ONCE: u64 = 4096;

/// The subject of an experiment. It ends with this value, and with this process however that ends.
#[derive(Debug)]
pub(crate) struct Subject {
    commands: UnixStream,
    process: Process,
    watch: Watch,
    keeper: Option<JoinHandle<Result<Ending, String>>>,
    /// Our ends of the sockets of children it has not made yet.
    peers: Vec<UnixStream>,
    children: u64,
}

/// A child of the subject: it takes commands as the subject does.
#[derive(Debug)]
pub(crate) struct Peer {
    commands: UnixStream,
    process: Process,
}

impl Peer {
    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Gives it a command; `Ending::Unknown` when it is gone: the subject's `Wait` tells how it ended.
    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, Ending> {
        let _ = self.commands.write_all(&command.encode());
        read_reply(&mut self.commands).ok_or(Ending::Unknown(vmatlas_event::Errno(0)))
    }

    /// Tells it to end; the subject's `Wait` collects it.
    pub(crate) fn end(&mut self) {
        let _ = self.commands.write_all(&Command::Exit.encode());
    }
}

impl Subject {
    /// Starts it, with the files the experiment works with.
    pub(crate) fn start(files: Vec<File>, tap: Option<Tap>) -> Result<Subject, LabError> {
        let failed = |why: io::Error| LabError::Start { why: why.to_string() };
        let (mut commands, theirs) = UnixStream::pair().map_err(failed)?;
        let mut fds = vec![(away(theirs.into()).map_err(failed)?, COMMAND_FD)];
        for (file, fd) in files.into_iter().zip(FILE_FDS) {
            fds.push((away(file.into()).map_err(failed)?, fd));
        }
        let (mut peers, mut held) = (Vec::new(), Vec::new());
        for fd in PEER_FDS {
            let (ours, theirs) = UnixStream::pair().map_err(failed)?;
            held.push((away(theirs.into()).map_err(failed)?, fd));
            peers.push(ours);
        }
        let numbers = held.iter().map(|(ours, theirs)| (ours.as_raw_fd(), *theirs)).collect::<Vec<_>>();
        let watch = Watch::new(tap);
        let shared = watch.clone();
        let keeper = std::thread::Builder::new()
            .name("lab-keeper".to_owned())
            .spawn(move || keep(&fds, numbers, shared))
            .map_err(failed)?;
        let pid = match read_reply(&mut commands) {
            Some(Ok(pid)) => Pid(pid as i32),
            _ => return Err(start_failure(keeper)),
        };
        // It has them now; what is left of them is its alone, so that the end of a child is seen as the end of replies.
        drop(held);
        let process = ProcRoot::system().process(pid)?;
        Ok(Subject { commands, process, watch, keeper: Some(keeper), peers, children: 0 })
    }

    /// Makes a child of it with fork(2).
    pub(crate) fn fork(&mut self) -> Result<Peer, LabError> {
        let child = self.child(|peer| Command::Fork { peer })?;
        child.map_err(|errno| LabError::Start { why: vmatlas_sys::errno_text(errno) })
    }

    /// Makes a child of it that is another program, with posix_spawn(3): the one in a file that is open in the subject, or
    /// with 0 its own. The child is there when it has said so.
    pub(crate) fn spawn(&mut self, file: u64) -> Result<Result<Peer, Errno>, LabError> {
        let mut child = self.child(|peer| Command::Spawn { peer, file })?;
        if let Ok(child) = &mut child {
            read_reply(&mut child.commands);
        }
        Ok(child)
    }

    fn child(&mut self, command: impl FnOnce(u64) -> Command) -> Result<Result<Peer, Errno>, LabError> {
        if self.peers.is_empty() {
            return Err(LabError::Start { why: "too many children".to_owned() });
        }
        let reply = self.command(command(self.children)).map_err(|how| LabError::Ended { how })?;
        // Made or not, the subject has closed its end.
        self.children += 1;
        let commands = self.peers.remove(0);
        let made =
            |pid| ProcRoot::system().process(Pid(pid as i32)).map(|process| Peer { commands, process });
        match reply {
            Ok(pid) => Ok(Ok(made(pid)?)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// What our tracer saw.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Reads everything about it, while it waits for the next command.
    pub(crate) fn state(&self) -> Result<State, LabError> {
        Ok(State::read(&self.process)?)
    }

    pub(crate) fn mmap(&mut self, args: MmapArgs) -> Result<Reply, Ending> {
        self.command(Command::Mmap(args))
    }

    /// Moves the break, or asks for it with 0; the answer is the break after it.
    pub(crate) fn brk(&mut self, addr: Addr) -> Result<Addr, Ending> {
        Ok(Addr(self.command(Command::Brk(addr))?.unwrap_or(0)))
    }

    /// Touches pages of `range`; the answer is how many, or the error that stopped it (nothing mapped there).
    pub(crate) fn touch(
        &mut self,
        range: AddrRange,
        first: u64,
        pages: u64,
        how: Touch,
    ) -> Result<Reply, Ending> {
        let mut done = 0;
        while done < pages {
            let now = (pages - done).min(TOUCH_AT_ONCE);
            match self.command(Command::Touch { range, first: first + done, pages: now, how })? {
                Ok(touched) => done += touched,
                Err(errno) => return Ok(Err(errno)),
            }
        }
        Ok(Ok(done))
    }

    /// Ends it and tells how it ended.
    pub(crate) fn finish(mut self) -> Ending {
        let _ = self.commands.write_all(&Command::Exit.encode());
        self.join()
    }

    /// Gives it a command and waits for the answer, or for its end.
    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, Ending> {
        // A broken pipe is told better by how it ended, below.
        let _ = self.commands.write_all(&command.encode());
        match read_reply(&mut self.commands) {
            Some(reply) => Ok(reply),
            None => Err(self.join()),
        }
    }

    fn join(&mut self) -> Ending {
        let _ = self.commands.shutdown(Shutdown::Both);
        match self.keeper.take().map(JoinHandle::join) {
            Some(Ok(Ok(ending))) => ending,
            _ => Ending::Unknown(vmatlas_event::Errno(0)),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It reads the end of its commands and exits; nothing is left behind.
        self.join();
    }
}

fn read_reply(commands: &mut UnixStream) -> Option<Reply> {
    let mut wire = [0; REPLY_SIZE];
    commands.read_exact(&mut wire).ok()?;
    Some(decode_reply(&wire))
}

fn start_failure(keeper: JoinHandle<Result<Ending, String>>) -> LabError {
    match keeper.join() {
        Ok(Ok(ending)) => LabError::Ended { how: ending },
        Ok(Err(why)) => LabError::Start { why },
        Err(_) => LabError::Start { why: "its tracer failed".to_owned() },
    }
}

/// A copy of the descriptor with a number that the subject's own will not take.
fn away(fd: OwnedFd) -> io::Result<OwnedFd> {
    let mut held = vec![fd];
    loop {
        match held.pop() {
            Some(last) if (COMMAND_FD..=FILE_FDS[3]).contains(&last.as_raw_fd()) => {
                // Holding the unwanted number makes the copy get another.
                let copy = last.try_clone()?;
                held.push(last);
                held.push(copy);
            }
            Some(last) => return Ok(last),
            None => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// The keeper's thread: starts the subject (ptrace(2) ties a tracee to the thread that started it), watches it to its
/// end, and only then lets go of the subject's end of the socket, so that its end is seen as the end of replies.
fn keep(fds: &[(OwnedFd, RawFd)], mut numbers: Vec<(RawFd, RawFd)>, watch: Watch) -> Result<Ending, String> {
    numbers.extend(fds.iter().map(|(ours, theirs)| (ours.as_raw_fd(), *theirs)));
    match traced(&numbers, watch.clone()) {
        Ok(End::Exited(status)) => Ok(Ending::Exited(status)),
        Ok(End::Signaled(signal)) => Ok(Ending::Signaled(signal)),
        // Under strace or gdb, or where ptrace is forbidden: the experiment goes on without what only a tracer sees.
        Err(error @ (TraceError::NotPermitted { .. } | TraceError::TooOld | TraceError::System { .. })) => {
            watch.blinded(error.to_string());
            untraced(&numbers)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn traced(fds: &[(RawFd, RawFd)], mut watch: Watch) -> Result<End, TraceError> {
    let mut launch = Launch::new(&[OsString::from(SELF), OsString::from(CHILD_ARGUMENT)], None)?;
    launch.fds = fds.to_vec();
    let mut kernel = ProcKernel::new(ProcRoot::system());
    Tracer::start(&launch)?.run(&mut kernel, &mut watch)
}

fn untraced(fds: &[(RawFd, RawFd)]) -> Result<Ending, String> {
    let c_string = |text: &str| CString::new(text).map_err(|e| e.to_string());
    let path = c_string(SELF)?;
    let args = [c_string(SELF)?, c_string(CHILD_ARGUMENT)?];
    let program = Program {
        path: &path,
        args: &args,
        env: None,
        filter: None,
        user: None,
        signals: Inherited::now(),
        fds,
    };
    let spawned = vmatlas_sys::spawn(&program).map_err(vmatlas_sys::errno_text)?;
    spawned.go();
    let ending = match vmatlas_sys::wait_for(spawned.pid) {
        Ok(WaitStatus::Signaled(signal)) => Ending::Signaled(signal),
        Ok(WaitStatus::Exited(status)) => Ending::Exited(status),
        Ok(_) => Ending::Exited(0),
        Err(errno) => Ending::Unknown(errno),
    };
    match spawned.failure() {
        Some(failure) => Err(format!("{failure:?}")),
        None => Ok(ending),
    }
}
