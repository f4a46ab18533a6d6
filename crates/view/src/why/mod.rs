//! Why an address is what it is: who mapped it and what changed it since, or what can be said where that was not seen.

mod json;
mod text;
pub mod texts;

use crate::show::{Header, ShowRow};
use std::collections::BTreeMap;
use vmatlas_event::{Addr, Event, Op, Seq, SnapshotReason, VmaRow};
use vmatlas_model::timeline::{Chapter, History};

/// All that is known of one address.
#[derive(Clone, Debug)]
pub struct WhyView {
    /// Whose address it is, and when.
    pub header: Header,
    /// The address.
    pub addr: Addr,
    /// The VMA that holds it; `None` where nothing is mapped.
    pub row: Option<ShowRow>,
    /// The VMAs below and above, where nothing is mapped.
    pub around: (Option<VmaRow>, Option<VmaRow>),
    /// How it came to be so.
    pub story: Story,
}

/// How an address came to be what it is.
#[derive(Clone, Debug)]
pub enum Story {
    /// It was recorded.
    Recorded {
        /// What happened.
        history: Box<History>,
        /// The events that mapped it and its neighbours, without rows.
        events: BTreeMap<Seq, Event>,
    },
    /// Nobody looked when it happened.
    NotSeen {
        /// Whether the process lives, so that it can be watched from now on.
        lives: bool,
    },
}

/// How pages came to be where no call did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// With the program.
    Exec,
    /// They were there before.
    Attach,
    /// Later, and nobody saw the call.
    Look,
}

impl Found {
    /// What a snapshot as an origin means; `None` for other events.
    fn of(event: &Event) -> Option<Found> {
        match &event.op {
            Op::Snapshot { reason: SnapshotReason::Exec, .. } => Some(Found::Exec),
            Op::Snapshot { reason: SnapshotReason::Attach, .. } => Some(Found::Attach),
            Op::Snapshot { .. } => Some(Found::Look),
            _ => None,
        }
    }

    fn text(self) -> crate::Text {
        match self {
            Found::Exec => texts::BY_EXEC,
            Found::Attach => texts::BY_ATTACH,
            Found::Look => texts::BY_LOOK,
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Found::Exec => "exec",
            Found::Attach => "attach",
            Found::Look => "observed",
        }
    }
}

/// The chapters before the origin's end, the origin's own, and those since.
fn origin_and_since(history: &History) -> (Option<&Chapter>, &[Chapter]) {
    let Some(origin) = history.origin else { return (None, &history.chapters) };
    let at = history.chapters.iter().position(|chapter| chapter.event.seq == origin);
    match at.and_then(|at| history.chapters.split_at_checked(at)) {
        Some((_, [own, since @ ..])) => (Some(own), since),
        _ => (None, &history.chapters),
    }
}

#[cfg(test)]
mod tests;
