//! What a recording holds, as text and JSON.

mod counts;
mod date;
mod json;
mod text;
pub mod texts;

pub use counts::{Counts, ProcessInfo};
pub use json::json;
pub use text::write_text;

use crate::looks::Looks;
use vmatlas_event::{Bytes, MonoNs};

/// What was written down about a recording as a whole; text is not yet escaped.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Where it is.
    pub path: Vec<u8>,
    /// The program.
    pub program: String,
    /// Its arguments, where they were asked for.
    pub args: Option<Vec<String>>,
    /// `run` or `attach`.
    pub how: String,
    /// The machine's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's architecture.
    pub arch: String,
    /// The version of vmatlas.
    pub vmatlas: String,
    /// What the kernel was found able to do.
    pub features: Vec<String>,
    /// When it began, CLOCK_MONOTONIC.
    pub started: MonoNs,
    /// What to add to times for nanoseconds since 1970.
    pub clock_offset: u64,
    /// When it ended; `None` where nobody wrote that down.
    pub ended: Option<MonoNs>,
    /// Whether a writer is at work on it.
    pub being_recorded: bool,
    /// The exit status, where there is one.
    pub status: Option<i32>,
    /// Events lost; `None` where it was not ended.
    pub lost: Option<u64>,
    /// Drift; `None` where it was not ended.
    pub drift: Option<u64>,
    /// How often the lock of a map was taken for writing without an event that tells of it; `None` where nobody saw that.
    pub others: Option<u64>,
    /// How many processes were not watched because too many were; `None` where nobody counted them.
    pub untracked: Option<u64>,
    /// How many keyframes.
    pub keyframes: u64,
    /// Its size on disk.
    pub size: Bytes,
    /// What is missing of it or damaged.
    pub damage: Vec<String>,
    /// What page faults came to, where they were watched to the end.
    pub faults: Option<Faults>,
    /// What the looks come to, where nothing was traced.
    pub looks: Option<Looks>,
    /// How often pages of a traced program were read.
    pub page_snapshots: u64,
}

/// What page faults came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Told as events.
    pub told: u64,
    /// Lost.
    pub lost: u64,
    /// The kernel's own count of those it handled.
    pub handled: Option<u64>,
    /// The kernel's own count for the tasks.
    pub accounted: Option<u64>,
}
