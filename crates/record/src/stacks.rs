//! Call stacks of a recording: modules, frames, stacks, and the functions that frames are in.
//!
//! They are read when somebody asks for the first one: most commands never do.

use crate::batch::Row;
use crate::error::RecordError;
use crate::flat::{Intern, Lookup};
use crate::interned::Interned;
use crate::known::MOST;
use crate::reader::{Reader, Unit};
use crate::rows::{Cell, Rows};
use crate::table::{self, Table};
use crate::unflat::yes;
use crate::words::{CODE_32, FOUND_BY, STACK_ENDS, from_word, word};
use std::sync::{Arc, PoisonError};
use vmatlas_event::{
    Addr, Dev, FoundBy, Frame, FrameId, Module, ModuleId, NewStacks, Outer, Place, Stack, StackEnd, StackId,
    StackStep, Symbol,
};

/// A build ID has at most so many bytes.
const BUILD_ID: usize = 64;
/// So many frames of one stack are given; a writer takes 256.
const DEPTH: usize = 4096;

/// Rows that wait.
pub(crate) struct StackRows {
    pub(crate) modules: Rows,
    pub(crate) frames: Rows,
    pub(crate) stacks: Rows,
    pub(crate) symbols: Rows,
    next: [i64; 3],
}

impl Default for StackRows {
    fn default() -> StackRows {
        StackRows {
            modules: Rows::new(&table::MODULES),
            frames: Rows::new(&table::FRAMES),
            stacks: Rows::new(&table::STACKS),
            symbols: Rows::new(&table::SYMBOLS),
            next: [0; 3],
        }
    }
}

fn int(value: impl Into<i64>) -> Cell<'static> {
    Cell::Int(Some(value.into()))
}

impl StackRows {
    pub(crate) fn len(&self) -> usize {
        [&self.modules, &self.frames, &self.stacks, &self.symbols]
            .map(Rows::len)
            .into_iter()
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn add(&mut self, new: &NewStacks, interned: &mut Interned) {
        let [modules, frames, stacks] = &mut self.next;
        let next = |next: &mut i64| {
            *next += 1;
            int(*next - 1)
        };
        for module in &new.modules {
            let name = module.name.as_ref().map(|name| interned.name(name.as_bytes()));
            let (major, minor) = match module.dev {
                Some(dev) => (int(dev.major), int(dev.minor)),
                None => (Cell::Int(None), Cell::Int(None)),
            };
            let inode = Cell::Int(Some(module.inode as i64));
            let build_id = Cell::Bytes(&module.build_id);
            self.modules.push(&[next(modules), Cell::Int(name), build_id, major, minor, inode]);
        }
        for frame in &new.frames {
            let (module, addr) = match frame.place {
                Place::Module(module, addr) => (int(module.0), addr),
                Place::Unknown(addr) => (Cell::Int(None), addr),
            };
            let addr = Cell::Int(Some(addr.0 as i64));
            self.frames.push(&[next(frames), module, addr, int(frame.is_return)]);
        }
        for step in &new.stacks {
            let (caller, why, detail) = match step.outer {
                Outer::Caller(caller, found) => (int(caller.0), None, found.map(|by| word(&FOUND_BY, by))),
                Outer::End(StackEnd::Code32) => (Cell::Int(None), Some(CODE_32.0), Some(CODE_32.1)),
                Outer::End(end) => (Cell::Int(None), Some(word(&STACK_ENDS, end)), None),
            };
            let (why, detail) = (Cell::Word(why), Cell::Word(detail));
            self.stacks.push(&[next(stacks), caller, int(step.frame.0), why, detail]);
        }
    }

    pub(crate) fn add_symbols(&mut self, frame: FrameId, symbols: &[Symbol], interned: &mut Interned) {
        for (depth, symbol) in (0i64..).zip(symbols) {
            let mut name = |name: &Option<vmatlas_event::Name>| {
                Cell::Int(name.as_ref().map(|name| interned.name(name.as_bytes())))
            };
            let (function, file) = (name(&symbol.function), name(&symbol.file));
            let line = Cell::Int(symbol.line.map(Into::into));
            self.symbols.push(&[int(frame.0), int(depth), function, file, line]);
        }
    }
}

/// The numbers of frames, innermost first, with how each was found.
pub type FrameIds = Vec<(FrameId, Option<FoundBy>)>;

/// The stacks of a recording by their numbers.
#[derive(Debug, Default)]
pub struct Stacks {
    modules: Vec<Module>,
    frames: Vec<Frame>,
    steps: Vec<StackStep>,
    /// In the order of frames.
    symbols: Vec<(FrameId, Symbol)>,
}

impl Stacks {
    fn read(reader: &Reader) -> Result<Stacks, RecordError> {
        let mut stacks = Stacks::default();
        for table in [&table::MODULES, &table::FRAMES, &table::STACKS, &table::SYMBOLS] {
            for unit in 0..reader.units.len() {
                // That it is missing was told when the recording was opened; events after it are not given either.
                if matches!(reader.units.get(unit), Some(Unit::Missing(_))) {
                    break;
                }
                let batches = reader.batches(unit, table, i64::MIN)?;
                for batch in batches {
                    let batch = batch?;
                    for row in (0..batch.len()).map(|row| batch.row(row)) {
                        stacks.add(table, row, &reader.known)?;
                    }
                }
            }
        }
        Ok(stacks)
    }

