//! What is watched through BPF, and the loop over what the programs tell.
//!
//! `events` says what each record means, `reads` when whole maps are read, `order` which record comes next.

use super::answers::Held;
use super::check::Moments;
use super::faults::Touches;
use super::order::{self, Next, Order};
use super::rows::Names;
use crate::End;
use crate::engine::Wiring;
use rustc_hash::{FxHashMap, FxHashSet};
use std::time::Duration;
use vmatlas_event::{
    Event, MmId, MonoNs, Next as Wish, Op, Outcome, Pid, Seq, Sink, SnapshotReason, Source, StackId, TaskId,
    Tid, VmaRow,
};
use vmatlas_sys::bpf::{Probe, Record};
use vmatlas_sys::now;

/// How long to wait for more, at most: waking us for each record would cost more than the record.
const TURN: Duration = Duration::from_millis(5);

/// A task that is watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) mm: MmId,
    /// Whether it has the map of a program that we know: not before its first exec.
    pub(super) known: bool,
}

/// An address space that watched tasks use.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) users: u32,
    /// Why its whole map is to be read.
    pub(super) due: Option<SnapshotReason>,
    /// When it may be read next.
    pub(super) not_before: MonoNs,
    /// When it was read last.
    pub(super) read: MonoNs,
    /// Whether calls were made since.
    pub(super) changed: bool,
    /// How well it is known.
    pub(super) state: State,
    /// The number of the last change that was told.
    pub(super) told: u64,
    /// Whether something may have changed anywhere in it of which no call tells, since it was read last.
    pub(super) is_vague: bool,
}

impl Space {
    /// One that nobody uses yet.
    fn new(state: State) -> Space {
        Space {
            users: 0,
            due: None,
            not_before: MonoNs(0),
            read: now(),
            changed: false,
            state,
            told: 0,
            is_vague: false,
        }
    }
}

/// How well an address space is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not at all yet: what is in the first reading needs no event.
    Awaited,
    /// Not any more: calls are told, but answers would contradict a model that knows nothing.
    Unknown,
    /// As far as can be told.
    Known,
}

/// The programs, and what they have told so far.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) probe: Probe,
    pub(super) order: Order,
    pub(super) names: Names,
    pub(super) tasks: FxHashMap<Tid, Task>,
    pub(super) spaces: FxHashMap<MmId, Space>,
    pub(super) root: Pid,
    /// How the last thread of it that ended did so: they all end as the process does.
    pub(super) root_end: Option<End>,
    pub(super) follow: bool,
    /// Whether calls bring their stacks.
    pub(super) has_stacks: bool,
    /// The pseudo mapping that 64-bit programs have in maps, where this kernel shows one.
    pub(super) vsyscall: Option<VmaRow>,
    /// The last event that was sent.
    pub(super) last: Option<(TaskId, MmId, MonoNs)>,
    /// Whether records were lost: ends may be among them.
    pub(super) has_lost: bool,
    /// Whether records were lost since it was last looked who is in a cgroup: somebody may have come.
    pub(super) has_unheard: bool,
    /// Processes that were there before and could not be watched, because too many are.
    pub(super) untracked: FxHashSet<Pid>,
    /// When tasks were last looked for.
    pub(super) looked: MonoNs,
    /// Where page faults are watched.
    pub(super) touches: Option<Box<Touches>>,
    /// Answers that belong behind events which are still to come.
    pub(super) held: Vec<Held>,
    /// So many records with a number were taken.
    pub(super) taken: u64,
    /// When the model is compared with the kernel, where that is wanted.
    pub(super) moments: Option<Moments>,
    /// What the next address space is called that was there before us.
    pub(super) next_space: MmId,
    seq: u64,
    /// Whether the sink wants no more.
    pub(super) muted: bool,
}

impl Watch {
    pub(super) fn new(probe: Probe, root: Pid, follow: bool) -> Watch {
        let touches = probe.faults_told().map(|_| Box::default());
        Watch {
            probe,
            order: Order::new(),
            names: Names::default(),
            tasks: FxHashMap::default(),
            spaces: FxHashMap::default(),
            root,
            root_end: None,
            follow,
            has_stacks: false,
            vsyscall: None,
            last: None,
            has_lost: false,
            has_unheard: false,
            untracked: FxHashSet::default(),
            looked: now(),
            touches,
            held: Vec::new(),
            taken: 0,
            moments: None,
            next_space: MmId(0),
            seq: 0,
            muted: false,
        }
    }

