//! Which address spaces there were, how each came to be, and who used it.

use super::{Timeline, TimelineError};
use rustc_hash::FxHashMap;
use vmatlas_event::{Event, EventSource, ForkKind, MmId, Op, Pid, Seq, SnapshotReason, Tid};

/// How an address space came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A copy of another one: fork(2).
    Forked,
    /// A task of another one executed a program: execve(2).
    Executed,
    /// It was there before anybody looked, or what made it was not seen.
    Found,
}

/// A process that used an address space for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenancy {
    /// The process.
    pub pid: Pid,
    /// The event that shows it there first.
    pub first: Seq,
    /// The event with which it left; `None` where it was there to the end.
    pub last: Option<Seq>,
}

/// One address space of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceNode {
    /// Which one.
    pub mm: MmId,
    /// That which it was copied from, or whose task executed a program.
    pub parent: Option<MmId>,
    /// How it came to be.
    pub how: How,
    /// The event that shows it first.
    pub first: Seq,
    /// The event with which it ended; `None` where it lived to the end.
    pub last: Option<Seq>,
    /// The first event after which its rows are known: that which made it, or a snapshot that came later.
    pub known: Seq,
    /// Who used it, in the order of arrival.
    pub users: Vec<Tenancy>,
}

/// All address spaces of a recording, and the moments that have names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// In the order of arrival.
    pub spaces: Vec<SpaceNode>,
    /// Each mark and its event, in order.
    pub marks: Vec<(String, Seq)>,
    by_mm: FxHashMap<MmId, usize>,
}

/// The tree as it grows.
#[derive(Default)]
struct Growing {
    tree: Tree,
    living: FxHashMap<MmId, Users>,
}

/// Who uses an address space that lives. A program that starts others shares its address space with each for a moment,
/// so nothing here may look at all that ever did.
#[derive(Default)]
struct Users {
    tasks: FxHashMap<Tid, Pid>,
    /// How many tasks each process has here, and where its tenancy is.
    processes: FxHashMap<Pid, (usize, usize)>,
}

impl Tree {
    /// One of them. Of two that have the same number, in a recording that contradicts itself, the later one.
    pub fn get(&self, mm: MmId) -> Option<&SpaceNode> {
        self.by_mm.get(&mm).and_then(|index| self.spaces.get(*index))
    }

    /// The first process there was: the program that was started or joined.
    pub fn root(&self) -> Option<Pid> {
        self.spaces.iter().find_map(|node| node.users.first()).map(|tenancy| tenancy.pid)
    }

    /// The address spaces that a process used, in order, and when.
    pub fn of(&self, pid: Pid) -> impl Iterator<Item = (&SpaceNode, &Tenancy)> {
        self.spaces.iter().flat_map(move |node| {
            node.users.iter().filter(move |tenancy| tenancy.pid == pid).map(move |tenancy| (node, tenancy))
        })
    }

    fn from_source<S: EventSource>(source: &mut S) -> Result<Tree, S::Error> {
        let mut growing = Growing::default();
        source.landmarks(&mut |event| {
            growing.event(&event);
            true
        })?;
        Ok(growing.tree)
    }
}