    fn add(&mut self, table: &Table, row: Row<'_>, lookup: &dyn Lookup) -> Result<(), RecordError> {
        let count = match table.id {
            id if id == table::MODULES.id => self.modules.len(),
            id if id == table::FRAMES.id => self.frames.len(),
            id if id == table::STACKS.id => self.steps.len(),
            _ => self.symbols.len(),
        };
        let is_next = table.id == table::SYMBOLS.id || row.get(0) == Some(count as i64);
        if !is_next || count >= MOST {
            return Err(row.wrong(0));
        }
        match table.id {
            id if id == table::MODULES.id => self.modules.push(module(row, lookup)?),
            id if id == table::FRAMES.id => {
                let addr = Addr(row.bits(2)?);
                let place = match row.maybe::<u32>(1)? {
                    Some(module) if (module as usize) < self.modules.len() => {
                        Place::Module(ModuleId(module), addr)
                    }
                    Some(_) => return Err(row.wrong(1)),
                    None => Place::Unknown(addr),
                };
                self.frames.push(Frame { place, is_return: yes(row, 3)? });
            }
            id if id == table::STACKS.id => {
                let outer = match row.maybe::<u32>(1)? {
                    // Callers come first, so that no stack goes round in a circle.
                    Some(caller) if (caller as usize) < count => {
                        Outer::Caller(StackId(caller), found_by(row.word(4)))
                    }
                    Some(_) => return Err(row.wrong(1)),
                    None if (row.word(3), row.word(4)) == (Some(CODE_32.0), Some(CODE_32.1)) => {
                        Outer::End(StackEnd::Code32)
                    }
                    None => Outer::End(from_word(&STACK_ENDS, row, 3)?),
                };
                let frame = FrameId(row.need(2)?);
                if frame.0 as usize >= self.frames.len() {
                    return Err(row.wrong(2));
                }
                self.steps.push(StackStep { frame, outer });
            }
            _ => self.add_symbol(row, lookup)?,
        }
        Ok(())
    }

