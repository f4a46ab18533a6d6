//! Recordings on disk: writing them while a program runs, reading them whole or torn.
//!
//! You get: [`Writer`], which takes each event and now and then a keyframe, keeps little in memory, and turns itself off
//! when the disk fails; and [`Reader`], which opens what a writer left behind, also after `kill -9`, and gives the events
//! again as an [`EventSource`](vmatlas_event::EventSource). docs/RECORDING-FORMAT.md is the norm for every byte.
//! A recording is hostile input: lengths are bounded, checksums come first, every value is checked.

#![forbid(unsafe_code)]

mod batch;
mod check;
mod cursor;
mod decoded;
mod decoding;
mod error;
mod files;
mod flat;
mod frames;
mod groups;
mod guard;
mod interned;
mod keyframe;
mod known;
mod landmarks;
mod loading;
mod looks;
mod losses;
mod maps;
mod marks;
mod meta;
mod open;
mod outlet;
mod pack;
mod packed;
mod pages;
mod place;
mod queue;
mod reader;
mod replay;
mod rows;
mod seal;
mod sealed;
mod stacks;
mod store;
mod table;
mod tail;
mod tally;
mod thrift;
mod unflat;
mod unpacked;
mod words;
mod writer;
mod zip;

pub use check::Checked;
pub use error::{Damage, RecordError};
pub use known::Space;
pub use marks::{LONGEST_MARK, Laid, Marks, Waiting, is_mark_name};
pub use meta::{FORMAT, FaultEnd, Meta, Outcome as End, VERSION};
pub use pack::Packing;
pub use packed::is_packed;
pub use queue::Queue;
pub use reader::Reader;
pub use seal::Sealing;
pub use stacks::{FrameIds, Stacks};
pub use tally::Tallied;
pub use writer::{Existing, Options, Writer};
