//! Pages: runs of equal ones, or each alone, as a table, as JSON, and summed up.

mod flags;
mod json;
mod runs;
mod table;
pub mod texts;
mod totals;

pub use flags::flag_names;
pub use json::JsonWriter;
#[cfg(test)]
pub(crate) use runs::tests;
pub use runs::{FrameRun, Grouper, MOST_FRAME_RUNS, Run};
pub(crate) use table::frame_text;
pub use table::{TextOptions, TextWriter, state_name};
pub use totals::{Sum, Totals};

use vmatlas_event::{Bytes, VmaRow};
use vmatlas_model::kind::Kind;

/// A VMA, or the part of it that was asked for, whose pages are shown.
#[derive(Clone, Debug)]
pub struct PagesRow {
    /// As the kernel tells it.
    pub vma: VmaRow,
    /// What it is for.
    pub kind: Kind,
}

/// What was found out about the reading itself, once it is over.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Whether the process was read to the end.
    pub complete: bool,
    /// What it cost, as it goes into JSON.
    pub cost: serde_json::Value,
}

/// The size of so many pages.
pub(crate) fn bytes(pages: u64, size: u64) -> Bytes {
    Bytes(pages.saturating_mul(size))
}
