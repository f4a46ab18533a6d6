//! The queue before the writer: who brings events never waits for the disk.
//!
//! Events are encoded and written by a thread of their own. What waits for it is bounded; where the disk is stuck and the
//! queue is full, nothing more is taken, and who brings events is told so: it counts them, and says so in the recording
//! ([`Op::Lost`](vmatlas_event::Op::Lost)) with the state after them, from which replay goes on.

use crate::error::RecordError;
use crate::meta::Outcome;
use crate::outlet::Outlet;
use crate::seal::Sealing;
use crate::writer::Writer;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use vmatlas_event::{
    Event, FrameId, Keyframe, Look, NewStacks, Op, PageRow, SpaceState, Symbol, TaskId, VmaRow,
};

/// So many events wait at most: some seconds of a program that does nothing but memory calls.
const MOST: usize = 1 << 17;
/// And so many bytes, maps that were read and keyframes included.
const MOST_BYTES: usize = 24 << 20;
/// The thread is woken for so many; fewer wait for its next look.
const MANY: usize = 1024;
/// It looks by itself so often.
const LOOK: Duration = Duration::from_millis(100);
/// Room for so many is kept when they are gone.
const KEPT: usize = 4 * MANY;

/// Something on its way to the writer.
enum Item {
    Event(Event),
    Keyframe(Box<Keyframe>),
    Look(Box<(Look, Vec<PageRow>)>),
    Stacks(Box<NewStacks>),
    Symbols(Vec<(FrameId, Vec<Symbol>)>),
    Pid(i32),
    /// The last one.
    End(End),
}

/// How it ends.
enum End {
    Finish(Outcome),
    Discard,
    /// Nobody said how: what is there is flushed.
    Leave,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    events: usize,
    bytes: usize,
}

#[derive(Default)]
struct State {
    items: Vec<Item>,
    waiting: Load,
    /// What the thread has in hand.
    taken: Load,
    is_closed: bool,
    failure: Option<RecordError>,
}

impl State {
    fn bytes(&self) -> usize {
        self.waiting.bytes + self.taken.bytes
    }

    fn events(&self) -> usize {
        self.waiting.events + self.taken.events
    }

    /// Whether that fits; an empty queue takes anything.
    fn fits(&self, bytes: usize) -> bool {
        let is_empty = self.bytes() == 0;
        is_empty || self.events() < MOST && self.bytes().saturating_add(bytes) <= MOST_BYTES
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer behind a bounded queue.
pub struct Queue {
    shared: Arc<Shared>,
    folder: PathBuf,
    sealing: Arc<Sealing>,
    thread: Option<JoinHandle<Result<(), RecordError>>>,
}

impl Queue {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// [`RecordError::Io`] where there can be no thread.
    pub fn start(writer: Writer) -> Result<Queue, RecordError> {
        let (folder, sealing) = (writer.folder().to_owned(), writer.sealing());
        Queue::over(writer, folder, sealing)
    }

    fn over(outlet: impl Outlet, folder: PathBuf, sealing: Arc<Sealing>) -> Result<Queue, RecordError> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let start =
            || std::thread::Builder::new().name("record".to_owned()).spawn(move || work(&theirs, outlet));
        let thread = vmatlas_sys::signal::shielded(start).map_err(|e| RecordError::io(&folder, e))?;
        Ok(Queue { shared, folder, sealing, thread: Some(thread) })
    }

    /// Takes one event, in order; whether there was room for it. After a failure everything is taken, and nothing kept.
    pub fn event(&self, event: &Event) -> bool {
        let bytes = event_bytes(event);
        let mut state = self.shared.lock();
        if state.is_closed {
            return true;
        }
        if !state.fits(bytes) {
            return false;
        }
        self.push(&mut state, Item::Event(event.clone()), bytes);
        true
    }

    /// Takes the state after the events so far; whether there was room for it. Replay is only slower without it.
    pub fn keyframe(&self, keyframe: Keyframe) -> bool {
        let bytes = keyframe_bytes(&keyframe);
        let mut state = self.shared.lock();
        let fits = state.fits(bytes) && !state.is_closed;
        if fits {
            self.push(&mut state, Item::Keyframe(Box::new(keyframe)), bytes);
        }
        fits
    }

    /// Takes a look after its events, and the pages that belong to it; whether there was room for it.
    pub fn look(&self, look: &Look, pages: &[PageRow]) -> bool {
        let bytes = size_of::<Look>() + size_of_val(pages);
        let mut state = self.shared.lock();
        if state.is_closed {
            return true;
        }
        let fits = state.fits(bytes);
        if fits {
            self.push(&mut state, Item::Look(Box::new((*look, pages.to_vec()))), bytes);
        }
        fits
    }

    /// Takes what of stacks is new, before the first event that names it; what there was no room for is given back, to be
    /// given again with what is newer. After a failure everything is taken, and nothing kept.
    pub fn stacks(&self, new: NewStacks) -> Option<NewStacks> {
        let bytes = size_of::<Item>() + new.bytes();
        let mut state = self.shared.lock();
        if state.is_closed {
            return None;
        }
        if !state.fits(bytes) {
            return Some(new);
        }
        self.push(&mut state, Item::Stacks(Box::new(new)), bytes);
        None
    }

    /// Takes the functions that frames are in, whatever the room: to be called at the end, when nobody is held.
    pub fn symbols(&self, symbols: Vec<(FrameId, Vec<Symbol>)>) {
        let mut state = self.shared.lock();
        if !state.is_closed {
            self.push(&mut state, Item::Symbols(symbols), 0);
        }
    }

    /// Takes word of a loss, and the state after it, whatever the room: to be called where [`has_room`](Queue::has_room)
    /// says so, and at the end.
    pub fn loss(&self, lost: &Event, keyframe: Option<Keyframe>) {
        let mut state = self.shared.lock();
        if state.is_closed {
            return;
        }
        self.push(&mut state, Item::Event(lost.clone()), event_bytes(lost));
        if let Some(keyframe) = keyframe {
            let bytes = keyframe_bytes(&keyframe);
            self.push(&mut state, Item::Keyframe(Box::new(keyframe)), bytes);
        }
    }

    /// Whether half of it is free again.
    pub fn has_room(&self) -> bool {
        let state = self.shared.lock();
        state.events() < MOST / 2 && state.bytes() < MOST_BYTES / 2
    }

    /// Says what became known after the start: the program's own process.
    pub fn set_pid(&self, pid: i32) {
        let mut state = self.shared.lock();
        if !state.is_closed {
            self.push(&mut state, Item::Pid(pid), 0);
        }
    }

    /// How far sealing is, also for who looks from another thread while [`Queue::finish`] is at work.
    pub fn sealing(&self) -> Arc<Sealing> {
        Arc::clone(&self.sealing)
    }

    /// Whether it still writes.
    pub fn is_open(&self) -> bool {
        !self.shared.lock().is_closed
    }

    /// Why nothing is written any more; told once.
    pub fn take_failure(&self) -> Option<RecordError> {
        self.shared.lock().failure.take()
    }

    /// Writes what waits, seals it and says how it ended; it waits for the disk. A failure that was not yet taken is the error.
    ///
    /// # Errors
    /// The first error of writing. The tail then stays as it is, and is valid.
    pub fn finish(mut self, end: Outcome) -> Result<(), RecordError> {
        self.end(End::Finish(end))
    }

    /// Removes the recording: there was nothing to record.
    pub fn discard(mut self) {
        // What cannot be removed stays.
        let _ = self.end(End::Discard);
    }

    fn push(&self, state: &mut State, item: Item, bytes: usize) {
        state.items.push(item);
        state.waiting.events += 1;
        state.waiting.bytes += bytes;
        if state.waiting.events == MANY {
            self.shared.news.notify_one();
        }
    }

    fn end(&mut self, end: End) -> Result<(), RecordError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.lock().items.push(Item::End(end));
        self.shared.news.notify_one();
        let panicked = || RecordError::io(&self.folder, io::Error::other("writing failed"));
        let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
        self.take_failure().map_or(ended, Err)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Nobody is there to be told.
        let _ = self.end(End::Leave);
    }
}

