//! `vmatlas info`: what a recording holds.

use super::looks;
use crate::context::{Context, Stream};
use crate::output;
use crate::progress::{self, Of, Progress};
use anyhow::Result;
use clap::Args;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{Bytes, EventSource, MonoNs, Op, Seq, SnapshotReason};
use vmatlas_record::{Reader, RecordError};
use vmatlas_view::info::{About, Counts, Faults, json, write_text};
use vmatlas_view::looks::Looks;

#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// The recording
    #[arg(value_name = "REC")]
    pub(crate) recording: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

pub(crate) fn run(args: &InfoArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let mut reader = super::open(&args.recording, context)?;
    let counts = match counted(&mut reader) {
        Ok(counts) if reader.damage().is_empty() => counts,
        _ => read(&mut reader, context),
    };
    let about = about(&reader);
    // The same damage is met when opening and when reading.
    let counts = Counts { broken: counts.broken.filter(|broken| !about.damage.contains(broken)), ..counts };
    if args.json {
        output::print(|out| writeln!(out, "{}", json(&about, &counts)))?;
    } else {
        let (style, columns) = (context.style(Stream::Stdout), context.columns(Stream::Stdout));
        let write =
            |out: &mut dyn std::fmt::Write| write_text(out, &about, &counts, context.lang, style, columns);
        if args.no_pager { output::print(write)? } else { output::page(context, write)? }
    }
    Ok(ExitCode::SUCCESS)
}

/// Counts without reading each event, where the recording is whole.
fn counted(reader: &mut Reader) -> Result<Counts, RecordError> {
    let mut counts = Counts::default();
    let mut programs = Vec::new();
    reader.landmarks(&mut |event| {
        match event.op {
            // Its rows, which name the program, are not among what is given.
            Op::Snapshot {
                reason: SnapshotReason::Exec | SnapshotReason::Attach | SnapshotReason::Watch,
                ..
            } => programs.push(event.seq),
            _ => counts.tell(&event),
        }
        true
    })?;
    let last = reader.last();
    let mut one = |from: Seq| {
        let mut found = None;
        let read = reader.events(from, &mut |event| {
            found = Some(event);
            false
        });
        read.map(|()| found)
    };
    for seq in programs {
        one(seq)?.iter().for_each(|event| counts.tell(event));
    }
    let first = one(Seq(0))?;
    let last = match last {
        Some(last) => one(last)?,
        None => None,
    };
    counts.times = first.zip(last).map(|(first, last)| (first.entered, last.left));
    for tallied in reader.tally()? {
        counts.add_many(tallied.task.pid, tallied.kind, tallied.failed, tallied.count);
    }
    Ok(counts)
}

/// Counts each event, as far as they go.
fn read(reader: &mut Reader, context: &Context) -> Counts {
    let last = reader.last().map_or(0, |last| last.0);
    let mut progress = Progress::new(context, progress::READING, Of::Events);
    let mut counts = Counts::default();
    let read = reader.events(Seq(0), &mut |event| {
        counts.add(&event);
        progress.tick(event.seq.0, last);
        true
    });
    counts.broken = read.err().map(|error| error.to_string());
    counts
}

fn about(reader: &Reader) -> About {
    let meta = reader.meta().clone();
    let end = meta.end.as_ref();
    let (is_watched, (all, error)) = (looks::is_watched(reader), looks::read(reader));
    let mut damage: Vec<String> = reader.damage().iter().map(ToString::to_string).collect();
    damage.extend(error.as_ref().map(ToString::to_string).filter(|what| !damage.contains(what)));
    About {
        path: reader.folder().as_os_str().as_bytes().to_vec(),
        started: MonoNs(meta.started),
        clock_offset: meta.clock_offset,
        ended: end.map(|end| MonoNs(end.at)),
        being_recorded: reader.is_being_written(),
        status: end.and_then(|end| end.status),
        lost: end.map(|end| end.lost),
        drift: end.map(|end| end.drift),
        others: end.and_then(|end| end.others),
        untracked: end.and_then(|end| end.untracked),
        keyframes: reader.keyframes().count() as u64,
        size: Bytes(reader.size()),
        faults: end.and_then(|end| end.faults).map(|faults| Faults {
            told: faults.told,
            lost: faults.lost,
            handled: faults.handled,
            accounted: faults.accounted,
        }),
        looks: is_watched.then(|| Looks { is_part: error.is_some(), ..Looks::of(&all, meta.interval) }),
        page_snapshots: if is_watched { 0 } else { all.len() as u64 },
        damage,
        features: meta.features,
        program: meta.program,
        args: meta.args,
        how: meta.how,
        host: meta.host,
        kernel: meta.kernel,
        arch: meta.arch,
        vmatlas: meta.vmatlas,
    }
}
