//! Prints what glibc's malloc holds in a process: `cargo run -p vmatlas-proc --example malloc_walk PID`.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use vmatlas_event::Pid;
use vmatlas_proc::malloc::{Limits, look};
use vmatlas_proc::{MapsReader, ProcError, ProcRoot};

fn main() -> ExitCode {
    let Some(pid) = std::env::args().nth(1).and_then(|pid| pid.parse().ok()) else {
        eprintln!("usage: malloc_walk PID");
        return ExitCode::from(2);
    };
    match print(Pid(pid)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("malloc_walk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(pid: Pid) -> Result<(), ProcError> {
    let process = ProcRoot::system().process(pid)?;
    let rows = MapsReader::new().read(&process)?.rows;
    let report = look(&process, &rows, Limits::default())?;
    println!(
        "malloc {} ({}), missing arenas {:?}",
        report.presence.id(),
        report.layout.map_or("no layout", |layout| layout.id()),
        report.missing_arenas
    );
    for arena in &report.arenas {
        println!(
            "arena {} main {} steady {} threads {:?} system {:?} used {:?} free {:?} top {:?} bins {:?} fast {:?} \
             whole free pages {:?} heaps {:?}",
            arena.at,
            arena.main,
            arena.steady,
            arena.attached_threads,
            arena.system,
            arena.used(),
            arena.free(),
            arena.top,
            arena.bins,
            arena.fast,
            arena
                .free_ranges
                .as_ref()
                .map(|all| all.iter().map(|range| range.len()).sum::<vmatlas_event::Bytes>()),
            arena.heaps.as_ref().map(Vec::len),
        );
    }
    println!("mapped {:?}", report.mapped);
    println!("thread caches {:?}", report.thread_caches);
    println!("system {:?} used {:?} free {:?}", report.system(), report.used(), report.free());
    println!("cost {:?}", report.cost);
    Ok(())
}
