//! Making text, Markdown and JSON of a report.

mod json;
mod maps;
mod markdown;
mod overview;
mod quiz;
mod text;

pub use json::{all, one};
pub use markdown::markdown;
pub use overview::{Outcome, list, list_json, one_of_all, sum_of_all};
pub use quiz::{answer, question, quiz_heading};
pub use text::{Look, beginning, ending, sample, step};
