//! `vmatlas info`: what a recording holds.

use crate::context::{Context, Stream};
use crate::output;
use anyhow::Result;
use clap::Args;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{Bytes, EventSource, MonoNs, Seq};
use vmatlas_record::Reader;
use vmatlas_view::info::{About, Counts, json, write_text};

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
    let mut reader = super::open(&args.recording, context)?;
    let mut counts = Counts::default();
    let read = reader.events(Seq(0), &mut |event| {
        counts.add(&event);
        true
    });
    counts.broken = read.err().map(|error| error.to_string());
    let about = about(&reader);
    // The same damage is met when opening and when reading.
    counts.broken = counts.broken.filter(|broken| !about.damage.contains(broken));
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

fn about(reader: &Reader) -> About {
    let meta = reader.meta().clone();
    let end = meta.end.as_ref();
    About {
        path: reader.folder().as_os_str().as_bytes().to_vec(),
        started: MonoNs(meta.started),
        clock_offset: meta.clock_offset,
        ended: end.map(|end| MonoNs(end.at)),
        status: end.and_then(|end| end.status),
        lost: end.map(|end| end.lost),
        drift: end.map(|end| end.drift),
        keyframes: reader.keyframes().count() as u64,
        size: Bytes(reader.size()),
        damage: reader.damage().iter().map(ToString::to_string).collect(),
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
