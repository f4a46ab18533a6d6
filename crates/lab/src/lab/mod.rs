//! The bench that experiments work at: steps, calls, looks and facts, with all words taken from the experiment's texts.

mod calls;

use crate::command::Reply;
use crate::error::{Ending, LabError};
use crate::facts::{Expected, Fact, Measured, Value};
use crate::info::Setup;
use crate::report::{Audience, ComparePart, DidPart, Part, Report, SizeRow, Step};
use crate::say::{Say, Word};
use crate::settings::Settings;
use crate::state::{PageSeen, State, pages_of, pages_seen};
use crate::subject::{Peer, Subject};
use crate::texts;
use std::fs::File;
use std::sync::Arc;
use vmatlas_event::{AddrRange, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_proc::Process;
use vmatlas_view::Text;
use vmatlas_view::picture::chart::Sample;

/// PROT_NONE, for experiments with guard pages.
#[allow(dead_code, reason = "part of the frame, for experiments to come")]
pub(crate) const NONE: ProtArg = ProtArg(0);
/// PROT_READ.
pub(crate) const READ: ProtArg = ProtArg(1);
/// PROT_READ | PROT_WRITE.
pub(crate) const RW: ProtArg = ProtArg(3);
/// MAP_PRIVATE | MAP_ANONYMOUS.
pub(crate) const PRIVATE: MapFlags = MapFlags(0x22);

/// An experiment while it is made. Every text comes from the experiment's documents, with the values that were
/// [`set`](Lab::set).
pub(crate) struct Lab<'a> {
    /// What was found so far.
    pub(crate) report: Report,
    /// The process it is made in.
    pub(crate) subject: Subject,
    /// The values of its parameters.
    pub(crate) settings: &'a Settings,
    /// The look before the latest step, and the one after it.
    pub(crate) before: Arc<State>,
    /// See `before`.
    pub(crate) after: Arc<State>,
    audience: &'a mut dyn Audience,
    parts: Vec<Part>,
}

impl<'a> Setup<'a> {
    /// Starts the subject and shows what stands before the first step.
    ///
    /// # Errors
    /// When it cannot be started or read.
    pub(crate) fn begin(self, files: Vec<File>) -> Result<Lab<'a>, LabError> {
        let Setup { info, settings, audience, tap, values } = self;
        let subject = Subject::start(files, tap)?;
        let mut report = Report::new(info, &subject);
        report.values = values;
        let state = Arc::new(subject.state()?);
        audience.begin(&report);
        let (before, after) = (state.clone(), state);
        let parts = Vec::new();
        Ok(Lab { report, subject, settings, before, after, audience, parts })
    }
}

