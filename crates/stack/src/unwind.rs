//! From the registers of a thread that stands still to its callers, one after the other.
//!
//! gimli reads the tables; the walk itself is ours, because three things must be told that the unwinder framehop keeps to
//! itself: that no rule was found (it goes on by frame pointers then, and its frames look like any others), that a frame is
//! a signal's, so that the next address is no return address, and why it ended. It also keeps rules by process, in 509
//! places of a cache; ours are kept by file, for all processes that have it.

use crate::arch::{Arch, NATIVE};
use crate::intern::Places;
use crate::memory::StackMemory;
use crate::modules::{Here, Modules};
use crate::rule::{Frame, Rule, Told};
use vmatlas_event::{Addr, Place, Prot, StackEnd, StackFrom, Stopped, VmaRow};
use vmatlas_sys::process_vm_read;

/// So many frames are taken at most.
pub(crate) const DEPTH: usize = 256;

/// Walks stacks, and keeps what it learns of places.
#[derive(Debug, Default)]
pub(crate) struct Unwinder {
    pub(crate) modules: Modules,
    pub(crate) places: Places,
    pub(crate) memory: StackMemory,
}

/// What is to be done at a place, learned at the first visit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    rule: Rule,
    /// Whether what stands before it is a call: then it can be a place to return to.
    follows_call: Option<bool>,
}

/// The row of an address where code can be.
pub(crate) fn row_of(here: Here<'_>, ip: u64) -> Option<&VmaRow> {
    here.rows.row_at(Addr(ip)).filter(|row| row.prot.has(Prot::EXEC))
}

impl Unwinder {
    /// The numbers of the places of a stack, innermost first, and where it ends; `None` where no more places can be kept.
    ///
    /// `visit` is told each address of the process too.
    pub(crate) fn walk(
        &mut self,
        here: Here<'_>,
        at: &Stopped<'_>,
        frames: &mut Vec<u32>,
        visit: &mut dyn FnMut(u64),
    ) -> Option<StackEnd> {
        self.begin(at);
        let mut frame = Frame::innermost(at.registers);
        let mut is_return = false;
        loop {
            visit(frame.ip);
            let row = row_of(here, frame.ip);
            let number = self.place(here, row, frame.ip, is_return)?;
            frames.push(number);
            if frames.len() == DEPTH {
                return Some(StackEnd::Depth);
            }
            match self.caller(here, row, number, &frame) {
                Ok((caller, returns)) => (frame, is_return) = (caller, returns),
                Err(end) => return Some(end),
            }
        }
    }

    /// Says where the stack is to be read.
    pub(crate) fn begin(&mut self, at: &Stopped<'_>) {
        let sp = Frame::innermost(at.registers).sp().unwrap_or(0);
        match at.stack {
            StackFrom::Thread => self.memory.begin(),
            StackFrom::Copy(bytes) | StackFrom::Chain { top: bytes, .. } => self.memory.begin_copy(sp, bytes),
        }
    }

    /// The number of a place.
    pub(crate) fn place(
        &mut self,
        here: Here<'_>,
        row: Option<&VmaRow>,
        ip: u64,
        is_return: bool,
    ) -> Option<u32> {
        let of_module = row.and_then(|row| self.modules.place(here, row, ip));
        let place = match of_module {
            Some((module, svma)) => Place::Module(vmatlas_event::ModuleId(module), Addr(svma)),
            None => Place::Unknown(Addr(ip)),
        };
        self.places.number(vmatlas_event::Frame { place, is_return })
    }

    /// The caller of a frame, and whether its place is one to return to.
    pub(crate) fn caller(
        &mut self,
        here: Here<'_>,
        row: Option<&VmaRow>,
        number: u32,
        frame: &Frame,
    ) -> Result<(Frame, bool), StackEnd> {
        // Nothing is executed there: an address that no rule can have meant.
        let row = row.ok_or(StackEnd::NoRule)?;
        self.know(here, row, number, frame.ip);
        let Unwinder { places, memory, .. } = self;
        let sp = frame.sp().ok_or(StackEnd::NoRule)?;
        let mut read = |addr| memory.word(addr, sp, here.pid, here.rows);
        match &places.known(number).ok_or(StackEnd::NoRule)?.rule {
            Rule::Told(told) => told.caller(frame, &mut read).map(|caller| (caller, !told.is_signal)),
            Rule::Outermost => Err(StackEnd::Start),
            Rule::Missing => self.by_frame_pointer(here, frame).map(|caller| (caller, true)),
        }
    }

    fn know(&mut self, here: Here<'_>, row: &VmaRow, number: u32, ip: u64) {
        if self.places.known(number).is_none() {
            let known = self.learn(here, row, number, ip);
            self.places.learned(number, known);
        }
    }

