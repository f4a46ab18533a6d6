//! Processes that use one address space: after vfork(2), or with CLONE_VM.

use std::collections::HashMap;
use vmatlas_event::{Bytes, Pid, Tid};
use vmatlas_view::ps::PsRow;

/// Marks each process that uses the address space of another one in the list; the one with the lowest PID is not marked.
pub(super) fn mark(rows: &mut [PsRow]) {
    mark_with(rows, |a, b| vmatlas_sys::same_address_space(Tid(a.0), Tid(b.0)).unwrap_or(false));
}

/// Only those whose sizes are the same are asked about: what they use is one thing. Some of them may have been read before
/// the other one grew, and then are not found.
fn mark_with(rows: &mut [PsRow], are_one: impl Fn(Pid, Pid) -> bool) {
    // Many workers of one size: asking about each pair of them would take long.
    const MOST: usize = 64;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| rows.get(*at).map(|row| row.pid));
    let mut firsts: HashMap<(Bytes, Bytes), Vec<Pid>> = HashMap::new();
    for at in order {
        let Some(row) = rows.get_mut(at) else { continue };
        let (Ok(size), Ok(tables), Ok(_)) = (row.virtual_size, row.page_tables, row.uss) else { continue };
        let known = firsts.entry((size, tables)).or_default();
        row.space_of = known.iter().copied().find(|first| are_one(*first, row.pid));
        if row.space_of.is_none() && known.len() < MOST {
            known.push(row.pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ps::nothing_known;
    use vmatlas_view::ps::Missing;

    fn row(pid: i32, size: u64) -> PsRow {
        let bytes = Ok(Bytes(size));
        let unknown = nothing_known(Pid(pid), Missing::Unknown);
        PsRow { virtual_size: bytes, page_tables: bytes, uss: bytes, ..unknown }
    }

    /// Checks that the first of several is the one that counts, in whatever order they are listed, and that those of another
    /// size are not even asked about.
    #[test]
    fn the_first_one_counts() {
        let mut rows = [row(9, 4096), row(3, 4096), row(5, 4096), row(4, 8192), row(7, 4096)];
        mark_with(&mut rows, |a, b| {
            assert!(a != Pid(4) && b != Pid(4));
            a.0 % 2 == b.0 % 2 && b != Pid(7)
        });
        let found: Vec<_> = rows.iter().map(|row| row.space_of.map(|pid| pid.0)).collect();
        assert_eq!(found, [Some(3), None, Some(3), None, None]);
    }
}
