//! What an experiment found, as a document that does not know its language or its form: text, JSON and SVG are made
//! of it.

use crate::facts::Fact;
use crate::info::Info;
use crate::machine::Machine;
use crate::program::Program;
use crate::say::{Say, Word};
use crate::state::State;
use crate::subject::Subject;
use crate::texts;
use std::sync::Arc;
use vmatlas_event::{Bytes, Errno, Op, Outcome, Pid, VmaRow};
use vmatlas_view::picture::chart::{Chart, Sample};
use vmatlas_view::picture::spread::{Lane, Spread};
use vmatlas_view::picture::strip::{Panel, Square, Strip};
use vmatlas_view::picture::talk::Talk;
use vmatlas_view::{Lang, Text};

/// Everything about one experiment that was made.
#[derive(Debug)]
pub struct Report {
    /// Which one.
    pub info: &'static Info,
    /// Where it was made.
    pub machine: Machine,
    /// The process it was made in.
    pub pid: Pid,
    /// Why memory calls were not traced; `None` when they were.
    pub untraced: Option<Say>,
    /// What was done, in order.
    pub steps: Vec<Step>,
    /// What was predicted and measured.
    pub facts: Vec<Fact>,
    /// The picture of it.
    pub figure: Option<Figure>,
    /// The same to try by hand.
    pub program: Option<Program>,
    /// What `{name}` stands for in texts.
    pub(crate) values: Vec<(&'static str, Word)>,
}

/// One step: what was done and what was seen.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name for programs.
    pub id: &'static str,
    /// What it is about.
    pub title: Say,
    /// What there is to see, in order.
    pub parts: Vec<Part>,
}

