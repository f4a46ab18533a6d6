//! The vocabulary every other crate of vmatlas speaks.
//!
//! You get: types for addresses, protections, tasks, times, calls, events and rows of a map, and the two
//! traits that join a producer of events to its consumers ([`Sink`]) and to the kernel ([`Kernel`]).
//! There is no I/O here, no clock and no dependency: whoever makes an event says when it happened.

#![forbid(unsafe_code)]

mod addr;
mod backing;
mod cgroup;
mod event;
mod faults;
mod flags;
mod ids;
mod look;
mod op;
mod op_kind;
mod page;
mod pages;
mod recording;
mod row;
mod sink;
mod stack;

pub use addr::{Addr, AddrRange, Bytes, PageSize, Pages};
pub use backing::Backing;
pub use cgroup::{
    CgroupEvents, CgroupMemory, CgroupStat, CgroupVersion, Container, Limit, Runtime, Workload,
};
pub use event::{Errno, Event, Outcome, Source};
pub use faults::{FaultCounts, Grown};
pub use flags::{
    Advice, FlagName, MADV, MAP, MapFlags, MapType, PROT, Prot, ProtArg, flag_names, parse_flags,
};
pub use ids::{FrameId, MmId, ModuleId, MonoNs, Pid, Seq, StackId, StartTime, TaskId, Tid};
pub use look::{Extent, Look, PageRow, PageSource};
pub use op::{ForkKind, Op, SnapshotReason};
pub use op_kind::OpKind;
pub use page::{PageInfo, PageState};
pub use pages::{FrameCounts, PageCounts, Share};
pub use recording::{EventSource, Keyframe, SpaceState};
pub use row::{Dev, Name, Sharing, VmaRow};
pub use sink::{Kernel, KernelError, Next, Sink};
pub use stack::{
    FoundBy, Frame, Module, NewStacks, Outer, Place, Registers, Stack, StackEnd, StackFrom, StackStep,
    Stopped, Symbol, Unwinding,
};
