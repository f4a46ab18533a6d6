//! The subject of every experiment: vmatlas itself, executed again into a routine that only does what it is told.
//!
//! Commands and replies have a fixed size and live on the stack. Between a command and its reply the routine allocates
//! nothing, so whatever happens to the map there was caused by the command.

use crate::cleanup::{JANITOR_ARGUMENT, be_the_janitor};
use crate::command::{COMMAND_SIZE, Command, Reply, encode_reply};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, Pid, ProtArg};
use vmatlas_sys::exit_now;
use vmatlas_sys::mem::{self, MmapArgs, Touch};
use vmatlas_sys::workbench::{CALLS, Workbench};

/// The hidden first argument that makes vmatlas the subject.
pub(crate) const CHILD_ARGUMENT: &str = "__lab-child";
/// The descriptor of the socket that commands come from and replies go to.
pub(crate) const COMMAND_FD: i32 = 20;
/// The descriptors of the sockets that children of the subject take their commands from.
pub(crate) const PEER_FDS: [i32; 2] = [22, 23];
/// The descriptors of the files an experiment works with, where it has some.
pub(crate) const FILE_FDS: [i32; 4] = [24, 25, 26, 27];
/// The first of them.
pub(crate) const FILE_FD: i32 = FILE_FDS[0];
/// The subject's name (comm), as ps shows it.
pub(crate) const CHILD_NAME: &str = "vmatlas-lab";

/// The answer to what the routine does not know: ENOSYS.
const NO_SUCH: Errno = Errno(38);

/// Becomes the subject, or the janitor, when vmatlas was executed as one, and then never returns; returns at once otherwise.
///
/// Call it before anything else: what is allocated before it belongs to the subject.
pub fn child_if_asked() {
    let first = std::env::args_os().nth(1);
    if first.as_deref() == Some(OsStr::new(CHILD_ARGUMENT)) {
        exit_now(be_the_subject());
    }
    if first.as_deref() == Some(OsStr::new(JANITOR_ARGUMENT)) {
        be_the_janitor(std::io::stdin().lock());
        exit_now(0);
    }
}

fn be_the_subject() -> i32 {
    mem::no_core_file();
    // The name is a courtesy to whoever looks with ps; the score makes the kernel end this process first should an
    // experiment use up the memory. Both work without.
    let _ = std::fs::write("/proc/self/comm", CHILD_NAME);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // A child of the subject that executed itself again says with a third argument where its commands come from.
    let given = std::env::args_os().nth(2).and_then(|word| word.to_str()?.parse().ok());
    let fd = given.filter(|fd| PEER_FDS.contains(fd)).unwrap_or(COMMAND_FD);
    let Ok(bench) = Workbench::new() else { return 3 };
    let subject = Subject { bench };
    subject.rehearse();
    // Hello: who I am.
    if reply(fd, Ok(u64::from(std::process::id()))).is_err() {
        let line = b"vmatlas: this is for 'vmatlas lab' alone / vmatlas lab \xe5\xb0\x82\xe7\x94\xa8\xe3\x81\xa7\xe3\x81\x99\n";
        let _ = mem::write_raw(2, line);
        return 2;
    }
    subject.serve(fd)
}

/// The routine, with what it may change.
struct Subject {
    bench: Workbench,
}

impl Subject {
    /// Takes every path once, so that the first command does not pay for code that was never touched before. Nothing
    /// here changes the map: a length of 0 is refused, a break of 0 only asks, and the stack is there already.
    fn rehearse(&self) {
        let perform = |command: Command| {
            let _ = mem::read_raw(-1, &mut [0; COMMAND_SIZE]);
            let _ = Command::decode(&command.encode()).map(|command| self.perform(command, COMMAND_FD));
        };
        perform(Command::Mmap(MmapArgs {
            addr: Addr(0),
            len: Bytes(0),
            prot: ProtArg(0),
            flags: MapFlags(0x22),
            fd: -1,
            offset: 0,
        }));
        perform(Command::Brk(Addr(0)));
        let here = 0u8;
        let page = vmatlas_sys::page_size();
        let at = page.floor(Addr((&raw const here).addr() as u64));
        if let Some(range) = AddrRange::from_len(at, Bytes(page.bytes())) {
            perform(Command::Touch { range, first: 0, pages: 1, how: Touch::Read });
        }
        perform(Command::Peek(at));
        perform(Command::Poke(at, 0));
        perform(Command::Call { index: 0, args: [0; 6] });
        perform(Command::Own { experiment: u64::MAX, args: [0; 5] });
    }

