//! What a recording holds beside events, as plain values: states to start from, and where events come from again.

use crate::{Addr, AddrRange, Bytes, Event, MmId, MonoNs, Op, Seq, TaskId, VmaRow};

/// The whole state of one address space at a moment, as plain rows: all that decides what later events do to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceState {
    /// Which one.
    pub mm: MmId,
    /// The tasks that use it, by their threads: when the last one leaves, it ends.
    pub users: Vec<TaskId>,
    /// Its VMAs in address order.
    pub rows: Vec<VmaRow>,
    /// Which event made which pages, in address order; never merged.
    pub origins: Vec<(AddrRange, Seq)>,
    /// The program break; `None` where it is not known.
    pub brk: Option<Addr>,
    /// The largest size it has had.
    pub peak: Bytes,
    /// What grows down when it is touched below its start.
    pub grows: Vec<AddrRange>,
    /// Whether what its calls do does not follow from their arguments.
    pub distrust: bool,
    /// Descriptors of userfaultfd(2) that memory of it is registered with.
    pub userfaultfds: Vec<i32>,
    /// The latest calls, oldest first: when each was left, and where it acted. A call that comes later may have been
    /// entered before one of them was left. Nothing where one task alone uses the address space.
    pub recent: Vec<(MonoNs, Vec<AddrRange>)>,
}

/// The state of all living address spaces: replay can begin here.
///
/// It is taken only while no call waits for the kernel's answer, so no half of a call is in it. Counts of how well the
/// model and the kernel agreed are not part of it: they tell of the events that were seen since replay began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyframe {
    /// The last event that is contained.
    pub after: Seq,
    /// When it was.
    pub at: MonoNs,
    /// The address spaces, by their numbers.
    pub spaces: Vec<SpaceState>,
}

/// Events of the past, in the order in which they came; [`Sink`](crate::Sink) is where they went.
pub trait EventSource {
    /// What can go wrong when they are read.
    type Error;

    /// Gives each event from `from` on to `found`, in order, until there is none or `found` answers `false`.
    ///
    /// # Errors
    /// Those of the source; what was given before is good.
    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Self::Error>;

    /// Does a small part of what reading the events from `from` on needs, for somebody who will want them soon and must not
    /// wait then; whether nothing is left to do now. What fails is told by [`EventSource::events`].
    fn prepare(&mut self, _from: Seq) -> bool {
        true
    }

    /// The latest keyframe that contains no event after `at`; `None` when replay must begin with the first event.
    ///
    /// # Errors
    /// Those of the source.
    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, Self::Error>;

    /// The keyframe whose last event is `after`, and no other in its place where it cannot be read.
    ///
    /// # Errors
    /// Those of the source.
    fn keyframe_of(&mut self, after: Seq) -> Result<Option<Keyframe>, Self::Error> {
        Ok(self.keyframe(after)?.filter(|keyframe| keyframe.after == after))
    }

    /// The latest one that contains no event after `at` in small parts, for somebody who cannot wait for all of it: to be asked again with the same `at` until it
    /// is `Some`. A source that has it at once need not know of parts.
    ///
    /// # Errors
    /// Those of the source.
    fn keyframe_part(&mut self, at: Seq) -> Result<Option<Option<Keyframe>>, Self::Error> {
        self.keyframe(at).map(Some)
    }

    /// The last event that the keyframe of [`EventSource::keyframe`] contains. A source that has an index need not read the keyframe.
    ///
    /// # Errors
    /// Those of the source.
    fn keyframe_place(&mut self, at: Seq) -> Result<Option<Seq>, Self::Error> {
        self.keyframe(at).map(|keyframe| keyframe.map(|keyframe| keyframe.after))
    }

    /// The number of the last event; `None` when there is none.
    fn last(&self) -> Option<Seq>;

    /// The last event that was left no later than `at`, as far as events come in the order in which they were left.
    ///
    /// A source that has an index does better than this search, which reads one event at each of up to 64 places.
    ///
    /// # Errors
    /// Those of the source.
    fn at_time(&mut self, at: MonoNs) -> Result<Option<Seq>, Self::Error> {
        let Some(last) = self.last() else { return Ok(None) };
        let (mut from, mut to, mut best) = (0, last.0.saturating_add(1), None);
        while from < to {
            let middle = from + (to - from) / 2;
            let mut first = None;
            self.events(Seq(middle), &mut |event| {
                first = Some((event.seq, event.left));
                false
            })?;
            match first {
                Some((seq, left)) if left <= at && seq.0 >= middle => {
                    best = Some(seq);
                    from = seq.0.saturating_add(1);
                }
                _ => to = middle,
            }
        }
        Ok(best)
    }

    /// Gives each event that is no call, no answer and no fault to `found`, in order, until `found` answers `false`:
    /// who came, forked, executed, ended, and the marks. Snapshots are given without their rows.
    ///
    /// A source that has an index does better than this search, which reads everything.
    ///
    /// # Errors
    /// Those of the source; what was given before is good.
    fn landmarks(&mut self, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Self::Error> {
        self.events(Seq(0), &mut |mut event| {
            match &mut event.op {
                Op::Observed { .. } | Op::Fault { .. } => return true,
                Op::Snapshot { rows, .. } => *rows = Vec::new(),
                op if op.is_call() => return true,
                _ => {}
            }
            found(event)
        })
    }
}
