//! Page faults by the programs of `bpf/faults.h`: events of each processor, a ring of their own; and resident sizes, by those of
//! `bpf/resident.h`.

use super::BpfError;
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{BtfTracePoint, PerfEvent};
use aya::{Btf, Ebpf};
use std::collections::HashSet;
use vmatlas_event::{Bytes, Grown, MmId, PageSize};

/// `maps.h`: address spaces share places in arrays by their numbers.
const SPACES: u32 = 1 << 12;
/// `maps.h`: counters that the programs keep.
const TOLD: u32 = 0;
const LOST: u32 = 1;
const UNACCOUNTED: u32 = 2;
const OVERWRITTEN: u32 = 3;
const UNSETTLED: u32 = 4;
/// Programs of tracepoints that tell faults when they begin: what has become of them first.
const AT_BEGIN: [(&str, &str); 3] = [
    ("on_signal", "signal_deliver"),
    ("on_kernel_fault", "page_fault_kernel"),
    ("on_user_fault", "page_fault_user"),
];
/// And programs of events: majors alone there, else all.
const MAJORS: (&str, SoftwareEvent) = ("on_major", SoftwareEvent::PageFaultsMaj);
const MINORS: (&str, SoftwareEvent) = ("on_minor", SoftwareEvent::PageFaultsMin);
/// `percpu.h`: so many processors are summed up at most.
const MOST_CPUS: u32 = 256;
/// `resident.h`, `struct resident`: the number of the address space, the kernel's map, four kinds, six causes, and what only the
/// programs need.
const RESIDENT_WORDS: usize = 14;

/// How the programs are to be loaded.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) ring: u32,
    pub(super) follow_faults: u32,
    /// Whether faults are told when they begin, by tracepoints.
    pub(super) at_begin: u32,
    pub(super) follow_resident: u32,
    pub(super) cpus: u32,
    pub(super) wake_above: u64,
}

impl Plan {
    /// For a ring of this size, or where faults are not to be watched; by events alone if so wanted.
    pub(super) fn new(ring: Option<Bytes>, by_events: bool) -> Plan {
        let Some(ring) = ring else {
            return Plan {
                ring: 4096,
                follow_faults: 0,
                at_begin: 0,
                follow_resident: 0,
                cpus: 1,
                wake_above: u64::MAX,
            };
        };
        let ring = u32::try_from(ring.0.next_power_of_two().max(4096)).unwrap_or(1 << 30);
        let cpus = possible_cpus();
        let follow_resident = u32::from(cpus <= MOST_CPUS);
        let (at_begin, wake_above) = (u32::from(!by_events), u64::from(ring / 4));
        Plan { ring, follow_faults: 1, at_begin, follow_resident, cpus, wake_above }
    }

    /// The next one to try where the kernel lacks something for this one: without resident sizes, without the tracepoints of
    /// faults but with sizes, without both.
    pub(super) fn humbler(&self) -> Option<Plan> {
        match (self.at_begin, self.follow_resident) {
            (0, 0) => None,
            (begin, 1) => Some(Plan { at_begin: begin, follow_resident: 0, ..*self }),
            _ => Some(Plan { at_begin: 0, follow_resident: u32::from(self.cpus <= MOST_CPUS), ..*self }),
        }
    }
}

/// The programs at work.
pub(super) struct FaultProbe {
    pub(super) ring: RingBuf<MapData>,
    counts: Array<MapData, u64>,
    residents: Array<MapData, [u64; RESIDENT_WORDS]>,
    follows_resident: bool,
    size: Bytes,
}

