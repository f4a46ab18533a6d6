//! The writer: events in, a recording on disk out.

use crate::error::RecordError;
use crate::files::{self, Last};
use crate::flat::{Intern, cells};
use crate::keyframe::{count_parts, parts, state_cells, vma_cells};
use crate::meta::{FORMAT, Meta, Outcome, VERSION};
use crate::rows::{Cell, Rows};
use crate::seal;
use crate::table;
use crate::tail::TailWriter;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use vmatlas_event::{Event, ForkKind, Keyframe, MmId, MonoNs, Name, Op, TaskId, VmaRow};

/// What to do where something is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Refuse,
    /// A recording is replaced; anything else is an error.
    Replace,
}

/// Sizes and times of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What to do where something is already.
    pub existing: Existing,
    /// How large the tail grows before it is sealed, in bytes.
    pub rotate_at: u64,
    /// How long an event may wait before it is flushed, in nanoseconds.
    pub flush_after: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { existing: Existing::Refuse, rotate_at: 64 << 20, flush_after: 500_000_000 }
    }
}

/// How many rows of a table wait at most.
const MANY: usize = 8192;

/// Writes a recording; it turns itself off at its first error, and what was written stays valid.
pub struct Writer {
    folder: PathBuf,
    meta: Meta,
    options: Options,
    open: Option<Open>,
    failure: Option<RecordError>,
    events: u64,
    lost: u64,
    keyframes: u64,
    sealer: Option<Sealer>,
}

/// What there is while all is well.
struct Open {
    tail: TailWriter,
    number: u32,
    interned: Interned,
    spaces: Spaces,
    rows: Rows,
    in_flight: Rows,
    events: Rows,
    state_rows: Rows,
    state_parts: Rows,
    states: Rows,
    keyframes: Rows,
    flushed: MonoNs,
}

/// The thread that makes segments of tails, so that the program does not wait for it.
struct Sealer {
    numbers: Sender<u32>,
    thread: JoinHandle<Result<(), RecordError>>,
}

impl Sealer {
    fn start(folder: &Path) -> io::Result<Sealer> {
        let (numbers, wanted) = channel();
        let folder = folder.to_owned();
        let work = move || wanted.iter().try_for_each(|number| seal::seal(&folder, number));
        let start = || std::thread::Builder::new().name("seal".to_owned()).spawn(work);
        Ok(Sealer { numbers, thread: vmatlas_sys::signal::shielded(start)? })
    }
}

impl Writer {
    /// Makes the folder and the first files.
    ///
    /// # Errors
    /// [`RecordError::Exists`] where something is there (a symbolic link too), [`RecordError::NotOurs`] where that shall be
    /// replaced and is no recording, [`RecordError::Io`] otherwise.
    pub fn create(folder: &Path, meta: Meta, options: Options) -> Result<Writer, RecordError> {
        if options.existing == Existing::Replace {
            remove_recording(folder)?;
        }
        files::create_folder(folder)?;
        let meta = Meta { format: FORMAT.to_owned(), version: VERSION, end: None, ..meta };
        let made = files::write_json(&folder.join("meta.json"), &meta, Last::Kill)
            .and_then(|()| Open::new(folder, MonoNs(meta.started)))
            .and_then(|open| Ok((open, Sealer::start(folder).map_err(|e| RecordError::io(folder, e))?)));
        match made {
            Ok((open, sealer)) => Ok(Writer {
                folder: folder.to_owned(),
                meta,
                options,
                open: Some(open),
                failure: None,
                events: 0,
                lost: 0,
                keyframes: 0,
                sealer: Some(sealer),
            }),
            Err(error) => {
                // A recording without anything in it would only be in the way.
                let _ = remove_recording(folder);
                let _ = fs::remove_dir(folder);
                Err(error)
            }
        }
    }

    /// Says what became known after the start: the program's own process.
    pub fn set_pid(&mut self, pid: i32) {
        self.meta.pid = Some(pid);
        if self.open.is_some() {
            let written = files::write_json(&self.folder.join("meta.json"), &self.meta, Last::Kill);
            self.check(written);
        }
    }

