//! A program to be measured: it does one thing, many times, and prints what each time cost.
//!
//! `vmatlas-subject vmas N` makes about N VMAs, prints `ready` and sleeps until its input ends ·
//! `pairs N` calls mmap and munmap N times each and prints nanoseconds per call ·
//! `shares N` does the same below a ptrace tracer, and prints what a call takes of a CPU, in nanoseconds: of this program and the
//! thread that traces it, in the median block of calls; and of all threads of the tracer ·
//! `calls N` makes N system calls that are none of memory and prints nanoseconds per call ·
//! `stall GIB` has so much resident in small pages, prints `ready`, and for each line `MS` of its input maps, touches and
//! unmaps memory for so long; prints the worst and the 99.9th percentile microseconds and the rounds per second ·
//! `touch N` touches N fresh pages, 4,096 at a time, and prints nanoseconds per page ·
//! `block-touches N`, `block-pairs N` and `block-calls N` do the same work in N blocks that count (testkit's `blocks`), on the
//! last processor, and print the least nanoseconds of its CPU time that one touch or call took, and the median ·
//! `spin MS` computes for about that long without any call, and prints the milliseconds it took.

#![forbid(unsafe_code)]

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_sys::mem::{Arena, Touch, touch};
use vmatlas_testkit::{blocks, timed};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = args.get(2).and_then(|n| n.parse::<u64>().ok());
    let done = match (args.get(1).map(String::as_str), number) {
        (Some("vmas"), Some(n)) => vmas(n),
        (Some("pairs"), Some(n)) => pairs(n),
        (Some("shares"), Some(n)) => shares(n),
        (Some("calls"), Some(n)) => calls(n),
        (Some("stall"), Some(gib)) => stall(gib),
        (Some("touch"), Some(n)) => touch_pages(n),
        (Some("block-touches"), Some(n)) => block_touches(n),
        (Some("block-pairs"), Some(n)) => block_pairs(n),
        (Some("block-calls"), Some(n)) => block_calls(n),
        (Some("spin"), Some(ms)) => spin(Duration::from_millis(ms)),
        _ => {
            eprintln!(
                "usage: vmatlas-subject vmas|pairs|shares|calls|stall|touch|block-touches|block-pairs|block-calls|spin N"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Errno(errno)) => {
            eprintln!("vmatlas-subject: error {errno}");
            ExitCode::FAILURE
        }
    }
}

/// Pages of one mapping, in turn writable and not, so that no two neighbours merge.
fn vmas(n: u64) -> Result<(), Errno> {
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(n * page), ProtArg(3), MapFlags(0x4002))?;
    for index in (1..n).step_by(2) {
        arena.protect(Addr(arena.range().start().0 + index * page), Bytes(page), ProtArg(1))?;
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn pair() -> Result<(), Errno> {
    const LEN: Bytes = Bytes(64 * 1024);
    let arena = Arena::new(LEN, ProtArg(3), MapFlags(2))?;
    arena.unmap(arena.range().start(), LEN)
}

fn pairs(n: u64) -> Result<(), Errno> {
    let start = Instant::now();
    for _ in 0..n {
        pair()?;
    }
    println!("{:.1}", start.elapsed().as_nanos() as f64 / (2 * n) as f64);
    Ok(())
}

/// The program waits for the thread that traces it and that thread for the program, so what both take of a CPU is what a call
/// takes, and nobody else's work is in it.
fn shares(n: u64) -> Result<(), Errno> {
    const BLOCK: u64 = 1000;
    const NOBODY: Errno = Errno(3);
    let status = std::fs::read_to_string("/proc/self/status").map_err(|_| NOBODY)?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    let tracer = Path::new("/proc").join(tracer.filter(|tracer| *tracer != "0").ok_or(NOBODY)?);
    let both = || Some(vmatlas_sys::thread_cpu_time() + on_cpu(&tracer)?);
    let everybody = || {
        let threads = std::fs::read_dir(tracer.join("task")).ok()?;
        let theirs = threads.map(|thread| on_cpu(&thread.ok()?.path())).sum::<Option<Duration>>()?;
        Some(vmatlas_sys::thread_cpu_time() + theirs)
    };
    let per_call = |time: Duration, pairs: u64| time.as_nanos() as f64 / (2 * pairs) as f64;
    let mut blocks = Vec::new();
    let all_before = everybody().ok_or(NOBODY)?;
    for _ in 0..n.div_ceil(BLOCK) {
        let before = both().ok_or(NOBODY)?;
        for _ in 0..BLOCK {
            pair()?;
        }
        blocks.push(both().ok_or(NOBODY)?.saturating_sub(before));
    }
    let all = everybody().ok_or(NOBODY)?.saturating_sub(all_before);
    blocks.sort_unstable();
    let median = blocks.get(blocks.len() / 2).copied().ok_or(NOBODY)?;
    println!("{:.1} {:.1}", per_call(median, BLOCK), per_call(all, n.div_ceil(BLOCK) * BLOCK));
    Ok(())
}

/// What a thread has had of a CPU: proc_pid_schedstat, its first number.
fn on_cpu(thread: &Path) -> Option<Duration> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
}

