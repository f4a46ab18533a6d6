//! Looks and their pages are read again as they were written.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::{create, small};
use std::collections::BTreeMap;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Reader};

fn range(start: u64) -> AddrRange {
    AddrRange::new(Addr(start), Addr(start + 0x1000)).unwrap()
}

fn page_row(start: u64, resident: u64) -> PageRow {
    let pages = PageCounts { resident: Bytes(resident), zero: Bytes(7), ..PageCounts::default() };
    PageRow { range: range(start), backing: Backing::Shmem, pages: (resident != 1).then_some(pages) }
}

fn look(seq: u64, extent: Extent, rows: u64) -> Look {
    Look {
        first: Seq(seq),
        seq: Seq(seq),
        mm: MmId(1),
        at: MonoNs(seq * 1_000),
        took: 5,
        extent,
        method: PageSource::Smaps,
        rows,
        vmas: 3,
        size: Bytes(u64::MAX),
        resident: seq.is_multiple_of(2).then_some(Bytes(seq)),
        anonymous: None,
        swapped: Some(Bytes(0)),
        swap_is_empty: seq.is_multiple_of(3),
        late: seq,
        hold: 9,
        cpu: seq * 10,
    }
}

/// Checks that looks over several segments and a tail come again bit by bit, that the pages at each are those of the last
/// row for each VMA, and that a look whose events were torn off is none.
#[test]
fn looks_and_pages_come_again() {
    let folder = tempfile::tempdir().unwrap();
    for is_sealed in [true, false] {
        let path = folder.path().join(is_sealed.to_string());
        let mut writer = create(&path, Options { rotate_at: 60_000, ..Options::default() });
        let (mut all, mut pages) = (Vec::new(), BTreeMap::new());
        let mut wanted = Vec::new();
        for event in small(2000) {
            writer.event(&event);
            let seq = event.seq.0;
            if seq.is_multiple_of(10) {
                let extent = if seq.is_multiple_of(500) { Extent::Whole } else { Extent::Changed };
                let rows: Vec<PageRow> = match extent {
                    Extent::Whole => (1..4).map(|n| page_row(n << 20, seq + 2)).collect(),
                    Extent::Changed => (0..seq % 3).map(|n| page_row((n + 1) << 20, seq + 1)).collect(),
                };
                pages.extend(rows.iter().map(|row| (row.range.start(), *row)));
                let look = look(seq, extent, rows.len() as u64);
                writer.look(&look, &rows);
                all.push(look);
                wanted.push(pages.clone());
            }
        }
        match is_sealed {
            true => writer.finish(End::default()).unwrap(),
            false => drop(writer),
        }
        assert!(path.join("seg-000002").exists(), "it was rotated");
        let reader = Reader::open(&path).unwrap();
        let mut looks = Vec::new();
        reader.looks(&mut looks).unwrap();
        assert!(looks == all);
        for (index, wanted) in wanted.iter().enumerate() {
            let mut found = BTreeMap::new();
            reader
                .pages_at(&looks, index, &mut |row| {
                    found.insert(row.range.start(), row);
                })
                .unwrap();
            assert!(found == *wanted, "look {index}");
        }
        // One whose event is not there.
        looks.push(look(1_000_000, Extent::Changed, 1));
        assert!(reader.pages_at(&looks, looks.len() - 1, &mut |_| {}).is_err());
        assert!(reader.pages_at(&looks, looks.len(), &mut |_| {}).is_err());
        assert_eq!(reader.check().unwrap().damage, []);
    }
}