    /// Takes a task in.
    pub(super) fn add(&mut self, task: Task, state: State) {
        self.spaces.entry(task.mm).or_insert_with(|| Space::new(state)).users += 1;
        self.tasks.insert(task.id.tid, task);
    }

    /// Whether a task is left.
    pub(super) fn has_tasks(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Tells all that has happened, and reads what is due.
    pub(super) fn turn(&mut self, wiring: &mut Wiring<'_>) {
        self.tell(wiring);
        self.read_due(wiring);
        self.look_for_tasks(wiring);
        self.compare_now_and_then(wiring);
    }

    /// Tells all that has happened.
    pub(super) fn tell(&mut self, wiring: &mut Wiring<'_>) {
        // A program on many processors can tell more than is taken.
        const ROUNDS: u32 = 16;
        for _ in 0..ROUNDS {
            // Before the records are taken: what is lost later is between later ones.
            let lost = self.probe.lost();
            let until = now();
            let is_all = self.collect();
            self.ask_for_ends(wiring);
            let at = now();
            while let Some(next) = self.next(at, lost) {
                match next {
                    Next::Record(record) => {
                        self.answer_before(order::head(&record).map_or(0, |head| head.order), wiring);
                        self.record(record, wiring);
                    }
                    Next::Lost(count) => self.lose(count, wiring),
                    Next::Late => self.know_nothing(),
                }
                if self.is_time_to_compare() {
                    self.answer_before(self.order.reached(), wiring);
                    return;
                }
            }
            self.answer_before(self.order.reached(), wiring);
            if is_all {
                // The call that made a page may be among records that were not taken before.
                self.tell_faults_until(until, wiring);
                let behind = self.order.lost_behind(lost);
                if behind > 0 {
                    self.lose(behind, wiring);
                }
                break;
            }
        }
    }

    /// What is to be told next.
    fn next(&mut self, at: MonoNs, lost: u64) -> Option<Next> {
        let Watch { order, probe, tasks, .. } = self;
        let is_under_way = |numbers: std::ops::Range<u64>| {
            tasks.keys().any(|tid| probe.order_inside(*tid).is_some_and(|number| numbers.contains(&number)))
        };
        order.next(at, lost, &is_under_way)
    }

    /// Waits for more.
    pub(super) fn wait(&self) {
        self.probe.wait(self.moments.as_ref().map_or(TURN, |moments| moments.wait().min(TURN)));
    }

    /// Tells what was lost at the very end.
    pub(super) fn end(&mut self, wiring: &mut Wiring<'_>) {
        self.turn(wiring);
        // What waits for a call that is still under way is told without it.
        self.order.wait_no_more();
        self.tell(wiring);
        let lost = self.probe.lost();
        let count = self.order.end(lost);
        if count > 0 {
            self.lose(count, wiring);
        }
        self.end_faults(wiring);
        let untracked = self.probe.untracked().saturating_add(self.untracked.len() as u64);
        if untracked > 0 {
            wiring.sink.untracked(untracked);
        }
    }

    /// Takes what the programs told into its order; whether that was all.
    pub(super) fn collect(&mut self) -> bool {
        const MOST: usize = 4096;
        let Watch { probe, order, names, taken, .. } = self;
        let is_all = probe.take(MOST, |record| match record {
            Record::Named(key, named) => names.put(key, &named),
            record => {
                *taken += 1;
                order.put(record);
            }
        });
        // Faults come before what their task did afterwards: nobody may see its end and not have seen them.
        self.collect_faults();
        is_all
    }

    pub(super) fn send(
        &mut self,
        sink: &mut dyn Sink,
        (task, mm): (TaskId, MmId),
        (entered, left): (MonoNs, MonoNs),
        op: Op,
        outcome: Outcome,
    ) -> Wish {
        self.send_with(sink, (Source::Bpf, None), (task, mm), (entered, left), (op, outcome))
    }

    /// The same from another source, or with a stack.
    pub(super) fn send_with(
        &mut self,
        sink: &mut dyn Sink,
        (source, stack): (Source, Option<StackId>),
        (task, mm): (TaskId, MmId),
        (entered, left): (MonoNs, MonoNs),
        (op, outcome): (Op, Outcome),
    ) -> Wish {
        if self.muted {
            return Wish::Go;
        }
        let seq = Seq(self.seq);
        self.seq += 1;
        // The time of an answer is that of its call.
        if source == Source::Bpf {
            self.last = Some((task, mm, left));
        }
        let event = Event { seq, entered, left, task, mm, op, outcome, stack, source };
        let wish = sink.event(&event);
        self.muted = wish == Wish::Stop;
        wish
    }
}
