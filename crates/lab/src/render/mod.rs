//! Making text and JSON of a report.

mod json;
mod maps;
mod text;

pub use json::{all, one};
pub use text::{Look, beginning, ending, list, sample, step, table_of_all};
