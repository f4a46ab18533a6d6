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
    /// The part of `vm_rss` that belongs to no file (Linux 4.5).
    pub rss_anon: Option<Bytes>,
    /// The part that belongs to files.
    pub rss_file: Option<Bytes>,
    /// The part that is shared memory.
    pub rss_shmem: Option<Bytes>,
    /// Locked address space (mlock(2)).
    pub vm_lck: Option<Bytes>,
    /// hugetlb pages, which are not in `vm_rss`.
    pub hugetlb: Option<Bytes>,
    /// Page tables.
    pub vm_pte: Option<Bytes>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Who traces it; 0 for nobody.
    pub tracer: Option<Pid>,
    /// The task's number in its innermost PID namespace.
    pub ns_pid: Option<Pid>,
    /// The name, at most 15 bytes of any kind.
    pub name: Option<Vec<u8>>,
    /// The state's letter: R, S, D, T, t, Z, X, I...
    pub state: Option<u8>,
    /// The effective user.
    pub euid: Option<u32>,
    /// Whether it is a thread of the kernel (Linux 6.10 says it in a line of its own).
    pub kthread: Option<bool>,
}

impl Status {
    /// Whether the task has ended and only its exit status is left.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, Some(b'Z' | b'X' | b'x'))
    }

    /// Whether it is a thread of the kernel: one says so, and on older kernels one has no memory and has not ended.
    pub fn is_kernel_thread(&self) -> bool {
        self.kthread.unwrap_or(self.vm_size.is_none() && !self.is_zombie())
    }
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
            b"Uid" => {
                let mut ids =
                    value.split(|b| b.is_ascii_whitespace()).map(|n| u32::try_from(decimal(n)?).ok());
                status.uid = ids.next().flatten();
                status.euid = ids.next().flatten();
            }
            b"VmPeak" => status.vm_peak = kib(),
            b"VmSize" => status.vm_size = kib(),
            b"VmHWM" => status.vm_hwm = kib(),
            b"VmRSS" => status.vm_rss = kib(),
            b"VmLck" => status.vm_lck = kib(),
            b"RssAnon" => status.rss_anon = kib(),
            b"RssFile" => status.rss_file = kib(),
            b"RssShmem" => status.rss_shmem = kib(),
            b"HugetlbPages" => status.hugetlb = kib(),
            b"VmSwap" => status.vm_swap = kib(),
            b"VmPTE" => status.vm_pte = kib(),
            b"Threads" => status.threads = first(),
            b"NSpid" => status.ns_pid = pid(last()),
            b"Name" => status.name = Some(unescape(&line[colon + 1..])),
            b"State" => status.state = value.first().copied(),
            b"Kthread" => status.kthread = first().map(|n| n != 0),
            _ => {}
        }
    }
    status
}

/// The name after its tab; `\n` and `\\` stand for newline and backslash (fs/proc/array.c: proc_task_name()).
fn unescape(value: &[u8]) -> Vec<u8> {
    let value = value.strip_prefix(b"\t").unwrap_or(value);
    let mut name = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            _ => (*first, after),
        };
        name.push(byte);
        rest = after;
    }
    name
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

    /// Checks what tells processes, threads of the kernel and the dead apart, on new kernels and old ones.
    #[test]
    fn kinds_of_tasks() {
        let kind = |text: &[u8]| {
            let status = parse(text);
            (status.is_kernel_thread(), status.is_zombie())
        };
        assert_eq!(kind(b"State:\tS (sleeping)\nKthread:\t0\nVmSize:\t1 kB\n"), (false, false));
        assert_eq!(kind(b"State:\tI (idle)\nKthread:\t1\n"), (true, false));
        assert_eq!(kind(b"State:\tI (idle)\n"), (true, false));
        assert_eq!(kind(b"State:\tZ (zombie)\n"), (false, true));
        assert_eq!(kind(b"State:\tZ (zombie)\nKthread:\t0\n"), (false, true));
    }

    /// Checks that a name comes out as it was set, blanks and escapes included, and that it cannot end early.
    #[test]
    fn names_come_out_as_they_were_set() {
        let name = |text: &[u8]| parse(text).name.unwrap();
        assert_eq!(name(b"Name:\t a\\nb\\\\n: \nState:\tS\n"), b" a\nb\\n: ");
        assert_eq!(name(b"Name:\t\xff\\x\\"), b"\xff\\x\\");
        assert_eq!(parse(b"Uid:\t5\t6\t7\t8\n").euid, Some(6));
        assert_eq!(parse(b"Uid:\t5\n").euid, None);
    }
}
