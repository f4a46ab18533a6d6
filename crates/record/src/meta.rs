//! What is known of a recording as a whole: meta.json.

use serde::{Deserialize, Serialize};

/// The version of the format that this crate writes.
pub const VERSION: u64 = 4;

/// The oldest version that it reads.
const OLDEST: u64 = 1;

/// Whether it reads this version.
pub(crate) fn is_known(version: u64) -> bool {
    (OLDEST..=VERSION).contains(&version)
}

/// What `format` in meta.json says.
pub const FORMAT: &str = "vmatlas-recording";

/// What was known when the recording began, and at its end how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// [`FORMAT`]; filled in by the writer.
    #[serde(default)]
    pub format: String,
    /// [`VERSION`]; filled in by the writer.
    #[serde(default)]
    pub version: u64,
    /// The version of vmatlas that wrote it.
    #[serde(default)]
    pub vmatlas: String,
    /// The machine's name.
    #[serde(default)]
    pub host: String,
    /// The kernel's release.
    #[serde(default)]
    pub kernel: String,
    /// The machine's architecture, as `uname -m` has it.
    #[serde(default)]
    pub arch: String,
    /// The size of a page, in bytes.
    #[serde(default)]
    pub page_size: u64,
    /// The program: a command's first word, or a process's name.
    #[serde(default)]
    pub program: String,
    /// How many VMAs a process might have (vm.max_map_count).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_map_count: Option<u64>,
    /// Its arguments, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// The program's own process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// `run`, `attach` or `watch`.
    #[serde(default)]
    pub how: String,
    /// When it began, CLOCK_MONOTONIC in ns.
    #[serde(default)]
    pub started: u64,
    /// What to add to a time of this recording for nanoseconds since 1970.
    #[serde(default)]
    pub clock_offset: u64,
    /// Who saw events: `ptrace`; `none` where nothing was traced.
    #[serde(default)]
    pub backend: String,
    /// How long after one look the next one was due, in nanoseconds; only where there are looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// What the kernel was found able to do.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether calls were distrusted from the start.
    #[serde(default)]
    pub distrust: bool,
    /// How it ended; `None` while it is made, and for ever when its writer was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Outcome>,
}

/// How a recording ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When, CLOCK_MONOTONIC in ns.
    pub at: u64,
    /// The exit status, 128+N for signal N; `None` where the program went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// How many events were taken; filled in by the writer.
    #[serde(default)]
    pub events: u64,
    /// How many keyframes; filled in by the writer.
    #[serde(default)]
    pub keyframes: u64,
    /// Memory calls among the events.
    #[serde(default)]
    pub calls: u64,
    /// Events known to be lost; filled in by the writer.
    #[serde(default)]
    pub lost: u64,
    /// Answers of the kernel that contradicted a prediction.
    #[serde(default)]
    pub drift: u64,
    /// How often the lock of a map was taken for writing without an event that tells of it; where the backend sees that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<u64>,
    /// How many processes were not watched because too many were; where the backend has such a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untracked: Option<u64>,
    /// What page faults came to, where they were watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultEnd>,
}

/// The figures of page faults beside the kernel's own, as [`FaultCounts`](vmatlas_event::FaultCounts) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEnd {
    /// Told as events.
    #[serde(default)]
    pub told: u64,
    /// Lost for want of room in a ring.
    #[serde(default)]
    pub lost: u64,
    /// Of tasks that are not watched.
    #[serde(default)]
    pub of_others: u64,
    /// Handled by the kernel (PERF_COUNT_SW_PAGE_FAULTS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<u64>,
    /// Accounted to the tasks (`min_flt` and `maj_flt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounted: Option<u64>,
    /// Whether touches by the kernel were told.
    #[serde(default)]
    pub kernel_touches: bool,
}

impl From<vmatlas_event::FaultCounts> for FaultEnd {
    fn from(counts: vmatlas_event::FaultCounts) -> FaultEnd {
        FaultEnd {
            told: counts.told(),
            lost: counts.lost,
            of_others: counts.of_others,
            handled: counts.handled,
            accounted: counts.accounted,
            kernel_touches: counts.with_kernel,
        }
    }
}
