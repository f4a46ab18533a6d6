//! What page-fault events came to, beside what the kernel counted itself.

use crate::Bytes;

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
    /// Processors with a ring.
    pub rings: u64,
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
