//! `vmatlas pack`: a recording as one file.

use crate::context::Context;
use crate::progress::{self, Of, Progress};
use crate::{output, texts};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::fmt::Display;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmatlas_event::Bytes;
use vmatlas_record::{Existing, Packing, RecordError};
use vmatlas_view::json::put_name;
use vmatlas_view::{escape, units};

#[derive(Args, Debug)]
pub(crate) struct PackArgs {
    /// The recording: a folder; it stays as it is
    #[arg(value_name = "REC")]
    recording: PathBuf,
    /// The file to make (else REC.zip)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a packed recording that is there
    #[arg(long)]
    force: bool,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// What a person should know of packed recordings.
pub(crate) const NOTES: &str = "\
    All commands read the file as they read the folder: info, log, verify, show FILE@MOMENT, why, diff, rss, origins, export. It is a ZIP file \
    without compression (the tables inside are compressed already): 'unzip FILE -d FOLDER' gives the folder back, and \
    programs read a table from it directly. What was not sealed because vmatlas was killed is sealed in the file, as far as \
    it is whole; what is lost is told.";

pub(crate) fn run(args: &PackArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let reader = super::open(&args.recording, context)?;
    let to = args.output.clone().unwrap_or_else(|| beside(&args.recording));
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    // ^C is to leave nothing half-made.
    let wishes = vmatlas_sys::signal::Wishes::begin();
    let mut progress = Progress::new(context, progress::PACKING, Of::Bytes);
    let packed = reader.pack(&to, existing, &mut |read, total| {
        progress.tick(read, total);
        !wishes.is_to_end()
    });
    drop(progress);
    drop(wishes);
    let packing = packed.map_err(|error| explain(&error, &to, context))?;
    let is_ended = reader.meta().end.is_some();
    if args.json {
        output::print(|out| writeln!(out, "{}", json(&args.recording, &to, &packing, is_ended)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = |path: &Path| escape::terminal(path.as_os_str().as_bytes());
    let size = units::size(Bytes(packing.bytes));
    let values: [(&str, &dyn Display); 4] = [
        ("path", &name(&args.recording)),
        ("to", &name(&to)),
        ("files", &units::count(packing.files)),
        ("size", &size),
    ];
    output::print(|out| {
        writeln!(out, "{}", texts::PACKED.fill(context.lang, &values))?;
        if !is_ended {
            writeln!(out, "{}", texts::PACKED_NOT_ENDED.get(context.lang))?;
        }
        packing.lost.iter().try_for_each(|damage| {
            let what = escape::terminal(damage.to_string().as_bytes());
            writeln!(out, "{}", texts::PACKED_LOST.fill(context.lang, &[("what", &what)]))
        })
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `REC.zip`, beside REC.
fn beside(recording: &Path) -> PathBuf {
    let mut name = recording.as_os_str().as_bytes();
    while let Some(shorter) = name.strip_suffix(b"/").filter(|shorter| !shorter.is_empty()) {
        name = shorter;
    }
    PathBuf::from(OsString::from_vec([name, b".zip"].concat()))
}

fn json(recording: &Path, to: &Path, packing: &Packing, is_ended: bool) -> Value {
    let mut object = Map::new();
    object.insert("schema".into(), "vmatlas/pack/1".into());
    put_name(&mut object, "recording", recording.as_os_str().as_bytes());
    put_name(&mut object, "file", to.as_os_str().as_bytes());
    object.insert("size".into(), packing.bytes.into());
    object.insert("members".into(), packing.files.into());
    object.insert("ended".into(), is_ended.into());
    let lost: Vec<Value> = packing
        .lost
        .iter()
        .map(|damage| json!({ "file": damage.file, "at": damage.at, "what": damage.what }))
        .collect();
    object.insert("lost".into(), lost.into());
    Value::Object(object)
}

/// Which file it is that cannot be read or written.
fn explain(error: &RecordError, to: &Path, context: &Context) -> anyhow::Error {
    let lang = context.lang;
    match error {
        RecordError::Io { path, source }
            if is_left(path, to) && source.kind() == ErrorKind::AlreadyExists =>
        {
            anyhow!(texts::PACK_LEFT.fill(lang, &[("path", &path.display())]))
        }
        RecordError::Exists(path) if is_left(path, to) => {
            anyhow!(texts::PACK_LEFT.fill(lang, &[("path", &path.display())]))
        }
        RecordError::Io { path, .. } if !is_ours(path, to) => super::explain_reading(error, context),
        RecordError::Exists(path) => {
            anyhow!(texts::PACK_EXISTS.fill(lang, &[("path", &path.display())]))
        }
        RecordError::NotOurs(path) => {
            anyhow!(texts::PACK_NOT_OURS.fill(lang, &[("path", &path.display())]))
        }
        RecordError::BeingWritten(path) => {
            anyhow!(texts::PACK_BEING_WRITTEN.fill(lang, &[("path", &path.display())]))
        }
        _ => super::explain(error, context),
    }
}

/// Whether a path is a temporary one of the file being made.
fn is_left(path: &Path, to: &Path) -> bool {
    path != to && is_ours(path, to)
}

/// Whether a path is that of the file being made, or of its temporary name.
fn is_ours(path: &Path, to: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(to.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the name that a packed recording gets by itself.
    #[test]
    fn a_name_beside() {
        for (recording, wanted) in [
            ("r", "r.zip"),
            ("a.vmatlas/", "a.vmatlas.zip"),
            ("/x/r//", "/x/r.zip"),
            ("./r", "./r.zip"),
            ("/", "/.zip"),
        ] {
            assert_eq!(beside(Path::new(recording)), Path::new(wanted));
        }
    }
}
