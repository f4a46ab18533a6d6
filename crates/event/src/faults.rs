//! What page-fault events came to, beside what the kernel counted itself.

use crate::Bytes;

/// What the resident size of address spaces has come to and by what, in bytes: the causes add up to the kinds.
///
/// Source: the kernel's own counters (`mm->rss_stat`), read whenever the tracepoint `kmem:rss_stat` tells of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// What was there when it began: placed by exec, copied from the parent by fork, or there at the attach.
    pub start: i64,
    /// What page faults of its tasks brought in.
    pub by_fault: i64,
    /// What memory calls did: MAP_POPULATE, mlock(2), less what they unmapped and zapped between.
    pub by_call: i64,
    /// What the kernel touched for the program without a fault (get_user_pages).
    pub by_kernel: i64,
    /// What others did to it: ptrace, process_madvise(2), swapping in.
    pub by_others: i64,
    /// What was given back by calls and taken by others: not positive.
    pub gone: i64,
    /// Of files, at the end.
    pub file: i64,
    /// Anonymous, at the end.
    pub anon: i64,
    /// Swapped out, at the end: not resident.
    pub swap: i64,
    /// Of shared memory, at the end.
    pub shmem: i64,
}

impl Grown {
    /// The resident size at the end, as VmRSS has it.
    pub fn resident(&self) -> i64 {
        self.file.saturating_add(self.anon).saturating_add(self.shmem)
    }

    /// The sum of all causes: the resident size and what is swapped out.
    pub fn sum(&self) -> i64 {
        [self.start, self.by_fault, self.by_call, self.by_kernel, self.by_others, self.gone]
            .iter()
            .fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// Both together.
    pub fn and(&self, other: &Grown) -> Grown {
        let add = i64::saturating_add;
        Grown {
            start: add(self.start, other.start),
            by_fault: add(self.by_fault, other.by_fault),
            by_call: add(self.by_call, other.by_call),
            by_kernel: add(self.by_kernel, other.by_kernel),
            by_others: add(self.by_others, other.by_others),
            gone: add(self.gone, other.gone),
            file: add(self.file, other.file),
            anon: add(self.anon, other.anon),
            swap: add(self.swap, other.swap),
            shmem: add(self.shmem, other.shmem),
        }
    }
}

/// The figures of a run whose page faults were watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Faults that were told as events, of those that needed no disk.
    pub minor: u64,
    /// The same of those that had to wait for a disk.
    pub major: u64,
    /// What the kernel wrote, or would have written had there been room: told, lost, and of others.
    pub produced: u64,
    /// Faults of tasks that inherited the events but are not watched.
    pub of_others: u64,
    /// Faults that found no room: [`Op::Lost`](crate::Op::Lost) says when.
    pub lost: u64,
    /// Each entry of the fault handler (PERF_COUNT_SW_PAGE_FAULTS), of the same tasks: faults that ended in a signal, or
    /// were begun anew, count here too. `None` where it could not be read.
    pub handled: Option<u64>,
    /// What the kernel has accounted to the tasks that are watched (`min_flt` and `maj_flt` of proc_pid_stat(5)). `None`
    /// where some task ended before it could be asked.
    pub accounted: Option<u64>,
    /// Whether touches by the kernel on a program's behalf (read(2) into fresh memory) were told too.
    pub with_kernel: bool,
    /// How much room each processor's ring has.
    pub ring: Bytes,
    /// How much was asked for; more than `ring` where the kernel refused it (perf_event_mlock_kb, RLIMIT_MEMLOCK).
    pub ring_asked: Bytes,
    /// Processors with a ring; 1 where all share one.
    pub rings: u64,
    /// What the resident size of all address spaces that were watched came to; `None` where it was not followed.
    pub grown: Option<Grown>,
}

impl FaultCounts {
    /// All that were told.
    pub fn told(&self) -> u64 {
        self.minor.saturating_add(self.major)
    }

    /// Faults that were handled and neither told, lost nor of others: they ended in a signal, or were begun anew.
    pub fn unfinished(&self) -> Option<u64> {
        self.handled.map(|handled| handled.saturating_sub(self.produced))
    }

    /// Faults that the kernel has accounted to the tasks and no event tells of: memory filled in advance (MAP_POPULATE,
    /// mlock(2)), touches by the kernel where these were left out, and what others did to the memory.
    pub fn unseen(&self) -> Option<u64> {
        self.accounted.map(|accounted| accounted.saturating_sub(self.told().saturating_add(self.lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the remainders, and that a figure that is not known leaves its remainder unknown.
    #[test]
    fn remainders() {
        let counts = FaultCounts {
            minor: 90,
            major: 3,
            produced: 100,
            of_others: 2,
            lost: 5,
            handled: Some(101),
            accounted: Some(110),
            ..FaultCounts::default()
        };
        assert_eq!((counts.told(), counts.unfinished(), counts.unseen()), (93, Some(1), Some(12)));
        assert_eq!((FaultCounts { handled: None, accounted: None, ..counts }).unseen(), None);
    }
}