    fn add_symbol(&mut self, row: Row<'_>, lookup: &dyn Lookup) -> Result<(), RecordError> {
        let frame = FrameId(row.need(0)?);
        let last = self.symbols.last_mut().filter(|(last, _)| *last == frame);
        // The one before is inlined into this one.
        let depth = match last {
            Some((_, symbol)) => {
                symbol.is_inlined = true;
                let from = self.symbols.partition_point(|(of, _)| *of < frame);
                self.symbols.len() - from
            }
            None => 0,
        };
        let is_ordered = self.symbols.last().is_none_or(|(last, _)| *last <= frame);
        if !is_ordered || row.get(1) != Some(depth as i64) {
            return Err(row.wrong(1));
        }
        let name = |column| {
            let id = row.get(column);
            id.map(|id| lookup.name(id).cloned().ok_or_else(|| row.wrong(column))).transpose()
        };
        let symbol = Symbol { function: name(2)?, file: name(3)?, line: row.maybe(4)?, is_inlined: false };
        self.symbols.push((frame, symbol));
        Ok(())
    }

    /// The numbers of a stack's frames, innermost first, with how each was found (`None` for the innermost, and in recordings
    /// that do not tell), and where it ends; `None` where there is no stack of this number.
    pub fn frame_ids(&self, id: StackId) -> Option<(FrameIds, StackEnd)> {
        let mut frames = Vec::new();
        let (mut at, mut found) = (id, None);
        while frames.len() < DEPTH {
            let step = self.steps.get(at.0 as usize)?;
            frames.push((step.frame, found));
            match step.outer {
                Outer::Caller(caller, by) => (at, found) = (caller, by),
                Outer::End(end) => return Some((frames, end)),
            }
        }
        Some((frames, StackEnd::Depth))
    }

    /// A stack by the number that events have of it; `None` where there is none of this number.
    pub fn get(&self, id: StackId) -> Option<Stack> {
        let (frames, end) = self.frame_ids(id)?;
        let frame = |(frame, found)| Some((self.frame(frame)?, found));
        let frames: Option<Vec<_>> = frames.into_iter().map(frame).collect();
        Some(Stack { frames: frames?, end })
    }

    /// A frame by its number.
    pub fn frame(&self, id: FrameId) -> Option<Frame> {
        self.frames.get(id.0 as usize).copied()
    }

    /// A module by its number.
    pub fn module(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0 as usize)
    }

    /// The functions that a frame is in, the innermost of inlined ones first; none where nobody looked, or none was found.
    pub fn symbols(&self, id: FrameId) -> impl Iterator<Item = &Symbol> {
        let from = self.symbols.partition_point(|(frame, _)| *frame < id);
        let rest = self.symbols.get(from..).unwrap_or_default().iter();
        rest.take_while(move |(frame, _)| *frame == id).map(|(_, symbol)| symbol)
    }

    /// How many modules, frames and stacks there are; each caller's of a stack counts too.
    pub fn counts(&self) -> [usize; 3] {
        [self.modules.len(), self.frames.len(), self.steps.len()]
    }
}

/// How a caller was found; a word that a later writer has is none.
fn found_by(word: Option<&str>) -> Option<FoundBy> {
    FOUND_BY.iter().find(|(_, known)| Some(*known) == word).map(|(by, _)| *by)
}

fn module(row: Row<'_>, lookup: &dyn Lookup) -> Result<Module, RecordError> {
    let name = row.get(1).map(|id| lookup.name(id).cloned().ok_or_else(|| row.wrong(1))).transpose()?;
    let build_id = row.bytes(2).unwrap_or_default();
    if build_id.len() > BUILD_ID {
        return Err(row.wrong(2));
    }
    let dev = match (row.maybe::<u32>(3)?, row.maybe::<u32>(4)?) {
        (Some(major), Some(minor)) => Some(Dev { major, minor }),
        (None, None) => None,
        _ => return Err(row.wrong(3)),
    };
    Ok(Module { name, build_id: build_id.to_vec(), dev, inode: row.bits(5)? })
}

impl Reader {
    /// Its call stacks; they are read when they are asked for first.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] where their tables cannot be read.
    pub fn stacks(&self) -> Result<Arc<Stacks>, RecordError> {
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stacks) = &*stacks {
            return Ok(Arc::clone(stacks));
        }
        let read = Arc::new(Stacks::read(self)?);
        *stacks = Some(Arc::clone(&read));
        Ok(read)
    }
}
