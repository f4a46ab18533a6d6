//! All address spaces of a traced tree, and the joining of each call with the kernel's answer to it.

use crate::change::Change;
use crate::space::AddressSpace;
use rustc_hash::FxHashMap;
use vmatlas_event::{AddrRange, Event, ForkKind, MmId, Op, PageSize, TaskId};

/// The models of all address spaces, by [`MmId`].
#[derive(Debug)]
pub struct Spaces {
    page: PageSize,
    spaces: FxHashMap<MmId, AddressSpace>,
    pending: FxHashMap<TaskId, Pending>,
    drift: u64,
}

/// A call whose range the kernel is being asked about.
#[derive(Debug)]
struct Pending {
    event: Event,
    change: Change,
    awaited: usize,
}

/// An event and everything it did.
#[derive(Clone, Debug)]
pub struct Done {
    /// The event.
    pub event: Event,
    /// What it did to the map, the kernel's answers included.
    pub change: Change,
    /// Whether the kernel confirmed what could not be predicted; `false` when the task was gone before it could be asked.
    pub confirmed: bool,
}

/// The result of [`Spaces::event`].
#[derive(Debug, Default)]
pub struct Progress {
    /// An earlier call of the same task that got no answer.
    pub unanswered: Option<Done>,
    /// The event, when nothing has to be asked (any more).
    pub done: Option<Done>,
    /// What the kernel must be asked, one `Observed` event for each range.
    pub ask: Vec<AddrRange>,
}

impl Spaces {
    /// None yet.
    pub fn new(page: PageSize) -> Spaces {
        Spaces { page, spaces: FxHashMap::default(), pending: FxHashMap::default(), drift: 0 }
    }

    /// One of them.
    pub fn get(&self, mm: MmId) -> Option<&AddressSpace> {
        self.spaces.get(&mm)
    }

    /// How many answers of the kernel contradicted a prediction about pages.
    pub fn drift(&self) -> u64 {
        self.drift
    }

    /// Takes one event, in order.
    pub fn event(&mut self, event: &Event) -> Progress {
        if let Op::Observed { .. } = event.op
            && let Some(mut pending) = self.pending.remove(&event.task)
        {
            let applied = self.space(event.mm).apply(event);
            self.drift += u64::from(applied.drifted && pending.predicted());
            pending.change = pending.change.then(applied.change);
            pending.awaited -= 1;
            if pending.awaited > 0 {
                self.pending.insert(event.task, pending);
                return Progress::default();
            }
            let Pending { event, change, .. } = pending;
            return Progress { done: Some(Done { event, change, confirmed: true }), ..Progress::default() };
        }
        let unanswered = self.pending.remove(&event.task).map(|p| Done {
            event: p.event,
            change: p.change,
            confirmed: false,
        });
        let (change, ask) = self.apply(event);
        if ask.is_empty() {
            let done = Some(Done { event: event.clone(), change, confirmed: true });
            return Progress { unanswered, done, ask };
        }
        self.pending.insert(event.task, Pending { event: event.clone(), change, awaited: ask.len() });
        Progress { unanswered, done: None, ask }
    }

    fn space(&mut self, mm: MmId) -> &mut AddressSpace {
        let page = self.page;
        self.spaces.entry(mm).or_insert_with(|| AddressSpace::new(page))
    }

    fn apply(&mut self, event: &Event) -> (Change, Vec<AddrRange>) {
        match &event.op {
            Op::Fork { kind: ForkKind::Process, child_mm, .. } => {
                let copy = self.space(event.mm).clone();
                self.spaces.insert(*child_mm, copy);
                (Change::default(), Vec::new())
            }
            Op::Exit { last: true, .. } => {
                let before: Vec<_> =
                    self.spaces.remove(&event.mm).map_or_else(Vec::new, |s| s.vmas().cloned().collect());
                (Change { before, ..Change::default() }, Vec::new())
            }
            Op::Exec { .. } => {
                let space = AddressSpace::new(self.page);
                self.spaces.insert(event.mm, space);
                (Change::default(), Vec::new())
            }
            _ => {
                let applied = self.space(event.mm).apply(event);
                (applied.change, applied.ask)
            }
        }
    }
}

impl Pending {
    /// Whether the pages were predicted, so that another answer is drift and not news.
    fn predicted(&self) -> bool {
        !matches!(self.event.op, Op::Shmat { .. } | Op::Shmdt { .. } | Op::Other { .. } | Op::Madvise { .. })
            && matches!(self.event.outcome, vmatlas_event::Outcome::Done(_))
    }
}
