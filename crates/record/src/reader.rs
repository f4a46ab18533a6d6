//! The reader: a recording in, whole or torn, events out.

use crate::batch::Row;
use crate::cursor::{Batches, MOST_ROWS, plain};
use crate::error::{Damage, RecordError};
use crate::frames::Frames;
use crate::known::{Known, MOST, Space, add_space};
use crate::loading::{AfterKeyframes, Loading};
use crate::losses::Early;
use crate::meta::{FORMAT, Meta, VERSION, is_known};
use crate::place::Places;
use crate::sealed::{Segment, TableFile};
use crate::stacks::Stacks;
use crate::store::Store;
use crate::table::{self, Table};
use crate::tail::Tail;
use rustc_hash::FxHashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use vmatlas_event::{MmId, MonoNs, Seq, TaskId};

/// An opened recording.
pub struct Reader {
    pub(crate) store: Store,
    is_being_written: bool,
    meta: Meta,
    pub(crate) units: Vec<Unit>,
    pub(crate) known: Known,
    spaces: Vec<Space>,
    pub(crate) keyframes: Vec<KeyframeRow>,
    damage: Vec<Damage>,
    pub(crate) last: Option<Seq>,
    files: Mutex<Vec<(usize, u16, Arc<TableFile>)>>,
    pub(crate) places: Places,
    /// A keyframe that is read in parts.
    pub(crate) loading: Mutex<Option<Loading>>,
    /// One that is needed soon, after a loss.
    pub(crate) early: Mutex<Option<Early>>,
    /// Places after keyframes that were read.
    pub(crate) after_keyframes: AfterKeyframes,
    /// The highest event of each part and of those before it; none is higher from the first on after which something is missing.
    pub(crate) reach: Vec<u64>,
    /// Call stacks, once somebody asked.
    pub(crate) stacks: Mutex<Option<Arc<Stacks>>>,
}

/// A part of a recording.
pub(crate) enum Unit {
    Sealed(Segment),
    Tail {
        tail: Arc<Tail>,
        frames: Frames,
        last: Option<u64>,
    },
    /// One that is not there, or cannot be read.
    Missing(Damage),
}

impl Unit {
    /// The number of its last event.
    pub(crate) fn last(&self) -> Option<u64> {
        match self {
            Unit::Sealed(segment) => segment.seal.last,
            Unit::Tail { last, .. } => *last,
            Unit::Missing(_) => None,
        }
    }
}

/// Where a keyframe is, and how much belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyframeRow {
    pub(crate) after: u64,
    pub(crate) at: u64,
    pub(crate) unit: usize,
    pub(crate) spaces: u64,
    pub(crate) rows: u64,
}

impl Reader {
    /// Opens a recording; what cannot be read of it is [`Reader::damage`], and everything before it is there.
    ///
    /// # Errors
    /// [`RecordError::NotARecording`], [`RecordError::Version`] or [`RecordError::Io`]; [`RecordError::Damaged`] where a packed
    /// one is so from its first member on.
    pub fn open(folder: &Path) -> Result<Reader, RecordError> {
        Reader::open_with(folder, &mut |_, _| {})
    }

    /// The same; `progress` is told how many bytes of how many were read of what was not sealed.
    ///
    /// # Errors
    /// Those of [`Reader::open`].
    pub fn open_with(folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Reader, RecordError> {
        let store = Store::open(folder)?;
        // Before what is written last is read: a recording without its end has no writer then.
        let is_being_written = store.is_being_written();
        let mut damage: Vec<Damage> = store.damage().cloned().into_iter().collect();
        let numbers = store.parts()?;
        let meta = match store.read_json::<Meta>("meta.json") {
            Ok(meta) if meta.format != FORMAT => return Err(RecordError::NotARecording(folder.to_owned())),
            Ok(meta) if !is_known(meta.version) => {
                let (path, version) = (folder.to_owned(), meta.version);
                return Err(RecordError::Version { path, version, known: VERSION });
            }
            Ok(meta) => meta,
            Err(_) if numbers.is_empty() => return Err(store.nothing()),
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
            store,
            is_being_written: is_being_written && meta.end.is_none(),
            meta,
            units: Vec::new(),
            known: Known::default(),
            spaces: Vec::new(),
            keyframes: Vec::new(),
            damage,
            last: None,
            files: Mutex::default(),
            places: Places::default(),
            loading: Mutex::default(),
            early: Mutex::default(),
            after_keyframes: AfterKeyframes::default(),
            reach: Vec::new(),
            stacks: Mutex::default(),
        };
        let (mut read, total) = (0, reader.store.tail_size(&numbers));
        let mut progress = |bytes: u64| {
            read += bytes;
            progress(read, total);
        };
        let highest = numbers.last_key_value().map_or(0, |(number, _)| *number);
        for number in 1..=highest {
            let unit = reader.unit(number, numbers.get(&number).copied(), &mut progress)?;
            let missing = match &unit {
                Unit::Missing(damage) => Some(damage.clone()),
                _ => None,
            };
            reader.units.push(unit);
            if let Some(damage) = missing {
                // Nothing after it can be replayed.
                reader.damage.push(damage);
                break;
            }
        }
        reader.learn()?;
        reader.reach = reader
            .units
            .iter()
            .enumerate()
            .scan(0, |reach, (unit, part)| {
                let is_gap = match part {
                    Unit::Sealed(_) => false,
                    Unit::Tail { tail, .. } => tail.damage.is_some() && unit + 1 < reader.units.len(),
                    Unit::Missing(_) => true,
                };
                *reach = (*reach).max(if is_gap { u64::MAX } else { part.last().unwrap_or(0) });
                Some(*reach)
            })
            .collect();
        Ok(reader)
    }

    fn unit(
        &mut self,
        number: u32,
        is_sealed: Option<bool>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Unit, RecordError> {
        let Some(is_sealed) = is_sealed else {
            let file = format!("seg-{number:06}");
            return Ok(Unit::Missing(Damage { file, at: None, what: "is missing".to_owned() }));
        };
        if !is_sealed {
            match self.store.tail(number, progress) {
                // It has been sealed since.
                Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                tail => return self.tail(tail?),
            }
        }
        match Segment::open(&self.store, number) {
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
                    // Frames are in the order of their places: an enemy's tail may have a million such ends.
                    let place = frame.place();
                    tail.frames.truncate(tail.frames.partition_point(|frame| frame.place() < place));
                    tail.damage = Some(Damage { at: Some(place), ..error.into_damage()? });
                }
            }
        };
        self.damage.extend(tail.damage.clone());
        let frames = Frames::new(&tail);
        Ok(Unit::Tail { tail: Arc::new(tail), frames, last })
    }

