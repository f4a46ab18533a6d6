//! All address spaces of a traced tree, and the joining of each call with the kernel's answer to it.

use crate::apply::Ranges;
use crate::change::{Change, Replaced};
use crate::progress::{Done, Progress, Tally};
use crate::rules::Rules;
use crate::space::AddressSpace;
use crate::timeline::Effects;
use crate::unclear::Unclear;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use vmatlas_event::{
    AddrRange, Event, ForkKind, MapFlags, MapType, MmId, MonoNs, Op, PageSize, Pid, SnapshotReason, Source,
    TaskId, Tid,
};

/// The models of all address spaces, by [`MmId`].
#[derive(Debug)]
pub struct Spaces {
    pub(crate) page: PageSize,
    pub(crate) spaces: FxHashMap<MmId, Living>,
    /// Calls that wait for an answer: at most one for each task, mostly none or one.
    pending: Vec<Pending>,
    pub(crate) distrust: bool,
    pub(crate) tally: Tally,
    /// What the events do, so that it can be taken back; then [`Progress`] does not tell of it. `None` otherwise.
    pub(crate) effects: Option<Effects>,
}

/// An address space that tasks use.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) space: AddressSpace,
    /// The tasks that share it.
    pub(crate) users: FxHashMap<Tid, TaskId>,
    /// The latest calls and where they acted, by the time they were left.
    pub(crate) recent: VecDeque<(MonoNs, Ranges)>,
    /// What calls that got no answer left unclear since the whole map was last read: no drift is told until then.
    pub(crate) unclear: Unclear,
}

impl Living {
    pub(crate) fn new(space: AddressSpace) -> Living {
        Living { space, users: FxHashMap::default(), recent: VecDeque::new(), unclear: Unclear::default() }
    }
}

/// So many events later a call that got no answer gets none: its task was killed, or the answer was lost.
const PATIENCE: u64 = 1024;

/// A call whose range the kernel is being asked about.
#[derive(Debug)]
struct Pending {
    event: Event,
    change: Change,
    awaited: usize,
    /// What was asked.
    asked: Ranges,
    /// Whether the whole map was read since: then no answer is needed any more.
    is_settled: bool,
    /// Whether its prediction counts for nothing: it overlapped another call, or nobody knew where the break was.
    unpredicted: bool,
}

impl Spaces {
    /// None yet.
    pub fn new(page: PageSize) -> Spaces {
        Spaces {
            page,
            spaces: FxHashMap::default(),
            pending: Vec::new(),
            distrust: false,
            tally: Tally::default(),
            effects: None,
        }
    }

    /// Whether to ask about every call: where programs start with READ_IMPLIES_EXEC (personality(2)), or may be
    /// supervised, what a call does does not follow from its arguments and result.
    pub fn distrust(&mut self, distrust: bool) {
        self.distrust = distrust;
    }

    /// One of them.
    pub fn get(&self, mm: MmId) -> Option<&AddressSpace> {
        self.spaces.get(&mm).map(|living| &living.space)
    }

    /// The numbers of all that live, in order.
    pub fn alive(&self) -> Vec<MmId> {
        let mut alive: Vec<MmId> = self.spaces.keys().copied().collect();
        alive.sort_unstable();
        alive
    }

