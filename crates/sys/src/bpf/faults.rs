//! Page faults by the programs of `bpf/faults.h`: events of each processor, a ring of their own; and resident sizes, by those of
//! `bpf/resident.h`.

use super::BpfError;
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{BtfTracePoint, PerfEvent};
use aya::{Btf, Ebpf};
use vmatlas_event::{Bytes, Grown, MmId, PageSize};

/// `maps.h`: address spaces share places in arrays by their numbers.
const SPACES: u32 = 1 << 12;
/// `maps.h`: counters that the programs keep.
const TOLD: u32 = 0;
const LOST: u32 = 1;
const UNACCOUNTED: u32 = 2;
const OVERWRITTEN: u32 = 3;
/// `percpu.h`: so many processors are summed up at most.
const MOST_CPUS: u32 = 256;
/// `resident.h`, `struct resident`: the number of the address space, the kernel's map, four kinds, six causes, and what only the
/// programs need.
const RESIDENT_WORDS: usize = 14;

/// How the programs are to be loaded.
pub(super) struct Plan {
    pub(super) ring: u32,
    pub(super) follow_faults: u32,
    pub(super) follow_resident: u32,
    pub(super) cpus: u32,
    pub(super) wake_above: u64,
}

impl Plan {
    /// For a ring of this size, or where faults are not to be watched.
    pub(super) fn new(ring: Option<Bytes>) -> Plan {
        let Some(ring) = ring else {
            return Plan { ring: 4096, follow_faults: 0, follow_resident: 0, cpus: 1, wake_above: u64::MAX };
        };
        let ring = u32::try_from(ring.0.next_power_of_two().max(4096)).unwrap_or(1 << 30);
        let cpus = possible_cpus();
        let follow_resident = u32::from(cpus <= MOST_CPUS);
        Plan { ring, follow_faults: 1, follow_resident, cpus, wake_above: u64::from(ring / 4) }
    }

    /// The same without resident sizes, where it is with them.
    pub(super) fn without_resident(self) -> Option<Plan> {
        (self.follow_resident == 1).then_some(Plan { follow_resident: 0, ..self })
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
        if follows_resident {
            let Some(Ok(program)) = programs.program_mut("on_resident").map(<&mut BtfTracePoint>::try_from)
            else {
                return Err(BpfError::Other("the BPF object has no program on_resident".to_owned()));
            };
            let attached = program.load("rss_stat", btf).and_then(|()| program.attach());
            attached.map_err(|error| BpfError::of_program("rss_stat", &error))?;
        }
        for (name, event) in
            [("on_minor", SoftwareEvent::PageFaultsMin), ("on_major", SoftwareEvent::PageFaultsMaj)]
        {
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
        let (unaccounted, overwritten) = (count(UNACCOUNTED), count(OVERWRITTEN));
        FaultsTold { produced: count(TOLD), lost: count(LOST), unaccounted, overwritten, ring: self.size }
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

/// What the programs have counted themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultsTold {
    /// Faults of watched processes.
    pub produced: u64,
    /// Records that found no room.
    pub lost: u64,
    /// Tasks that ended, or executed a program, and whose sums found no room.
    pub unaccounted: u64,
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
