//! Recordings: made by `run -o` and `attach -o`, read by `info`, `log`, `verify`, `show` and `why`.

pub(crate) mod features;
pub(crate) mod info;
mod kinds;
mod lenient;
pub(crate) mod log;
mod log_looks;
pub(crate) mod looks;
mod loss;
pub(crate) mod mark;
mod moment;
mod names;
mod numbers;
pub(crate) mod pack;
mod pages;
mod recorder;
pub(crate) mod verify;
mod verify_looks;

pub(crate) use lenient::Lenient;
pub(crate) use moment::{Selector, Visit, broken};
pub(crate) use names::{Live, Names, make as make_names};
pub(crate) use pages::PageSnapshots;
pub(crate) use recorder::{Recorder, Subject};

use crate::context::Context;
use crate::progress::{self, Of, Progress};
use crate::texts;
use anyhow::{Result, anyhow};
use std::fmt::Display;
use std::path::Path;
use vmatlas_record::{Reader, RecordError};

/// Opens a recording; an error says what it is instead.
pub(crate) fn open(path: &Path, context: &Context) -> Result<Reader> {
    let mut progress = Progress::new(context, progress::RECOVERING, Of::Bytes);
    Reader::open_with(path, &mut |read, total| progress.tick(read, total))
        .map_err(|error| explain_reading(&error, context))
}

/// An error of reading, in the person's language.
pub(crate) fn explain_reading(error: &RecordError, context: &Context) -> anyhow::Error {
    match error {
        RecordError::Io { path, source } => {
            let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", source)];
            anyhow!(texts::SAVED_UNREADABLE.fill(context.lang, &values))
        }
        _ => explain(error, context),
    }
}

/// An error in the person's language.
pub(crate) fn explain(error: &RecordError, context: &Context) -> anyhow::Error {
    let lang = context.lang;
    anyhow!(match error {
        RecordError::Exists(path) => texts::REC_EXISTS.fill(lang, &[("path", &path.display())]),
        RecordError::NotOurs(path) => texts::REC_NOT_OURS.fill(lang, &[("path", &path.display())]),
        RecordError::BeingWritten(path) => {
            texts::REC_BEING_WRITTEN.fill(lang, &[("path", &path.display())])
        }
        RecordError::Packed(path) => texts::REC_PACKED.fill(lang, &[("path", &path.display())]),
        RecordError::Stopped(path) => texts::PACK_STOPPED.fill(lang, &[("path", &path.display())]),
        RecordError::Ended(path) => texts::REC_ENDED.fill(lang, &[("path", &path.display())]),
        RecordError::NotARecording(path) => texts::REC_NONE.fill(lang, &[("path", &path.display())]),
        RecordError::Version { path, version, known } => {
            let values: [(&str, &dyn Display); 3] =
                [("path", &path.display()), ("version", version), ("known", known)];
            texts::REC_VERSION.fill(lang, &values)
        }
        // What is read is told in `explain_reading`.
        RecordError::Io { path, source } => {
            let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", source)];
            texts::CANNOT_WRITE.fill(lang, &values)
        }
        other => other.to_string(),
    })
}
