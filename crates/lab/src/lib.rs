//! Experiments that show how a process gets its memory: each predicts, does the real calls in a process of its own,
//! measures, and says whether the prediction held.
//!
//! You choose an experiment and give it an [`Audience`]; you get a [`Report`]: steps, facts and a picture, without a
//! language or a form. [`render`] makes text and JSON of it. The subject of an experiment is vmatlas itself, executed
//! again ([`child_if_asked`] must come first in `main`), watched by our own tracer.

#![forbid(unsafe_code)]

mod brk;
mod child;
mod demand_paging;
mod error;
mod facts;
mod machine;
mod marks;
mod mmap;
mod program;
pub mod render;
mod report;
mod say;
mod state;
mod subject;
mod texts;
mod watch;

pub use brk::run as brk;
pub use child::child_if_asked;
pub use demand_paging::run as demand_paging;
pub use error::{Ending, LabError};
pub use facts::{Expected, Fact, Measured, Value};
pub use mmap::{Options as MmapOptions, TouchPages, run as mmap};
pub use report::{Audience, Figure, Info, Nobody, Part, Report, Step};
pub use say::Say;
pub use vmatlas_view::picture::chart::Sample;

/// All experiments, in the order to learn from them.
pub const EXPERIMENTS: [&Info; 3] = [&mmap::INFO, &brk::INFO, &demand_paging::INFO];

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_view::Lang;

    /// Checks that the long texts have the same sections in both languages, none of them empty.
    #[test]
    fn long_texts_are_there_in_both_languages() {
        for info in EXPERIMENTS {
            assert_eq!(say::sections(info.en), say::sections(info.ja), "{}", info.name);
            for section in ["question", "expect", "practice", "next"] {
                for lang in [Lang::En, Lang::Ja] {
                    assert!(info.section(section, lang).len() > 20, "{} {section}", info.name);
                }
            }
        }
    }
}