/// A part of a step.
#[derive(Clone, Debug)]
pub enum Part {
    /// A paragraph.
    Para(Say),
    /// A paragraph that must not be missed.
    Warning(Say),
    /// A map on its own, shown whole.
    Map(MapPart),
    /// The map before and after something happened.
    Compare(Box<ComparePart>),
    /// A memory call with its arguments and result.
    Call(Box<CallPart>),
    /// Something that was done, in one line.
    Did(DidPart),
    /// Sums of calls: (call, times, mapped, unmapped).
    Sums(Vec<(&'static str, u64, Bytes, Bytes)>),
    /// Sizes before and after.
    Sizes(Vec<SizeRow>),
    /// Looks at the process, one after the other.
    Samples(Vec<Sample>),
    /// A table: numbers, addresses and names that are the same in every language.
    Table(TablePart),
}

/// A table.
#[derive(Clone, Debug)]
pub struct TablePart {
    /// What its columns are.
    pub heads: Vec<Say>,
    /// Its lines, each with as many cells; the first is to the left, the others to the right.
    pub rows: Vec<Vec<String>>,
}

/// A map, with what came since an earlier one.
#[derive(Clone, Debug)]
pub struct MapPart {
    /// What it shows.
    pub title: Say,
    /// The earlier map; `None` when there is nothing to compare.
    pub since: Option<Vec<VmaRow>>,
    /// The map; only `rows` where pages were not read.
    pub rows: Vec<VmaRow>,
    /// The look it is from; `None` for a map that our tracer took.
    pub state: Option<Arc<State>>,
}

/// Two maps.
#[derive(Clone, Debug)]
pub struct ComparePart {
    /// The earlier one.
    pub before: Arc<State>,
    /// The later one.
    pub after: Arc<State>,
}

/// A memory call.
#[derive(Clone, Debug)]
pub struct CallPart {
    /// The call.
    pub op: Op,
    /// Its arguments: name, value, what it asks for.
    pub args: Vec<(&'static str, String, Say)>,
    /// How it ended.
    pub outcome: Outcome,
    /// What the result means.
    pub meaning: Say,
}

/// Something that was done, as C would write it.
#[derive(Clone, Debug)]
pub struct DidPart {
    /// The child of the subject that did it; `None` for the subject itself.
    pub child: Option<Pid>,
    /// What.
    pub what: String,
    /// What came of it; an empty text where there is nothing to tell.
    pub result: Result<String, Errno>,
}

/// A size at two moments, or only at the second.
#[derive(Clone, Debug)]
pub struct SizeRow {
    /// What size.
    pub what: Say,
    /// Before; `None` where there is no before.
    pub before: Option<Bytes>,
    /// After.
    pub after: Bytes,
}

/// The picture of an experiment.
#[derive(Clone, Debug)]
pub enum Figure {
    /// The address space beside physical memory.
    Talk(Talk),
    /// Sizes and faults over time.
    Chart(Chart),
    /// Pages of an area, moment by moment.
    Strip(Vec<Moment>),
    /// Places of things in several starts: the word for each, and its addresses.
    Spread(Vec<(Say, Vec<u64>)>),
}

/// A moment of an area, for a picture of its pages.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What happened.
    pub title: Say,
    /// Each process with its pages.
    pub lines: Vec<(Say, Vec<Square>)>,
}

impl Figure {
    /// In one language.
    pub(crate) fn strip(moments: &[Moment], lang: Lang) -> Strip {
        let panel = |moment: &Moment| Panel {
            title: moment.title.get(lang),
            lines: moment.lines.iter().map(|(label, squares)| (label.get(lang), squares.clone())).collect(),
        };
        Strip { panels: moments.iter().map(panel).collect() }
    }

    /// In one language.
    pub(crate) fn spread(things: &[(Say, Vec<u64>)], lang: Lang) -> Spread {
        let lane =
            |(label, places): &(Say, Vec<u64>)| Lane { label: label.get(lang), places: places.clone() };
        Spread { lanes: things.iter().map(lane).collect() }
    }
}

impl Figure {
    /// As one SVG document.
    pub fn svg(&self, lang: Lang) -> String {
        match self {
            Figure::Talk(talk) => vmatlas_view::picture::talk::svg(talk, lang),
            Figure::Chart(chart) => vmatlas_view::picture::chart::svg(chart, lang),
            Figure::Strip(moments) => vmatlas_view::picture::strip::svg(&Figure::strip(moments, lang), lang),
            Figure::Spread(things) => vmatlas_view::picture::spread::svg(&Figure::spread(things, lang), lang),
        }
    }
}

impl Report {
    /// An empty one, about a subject that was just started.
    pub(crate) fn new(info: &'static Info, subject: &Subject) -> Report {
        Report {
            info,
            machine: Machine::read(),
            pid: subject.pid(),
            untraced: subject.watch().blind().map(|why| Say::new(texts::UNTRACED).with("why", why)),
            steps: Vec::new(),
            facts: Vec::new(),
            figure: None,
            program: None,
            values: Vec::new(),
        }
    }

    /// Shows a step that was made, keeps it, and waits until the audience wants to go on.
    pub(crate) fn add(&mut self, step: Step, audience: &mut dyn Audience) {
        audience.step(self, &step);
        self.steps.push(step);
        audience.pause();
    }

    /// A text of the documents, with the values that are known now.
    pub(crate) fn words(&self, text: Text) -> Say {
        self.values.iter().fold(Say::new(text), |say, (name, value)| say.with(name, value.clone()))
    }

    /// Whether every fact holds that could be compared.
    pub fn holds(&self) -> bool {
        crate::facts::all_hold(&self.facts)
    }
}

/// Somebody who watches the experiment being made.
pub trait Audience {
    /// The subject is there, nothing was done yet.
    fn begin(&mut self, report: &Report);
    /// A step was made.
    fn step(&mut self, report: &Report, step: &Step);
    /// Another look while pages are being touched.
    fn sample(&mut self, sample: &Sample);
    /// Something is about to happen that a person must know of before.
    fn warn(&mut self, warning: &Say);
    /// Waits until the audience wants to go on.
    fn pause(&mut self);
    /// Whether to take the time that a person needs to watch.
    fn wants_time(&self) -> bool;
}

/// Nobody watches: as fast as it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Audience for Nobody {
    fn begin(&mut self, _: &Report) {}
    fn step(&mut self, _: &Report, _: &Step) {}
    fn sample(&mut self, _: &Sample) {}
    fn warn(&mut self, _: &Say) {}
    fn pause(&mut self) {}
    fn wants_time(&self) -> bool {
        false
    }
}
