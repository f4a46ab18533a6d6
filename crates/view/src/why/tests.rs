//! What a person is told of an address.

use super::*;
use crate::run::LineOptions;
use crate::{Lang, Style};
use vmatlas_event::{
    AddrRange, Bytes, MapFlags, MmId, MonoNs, Name, Outcome, PageSize, Pid, Prot, ProtArg, Source, TaskId,
    Tid,
};
use vmatlas_model::kind::{Evidence, classify};
use vmatlas_model::timeline::What;
use vmatlas_model::{Change, Origin};

fn options(lang: Lang) -> LineOptions {
    LineOptions {
        lang,
        style: Style::default(),
        start: MonoNs(0),
        columns: None,
        errno_name: |_| None,
        signal_name: |_| String::new(),
    }
}

fn range(start: u64, end: u64) -> AddrRange {
    AddrRange::new(Addr(start << 12), Addr(end << 12)).unwrap()
}

fn event(seq: u64, op: Op, result: u64) -> Event {
    Event {
        seq: Seq(seq),
        entered: MonoNs(seq * 1_000_000),
        left: MonoNs(seq * 1_000_000),
        task: TaskId { pid: Pid(4242), tid: Tid(4242), started: None },
        mm: MmId(1),
        op,
        outcome: Outcome::Done(result),
        stack: None,
        source: Source::Ptrace,
    }
}

fn mmap(seq: u64, start: u64, pages: u64) -> Event {
    let (addr, prot, flags) = (Addr(0), ProtArg(3), MapFlags(0x22));
    event(seq, Op::Mmap { addr, len: Bytes(pages << 12), prot, flags, fd: -1, offset: 0 }, start << 12)
}

fn view(row: Option<VmaRow>, story: Story) -> WhyView {
    let row = row.map(|row| {
        let rows = [row.clone()];
        let verdict = classify(&rows, &Evidence::none(PageSize::FOUR_KIB)).remove(0);
        ShowRow::new(row, verdict)
    });
    let below = VmaRow { name: Some(Name::new(b"/x\x1b[31m")), ..VmaRow::anonymous(range(1, 2), Prot::RW) };
    let header = Header { pid: Some(Pid(4242)), name: b"tester".to_vec(), ..Header::default() };
    WhyView { header, addr: Addr(0x1_1000), row, around: (Some(below), None), story }
}

fn say(view: &WhyView, lang: Lang) -> String {
    let mut out = String::new();
    view.write_text(&mut out, &options(lang)).unwrap();
    assert!(!out.contains('\x1b'), "{out}");
    out
}

/// Checks that who mapped an address comes first, as `log` says it, then what changed it, and the neighbours apart.
#[test]
fn who_mapped_it_comes_first() {
    let row = VmaRow::anonymous(range(0x10, 0x14), Prot::READ);
    let before = VmaRow::anonymous(range(0x10, 0x14), Prot::RW);
    let change = |before: &[VmaRow], after: &[VmaRow]| Change {
        before: before.iter().cloned().collect(),
        after: after.iter().cloned().collect(),
        ..Change::default()
    };
    let protect = Op::Mprotect { addr: Addr(0x1_0000), len: Bytes(0x4000), prot: ProtArg(1), pkey: None };
    let chapter = |event: Event, what, change| Chapter {
        event,
        mm: MmId(1),
        addr: Addr(0x1_1000),
        what,
        change,
        confirmed: true,
        before: None,
        after: None,
    };
    let lower = Origin { range: range(0x10, 0x12), seq: Seq(7) };
    let upper = Origin { range: range(0x12, 0x14), seq: Seq(8) };
    let history = History {
        row: Some(row.clone()),
        origin: Some(Seq(7)),
        neighbours: vec![lower, upper],
        chapters: vec![
            chapter(
                mmap(7, 0x10, 2),
                What::Mapped,
                change(&[], &[VmaRow::anonymous(range(0x10, 0x12), Prot::RW)]),
            ),
            chapter(event(1042, protect, 0), What::Altered, change(&[before], std::slice::from_ref(&row))),
        ],
        first_fault: None,
        faults: 0,
        left_out: 0,
        is_complete: true,
    };
    let events = [(Seq(7), mmap(7, 0x10, 2)), (Seq(8), mmap(8, 0x12, 2))].into_iter().collect();
    let story = Story::Recorded {
        history: Box::new(history),
        events,
        looks: BTreeMap::new(),
        stacks: BTreeMap::new(),
        faults: true,
    };
    let view = view(Some(row), story);
    let text = say(&view, Lang::En);
    let lines: Vec<&str> = text.lines().collect();
    let at = |wanted: &str| lines.iter().position(|line| line.contains(wanted)).unwrap();
    assert!(lines[at("Mapped by") + 1].starts_with("  #7      0.007000    4242  mmap(NULL, 8 KiB"), "{text}");
    assert!(lines[at("Mapped by") + 1].contains("+8 KiB anonymous rw- 0x10000"), "{text}");
    assert!(
        lines[at("Changes since") + 1].starts_with("  #1042   1.042000    4242  mprotect(0x10000"),
        "{text}"
    );
    let parts = at("2 parts");
    assert!(lines[parts + 2].starts_with('→') && lines[parts + 3].contains("#8"), "{text}");
    assert!(say(&view, Lang::Ja).contains("その後の変化"));
    let json = view.json(|_| None);
    assert_eq!((&json["origin"]["seq"], &json["origin"]["what"]), (&7.into(), &"mapped".into()));
    assert_eq!(
        (&json["history"][1]["what"], &json["neighbours"][1]["event"]),
        (&"altered".into(), &8.into())
    );
}

/// Checks that what nobody saw is told as that, with the command that would tell, and never as a guess.
#[test]
fn what_nobody_saw_is_told_as_that() {
    let row = VmaRow::anonymous(range(0x10, 0x14), Prot::RW);
    let view_of = |row, lives| view(row, Story::NotSeen { lives });
    for lang in [Lang::En, Lang::Ja] {
        let text = say(&view_of(Some(row.clone()), true), lang);
        assert!(text.contains("vmatlas run -o REC") && text.contains("vmatlas attach 4242 -o REC"), "{text}");
        let text = say(&view_of(Some(row.clone()), false), lang);
        assert!(!text.contains("vmatlas attach"), "{text}");
        assert!(say(&view_of(None, false), lang).contains("0x1000-0x2000"));
    }
    let json = view_of(Some(row), true).json(|_| None);
    assert_eq!((&json["origin"], &json["origin_why"]), (&serde_json::Value::Null, &"not-recorded".into()));
}
