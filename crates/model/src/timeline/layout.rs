//! Whether two maps are those of one address space, by where things lie.

use crate::space::AddressSpace;
use rustc_hash::{FxHashMap, FxHashSet};
use vmatlas_event::{Addr, Seq, VmaRow};

/// What an address space keeps in its place for as long as a program runs in it.
type Anchors<'a> = FxHashMap<(&'a [u8], u64), Addr>;

fn anchors(rows: &[VmaRow]) -> Anchors<'_> {
    let mut out = Anchors::default();
    for row in rows {
        let name = row.name_bytes();
        // The heap begins where it likes, a stack grows, and vsyscall is everywhere the same.
        let lies = row.has_file() && name.starts_with(b"/") || name == b"[vdso]" || name == b"[vvar]";
        if lies {
            out.entry((name, row.offset)).or_insert(row.range.start());
        }
    }
    out
}

/// Whether two maps have the same layout: the addresses are chosen at random for each run of a program, and a fork copies
/// them. False where nothing tells.
pub fn same_layout(a: &[VmaRow], b: &[VmaRow]) -> bool {
    let (first, second) = (anchors(a), anchors(b));
    let (mut same, mut other) = (0, 0);
    for (key, at) in &first {
        match second.get(key) {
            Some(there) if there == at => same += 1,
            Some(_) => other += 1,
            None => {}
        }
    }
    // Programs that are linked to one address lie there in every run; the kernel's page never does.
    let vdso = (&b"[vdso]"[..], 0);
    let is_elsewhere = first.get(&vdso).zip(second.get(&vdso)).is_some_and(|(x, y)| x != y);
    same > other && !is_elsewhere
}

/// Whether one event mapped pages of both: two moments of one address space, or a parent's and its child's, of one recording.
pub fn share_origins(a: &AddressSpace, b: &AddressSpace) -> bool {
    let first: FxHashSet<Seq> = a.origins().map(|origin| origin.seq).collect();
    b.origins().any(|origin| first.contains(&origin.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::anon;
    use vmatlas_event::{Name, Prot};

    fn run(at: u64, libraries: u64, vdso: u64) -> Vec<VmaRow> {
        let named = |name: &str, inode, start| VmaRow {
            inode,
            name: Some(Name::new(name.as_bytes())),
            ..anon(start, start + 2, Prot::READ)
        };
        vec![named("/bin/x", 1, at), named("/lib/c", 2, libraries), named("[vdso]", 0, vdso)]
    }

    /// Checks that one address space is known again when it has grown, and two runs are told apart.
    #[test]
    fn layouts_are_told_apart() {
        let (a, mut later) = (run(10, 100, 200), run(10, 100, 200));
        later.insert(1, anon(20, 90, Prot::RW));
        assert!(same_layout(&a, &later));
        later.remove(3);
        assert!(same_layout(&a, &later));
        assert!(!same_layout(&a, &run(14, 120, 230)));
        // A program that is linked to its address, and the same of its libraries.
        assert!(!same_layout(&a, &run(10, 100, 230)));
        assert!(!same_layout(&a, &run(10, 120, 230)));
        assert!(!same_layout(&a, &[]));
        assert!(!same_layout(&[], &[]));
    }
}
