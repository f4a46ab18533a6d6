//! Lines and sums of made-up faults.

use super::*;
use vmatlas_event::{
    AddrRange, Bytes, MmId, MonoNs, Op, Outcome, Pid, Prot, Seq, Source, TaskId, Tid, VmaRow,
};

fn options(lang: Lang) -> LineOptions {
    LineOptions {
        lang,
        style: Style::default(),
        start: MonoNs(0),
        columns: Some(80),
        errno_name: |_| None,
        signal_name: |n| n.to_string(),
    }
}

fn fault(ip: Option<Addr>, major: bool) -> Event {
    Event {
        seq: Seq(9),
        entered: MonoNs(1_234_000),
        left: MonoNs(1_234_000),
        task: TaskId { pid: Pid(4242), tid: Tid(4242), started: None },
        mm: MmId(1),
        op: Op::Fault { addr: Addr(0x1_1000), ip, major },
        outcome: Outcome::Done(0),
        stack: None,
        source: Source::Perf,
    }
}

/// Checks a fault's line: address, kind, instruction, VMA and the event that made the page; the kernel has no instruction.
#[test]
fn a_fault_is_a_line() {
    let row = VmaRow::anonymous(AddrRange::new(Addr(0x1_0000), Addr(0x2_0000)).unwrap(), Prot::RW);
    let place = FaultPlace { row: Some(&row), origin: Some(Seq(7)) };
    let mut line = String::new();
    push_line(&mut line, &fault(Some(Addr(0x42)), false), &place, &options(Lang::En));
    assert_eq!(line, "   0.001234    4242  page fault 0x11000 (minor) by 0x42  anonymous #7\n");
    let mut line = String::new();
    push_line(&mut line, &fault(None, true), &FaultPlace::default(), &options(Lang::Ja));
    assert!(line.contains("(メジャー) カーネル") && line.contains("不明"), "{line}");
    let value = event_json(&fault(None, true), &place, |_| None);
    assert_eq!(
        (&value["call"], &value["args"]["ip"], &value["args"]["ip_why"]),
        (&"fault".into(), &Value::Null, &"kernel".into())
    );
    assert_eq!((&value["vma"]["start"], &value["origin"]), (&"0x10000".into(), &7.into()));
}

/// Checks that the sums of more events than have room are in a line of others, that what is unknown is told as that,
/// that what is no call has one line, and that remainders are shown only where there is one.
#[test]
fn sums_stay_short() {
    let call =
        |n: u64| TouchedBy::Call { op: Box::new(Op::Brk { addr: Addr(n) }), outcome: Outcome::Done(n) };
    let touched = |n: u64| Touched {
        origin: Some(Seq(n)),
        by: if n < 5 { TouchedBy::Exec } else { call(n) },
        asked: Some(Bytes(4096)),
        minor: 1,
        major: 0,
        first: MonoNs(0),
    };
    let counts =
        FaultCounts { minor: 20, produced: 22, lost: 2, handled: Some(22), ..FaultCounts::default() };
    let report = FaultReport { counts, touched: (0..20).map(touched).collect() };
    for lang in [Lang::En, Lang::Ja] {
        let mut text = String::new();
        report.write_text(&mut text, &options(lang)).unwrap();
        let others = if lang == Lang::En { "6 others" } else { "その他 6 件" };
        assert_eq!(text.lines().count(), 1 + 1 + SHOWN + 1 + 1 + 2, "{text}");
        assert!(text.contains(others) && text.contains(texts::UNKNOWN.get(lang)), "{text}");
    }
    let json = report.json();
    assert_eq!((&json["accounted"], &json["accounted_why"]), (&Value::Null, &"unknown".into()));
    assert_eq!((&json["lost"], json["by_origin"].as_array().map(Vec::len)), (&2.into(), Some(20)));
}
