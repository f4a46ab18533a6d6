//! What reading the pages of every VMA costs, for the benchmark.
//!
//! `read_pages floor PID N` reads maps with bare read(2) calls and scans everything in one PAGEMAP_SCAN call, N times ·
//! `read_pages scan PID N` only scans · `read_pages ours PID N [HOLD_US [THREADS]]` reads the map and the pages of each
//! VMA as `vmatlas show` does. Prints the median microseconds, the longest single hold and the calls of the last time.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, Pid};
use vmatlas_proc::read::residency;
use vmatlas_proc::{Budget, MapsReader, ProcRoot};
use vmatlas_sys::{PageRun, pagemap_scan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, mode, pid, times, rest @ ..] = args.as_slice() else {
        return Err("read_pages floor|scan|ours PID N [HOLD_US [THREADS]]".into());
    };
    let pid = Pid(pid.parse()?);
    let process = ProcRoot::system().process(pid)?;
    let number = |index: usize| rest.get(index).map(|n| n.parse::<u64>()).transpose();
    let mut budget = Budget::default();
    if let Some(hold) = number(0)? {
        budget.hold = Duration::from_micros(hold);
    }
    budget.threads = number(1)?.map_or(1, |n| n as usize);
    let mut reader = MapsReader::new();
    let mut runs = vec![PageRun::default(); 1 << 22];
    let mut took = Vec::new();
    let (mut hold, mut calls) = (Duration::ZERO, 0);
    for _ in 0..times.parse::<usize>()?.max(1) {
        let start = Instant::now();
        if mode == "ours" {
            let maps = reader.read(&process)?;
            let residency = residency::read(&process, &maps.rows, budget)?;
            (hold, calls) = (residency.cost.longest_hold, residency.cost.calls);
        } else {
            if mode == "floor" {
                let mut maps = File::open(format!("/proc/{pid}/maps"))?;
                let mut buffer = [0u8; 64 * 1024];
                while maps.read(&mut buffer)? > 0 {}
            }
            let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
            let everything = AddrRange::new(Addr(0), Addr(0x7fff_ffff_f000)).ok_or("range")?;
            let since = Instant::now();
            let step = pagemap_scan(pagemap.as_fd(), everything, u64::MAX, &mut runs)
                .map_err(|e| format!("error {}", e.0))?;
            (hold, calls) = (since.elapsed(), 1);
            if step.next < everything.end() {
                return Err("too many runs for one call".into());
            }
        }
        took.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    took.sort_by(f64::total_cmp);
    println!("{:.1} {:.1} {calls}", took[took.len() / 2], hold.as_nanos() as f64 / 1e3);
    Ok(())
}
