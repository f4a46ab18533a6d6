//! Maps that no honest program has: millions of rows, rows out of order, names that pose as others.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};
use vmatlas_event::{AddrRange, Name, Prot, Sharing};

/// Checks that a map of a million rows takes no more than linear time, in the shapes that make rules look around.
#[test]
fn a_million_rows_are_no_problem() {
    const ROWS: u64 = 250_000;
    /// The protection and name of row `i`.
    type Shape = fn(u64) -> (&'static str, &'static [u8]);
    let shapes: [Shape; 4] = [
        |i| (["rw-", "---"][i as usize % 2], b""),
        |i| (["rwx", "---", "---"][i as usize % 3], b""),
        |i| if i % 2 == 0 { ("rw-", b"/jvm/classes.jsa") } else { ("---", b"") },
        |_| ("rw-", b""),
    ];
    for shape in shapes {
        let mut rows: Vec<VmaRow> = (0..ROWS)
            .map(|i| {
                let (prot, name) = shape(i);
                row(0x10_0000_0000 + i * 4096, 4096, prot, u64::from(!name.is_empty()), name)
            })
            .collect();
        rows.push(row(0x7f00_0000_0000, 4096, "r-x", 2, b"/jvm/libjvm.so"));
        rows.push(row(0x7f00_0000_1000, 4096, "r-x", 3, b"/usr/bin/node"));
        let threads = (0..ROWS).map(|i| (Tid(i as i32), Some(Addr(0x10_0000_0000 + i * 4096)))).collect();
        let start = Instant::now();
        let verdicts = classify(&rows, &Evidence { threads, ..Evidence::none(PageSize::FOUR_KIB) });
        assert_eq!(verdicts.len(), rows.len());
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

fn row(start: u64, size: u64, prot: &str, inode: u64, name: &[u8]) -> VmaRow {
    let p = prot.as_bytes();
    VmaRow {
        range: AddrRange::new(Addr(start), Addr(start.saturating_add(size))).unwrap(),
        prot: Prot::new(p[0] == b'r', p[1] == b'w', p[2] == b'x'),
        sharing: Sharing::Private,
        offset: 0,
        dev: Dev::default(),
        inode,
        name: (!name.is_empty()).then(|| Name::new(name)),
    }
}

/// Names that rules look at, and some that only look like them.
const NAMES: [&[u8]; 18] = [
    b"",
    b"[heap]",
    b"[stack]",
    b"[",
    b"[]",
    b"[anon:",
    b"[anon:v8]",
    b"[anon_shmem:x]",
    b"/dev/zero (deleted)",
    b"/SYSV",
    b"/SYSV0000000",
    b"/memfd:java_heap (deleted)",
    b"/x/libjvm.so",
    b"/x/node",
    b"/x/classes.jsa",
    b"/x/python3",
    b"/x/libmimalloc.so (deleted)",
    b"\xff\n\x1b[",
];

proptest! {
    /// Checks that rows of any kind, in any order, overlapping and empty, get one verdict each, and that a row with a
    /// file is never called anonymous memory that the kernel itself would label.
    #[test]
    fn any_rows_get_verdicts(
        parts in proptest::collection::vec(
            (0u8..8, any::<u16>(), 0u64..8, 0u8..16, 0usize..NAMES.len(), 0u64..4), 0..40),
        pointers in proptest::collection::vec(any::<u64>(), 0..4),
        brk in any::<Option<u64>>(),
    ) {
        let rows: Vec<VmaRow> = parts
            .into_iter()
            .map(|(base, page, size, bits, name, inode)| {
                let bases = [0, 0xf000_0000, 0xc0_0000_0000, 2 << 40, 0x7f00_0000_0000, 1 << 46, u64::MAX - 0x1000_0000, 1 << 63];
                let sizes = [0, 4096, 64 << 10, 1 << 20, 64 << 20, 3 << 30, 1 << 63, u64::MAX];
                let start = bases[usize::from(base)] + u64::from(page) * 4096;
                let prot = [
                    if bits & 1 != 0 { "r" } else { "-" },
                    if bits & 2 != 0 { "w" } else { "-" },
                    if bits & 4 != 0 { "x" } else { "-" },
                ].concat();
                let mut row = row(start, sizes[size as usize], &prot, inode, NAMES[name]);
                if bits & 8 != 0 {
                    row.sharing = Sharing::Shared;
                }
                row
            })
            .collect();
        let threads = pointers.into_iter().map(|p| (Tid(1), Some(Addr(p)))).collect();
        let evidence = Evidence { threads, start_brk: brk.map(Addr), ..Evidence::none(PageSize::FOUR_KIB) };
        let verdicts = classify(&rows, &evidence);
        prop_assert_eq!(verdicts.len(), rows.len());
        for (row, verdict) in rows.iter().zip(&verdicts) {
            if row.has_file() {
                prop_assert!(!matches!(verdict.kind, Kind::Heap | Kind::MainStack | Kind::Kernel), "{:?}", row);
            }
            if row.special().is_some() {
                prop_assert!(verdict.confidence == Confidence::Named, "{:?}", row);
            }
        }
    }
}