/// What the thread does: to take all that waits, and to bring it to the outlet without the lock.
fn work(shared: &Shared, mut outlet: impl Outlet) -> Result<(), RecordError> {
    let mut items = Vec::new();
    loop {
        {
            let state = shared.lock();
            let is_little = |state: &mut State| {
                state.waiting.events < MANY && !matches!(state.items.last(), Some(Item::End(_)))
            };
            let waited = shared.news.wait_timeout_while(state, LOOK, is_little);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut state.items, &mut items);
            state.taken = std::mem::take(&mut state.waiting);
        }
        for item in items.drain(..) {
            match item {
                Item::Event(event) => outlet.event(&event),
                Item::Keyframe(keyframe) => outlet.keyframe(&keyframe),
                Item::Look(look) => outlet.look(&look.0, &look.1),
                Item::Stacks(new) => outlet.stacks(&new),
                Item::Symbols(symbols) => outlet.symbols(&symbols),
                Item::Pid(pid) => outlet.set_pid(pid),
                Item::End(End::Finish(end)) => return outlet.finish(end),
                Item::End(End::Discard) => {
                    outlet.discard();
                    return Ok(());
                }
                Item::End(End::Leave) => return Ok(()),
            }
        }
        if items.capacity() > KEPT {
            items = Vec::new();
        }
        outlet.tick(vmatlas_sys::now());
        let failure = outlet.take_failure();
        let mut state = shared.lock();
        state.taken = Load::default();
        state.is_closed |= failure.is_some();
        state.failure = state.failure.take().or(failure);
    }
}

/// Nearly.
fn event_bytes(event: &Event) -> usize {
    size_of::<Item>()
        + match &event.op {
            Op::Snapshot { rows, .. } => size_of_val(rows.as_slice()),
            Op::Observed { rows, in_flight, .. } => {
                size_of_val(rows.as_slice()) + size_of_val(in_flight.as_slice())
            }
            Op::Mark { name } => name.len(),
            _ => 0,
        }
}

fn keyframe_bytes(keyframe: &Keyframe) -> usize {
    let space = |state: &SpaceState| {
        size_of::<SpaceState>()
            + state.users.len() * size_of::<TaskId>()
            + state.rows.len() * size_of::<VmaRow>()
            + size_of_val(state.origins.as_slice())
            + state.recent.iter().map(|(_, ranges)| 40 + size_of_val(ranges.as_slice())).sum::<usize>()
    };
    size_of::<Item>() + keyframe.spaces.iter().map(space).sum::<usize>()
}

#[cfg(test)]
mod tests;
