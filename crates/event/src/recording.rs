//! What a recording holds beside events, as plain values: states to start from, and where events come from again.

use crate::{Addr, AddrRange, Bytes, Event, MmId, MonoNs, Seq, TaskId, VmaRow};

/// The whole state of one address space at a moment, as plain rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceState {
    /// Which one.
    pub mm: MmId,
    /// The tasks that use it.
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
}

/// The state of all living address spaces: replay can begin here.
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

    /// The latest keyframe that contains no event after `at`; `None` when replay must begin with the first event.
    ///
    /// # Errors
    /// Those of the source.
    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, Self::Error>;

    /// The number of the last event; `None` when there is none.
    fn last(&self) -> Option<Seq>;
}
