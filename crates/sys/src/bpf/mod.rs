//! The BPF programs of `bpf/vm.bpf.c`: loading them, saying what they watch, taking what they tell.
//!
//! The object was built beforehand and lies beside its source, so that nobody needs clang; where fields of the kernel's
//! structures lie is found out when it is loaded (CO-RE, from the kernel's own BTF).

mod error;
mod faults;
mod obstacle;
mod record;
mod stack;
mod tables;

pub use error::BpfError;
pub use faults::{FaultsTold, missing_of_faults};
pub use obstacle::obstacle;
pub use record::{
    Accounted, Answer, Call, Ended, Execed, FaultEnd, Faulted, Forked, Head, How, NameKey, Named, Record, Row,
};
pub use stack::CallStack;
pub use tables::{Condition, Numbered, Shape, Tables};

use crate::privilege::{Cap, Caps, with_only};
use aya::maps::{Array, HashMap, MapData, RingBuf};
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader};
use faults::{FaultProbe, Plan};
use std::os::fd::AsFd;
use std::time::Duration;
use vmatlas_event::{Bytes, Grown, MmId, Pid, Tid, Unwinding};

#[cfg(target_arch = "x86_64")]
const OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/vm.x86_64.bpf.o");
#[cfg(not(target_arch = "x86_64"))]
const OBJECT: &[u8] = &[];

/// The programs of the object, and the tracepoint of each. Those that end what others begin come first.
const PROGRAMS: [(&str, &str); 6] = [
    ("on_end", "sched_process_exit"),
    ("on_exit", "sys_exit"),
    ("on_exec", "sched_process_exec"),
    ("on_fork", "sched_process_fork"),
    ("on_lock", "mmap_lock_acquire_returned"),
    ("on_enter", "sys_enter"),
];
/// The same, where a cgroup is watched.
const OF_CGROUPS: (&str, &str) = ("on_cgroup", "cgroup_attach_task");

/// What the programs are loaded with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The size of the ring.
    pub ring: Bytes,
    /// Address spaces that the programs number get the numbers after this one.
    pub first_space: MmId,
    /// The inode of a folder of cgroup version 2: processes that come into it or below it are told of.
    pub cgroup: Option<u64>,
    /// Of a hundred records so many are lost, which only tests want.
    pub dropped: u64,
    /// So many processes can be watched at once.
    pub processes: u32,
    /// How callers are to be told: each call brings what its stack can be told from.
    pub stacks: Option<Unwinding>,
    /// The size of a ring for page faults, where they are watched too.
    pub fault_ring: Option<Bytes>,
    /// Whether faults are told by software events even where there are tracepoints of them, which only tests want.
    pub fault_events: bool,
}

/// `maps.h`: counters that the programs keep.
const COUNT_ORDER: u32 = 0;
const COUNT_LOST: u32 = 1;
const COUNT_SPACES: u32 = 2;
const COUNT_UNTRACKED: u32 = 3;
/// How often we have changed who is watched: what the programs know of tasks holds only as long as that is the same.
const COUNT_CHOICES: u32 = 4;
/// `maps.h`: what a task is inside of.
const SLOT_CALL: u64 = 1;
const SLOT_FORK: u64 = 2;

/// The programs at work. Dropping it takes them away; what was watched goes on as if nothing had been.
pub struct Probe {
    /// Keeps the programs attached.
    _programs: Ebpf,
    ring: RingBuf<MapData>,
    processes: HashMap<MapData, u32, [u32; 4]>,
    slots: Array<MapData, [u64; 7]>,
    counts: Array<MapData, u64>,
    /// Where page faults are watched.
    faults: Option<FaultProbe>,
    /// Why resident sizes are not followed though faults are watched.
    no_resident: Option<String>,
    /// Records that made no sense.
    unread: u64,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

impl Probe {
    /// Loads and attaches the programs; nothing is watched yet.
    ///
    /// # Errors
    /// [`BpfError::NotPermitted`] without CAP_BPF and CAP_PERFMON, [`BpfError::NoBtf`], [`BpfError::Unsupported`] where the
    /// kernel lacks a tracepoint or a helper, or the processor is another one; [`BpfError::Other`].
    pub fn load(tables: &Tables, setup: Setup) -> Result<Probe, BpfError> {
        if let Some(error) = obstacle() {
            return Err(error);
        }
        let mut plan = Plan::new(setup.fault_ring, setup.fault_events);
        let mut first_why = None;
        loop {
            match Probe::load_as(&plan, tables, setup) {
                // Some ways to tell faults, and sizes, need more of a kernel than others.
                Err(BpfError::Unsupported(why)) => match plan.humbler() {
                    Some(humbler) => {
                        first_why.get_or_insert(why);
                        plan = humbler;
                    }
                    None => return Err(BpfError::Unsupported(why)),
                },
                probe => {
                    let no_resident = first_why.filter(|_| plan.follow_resident == 0);
                    return probe.map(|probe| Probe { no_resident, ..probe });
                }
            }
        }
    }

