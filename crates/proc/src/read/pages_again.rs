//! The pages of the same process again and again: runs that are as they were are not summed again.

use crate::read::backing;
use crate::read::error::ProcError;
use crate::read::process::Process;
use crate::read::residency::{self, RowCounts};
use crate::read::snapshot::Maps;
use crate::read::walk::{Budget, Method, WalkCost, walk};
use std::mem::take;
use std::sync::Arc;
use vmatlas_event::{PageCounts, PageRow};
use vmatlas_sys::PageRun;

/// The pages of each row.
type Counts = Vec<Option<PageCounts>>;

/// No more runs are remembered (24 bytes each): who has more is summed each time.
const MOST: usize = 1 << 18;

/// Reads the pages of one process again and again. It keeps the runs of pages of the last reading, and the rows of the last two.
#[derive(Debug, Default)]
pub struct PagesAgain {
    /// What was read the last time, and of which map.
    last: Option<(Arc<Maps>, Arc<Vec<PageRow>>)>,
    /// The runs of it; those without a gap that are alike are one, however the slices cut them.
    runs: Vec<PageRun>,
    /// Rows of the time before, and lists without anything in them: their memory is used again.
    older: Option<Arc<Vec<PageRow>>>,
    room: Vec<PageRun>,
    counts: Counts,
}

impl PagesAgain {
    /// One with nothing remembered.
    pub fn new() -> PagesAgain {
        PagesAgain::default()
    }

    /// Reads the pages of each row of a map, and says what stands behind it.
    ///
    /// What is as it was the last time is the same `Arc` as then, where the map is the same `Arc` too.
    ///
    /// # Errors
    /// Those of [`residency::read`].
    pub fn read(
        &mut self,
        process: &Process,
        maps: &Arc<Maps>,
        budget: Budget,
    ) -> Result<(Arc<Vec<PageRow>>, WalkCost), ProcError> {
        let known = self.last.take().filter(|(known, _)| Arc::ptr_eq(known, maps)).map(|(_, rows)| rows);
        if known.is_none() {
            self.runs.clear();
        }
        if budget.method == Some(Method::Smaps) || budget.threads > 1 {
            self.runs.clear();
            let residency = residency::read(process, &maps.rows, budget)?;
            let rows = self.rows(process, maps, &residency.per_row, known);
            self.last = Some((maps.clone(), rows.clone()));
            return Ok((rows, residency.cost));
        }
        let mut joined = Joined {
            counts: None,
            process,
            maps,
            room: take(&mut self.counts),
            last: &self.runs,
            same: 0,
            is_new: known.is_none(),
            open: PageRun::default(),
            runs: take(&mut self.room),
        };
        joined.runs.clear();
        let walked = walk(process, &maps.rows, budget, &mut |run| joined.add(run));
        let (counts, room, runs) = joined.finish();
        let cost = match walked {
            Ok(cost) => cost,
            Err(error) => {
                self.runs.clear();
                return Err(error);
            }
        };
        let rows = match (counts, known) {
            (None, Some(known)) => {
                (self.counts, self.room) = (room, runs);
                known
            }
            (counts, known) => {
                let counts = counts.unwrap_or(room);
                let rows = self.rows(process, maps, &counts, known);
                (self.counts, self.room) = (counts, std::mem::replace(&mut self.runs, runs));
                rows
            }
        };
        // With more runs than are remembered nothing may look like the last time.
        self.last = (self.runs.len() < MOST).then(|| (maps.clone(), rows.clone()));
        Ok((rows, cost))
    }

    /// The rows of a map with these counts; what stands behind them is known where the map is the one of the last time.
    fn rows(
        &mut self,
        process: &Process,
        maps: &Maps,
        counts: &[Option<PageCounts>],
        known: Option<Arc<Vec<PageRow>>>,
    ) -> Arc<Vec<PageRow>> {
        let mut room = self.older.take().and_then(|rows| Arc::try_unwrap(rows).ok()).unwrap_or_default();
        room.clear();
        match &known {
            Some(known) => {
                room.extend(known.iter().zip(counts).map(|(row, pages)| PageRow { pages: *pages, ..*row }));
            }
            None => {
                let backings = backing::read(process, &maps.rows);
                let rows = maps.rows.iter().zip(counts).zip(backings);
                room.extend(rows.map(|((row, pages), backing)| PageRow {
                    range: row.range,
                    backing,
                    pages: *pages,
                }));
            }
        }
        self.older = known;
        Arc::new(room)
    }
}

