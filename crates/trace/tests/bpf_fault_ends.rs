//! Page faults through BPF that end in every way there is: dealt with, failed, major, by the kernel; and last ones.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use vmatlas_event::{Event, FaultCounts, Next, Op, Outcome, Sink};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Capability, left_off, need, need_root, without_bpf};
use vmatlas_trace::{Bpf, BpfOptions, End, FaultWatch, Launch, TraceError};

const PAGE: u64 = 4096;

/// Keeps faults by their pages: how often, how often they were major, how often the kernel's own.
#[derive(Default)]
struct Keeper {
    pages: BTreeMap<u64, [u64; 3]>,
    counts: FaultCounts,
    /// The last event of all.
    last: Option<Op>,
}

impl Sink for Keeper {
    fn event(&mut self, event: &Event) -> Next {
        if let Op::Fault { addr, ip, major } = event.op {
            let page = self.pages.entry(addr.0 / PAGE * PAGE).or_default();
            for (count, counts) in page.iter_mut().zip([true, major, ip.is_none()]) {
                *count += u64::from(counts);
            }
        }
        // Where the loader had something before.
        if let (Op::Mmap { len, .. }, Outcome::Done(at)) = (&event.op, event.outcome) {
            self.pages.retain(|page, _| !(at..at + len.0).contains(page));
        }
        self.last = Some(event.op.clone());
        Next::Go
    }

    fn fault_counts(&mut self, counts: &FaultCounts) {
        self.counts = *counts;
    }
}

/// What the program says: what happens there, where, and a number.
fn said(path: &Path) -> Vec<(String, u64, u64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let what = words.next()?.to_owned();
        Some((what, u64::from_str_radix(words.next()?, 16).ok()?, words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Checks that faults which fail are not told, whatever the kernel accounts to their task right after them, that those of the
/// disk are major, that those of the kernel for a call are told, and the last one of a task that does nothing more.
#[test]
fn each_fault_is_told_by_how_it_ended() {
    if !need_root("BPF programs are loaded") || !need(Capability::Tool("cc")) {
        return;
    }
    let faults = Some(FaultWatch::default());
    let bpf = match Bpf::with(BpfOptions { faults, ..BpfOptions::default() }) {
        Err(TraceError::Bpf(why)) => return without_bpf(&why),
        bpf => bpf.unwrap(),
    };
    let folder = tempfile::tempdir().unwrap();
    let [binary, source, report, file] =
        ["fault_ends", "fault_ends.c", "said", "page"].map(|name| folder.path().join(name));
    std::fs::write(&source, include_str!("fault_ends.c")).unwrap();
    std::fs::write(&file, [1; PAGE as usize]).unwrap();
    assert!(Command::new("cc").arg("-o").args([&binary, &source]).status().unwrap().success());
    let command: Vec<OsString> = [&binary, &report, &file].iter().map(|path| path.into()).collect();
    let launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    let (mut keeper, mut kernel) = (Keeper::default(), ProcKernel::new(ProcRoot::system()));
    let end = bpf.start(&launch).unwrap().run(&mut kernel, &mut keeper).unwrap();
    assert_eq!(end, End::Exited(0));
    let counts = keeper.counts;
    assert_eq!((counts.lost, counts.of_others), (0, 0), "{counts:?}");
    assert_eq!(counts.told(), counts.produced, "{counts:?}");
    let mut failed = 0;
    for (what, at, number) in said(&report) {
        let [told, major, of_kernel] = keeper.pages.get(&at).copied().unwrap_or_default();
        match what.as_str() {
            "failed" => {
                failed += number;
                assert_eq!(told, 0, "{what} {at:x}");
            }
            "silent" => assert_eq!(told, 0, "{what} {at:x}"),
            "kernel" => {
                let all = keeper.pages.range(at..at + number * PAGE).map(|(_, page)| page[2]);
                assert_eq!((number, all.collect::<Vec<_>>()), (64, vec![1; 64]));
            }
            "major" => {
                assert_eq!((major, of_kernel), (number, 0), "{what} {at:x}");
                if number == 0 {
                    left_off("major faults (no disk below the temporary folder)");
                }
            }
            "last" => assert_eq!((told, major), (1, 0), "{what} {at:x}"),
            other => panic!("{other}"),
        }
    }
    assert_eq!(failed, 6);
    assert_eq!(counts.unfinished(), Some(failed), "{counts:?}");
    // Those that were read, written ahead, and looked at for process_vm_readv(2), are accounted and never told.
    assert!(counts.unseen().is_some_and(|unseen| unseen >= 64 + 5), "{counts:?}");
    assert!(matches!(keeper.last, Some(Op::Exit { .. })), "{:?}", keeper.last);
}
