//! `vmatlas verify`: whether a recording is sound.

use super::moment::{broken, timeline};
use crate::DIFFERENT;
use crate::context::{Context, Stream};
use crate::output;
use crate::progress::{self, Of, Progress};
use anyhow::Result;
use clap::Args;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{EventSource, MonoNs};
use vmatlas_record::Damage;
use vmatlas_view::verify::VerifyView;

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The recording
    #[arg(value_name = "REC")]
    recording: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// What a person should know of it.
pub(crate) const NOTES: &str = "\
    Reads every file to its end and compares its checksums, replays all events, and compares the replay with every \
    snapshot of the kernel, every keyframe and every look in the recording.\n\n\
    Exit status: 0 when it is sound, 3 when something is damaged or differs, 1 when it cannot be read at all.";

pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let mut reader = super::open(&args.recording, context)?;
    let mut progress = Progress::new(context, progress::CHECKING, Of::Rows);
    let checked = reader
        .check_with(&mut |read, total| progress.tick(read, total))
        .map_err(|error| super::explain_reading(&error, context))?;
    drop(progress);
    let last = reader.last().map_or(0, |last| last.0);
    let mut progress = Progress::new(context, progress::REPLAYING, Of::Events);
    let looks = match super::verify_looks::check(&mut reader, &mut |seq| progress.tick(seq.0, last)) {
        // It is among the damage that was found already, or is met again by replay.
        Err(vmatlas_record::RecordError::Damaged(_)) => None,
        looks => looks.map_err(|error| super::explain_reading(&error, context))?,
    };
    drop(progress);
    let mut progress = Progress::new(context, progress::REPLAYING, Of::Events);
    // Of the replay alone is told, not of each time that something is read for it.
    let silent = Progress::new(&context.for_program(true), progress::REPLAYING, Of::Events);
    let mut timeline = timeline(reader, silent, context)?;
    let verified = timeline.verify(|seq| {
        progress.tick(seq.0, last);
        true
    });
    drop(progress);
    let verified = verified.map_err(|error| broken(error, context))?;
    let source = timeline.source();
    let mut damage = checked.damage;
    let mut known: HashSet<Damage> = damage.iter().cloned().collect();
    damage.extend(source.damage().filter(|met| known.insert((*met).clone())).cloned());
    let view = VerifyView {
        path: args.recording.as_os_str().as_bytes().to_vec(),
        ended: source.reader().meta().end.is_some(),
        being_recorded: source.reader().is_being_written(),
        files: checked.files,
        rows: checked.rows,
        damage: damage.iter().map(ToString::to_string).collect(),
        verified,
        looks,
    };
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
    } else {
        let options = context.lines(Stream::Stdout, MonoNs(0));
        output::print(|out| view.write_text(out, &options))?;
    }
    Ok(if view.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
