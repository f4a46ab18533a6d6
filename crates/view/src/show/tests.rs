use super::*;
use crate::style::Style;
use vmatlas_event::{AddrRange, Share, Sharing};
use vmatlas_model::kind::{Evidence, classify};

fn range(from: u64, to: u64) -> AddrRange {
    AddrRange::new(Addr(from << 12), Addr(to << 12)).unwrap()
}

/// Anonymous memory, and a shared object.
fn view() -> MapView {
    let shared = VmaRow { inode: 7, sharing: Sharing::Shared, ..VmaRow::anonymous(range(8, 16), Prot::RW) };
    let rows = [VmaRow::anonymous(range(1, 5), Prot::RW), shared];
    let page = vmatlas_event::PageSize::new(4096).unwrap();
    let verdicts = classify(&rows, &Evidence::none(page));
    let mut rows: Vec<ShowRow> = rows.into_iter().zip(verdicts).map(|(v, k)| ShowRow::new(v, k)).collect();
    rows[0].backing = Backing::Anonymous;
    rows[0].pages =
        Some(PageCounts { resident: Bytes(8192), anonymous: Bytes(8192), ..PageCounts::default() });
    rows[1].backing = Backing::Shmem;
    rows[1].pages = Some(PageCounts { resident: Bytes(4096), ..PageCounts::default() });
    MapView {
        header: Header::default(),
        rows,
        pages_why: None,
        frames_why: Some(Missing::Hidden),
        has_smaps: false,
        swap_is_empty: false,
        nothing_is_locked: true,
        cost: Value::Null,
    }
}

fn text(view: &MapView, list: &[Column], summary: bool) -> String {
    let show = Columns::These(list.to_vec());
    let mut out = String::new();
    view.write_text(&mut out, &Options { show, summary, style: Style::default(), ..Options::default() })
        .unwrap();
    out
}

/// Checks that what is hidden or unknown is said as such, in rows and sums, and that what follows from others is known.
#[test]
fn what_is_missing_says_why() {
    let mut view = view();
    view.rows[0].mapped = Some(Mapped { private: Bytes(8192), shared: Bytes(0) });
    view.rows[1].mapped = Some(Mapped { private: Bytes(0), shared: Bytes(4096) });
    let amount = |column: Column, row: usize| column.amount(&view.rows[row], &view);
    // Nobody else maps it, so its share is the whole.
    assert_eq!(amount(Column::Pss, 0), Ok(Bytes(8192)));
    assert_eq!(amount(Column::Pss, 1), Err(Missing::Hidden));
    assert_eq!(amount(Column::Swapped, 0), Ok(Bytes(0)));
    assert_eq!(amount(Column::Swapped, 1), Err(Missing::Unknown));
    assert_eq!(amount(Column::Shmem, 1), Ok(Bytes(4096)));
    assert_eq!(amount(Column::File, 1), Ok(Bytes(0)));
    assert_eq!(amount(Column::Locked, 0), Ok(Bytes(0)));
    assert_eq!(amount(Column::Dirty, 0), Err(Missing::Unknown));
    let out = text(&view, &[Column::Pss, Column::Swapped, Column::Private], false);
    assert!(out.contains("hidden") && out.contains('?'), "{out}");
    assert!(out.lines().any(|line| line.starts_with("total") && line.contains("hidden")), "{out}");
    assert!(out.contains("CAP_SYS_ADMIN") && out.contains("--smaps"), "{out}");
    let mut json = String::new();
    let show = Columns::These(vec![Column::Pss]);
    view.write_json(&mut json, &Filter::default(), Sort::Address, &show, false).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["vmas"][0]["pss"], &json["vmas"][1]["pss"]), (&8192.into(), &Value::Null));
    assert_eq!(json["vmas"][1]["pss_why"], "hidden");
    assert_eq!(json["vmas"][1]["swapped_why"], "unknown");
    assert_eq!(
        (json["vmas"][0]["swapped"].as_u64(), json["vmas"][1]["shmem"].as_u64()),
        (Some(0), Some(4096))
    );
}

/// Checks that a figure which smaps tells otherwise is marked, and that smaps tells what we do not know.
#[test]
fn smaps_stands_beside() {
    let mut view = view();
    view.has_smaps = true;
    view.rows[0].frames = Some(FrameCounts { pss: Share::of_page(8192 + 600, 1), ..FrameCounts::default() });
    let sizes = |list: &[(&'static str, u64)]| {
        let sizes = list.iter().map(|(key, size)| ((*key).into(), Bytes(*size))).collect();
        Some(Box::new(Smaps { sizes, flags: vec![*b"rd", *b"wr"], ..Smaps::default() }))
    };
    view.rows[0].smaps = sizes(&[("Rss", 8192), ("Pss", 8192), ("Private_Dirty", 4096), ("Shared_Dirty", 0)]);
    view.rows[1].smaps = sizes(&[("Rss", 8192), ("Pss", 8192), ("Swap", 4096)]);
    // To the KiB, which is all that smaps has.
    assert!(!Column::Pss.differs(&view.rows[0], &view));
    assert!(Column::Resident.differs(&view.rows[1], &view));
    assert_eq!(Column::Swapped.amount(&view.rows[1], &view), Ok(Bytes(4096)));
    assert_eq!(Column::Dirty.amount(&view.rows[0], &view), Ok(Bytes(4096)));
    assert!(Column::Swapped.is_from_smaps(&view.rows[1], &view));
    assert!(!Column::Swapped.is_from_smaps(&view.rows[0], &view));
    let out = text(&view, &[Column::Resident, Column::Flags], false);
    assert!(out.contains("SMAPS RSS") && out.contains("≠ 8 KiB") && out.contains("rd wr"), "{out}");
}

/// Checks that rows are ordered by any amount, the unknown ones last.
#[test]
fn any_amount_orders() {
    let view = view();
    let first = |sort| view.selected(&Filter::default(), sort)[0].vma.range.start();
    assert_eq!(first(Sort::By(Column::Size)), Addr(8 << 12));
    assert_eq!(first(Sort::By(Column::Anonymous)), Addr(1 << 12));
    assert_eq!(first(Sort::By(Column::Swapped)), Addr(1 << 12));
}

/// Checks that names of columns lead back to them, and that amounts are told from texts.
#[test]
fn names_lead_back() {
    for column in Column::ALL {
        assert_eq!(Column::from_id(column.id()), Some(*column));
    }
    assert_eq!(Column::from_id("uss"), Some(Column::Private));
    assert!(Column::Unevictable.is_amount() && !Column::Prot.is_amount() && !Column::Address.is_amount());
}

/// Checks that the header warns when most VMAs are used up, and that the sheet counts what is left.
#[test]
fn the_budget_is_counted() {
    let mut view = view();
    view.header.max_map_count = Some(2);
    assert!(text(&view, &[], true).contains("2 of 2 VMAs (100 %)"));
    let mut out = String::new();
    view.write_map_count(&mut out, &Options::default()).unwrap();
    assert!(out.contains("100.0 % used, 0 left") && out.contains("no neighbours look alike"), "{out}");
    view.rows[1].vma = VmaRow::anonymous(range(5, 9), Prot::RW);
    let budget = MapCount::of(&view);
    assert_eq!((budget.apart[0].boundaries, budget.apart[0].longest), (1, (2, Addr(0x1000))));
    assert_eq!(budget.to_json()["look_alikes"][0]["why"], "unread");
}