    fn serve(&self, fd: i32) -> i32 {
        loop {
            let mut wire = [0; COMMAND_SIZE];
            let mut filled = 0;
            while filled < wire.len() {
                match mem::read_raw(fd, &mut wire[filled..]) {
                    // The experimenter is gone: nobody needs us.
                    Ok(0) | Err(_) => return 0,
                    Ok(n) => filled += n,
                }
            }
            let command = match Command::decode(&wire) {
                None => return 3,
                Some(Command::Exit) => return 0,
                Some(command) => command,
            };
            if reply(fd, self.perform(command, fd)).is_err() {
                return 0;
            }
        }
    }

    fn perform(&self, command: Command, fd: i32) -> Reply {
        let bench = &self.bench;
        match command {
            Command::Mmap(args) => mem::map(args).map(|addr| addr.0),
            Command::Brk(addr) => Ok(mem::brk(addr).0),
            Command::Touch { range, first, pages, how } => mem::touch(range, first, pages, how),
            Command::Call { index, args } => {
                let call = CALLS.get(index as usize).copied().ok_or(NO_SUCH)?;
                bench.call(call, args)
            }
            Command::Peek(addr) => Ok(u64::from(bench.peek(addr))),
            Command::Poke(addr, value) => bench.poke(addr, value).map(|()| 0),
            Command::Fork { peer } => self.fork(peer as usize),
            Command::Spawn { peer, file } => self.spawn(peer as usize, file),
            Command::Wait(pid) => bench.wait(Pid(pid as i32)),
            Command::Exec => {
                let word = PEER_FDS.iter().zip([c"22", c"23"]).find(|(peer, _)| **peer == fd);
                Err(bench.exec_self([c"vmatlas", c"__lab-child", word.map_or(c"20", |(_, word)| word)]))
            }
            Command::Own { experiment, args } => {
                let info = crate::experiments().nth(experiment as usize).ok_or(NO_SUCH)?;
                info.own.ok_or(NO_SUCH)?(bench, args)
            }
            Command::Exit => Ok(0),
        }
    }

    /// The child has its own socket, and nothing else of ours: when we are gone, ours is seen to end.
    fn fork(&self, peer: usize) -> Reply {
        let fd = PEER_FDS.get(peer).copied().ok_or(NO_SUCH)?;
        let body = || {
            for other in PEER_FDS.iter().chain([&COMMAND_FD]).filter(|other| **other != fd) {
                self.bench.close(*other);
            }
            self.serve(fd)
        };
        let pid = self.bench.fork(body)?;
        self.bench.close(fd);
        Ok(pid.0 as u64)
    }

    /// Another program, which gets its own socket and none of ours. The standard library calls posix_spawn(3) for it, and
    /// allocates.
    fn spawn(&self, peer: usize, file: u64) -> Reply {
        const EIO: Errno = Errno(5);
        let fd = PEER_FDS.get(peer).copied().ok_or(NO_SUCH)?;
        let ours = || PEER_FDS.into_iter().chain([COMMAND_FD]).filter(|other| *other != fd);
        let path = if file == 0 { "/proc/self/exe".to_owned() } else { format!("/proc/self/fd/{file}") };
        ours().for_each(|other| self.bench.close_on_exec(other, true));
        let word = fd.to_string();
        let child = std::process::Command::new(path).arg0("vmatlas").args([CHILD_ARGUMENT, &word]).spawn();
        ours().for_each(|other| self.bench.close_on_exec(other, false));
        self.bench.close(fd);
        child.map(|child| child.id().into()).map_err(|error| error.raw_os_error().map_or(EIO, Errno))
    }
}

fn reply(fd: i32, reply: Reply) -> Result<(), Errno> {
    mem::write_raw(fd, &encode_reply(reply))
}