    /// Takes one event, in order.
    pub fn event(&mut self, event: &Event) {
        let Some(open) = &mut self.open else { return };
        let now = event.left.max(event.entered);
        let due = now.0.saturating_sub(open.flushed.0) >= self.options.flush_after;
        let mut written = open.event(event);
        self.events += 1;
        if let Op::Lost { count, .. } = event.op {
            // One at least, where nobody could count them.
            self.lost = self.lost.saturating_add(count.unwrap_or(1));
        }
        if written.is_ok() && (due || open.events.len() >= MANY) {
            written = open.flush(now);
        }
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// Takes the state of all address spaces after the events so far, and flushes.
    pub fn keyframe(&mut self, keyframe: &Keyframe) {
        let Some(open) = &mut self.open else { return };
        let written = open.keyframe(keyframe).and_then(|()| open.flush(open.flushed.max(keyframe.at)));
        self.keyframes += 1;
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// Flushes what has waited long enough; to be called now and then.
    pub fn tick(&mut self, now: MonoNs) {
        let Some(open) = &mut self.open else { return };
        if now.0.saturating_sub(open.flushed.0) < self.options.flush_after {
            return;
        }
        let written = open.flush(now);
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// Why nothing is written any more; told once.
    pub fn take_failure(&mut self) -> Option<RecordError> {
        self.failure.take()
    }

    /// Seals what is there and says how it ended; a failure that was not yet taken is the error.
    ///
    /// # Errors
    /// The first error of writing. The tail then stays as it is, and is valid.
    pub fn finish(mut self, end: Outcome) -> Result<(), RecordError> {
        if let Some(mut open) = self.open.take() {
            match open.flush(MonoNs(end.at)) {
                Ok(()) => self.seal_later(open.number),
                Err(error) => self.failure = Some(self.tail_error(error)),
            }
            drop(open);
            self.join();
            if self.failure.is_none() {
                let end = Outcome { events: self.events, keyframes: self.keyframes, lost: self.lost, ..end };
                self.meta.end = Some(end);
                let written =
                    files::write_json(&self.folder.join("meta.json"), &self.meta, Last::ThroughPowerLoss);
                self.check(written);
            }
        } else {
            self.join();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Removes the recording: there was nothing to record.
    pub fn discard(mut self) {
        self.open = None;
        self.join();
        let _ = remove_recording(&self.folder);
    }

    fn seal_later(&self, number: u32) {
        if let Some(sealer) = &self.sealer {
            // A thread that has ended has said why.
            let _ = sealer.numbers.send(number);
        }
    }

    fn join(&mut self) {
        let Some(Sealer { numbers, thread }) = self.sealer.take() else { return };
        drop(numbers);
        let panicked = || RecordError::io(&self.folder, io::Error::other("sealing failed"));
        let sealed = thread.join().unwrap_or_else(|_| Err(panicked()));
        self.check(sealed);
    }

    fn tail_error(&self, error: io::Error) -> RecordError {
        let number = self.open.as_ref().map_or(1, |open| open.number);
        RecordError::io(&seal::tail(&self.folder, number), error)
    }

    /// Starts a new tail where the old one is large.
    fn rotate(&mut self) -> Result<(), RecordError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.tail.length < self.options.rotate_at {
            return Ok(());
        }
        let full = open.number;
        open.tail = TailWriter::create(&seal::tail(&self.folder, full + 1))?;
        open.number = full + 1;
        self.seal_later(full);
        Ok(())
    }

    fn check(&mut self, result: Result<(), RecordError>) {
        if let Err(error) = result {
            self.open = None;
            self.failure.get_or_insert(error);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            let _ = open.flush(open.flushed);
        }
        self.open = None;
        self.join();
    }
}

impl Open {
    fn new(folder: &Path, now: MonoNs) -> Result<Open, RecordError> {
        Ok(Open {
            tail: TailWriter::create(&seal::tail(folder, 1))?,
            number: 1,
            interned: Interned::default(),
            spaces: Spaces::default(),
            rows: Rows::new(&table::ROWS),
            in_flight: Rows::new(&table::IN_FLIGHT),
            events: Rows::new(&table::EVENTS),
            state_rows: Rows::new(&table::STATE_ROWS),
            state_parts: Rows::new(&table::STATE_PARTS),
            states: Rows::new(&table::STATES),
            keyframes: Rows::new(&table::KEYFRAMES),
            flushed: now,
        })
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        self.spaces.event(event);
        match &event.op {
            Op::Snapshot { rows, .. } => self.vmas(event, rows)?,
            Op::Observed { rows, in_flight, .. } => {
                self.vmas(event, rows)?;
                for task in in_flight {
                    let id = self.interned.task(*task);
                    self.in_flight.push(&[Cell::Int(Some(event.seq.0 as i64)), Cell::Int(Some(id))]);
                }
            }
            _ => {}
        }
        self.events.push(&cells(event, &mut self.interned));
        Ok(())
    }

    fn vmas(&mut self, event: &Event, rows: &[VmaRow]) -> io::Result<()> {
        for row in rows {
            self.rows.push(
                vma_cells(event.seq.0, row, None, &mut self.interned).split_last().map_or(&[], |(_, c)| c),
            );
            if self.rows.len() >= MANY {
                self.flush_tables(Part::Referred)?;
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, keyframe: &Keyframe) -> io::Result<()> {
        let (mut rows, mut all_parts) = (0, 0);
        for state in &keyframe.spaces {
            for row in &state.rows {
                self.state_rows.push(&vma_cells(keyframe.after.0, row, Some(state.mm), &mut self.interned));
                if self.state_rows.len() >= MANY {
                    self.flush_tables(Part::All)?;
                }
            }
            let out = &mut self.state_parts;
            parts(keyframe.after, state, &mut self.interned, &mut |cells| out.push(cells));
            if self.state_parts.len() >= MANY {
                self.flush_tables(Part::All)?;
            }
            self.states.push(&state_cells(keyframe.after, state));
            rows += state.rows.len();
            all_parts += count_parts(state);
        }
        let int = |value: u64| Cell::Int(Some(value as i64));
        self.keyframes.push(&[
            int(keyframe.after.0),
            int(keyframe.at.0),
            int(keyframe.spaces.len() as u64),
            int(rows as u64),
            int(all_parts as u64),
        ]);
        Ok(())
    }

    fn flush(&mut self, now: MonoNs) -> io::Result<()> {
        self.flushed = now;
        self.flush_tables(Part::All)
    }

    /// Writes what waits; what is referred to comes first, so that a torn tail refers to nothing that is missing.
    fn flush_tables(&mut self, part: Part) -> io::Result<()> {
        let Interned { new_names, new_tasks, .. } = &mut self.interned;
        let referred = [new_names, new_tasks, &mut self.spaces.rows, &mut self.rows, &mut self.in_flight];
        let rest = [
            &mut self.events,
            &mut self.state_rows,
            &mut self.state_parts,
            &mut self.states,
            &mut self.keyframes,
        ];
        let rest = rest.into_iter().take(if part == Part::All { usize::MAX } else { 0 });
        for rows in referred.into_iter().chain(rest).filter(|rows| rows.len() > 0) {
            let (batch, key) = rows.take().map_err(io::Error::other)?;
            self.tail.append(rows.table, &batch, key)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What events refer to.
    Referred,
    All,
}

/// What a recording holds once.
struct Interned {
    names: FxHashMap<Name, i64>,
    tasks: FxHashMap<TaskId, i64>,
    new_names: Rows,
    new_tasks: Rows,
}

impl Default for Interned {
    fn default() -> Interned {
        Interned {
            names: FxHashMap::default(),
            tasks: FxHashMap::default(),
            new_names: Rows::new(&table::NAMES),
            new_tasks: Rows::new(&table::TASKS),
        }
    }
}

impl Intern for Interned {
    fn task(&mut self, task: TaskId) -> i64 {
        let next = self.tasks.len() as i64;
        *self.tasks.entry(task).or_insert_with(|| {
            let started = task.started.map(|s| s.0 as i64);
            let numbers = [Some(next), Some(task.pid.0.into()), Some(task.tid.0.into()), started];
            self.new_tasks.push(&numbers.map(Cell::Int));
            next
        })
    }

    fn name(&mut self, bytes: &[u8]) -> i64 {
        if let Some(id) = self.names.get(bytes) {
            return *id;
        }
        let next = self.names.len() as i64;
        self.names.insert(Name::new(bytes), next);
        self.new_names.push(&[Cell::Int(Some(next)), Cell::Bytes(bytes)]);
        next
    }
}

/// Which address spaces were seen, and where from.
struct Spaces {
    seen: FxHashSet<MmId>,
    last: Option<MmId>,
    rows: Rows,
}

impl Default for Spaces {
    fn default() -> Spaces {
        Spaces { seen: FxHashSet::default(), last: None, rows: Rows::new(&table::SPACES) }
    }
}

impl Spaces {
    fn event(&mut self, event: &Event) {
        match event.op {
            Op::Fork { kind: ForkKind::Process, child_mm, .. } => {
                self.begin(child_mm, Some(event.mm), "fork", event);
            }
            Op::Exec { old_mm } => self.begin(event.mm, Some(old_mm), "exec", event),
            _ => {}
        }
        if self.last != Some(event.mm) {
            self.begin(event.mm, None, "start", event);
            self.last = Some(event.mm);
        }
        if let Op::Exit { last: true, .. } = event.op {
            let seq = Cell::Int(Some(event.seq.0 as i64));
            let nothing = Cell::Int(None);
            self.rows.push(&[
                Cell::Int(Some(event.mm.0.into())),
                nothing,
                Cell::Word(Some("end")),
                nothing,
                seq,
            ]);
        }
    }

    fn begin(&mut self, mm: MmId, parent: Option<MmId>, how: &str, event: &Event) {
        if self.seen.insert(mm) {
            let int = |value: Option<i64>| Cell::Int(value);
            let parent = int(parent.map(|mm| mm.0.into()));
            let seq = int(Some(event.seq.0 as i64));
            self.rows.push(&[int(Some(mm.0.into())), parent, Cell::Word(Some(how)), seq]);
        }
    }
}

/// Removes a recording, and nothing else: where there is anything that is not one's, nothing is touched.
fn remove_recording(folder: &Path) -> Result<(), RecordError> {
    let meta = match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta.map_err(|e| RecordError::io(folder, e))?,
    };
    let not_ours = || RecordError::NotOurs(folder.to_owned());
    if !meta.is_dir() {
        return Err(not_ours());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| RecordError::io(folder, e))? {
        names.push(entry.map_err(|e| RecordError::io(folder, e))?.file_name());
    }
    let ours = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name == "meta.json"
            || name == "meta.json.tmp"
            || name.starts_with("seg-")
            || name.starts_with("tail-")
    };
    if !names.iter().any(|name| name == "meta.json") || !names.iter().all(|name| ours(name)) {
        return Err(not_ours());
    }
    for name in names {
        let path = folder.join(&name);
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| RecordError::io(&path, e))?;
    }
    fs::remove_dir(folder).map_err(|e| RecordError::io(folder, e))
}