    /// Whether some call waits for the kernel's answer.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How well the models and the kernel agreed so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes one event, in order.
    pub fn event(&mut self, event: &Event) -> Progress {
        if let Op::Mark { .. } = event.op {
            // A person's word: no task has made it, and none waits less for its answer.
            return Progress { done: self.done(event, Change::default()), ..Progress::default() };
        }
        if crate::faults::changes_no_map(event) {
            return Progress { done: self.done(event, Change::default()), ..Progress::default() };
        }
        if let Op::Lost { state, .. } = &event.op {
            return self.lose(event, state.as_deref());
        }
        self.tally.calls += u64::from(event.op.is_call());
        let waiting = self.pending.iter().position(|p| p.event.task == event.task);
        if let Op::Observed { in_flight, .. } = &event.op
            && let Some(at) = waiting
        {
            let is_unclear = !self.unclear(event.mm, Some(event.task)).is_empty();
            let living = self.living(event.mm);
            let applied = living.space.apply(event);
            let change = self.changed(event.mm, applied.change);
            let pending = &mut self.pending[at];
            // What other tasks are doing at this moment may be in the answer already: that is no contradiction.
            self.tally.drift +=
                u64::from(applied.drifted && pending.predicted() && in_flight.is_empty() && !is_unclear);
            self.tally.observed += applied.grown.len() as u64 + applied.uncalled;
            pending.change = std::mem::take(&mut pending.change).then(change);
            pending.awaited -= 1;
            if pending.awaited > 0 {
                return Progress::default();
            }
            return Progress { done: Some(Box::new(self.take(at, true))), ..Progress::default() };
        }
        let is_old = |p: &Pending| p.event.seq.0.saturating_add(PATIENCE) < event.seq.0;
        let unanswered = waiting.or_else(|| self.pending.iter().position(is_old));
        let unanswered = unanswered.map(|at| Box::new(self.take(at, false)));
        if let Op::Snapshot { reason, .. } = &event.op {
            return Progress { unanswered, ..self.snapshot(event, *reason) };
        }
        let conflicts_before = self.tally.conflicts;
        let is_brk = matches!(event.op, Op::Brk { .. });
        let from_unknown_break = is_brk && self.space(event.mm).brk.is_none();
        let (mut change, ask, guessed) = self.apply(event);
        let overlapped = self.tally.conflicts > conflicts_before;
        if is_brk && overlapped {
            // Which of two calls came last, and so where the break is now, only the next one that is alone tells.
            let forgotten = self.space(event.mm).forget_break();
            change = change.then(self.changed(event.mm, forgotten));
        }
        if ask.is_empty() {
            return Progress { unanswered, done: self.done(event, change), ..Progress::default() };
        }
        self.tally.asked += 1;
        let unpredicted =
            guessed || overlapped || from_unknown_break || self.space(event.mm).rules.distrust();
        let asked = Ranges::from_slice(&ask);
        let awaited = ask.len();
        let event = event.clone();
        self.pending.push(Pending { event, change, awaited, asked, is_settled: false, unpredicted });
        Progress { unanswered, ask, ..Progress::default() }
    }

    /// A call that waits no longer. What it asked about is of no interest any more when no other one waits.
    fn take(&mut self, at: usize, confirmed: bool) -> Done {
        let pending = self.pending.swap_remove(at);
        if !confirmed && let Some(living) = self.spaces.get_mut(&pending.event.mm) {
            pending.leaves(&mut living.unclear);
        }
        let Pending { event, change, .. } = pending;
        if !self.pending.iter().any(|p| p.event.mm == event.mm)
            && let Some(living) = self.spaces.get_mut(&event.mm)
        {
            living.space.forget_questions();
        }
        Done::new(event, change, confirmed)
    }

    /// Takes a whole map in place of the model's, and tells what that shows about the model.
    fn snapshot(&mut self, event: &Event, reason: SnapshotReason) -> Progress {
        let unclear = self.unclear(event.mm, None);
        if event.source == Source::Bpf {
            self.pending.iter_mut().filter(|p| p.event.mm == event.mm).for_each(|p| p.is_settled = true);
        }
        // Whose map was read uses it, whether or not its creator has told of it.
        let living = self.living(event.mm);
        living.users.insert(event.task.tid, event.task);
        living.unclear = Unclear::default();
        let was_unclear = !unclear.is_empty();
        let mut applied = living.space.apply(event);
        if was_unclear
            && applied.difference.is_some()
            && let Op::Snapshot { rows, .. } = &event.op
        {
            let before = living.space.before(&applied.change, &applied.grown);
            applied.difference = unclear.difference(before.vmas(), rows).map(Box::new);
        }
        let mut difference = None;
        let is_known_before = match reason {
            SnapshotReason::Exec | SnapshotReason::Fork | SnapshotReason::Attach | SnapshotReason::Watch => {
                false
            }
            // Calls without an answer came before it; or none did, and somebody else may have changed the map.
            SnapshotReason::Unclear => {
                let has_changed = !was_unclear && event.source == Source::Bpf && has_moved(&applied.change);
                let is_counted = !applied.grown.is_empty() || applied.uncalled > 0;
                self.tally.observed += u64::from(has_changed && !is_counted);
                false
            }
            SnapshotReason::Request | SnapshotReason::Reconcile | SnapshotReason::Last => !was_unclear,
            SnapshotReason::Check => {
                self.tally.compared += 1;
                difference = applied.difference.take();
                self.tally.differences += u64::from(difference.is_some());
                false
            }
        };
        match is_known_before {
            true if applied.drifted => self.tally.drift += 1,
            true => {
                self.tally.observed +=
                    u64::from(applied.grown.is_empty() && applied.uncalled == 0 && has_moved(&applied.change))
            }
            false => {}
        }
        if reason != SnapshotReason::Check {
            self.tally.snapshots += 1;
        }
        self.tally.observed += applied.grown.len() as u64 + applied.uncalled;
        let change = self.changed(event.mm, applied.change);
        let done = self.done(event, change);
        Progress { done, difference, ..Progress::default() }
    }

