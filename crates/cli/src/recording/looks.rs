//! Moments of a recording at which pages are known: looks of `watch`, page snapshots of `run --pages`.

use super::Lenient;
use crate::context::Context;
use std::collections::HashMap;
use vmatlas_event::{
    Addr, AddrRange, Backing, EventSource, Look, MonoNs, Op, PageCounts, PageRow, PageSource, Seq,
    SnapshotReason,
};
use vmatlas_model::timeline::{Moment, Spot, Timeline, TimelineError, Whose};
use vmatlas_proc::Method;
use vmatlas_record::{Reader, RecordError};
use vmatlas_view::looks::AtLook;
use vmatlas_view::show::{Header, ShowRow};
use vmatlas_view::why::Seen;

/// A look is found by every time of the millisecond in which it began.
const NAMED_BY: u64 = 1_000_000;

/// A moment, and the look at or before it.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    /// All looks of the recording.
    looks: Vec<Look>,
    /// Which of them.
    index: usize,
    /// Where the moment lies.
    pub(crate) place: AtLook,
    /// Whether it is a page snapshot of a traced program: its map is known at every moment.
    is_traced: bool,
}

/// What is known of pages at a moment of a traced program.
pub(crate) struct Snapped {
    /// The page snapshot, where the moment is one.
    pub(crate) looked: Option<Looked>,
    /// Else the events of the last one before it and of the first one after it.
    pub(crate) nearby: Vec<Seq>,
}

/// The pages of one moment, by the addresses where their rows begin.
pub(crate) type Pages = HashMap<Addr, PageRow>;

/// The pages of a range of which rows tell exactly: one, or several that follow each other (one for each origin).
pub(crate) fn tiled(pages: &Pages, range: AddrRange) -> Option<(Backing, Option<PageCounts>)> {
    let first = pages.get(&range.start())?;
    let (mut at, mut sum) = (range.start(), first.pages.map(|_| PageCounts::default()));
    while at < range.end() {
        let row = pages.get(&at).filter(|row| at < row.range.end() && row.range.end() <= range.end())?;
        at = row.range.end();
        sum = sum.zip(row.pages).map(|(mut sum, pages)| {
            sum += pages;
            sum
        });
    }
    Some((first.backing, sum))
}

/// How pages were read, as recordings tell it.
pub(crate) const fn page_source(method: Method) -> PageSource {
    match method {
        Method::PagemapScan => PageSource::PagemapScan,
        Method::PagemapEntries => PageSource::PagemapEntries,
        Method::Smaps => PageSource::Smaps,
    }
}

/// The looks of a recording, as far as they can be read; what is damaged is told by who reads events, by `info` and `verify`.
pub(crate) fn all(source: &Reader) -> Vec<Look> {
    read(source).0
}

/// The same, and why there are no others.
pub(crate) fn read(source: &Reader) -> (Vec<Look>, Option<RecordError>) {
    let mut looks = Vec::new();
    let error = source.looks(&mut looks).err();
    (looks, error)
}

/// Goes to a moment; in a recording that was made by looking to the look at or before it, never between the events of one.
pub(crate) fn seek(
    timeline: &mut Timeline<Lenient>,
    moment: &Moment,
    whose: Whose,
) -> Result<(Spot, Option<Looked>), TimelineError<RecordError>> {
    let spot = timeline.seek(moment, whose)?;
    if !is_watched(timeline.source().reader()) {
        return Ok((spot, None));
    }
    let looks = all(timeline.source().reader());
    let start = timeline.start();
    let since = |look: &Look| look.at.0.saturating_sub(start.0);
    let (index, asked) = match moment {
        Moment::Time(asked) => {
            let due = due(*asked, timeline.source().reader().meta().interval, &looks, start);
            let until = (asked / NAMED_BY * NAMED_BY).saturating_add(NAMED_BY);
            let before = looks.partition_point(|look| since(look) < until).checked_sub(1);
            let asked = before.and_then(|index| after(*asked, looks.get(index)?, start));
            if due.is_some() { (due, None) } else { (before, asked) }
        }
        Moment::Exit => {
            (looks.iter().rposition(|look| Some(look.mm) == spot.mm && look.seq <= spot.seq), None)
        }
        _ => {
            let index = looks.partition_point(|look| look.first <= spot.seq).checked_sub(1);
            let is_past = index.and_then(|index| looks.get(index)).is_some_and(|look| look.seq < spot.seq);
            (index, is_past.then(|| timeline.position().since_start.0))
        }
    };
    let Some((index, look)) = index.and_then(|index| Some((index, *looks.get(index)?))) else {
        return Ok((spot, None));
    };
    // A moment after the end of the process, or in another of its programs.
    if spot.mm.is_none() {
        return Ok((spot, None));
    }
    let spot = match spot.seq == look.seq || asked.is_some() && spot.seq > look.seq {
        true => spot,
        false => timeline.seek(&Moment::Event(look.seq), whose)?,
    };
    let place = AtLook {
        at: MonoNs(since(&look)),
        seq: look.seq,
        asked: asked.map(MonoNs),
        next: looks.get(index + 1).map(|next| MonoNs(since(next))),
    };
    Ok((spot, Some(Looked { looks, index, place, is_traced: false })))
}

