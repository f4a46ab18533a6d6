//! From the registers of a thread that stands still to its callers, one after the other.
//!
//! gimli reads the tables; the walk itself is ours, because three things must be told that the unwinder framehop keeps to
//! itself: that no rule was found (it goes on by frame pointers then, and its frames look like any others), that a frame is
//! a signal's, so that the next address is no return address, and why it ended. It also keeps rules by process, in 509
//! places of a cache; ours are kept by file, for all processes that have it.

use crate::arch::{Arch, NATIVE};
use crate::epilogue::{self, Epilogue};
use crate::intern::{Places, Walked};
use crate::memory::StackMemory;
use crate::modules::{Here, Modules};
use crate::rule::{Frame, Rule, Told};
use vmatlas_event::{Addr, FoundBy, Place, Prot, Sharing, StackEnd, StackFrom, Stopped, VmaRow};
use vmatlas_sys::process_vm_read;

/// So many frames are taken at most.
pub(crate) const DEPTH: usize = 256;

/// The beginning of a made function is looked for in so many bytes.
const BACK: u64 = 4096;

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

/// Whether an address is one of code.
fn is_code(here: Here<'_>, addr: u64) -> bool {
    here.rows.row_at(Addr(addr)).is_some_and(|row| row.prot.has(Prot::EXEC))
}

/// Whether it is code that was made at run time.
fn is_made(here: Here<'_>, addr: u64) -> bool {
    let row = here.rows.row_at(Addr(addr));
    row.is_some_and(|row| row.prot.has(Prot::EXEC) && !row.has_file() && row.special().is_none())
}

/// Whether the nearest beginning of a function in so much made code before a place sets the frame pointer.
fn sets_frame_pointer(here: Here<'_>, ip: u64, back: u64) -> Option<bool> {
    let row = here.rows.row_at(Addr(ip))?;
    let start = ip.saturating_sub(back).max(row.range.start().0);
    let mut code = vec![0; usize::try_from(ip - start).unwrap_or(0)];
    let len = code.len();
    let is_read = process_vm_read(here.pid, Addr(start), &mut code) == Ok(len);
    NATIVE.sets_frame_pointer(&code).filter(|_| is_read)
}

/// Memory of the thread's process.
struct InTarget<'a> {
    memory: &'a mut StackMemory,
    here: Here<'a>,
}