    /// What is unclear of an address space, calls that wait for an answer included, but for those of one task: whoever asks in
    /// the kernel holds nobody, and so what others' calls did may be seen before it is answered.
    fn unclear(&self, mm: MmId, except: Option<TaskId>) -> Unclear {
        let mut unclear = self.spaces.get(&mm).map(|living| living.unclear.clone()).unwrap_or_default();
        let waits =
            |p: &&Pending| p.event.mm == mm && p.event.source == Source::Bpf && Some(p.event.task) != except;
        self.pending.iter().filter(waits).for_each(|p| p.leaves(&mut unclear));
        unclear
    }

    pub(crate) fn living(&mut self, mm: MmId) -> &mut Living {
        let page = self.page;
        let distrust = self.distrust;
        let effects = &mut self.effects;
        self.spaces.entry(mm).or_insert_with(|| {
            effects.iter_mut().for_each(|effects| effects.came(mm));
            Living::new(AddressSpace::distrusted(page, distrust))
        })
    }

    fn space(&mut self, mm: MmId) -> &mut AddressSpace {
        &mut self.living(mm).space
    }

    /// Nobody waits for an answer any more; the first that did.
    pub(crate) fn give_up(&mut self) -> Option<Box<Done>> {
        let first = (!self.pending.is_empty()).then(|| Box::new(self.take(0, false)));
        self.pending.clear();
        first
    }

    /// What is told of an event that waits for nothing: nothing to who keeps its effects instead.
    pub(crate) fn done(&self, event: &Event, change: Change) -> Option<Box<Done>> {
        self.effects.is_none().then(|| Box::new(Done::new(event.clone(), change, true)))
    }

    /// Gives a change back to be told, or nothing to who keeps effects instead: he has it then.
    fn changed(&mut self, mm: MmId, change: Change) -> Change {
        let Some(effects) = &mut self.effects else { return change };
        effects.changed(mm, change);
        Change::default()
    }

    /// Some tasks less use an address space; its last rows when they were the last ones.
    fn leave(&mut self, mm: MmId, leaves: impl Fn(Tid, Pid) -> bool) -> Change {
        let Some(living) = self.spaces.get_mut(&mm) else { return Change::default() };
        living.users.retain(|tid, task| !leaves(*tid, task.pid));
        if !living.users.is_empty() {
            return Change::default();
        }
        let Some(living) = self.spaces.remove(&mm) else { return Change::default() };
        match &mut self.effects {
            None => living.space.end(),
            Some(effects) => {
                effects.went(mm, living);
                Change::default()
            }
        }
    }

