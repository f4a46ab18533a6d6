//! `vmatlas export`: the call stacks of a recording, as other tools read them.

use crate::context::Context;
use crate::progress::{self, Of, Progress};
use crate::recording::{self, Names};
use crate::{complain, output, texts};
use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmatlas_event::{Addr, EventSource, FrameId, Op, Outcome, PageSize, Seq, StackId};
use vmatlas_model::{Done, Spaces};
use vmatlas_record::Reader;
use vmatlas_view::export::{self, Place, Profile, Sample, Unit, Weight};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A line for each stack, for flamegraph.pl, inferno and speedscope
    Collapsed,
    /// <https://www.speedscope.app>
    Speedscope,
    /// <https://profiler.firefox.com>
    Firefox,
    /// go tool pprof, Pyroscope, Parca; gzipped
    Pprof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Bytes that calls mapped
    Mapped,
    /// Calls
    Calls,
    /// Page faults, by the code that touched (run --faults --stacks)
    Faults,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// The recording, made with --stacks
    #[arg(value_name = "REC")]
    recording: PathBuf,
    /// The format
    #[arg(short, long, value_name = "FORMAT")]
    format: Format,
    /// What stacks weigh; formats that hold several weights show this one first
    #[arg(long, value_name = "WHAT", default_value = "mapped")]
    by: By,
    /// The file to make (else standard output)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

/// What a person should know of exports.
pub(crate) const NOTES: &str = "\
    A stack weighs what its calls mapped (mmap, brk, a growing mremap; pages that were moved or only changed weigh nothing), \
    whether or not it was unmapped again, or how many calls it made that did not fail; with --by faults, how many recorded page faults it caused. Stacks whose callers are missing begin \
    with [truncated]; calls without a stack are left out, and how many is told. Names come from the recording; where it has \
    none, from the files of this machine that are the same build.";

const WEIGHTS: [Weight; 3] = [
    Weight { name: "calls", unit: Unit::Count },
    Weight { name: "mapped", unit: Unit::Bytes },
    Weight { name: "faults", unit: Unit::Count },
];

pub(crate) fn run(args: &ExportArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(true);
    let mut reader = recording::open(&args.recording, context)?;
    let stacks = reader.stacks().map_err(|error| recording::explain_reading(&error, context))?;
    if stacks.counts()[2] == 0 {
        let values: [(&str, &dyn Display); 1] = [("path", &args.recording.display())];
        return Err(anyhow!(texts::REC_NO_STACKS.fill(context.lang, &values)));
    }
    let mut taken = Taken::new(Names::new(stacks, crate::stacks::started(&reader), context));
    let without = read(&mut reader, &mut taken, context)?;
    let has_faults = taken.has_faults;
    let mut profile = taken.profile;
    profile.title.clone_from(&reader.meta().program);
    // Where no faults were recorded there is nothing to weigh by them.
    let weights = if has_faults || args.by == By::Faults { WEIGHTS.len() } else { 2 };
    profile.weights = WEIGHTS.iter().take(weights).cloned().collect();
    profile.samples.iter_mut().for_each(|sample| sample.values.truncate(weights));
    profile.preferred = match args.by {
        By::Calls => 0,
        By::Mapped => 1,
        By::Faults => 2,
    };
    let began = reader.meta().started.saturating_add(reader.meta().clock_offset);
    profile.began = i64::try_from(began).ok();
    profile.duration = reader.meta().end.as_ref().map(|end| end.at.saturating_sub(reader.meta().started));
    if without > 0 {
        complain(context, &texts::EXPORT_WITHOUT.fill(context.lang, &[("n", &without)]));
    }
    let json = |value: serde_json::Value| value.to_string().into_bytes();
    let bytes = match args.format {
        Format::Collapsed => export::collapsed(&profile, profile.preferred).into_bytes(),
        Format::Speedscope => json(export::speedscope(&profile)),
        Format::Firefox => json(export::firefox(&profile)),
        Format::Pprof => export::pprof(&profile)?,
    };
    match &args.output {
        Some(path) => write(path, args.force, &bytes, context)?,
        None => output::quiet(io::stdout().lock().write_all(&bytes))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, force: bool, bytes: &[u8], context: &Context) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow!(texts::EXPORT_EXISTS.fill(context.lang, &[("path", &path.display())]))
        }
        _ => {
            let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", &error)];
            anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
        }
    })
}

