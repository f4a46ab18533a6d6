//! Why an address is what it is: who mapped it and what changed it since, or what can be said where that was not seen.

mod json;
mod text;
pub mod texts;

use crate::lang::Lang;
use crate::looks::{look_time, texts as looks};
use crate::show::{Header, ShowRow};
use crate::stack::ShownStack;
use std::collections::BTreeMap;
use std::fmt::Display;
use vmatlas_event::{Addr, Event, MonoNs, Op, Seq, SnapshotReason, Source, VmaRow};
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
        /// The looks that these events and those of its history belong to, where nothing was traced.
        looks: BTreeMap<Seq, Seen>,
        /// The call stacks of these events and those of its history, where they were recorded.
        stacks: BTreeMap<Seq, ShownStack>,
        /// Whether page faults were watched.
        faults: bool,
    },
    /// Nobody looked when it happened.
    NotSeen {
        /// Whether the process lives, so that it can be watched from now on.
        lives: bool,
    },
}

/// A look that found something, by its time since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it began.
    pub at: MonoNs,
    /// When the look before it began, which had not found it; `None` for the first look at an address space.
    pub before: Option<MonoNs>,
}

impl Seen {
    /// What that says of pages that it found.
    fn of_pages(self, lang: Lang) -> String {
        let time = look_time(self.at);
        match self.before {
            Some(before) => {
                let values: [(&str, &dyn Display); 2] = [("time", &time), ("before", &look_time(before))];
                looks::SEEN.fill(lang, &values)
            }
            None => looks::THERE.fill(lang, &[("time", &time)]),
        }
    }

    /// What that says of a change of pages that were there.
    fn of_change(self, lang: Lang) -> String {
        let Some(before) = self.before else { return self.of_pages(lang) };
        let values: [(&str, &dyn Display); 2] =
            [("time", &look_time(self.at)), ("before", &look_time(before))];
        looks::SEEN_CHANGED.fill(lang, &values)
    }
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
            Op::Observed { .. } if event.source == Source::Observed => Some(Found::Look),
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
