//! What `watch -v` tells of each look.

use crate::context::{Context, Stream};
use std::collections::HashMap;
use std::io::Write;
use vmatlas_event::{Bytes, Look, MonoNs, PageRow, VmaRow};
use vmatlas_view::looks::{Found, LookTable};

/// Lines on standard error, one for each look.
pub(super) struct Lines {
    table: LookTable,
    has_head: bool,
}

impl Lines {
    pub(super) fn new(context: &Context, start: MonoNs) -> Lines {
        let (style, columns) = (context.style(Stream::Stderr), context.columns(Stream::Stderr));
        Lines { table: LookTable::new(context.lang, style, columns, start), has_head: false }
    }

    pub(super) fn look(&mut self, look: &Look, found: &Found) {
        let mut text = String::new();
        if !std::mem::replace(&mut self.has_head, true) {
            // Writing to a String does not fail.
            let _ = self.table.head(&mut text);
        }
        let _ = self.table.look(&mut text, look, found);
        // With nobody to tell there is nothing else to do.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// The name under which most more is resident than at the look before, all VMAs of one name together.
pub(super) fn grew_most(
    before: (&[VmaRow], &[PageRow]),
    after: (&[VmaRow], &[PageRow]),
) -> Option<(Vec<u8>, Bytes)> {
    let mut sums: HashMap<&[u8], (u64, u64)> = HashMap::new();
    let resident = |page: &PageRow| page.pages.map_or(0, |pages| pages.resident.0);
    let mut old = before.0.iter().zip(before.1).peekable();
    let mut new = after.0.iter().zip(after.1).peekable();
    loop {
        let starts = (old.peek(), new.peek());
        let (is_old, is_new) = match starts {
            (Some((_, a)), Some((_, b))) => {
                (a.range.start() <= b.range.start(), b.range.start() <= a.range.start())
            }
            (a, b) => (a.is_some(), b.is_some()),
        };
        let went = if is_old { old.next() } else { None };
        let came = if is_new { new.next() } else { None };
        match (went, came) {
            (None, None) => break,
            // Most are as they were; looking up their names would cost more than all else.
            (Some(a), Some(b)) if resident(a.1) == resident(b.1) && a.0.name == b.0.name => {}
            (went, came) => {
                if let Some((row, page)) = went {
                    let sum = sums.entry(row.name_bytes()).or_default();
                    sum.0 = sum.0.saturating_add(resident(page));
                }
                if let Some((row, page)) = came {
                    let sum = sums.entry(row.name_bytes()).or_default();
                    sum.1 = sum.1.saturating_add(resident(page));
                }
            }
        }
    }
    let grown = sums.into_iter().filter_map(|(name, (before, after))| {
        Some((name, after.checked_sub(before).filter(|grown| *grown > 0)?))
    });
    // Of two that grew as much, always the same one.
    let most = grown.max_by_key(|(name, grown)| (*grown, std::cmp::Reverse(*name)))?;
    Some((most.0.to_vec(), Bytes(most.1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, AddrRange, Backing, Name, PageCounts, Prot};

    /// Checks that VMAs of one name count together, and that what only shrank is not named.
    #[test]
    fn names_count_together() {
        let make = |parts: &[(&str, u64)]| -> (Vec<VmaRow>, Vec<PageRow>) {
            let range =
                |n: usize| AddrRange::new(Addr(n as u64 * 8192), Addr(n as u64 * 8192 + 4096)).unwrap();
            let rows = parts.iter().enumerate().map(|(n, (name, _))| VmaRow {
                name: (!name.is_empty()).then(|| Name::new(name.as_bytes())),
                ..VmaRow::anonymous(range(n), Prot::RW)
            });
            let pages = parts.iter().enumerate().map(|(n, (_, resident))| PageRow {
                range: range(n),
                backing: Backing::Anonymous,
                pages: Some(PageCounts { resident: Bytes(*resident), ..PageCounts::default() }),
            });
            (rows.collect(), pages.collect())
        };
        let (a, b) = (make(&[("x", 5), ("y", 9)]), make(&[("x", 6), ("y", 2), ("x", 8), ("", 4)]));
        let most = grew_most((&a.0, &a.1), (&b.0, &b.1));
        assert_eq!(most, Some((b"x".to_vec(), Bytes(9))));
        assert_eq!(grew_most((&b.0, &b.1), (&b.0, &b.1)), None);
    }
}
