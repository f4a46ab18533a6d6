//! The memory of another process, read only, inside known VMAs only, and never longer than allowed.
//!
//! The reads happen in a thread of their own, because a page armed with userfaultfd, or one of a FUSE file, can keep
//! process_vm_readv(2) waiting for ever. Each costs two switches of thread, so read blocks rather than words.

use crate::read::deadline::LIMIT;
use crate::read::error::{ErrorKind, ProcError, libc_numbers};
use crate::read::process::Process;
use crate::read::walk::has_pages;
use crate::read::whole::is_alive;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use vmatlas_event::{Addr, AddrRange, Errno, Prot, VmaRow};
use vmatlas_sys::process_vm_read;

/// The most that one call asks for; longer reads are several calls.
const BLOCK: usize = 1 << 20;
/// So many reads may be stuck at a time; after that every read fails at once.
const MOST_STUCK: u32 = 3;

/// A bounded reader of a process's memory.
#[derive(Debug)]
pub struct Memory {
    process: Process,
    /// What may be read: neighbours joined, in address order.
    known: Vec<AddrRange>,
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    worker: Option<Worker>,
    stuck: u32,
}

#[derive(Debug)]
struct Worker {
    asks: Sender<Ask>,
    answers: Receiver<Result<Vec<u8>, Fault>>,
}

struct Ask {
    addr: Addr,
    len: usize,
    /// Space to use again.
    buffer: Vec<u8>,
}

enum Fault {
    /// The address space is no longer the one that was opened.
    Replaced,
    Errno(Errno),
}

impl Memory {
    /// A reader for the memory of these rows, which must be in address order; each read takes at most [`LIMIT`].
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a copy of /proc, where there is no memory, and for one with the numbers of another
    /// PID namespace.
    pub fn new(process: &Process, rows: &[VmaRow]) -> Result<Memory, ProcError> {
        Memory::with_limit(process, rows, LIMIT)
    }

    /// As [`Memory::new`], with another limit for each read.
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn with_limit(process: &Process, rows: &[VmaRow], limit: Duration) -> Result<Memory, ProcError> {
        if !(process.root().is_live() && process.root().has_our_numbers()) {
            return Err(ProcError::new(ErrorKind::Unsupported, process.pid()));
        }
        let mut known: Vec<AddrRange> = Vec::new();
        for row in rows.iter().filter(|row| has_pages(row) && row.prot.has(Prot::READ)) {
            match known.last_mut().filter(|last| last.end() == row.range.start()) {
                Some(last) => *last = AddrRange::new(last.start(), row.range.end()).unwrap_or(*last),
                None => known.push(row.range),
            }
        }
        Ok(Memory { process: process.clone(), known, limit, state: Mutex::default() })
    }

    /// Reads into `buf` from `addr` on and returns how many bytes there were: fewer where the readable VMAs end or the
    /// memory is gone by now, 0 where nothing known is at `addr`.
    ///
    /// Pages that are not in memory are brought in by this, as if the process itself had read them.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when the memory did not answer in time (reading elsewhere may go on),
    /// [`ErrorKind::Gone`] when the process ended or runs another program by now, else by kind.
    pub fn read(&self, addr: Addr, buf: &mut [u8]) -> Result<usize, ProcError> {
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = addr.0.checked_add(done as u64).map(Addr) else { break };
            let want = self.readable(at).min(buf.len() - done).min(BLOCK);
            if want == 0 {
                break;
            }
            let got = self.ask(at, want, &mut buf[done..])?;
            done += got;
            if got < want {
                break;
            }
        }
        Ok(done)
    }

    /// How many bytes from `addr` on are in known VMAs.
    fn readable(&self, addr: Addr) -> usize {
        let index = self.known.partition_point(|range| range.end() <= addr);
        let there = self.known.get(index).filter(|range| range.start() <= addr);
        there.map_or(0, |range| usize::try_from(range.end().0 - addr.0).unwrap_or(usize::MAX))
    }

    /// One read by the worker; copies what came into `into`.
    fn ask(&self, addr: Addr, len: usize, into: &mut [u8]) -> Result<usize, ProcError> {
        let pid = self.process.pid();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stuck >= MOST_STUCK {
            return Err(ProcError::new(ErrorKind::TimedOut, pid));
        }
        let worker = match state.worker.take() {
            Some(worker) => worker,
            None => start(&self.process)?,
        };
        let failed = || ProcError::new(ErrorKind::Io, pid);
        worker.asks.send(Ask { addr, len, buffer: Vec::new() }).map_err(|_| failed())?;
        let answer = match worker.answers.recv_timeout(self.limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => return Err(failed()),
            Err(RecvTimeoutError::Timeout) => {
                // The worker is left where it waits; the next read gets another.
                state.stuck += 1;
                return Err(ProcError::new(ErrorKind::TimedOut, pid));
            }
        };
        state.worker = Some(worker);
        match answer {
            Ok(bytes) => {
                let n = bytes.len().min(into.len());
                into[..n].copy_from_slice(&bytes[..n]);
                Ok(n)
            }
            Err(Fault::Replaced) => Err(ProcError::new(ErrorKind::Gone, pid)),
            Err(Fault::Errno(errno)) if errno.0 == libc_numbers::EFAULT => Ok(0),
            Err(Fault::Errno(errno)) => Err(ProcError::errno(pid, Path::new("process_vm_readv"), errno)),
        }
    }
}

/// Starts the thread that reads. The pagemap it holds open belongs to this address space alone, so that it tells when a
/// PID means another process or another program by now.
fn start(process: &Process) -> Result<Worker, ProcError> {
    let (asks, to_do) = mpsc::channel::<Ask>();
    let (done, answers) = mpsc::channel();
    let process = process.clone();
    let pagemap = process.open_file("pagemap")?;
    let pid = process.pid();
    let work = move || {
        while let Ok(ask) = to_do.recv() {
            if done.send(read_block(&process, &pagemap, ask)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("memory".to_owned())
        .spawn(work)
        .map_err(|e| ProcError::io(pid, Path::new("process_vm_readv"), e))?;
    Ok(Worker { asks, answers })
}

fn read_block(process: &Process, pagemap: &File, ask: Ask) -> Result<Vec<u8>, Fault> {
    let mut buffer = ask.buffer;
    buffer.resize(ask.len, 0);
    let n = process_vm_read(process.memory_id(), ask.addr, &mut buffer).map_err(Fault::Errno);
    // Asked afterwards: what was read before the end of this address space was read from it.
    if !is_alive(pagemap) {
        return Err(Fault::Replaced);
    }
    buffer.truncate(n?);
    Ok(buffer)
}
