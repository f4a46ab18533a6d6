//! mremap(2).

use super::{Edit, pages_of};
use crate::Piece;
use vmatlas_event::{Addr, AddrRange, Bytes, Sharing, VmaRow};

const DONTUNMAP: u64 = 4;

pub(super) fn apply(edit: &mut Edit<'_>, old: Addr, old_len: Bytes, new: Addr, new_len: Bytes, flags: u64) {
    let page = edit.space.page;
    let from = pages_of(page, old, old_len);
    let to = pages_of(page, new, new_len);
    if from.start() == to.start() {
        in_place(edit, from, to);
    } else {
        moved(edit, from, to, flags & DONTUNMAP != 0);
    }
}

fn in_place(edit: &mut Edit<'_>, from: AddrRange, to: AddrRange) {
    if let Some(tail) = AddrRange::new(to.end(), from.end()).filter(|t| !t.is_empty()) {
        edit.clear(tail);
    } else if let Some(grown) = AddrRange::new(from.end(), to.end()).filter(|g| !g.is_empty()) {
        match edit.space.vma_at(from.start()).cloned() {
            Some(row) if row.range.end() == from.end() => {
                grow(edit, &row, grown);
                edit.ask_where_alike(grown);
            }
            // Only a VMA that ends there can grow: we missed something.
            _ => edit.ask(to),
        }
    }
}

/// Makes a VMA longer: one VMA, two origins.
fn grow(edit: &mut Edit<'_>, row: &VmaRow, grown: AddrRange) {
    edit.map(continued(row, grown));
    edit.open(row.range);
    edit.space.put(VmaRow { range: row.range.hull(grown), ..row.clone() });
}

fn moved(edit: &mut Edit<'_>, from: AddrRange, to: AddrRange, keep_old: bool) {
    edit.open(from);
    edit.open(to);
    // A length of 0 duplicates a shared mapping: nothing moves, and the source says what comes.
    if from.is_empty() {
        if let Some(row) = edit.space.vma_at(from.start()).cloned() {
            let whole = AddrRange::from_len(from.start(), to.len());
            let source = whole.and_then(|w| row.clip(w)).unwrap_or(row);
            edit.map(VmaRow { range: to, ..source });
        }
        edit.ask(to);
        return;
    }
    let rows: Vec<VmaRow> = edit.space.rows(from).iter().filter_map(|r| r.clip(from)).collect();
    let origins: Vec<_> = edit.space.origins.meeting(from).filter_map(|o| o.clip(from)).collect();
    let grows = edit.space.rules.growing_in(from);
    let is_whole = rows.iter().map(|row| row.range.len().0).sum::<u64>() == from.len().0;
    if !keep_old {
        edit.clear(from);
    }
    let shift = |range: AddrRange| {
        let start = Addr(range.start().0.wrapping_sub(from.start().0).wrapping_add(to.start().0));
        AddrRange::from_len(start, range.len()).and_then(|r| r.intersect(to))
    };
    if is_whole {
        edit.clear(to);
    }
    for row in &rows {
        if let Some(range) = shift(row.range) {
            // Where the old place has a hole, the new one keeps what is there: each VMA moves by itself (Linux 6.17;
            // before, a hole is an error).
            edit.clear(range);
            edit.space.put(unlabelled(VmaRow { range, ..row.clone() }));
        }
    }
    for origin in origins {
        if let Some(range) = shift(origin.range) {
            edit.space.origins.put(crate::space::Origin { range, ..origin });
        }
    }
    for range in grows.into_iter().filter_map(shift) {
        edit.space.rules.grow(range);
    }
    let kept = Bytes(from.len().0.min(to.len().0));
    let grown = to.start().checked_add(kept).and_then(|at| AddrRange::new(at, to.end()));
    if let (Some(grown), Some(last)) = (grown.filter(|g| !g.is_empty()), rows.last()) {
        let last = shift(last.range).map(|range| unlabelled(VmaRow { range, ..last.clone() }));
        if let Some(last) = last {
            grow(edit, &last, grown);
        }
    }
    edit.change.moved = Some((from, to));
    if keep_old {
        edit.ask(from);
    }
    // A private mapping of /dev/zero is anonymous memory that keeps its file, and its offset becomes its address when
    // nothing of it was touched (mm/vma.c:copy_vma()). Which file it is, no name proves.
    let may_be_anonymous = |row: &VmaRow| row.has_file() && row.sharing == Sharing::Private;
    match &rows[..] {
        [row] if is_whole && !may_be_anonymous(row) => edit.ask_where_alike(to),
        rows => {
            edit.guessed = !is_whole || rows.iter().any(may_be_anonymous);
            edit.ask(to);
        }
    }
}

/// `[heap]` and `[stack]` are names of places, not of what lies there.
fn unlabelled(row: VmaRow) -> VmaRow {
    match row.special() {
        Some(b"heap" | b"stack") => VmaRow { name: None, ..row },
        _ => row,
    }
}

/// The row that goes on where `row` ends.
fn continued(row: &VmaRow, range: AddrRange) -> VmaRow {
    let ahead = range.start().0.wrapping_sub(row.range.start().0);
    VmaRow { range, offset: if row.has_file() { row.offset.wrapping_add(ahead) } else { 0 }, ..row.clone() }
}
