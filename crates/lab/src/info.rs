//! What is known of an experiment before it is made: name, texts, needs, parameters.

use crate::command::Reply;
use crate::error::LabError;
use crate::report::{Audience, Report};
use crate::say::{Say, Word, section};
use crate::settings::{Param, Settings};
use crate::texts;
use crate::watch::Tap;
use vmatlas_sys::workbench::Workbench;
use vmatlas_view::{Lang, Text};

/// One experiment.
#[derive(Debug)]
pub struct Info {
    /// Its name on the command line.
    pub name: &'static str,
    /// All its texts in English, by section.
    pub en: &'static str,
    /// The same in Japanese.
    pub ja: &'static str,
    /// What it shows more with.
    pub needs: &'static [Need],
    /// What can be asked of it.
    pub params: &'static [Param],
    /// Makes it.
    pub(crate) run: fn(Setup<'_>) -> Result<Report, LabError>,
    /// Its own routine inside the subject.
    pub(crate) own: Option<fn(&Workbench, [u64; 5]) -> Reply>,
}

/// What an experiment shows more with. Without, it shows what it can, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The rights of root: page frame numbers.
    Root,
    /// Huge pages that the machine has set aside.
    HugePages,
    /// A swap device or file.
    Swap,
}

/// All that a run of an experiment is given.
pub(crate) struct Setup<'a> {
    /// The experiment.
    pub(crate) info: &'static Info,
    /// The values of its parameters.
    pub(crate) settings: &'a Settings,
    /// Who watches.
    pub(crate) audience: &'a mut dyn Audience,
    /// Who records.
    pub(crate) tap: Option<Tap>,
    /// What `{name}` stands for in the texts, where that is known before the subject is.
    pub(crate) values: Vec<(&'static str, Word)>,
}

impl Setup<'_> {
    /// Gives texts the value of `{name}` before the experiment begins; later [`crate::lab::Lab::set`] does.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Word>) {
        self.values.push((name, value.into()));
    }
}

impl Info {
    /// An experiment without parameters that needs nothing.
    pub(crate) const fn new(
        name: &'static str,
        (en, ja): (&'static str, &'static str),
        run: fn(Setup<'_>) -> Result<Report, LabError>,
    ) -> Info {
        Info { name, en, ja, needs: &[], params: &[], run, own: None }
    }

    /// With parameters.
    pub(crate) const fn params(mut self, params: &'static [Param]) -> Info {
        self.params = params;
        self
    }

    /// With something it shows more with.
    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Info {
        self.needs = needs;
        self
    }

    /// With a routine of its own, which [`crate::lab::Lab::own`] runs inside the subject.
    // Experiments that start threads or use an allocator need it.
    pub(crate) const fn own(mut self, own: fn(&Workbench, [u64; 5]) -> Reply) -> Info {
        self.own = Some(own);
        self
    }

    /// What it shows, in one line: the first of its texts.
    pub fn title(&self) -> Text {
        let first = |doc: &'static str| doc.lines().next().unwrap_or("").trim_start_matches("# ");
        Text { en: first(self.en), ja: first(self.ja) }
    }

    /// A section of its texts.
    pub fn section(&self, name: &str, lang: Lang) -> &'static str {
        section(if lang == Lang::Ja { self.ja } else { self.en }, name)
    }

    /// A section in both languages.
    pub fn text(&self, name: &str) -> Text {
        Text { en: self.section(name, Lang::En), ja: self.section(name, Lang::Ja) }
    }

    /// The first line of a section, and what follows it.
    pub(crate) fn head_and_rest(&self, name: &str) -> (Text, Text) {
        let split = |text: &'static str| text.split_once('\n').unwrap_or((text, ""));
        let (en, ja) = (split(self.section(name, Lang::En)), split(self.section(name, Lang::Ja)));
        (Text { en: en.0.trim(), ja: ja.0.trim() }, Text { en: en.1.trim(), ja: ja.1.trim() })
    }

    /// The facts that its quiz asks about, in order.
    pub(crate) fn quizzed(&self) -> impl Iterator<Item = &'static str> {
        self.en.lines().filter_map(|line| line.strip_prefix("## quiz ").map(str::trim))
    }

    /// Makes it.
    ///
    /// # Errors
    /// When the subject cannot be started or read; a call that fails is no error.
    pub fn make(
        &'static self,
        settings: &Settings,
        audience: &mut dyn Audience,
        tap: Option<Tap>,
    ) -> Result<Report, LabError> {
        (self.run)(Setup { info: self, settings, audience, tap, values: Vec::new() })
    }
}

impl Need {
    /// Its name for programs.
    pub fn id(self) -> &'static str {
        match self {
            Need::Root => "root",
            Need::HugePages => "huge-pages",
            Need::Swap => "swap",
        }
    }

    /// For a person.
    pub fn say(self) -> Say {
        Say::new(match self {
            Need::Root => texts::NEEDS_ROOT,
            Need::HugePages => texts::NEEDS_HUGE_PAGES,
            Need::Swap => texts::NEEDS_SWAP,
        })
    }

    /// Whether it is there.
    pub fn is_met(self) -> bool {
        let machine = || crate::machine::Machine::read();
        match self {
            Need::Root => vmatlas_sys::effective_uid() == 0,
            Need::HugePages => machine().memory.huge_free.is_some_and(|n| n > 0),
            Need::Swap => std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1),
        }
    }
}
