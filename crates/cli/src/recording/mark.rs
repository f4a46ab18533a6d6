//! `vmatlas mark`: a name for this moment of a recording that is being made.

use crate::context::Context;
use crate::{output, texts};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vmatlas_model::timeline::Moment;
use vmatlas_record::{Laid, RecordError, is_mark_name};
use vmatlas_view::escape;
use vmatlas_view::json::put_name;

/// The recorder looks five times a second.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct MarkArgs {
    /// The recording, while it is being made
    #[arg(value_name = "REC")]
    pub(crate) recording: PathBuf,
    /// What this moment is to be called: at most 200 bytes
    #[arg(value_name = "NAME", value_parser = parse_name)]
    pub(crate) name: String,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_name(text: &str) -> Result<String, String> {
    let is_good = is_mark_name(text);
    is_good
        .then(|| text.to_owned())
        .ok_or_else(|| "1 to 200 bytes that can be seen, without blanks before or after".to_owned())
}

pub(crate) fn run(args: &MarkArgs, context: &Context) -> Result<ExitCode> {
    let (path, name) = (&args.recording, &args.name);
    let laid = Laid::new(path, name, vmatlas_sys::now()).map_err(|error| match &error {
        RecordError::Io { source, .. } => {
            let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", source)];
            anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
        }
        _ => super::explain(&error, context),
    })?;
    let start = Instant::now();
    // What the program does once we have returned comes after the mark.
    while !laid.is_taken() {
        if start.elapsed() > PATIENCE {
            if laid.withdraw() {
                break;
            }
            return Err(anyhow!(texts::REC_NO_WRITER.fill(context.lang, &[("path", &path.display())])));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // A name that means another moment by itself needs the long form.
    let is_plain = Moment::parse(name) == Moment::Mark(name.clone());
    let moment = format!("{}{name}", if is_plain { "" } else { "mark:" });
    if args.json {
        let mut object = Map::new();
        object.insert("schema".into(), "vmatlas/mark/1".into());
        put_name(&mut object, "recording", path.as_os_str().as_bytes());
        object.insert("name".into(), name.clone().into());
        object.insert("moment".into(), moment.into());
        output::print(|out| writeln!(out, "{}", Value::Object(object)))?;
    } else {
        let place = escape::terminal(&[path.as_os_str().as_bytes(), b"@", moment.as_bytes()].concat());
        let text = texts::MARKED.fill(context.lang, &[("name", name), ("place", &place)]);
        output::print(|out| writeln!(out, "{text}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
