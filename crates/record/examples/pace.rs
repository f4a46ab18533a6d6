//! How fast a recording is written and read: `pace FOLDER EVENTS` makes one of a mmap/munmap loop and prints what it cost.

#![expect(clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::time::Instant;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, EventSource, MapFlags, MmId, MonoNs, Op, Outcome, Pid, Prot, ProtArg, Seq,
    Source, TaskId, Tid, VmaRow,
};
use vmatlas_record::{End, Existing, Meta, Options, Reader, Writer};

fn event(seq: u64, time: u64) -> Event {
    let (addr, len) = (Addr(0x7f00_0000_0000 + seq % 64 * 0x10_0000), Bytes(0x1_0000));
    let prot = ProtArg(3);
    let range = AddrRange::from_len(addr, len).unwrap();
    let (op, result) = match seq % 3 {
        0 => (Op::Mmap { addr: Addr(0), len, prot, flags: MapFlags(0x22), fd: -1, offset: 0 }, addr.0),
        1 => {
            let rows = vec![VmaRow::anonymous(range, Prot::RW)];
            (Op::Observed { rows, asked: range, late: false, in_flight: Vec::new() }, 0)
        }
        _ => (Op::Munmap { addr, len }, 0),
    };
    Event {
        seq: Seq(seq),
        entered: MonoNs(time),
        left: MonoNs(time + if seq % 3 == 1 { 0 } else { 700 + seq * 7919 % 300 }),
        task: TaskId { pid: Pid(7), tid: Tid(7), started: None },
        mm: MmId(0),
        op,
        outcome: Outcome::Done(result),
        stack: None,
        source: Source::Ptrace,
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let (folder, count) = (Path::new(&words[1]), words[2].parse::<u64>().unwrap());
    let options = Options { existing: Existing::Replace, ..Options::default() };
    let mut writer = Writer::create(folder, Meta::default(), options).unwrap();
    let start = Instant::now();
    let mut time = 1_000_000_000;
    for seq in 0..count {
        time += 2000 + seq * 104_729 % 1500;
        writer.event(&event(seq, time));
    }
    let taken = start.elapsed();
    let per = |time: std::time::Duration| time.as_nanos() as f64 / count as f64;
    println!("taking an event      {:8.1} ns, {:.0} events/s", per(taken), 1e9 / per(taken));
    assert!(writer.take_failure().is_none());
    writer.finish(End::default()).unwrap();
    println!("until it was sealed  {:8.1} ns per event", per(start.elapsed()));
    println!("largest in memory    {:8} MiB", resident());
    let start = Instant::now();
    let mut reader = Reader::open(folder).unwrap();
    println!("opening              {:8.1} ms", start.elapsed().as_secs_f64() * 1e3);
    println!("size                 {:8.2} bytes per event", reader.size() as f64 / count as f64);
    let mut times = Vec::new();
    for n in 0..200u64 {
        let wanted = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
        let start = Instant::now();
        let mut found = None;
        reader
            .events(Seq(wanted), &mut |event| {
                found = Some(event.seq);
                false
            })
            .unwrap();
        assert_eq!(found, Some(Seq(wanted)));
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "seeking, p50 / p99   {:8.1} / {:.1} ms",
        times[100].as_secs_f64() * 1e3,
        times[198].as_secs_f64() * 1e3
    );
    let start = Instant::now();
    let mut n = 0;
    reader
        .events(Seq(0), &mut |_| {
            n += 1;
            true
        })
        .unwrap();
    assert_eq!(n, count);
    println!("reading all          {:8.1} ns per event", per(start.elapsed()));
    println!("largest in memory    {:8} MiB", resident());
}
