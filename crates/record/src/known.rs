//! What is known once of a recording: names, tasks, address spaces.

use crate::batch::Row;
use crate::error::RecordError;
use crate::flat::Lookup;
use rustc_hash::FxHashMap;
use vmatlas_event::{MmId, Name, Pid, Seq, StartTime, TaskId, Tid};

/// How many bytes of names a recording may have, and how many names, tasks, address spaces and keyframes.
const MOST_BYTES: usize = 256 << 20;
pub(crate) const MOST: usize = 1 << 22;

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

/// Names and tasks by their numbers.
#[derive(Default)]
pub(crate) struct Known {
    names: Vec<Name>,
    bytes: usize,
    pub(crate) tasks: Vec<TaskId>,
}

impl Lookup for Known {
    fn task(&self, id: i64) -> Option<TaskId> {
        self.tasks.get(usize::try_from(id).ok()?).copied()
    }

    fn name(&self, id: i64) -> Option<&Name> {
        self.names.get(usize::try_from(id).ok()?)
    }
}

impl Known {
    pub(crate) fn add_name(&mut self, row: Row<'_>) -> Result<(), RecordError> {
        let bytes = row.bytes(1).ok_or_else(|| row.wrong(1))?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        if row.get(0) != Some(self.names.len() as i64) || self.names.len() >= MOST || self.bytes > MOST_BYTES
        {
            return Err(row.wrong(0));
        }
        self.names.push(Name::new(bytes));
        Ok(())
    }

    pub(crate) fn add_task(&mut self, row: Row<'_>) -> Result<(), RecordError> {
        if row.get(0) != Some(self.tasks.len() as i64) || self.tasks.len() >= MOST {
            return Err(row.wrong(0));
        }
        let started = row.get(3).map(|ticks| StartTime(ticks as u64));
        self.tasks.push(TaskId { pid: Pid(row.need(1)?), tid: Tid(row.need(2)?), started });
        Ok(())
    }
}

/// Adds an address space, or the end of one.
pub(crate) fn add_space(
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
