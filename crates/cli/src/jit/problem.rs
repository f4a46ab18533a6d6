//! What is wrong with files that tell of code made at run time, and how it is said.

use super::process::MOST;
use crate::context::Context;
use crate::texts;
use std::fmt::Display;
use std::path::PathBuf;
use vmatlas_stack::symbolize::jit::NoFile;

/// Why a file names nothing, or not all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Problem {
    Foreign(PathBuf),
    Special(PathBuf),
    Unreadable(PathBuf, String),
    Cut(PathBuf),
    Changed(PathBuf),
}

impl From<NoFile> for Problem {
    fn from(no: NoFile) -> Problem {
        match no {
            NoFile::Foreign(path) => Problem::Foreign(path),
            NoFile::Special(path) => Problem::Special(path),
            NoFile::Read(path, why) => Problem::Unreadable(path, why.to_string()),
        }
    }
}

impl Problem {
    pub(super) fn text(&self, context: &Context) -> String {
        let (text, path, why): (_, _, &dyn Display) = match self {
            Problem::Foreign(path) => (&texts::JIT_FOREIGN, path, &""),
            Problem::Special(path) => (&texts::JIT_SPECIAL, path, &""),
            Problem::Unreadable(path, why) => (&texts::JIT_UNREADABLE, path, why),
            Problem::Cut(path) => (&texts::JIT_CUT, path, &(MOST >> 20)),
            Problem::Changed(path) => (&texts::JIT_CHANGED, path, &""),
        };
        text.fill(context.lang, &[("path", &path.display()), ("why", why)])
    }
}