    /// Whether the tables say that a place has no caller.
    pub(crate) fn is_outermost(&mut self, here: Here<'_>, number: u32, ip: u64) -> bool {
        let Some(row) = row_of(here, ip) else { return false };
        self.know(here, row, number, ip);
        self.places.known(number).is_some_and(|known| known.rule == Rule::Outermost)
    }

    /// What is to be done at a place; `ip` is where it is in the process.
    fn learn(&mut self, here: Here<'_>, row: &VmaRow, number: u32, ip: u64) -> Known {
        let place = self.places.frame(number);
        let is_return = place.is_some_and(|frame| frame.is_return);
        let rule = match place.map(|frame| frame.place) {
            Some(Place::Module(module, svma)) => {
                // What was executed there is the call before it; its function may end with that call.
                let at = svma.0.wrapping_sub(u64::from(is_return));
                match self.modules.rule(here, module.0, row, at) {
                    Rule::Missing if self.modules.is_start(module.0, at) => Rule::Outermost,
                    rule => rule,
                }
            }
            _ => Rule::Missing,
        };
        let is_told = matches!(&rule, Rule::Told(told) if told.is_signal);
        // A signal handler returns to its trampoline without having been called: what stands before that is another
        // function's (unless tables begin a byte earlier, as glibc's do).
        let rule = match is_return && !is_told && self.is_trampoline(here, row, ip) {
            true => Told::signal_frame().unwrap_or(rule),
            false => rule,
        };
        Known { rule, follows_call: None }
    }

    /// Whether a signal handler returns there.
    fn is_trampoline(&mut self, here: Here<'_>, row: &VmaRow, ip: u64) -> bool {
        let mut code = [0; Arch::TRAMPOLINE_BYTES];
        self.code_at(here, row, ip, &mut code) && NATIVE.is_trampoline(&code)
    }

    /// Code of the process, from its file where it has one.
    fn code_at(&mut self, here: Here<'_>, row: &VmaRow, ip: u64, buf: &mut [u8]) -> bool {
        match self.modules.place(here, row, ip) {
            Some((module, svma)) => self.modules.code(here, module, row, svma, buf),
            // Made at run time. It is being executed, so its pages are there; memory of files might have to be waited for.
            None if !row.has_file() => process_vm_read(here.pid, Addr(ip), buf) == Ok(buf.len()),
            None => false,
        }
    }

    /// The caller by the chain of frame pointers, for code without tables: made at run time (JIT), Go, assembly.
    ///
    /// A frame pointer is believed when what it leads to can be true: it lies further out, and the address beside the saved
    /// one follows a call.
    fn by_frame_pointer(&mut self, here: Here<'_>, frame: &Frame) -> Result<Frame, StackEnd> {
        let (fp, sp) = frame.register(NATIVE.fp).zip(frame.sp()).ok_or(StackEnd::NoRule)?;
        if fp == 0 {
            // The psABI has the outermost frame marked so.
            return Err(StackEnd::Start);
        }
        if fp < sp || fp & 7 != 0 {
            return Err(StackEnd::NoRule);
        }
        let saved = self.memory.word(fp, sp, here.pid, here.rows)?;
        let ip = self.memory.word(fp.wrapping_add(8), sp, here.pid, here.rows)? & NATIVE.address;
        if ip == 0 {
            return Err(StackEnd::Start);
        }
        if saved != 0 && saved <= fp || !self.follows_call(here, ip) {
            return Err(StackEnd::NoRule);
        }
        let mut caller = Frame::at(ip);
        caller.set(NATIVE.fp, Some(saved));
        caller.set(NATIVE.sp, Some(fp.wrapping_add(16)));
        Ok(caller)
    }

    /// Whether an address can be one to return to.
    pub(crate) fn follows_call(&mut self, here: Here<'_>, ip: u64) -> bool {
        let Some(row) = row_of(here, ip) else { return false };
        let Some(number) = self.place(here, Some(row), ip, true) else { return false };
        if let Some(follows) = self.places.known(number).and_then(|known| known.follows_call) {
            return follows;
        }
        let mut code = [0; Arch::CALL_BYTES];
        let start = ip.wrapping_sub(code.len() as u64);
        let follows = row.range.contains(Addr(start))
            && self.code_at(here, row, start, &mut code)
            && NATIVE.ends_in_call(&code);
        let mut known = match self.places.known(number) {
            Some(known) => known.clone(),
            None => self.learn(here, row, number, ip),
        };
        known.follows_call = Some(follows);
        self.places.learned(number, known);
        follows
    }
}