    fn load_as(plan: &Plan, tables: &Tables, setup: Setup) -> Result<Probe, BpfError> {
        let btf = Btf::from_sys_fs().map_err(BpfError::of_btf)?;
        // The ring is a power of two of pages.
        let size = u32::try_from(setup.ring.0.next_power_of_two().max(4096)).unwrap_or(1 << 30);
        let wake_above = u64::from(size / 4);
        let stack_how = stack::how(setup.stacks);
        // Some 70 KiB for each processor.
        let stack_rooms = match setup.stacks {
            None => 1,
            Some(_) => aya::util::nr_cpus().ok().and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
        };
        let mut programs = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("shapes", tables.shapes.as_slice(), true)
            .override_global("conditions", tables.conditions.as_slice(), true)
            .override_global("advice_of_vmas", &tables.advice, true)
            .override_global("wake_above", &wake_above, true)
            .override_global("stack_how", &stack_how, true)
            .override_global("follow_faults", &plan.follow_faults, true)
            .override_global("faults_at_begin", &plan.at_begin, true)
            .override_global("follow_resident", &plan.follow_resident, true)
            .override_global("cpus", &plan.cpus, true)
            .override_global("wake_faults_above", &plan.wake_above, true)
            .override_global("dropped_share", &setup.dropped, true)
            .override_global("watched_cgroup", &setup.cgroup.unwrap_or(0), true)
            .map_max_entries("ring", size)
            .map_max_entries("processes", setup.processes)
            .map_max_entries("stack_rooms", stack_rooms)
            .map_max_entries("fault_ring", plan.ring)
            .load(OBJECT)
            .map_err(|error| BpfError::of(&error))?;
        let mut map = |name: &'static str| {
            programs
                .take_map(name)
                .ok_or_else(|| BpfError::Other(format!("the BPF object has no map {name}")))
        };
        let error = |error: aya::maps::MapError| BpfError::of(&error.into());
        let ring = RingBuf::try_from(map("ring")?).map_err(error)?;
        let processes = HashMap::try_from(map("processes")?).map_err(error)?;
        let slots = Array::try_from(map("slots")?).map_err(error)?;
        let mut counts: Array<MapData, u64> = Array::try_from(map("counts")?).map_err(error)?;
        counts.set(COUNT_SPACES, u64::from(setup.first_space.0), 0).map_err(error)?;
        let of_cgroups = setup.cgroup.map(|_| OF_CGROUPS);
        for (name, tracepoint) in PROGRAMS.into_iter().chain(of_cgroups) {
            let program = programs.program_mut(name).map(<&mut BtfTracePoint>::try_from);
            let Some(Ok(program)) = program else {
                return Err(BpfError::Other(format!("the BPF object has no program {name}")));
            };
            let attached = program.load(tracepoint, &btf).and_then(|()| program.attach());
            attached.map_err(|error| BpfError::of_program(tracepoint, &error))?;
        }
        let faults = match plan.follow_faults {
            0 => None,
            _ => Some(FaultProbe::begin(&mut programs, &btf, plan)?),
        };
        Ok(Probe {
            _programs: programs,
            ring,
            processes,
            slots,
            counts,
            faults,
            no_resident: None,
            unread: 0,
        })
    }

    /// Watches a process, which must not end while it is being told of, and every thread of it; with `follow` the processes
    /// that it makes too, else only those that share its address space.
    ///
    /// # Errors
    /// [`BpfError::Other`] when too many are watched already.
    pub fn watch(&mut self, pid: Pid, space: MmId, follow: bool) -> Result<(), BpfError> {
        let value = [space.0, u32::from(follow), 0, 0];
        self.processes.insert(pid.0 as u32, value, 0).map_err(|error| BpfError::of(&error.into()))?;
        self.choose();
        Ok(())
    }

    /// Watches a process no more.
    pub fn forget(&mut self, pid: Pid) {
        // One that is not there is forgotten already.
        let _ = self.processes.remove(&(pid.0 as u32));
        self.choose();
    }

