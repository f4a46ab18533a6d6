//! /proc/PID/status (proc_pid_status(5)): `Key:<tab>value` lines.

use super::decimal;
use vmatlas_event::{Bytes, Pid};

/// The lines of status that vmatlas uses; `None` where the line is missing (a kernel thread, an old kernel).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The process (thread group) of this task.
    pub tgid: Option<Pid>,
    /// The real user.
    pub uid: Option<u32>,
    /// Virtual size.
    pub vm_size: Option<Bytes>,
    /// Largest virtual size so far.
    pub vm_peak: Option<Bytes>,
    /// Resident size, from counters the kernel updates in batches.
    pub vm_rss: Option<Bytes>,
    /// Largest resident size so far.
    pub vm_hwm: Option<Bytes>,
    /// In swap.
    pub vm_swap: Option<Bytes>,
    /// Locked (mlock(2)).
    pub vm_lck: Option<Bytes>,
    /// Page tables.
    pub vm_pte: Option<Bytes>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Who traces it; 0 for nobody.
    pub tracer: Option<Pid>,
    /// The task's number in its innermost PID namespace.
    pub ns_pid: Option<Pid>,
}

/// Reads the lines; unknown ones are passed over, malformed values count as missing.
pub fn parse(text: &[u8]) -> Status {
    let mut status = Status::default();
    for line in text.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let value = line[colon + 1..].trim_ascii();
        let first = || value.split(|b| b.is_ascii_whitespace()).next().and_then(decimal);
        let last = || value.rsplit(|b| b.is_ascii_whitespace()).next().and_then(decimal);
        let kib = || decimal(value.strip_suffix(b" kB")?)?.checked_mul(1024).map(Bytes);
        let pid = |n: Option<u64>| n.and_then(|n| i32::try_from(n).ok()).map(Pid);
        match &line[..colon] {
            b"Tgid" => status.tgid = pid(first()),
            b"TracerPid" => status.tracer = pid(first()),
            b"Uid" => status.uid = first().and_then(|n| u32::try_from(n).ok()),
            b"VmPeak" => status.vm_peak = kib(),
            b"VmSize" => status.vm_size = kib(),
            b"VmHWM" => status.vm_hwm = kib(),
            b"VmRSS" => status.vm_rss = kib(),
            b"VmSwap" => status.vm_swap = kib(),
            b"VmLck" => status.vm_lck = kib(),
            b"VmPTE" => status.vm_pte = kib(),
            b"Threads" => status.threads = first(),
            b"NSpid" => status.ns_pid = pid(last()),
            _ => {}
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that sizes are bytes, that missing stays missing, and that a name cannot forge a line.
    #[test]
    fn lines_are_read() {
        let text = b"Name:\tx\\nVmRSS: 1 kB\nTgid:\t7\nNSpid:\t7\t1\nUid:\t5\t0\t0\t0\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        let status = parse(text);
        assert_eq!(status.vm_rss, Some(Bytes(1234 * 1024)));
        assert_eq!((status.tgid, status.ns_pid, status.uid), (Some(Pid(7)), Some(Pid(1)), Some(5)));
        assert_eq!((status.threads, status.vm_size), (Some(3), None));
        assert_eq!(parse(b"VmRSS:\t99999999999999999999 kB\nVmSize: x kB\n"), Status::default());
    }
}
