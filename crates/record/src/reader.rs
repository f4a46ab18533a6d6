//! The reader: a recording in, whole or torn, events out.

use crate::batch::{Batch, Row};
use crate::error::{Damage, RecordError};
use crate::files;
use crate::flat::{self, Attached, Lookup};
use crate::keyframe;
use crate::meta::{FORMAT, Meta, VERSION};
use crate::seal;
use crate::sealed::{Segment, TableFile};
use crate::table::{self, Table};
use crate::tail::Tail;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use vmatlas_event::{
    Event, EventSource, Keyframe, MmId, MonoNs, Name, Pid, Seq, SpaceState, StartTime, TaskId, Tid,
};

/// How many bytes of names a recording may have, and how many names, tasks, address spaces and keyframes.
const MOST_BYTES: usize = 256 << 20;
const MOST: usize = 1 << 22;
/// How many VMAs one map may have.
const MOST_ROWS: u64 = 1 << 24;

/// An address space of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Which one.
    pub mm: MmId,
    /// The one it came from, by fork or by exec.
    pub parent: Option<MmId>,
    /// `start`, `fork` or `exec`.
    pub how: String,
    /// The event it began with.
    pub first: Seq,
    /// The event in which its last task ended, where that was seen.
    pub last: Option<Seq>,
}

/// An opened recording.
pub struct Reader {
    folder: PathBuf,
    meta: Meta,
    units: Vec<Unit>,
    known: Known,
    spaces: Vec<Space>,
    keyframes: Vec<KeyframeRow>,
    damage: Vec<Damage>,
    last: Option<Seq>,
    files: Mutex<Vec<(usize, u16, Arc<TableFile>)>>,
}

/// A part of a recording.
enum Unit {
    Sealed(Segment),
    Tail {
        tail: Arc<Tail>,
        last: Option<u64>,
    },
    /// One that is not there, or cannot be read.
    Missing(Damage),
}

#[derive(Clone, Copy, Debug)]
struct KeyframeRow {
    after: u64,
    at: u64,
    unit: usize,
    spaces: u64,
    rows: u64,
}

#[derive(Default)]
struct Known {
    names: Vec<Name>,
    bytes: usize,
    tasks: Vec<TaskId>,
}

impl Lookup for Known {
    fn task(&self, id: i64) -> Option<TaskId> {
        self.tasks.get(usize::try_from(id).ok()?).copied()
    }

    fn name(&self, id: i64) -> Option<&Name> {
        self.names.get(usize::try_from(id).ok()?)
    }
}

type Batches = Box<dyn Iterator<Item = Result<Batch, RecordError>> + Send>;

