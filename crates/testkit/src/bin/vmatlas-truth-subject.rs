//! A program that makes random memory calls, the same ones for the same seed, for comparing the model with the kernel.
//!
//! At its end it prints one line: how often each call was done and failed.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use vmatlas_sys::playground::fixed_addresses;
use vmatlas_testkit::truth::{Stage, Without, program, text};

const USAGE: &str = "\
usage: vmatlas-truth-subject --calls N --seed S [--from EPOCH] [--threads T] [--without STEP,...] [--progress FILE]
       vmatlas-truth-subject --epoch E --seed S [--threads T] [--without STEP,...]   plays one epoch
       vmatlas-truth-subject --print --epoch E --seed S [--without STEP,...]         prints its program
       vmatlas-truth-subject --program FILE                                          plays a program";

#[derive(Default)]
struct Options {
    calls: Option<u64>,
    seed: u64,
    from: u64,
    epoch: Option<u64>,
    threads: u64,
    without: Without,
    print: bool,
    program: Option<String>,
    /// The number of the epoch that is being played, and of the calls before it, are written here.
    progress: Option<String>,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("vmatlas-truth-subject: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { threads: 1, ..Options::default() };
    while let Some(arg) = args.next() {
        let mut number = || args.next()?.parse::<u64>().ok();
        match arg.as_str() {
            "--calls" => options.calls = Some(number()?),
            "--seed" => options.seed = number()?,
            "--from" => options.from = number()?,
            "--epoch" => options.epoch = Some(number()?),
            "--threads" => options.threads = number().filter(|n| (1..=64).contains(n))?,
            "--without" => options.without = Without::parse(&args.next()?).ok()?,
            "--print" => options.print = true,
            "--program" => options.program = Some(args.next()?),
            "--progress" => options.progress = Some(args.next()?),
            _ => return None,
        }
    }
    let what = [options.calls.is_some(), options.epoch.is_some(), options.program.is_some()];
    (what.into_iter().filter(|given| *given).count() == 1).then_some(options)
}

fn run(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let file = options.program.as_ref().map(std::fs::read_to_string).transpose()?;
    let given = file.as_deref().map(text::parse).transpose()?;
    if options.print {
        let epoch = options.epoch.ok_or("--print needs --epoch")?;
        print!("{}", text::print(&program(options.seed, epoch, 0, &options.without)));
        return Ok(ExitCode::SUCCESS);
    }
    // The same addresses on every run, also where the kernel chooses; where that is not allowed, the rest is the same.
    if fixed_addresses().unwrap_or(false) {
        return Err(Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec().into());
    }
    let stage = Stage::new()?;
    match given {
        Some(steps) => stage.play(&steps),
        None => epochs(options, &stage)?,
    }
    println!("{}", stage.counts());
    if stage.killed() > 0 {
        return Err(format!("a signal ended {} children", stage.killed()).into());
    }
    Ok(ExitCode::SUCCESS)
}

fn epochs(options: &Options, stage: &Stage) -> Result<(), Box<dyn Error>> {
    let progress = options.progress.as_ref().map(File::create).transpose()?;
    let from = options.epoch.unwrap_or(options.from);
    let go_on = |epoch: u64| {
        if let Some(file) = &progress {
            // For whoever looks for the failing epoch, and for showing how far we are; nobody depends on it.
            let _ = file.write_at(format!("{epoch} {}\n", stage.counts().calls()).as_bytes(), 0);
        }
        match options.calls {
            Some(calls) => stage.counts().calls() < calls,
            None => epoch == from,
        }
    };
    if options.threads > 1 {
        stage.play_together(options.seed, from, options.threads, &options.without, &go_on);
        return Ok(());
    }
    for epoch in from.. {
        if !go_on(epoch) {
            break;
        }
        stage.play(&program(options.seed, epoch, 0, &options.without));
    }
    Ok(())
}
