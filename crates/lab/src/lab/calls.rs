//! What the subject is told to do: calls, accesses, children. Each adds its line to the step.

use super::{Lab, PRIVATE, status_word};
use crate::command::{Command, Reply};
use crate::error::LabError;
use crate::report::{DidPart, Part};
use crate::subject::Peer;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_sys::workbench::CALLS;
use vmatlas_view::call as words;

impl Lab<'_> {
    /// mmap(2), private and anonymous.
    ///
    /// # Errors
    /// When it is refused, or the subject is gone.
    pub(crate) fn map(&mut self, length: u64, prot: ProtArg) -> Result<AddrRange, LabError> {
        self.map_with(length, prot, PRIVATE, -1)
    }

    /// mmap(2) of any kind, at an address that the kernel chooses.
    ///
    /// # Errors
    /// When it is refused, or the subject is gone.
    pub(crate) fn map_with(
        &mut self,
        length: u64,
        prot: ProtArg,
        flags: MapFlags,
        fd: i32,
    ) -> Result<AddrRange, LabError> {
        let args = MmapArgs { addr: Addr(0), len: Bytes(length), prot, flags, fd, offset: 0 };
        let reply = self.subject.mmap(args).map_err(|how| LabError::Ended { how })?;
        let names = |prefix: &str, text: String| {
            text.split('|').map(|word| format!("{prefix}{word}")).collect::<Vec<_>>().join("|")
        };
        let (prot, flags) = (names("PROT_", words::prot(prot.0)), names("MAP_", words::map_flags(flags.0)));
        self.did(
            format!("mmap(NULL, {length}, {prot}, {flags}, {fd}, 0)"),
            reply.map(|at| Addr(at).to_string()),
        );
        let refused = |errno| LabError::Refused { length: Bytes(length), errno };
        Ok(AddrRange::from_len(Addr(reply.map_err(refused)?), Bytes(length)).unwrap_or(AddrRange::ALL))
    }

    /// A call of the workbench's table; `shown` is how C would write it.
    ///
    /// # Errors
    /// When the subject is gone; a refusal is a reply.
    pub(crate) fn call(&mut self, name: &str, args: [u64; 6], shown: String) -> Result<Reply, LabError> {
        let index = CALLS.iter().position(|call| call.name == name).unwrap_or(usize::MAX) as u64;
        let reply = self.command(Command::Call { index, args })?;
        self.did(shown, reply.map(result_word));
        Ok(reply)
    }

    /// brk(2), the system call: moves the break, or asks for it with 0; the answer is the break after it.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn brk(&mut self, to: Addr) -> Result<Addr, LabError> {
        let now = self.subject.brk(to).map_err(|how| LabError::Ended { how })?;
        let to = if to.0 == 0 { "0".to_owned() } else { to.to_string() };
        self.did(format!("brk({to})"), Ok(now.to_string()));
        Ok(now)
    }

    /// munmap(2).
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn unmap(&mut self, range: AddrRange) -> Result<Reply, LabError> {
        let (at, len) = (range.start(), range.len().0);
        self.call("munmap", [at.0, len, 0, 0, 0, 0], format!("munmap({at}, {len})"))
    }

    /// mprotect(2).
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn protect(&mut self, range: AddrRange, prot: ProtArg) -> Result<Reply, LabError> {
        let (at, len) = (range.start(), range.len().0);
        let names = words::prot(prot.0).split('|').map(|w| format!("PROT_{w}")).collect::<Vec<_>>().join("|");
        self.call("mprotect", [at.0, len, prot.0, 0, 0, 0], format!("mprotect({at}, {len}, {names})"))
    }

    /// Touches pages of a range, one byte each.
    ///
    /// # Errors
    /// When the subject is gone, for example because an access is not allowed.
    pub(crate) fn touch(
        &mut self,
        range: AddrRange,
        first: u64,
        pages: u64,
        how: Touch,
    ) -> Result<Reply, LabError> {
        let reply = self.touch_unshown(range, first, pages, how)?;
        let page = self.page();
        let at = Addr(range.start().0 + first * page);
        let what = match (how, pages) {
            (Touch::Write, 1) => format!("*(char *){at} = 1"),
            (Touch::Read, 1) => format!("byte = *(char *){at}"),
            (Touch::Write, n) => format!("for (i = 0; i < {n}; i++) ((char *){at})[i * {page}] = 1"),
            (Touch::Read, n) => format!("for (i = 0; i < {n}; i++) byte = ((char *){at})[i * {page}]"),
        };
        self.did(what, reply.map(|_| String::new()));
        Ok(reply)
    }

    /// The same without a line for it, for touching very often.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn touch_unshown(
        &mut self,
        range: AddrRange,
        first: u64,
        pages: u64,
        how: Touch,
    ) -> Result<Reply, LabError> {
        self.subject.touch(range, first, pages, how).map_err(|how| LabError::Ended { how })
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// When that ends the subject: `LabError::Ended` says how.
    pub(crate) fn peek(&mut self, addr: Addr) -> Result<u8, LabError> {
        let value = self.command(Command::Peek(addr))?.unwrap_or(0) as u8;
        self.did(format!("byte = *(char *){addr}"), Ok(value.to_string()));
        Ok(value)
    }

    /// Writes a byte.
    ///
    /// # Errors
    /// When that ends the subject: `LabError::Ended` says how.
    pub(crate) fn poke(&mut self, addr: Addr, value: u8) -> Result<Reply, LabError> {
        let reply = self.command(Command::Poke(addr, value))?;
        self.did(format!("*(char *){addr} = {value}"), reply.map(|_| String::new()));
        Ok(reply)
    }

    /// The experiment's own routine inside the subject.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn own(&mut self, args: [u64; 5], shown: &str) -> Result<Reply, LabError> {
        let reply = self.own_unshown(args)?;
        self.did(shown, reply.map(result_word));
        Ok(reply)
    }

    /// The same without a line for it.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn own_unshown(&mut self, args: [u64; 5]) -> Result<Reply, LabError> {
        self.command(self.own_command(args))
    }

    /// The command for the experiment's own routine, for a child too.
    pub(crate) fn own_command(&self, args: [u64; 5]) -> Command {
        let place = crate::experiments().position(|info| info.name == self.report.info.name);
        Command::Own { experiment: place.map_or(u64::MAX, |index| index as u64), args }
    }

    /// fork(2).
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) fn fork(&mut self) -> Result<Peer, LabError> {
        let peer = self.subject.fork()?;
        self.did("fork()", Ok(peer.pid().to_string()));
        Ok(peer)
    }

    /// posix_spawn(3) of the program in a file that is open in the subject, or with 0 of the subject's own.
    ///
    /// # Errors
    /// When the subject is gone; a refusal is a reply.
    pub(crate) fn spawn(&mut self, file: u64, shown: &str) -> Result<Result<Peer, Errno>, LabError> {
        let peer = self.subject.spawn(file)?;
        self.did(shown, peer.as_ref().map(|peer| peer.pid().to_string()).map_err(|errno| *errno));
        Ok(peer)
    }

    /// Lets a child read or write a byte; the answer is the byte, or `None` when that ended the child.
    pub(crate) fn in_child(&mut self, peer: &mut Peer, addr: Addr, write: Option<u8>) -> Option<u64> {
        let (command, what) = match write {
            Some(value) => (Command::Poke(addr, value), format!("*(char *){addr} = {value}")),
            None => (Command::Peek(addr), format!("byte = *(char *){addr}")),
        };
        let reply = peer.command(command).ok()?.ok()?;
        let result = if write.is_some() { String::new() } else { reply.to_string() };
        self.parts.push(Part::Did(DidPart { child: Some(peer.pid()), what, result: Ok(result) }));
        Some(reply)
    }

    /// Ends a child and waits for it: its status, or 256 and the signal that ended it.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn end_child(&mut self, peer: &mut Peer) -> Result<Reply, LabError> {
        peer.end();
        let pid = peer.pid();
        let reply = self.command(Command::Wait(pid.0 as u64))?;
        let how = status_word(reply);
        self.did(format!("waitpid({pid}, &status, 0)"), reply.map(|_| format!("{pid}   → {how}")));
        Ok(reply)
    }

    /// A command that is shown by nobody.
    ///
    /// # Errors
    /// When the subject is gone.
    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, LabError> {
        self.subject.command(command).map_err(|how| LabError::Ended { how })
    }
}

/// The result of a call: an address, or a number.
fn result_word(value: u64) -> String {
    if value >= 1 << 20 { format!("{value:#x}") } else { value.to_string() }
}
