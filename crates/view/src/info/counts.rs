//! Counts over the events of a recording.

use super::About;
use std::collections::BTreeMap;
use vmatlas_event::{Event, ForkKind, MonoNs, Op, OpKind, Outcome, Pid, Seq, SnapshotReason};

/// One process of the tree.
#[derive(Clone, Debug, Default)]
pub struct ProcessInfo {
    /// Who made it; `None` for the first ones.
    pub parent: Option<Pid>,
    /// Threads it made.
    pub threads: u64,
    /// Memory calls it made.
    pub calls: u64,
    /// The programs it executed: the first file of each map.
    pub programs: Vec<Vec<u8>>,
    /// Exit status and signal, when its last task ended.
    pub end: Option<(Option<i32>, Option<i32>)>,
}

/// Counts over all events.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub events: u64,
    /// By kind: how many, and how many failed.
    pub kinds: BTreeMap<OpKind, (u64, u64)>,
    /// The processes.
    pub processes: BTreeMap<Pid, ProcessInfo>,
    /// The marks.
    pub marks: Vec<(String, Seq, MonoNs)>,
    /// The time of the first event and of the last.
    pub times: Option<(MonoNs, MonoNs)>,
    /// Why the events end early.
    pub broken: Option<String>,
}

impl Counts {
    /// Where times are counted from: the first event, as in `log` and in moments.
    pub(super) fn zero(&self, about: &About) -> MonoNs {
        self.times.map_or(about.started, |(first, _)| first)
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Event) {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        self.add_many(event.task.pid, event.op.kind(), failed, 1);
        self.times = Some((self.times.map_or(event.entered, |(first, _)| first), event.left));
        self.tell(event);
    }

    /// Adds so many events of a kind that say nothing else.
    pub fn add_many(&mut self, pid: Pid, kind: OpKind, failed: bool, count: u64) {
        self.events += count;
        let (all, failures) = self.kinds.entry(kind).or_default();
        *all += count;
        *failures += if failed { count } else { 0 };
        let process = self.processes.entry(pid).or_default();
        // Calls come first in `OpKind`.
        process.calls += if kind <= OpKind::Other { count } else { 0 };
    }

    /// Takes what an event says of its process, without counting it: only what is no call says something.
    pub fn tell(&mut self, event: &Event) {
        let process = self.processes.entry(event.task.pid).or_default();
        match &event.op {
            Op::Fork { kind: ForkKind::Thread, .. } => process.threads += 1,
            Op::Fork { child, .. } => {
                let parent = event.task.pid;
                if child.pid != parent {
                    self.processes.entry(child.pid).or_default().parent = Some(parent);
                }
            }
            Op::Snapshot {
                reason: SnapshotReason::Exec | SnapshotReason::Attach | SnapshotReason::Watch,
                rows,
            } => {
                let program = rows.iter().find(|row| row.has_file()).map(|row| row.name_bytes().to_vec());
                process.programs.extend(program);
            }
            Op::Exit { status, signal, .. } if event.task.tid.0 == event.task.pid.0 => {
                process.end = Some((*status, *signal));
            }
            Op::Mark { name } => self.marks.push((name.clone(), event.seq, event.entered)),
            _ => {}
        }
    }
}
