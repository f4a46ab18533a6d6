//! Whether the looks of a recording are what replay and the rows of pages that belong to them give.

use super::{looks, moment};
use vmatlas_event::{Bytes, EventSource, Extent, Look, Op, PageCounts, PageRow, Seq};
use vmatlas_model::{AddressSpace, Spaces};
use vmatlas_record::{Reader, RecordError};
use vmatlas_view::verify::LooksVerified;

/// So many rows of pages are read at a time, or those of one look.
const AT_A_TIME: u64 = 1 << 16;

/// After so many looks that are wrong no more are compared: those that claim rows which are not there are read one by one.
const MOST_WRONG: u64 = 1000;

/// Sums of one look.
type Sums = (u64, Bytes, Option<Bytes>, Option<Bytes>, Option<Bytes>);

/// Replays everything and compares the sums of each look; `None` where there are no looks. `progress` is told of each event.
pub(super) fn check(
    reader: &mut Reader,
    progress: &mut dyn FnMut(Seq),
) -> Result<Option<LooksVerified>, RecordError> {
    let all = looks::all(reader);
    if all.is_empty() {
        return Ok(None);
    }
    let mut found = LooksVerified { looks: all.len() as u64, ..LooksVerified::default() };
    let mut spaces = Spaces::new(moment::page_of(reader));
    spaces.distrust(reader.meta().distrust);
    let mut known = looks::Pages::new();
    let mut before: Option<Sums> = None;
    let (mut from, mut rest) = (Seq(0), all.as_slice());
    while !rest.is_empty() && found.wrong < MOST_WRONG {
        let mut rows = 0u64;
        let count = rest.iter().take_while(|look| {
            rows = rows.saturating_add(look.rows);
            rows <= AT_A_TIME
        });
        let (some, later) = rest.split_at(count.count().clamp(1, rest.len()));
        rest = later;
        let Some((first, last)) = some.first().zip(some.last()) else { break };
        let mut pages: Vec<(Seq, PageRow)> = Vec::new();
        reader.pages_between(first.seq, last.seq, &mut |seq, row| pages.push((seq, row)))?;
        let (mut pages, mut looks) = (pages.into_iter().peekable(), some.iter().peekable());
        reader.events(from, &mut |event| {
            if event.seq > last.seq {
                return false;
            }
            spaces.event(&event);
            progress(event.seq);
            if let Some(look) = looks.next_if(|look| look.seq == event.seq) {
                if look.extent == Extent::Whole {
                    known.clear();
                }
                let mut given = 0;
                while let Some((_, row)) = pages.next_if(|(seq, _)| *seq == look.seq) {
                    known.insert(row.range.start(), row);
                    given += 1;
                }
                // Where nothing changed, so did no sum: that keeps long recordings quick.
                let is_same =
                    look.rows == 0 && matches!(event.op, Op::Observed { asked, .. } if asked.is_empty());
                let sums = match before.filter(|_| is_same) {
                    Some(sums) => Some(sums),
                    None => spaces.get(look.mm).map(|space| sums_of(space, &known)),
                };
                before = sums;
                if sums != Some(sums_told(look)) || given != look.rows {
                    found.wrong += 1;
                    found.first.get_or_insert(look.seq);
                }
            }
            true
        })?;
        from = Seq(last.seq.0.saturating_add(1));
    }
    Ok(Some(found))
}

fn sums_told(look: &Look) -> Sums {
    (look.vmas, look.size, look.resident, look.anonymous, look.swapped)
}

fn sums_of(space: &AddressSpace, known: &looks::Pages) -> Sums {
    let vmas = || space.vmas().filter(|row| row.special() != Some(b"vsyscall"));
    let sum = |figure: fn(&PageCounts) -> Bytes| -> Option<Bytes> {
        let pages = vmas().map(|row| {
            let (_, pages) = looks::tiled(known, row.range)?;
            pages.as_ref().map(figure)
        });
        pages.sum()
    };
    let size = vmas().map(|row| row.range.len()).sum();
    let resident = sum(|pages| pages.resident);
    (vmas().count() as u64, size, resident, sum(|pages| pages.anonymous), sum(|pages| pages.swapped))
}