impl Reader {
    /// Opens a recording; what cannot be read of it is [`Reader::damage`], and everything before it is there.
    ///
    /// # Errors
    /// [`RecordError::NotARecording`], [`RecordError::Version`] or [`RecordError::Io`].
    pub fn open(folder: &Path) -> Result<Reader, RecordError> {
        let is_folder = fs::metadata(folder).map_err(|e| RecordError::io(folder, e))?.is_dir();
        if !is_folder {
            return Err(RecordError::NotARecording(folder.to_owned()));
        }
        let mut damage = Vec::new();
        let numbers = numbers(folder)?;
        let meta = match files::read_json::<Meta>(&folder.join("meta.json"), "meta.json") {
            Ok(meta) if meta.format != FORMAT => return Err(RecordError::NotARecording(folder.to_owned())),
            Ok(meta) if meta.version != VERSION => {
                let (path, version) = (folder.to_owned(), meta.version);
                return Err(RecordError::Version { path, version, known: VERSION });
            }
            Ok(meta) => meta,
            Err(_) if numbers.is_empty() => return Err(RecordError::NotARecording(folder.to_owned())),
            Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                damage.push(Damage { file: "meta.json".to_owned(), at: None, what: "is missing".to_owned() });
                Meta::default()
            }
            Err(error) => {
                damage.push(error.into_damage()?);
                Meta::default()
            }
        };
        let mut reader = Reader {
            folder: folder.to_owned(),
            meta,
            units: Vec::new(),
            known: Known::default(),
            spaces: Vec::new(),
            keyframes: Vec::new(),
            damage,
            last: None,
            files: Mutex::default(),
        };
        let highest = numbers.last_key_value().map_or(0, |(number, _)| *number);
        for number in 1..=highest {
            let unit = reader.unit(number, numbers.get(&number).copied())?;
            if let Unit::Missing(damage) = &unit {
                reader.damage.push(damage.clone());
            }
            reader.units.push(unit);
        }
        reader.learn()?;
        Ok(reader)
    }

    fn unit(&mut self, number: u32, is_sealed: Option<bool>) -> Result<Unit, RecordError> {
        let Some(is_sealed) = is_sealed else {
            let file = format!("seg-{number:06}");
            return Ok(Unit::Missing(Damage { file, at: None, what: "is missing".to_owned() }));
        };
        if !is_sealed {
            match Tail::open(&seal::tail(&self.folder, number)) {
                // It has been sealed since.
                Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                tail => return self.tail(tail?),
            }
        }
        match Segment::open(&seal::segment(&self.folder, number)) {
            Ok(segment) => Ok(Unit::Sealed(segment)),
            Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let file = format!("seg-{number:06}/seal.json");
                Ok(Unit::Missing(Damage { file, at: None, what: "is missing".to_owned() }))
            }
            Err(error) => Ok(Unit::Missing(error.into_damage()?)),
        }
    }

    fn tail(&mut self, mut tail: Tail) -> Result<Unit, RecordError> {
        let is_event = |frame: &&crate::tail::Frame| frame.table.id == table::EVENTS.id;
        let last = loop {
            let Some(frame) = tail.frames.iter().rfind(is_event).copied() else { break None };
            match tail.batch(&frame) {
                Ok(batch) => {
                    break batch.len().checked_sub(1).and_then(|row| batch.row(row).get(0)).map(|v| v as u64);
                }
                // A frame with the right checksum that cannot be decoded ends the tail.
                Err(error) => {
                    let damage = error.into_damage()?;
                    let at = damage.at;
                    tail.frames.retain(|frame| at.is_some_and(|at| frame.place() < at));
                    tail.damage = Some(damage);
                }
            }
        };
        self.damage.extend(tail.damage.clone());
        Ok(Unit::Tail { tail: Arc::new(tail), last })
    }

    /// Reads what is known once: names, tasks, address spaces, where keyframes are.
    fn learn(&mut self) -> Result<(), RecordError> {
        for unit in 0..self.units.len() {
            for table in [&table::NAMES, &table::TASKS, &table::SPACES, &table::KEYFRAMES] {
                let learned = self.learn_table(unit, table);
                if let Err(error) = learned {
                    self.damage.push(error.into_damage()?);
                }
            }
            let last = match self.units.get(unit) {
                Some(Unit::Sealed(segment)) => segment.seal.last,
                Some(Unit::Tail { last, .. }) => *last,
                _ => None,
            };
            self.last = last.map(Seq).or(self.last);
        }
        self.spaces.sort_by_key(|space| space.mm);
        Ok(())
    }

    fn learn_table(&mut self, unit: usize, table: &'static Table) -> Result<(), RecordError> {
        let batches = self.batches(unit, table, i64::MIN)?;
        let known = self.spaces.iter().enumerate().filter(|_| table.id == table::SPACES.id);
        let mut spaces: FxHashMap<MmId, usize> = known.map(|(index, space)| (space.mm, index)).collect();
        for batch in batches {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                match table.id {
                    id if id == table::NAMES.id => self.known.add_name(row)?,
                    id if id == table::TASKS.id => self.known.add_task(row)?,
                    id if id == table::SPACES.id => add_space(&mut self.spaces, &mut spaces, row)?,
                    _ => self.add_keyframe(unit, row)?,
                }
            }
        }
        Ok(())
    }

    fn add_keyframe(&mut self, unit: usize, row: Row<'_>) -> Result<(), RecordError> {
        let found = KeyframeRow {
            after: row.bits(0)?,
            at: row.bits(1)?,
            unit,
            spaces: row.bits(2)?,
            rows: row.bits(3)?,
        };
        let ordered = self.keyframes.last().is_none_or(|last| last.after <= found.after);
        if !ordered || found.rows > MOST_ROWS || self.keyframes.len() >= MOST {
            return Err(row.wrong(0));
        }
        self.keyframes.push(found);
        Ok(())
    }

    /// What was known when it began, and how it ended.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its address spaces, by number.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// Its tasks, in the order in which they were met.
    pub fn tasks(&self) -> &[TaskId] {
        &self.known.tasks
    }

    /// What of it is missing or not as it was written.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Where its keyframes are: the last event that each contains, and its time.
    pub fn keyframes(&self) -> impl Iterator<Item = (Seq, MonoNs)> + '_ {
        self.keyframes.iter().map(|k| (Seq(k.after), MonoNs(k.at)))
    }

    /// What its files take on disk, in bytes.
    pub fn size(&self) -> u64 {
        let sizes = |folder: &Path| -> Vec<(PathBuf, fs::Metadata)> {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            entries.filter_map(|e| Some((e.path(), e.metadata().ok()?))).collect()
        };
        let size = |(path, meta): (PathBuf, fs::Metadata)| match meta.is_dir() {
            true => sizes(&path).iter().map(|(_, meta)| meta.len()).sum(),
            false => meta.len(),
        };
        sizes(&self.folder).into_iter().map(size).sum()
    }

    fn batches(&self, unit: usize, table: &'static Table, from: i64) -> Result<Batches, RecordError> {
        match self.units.get(unit) {
            None => Ok(Box::new(std::iter::empty())),
            Some(Unit::Missing(damage)) => Err(RecordError::Damaged(damage.clone())),
            Some(Unit::Tail { tail, .. }) => Ok(tail_batches(Arc::clone(tail), table, from)),
            Some(Unit::Sealed(segment)) => match self.file(unit, segment, table)? {
                Some(file) => file.batches(from),
                None => Ok(Box::new(std::iter::empty())),
            },
        }
    }

    /// A file of a segment, from memory where it was read lately.
    fn file(
        &self,
        unit: usize,
        segment: &Segment,
        table: &'static Table,
    ) -> Result<Option<Arc<TableFile>>, RecordError> {
        const KEPT: usize = 64 << 20;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = files.iter().position(|(u, id, _)| (*u, *id) == (unit, table.id)) {
            let found = files.remove(at);
            let file = Arc::clone(&found.2);
            files.push(found);
            return Ok(Some(file));
        }
        let Some(file) = segment.table(table)?.map(Arc::new) else { return Ok(None) };
        files.push((unit, table.id, Arc::clone(&file)));
        while files.len() > 1 && files.iter().map(|(_, _, f)| f.size()).sum::<usize>() > KEPT {
            files.remove(0);
        }
        Ok(Some(file))
    }

    fn events_of(
        &self,
        unit: usize,
        from: Seq,
        previous: &mut Option<u64>,
        found: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, RecordError> {
        let start = i64::try_from(from.0).unwrap_or(i64::MAX);
        let mut rows = Cursor::new(self.batches(unit, &table::ROWS, start)?);
        let mut in_flight = Cursor::new(self.batches(unit, &table::IN_FLIGHT, start)?);
        for batch in self.batches(unit, &table::EVENTS, start)? {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                let seq = row.bits(flat::SEQ)?;
                if seq < from.0 {
                    continue;
                }
                if previous.is_some_and(|previous| previous >= seq) {
                    return Err(row.wrong(flat::SEQ));
                }
                *previous = Some(seq);
                let (row_count, task_count) = flat::attached(row)?;
                let mut attached = Attached::default();
                if row_count > 0 {
                    rows.take(seq, row_count, row, &mut |r| {
                        attached.rows.push(keyframe::vma(r, &self.known)?);
                        Ok(())
                    })?;
                }
                if task_count > 0 {
                    in_flight.take(seq, task_count, row, &mut |r| {
                        let task = r.get(1).and_then(|id| self.known.task(id)).ok_or_else(|| r.wrong(1))?;
                        attached.in_flight.push(task);
                        Ok(())
                    })?;
                }
                if !found(flat::event(row, attached, &self.known)?) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn load(&self, wanted: KeyframeRow) -> Result<Keyframe, RecordError> {
        let after = wanted.after as i64;
        let mut spaces: BTreeMap<MmId, (SpaceState, u64, u64)> = BTreeMap::new();
        self.each(wanted, &table::STATES, &mut |row| {
            let (state, rows, parts) = keyframe::state(row)?;
            spaces.insert(state.mm, (state, rows, parts));
            Ok(())
        })?;
        self.each(wanted, &table::STATE_ROWS, &mut |row| {
            let (state, rows, _) = spaces.get_mut(&keyframe::owner(row)?).ok_or_else(|| row.wrong(0))?;
            if state.rows.len() as u64 >= *rows {
                return Err(row.wrong(0));
            }
            state.rows.push(keyframe::vma(row, &self.known)?);
            Ok(())
        })?;
        self.each(wanted, &table::STATE_PARTS, &mut |row| {
            let (state, _, parts) =
                spaces.get_mut(&keyframe::part_owner(row)?).ok_or_else(|| row.wrong(0))?;
            *parts = parts.checked_sub(1).ok_or_else(|| row.wrong(0))?;
            keyframe::add_part(row, state, &self.known)
        })?;
        let whole =
            spaces.values().all(|(state, rows, parts)| state.rows.len() as u64 == *rows && *parts == 0);
        let rows: u64 = spaces.values().map(|(_, rows, _)| *rows).sum();
        if !whole || spaces.len() as u64 != wanted.spaces || rows != wanted.rows {
            let what = format!("the keyframe after event {after} is not whole");
            return Err(RecordError::damaged("keyframes", None, what));
        }
        let spaces = spaces.into_values().map(|(state, _, _)| state).collect();
        Ok(Keyframe { after: Seq(wanted.after), at: MonoNs(wanted.at), spaces })
    }

    /// Each row of a keyframe in one of its tables.
    fn each(
        &self,
        wanted: KeyframeRow,
        table: &'static Table,
        found: &mut dyn FnMut(Row<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let after = wanted.after as i64;
        for batch in self.batches(wanted.unit, table, after)? {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                match row.need::<i64>(0)? {
                    key if key < after => {}
                    key if key > after => return Ok(()),
                    _ => found(row)?,
                }
            }
        }
        Ok(())
    }
}

impl EventSource for Reader {
    type Error = RecordError;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        let mut previous = None;
        let end = self.units.len();
        for unit in 0..end {
            let (last, damage) = match self.units.get(unit) {
                Some(Unit::Sealed(segment)) => (segment.seal.last, None),
                Some(Unit::Tail { tail, last, .. }) => (*last, tail.damage.clone()),
                _ => (Some(u64::MAX), None),
            };
            if last.is_some_and(|last| last >= from.0) && !self.events_of(unit, from, &mut previous, found)? {
                return Ok(());
            }
            // The end of the last tail is where recording stopped; elsewhere something is missing in between.
            if let Some(damage) = damage.filter(|_| unit + 1 < end) {
                return Err(RecordError::Damaged(damage));
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, RecordError> {
        let after = self.keyframes.partition_point(|k| k.after <= at.0);
        let Some(wanted) = after.checked_sub(1).and_then(|index| self.keyframes.get(index)) else {
            return Ok(None);
        };
        self.load(*wanted).map(Some)
    }

    fn last(&self) -> Option<Seq> {
        self.last
    }
}

impl Known {
    fn add_name(&mut self, row: Row<'_>) -> Result<(), RecordError> {
        let bytes = row.bytes(1).ok_or_else(|| row.wrong(1))?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if row.get(0) != Some(self.names.len() as i64) || self.names.len() >= MOST || self.bytes > MOST_BYTES
        {
            return Err(row.wrong(0));
        }
        self.names.push(Name::new(bytes));
        Ok(())
    }

    fn add_task(&mut self, row: Row<'_>) -> Result<(), RecordError> {
        if row.get(0) != Some(self.tasks.len() as i64) || self.tasks.len() >= MOST {
            return Err(row.wrong(0));
        }
        let started = row.get(3).map(|ticks| StartTime(ticks as u64));
        self.tasks.push(TaskId { pid: Pid(row.need(1)?), tid: Tid(row.need(2)?), started });
        Ok(())
    }
}

fn add_space(
    spaces: &mut Vec<Space>,
    index: &mut FxHashMap<MmId, usize>,
    row: Row<'_>,
) -> Result<(), RecordError> {
    let mm = MmId(row.need(0)?);
    let how = row.word(2).ok_or_else(|| row.wrong(2))?;
    if how == "end" {
        let space = index.get(&mm).and_then(|at| spaces.get_mut(*at)).ok_or_else(|| row.wrong(0))?;
        space.last = Some(Seq(row.bits(4)?));
        return Ok(());
    }
    if !matches!(how, "start" | "fork" | "exec") {
        return Err(row.wrong(2));
    }
    if spaces.len() >= MOST || index.insert(mm, spaces.len()).is_some() {
        return Err(row.wrong(0));
    }
    let parent = row.maybe(1)?.map(MmId);
    spaces.push(Space { mm, parent, how: how.to_owned(), first: Seq(row.bits(3)?), last: None });
    Ok(())
}

/// Which parts there are, and whether each is sealed.
fn numbers(folder: &Path) -> Result<BTreeMap<u32, bool>, RecordError> {
    let mut numbers = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|e| RecordError::io(folder, e))? {
        let name = entry.map_err(|e| RecordError::io(folder, e))?.file_name();
        let name = name.to_string_lossy();
        let digits = |prefix: &str| {
            let digits = name.strip_prefix(prefix).filter(|d| d.len() == 6)?;
            digits.parse::<u32>().ok().filter(|n| *n > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        if let Some(number) = digits("seg-") {
            numbers.insert(number, true);
        } else if let Some(number) = digits("tail-") {
            // Both are there when sealing was cut short after its last step but one: the segment is whole.
            numbers.entry(number).or_insert(false);
        }
    }
    Ok(numbers)
}

fn tail_batches(tail: Arc<Tail>, table: &'static Table, from: i64) -> Batches {
    let frames: Vec<_> = tail.frames.iter().filter(|frame| frame.table.id == table.id).copied().collect();
    // A frame can be left out when the next one still begins before what is wanted.
    let skip = frames.windows(2).take_while(|pair| matches!(pair, [_, next] if next.key < from)).count();
    Box::new(frames.into_iter().skip(skip).map(move |frame| tail.batch(&frame)))
}

/// Rows that belong to events, read along with them.
struct Cursor {
    batches: Batches,
    batch: Option<Batch>,
    at: usize,
}

impl Cursor {
    fn new(batches: Batches) -> Cursor {
        Cursor { batches, batch: None, at: 0 }
    }

    /// Gives the rows of event `seq`, which must be `count`.
    fn take(
        &mut self,
        seq: u64,
        count: u64,
        event: Row<'_>,
        found: &mut dyn FnMut(Row<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if count > MOST_ROWS {
            return Err(event.wrong(flat::COUNT));
        }
        let mut left = count;
        while left > 0 {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) else {
                self.batch = Some(self.batches.next().ok_or_else(|| event.wrong(flat::COUNT))??);
                self.at = 0;
                continue;
            };
            let row = batch.row(self.at);
            let key = row.bits(0)?;
            if key > seq {
                return Err(event.wrong(flat::COUNT));
            }
            self.at += 1;
            if key == seq {
                found(row)?;
                left -= 1;
            }
        }
        Ok(())
    }
}