    /// Reads what is known once: names, tasks, address spaces, where keyframes are.
    fn learn(&mut self) -> Result<(), RecordError> {
        let mut spaces = FxHashMap::default();
        for unit in 0..self.units.len() {
            let last = match self.units.get(unit) {
                // That is told already.
                Some(Unit::Missing(_)) | None => continue,
                Some(unit) => unit.last(),
            };
            for table in [&table::NAMES, &table::TASKS, &table::SPACES, &table::KEYFRAMES] {
                if let Err(error) = self.learn_table(unit, table, &mut spaces) {
                    self.damage.push(error.into_damage()?);
                }
            }
            self.last = last.map(Seq).or(self.last);
        }
        self.spaces.sort_by_key(|space| space.mm);
        Ok(())
    }

    /// Reads a table of a part; `spaces` are the places of address spaces by their numbers.
    fn learn_table(
        &mut self,
        unit: usize,
        table: &'static Table,
        spaces: &mut FxHashMap<MmId, usize>,
    ) -> Result<(), RecordError> {
        for batch in self.batches(unit, table, i64::MIN)? {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                match table.id {
                    id if id == table::NAMES.id => self.known.add_name(row)?,
                    id if id == table::TASKS.id => self.known.add_task(row)?,
                    id if id == table::SPACES.id => add_space(&mut self.spaces, spaces, row)?,
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

    /// Where it is: a folder, or a packed file.
    pub fn folder(&self) -> &Path {
        self.store.path()
    }

    /// Whether it was still being made when it was opened, as far as this machine can tell; `false` where it was ended.
    pub fn is_being_written(&self) -> bool {
        self.is_being_written
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
        self.store.size()
    }

    /// The rows of a table of one part that may have a key of at least `from`.
    pub(crate) fn batches(
        &self,
        unit: usize,
        table: &'static Table,
        from: i64,
    ) -> Result<Batches, RecordError> {
        match self.units.get(unit) {
            None => Ok(plain(std::iter::empty())),
            Some(Unit::Missing(damage)) => Err(RecordError::Damaged(damage.clone())),
            Some(Unit::Tail { tail, frames, .. }) => {
                let ((frames, left_out), tail) = (frames.of(table.id, from), Arc::clone(tail));
                let read = move |n: usize| frames.get(n).map(|entry| tail.batch(&entry.frame));
                Ok(plain((left_out..).map_while(read)))
            }
            Some(Unit::Sealed(segment)) => match self.file(unit, segment, table)? {
                Some(file) => Ok(file.batches(from)),
                None => Ok(plain(std::iter::empty())),
            },
        }
    }

    /// Whether nothing needs to be read to know a file of a segment.
    pub(crate) fn is_known(&self, unit: usize, segment: &Segment, table: &'static Table) -> bool {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        !segment.seal.tables.contains_key(table.name)
            || files.iter().any(|(u, id, _)| (*u, *id) == (unit, table.id))
    }

    /// What is known of a file of a segment, from memory where it was read lately.
    pub(crate) fn file(
        &self,
        unit: usize,
        segment: &Segment,
        table: &'static Table,
    ) -> Result<Option<Arc<TableFile>>, RecordError> {
        const KEPT: usize = 24 << 20;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = files.iter().position(|(u, id, _)| (*u, *id) == (unit, table.id)) {
            let found = files.remove(at);
            let file = Arc::clone(&found.2);
            files.push(found);
            return Ok(Some(file));
        }
        let Some(file) = segment.table(table)? else { return Ok(None) };
        files.push((unit, table.id, Arc::clone(&file)));
        while files.len() > 1 && files.iter().map(|(_, _, f)| f.size).sum::<usize>() > KEPT {
            files.remove(0);
        }
        Ok(Some(file))
    }
}