impl epilogue::Memory for InTarget<'_> {
    fn stack(&mut self, addr: u64, sp: u64) -> Result<u64, StackEnd> {
        self.memory.word(addr, sp, self.here.pid, self.here.rows)
    }

    /// Private memory that can be written to: the code which reads it next has written there.
    fn other(&mut self, addr: u64) -> Result<u64, StackEnd> {
        // With a copy of the stack its thread has gone on, and what is elsewhere is of another time.
        let row = self.here.rows.row_at(Addr(addr)).filter(|_| !self.memory.is_copy());
        let row = row.ok_or(StackEnd::Unreadable)?;
        if row.sharing != Sharing::Private || !row.prot.has(Prot::READ) || !row.prot.has(Prot::WRITE) {
            return Err(StackEnd::Unreadable);
        }
        let mut word = [0; 8];
        let read = process_vm_read(self.here.pid, Addr(addr), &mut word);
        if read == Ok(word.len()) { Ok(u64::from_le_bytes(word)) } else { Err(StackEnd::Unreadable) }
    }
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
        frames: &mut Vec<Walked>,
        visit: &mut dyn FnMut(u64),
    ) -> Option<StackEnd> {
        self.begin(at);
        let mut frame = Frame::innermost(at.registers);
        let (mut is_return, mut found) = (false, None);
        loop {
            visit(frame.ip);
            let row = row_of(here, frame.ip);
            let number = self.place(here, row, frame.ip, is_return)?;
            frames.push((number, found));
            if frames.len() == DEPTH {
                return Some(StackEnd::Depth);
            }
            match self.caller(here, row, number, &frame) {
                Ok((caller, returns, by)) => (frame, is_return, found) = (caller, returns, Some(by)),
                Err(end) => return Some(end),
            }
        }
    }

    /// The innermost place alone, of 32-bit code.
    pub(crate) fn one(
        &mut self,
        here: Here<'_>,
        at: &Stopped<'_>,
        frames: &mut Vec<Walked>,
        visit: &mut dyn FnMut(u64),
    ) -> Option<StackEnd> {
        let ip = at.registers.ip.0;
        visit(ip);
        frames.push((self.place(here, row_of(here, ip), ip, false)?, None));
        Some(StackEnd::Code32)
    }

    /// Says where the stack is to be read.
    pub(crate) fn begin(&mut self, at: &Stopped<'_>) {
        let sp = Frame::innermost(at.registers).sp().unwrap_or(0);
        match at.stack {
            StackFrom::Thread => self.memory.begin(),
            StackFrom::Copy { bytes, holes } => self.memory.begin_copy(sp, bytes, holes),
            StackFrom::Chain { top, .. } => self.memory.begin_copy(sp, top, 0),
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

    /// The caller of a frame, whether its place is one to return to, and how it was found.
    pub(crate) fn caller(
        &mut self,
        here: Here<'_>,
        row: Option<&VmaRow>,
        number: u32,
        frame: &Frame,
    ) -> Result<(Frame, bool, FoundBy), StackEnd> {
        // Nothing is executed there: an address that no rule can have meant.
        let row = row.ok_or(StackEnd::NoRule)?;
        self.know(here, row, number, frame.ip);
        let Unwinder { places, memory, .. } = self;
        let sp = frame.sp().ok_or(StackEnd::NoRule)?;
        match &places.known(number).ok_or(StackEnd::NoRule)?.rule {
            Rule::Told(told) => {
                let mut read = |addr| memory.word(addr, sp, here.pid, here.rows);
                let caller = told.caller(frame, &mut read)?;
                if !is_code(here, caller.ip) && !told.is_signal {
                    return Err(self.end_of_start(here, caller.ip, caller.sp()));
                }
                Ok((caller, !told.is_signal, FoundBy::Tables))
            }
            Rule::Code(code) => {
                let caller = code.caller(frame, &mut InTarget { memory, here })?;
                // What the code reads may be damaged.
                if self.follows_call(here, caller.ip) {
                    Ok((caller, true, FoundBy::Code))
                } else {
                    Err(StackEnd::NoRule)
                }
            }
            Rule::Outermost => Err(StackEnd::Start),
            Rule::Missing => {
                let caller = self.by_frame_pointer(here, frame)?;
                Ok((caller, true, FoundBy::FramePointer))
            }
        }
    }

    /// The end of a stack where the tables tell a caller that is no code.
    ///
    /// A program begins with the number of its arguments on top of the stack, then come they (psABI 3.4.1). Go's first function
    /// has a copy of that number and where the arguments are, and its tables take the number for an address.
    fn end_of_start(&mut self, here: Here<'_>, number: u64, sp: Option<u64>) -> StackEnd {
        const ARGUMENTS: u64 = 4096;
        let Some(sp) = sp.filter(|_| (1..=ARGUMENTS).contains(&number)) else { return StackEnd::NoRule };
        let mut word = |addr: u64| self.memory.word(addr, sp, here.pid, here.rows).ok();
        let original = word(sp).and_then(|arguments| word(arguments.checked_sub(8)?));
        if original == Some(number) { StackEnd::Start } else { StackEnd::NoRule }
    }

    /// What was learned of a place at an earlier visit. Code of no module is another program's, or another one by now: its
    /// memory is used again.
    fn kept(&self, number: u32) -> Option<&Known> {
        let is_of_module = matches!(self.places.frame(number)?.place, Place::Module(..));
        self.places.known(number).filter(|_| is_of_module)
    }

    fn know(&mut self, here: Here<'_>, row: &VmaRow, number: u32, ip: u64) {
        if self.kept(number).is_none() {
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
        let rule = match place.map(|frame| frame.place) {
            Some(Place::Module(module, _)) if self.modules.has_debug_frame(module.0) => {
                self.by_code(here, row, ip, rule)
            }
            _ if rule == Rule::Missing => self.by_code(here, row, ip, rule),
            _ => rule,
        };
        Known { rule, follows_call: None }
    }

    /// The rule that the code itself is, where no table has one, or where tables do not know that it changes stacks.
    fn by_code(&mut self, here: Here<'_>, row: &VmaRow, ip: u64, rule: Rule) -> Rule {
        let room = row.range.end().0.saturating_sub(ip);
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(epilogue::BYTES);
        let mut code = [0; epilogue::BYTES];
        let Some(code) = code.get_mut(..len).filter(|code| !code.is_empty()) else { return rule };
        if !self.code_at(here, row, ip, code) {
            return rule;
        }
        match Epilogue::of(code) {
            Some(found) if rule == Rule::Missing || found.changes_stack => Rule::Code(Box::new(found)),
            None if rule != Rule::Missing && Epilogue::is_mcall(code) => Rule::Outermost,
            _ => rule,
        }
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
        // Java's interpreter is entered by a jump: where one made function returns to another, no call need be there.
        let is_believed = || is_made(here, frame.ip) && is_made(here, ip);
        if saved != 0 && saved <= fp || !(self.follows_call(here, ip) || is_believed()) {
            return Err(StackEnd::NoRule);
        }
        if is_made(here, frame.ip)
            && sets_frame_pointer(here, frame.ip, BACK) != Some(true)
            && self.may_hide_callers(here, frame.ip, sp, fp)
        {
            return Err(StackEnd::NoRule);
        }
        let mut caller = Frame::at(ip);
        caller.set(NATIVE.fp, Some(saved));
        caller.set(NATIVE.sp, Some(fp.wrapping_add(16)));
        Ok(caller)
    }

    /// Whether what lies between a frame's stack pointer and its frame pointer can be the return address of a function that
    /// keeps none, as Java's do where nobody asked for it: the frame pointer is an outer function's then, and those between
    /// would be left out.
    fn may_hide_callers(&mut self, here: Here<'_>, ip: u64, sp: u64, fp: u64) -> bool {
        /// A larger frame is not looked at as a whole.
        const LONGEST: u64 = 4096;
        // Java's interpreter calls the machine by a call to the code behind: that is still the same function.
        const BEHIND: std::ops::Range<u64> = 1..192;
        /// What lies before a beginning tells that it is one.
        const BEFORE: u64 = 8;
        let words = (sp..fp.min(sp.saturating_add(LONGEST))).step_by(8);
        words.into_iter().any(|at| {
            let word = self.memory.word(at, sp, here.pid, here.rows).unwrap_or(0);
            let behind = ip.wrapping_sub(word);
            let is_same = at.wrapping_sub(sp) < 16
                && BEHIND.contains(&behind)
                && sets_frame_pointer(here, ip, behind + BEFORE).is_none();
            !is_same && is_made(here, word) && self.follows_call(here, word)
        })
    }

    /// Whether an address can be one to return to.
    pub(crate) fn follows_call(&mut self, here: Here<'_>, ip: u64) -> bool {
        let Some(row) = row_of(here, ip) else { return false };
        let Some(number) = self.place(here, Some(row), ip, true) else { return false };
        if let Some(follows) = self.kept(number).and_then(|known| known.follows_call) {
            return follows;
        }
        let mut code = [0; Arch::CALL_BYTES];
        let start = ip.wrapping_sub(code.len() as u64);
        let follows = row.range.contains(Addr(start))
            && self.code_at(here, row, start, &mut code)
            && NATIVE.ends_in_call(&code);
        let mut known = match self.kept(number) {
            Some(known) => known.clone(),
            None => self.learn(here, row, number, ip),
        };
        known.follows_call = Some(follows);
        self.places.learned(number, known);
        follows
    }
}
