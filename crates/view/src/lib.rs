//! What every face of vmatlas shows: texts in two languages, units, tables, pictures and JSON shapes.
//!
//! You give it rows, verdicts, events and changes; you get text, SVG and serialisable values. It writes to no file and
//! asks no system: a face (the command line, later a terminal or web page) does that.

#![forbid(unsafe_code)]

pub mod backend;
pub mod call;
pub mod change;
pub mod check;
pub mod diff;
pub mod doctor;
pub mod escape;
pub mod export;
pub mod faults;
pub mod info;
pub mod json;
pub mod kind_text;
mod lang;
pub mod looks;
pub mod origins;
pub mod pages;
pub mod picture;
pub mod ps;
pub mod rss;
pub mod run;
pub mod show;
pub mod source;
pub mod stack;
pub mod style;
pub mod table;
pub mod texts;
pub mod units;
pub mod verify;
pub mod why;

pub use lang::{Lang, Text, gaps};
pub use style::{Paint, Style};