impl FaultProbe {
    /// Attaches the programs: those of events last, so that each fault finds all else at work.
    pub(super) fn begin(programs: &mut Ebpf, btf: &Btf, plan: &Plan) -> Result<FaultProbe, BpfError> {
        let mut map = |name: &'static str| {
            programs
                .take_map(name)
                .ok_or_else(|| BpfError::Other(format!("the BPF object has no map {name}")))
        };
        let ring = RingBuf::try_from(map("fault_ring")?)?;
        let counts = Array::try_from(map("fault_counts")?)?;
        let residents = Array::try_from(map("residents")?)?;
        let follows_resident = plan.follow_resident == 1;
        let resident = ("on_resident", "rss_stat");
        let of_begins = AT_BEGIN.into_iter().filter(|_| plan.at_begin == 1);
        for (name, tracepoint) in follows_resident.then_some(resident).into_iter().chain(of_begins) {
            let Some(Ok(program)) = programs.program_mut(name).map(<&mut BtfTracePoint>::try_from) else {
                return Err(BpfError::Other(format!("the BPF object has no program {name}")));
            };
            let attached = program.load(tracepoint, btf).and_then(|()| program.attach());
            attached.map_err(|error| BpfError::of_program(tracepoint, &error))?;
        }
        let minors = (plan.at_begin == 0).then_some(MINORS);
        for (name, event) in minors.into_iter().chain([MAJORS]) {
            let Some(Ok(program)) = programs.program_mut(name).map(<&mut PerfEvent>::try_from) else {
                return Err(BpfError::Other(format!("the BPF object has no program {name}")));
            };
            let failed = |error| BpfError::of_program("page-faults", &error);
            program.load().map_err(failed)?;
            for cpu in crate::sched::online() {
                let (config, scope) =
                    (PerfEventConfig::Software(event), PerfEventScope::AllProcessesOneCpu { cpu });
                program.attach(config, scope, SamplePolicy::Period(1), false).map_err(failed)?;
            }
        }
        Ok(FaultProbe { ring, counts, residents, follows_resident, size: Bytes(plan.ring.into()) })
    }

    /// The bytes of records it can hold: so much is taken at once, for more may come faster than it is taken.
    pub(super) fn ring_room(&self) -> usize {
        usize::try_from(self.size.0).unwrap_or(usize::MAX)
    }

    /// How many faults of watched processes there were, and how many of the records found no room.
    pub(super) fn counts(&self) -> FaultsTold {
        let count = |which: u32| self.counts.get(&which, 0).unwrap_or(0);
        FaultsTold {
            produced: count(TOLD),
            lost: count(LOST),
            unaccounted: count(UNACCOUNTED),
            unsettled: count(UNSETTLED),
            overwritten: count(OVERWRITTEN),
            ring: self.size,
        }
    }

    /// What the resident size of an address space has come to; `None` where it is not known (any more).
    pub(super) fn resident(&self, space: MmId, page: PageSize) -> Option<Grown> {
        let words = self.residents.get(&(space.0 % SPACES), 0).ok().filter(|_| self.follows_resident)?;
        let [first, mm, file, anon, swap, shmem, start, fault, call, kernel, remote, gone, ..] = words;
        if mm == 0 || first as u32 != space.0 {
            return None;
        }
        let bytes = |pages: u64| i64::try_from(page.bytes()).unwrap_or(0).saturating_mul(pages as i64);
        let sum = [start, fault, call, kernel, remote, gone].iter().map(|pages| *pages as i64).sum::<i64>();
        let now = [file, anon, swap, shmem].map(|pages| pages as i64);
        // What waited for a fault that did not come was a touch by the kernel.
        let rest = now.iter().sum::<i64>() - sum;
        Some(Grown {
            start: bytes(start),
            by_fault: bytes(fault),
            by_call: bytes(call),
            by_kernel: bytes((kernel as i64 + rest) as u64),
            by_others: bytes(remote),
            gone: bytes(gone),
            file: bytes(file),
            anon: bytes(anon),
            swap: bytes(swap),
            shmem: bytes(shmem),
        })
    }
}

/// Which tracepoint this kernel lacks of those by which faults are told when they begin; `None` where none is missing, or its
/// types cannot be read.
///
/// Without them faults are told when they have ended, by software events, which costs each of them more.
pub fn missing_of_faults() -> Option<&'static str> {
    // Their names stand among the strings of its types.
    let types = std::fs::read("/sys/kernel/btf/vmlinux").ok()?;
    let strings: HashSet<&[u8]> =
        types.split(|byte| *byte == 0).filter_map(|string| string.strip_prefix(b"btf_trace_")).collect();
    AT_BEGIN.map(|(_, tracepoint)| tracepoint).into_iter().find(|name| !strings.contains(name.as_bytes()))
}

/// What the programs have counted themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultsTold {
    /// Faults of watched processes.
    pub produced: u64,
    /// Records that found no room.
    pub lost: u64,
    /// Tasks that ended, or executed a program, and whose sums found no room.
    pub unaccounted: u64,
    /// Words of what has become of a fault that found no room.
    pub unsettled: u64,
    /// Address spaces whose resident size is not known any more, because another one has taken its place.
    pub overwritten: u64,
    /// How much room there is.
    pub ring: Bytes,
}

/// How many processors there may ever be.
fn possible_cpus() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<u32>().ok());
    last.map_or(MOST_CPUS + 1, |last| last.saturating_add(1))
}
