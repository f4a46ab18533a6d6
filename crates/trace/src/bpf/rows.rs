//! Rows of the BPF programs as rows of a map.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use vmatlas_event::{AddrRange, Name, PageSize, VmaRow};
use vmatlas_sys::bpf::{Execed, NameKey, Named, Row};

/// The texts of rows, as far as they were told.
#[derive(Debug, Default)]
pub(super) struct Names(FxHashMap<NameKey, [Option<Name>; 2]>);

impl Names {
    /// Takes a text.
    pub(super) fn put(&mut self, key: NameKey, named: &Named) {
        let name = |end: &[u8]| named.text.as_deref().map(|text| Name::new(&[text, end].concat()));
        // Of a file that was deleted the kernel says so behind its path (kernel fs/d_path.c:d_path()).
        self.0.insert(key, [name(b""), name(b" (deleted)")]);
    }

    /// The row as /proc/PID/maps has it; without its text where that was not told.
    pub(super) fn row(&self, row: &Row) -> VmaRow {
        let text = row.name.and_then(|key| self.0.get(&key)?.get(usize::from(row.is_deleted))?.clone());
        let has_file = row.inode != 0 || row.dev != vmatlas_event::Dev::default();
        VmaRow {
            range: row.range,
            prot: row.prot,
            sharing: row.sharing,
            offset: if has_file { row.pgoff.wrapping_mul(PageSize::FOUR_KIB.bytes()) } else { 0 },
            dev: row.dev,
            inode: row.inode,
            name: match (text, row.is_heap, row.is_stack) {
                (None, true, _) => Some(Name::new(b"[heap]")),
                (None, _, true) => Some(Name::new(b"[stack]")),
                (text, ..) => text,
            },
        }
    }

    /// The whole map of a new program in address order; `None` when not all of it was found.
    pub(super) fn whole(&self, exec: &Execed) -> Option<Vec<VmaRow>> {
        let rows: BTreeMap<AddrRange, VmaRow> =
            exec.rows.iter().map(|row| (row.range, self.row(row))).collect();
        let rows: Vec<VmaRow> = rows.into_values().collect();
        let is_named = |row: &Row| row.name.is_none_or(|key| self.0.contains_key(&key));
        let is_whole = rows.len() == exec.map_count as usize && exec.rows.iter().all(is_named);
        let is_sound = rows.is_sorted_by(|low, high| low.range.end() <= high.range.start());
        (is_whole && is_sound).then_some(rows)
    }
}
