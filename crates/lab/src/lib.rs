//! Experiments that show how a process gets its memory: each predicts, does the real calls in a process of its own,
//! measures, and says whether the prediction held.
//!
//! You choose an experiment and give it an [`Audience`]; you get a [`Report`]: steps, facts and a picture, without a
//! language or a form. [`render`] makes text and JSON of it. The subject of an experiment is vmatlas itself, executed
//! again ([`child_if_asked`] must come first in `main`), watched by our own tracer.

#![forbid(unsafe_code)]

mod child;
mod cleanup;
mod command;
mod elf;
mod error;
mod experiments;
mod facts;
mod files;
mod info;
mod lab;
mod machine;
mod marks;
mod memory;
mod program;
mod quiz;
mod randomised;
pub mod render;
mod report;
mod say;
mod segments;
mod settings;
mod squares;
mod state;
mod subject;
mod texts;
mod watch;

pub use child::child_if_asked;
pub use error::{Ending, LabError};
pub use experiments::{CHAPTERS, Chapter, experiments};
pub use facts::{Expected, Fact, Measured, Value};
pub use info::{Info, Need};
pub use quiz::{Question, quiz};
pub use report::{Audience, Figure, Nobody, Part, Report, Step};
pub use say::Say;
pub use settings::{Param, Settings, Takes};
pub use vmatlas_view::picture::chart::Sample;
pub use watch::Tap;
