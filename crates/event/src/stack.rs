//! Call stacks: which code asked, as places in files that outlive the process.

use crate::{Addr, Dev, FrameId, MmId, ModuleId, MonoNs, Name, StackId, TaskId};

/// The registers of a stopped thread that callers can be told from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The instruction that is executed next.
    pub ip: Addr,
    /// The others, by their DWARF numbers in the psABI of the architecture (x86_64: 0 rax, 6 rbp, 7 rsp; aarch64: 29 fp,
    /// 30 lr, 31 sp). Numbers that the architecture does not have are 0.
    pub general: [u64; Registers::COUNT],
    /// Whether the code is 32-bit code of a 64-bit machine: its callers are found in other ways.
    pub is_32: bool,
}

impl Registers {
    /// So many numbers there are at most.
    pub const COUNT: usize = 32;
}

/// How callers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwinding {
    /// By the tables that compilers write for exceptions and debuggers (DWARF call frame information): all code has them,
    /// but for what is made at run time.
    #[default]
    Tables,
    /// By the chain of frame pointers: cheap, and blind where code keeps none.
    FramePointers,
}

/// A thread as it was when a call of it returned, so that its stack can be walked.
#[derive(Clone, Copy, Debug)]
pub struct Stopped<'a> {
    /// The thread.
    pub task: TaskId,
    /// Its address space.
    pub mm: MmId,
    /// Its registers.
    pub registers: &'a Registers,
    /// Where its stack is to be read.
    pub stack: StackFrom<'a>,
    /// When it was there.
    pub at: MonoNs,
}

/// Where the stack of a thread is to be read.
#[derive(Clone, Copy, Debug)]
pub enum StackFrom<'a> {
    /// Where it lies: the thread stands still.
    Thread,
    /// In a copy: the thread has gone on.
    Copy {
        /// What lies from the stack pointer (rounded down to a word) upwards.
        bytes: &'a [u8],
        /// Bit N: page N, counted from that of the first byte, was not in memory, and its bytes mean nothing. Larger numbers
        /// are no pages of a copy.
        holes: u32,
    },
    /// The kernel has followed frame pointers, and the thread has gone on.
    Chain {
        /// Some bytes from the stack pointer upwards.
        top: &'a [u8],
        /// Where the thread is, and then the places to return to, innermost first.
        addresses: &'a [Addr],
    },
}

/// A file (or the vdso) that code of a stack lies in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    /// Its path as the map names it, or the kernel's label (`[vdso]`).
    pub name: Option<Name>,
    /// The GNU build ID, at most 64 bytes; empty where it has none or could not be read.
    pub build_id: Vec<u8>,
    /// The device of the file; `None` where it is no file.
    pub dev: Option<Dev>,
    /// Its inode; 0 where it is no file.
    pub inode: u64,
}

/// Where one frame was: the place that will be executed next in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a module, at this address of the file's own (SVMA, what its ELF symbols are given in). Of a file whose ELF
    /// headers could not be read, or that is none, the offset in it.
    Module(ModuleId, Addr),
    /// In memory of no known module (made at run time, or not mapped): the address in the process (AVMA).
    Unknown(Addr),
}

/// One frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The place.
    pub place: Place,
    /// Whether the place is one to return to, so that what was executed there is the instruction before it.
    /// False for the innermost frame and for what a signal interrupted.
    pub is_return: bool,
}

/// Where a stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// At the thread's beginning, or at the entry of the dynamic loader or of a static program.
    Start,
    /// Further out than what is read of a stack at most.
    Bound,
    /// After as many frames as are taken at most.
    Depth,
    /// At a place whose caller no rule tells: code made at run time, damaged or missing unwind tables.
    NoRule,
    /// At stack memory that could not be read.
    Unreadable,
    /// At 32-bit code, whose stacks are not walked.
    Code32,
}

impl StackEnd {
    /// Whether callers are missing.
    pub fn is_truncated(self) -> bool {
        self != StackEnd::Start
    }
}

/// How a caller was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FoundBy {
    /// By unwind tables.
    Tables,
    /// By reading the code up to its return.
    Code,
    /// By the frame pointer alone: where code between keeps none, its callers are left out.
    FramePointer,
}

/// A call stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Its frames, and how each was found; `None` for the innermost one, which the registers tell, and where that is not known.
    pub frames: Vec<(Frame, Option<FoundBy>)>,
    /// Where it ends.
    pub end: StackEnd,
}

/// A stack as it is kept: its innermost frame, and the stack of the caller. So stacks with the same outer frames share
/// what is kept of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StackStep {
    /// The innermost frame.
    pub frame: FrameId,
    /// What is outside of it.
    pub outer: Outer,
}

/// What is outside of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outer {
    /// Its caller, and the callers of that: a stack with a smaller number; and how the caller was found, where that is known.
    Caller(StackId, Option<FoundBy>),
    /// Nothing that is known.
    End(StackEnd),
}

/// What of stacks was met for the first time, since somebody asked last; numbers go on from there without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStacks {
    /// By [`ModuleId`].
    pub modules: Vec<Module>,
    /// By [`FrameId`].
    pub frames: Vec<Frame>,
    /// By [`StackId`].
    pub stacks: Vec<StackStep>,
}

impl NewStacks {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.frames.is_empty() && self.stacks.is_empty()
    }

    /// How much memory it takes, nearly.
    pub fn bytes(&self) -> usize {
        size_of_val(self.modules.as_slice())
            + size_of_val(self.frames.as_slice())
            + size_of_val(self.stacks.as_slice())
            + self.modules.iter().map(|module| module.build_id.len()).sum::<usize>()
    }

    /// Takes what is newer in.
    pub fn append(&mut self, newer: NewStacks) {
        self.modules.extend(newer.modules);
        self.frames.extend(newer.frames);
        self.stacks.extend(newer.stacks);
    }
}

/// A function that a place belongs to: one of several where calls were inlined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// Its name, demangled; `None` where only the file is known.
    pub function: Option<Name>,
    /// The source file.
    pub file: Option<Name>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// Whether it was inlined into the next one.
    pub is_inlined: bool,
}
