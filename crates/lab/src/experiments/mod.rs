//! The experiments, each a folder of its own in the folder of its chapter: `mod.rs`, `en.md`, `ja.md`.
//! docs/HOWTO-ADD-AN-EXPERIMENT.md tells how to add one.

use crate::info::Info;
use crate::texts;
use vmatlas_view::Text;

mod arriving;
mod files;
mod layout;
mod machine;
mod obtaining;
mod processes;

/// Experiments that belong together.
#[derive(Debug)]
pub struct Chapter {
    /// Its title.
    pub title: Text,
    /// Its experiments, in the order to learn from them.
    pub experiments: &'static [&'static Info],
}

/// All chapters, in the order to learn from them; one without experiments is not shown.
pub static CHAPTERS: [Chapter; 6] = [
    Chapter { title: texts::CHAPTER_OBTAINING, experiments: obtaining::ALL },
    Chapter { title: texts::CHAPTER_ARRIVING, experiments: arriving::ALL },
    Chapter { title: texts::CHAPTER_LAYOUT, experiments: layout::ALL },
    Chapter { title: texts::CHAPTER_FILES, experiments: files::ALL },
    Chapter { title: texts::CHAPTER_PROCESSES, experiments: processes::ALL },
    Chapter { title: texts::CHAPTER_MACHINE, experiments: machine::ALL },
];

/// All experiments, in the order to learn from them. The subject and the experimenter are the same binary, so both count
/// alike.
pub fn experiments() -> impl Iterator<Item = &'static Info> {
    CHAPTERS.iter().flat_map(|chapter| chapter.experiments.iter().copied())
}

#[cfg(test)]
mod tests;
