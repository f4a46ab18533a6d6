//! Looks and the pages they found, as rows of tables and back.

use crate::batch::Row;
use crate::error::RecordError;
use crate::keyframe::range;
use crate::reader::{Reader, Unit};
use crate::rows::Cell;
use crate::table::{self, Table};
use crate::unflat::yes;
use crate::words::{BACKINGS, EXTENTS, PAGE_SOURCES, from_word, word};
use vmatlas_event::{Bytes, Extent, Look, MmId, MonoNs, PageCounts, PageRow, Seq};

/// How many looks a recording may have.
const MOST_LOOKS: usize = 1 << 22;

/// From how many rows the pages of one moment may have to be read.
const MOST_PAGE_ROWS: u64 = 1 << 26;

fn int(value: u64) -> Cell<'static> {
    Cell::Int(Some(value as i64))
}

pub(crate) fn look_cells(look: &Look) -> [Cell<'static>; 17] {
    let bytes = |bytes: Option<Bytes>| Cell::Int(bytes.map(|b| b.0 as i64));
    [
        int(look.seq.0),
        int(look.first.0),
        int(look.mm.0.into()),
        int(look.at.0),
        int(look.took),
        Cell::Word(Some(word(&EXTENTS, look.extent))),
        Cell::Word(Some(word(&PAGE_SOURCES, look.method))),
        int(look.rows),
        int(look.vmas),
        int(look.size.0),
        bytes(look.resident),
        bytes(look.anonymous),
        bytes(look.swapped),
        int(u64::from(look.swap_is_empty)),
        int(look.late),
        int(look.hold),
        int(look.cpu),
    ]
}

fn look(row: Row<'_>) -> Result<Look, RecordError> {
    let bytes = |column| row.get(column).map(|v| Bytes(v as u64));
    Ok(Look {
        seq: Seq(row.bits(0)?),
        first: Seq(row.bits(1)?),
        mm: MmId(row.need(2)?),
        at: MonoNs(row.bits(3)?),
        took: row.bits(4)?,
        extent: from_word(&EXTENTS, row, 5)?,
        method: from_word(&PAGE_SOURCES, row, 6)?,
        rows: row.bits(7)?,
        vmas: row.bits(8)?,
        size: Bytes(row.bits(9)?),
        resident: bytes(10),
        anonymous: bytes(11),
        swapped: bytes(12),
        swap_is_empty: yes(row, 13)?,
        late: row.bits(14)?,
        hold: row.bits(15)?,
        cpu: row.bits(16)?,
    })
}

pub(crate) fn page_cells(seq: Seq, row: &PageRow) -> [Cell<'static>; 10] {
    let figure =
        |figure: fn(&PageCounts) -> Bytes| Cell::Int(row.pages.as_ref().map(|pages| figure(pages).0 as i64));
    [
        int(seq.0),
        int(row.range.start().0),
        int(row.range.end().0),
        Cell::Word(Some(word(&BACKINGS, row.backing))),
        figure(|pages| pages.resident),
        figure(|pages| pages.anonymous),
        figure(|pages| pages.swapped),
        figure(|pages| pages.huge),
        figure(|pages| pages.hugetlb),
        figure(|pages| pages.zero),
    ]
}

fn page_row(row: Row<'_>) -> Result<PageRow, RecordError> {
    let figure = |column| row.bits(column).map(Bytes);
    // All figures or none.
    let pages = match row.get(4) {
        None => None,
        Some(_) => Some(PageCounts {
            resident: figure(4)?,
            anonymous: figure(5)?,
            swapped: figure(6)?,
            huge: figure(7)?,
            hugetlb: figure(8)?,
            zero: figure(9)?,
        }),
    };
    Ok(PageRow { range: range(row, 1)?, backing: from_word(&BACKINGS, row, 3)?, pages })
}

impl Reader {
    /// Every look at a process that nobody traced, in order; none in a recording of calls.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] and [`RecordError::Io`]; looks before the damage are in `found` then.
    pub fn looks(&self, found: &mut Vec<Look>) -> Result<(), RecordError> {
        self.rows_of(&table::LOOKS, 0, &mut |row| {
            let look = look(row)?;
            let ordered =
                found.last().is_none_or(|last: &Look| last.seq < look.first) && look.first <= look.seq;
            if !ordered || found.len() >= MOST_LOOKS {
                return Err(row.wrong(0));
            }
            // Its events are not there: it was torn off with them.
            let is_there = self.last.is_some_and(|last| look.seq <= last);
            if is_there {
                found.push(look);
            }
            Ok(is_there)
        })
    }

    /// The pages of every VMA at one of `looks`, which are those of [`Reader::looks`], by what was found at it and at
    /// those before it: for one VMA the last row that is given counts, and one that is no longer there has rows too.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] where rows are missing too, and [`RecordError::Io`].
    pub fn pages_at(
        &self,
        looks: &[Look],
        at: usize,
        found: &mut dyn FnMut(PageRow),
    ) -> Result<(), RecordError> {
        let incomplete = || RecordError::damaged("pages", None, "the pages of a look are not whole");
        let wanted = looks.get(at).ok_or_else(incomplete)?;
        let before = looks.get(..=at).unwrap_or_default();
        let is_start = |look: &&Look| look.mm == wanted.mm && look.extent == Extent::Whole;
        let start = before.iter().rfind(is_start).ok_or_else(incomplete)?;
        let of_it = before.iter().filter(|look| look.seq >= start.seq);
        let mut left = of_it.fold(0u64, |sum, look| sum.saturating_add(look.rows));
        if left > MOST_PAGE_ROWS {
            return Err(incomplete());
        }
        self.rows_of(&table::PAGES, start.seq.0, &mut |row| {
            let seq = row.bits(0)?;
            if seq > wanted.seq.0 {
                return Ok(false);
            }
            left = left.checked_sub(1).ok_or_else(|| row.wrong(0))?;
            found(page_row(row)?);
            Ok(true)
        })?;
        if left == 0 { Ok(()) } else { Err(incomplete()) }
    }

    /// Every row of pages of the looks that end with the events `from` to `to`, in order, each with that event.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] and [`RecordError::Io`].
    pub fn pages_between(
        &self,
        from: Seq,
        to: Seq,
        found: &mut dyn FnMut(Seq, PageRow),
    ) -> Result<(), RecordError> {
        self.rows_of(&table::PAGES, from.0, &mut |row| {
            let seq = Seq(row.bits(0)?);
            let is_wanted = seq <= to;
            if is_wanted {
                found(seq, page_row(row)?);
            }
            Ok(is_wanted)
        })
    }

    /// The rows of a table with a key of at least `from`, until `found` answers `false`.
    fn rows_of(
        &self,
        table: &'static Table,
        from: u64,
        found: &mut dyn FnMut(Row<'_>) -> Result<bool, RecordError>,
    ) -> Result<(), RecordError> {
        let start = i64::try_from(from).unwrap_or(i64::MAX);
        for (index, unit) in self.units.iter().enumerate() {
            let last = match unit {
                Unit::Sealed(segment) => segment.seal.last,
                Unit::Tail { last, .. } => *last,
                Unit::Missing(_) => None,
            };
            if last.is_some_and(|last| last < from) {
                continue;
            }
            for batch in self.batches(index, table, start)? {
                let batch = batch?;
                for row in (0..batch.len()).map(|row| batch.row(row)) {
                    if row.bits(0)? >= from && !found(row)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