    fn apply(&mut self, event: &Event) -> (Change, Vec<AddrRange>, bool) {
        match &event.op {
            Op::Fork { kind, child, child_mm } => {
                if *kind == ForkKind::Process {
                    let parent = self.living(event.mm);
                    let mut space = parent.space.clone();
                    if parent.users.len() > 1 {
                        // Another thread may have moved the break before the fork, and its call is told after it.
                        space.brk = None;
                    }
                    // A copy is registered with no userfaultfd.
                    space.rules.forget_userfaultfds();
                    space.begin();
                    // What fork leaves out is known when the copy has been read; BPF holds nobody until then.
                    let unclear = match event.source {
                        Source::Bpf => Unclear::everywhere(),
                        _ => Unclear::default(),
                    };
                    // One that is there has been read already: its creator's word came late.
                    let effects = &mut self.effects;
                    self.spaces.entry(*child_mm).or_insert_with(|| {
                        effects.iter_mut().for_each(|effects| effects.came(*child_mm));
                        Living { unclear, ..Living::new(space) }
                    });
                }
                self.living(*child_mm).users.insert(child.tid, *child);
                (Change::default(), Vec::new(), false)
            }
            Op::Joined => {
                self.living(event.mm).users.insert(event.task.tid, event.task);
                (Change::default(), Vec::new(), false)
            }
            Op::Exit { .. } => (self.leave(event.mm, |tid, _| tid == event.task.tid), Vec::new(), false),
            Op::Exec { old_mm } => {
                // Whichever thread called it, the process leaves as a whole.
                // personality(2) survives an exec.
                let persona = self.spaces.get(old_mm).map(|old| old.space.rules.distrust());
                let change = self.leave(*old_mm, |_, pid| pid == event.task.pid);
                if persona == Some(true) {
                    let space = self.space(event.mm);
                    let before = std::mem::replace(&mut space.rules, Rules::new(true));
                    let after = space.rules.clone();
                    let rules = Some(Box::new(Replaced { before, after }));
                    self.changed(event.mm, Change { rules, ..Change::default() });
                }
                self.living(event.mm).users.insert(event.task.tid, event.task);
                (change, Vec::new(), false)
            }
            _ => {
                let applied = self.space(event.mm).apply(event);
                let mut ask = applied.ask.into_vec();
                if event.source == Source::Bpf && matches!(event.op, Op::Mremap { .. }) {
                    let before = self.unclear(event.mm, None);
                    self.living(event.mm).unclear.follow(&before, &event.op, event.outcome);
                }
                let grows = match event.op.is_call() {
                    true => self.overlapping(event, &applied.change, &mut ask),
                    false => None,
                };
                let mut change = self.changed(event.mm, applied.change);
                if let Some(grows) = grows {
                    change = change.then(self.changed(event.mm, grows));
                }
                (change, ask, applied.guessed)
            }
        }
    }
}

/// Whether a boundary is elsewhere; that a label is another one says nothing.
fn has_moved(change: &Change) -> bool {
    let (before, after) = (&change.before, &change.after);
    before.iter().map(|row| row.range).ne(after.iter().map(|row| row.range))
}

impl Pending {
    /// What stays unclear when it gets no answer.
    fn leaves(&self, unclear: &mut Unclear) {
        // Which file is mapped, only the answer tells; shared memory is one too.
        let is_plain =
            |flags: MapFlags| flags.has(MapFlags::ANONYMOUS) && flags.map_type() == MapType::Private;
        let is_file = matches!(self.event.op, Op::Mmap { flags, .. } if !is_plain(flags));
        let has_known_pages = self.predicted() && !is_file;
        if !self.is_settled {
            self.asked.iter().for_each(|range| unclear.add(*range, has_known_pages));
        }
    }

    /// Whether the pages were predicted, so that another answer is drift and not news.
    fn predicted(&self) -> bool {
        let is_told_by_its_arguments = match &self.event.op {
            // What they map or unmap, only the answer tells.
            Op::Shmat { .. }
            | Op::Shmdt { .. }
            | Op::Other { .. }
            | Op::RemapFilePages { .. }
            | Op::ArchPrctl { .. }
            | Op::MapShadowStack { .. }
            | Op::IoSetup { .. }
            | Op::IoDestroy { .. } => false,
            _ => true,
        };
        !self.unpredicted
            && is_told_by_its_arguments
            && matches!(self.event.outcome, vmatlas_event::Outcome::Done(_))
    }
}