/// Replays the events, for only the model knows what a call mapped; how many calls had no stack.
fn read(reader: &mut Reader, taken: &mut Taken, context: &Context) -> Result<u64> {
    let last = reader.last().map_or(0, |last| last.0);
    let start = reader.meta().started;
    let mut spaces = Spaces::new(PageSize::new(reader.meta().page_size).unwrap_or(vmatlas_sys::page_size()));
    spaces.distrust(reader.meta().distrust);
    let mut without = 0;
    let mut progress = Progress::new(context, progress::READING, Of::Events);
    let read = reader.events(Seq(0), &mut |event| {
        progress.tick(event.seq.0, last);
        let progress = spaces.event(&event);
        for done in progress.unanswered.iter().chain(&progress.done) {
            without += u64::from(!taken.done(done, start));
        }
        true
    });
    progress.end();
    for damage in reader.damage() {
        complain(context, &damage.to_string());
    }
    read.map_err(|error| recording::explain_reading(&error, context))?;
    Ok(without)
}

/// What is taken out of the recording.
struct Taken {
    names: Names,
    profile: Profile,
    /// The places of frames that were met.
    places: HashMap<FrameId, usize>,
    /// The places of stacks, and whether callers are missing.
    stacks: HashMap<StackId, Option<(Vec<usize>, bool)>>,
    has_faults: bool,
}

impl Taken {
    fn new(names: Names) -> Taken {
        let count = names.stacks.counts()[0];
        let modules =
            (0..count).filter_map(|at| names.stacks.module(vmatlas_event::ModuleId(at as u32)).cloned());
        let profile = Profile { modules: modules.collect(), ..Profile::default() };
        Taken { names, profile, places: HashMap::new(), stacks: HashMap::new(), has_faults: false }
    }

    /// Takes a call; whether it has a stack, or is none that should have.
    fn done(&mut self, done: &Done, start: u64) -> bool {
        let event = &done.event;
        if matches!(event.op, Op::Fault { .. }) {
            let at = Some(event.left.0.saturating_sub(start));
            if let Some((stack, is_truncated)) = event.stack.and_then(|id| self.stack(id)) {
                self.has_faults = true;
                self.profile.samples.push(Sample { stack, is_truncated, values: vec![0, 0, 1], at });
            }
            return true;
        }
        if !event.op.is_call() || matches!(event.outcome, Outcome::Failed(_)) {
            return true;
        }
        let Some((stack, is_truncated)) = event.stack.and_then(|id| self.stack(id)) else { return false };
        let (added, _) = done.bytes();
        let at = Some(event.left.0.saturating_sub(start));
        self.profile.samples.push(Sample { stack, is_truncated, values: vec![1, added.0, 0], at });
        true
    }

    fn stack(&mut self, id: StackId) -> Option<(Vec<usize>, bool)> {
        if let Some(known) = self.stacks.get(&id) {
            return known.clone();
        }
        let stack = self.names.stacks.frame_ids(id).map(|(frames, end)| {
            let places = frames.into_iter().filter_map(|(frame, _)| self.place(frame)).collect();
            (places, end.is_truncated())
        });
        self.stacks.insert(id, stack.clone());
        stack
    }

    fn place(&mut self, id: FrameId) -> Option<usize> {
        if let Some(known) = self.places.get(&id) {
            return Some(*known);
        }
        let frame = self.names.stacks.frame(id)?;
        let (module, address) = match frame.place {
            vmatlas_event::Place::Module(module, at) => (Some(module.0 as usize), at),
            vmatlas_event::Place::Unknown(at) => (None, at),
        };
        let address = Addr(address.0.saturating_sub(u64::from(frame.is_return)));
        self.profile.places.push(Place { module, address, functions: self.names.of(id) });
        let number = self.profile.places.len() - 1;
        self.places.insert(id, number);
        Some(number)
    }
}
