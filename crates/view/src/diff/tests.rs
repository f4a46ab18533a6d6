use super::*;
use crate::show::{Header, Missing};
use serde_json::Value;
use vmatlas_event::{Addr, Name, PageCounts, PageSize, Prot};
use vmatlas_model::kind::{Evidence, classify};

fn row(from: u64, to: u64, prot: Prot, name: &str) -> VmaRow {
    let row = VmaRow::anonymous(AddrRange::new(Addr(from << 12), Addr(to << 12)).unwrap(), prot);
    VmaRow {
        name: (!name.is_empty()).then(|| Name::new(name.as_bytes())),
        inode: u64::from(name.starts_with('/')),
        ..row
    }
}

/// A map with so many pages resident in each VMA.
fn view(rows: &[(VmaRow, u64)]) -> MapView {
    let vmas: Vec<VmaRow> = rows.iter().map(|(row, _)| row.clone()).collect();
    let verdicts = classify(&vmas, &Evidence::none(PageSize::new(4096).unwrap()));
    let row = |((vma, pages), verdict): (&(VmaRow, u64), _)| {
        let pages = Some(PageCounts { resident: Bytes(pages << 12), ..PageCounts::default() });
        ShowRow { pages, ..ShowRow::new(vma.clone(), verdict) }
    };
    MapView {
        header: Header { name: b"x\x1b[31m".to_vec(), ..Header::default() },
        rows: rows.iter().zip(verdicts).map(row).collect(),
        pages_why: None,
        frames_why: Some(Missing::NotRead),
        has_smaps: false,
        swap_is_empty: true,
        nothing_is_locked: true,
        cost: Value::Null,
    }
}

fn before() -> MapView {
    view(&[
        (row(16, 20, Prot::EXEC, "/bin/x"), 4),
        (row(30, 40, Prot::RW, "[heap]"), 2),
        (row(100, 110, Prot::RW, ""), 1),
        (row(200, 210, Prot::RW, ""), 0),
        (row(900, 902, Prot::READ, "[vdso]"), 1),
    ])
}

fn after() -> MapView {
    view(&[
        (row(16, 20, Prot::EXEC, "/bin/x"), 3),
        (row(30, 45, Prot::RW, "[heap]"), 9),
        (row(100, 104, Prot::READ, ""), 1),
        (row(104, 110, Prot::RW, ""), 0),
        (row(300, 304, Prot::RW, "/tmp/a\nb"), 2),
        (row(900, 902, Prot::READ, "[vdso]"), 1),
    ])
}

fn text(found: &Comparison<'_>, lang: Lang) -> String {
    let mut out = String::new();
    found.write_text(&mut out, &Options { lang, ..Options::default() }).unwrap();
    out
}

fn json(found: &Comparison<'_>) -> Value {
    let mut out = String::new();
    found.write_json(&mut out).unwrap();
    serde_json::from_str(&out).unwrap()
}

/// Checks that every sort of difference is told, its pages beside it, and that the totals come last and add up.
#[test]
fn one_address_space_is_compared() {
    let (a, b) = (before(), after());
    let found = Comparison::new(&a, &b, None, None, &Filter::default());
    assert_eq!(found.by(), By::Address);
    let told: Vec<(What, Bytes)> = found.entries.iter().map(|entry| (entry.what, entry.size)).collect();
    assert_eq!(
        told,
        [
            (What::Grew, Bytes(5 << 12)),
            (What::Altered, Bytes(4 << 12)),
            (What::Removed, Bytes(10 << 12)),
            (What::Added, Bytes(4 << 12)),
        ]
    );
    let pages: Vec<i128> = found.resident.iter().map(|r| difference(r.a, r.b) >> 12).collect();
    assert_eq!(pages, [7, -1]);
    let out = text(&found, Lang::En);
    assert!(!out.contains('\x1b') && out.contains("rw-p → r--p") && out.contains("\\x0a"), "{out}");
    let last = out.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(last, "total 144 KiB 140 KiB -4 KiB 32 KiB 64 KiB +32 KiB");
    assert!(text(&found, Lang::Ja).contains("追加"));
    let value = json(&found);
    assert_eq!((&value["schema"], &value["by"]), (&"vmatlas/diff/1".into(), &"address".into()));
    assert_eq!(value["changes"][0]["a"]["end"], "0x28000");
    assert_eq!(value["changes"][2]["b"], Value::Null);
    assert_eq!(value["counts"]["removed"]["size"], 10 << 12);
    assert_eq!(value["total"]["resident_change"], 8 << 12);
    assert_eq!(value["total"]["size_change"], -(1 << 12));
    assert_eq!(value["totals"][0]["kind"], "heap");
}

/// Checks that a map is equal to itself, and that filters leave out what was not asked for.
#[test]
fn filters_choose() {
    let (a, b) = (before(), after());
    let same = Comparison::new(&a, &a, None, None, &Filter::default());
    assert!(!same.is_different() && text(&same, Lang::En).contains("no difference in the maps"));
    let of = |kinds: Vec<Kind>, min: u64| {
        let filter = Filter { kinds, min_size: Some(Bytes(min << 12)) };
        Comparison::new(&a, &b, None, None, &filter).entries.len()
    };
    assert_eq!((of(vec![], 5), of(vec![Kind::Heap], 1), of(vec![Kind::Heap], 6)), (2, 1, 0));
}

/// Checks that runs at other addresses are compared without them, and that pages which nobody read are no zeros.
#[test]
fn runs_and_missing_pages() {
    let moved = |view: MapView| {
        let mut view = view;
        for row in &mut view.rows {
            let range = row.vma.range;
            let by = 0x7_0000_0000;
            row.vma.range = AddrRange::new(Addr(range.start().0 + by), Addr(range.end().0 + by)).unwrap();
        }
        view
    };
    let a = before();
    let mut b = moved(before());
    let found = Comparison::new(&a, &b, None, None, &Filter::default());
    assert_eq!((found.by(), found.is_different()), (By::File, false));
    assert!(Comparison::new(&a, &b, Some(By::Address), None, &Filter::default()).is_different());
    b.pages_why = Some("not-recorded");
    b.rows.iter_mut().for_each(|row| row.pages = None);
    let found = Comparison::new(&a, &b, None, None, &Filter::default());
    let value = json(&found);
    let total = &value["total"];
    assert_eq!((&total["resident_b"], &total["resident_b_why"]), (&Value::Null, &"not-recorded".into()));
    assert_eq!(
        (&total["resident_change"], &total["resident_change_why"]),
        (&Value::Null, &"not-recorded".into())
    );
    assert!(!text(&found, Lang::En).contains("RESIDENT"));
}
