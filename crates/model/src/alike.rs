//! Neighbours that look alike and yet are two VMAs: each costs one of vm.max_map_count.
//!
//! The kernel merges neighbours of the same file, contiguous offsets, flags, policy and name (`mm/vma.c:
//! can_vma_merge_*()`), unless their pages' histories differ: an anon_vma of their own each (faults, forks), anonymous
//! offsets that no reader is shown (mremap), two open files of one inode.

use std::ops::Range;
use vmatlas_event::VmaRow;

/// A VMA with what may be known of it beside its row.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour<'a> {
    /// Its line of the map.
    pub row: &'a VmaRow,
    /// VmFlags of smaps, two letters each; `None` where they were not read.
    pub flags: Option<&'a [[u8; 2]]>,
    /// Its memory policy (numa_maps); `None` where it was not read.
    pub policy: Option<&'a [u8]>,
}

/// Why two VMAs that look alike are not one, as far as can be seen: the first that applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Apart {
    /// The second does not begin in the file where the first ends.
    Offset,
    /// The program named them differently (PR_SET_VMA_ANON_NAME).
    Name,
    /// Flags that one of them alone has.
    Flags(Vec<[u8; 2]>),
    /// They have different memory policies.
    Policy,
    /// All that can be read is equal: the reason is one that no reader can see.
    Unseen,
    /// Flags or policy were not read, so it is one of these, or one that no reader can see.
    Unread,
}

/// Neighbours in a row that are apart for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlikeRun {
    /// Which VMAs, by their places in the list; always two or more.
    pub vmas: Range<usize>,
    /// Why.
    pub why: Apart,
}

impl AlikeRun {
    /// How many boundaries lie in it.
    pub fn boundaries(&self) -> usize {
        self.vmas.len().saturating_sub(1)
    }
}

/// Finds the neighbours that look alike, in a list in address order.
pub fn alike(vmas: &[Neighbour<'_>]) -> Vec<AlikeRun> {
    let mut runs: Vec<AlikeRun> = Vec::new();
    for (index, pair) in vmas.windows(2).enumerate() {
        let [a, b] = pair else { continue };
        let Some(why) = why_apart(a, b) else { continue };
        match runs.last_mut() {
            Some(run) if run.vmas.end == index + 1 && run.why == why => run.vmas.end += 1,
            _ => runs.push(AlikeRun { vmas: index..index + 2, why }),
        }
    }
    runs
}

/// `None` where they do not meet, or their rows show why they are two.
fn why_apart(a: &Neighbour<'_>, b: &Neighbour<'_>) -> Option<Apart> {
    let is_the_kernels = |n: &Neighbour<'_>| n.row.special().is_some_and(|label| label.starts_with(b"v"));
    if a.row.range.end() != b.row.range.start() || !a.row.same_attributes(b.row) {
        return None;
    }
    if is_the_kernels(a) || is_the_kernels(b) {
        return None;
    }
    if a.row.has_file() && a.row.offset.wrapping_add(a.row.range.len().0) != b.row.offset {
        return Some(Apart::Offset);
    }
    // Labels such as [heap] are found by address and keep nothing apart.
    let name = |n: &Neighbour<'_>| -> Vec<u8> {
        let bytes = n.row.name_bytes();
        if bytes.starts_with(b"[anon") { bytes.to_vec() } else { Vec::new() }
    };
    if name(a) != name(b) {
        return Some(Apart::Name);
    }
    let (Some(a_flags), Some(b_flags)) = (a.flags, b.flags) else { return Some(Apart::Unread) };
    // Soft-dirty does not keep VMAs apart (VM_SOFTDIRTY).
    let only = |x: &[[u8; 2]], y: &[[u8; 2]]| -> Vec<[u8; 2]> {
        x.iter().copied().filter(|flag| !y.contains(flag) && flag != b"sd").collect()
    };
    let mut different = [only(a_flags, b_flags), only(b_flags, a_flags)].concat();
    if !different.is_empty() {
        different.sort_unstable();
        return Some(Apart::Flags(different));
    }
    match (a.policy, b.policy) {
        (Some(x), Some(y)) if x == y => Some(Apart::Unseen),
        (Some(_), Some(_)) => Some(Apart::Policy),
        _ => Some(Apart::Unread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::anon;
    use vmatlas_event::{Name, Prot};

    fn neighbours(rows: &[VmaRow]) -> Vec<Neighbour<'_>> {
        rows.iter().map(|row| Neighbour { row, flags: None, policy: None }).collect()
    }

    /// Checks that a hole, another protection and another file are reasons that show, and are no look-alikes.
    #[test]
    fn what_shows_is_no_look_alike() {
        let file = VmaRow { inode: 7, ..anon(6, 8, Prot::READ) };
        let rows = [anon(1, 2, Prot::RW), anon(3, 4, Prot::RW), anon(4, 6, Prot::READ), file];
        assert_eq!(alike(&neighbours(&rows)), []);
        assert_eq!(alike(&[]), []);
    }

    /// Checks that runs of one reason are one run, and that each reason is found.
    #[test]
    fn runs_and_reasons() {
        let file = |from, to, offset| VmaRow { inode: 7, offset, ..anon(from, to, Prot::READ) };
        let rows = [file(1, 2, 0), file(2, 3, 0), file(3, 4, 0), file(4, 5, 0x1000)];
        let runs = alike(&neighbours(&rows));
        assert_eq!(runs[0], AlikeRun { vmas: 0..3, why: Apart::Offset });
        assert_eq!(runs[1], AlikeRun { vmas: 2..4, why: Apart::Unread });
        assert_eq!(runs[0].boundaries() + runs[1].boundaries(), 3);

        let mut rows = [anon(1, 2, Prot::RW), anon(2, 3, Prot::RW), anon(3, 4, Prot::RW)];
        rows[0].name = Some(Name::new(b"[anon:a]"));
        // The kernel's own label is none.
        rows[2].name = Some(Name::new(b"[heap]"));
        let mut list = neighbours(&rows);
        let (one, two): (&[[u8; 2]], &[[u8; 2]]) = (&[*b"rd", *b"sd"], &[*b"rd", *b"dd"]);
        for (neighbour, flags) in list.iter_mut().zip([one, one, two]) {
            neighbour.flags = Some(flags);
        }
        let whys: Vec<Apart> = alike(&list).into_iter().map(|run| run.why).collect();
        assert_eq!(whys, [Apart::Name, Apart::Flags(vec![*b"dd"])]);
    }

    /// Checks that only what was read whole is called unseen.
    #[test]
    fn unseen_needs_all_that_can_be_read() {
        let rows = [anon(1, 2, Prot::RW), anon(2, 3, Prot::RW)];
        let why = |policies: [Option<&[u8]>; 2]| {
            let list: Vec<Neighbour<'_>> = rows
                .iter()
                .zip(policies)
                .map(|(row, policy)| Neighbour { row, flags: Some(&[]), policy })
                .collect();
            alike(&list)[0].why.clone()
        };
        assert_eq!(why([None, Some(b"default")]), Apart::Unread);
        assert_eq!(why([Some(b"default"), Some(b"default")]), Apart::Unseen);
        assert_eq!(why([Some(b"bind:0"), Some(b"default")]), Apart::Policy);
    }
}
