//! The thread that reads files: what takes too long is left behind.
//!
//! A file on a dead network share blocks its reader, and no check inside a loop ends that. So names are made in a thread
//! of their own, whoever asks waits with a limit, and a thread that missed it is never asked again. It ends with the
//! process at the latest; at most a few are left behind before no more names are made.

use super::error::{Flaw, NoNames, Note};
use super::image::Image;
use super::limits::Limits;
use super::{Folders, Lookup};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use vmatlas_event::{Module, Symbol};

/// The stack of the thread: address space, of which only what is used costs memory.
const STACK: usize = 64 << 20;
/// What parsers may use of it; the rest is for what they call in between.
const FOR_PARSERS: usize = 48 << 20;

/// How much of a module is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// All there is.
    All,
    /// Its tables of symbols, without debug information.
    Symbols,
}

/// A question to the thread.
struct Question {
    module: Module,
    part: Part,
    at: Vec<Lookup>,
}

/// What the thread says, in this order: notes, one answer for each place, the end.
pub(super) enum Word {
    /// Of the module.
    Notes(Vec<Note>),
    /// Of the next place.
    Names(Result<Vec<Symbol>, NoNames>),
    /// That was all.
    End,
}

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    questions: Sender<Question>,
    words: Receiver<Word>,
}

impl Worker {
    /// Starts one; `None` where the system has no thread for us.
    pub(super) fn start(folders: Folders, limits: Limits) -> Option<Worker> {
        let (questions, asked) = channel::<Question>();
        let (say, words) = channel();
        thread::Builder::new()
            .name("vmatlas-symbols".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let mut kept = Kept { folders, limits, images: Vec::new() };
                while let Ok(question) = asked.recv() {
                    if kept.answer(&question, &say).is_none() {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Worker { questions, words })
    }

    /// Asks; `false` where the thread is gone.
    pub(super) fn ask(&self, module: &Module, at: &[Lookup], part: Part) -> bool {
        self.questions.send(Question { module: module.clone(), part, at: at.to_vec() }).is_ok()
    }

    /// Waits for the next word.
    pub(super) fn word(&self, limit: Duration) -> Result<Word, RecvTimeoutError> {
        self.words.recv_timeout(limit)
    }
}

/// Parsed modules, the latest used last.
struct Kept {
    folders: Folders,
    limits: Limits,
    images: Vec<((Module, Part), Result<Image, NoNames>)>,
}

impl Kept {
    /// `None` where nobody listens any more.
    fn answer(&mut self, question: &Question, say: &Sender<Word>) -> Option<()> {
        let (module, part) = (&question.module, question.part);
        let known = self.images.iter().position(|((kept, of), _)| kept == module && *of == part);
        let entry = match known.map(|at| self.images.remove(at)) {
            Some(entry) => entry,
            None => ((module.clone(), part), self.load(module, part)),
        };
        self.images.push(entry);
        self.forget();
        let (_, image) = self.images.last()?;
        let notes = image.as_ref().map_or(Vec::new(), |image| image.notes().to_vec());
        say.send(Word::Notes(notes)).ok()?;
        for lookup in &question.at {
            say.send(Word::Names(self.names(image, *lookup))).ok()?;
        }
        say.send(Word::End).ok()
    }

    fn load(&self, module: &Module, part: Part) -> Result<Image, NoNames> {
        let stack = (part == Part::All).then_some(FOR_PARSERS);
        // The parsers are not ours, and their input is not anybody's whom we trust.
        catch_unwind(AssertUnwindSafe(|| Image::load(module, &self.folders, &self.limits, stack)))
            .unwrap_or_else(|_| Err(panicked()))
    }

    fn names(&self, image: &Result<Image, NoNames>, lookup: Lookup) -> Result<Vec<Symbol>, NoNames> {
        let image = image.as_ref().map_err(NoNames::clone)?;
        // Where a call does not return, its return address may be the next function's first byte.
        let at = lookup.at.0.checked_sub(u64::from(lookup.is_return)).ok_or(NoNames::NotCovered)?;
        catch_unwind(AssertUnwindSafe(|| image.names(at, &self.limits))).unwrap_or_else(|_| Err(panicked()))
    }

    /// Drops the least recently used, but never the latest.
    fn forget(&mut self) {
        let mut left = self.limits.kept;
        let fits = self.images.iter().rev().take_while(|(_, image)| {
            let size = image.as_ref().map_or(0, Image::size);
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        });
        let keep = fits.count().max(1);
        self.images.drain(..self.images.len().saturating_sub(keep));
    }
}

fn panicked() -> NoNames {
    NoNames::Flaw(Flaw::Damaged("the file".to_owned()))
}