/// What is known of pages at the moment that a traced program was brought to: residency is never carried from one page snapshot
/// towards the next.
pub(crate) fn snapped(
    timeline: &mut Timeline<Lenient>,
    moment: &Moment,
    spot: Spot,
) -> Result<Snapped, TimelineError<RecordError>> {
    let mut looks = all(timeline.source().reader());
    looks.retain(|look| Some(look.mm) == spot.mm);
    let start = timeline.start();
    let since = |look: &Look| MonoNs(look.at.0.saturating_sub(start.0));
    let after_it = looks.partition_point(|look| look.seq <= spot.seq);
    let before = after_it.checked_sub(1).and_then(|index| Some((index, *looks.get(index)?)));
    let next = looks.get(after_it).map(|look| (look.seq, since(look)));
    if let Some((index, look)) = before {
        let is_exact = match moment {
            // Between its last snapshot and its end a process does nothing more; others of the tree may.
            Moment::Exit => is_last(timeline, look.seq)?,
            Moment::Time(asked) => look.seq == spot.seq && after(*asked, &look, start).is_none(),
            _ => look.seq == spot.seq,
        };
        if is_exact {
            let place = AtLook { at: since(&look), seq: look.seq, asked: None, next: next.map(|(_, at)| at) };
            let looked = Looked { looks, index, place, is_traced: true };
            return Ok(Snapped { looked: Some(looked), nearby: Vec::new() });
        }
    }
    let nearby = before.map(|(_, look)| look.seq).into_iter().chain(next.map(|(seq, _)| seq)).collect();
    Ok(Snapped { looked: None, nearby })
}

/// Whether an event is the last reading of a map before its end.
fn is_last(timeline: &mut Timeline<Lenient>, seq: Seq) -> Result<bool, TimelineError<RecordError>> {
    let mut is_last = false;
    let read = timeline.source().events(seq, &mut |event| {
        is_last = event.seq == seq && matches!(event.op, Op::Snapshot { reason: SnapshotReason::Last, .. });
        false
    });
    read.map(|()| is_last).map_err(TimelineError::Source)
}

/// The look that was due at this very time, and began a little later, as a busy machine has it.
fn due(asked: u64, interval: Option<u64>, looks: &[Look], start: MonoNs) -> Option<usize> {
    let interval = interval.filter(|interval| *interval > 0 && asked.is_multiple_of(*interval))?;
    let since = |look: &Look| look.at.0.saturating_sub(start.0);
    let index = looks.partition_point(|look| since(look) < asked);
    looks.get(index).filter(|look| since(look) - asked < interval).map(|_| index)
}

/// The time that was asked for, where it is after a look and its millisecond.
fn after(asked: u64, look: &Look, start: MonoNs) -> Option<u64> {
    let at = look.at.0.saturating_sub(start.0);
    let named_until = (at / NAMED_BY * NAMED_BY).saturating_add(NAMED_BY);
    let ended = look.end().0.saturating_sub(start.0);
    (asked >= named_until && asked > ended).then_some(asked)
}

impl Looked {
    /// The look.
    pub(crate) fn look(&self) -> Option<&Look> {
        self.looks.get(self.index)
    }

    /// Whether the moment is the look itself, so that its pages are known.
    pub(crate) fn is_exact(&self) -> bool {
        self.place.asked.is_none()
    }

    /// Says in the header what the look knows.
    pub(crate) fn adjust(&self, header: &mut Header) {
        if let Some(look) = self.look().filter(|_| self.is_exact()) {
            header.resident = look.resident;
            header.zero_pages_counted = look.method == PageSource::PagemapEntries;
            header.zero_pages_unknown = look.method != PageSource::PagemapScan;
        }
        if let Some(moment) = header.source.as_mut().and_then(|source| source.moment.as_mut())
            && !self.is_traced
        {
            moment.since_start = self.place.asked.unwrap_or(self.place.at);
            moment.look = Some(self.place.clone());
        }
    }

    /// Whether nothing at all was in swap then.
    pub(crate) fn swap_is_empty(&self) -> bool {
        self.is_exact() && self.look().is_some_and(|look| look.swap_is_empty)
    }

    /// Fills in the pages; whether they are known.
    pub(crate) fn fill(&self, reader: &Reader, rows: &mut [ShowRow], context: &Context) -> bool {
        let Some(found) = self.pages(reader, context) else { return false };
        for row in rows {
            if let Some((backing, pages)) = tiled(&found, row.vma.range) {
                (row.backing, row.pages) = (backing, pages);
            }
        }
        true
    }

