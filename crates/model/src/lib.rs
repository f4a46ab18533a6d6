//! The address-space model: what each call does to the map, and what each part of the map is for.
//!
//! You give it events (`vmatlas-event`) and rows the kernel reported; you get changes and verdicts. No I/O, no clock:
//! everything is an argument.
//!
//! # How a call becomes a change
//!
//! [`AddressSpace::apply`] predicts what a call did to every page (mapped or not, protection, sharing) and says which
//! ranges it cannot be sure about: where one VMA ends is decided by the kernel from more than the calls (which pages
//! were touched, which file descriptors were the same open file). The kernel is asked about exactly those ranges while
//! the task is stopped, and the answer (an `Observed` event) takes the place of the prediction. [`Spaces`] does this
//! for a whole tree of processes, and gives one [`Change`] for each call: rows of the map replaced by rows.
//!
//! Two layers are kept: VMAs, which merge as the kernel merges them, and origins (which event made these pages), which
//! never merge.

#![forbid(unsafe_code)]

mod alike;
mod apply;
mod change;
mod check;
mod copies;
mod diff;
mod faults;
mod interval;
mod keyframe;
pub mod kind;
mod looks;
mod loss;
mod overlap;
mod progress;
pub mod rss;
mod rules;
mod sites;
mod space;
mod spaces;
mod summary;
pub mod timeline;
mod unclear;
mod undo;

pub use alike::{AlikeRun, Apart, Neighbour, alike};
pub use change::{Change, Few, PageChange, Replaced};
pub use check::{Difference, Level};
pub use copies::{Breaker, Copies, Toucher};
pub use diff::page_changes;
pub use faults::{FaultPlace, FaultSums, Touched, TouchedBy, fault_place};
pub use interval::{IntervalMap, Piece};
pub use looks::{ChangedPart, changed_pages, changed_parts};
pub use progress::{Done, Progress, Tally};
pub use rules::Rules;
pub use sites::{Site, SiteSum, Sites};
pub use space::{AddressSpace, Applied, Origin};
pub use spaces::Spaces;
pub use summary::{Before, CallCount, Largest, Summary};
