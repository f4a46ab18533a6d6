//! What a recording holds once: names, tasks and address spaces.

use crate::flat::Intern;
use crate::rows::{Cell, Rows};
use crate::table;
use rustc_hash::{FxHashMap, FxHashSet};
use vmatlas_event::{Event, ForkKind, MmId, Name, Op, TaskId};

/// What a recording holds once.
pub(crate) struct Interned {
    names: FxHashMap<Name, i64>,
    tasks: FxHashMap<TaskId, i64>,
    pub(crate) new_names: Rows,
    pub(crate) new_tasks: Rows,
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
pub(crate) struct Spaces {
    seen: FxHashSet<MmId>,
    last: Option<MmId>,
    pub(crate) rows: Rows,
}

impl Default for Spaces {
    fn default() -> Spaces {
        Spaces { seen: FxHashSet::default(), last: None, rows: Rows::new(&table::SPACES) }
    }
}

impl Spaces {
    pub(crate) fn event(&mut self, event: &Event) {
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