impl Lab<'_> {
    /// Bytes of a page.
    pub(crate) fn page(&self) -> u64 {
        self.report.machine.page.bytes()
    }

    /// Gives texts the value of `{name}` from here on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Word>) {
        self.report.values.retain(|(known, _)| *known != name);
        self.report.values.push((name, value.into()));
    }

    /// A text of the documents with all values.
    pub(crate) fn words(&self, text: Text) -> Say {
        self.report.words(text)
    }

    /// Adds the text of section `say NAME` to the step.
    pub(crate) fn say(&mut self, name: &str) {
        let text = self.report.info.text(&format!("say {name}"));
        self.parts.push(Part::Para(self.words(text)));
    }

    /// Adds something of the experiment's own to the step.
    pub(crate) fn show(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Makes a step: section `step ID` has its title and what is said before; then come the calls that `work` makes,
    /// the maps before and after, and the sizes.
    pub(crate) fn step<T>(
        &mut self,
        id: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        self.before = Arc::new(self.subject.state()?);
        let (title, value) = self.begin_step(id, work)?;
        self.after = Arc::new(self.subject.state()?);
        let (before, after) = (self.before.clone(), self.after.clone());
        let row = |what, before, after| SizeRow { what: Say::new(what), before: Some(before), after };
        let sizes = vec![
            row(texts::VIRTUAL_SIZE, before.virtual_size, after.virtual_size),
            row(texts::RESIDENT_SIZE, before.total.resident, after.total.resident),
        ];
        self.parts.push(Part::Compare(Box::new(ComparePart { before, after })));
        self.parts.push(Part::Sizes(sizes));
        self.end_step(id, title);
        Ok(value)
    }

    /// Makes a step without maps and sizes, for what does not change them, or ends the subject.
    pub(crate) fn step_alone<T>(
        &mut self,
        id: &'static str,
        work: impl FnOnce(&mut Self) -> Result<T, LabError>,
    ) -> Result<T, LabError> {
        let (title, value) = self.begin_step(id, work)?;
        self.end_step(id, title);
        Ok(value)
    }

    fn begin_step<T>(
        &mut self,
        id: &str,
        work: impl FnOnce(&mut Self) -> Result<T, LabError>,
    ) -> Result<(Say, T), LabError> {
        let (title, note) = self.report.info.head_and_rest(&format!("step {id}"));
        self.parts = vec![Part::Para(self.words(note))];
        let value = work(self)?;
        Ok((self.words(title), value))
    }

    fn end_step(&mut self, id: &'static str, title: Say) {
        let parts = std::mem::take(&mut self.parts);
        self.report.add(Step { id, title, parts }, self.audience);
    }

    /// Adds a line for what was done, as C would write it, and its result.
    pub(crate) fn did(&mut self, what: impl Into<String>, result: Result<String, Errno>) {
        self.parts.push(Part::Did(DidPart { child: None, what: what.into(), result }));
    }

    /// Adds a line for an access of the subject that ended it; nothing when it did not.
    pub(crate) fn did_end<T>(&mut self, ended: &Result<T, Ending>, what: &str) {
        if ended.is_err() {
            self.did(format!("{what}   → {}", signal_word(ended)), Ok(String::new()));
        }
    }

    /// The same for an access of a child, whose answer is missing then.
    pub(crate) fn did_end_child(&mut self, peer: &Peer, answer: Option<u64>, what: &str) {
        if answer.is_none() {
            self.did_child(peer, what, Ok(String::new()));
        }
    }

    /// Adds a line for what a child did.
    pub(crate) fn did_child(&mut self, peer: &Peer, what: impl Into<String>, result: Result<String, Errno>) {
        self.parts.push(Part::Did(DidPart { child: Some(peer.pid()), what: what.into(), result }));
    }

    /// Warns before touching more than is available.
    pub(crate) fn warn_of(&mut self, want: Bytes) {
        if let Some(have) = self.report.machine.available().filter(|have| *have < want) {
            self.audience.warn(&Say::new(texts::TOUCH_WARNING).with("want", want).with("have", have));
        }
    }

    /// Whether a person watches, who needs time.
    pub(crate) fn wants_time(&self) -> bool {
        self.audience.wants_time()
    }

    /// Shows the latest of the looks that are taken while pages are touched.
    pub(crate) fn sample(&mut self, samples: &[Sample]) {
        if let Some(last) = samples.last() {
            self.audience.sample(last);
        }
    }

    /// The pages of a range, one by one; those of a child with [`Lab::pages_in`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn pages(&self, range: AddrRange) -> Result<Vec<PageSeen>, LabError> {
        Lab::pages_in(self.subject.process(), range)
    }

    /// The pages of a range of any process.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn pages_in(process: &Process, range: AddrRange) -> Result<Vec<PageSeen>, LabError> {
        Ok(pages_seen(process, range)?)
    }

    /// What of a range is resident, the zero page left out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn resident(&self, range: AddrRange) -> Result<Bytes, LabError> {
        let rows = self.subject.state()?.rows;
        Ok(pages_of(self.subject.process(), &rows, range)?.resident)
    }

    /// A fact that is exactly known beforehand; its sentence is section `fact ID`.
    pub(crate) fn is(&mut self, id: &'static str, predicted: Value, measured: Value) {
        self.fact(id, Expected::Is(predicted), Measured::Is(measured));
    }

    /// A fact.
    pub(crate) fn fact(&mut self, id: &'static str, predicted: Expected, measured: Measured) {
        let text = self.words(self.report.info.text(&format!("fact {id}")));
        self.report.facts.push(Fact { id, text, predicted, measured });
    }

    /// A text of section `why NAME`: why something cannot be told.
    pub(crate) fn why(&self, name: &str) -> Say {
        self.words(self.report.info.text(&format!("why {name}")))
    }

    /// Ends the subject, and the report is ready.
    pub(crate) fn end(self) -> Report {
        let Lab { report, subject, .. } = self;
        subject.finish();
        report
    }

    /// The report of a subject that ended itself.
    pub(crate) fn ended(self) -> Report {
        self.report
    }
}

/// The signal that ended the subject, where that was to happen; other errors stay errors.
///
/// # Errors
/// Any error that is not the end of the subject.
pub(crate) fn ending<T>(result: Result<T, LabError>) -> Result<Result<T, Ending>, LabError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(LabError::Ended { how }) => Ok(Err(how)),
        Err(error) => Err(error),
    }
}

/// The name of the signal that ended the subject; `-` when none did.
pub(crate) fn signal_word<T>(ended: &Result<T, Ending>) -> String {
    match ended {
        Ok(_) => "-".to_owned(),
        Err(Ending::Signaled(signal)) => vmatlas_sys::signal::name(*signal),
        Err(other) => other.to_string(),
    }
}

/// The same of the answer to [`Lab::end_child`].
pub(crate) fn status_word(status: Reply) -> String {
    match status {
        Ok(status @ 256..) => vmatlas_sys::signal::name((status - 256) as i32),
        Ok(status) => status.to_string(),
        Err(errno) => vmatlas_sys::errno_name(errno).unwrap_or("?").to_owned(),
    }
}