impl Growing {
    fn event(&mut self, event: &Event) {
        let (seq, mm) = (event.seq, event.mm);
        match &event.op {
            Op::Fork { kind, child, child_mm } => {
                self.node(mm, None, How::Found, seq);
                let how = if *kind == ForkKind::Process { How::Forked } else { How::Found };
                self.node(*child_mm, Some(mm), how, seq);
                self.enter(*child_mm, child.tid, child.pid, seq);
            }
            Op::Exec { old_mm } => {
                self.node(mm, Some(*old_mm), How::Executed, seq);
                self.enter(mm, event.task.tid, event.task.pid, seq);
                let of_process = self.living.get(old_mm).into_iter().flat_map(|users| &users.tasks);
                let pid = event.task.pid;
                let tids: Vec<Tid> =
                    of_process.filter(|(_, user)| **user == pid).map(|(tid, _)| *tid).collect();
                self.leave(*old_mm, &tids, seq, true);
            }
            Op::Exit { .. } => self.leave(mm, &[event.task.tid], seq, true),
            Op::Joined => {
                self.node(mm, None, How::Found, seq);
                self.enter(mm, event.task.tid, event.task.pid, seq);
            }
            Op::Snapshot { reason, .. } => {
                let is_new = self.tree.get(mm).is_none();
                self.node(mm, None, How::Found, seq);
                self.enter(mm, event.task.tid, event.task.pid, seq);
                if let Some(node) = self.tree.by_mm.get(&mm).and_then(|at| self.tree.spaces.get_mut(*at)) {
                    let is_first = matches!(
                        reason,
                        SnapshotReason::Exec | SnapshotReason::Attach | SnapshotReason::Watch
                    );
                    if is_new || is_first && node.known == node.first {
                        node.known = seq;
                    }
                }
            }
            Op::Mark { name } => self.tree.marks.push((name.clone(), seq)),
            _ => {}
        }
    }

    /// One that lives, new if there is none.
    fn node(&mut self, mm: MmId, parent: Option<MmId>, how: How, seq: Seq) {
        if self.living.contains_key(&mm) {
            return;
        }
        self.living.insert(mm, Users::default());
        let parent = parent.filter(|parent| *parent != mm && self.tree.by_mm.contains_key(parent));
        self.tree.by_mm.insert(mm, self.tree.spaces.len());
        let how = if parent.is_none() && how == How::Forked { How::Found } else { how };
        let (last, known, users) = (None, seq, Vec::new());
        self.tree.spaces.push(SpaceNode { mm, parent, how, first: seq, last, known, users });
    }

    fn enter(&mut self, mm: MmId, tid: Tid, pid: Pid, seq: Seq) {
        // Its number may be that of a task whose end was not told.
        self.leave(mm, &[tid], seq, false);
        let Some(users) = self.living.get_mut(&mm) else { return };
        let Some(node) = self.tree.by_mm.get(&mm).and_then(|at| self.tree.spaces.get_mut(*at)) else {
            return;
        };
        users.tasks.insert(tid, pid);
        let process = users.processes.entry(pid).or_insert((0, node.users.len()));
        process.0 += 1;
        match node.users.get_mut(process.1) {
            // The same task is told of again.
            Some(tenancy) => tenancy.last = None,
            None => node.users.push(Tenancy { pid, first: seq, last: None }),
        }
    }

    /// These tasks use it no more; without `ends` it lives on all the same.
    fn leave(&mut self, mm: MmId, tids: &[Tid], seq: Seq, ends: bool) {
        let Some(users) = self.living.get_mut(&mm) else { return };
        let Some(node) = self.tree.by_mm.get(&mm).and_then(|at| self.tree.spaces.get_mut(*at)) else {
            return;
        };
        for tid in tids {
            let Some(pid) = users.tasks.remove(tid) else { continue };
            let Some(process) = users.processes.get_mut(&pid) else { continue };
            process.0 -= 1;
            if process.0 == 0 {
                if let Some(tenancy) = node.users.get_mut(process.1) {
                    tenancy.last = Some(seq);
                }
                if ends {
                    users.processes.remove(&pid);
                }
            }
        }
        if ends && users.tasks.is_empty() {
            node.last = Some(seq);
            self.living.remove(&mm);
        }
    }
}

impl<S: EventSource> Timeline<S> {
    /// All address spaces of the recording. It is made once, from [`EventSource::landmarks`]; it takes some 150 bytes
    /// for each address space, so this grows with the number of processes, and not with that of calls.
    ///
    /// # Errors
    /// Those of the source.
    pub fn tree(&mut self) -> Result<&Tree, TimelineError<S::Error>> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => Tree::from_source(&mut self.source).map_err(TimelineError::Source)?,
        };
        Ok(self.tree.insert(tree))
    }
}
