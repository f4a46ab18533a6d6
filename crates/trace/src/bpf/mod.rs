//! The BPF backend: programs in the kernel tell of every memory call, and nothing is stopped for it.
//!
//! A call's record has its arguments, its result, its place in the kernel's order, and the VMAs where it acted as they
//! were when it returned. What such a record cannot tell is read from /proc at a moment when nothing changes the map, and
//! stays uncertain until then.

mod answers;
mod attach;
mod begun;
mod check;
mod events;
mod faults;
mod group;
mod order;
mod reads;
mod rows;
mod run;
mod tables;
mod watch;

pub use attach::BpfAttached;
pub use group::{BpfGroup, Members};
pub use run::{BpfLaunched, Counts};

use crate::FaultWatch;
use crate::error::TraceError;
use vmatlas_event::{Bytes, Kernel, MmId, Pid, TaskId, Tid, Unwinding, VmaRow};
use vmatlas_sys::bpf::{BpfError, Probe, Setup};
use vmatlas_sys::privilege::Caps;

/// Address spaces that were there before the programs have smaller numbers.
///
/// Those of the programs and those of ours do not share places of the kernel's arrays (numbers modulo 4,096) before there are many.
const FIRST_SPACE: MmId = MmId((1 << 20) + (1 << 10));
/// The ring holds some 60,000 calls.
const RING: Bytes = Bytes(8 << 20);
/// Calls with stacks are larger: of 600 bytes with a chain, of 2 KiB with a copy mostly and of 64 at most.
const RING_FOR_STACKS: Bytes = Bytes(32 << 20);
/// Room for 116,000 page faults.
const FAULT_RING: Bytes = Bytes(8 << 20);
/// So many processes can be watched at once; their map takes some 2 MiB.
const PROCESSES: u32 = 1 << 14;

/// What is to be told beside the calls of processes that are named later.
#[derive(Clone, Copy, Debug, Default)]
pub struct BpfOptions {
    /// The stack of each call, for callers to be told in this way.
    pub stacks: Option<Unwinding>,
    /// Page faults.
    pub faults: Option<FaultWatch>,
    /// The processes of a cgroup and those below it, by the inode of its folder.
    pub cgroup: Option<u64>,
}

/// Less than there is, which only tests want.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shortage {
    /// A ring for records that is so small.
    pub ring: Option<Bytes>,
    /// Of a hundred records so many are lost, however much room there is.
    pub dropped: u64,
    /// Only so many processes can be watched at once.
    pub processes: Option<u32>,
    /// No tracepoints of page faults.
    pub fault_events: bool,
}

/// The programs, loaded and at work, nothing being watched yet.
#[derive(Debug)]
pub struct Bpf {
    probe: Probe,
    has_stacks: bool,
}

impl Bpf {
    /// Which capabilities are needed from now on.
    pub fn needs(&self) -> Caps {
        self.probe.needs()
    }

    /// Loads the programs.
    ///
    /// # Errors
    /// [`TraceError::Bpf`].
    pub fn load() -> Result<Bpf, TraceError> {
        Bpf::with(BpfOptions::default())
    }

    /// Loads the programs, with what is wanted beside calls.
    ///
    /// # Errors
    /// [`TraceError::Bpf`].
    pub fn with(options: BpfOptions) -> Result<Bpf, TraceError> {
        Bpf::short(options, Shortage::default())
    }

    /// The same with less room than there is: for tests.
    ///
    /// # Errors
    /// [`TraceError::Bpf`].
    pub fn short(options: BpfOptions, shortage: Shortage) -> Result<Bpf, TraceError> {
        let BpfOptions { stacks, faults, cgroup } = options;
        let (ring, room) = match stacks {
            Some(_) => (RING_FOR_STACKS, RING_FOR_STACKS),
            None => (RING, FAULT_RING),
        };
        let setup = Setup {
            ring: shortage.ring.unwrap_or(ring),
            first_space: FIRST_SPACE,
            cgroup,
            dropped: shortage.dropped,
            processes: shortage.processes.unwrap_or(PROCESSES),
            stacks,
            fault_ring: faults.map(|watch| watch.ring.unwrap_or(room)),
            fault_events: shortage.fault_events,
        };
        let many = || BpfError::Other("too many calls for the tables".to_owned());
        let tables = tables::tables().ok_or_else(many).map_err(TraceError::Bpf)?;
        let probe = Probe::load(&tables, setup).map_err(TraceError::Bpf)?;
        Ok(Bpf { probe, has_stacks: stacks.is_some() })
    }
}

/// The row that this kernel adds to the maps of 64-bit programs, which is no VMA.
fn vsyscall(kernel: &mut dyn Kernel) -> Option<VmaRow> {
    let pid: Pid = vmatlas_sys::self_pid();
    let rows = kernel.all_vmas(TaskId { pid, tid: Tid(pid.0), started: None }).ok()?;
    rows.into_iter().next_back().filter(|row| row.special() == Some(b"vsyscall"))
}