    /// The pages of the look; `None` where they are not known.
    pub(crate) fn pages(&self, reader: &Reader, context: &Context) -> Option<Pages> {
        if !self.is_exact() {
            return None;
        }
        let mut found = Pages::new();
        let read = reader.pages_at(&self.looks, self.index, &mut |row| {
            found.insert(row.range.start(), row);
        });
        if let Err(error) = read {
            crate::complain(context, &super::explain_reading(&error, context).to_string());
            return None;
        }
        Some(found)
    }

    /// The look that an event belongs to, and the one before it, by their times since the start.
    pub(crate) fn of_event(looks: &[Look], seq: Seq, start: MonoNs) -> Option<Seen> {
        let since = |look: &Look| MonoNs(look.at.0.saturating_sub(start.0));
        let index = looks.partition_point(|look| look.seq < seq);
        let look = looks.get(index).filter(|look| look.first <= seq)?;
        let before = index.checked_sub(1).and_then(|before| looks.get(before));
        let before = before.filter(|before| before.mm == look.mm).map(since);
        Some(Seen { at: since(look), before })
    }
}

/// Whether a recording was made by looking.
pub(crate) fn is_watched(reader: &Reader) -> bool {
    reader.meta().how == "watch"
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Bytes, Extent, MmId};

    fn look(first: u64, seq: u64, at: u64) -> Look {
        Look {
            first: Seq(first),
            seq: Seq(seq),
            mm: MmId(1),
            at: MonoNs(at),
            took: 2_000_000,
            extent: Extent::Changed,
            method: PageSource::PagemapScan,
            rows: 0,
            vmas: 1,
            size: Bytes(0),
            resident: None,
            anonymous: None,
            swapped: None,
            swap_is_empty: false,
            late: 0,
            hold: 0,
            cpu: 0,
        }
    }

    /// Checks that a look is meant from its millisecond on until it has ended, and that a later time is after it.
    #[test]
    fn a_look_has_a_millisecond_and_its_length() {
        let look = look(3, 5, 1_000_300_000);
        assert_eq!(after(1_000_000_000, &look, MonoNs(0)), None);
        assert_eq!(after(1_002_300_000, &look, MonoNs(0)), None);
        assert_eq!(after(1_002_300_001, &look, MonoNs(0)), Some(1_002_300_001));
        assert_eq!(after(1_002_300_001, &look, MonoNs(7)), Some(1_002_300_001));
    }

    /// Checks that the time at which a look was due names it, though it began later, and that one that was left out has none.
    #[test]
    fn a_look_is_found_by_when_it_was_due() {
        const MS: u64 = 1_000_000;
        let looks = [look(0, 0, 7), look(1, 1, 7 + 1009 * MS), look(2, 2, 7 + 3001 * MS)];
        let of = |ms: u64| due(ms * MS, Some(1000 * MS), &looks, MonoNs(7));
        assert_eq!((of(0), of(1000), of(2000), of(3000), of(4000)), (Some(0), Some(1), None, Some(2), None));
        assert_eq!((of(1001), due(1000 * MS, None, &looks, MonoNs(7))), (None, None));
    }

    /// Checks that the pages of a VMA are the sum of rows that cover it without a gap, and else are not known.
    #[test]
    fn rows_of_origins_add_up() {
        let range = |from: u64, to: u64| AddrRange::new(Addr(from * 4096), Addr(to * 4096)).unwrap();
        let row = |from, to, resident: Option<u64>| PageRow {
            range: range(from, to),
            backing: Backing::Anonymous,
            pages: resident.map(|n| PageCounts { resident: Bytes(n * 4096), ..PageCounts::default() }),
        };
        let rows = [row(1, 3, Some(2)), row(3, 4, Some(0)), row(4, 9, Some(1)), row(20, 22, None)];
        let pages: Pages = rows.into_iter().map(|row| (row.range.start(), row)).collect();
        let of =
            |from, to| tiled(&pages, range(from, to)).map(|(_, pages)| pages.map(|p| p.resident.0 / 4096));
        assert_eq!((of(1, 9), of(1, 4), of(3, 4)), (Some(Some(3)), Some(Some(2)), Some(Some(0))));
        assert_eq!((of(20, 22), of(1, 5), of(2, 4), of(4, 10)), (Some(None), None, None, None));
    }

    /// Checks that events belong to the look that wrote them, and that others belong to none.
    #[test]
    fn events_belong_to_looks() {
        let looks = [look(0, 0, 50), look(1, 4, 150), look(6, 6, 250)];
        let of = |seq| Looked::of_event(&looks, Seq(seq), MonoNs(50)).map(|seen| (seen.at, seen.before));
        assert_eq!(of(0), Some((MonoNs(0), None)));
        assert_eq!(of(3), Some((MonoNs(100), Some(MonoNs(0)))));
        assert_eq!(of(5), None);
        assert_eq!(of(6), Some((MonoNs(200), Some(MonoNs(100)))));
        assert_eq!(of(7), None);
    }
}