/// Runs on their way in, compared with those of the last time; from the first other one on they are summed.
struct Joined<'a> {
    /// `None` as long as all are as they were.
    counts: Option<RowCounts<'a>>,
    process: &'a Process,
    maps: &'a Maps,
    /// For the counts.
    room: Counts,
    last: &'a [PageRun],
    /// So many are as they were.
    same: usize,
    /// The map is another one.
    is_new: bool,
    /// The one that may go on.
    open: PageRun,
    /// All of them, where one is another one.
    runs: Vec<PageRun>,
}

impl<'a> Joined<'a> {
    fn add(&mut self, run: PageRun) {
        if self.open.end == run.start && self.open.traits == run.traits {
            self.open.end = run.end;
            return;
        }
        self.close();
        self.open = run;
    }

    fn close(&mut self) {
        let run = self.open;
        if run.start == run.end {
            return;
        }
        if self.counts.is_none() && !self.is_new && self.last.get(self.same) == Some(&run) {
            self.same += 1;
            return;
        }
        self.summed().add(&run);
        if self.runs.len() < MOST {
            self.runs.push(run);
        }
    }

    /// Where runs are summed: those that were as the last time first.
    fn summed(&mut self) -> &mut RowCounts<'a> {
        let (last, same) = (self.last, self.same);
        let before = last.get(..same).unwrap_or_default();
        let (process, rows, room, runs) = (self.process, &self.maps.rows[..], &mut self.room, &mut self.runs);
        self.counts.get_or_insert_with(|| {
            runs.extend_from_slice(before);
            let mut counts = RowCounts::with_room(process, rows, take(room));
            before.iter().for_each(|run| counts.add(run));
            counts
        })
    }

    /// The counts of each row, `None` where all is as it was; room for others; and the runs.
    fn finish(mut self) -> (Option<Counts>, Counts, Vec<PageRun>) {
        self.close();
        if self.is_new || self.same < self.last.len() {
            self.summed();
        }
        (self.counts.map(RowCounts::finish), self.room, self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapsAgain, ProcRoot};
    use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};
    use vmatlas_sys::mem::{Arena, Touch, touch};

    fn pages_of(rows: &[PageRow], range: AddrRange) -> Vec<u64> {
        let of_it = rows.iter().filter(|row| range.covers(row.range));
        of_it.filter_map(|row| row.pages.as_ref()).map(|pages| pages.resident.0).collect()
    }

    /// Checks that pages which come and go are seen at once, and only then are rows others than before, whatever cut the slices.
    #[test]
    fn what_changed_is_summed_again() {
        let page = vmatlas_sys::page_size().bytes();
        let arena = Arena::new(Bytes(64 * page), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
        arena.advise(arena.range().start(), arena.range().len(), 15).unwrap();
        // Two VMAs of their own, and neighbours that are none of ours.
        arena.protect(arena.range().start(), Bytes(page), ProtArg(0)).unwrap();
        arena.protect(Addr(arena.range().end().0 - page), Bytes(page), ProtArg(0)).unwrap();
        let inner = AddrRange::from_len(Addr(arena.range().start().0 + page), Bytes(62 * page)).unwrap();
        let process = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        // Of the arena alone: what is around it changes with the tests beside this one.
        let mut whole = (*MapsAgain::new().read(&process).unwrap()).clone();
        whole.rows.retain(|row| arena.range().covers(row.range));
        assert_eq!(whole.rows.len(), 3);
        let (maps, again) = (Arc::new(whole.clone()), Arc::new(whole));
        let mut reader = PagesAgain::new();
        let (first, _) = reader.read(&process, &maps, Budget::default()).unwrap();
        assert_eq!(pages_of(&first, inner), [0]);
        let mut last = first;
        for (pages, slice) in [(3, 4096), (3, 1), (7, 2), (7, 4096), (9, 3), (9, 1)] {
            touch(inner, pages - 1, 1, Touch::Write).unwrap();
            touch(inner, 40, pages, Touch::Write).unwrap();
            let budget = Budget { max_pages: slice, ..Budget::default() };
            let fresh = residency::read(&process, &maps.rows, budget).unwrap();
            let (rows, _) = reader.read(&process, &maps, budget).unwrap();
            assert!(rows.iter().map(|row| row.pages).eq(fresh.per_row));
            let (same, _) = reader.read(&process, &maps, Budget { max_pages: 5, ..budget }).unwrap();
            assert!(Arc::ptr_eq(&rows, &same), "{pages} pages");
            assert_eq!(Arc::ptr_eq(&rows, &last), rows == last);
            last = rows;
        }
        // Another reading of the same map is another map.
        let (other, _) = reader.read(&process, &again, Budget::default()).unwrap();
        assert!(!Arc::ptr_eq(&other, &last) && other == last);
        arena.advise(inner.start(), inner.len(), 4).unwrap();
        let (rows, _) = reader.read(&process, &again, Budget::default()).unwrap();
        assert_eq!(pages_of(&rows, inner), [0]);
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}