/// A fault for each page: without huge pages, and given back after each round so that all of it is fresh again.
fn touch_pages(n: u64) -> Result<(), Errno> {
    const NOHUGEPAGE: i32 = 15;
    const DONTNEED: i32 = 4;
    const ROUND: u64 = 4096;
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(ROUND * page), ProtArg(3), MapFlags(0x4002))?;
    let (start, len) = (arena.range().start(), arena.range().len());
    arena.advise(start, len, NOHUGEPAGE)?;
    let mut time = Duration::ZERO;
    for _ in 0..n.div_ceil(ROUND) {
        let start_of_round = Instant::now();
        touch(arena.range(), 0, ROUND, Touch::Write)?;
        time += start_of_round.elapsed();
        arena.advise(start, len, DONTNEED)?;
    }
    println!("{:.1}", time.as_nanos() as f64 / (n.div_ceil(ROUND) * ROUND) as f64);
    Ok(())
}

fn stall(gib: u64) -> Result<(), Errno> {
    const NOHUGEPAGE: i32 = 15;
    const MOST: usize = 8 << 20;
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(gib << 30), ProtArg(3), MapFlags(0x4002))?;
    arena.advise(arena.range().start(), arena.range().len(), NOHUGEPAGE)?;
    touch(arena.range(), 0, arena.range().len().0 / page, Touch::Write)?;
    // Filled now, so that nothing of ours is touched for the first time while it is measured.
    let mut latencies = vec![u32::MAX; MOST];
    println!("ready");
    for line in std::io::stdin().lines() {
        let Some(ms) = line.ok().and_then(|ms| ms.parse().ok()) else { return Err(Errno(22)) };
        let (time, start) = (Duration::from_millis(ms), Instant::now());
        let (mut rounds, mut before) = (0, Duration::ZERO);
        while before < time && rounds < MOST {
            let small = Arena::new(Bytes(16 * page), ProtArg(3), MapFlags(2))?;
            touch(small.range(), 0, 1, Touch::Write)?;
            small.unmap(small.range().start(), small.range().len())?;
            let now = start.elapsed();
            latencies[rounds] = u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX);
            rounds += 1;
            before = now;
        }
        let seen = &mut latencies[..rounds];
        seen.sort_unstable();
        let us = |index: usize| seen.get(index).map_or(f64::NAN, |ns| f64::from(*ns) / 1e3);
        println!(
            "{:.1} {:.1} {:.0}",
            us(rounds - 1),
            us(rounds * 999 / 1000),
            rounds as f64 / before.as_secs_f64()
        );
    }
    Ok(())
}

fn calls(n: u64) -> Result<(), Errno> {
    let start = Instant::now();
    for _ in 0..n {
        // Never answered from user space, as getpid(2) once was.
        std::hint::black_box(vmatlas_sys::real_uid());
    }
    println!("{:.1}", start.elapsed().as_nanos() as f64 / n as f64);
    Ok(())
}

/// Does work in blocks, each of so many touches or calls.
fn in_blocks(
    blocks_wanted: u64,
    times: u64,
    work: impl FnMut() -> Result<Duration, Errno>,
) -> Result<(), Errno> {
    const BUSY: i32 = 16;
    let last = vmatlas_sys::sched::online().last().copied().and_then(|cpu| usize::try_from(cpu).ok());
    last.map_or(Ok(()), vmatlas_sys::sched::bind)?;
    let counted = blocks(u32::try_from(blocks_wanted).unwrap_or(u32::MAX), work)?.ok_or(Errno(BUSY))?;
    println!("{:.1} {:.1}", counted.least / times as f64, counted.median / times as f64);
    Ok(())
}

/// First touches of small pages.
fn block_touches(n: u64) -> Result<(), Errno> {
    const NOHUGEPAGE: i32 = 15;
    const DONTNEED: i32 = 4;
    const PAGES: u64 = 1024;
    let len = Bytes(PAGES * vmatlas_sys::page_size().bytes());
    let arena = Arena::new(len, ProtArg(3), MapFlags(0x4002))?;
    arena.advise(arena.range().start(), len, NOHUGEPAGE)?;
    in_blocks(n, PAGES, || {
        let took = timed(|| arena.fill())?;
        arena.advise(arena.range().start(), len, DONTNEED)?;
        Ok(took)
    })
}

/// Calls that map and unmap.
fn block_pairs(n: u64) -> Result<(), Errno> {
    const PAIRS: u64 = 500;
    in_blocks(n, 2 * PAIRS, || timed(|| (0..PAIRS).try_for_each(|_| pair())))
}

/// System calls that are none of memory.
fn block_calls(n: u64) -> Result<(), Errno> {
    const CALLS: u64 = 2000;
    let call = || {
        std::hint::black_box(vmatlas_sys::real_uid());
        Ok(())
    };
    in_blocks(n, CALLS, || timed(|| (0..CALLS).try_for_each(|_| call())))
}

fn spin(time: Duration) -> Result<(), Errno> {
    // So many steps, not so much time: what slows the program down must show.
    const STEPS_PER_MS: u64 = 1_000_000;
    let mut x = 1u64;
    let start = Instant::now();
    for i in 0..STEPS_PER_MS * time.as_millis() as u64 {
        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    println!("{:.3} {x}", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