    /// Has the programs look anew for the processes of tasks they know.
    fn choose(&mut self) {
        let choices = self.counts.get(&COUNT_CHOICES, 0).unwrap_or(0);
        // What can be read can be written.
        let _ = self.counts.set(COUNT_CHOICES, choices.wrapping_add(1), 0);
    }

    /// Takes what was told since, but at most `most` records: more may come faster than they are taken. Whether that was all.
    pub fn take(&mut self, most: usize, mut found: impl FnMut(Record)) -> bool {
        for _ in 0..most {
            let Some(item) = self.ring.next() else { return true };
            match record::parse(&item) {
                Some(record) => found(record),
                None => self.unread += 1,
            }
        }
        false
    }

    /// The same for page faults, all that are there when it begins; each is there before the records of what its task did
    /// afterwards.
    pub fn take_faults(&mut self, mut found: impl FnMut(Record)) {
        let Some(faults) = &mut self.faults else { return };
        let mut left = faults.ring_room();
        while left > 0
            && let Some(item) = faults.ring.next()
        {
            left = left.saturating_sub(item.len());
            if let Some(record) = record::parse(&item) {
                found(record);
            }
        }
    }

    /// What the programs have counted of page faults; `None` where none are watched.
    pub fn faults_told(&self) -> Option<FaultsTold> {
        self.faults.as_ref().map(FaultProbe::counts)
    }

    /// Why resident sizes cannot be told where faults can.
    pub fn resident_why(&self) -> Option<&str> {
        self.no_resident.as_deref()
    }

    /// What the resident size of an address space has come to, to be asked for before another with its number modulo 4,096
    /// begins; `None` where that cannot be told.
    pub fn resident(&self, space: MmId) -> Option<Grown> {
        self.faults.as_ref()?.resident(space, crate::page_size())
    }

    /// Waits until there is much to take or a process ended, at most this long.
    pub fn wait(&self, time: Duration) {
        crate::poll::wait_readable(self.ring.as_fd(), time);
    }

    /// How many records have got a number: names, which are told again when they get lost, have none.
    pub fn produced(&self) -> u64 {
        self.counts.get(&COUNT_ORDER, 0).unwrap_or(0)
    }

    /// How many records were lost because nobody took those before them, or because they made no sense.
    pub fn lost(&self) -> u64 {
        self.counts.get(&COUNT_LOST, 0).unwrap_or(0).saturating_add(self.unread)
    }

    /// Which capabilities the maps need from now on: none, or CAP_BPF before Linux 5.19, where
    /// kernel.unprivileged_bpf_disabled closes all of bpf(2) to others.
    pub fn needs(&self) -> Caps {
        match with_only(Caps::NONE, || self.counts.get(&COUNT_LOST, 0).is_ok()) {
            Ok(true) => Caps::NONE,
            _ => Caps::of(&[Cap::Bpf]),
        }
    }

    /// How many processes that watched ones made are not watched, because too many are.
    pub fn untracked(&self) -> u64 {
        self.counts.get(&COUNT_UNTRACKED, 0).unwrap_or(0)
    }

    /// Whether a task is inside a memory call. Once it is not, the call's record can be taken.
    pub fn is_inside(&self, tid: Tid) -> bool {
        self.slot(tid).is_some_and(|(state, _)| state == SLOT_CALL)
    }

    /// Whether a task is making another one, or is executing a program: that leaves the VMAs of its address space alone.
    pub fn is_forking(&self, tid: Tid) -> bool {
        self.slot(tid).is_some_and(|(state, _)| state == SLOT_FORK)
    }

    /// The number that the call has which a task is inside of, 0 where it has none yet; `None` outside of calls.
    pub fn order_inside(&self, tid: Tid) -> Option<u64> {
        self.slot(tid).map(|(_, order)| order)
    }

    /// `struct slot`, its state and the number of the call; `None` outside of calls.
    fn slot(&self, tid: Tid) -> Option<(u64, u64)> {
        const SLOTS: u32 = 1 << 16;
        let slot = self.slots.get(&(tid.0 as u32 & (SLOTS - 1)), 0);
        // The number of the task, its state, its address space, since when, the number of the call, what grew.
        let [first, _, _, order, ..] = slot.ok()?;
        let (number, state) = (first as u32, first >> 32);
        (number == tid.0 as u32 && matches!(state, SLOT_CALL | SLOT_FORK)).then_some((state, order))
    }
}
