//! A map that is read whole where the model has nothing: all of it is new, and no difference needs to be looked for.

use super::Edit;
use crate::diff::goes_on;
use crate::space::{AddressSpace, Applied, Origin};
use vmatlas_event::{AddrRange, Seq, VmaRow};

/// Takes the rows; `None` where they are few or in no order, or something is there: nothing happened then.
pub(super) fn apply(space: &mut AddressSpace, seq: Seq, rows: &[VmaRow]) -> Option<Applied> {
    if !space.vmas.is_empty() || !space.replace_many(&[], rows) {
        return None;
    }
    let mut origins: Vec<Origin> = Vec::with_capacity(rows.len());
    let (mut drifted, mut uncalled) = (false, 0);
    let mut last: Option<&VmaRow> = None;
    for row in rows {
        match origins.last_mut() {
            Some(origin) if last.is_some_and(|last| goes_on(last, row)) => {
                origin.range = origin.range.hull(row.range);
            }
            _ => {
                let is_of_a_probe = row.special() == Some(b"uprobes");
                uncalled += u64::from(is_of_a_probe);
                drifted |= !is_of_a_probe;
                origins.push(Origin { range: row.range, seq });
            }
        }
        last = Some(row);
    }
    let mut edit = Edit::new(space, seq);
    edit.windows.push(AddrRange::ALL);
    edit.open_origins(AddrRange::ALL);
    if !edit.space.origins.exchange(&[], &origins) {
        origins.into_iter().for_each(|origin| edit.space.origins.put(origin));
    }
    Some(Applied { drifted, uncalled, ..edit.finish() })
}
