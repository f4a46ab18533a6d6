//! The statements of this experiment.

use super::predict::{self, SUCCESS};
use super::texts;
use super::{Made, mapped};
use crate::error::Ending;
use crate::facts::{Expected, Fact, Measured, Value};
use crate::report::Report;
use crate::say::Say;
use crate::state::State;
use crate::texts as shared;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, PageCounts};
use vmatlas_model::{PageChange, page_changes};
use vmatlas_sys::mem::MmapArgs;

fn add(report: &mut Report, id: &'static str, text: Say, predicted: Expected, measured: Measured) {
    report.facts.push(Fact { id, text, predicted, measured });
}

fn bytes(n: Bytes) -> Value {
    Value::Bytes(n.0)
}

fn traced<T>(seen: Option<T>, value: impl Fn(T) -> Value) -> Measured {
    match seen {
        Some(seen) => Measured::Is(value(seen)),
        None => Measured::NotRead(Say::new(shared::NEEDS_TRACER)),
    }
}

/// Facts about the main call.
pub(super) fn of_call(report: &mut Report, made: &Made, file: bool) {
    let machine = report.machine.clone();
    let page = machine.page.bytes();
    let word = match made.reply {
        Ok(_) => SUCCESS.to_owned(),
        Err(errno) => vmatlas_sys::errno_name(errno).unwrap_or("?").to_owned(),
    };
    let predicted = predict::outcome(&made.args, file, &machine);
    add(report, "outcome", Say::new(texts::FACT_OUTCOME), predicted, Measured::Is(Value::Word(word)));
    let one = Expected::Is(Value::Count(1));
    add(report, "one-call", Say::new(shared::FACT_ONE_CALL), one, traced(made.calls, Value::Count));
    let changes = made.before.changes(&made.after);
    let Ok(addr) = made.reply else {
        let is_same = Measured::Is(Value::Yes(changes.is_empty()));
        add(
            report,
            "map-unchanged",
            Say::new(texts::FACT_UNCHANGED),
            Expected::Is(Value::Yes(true)),
            is_same,
        );
        model_equals(report, made);
        return;
    };
    let len = predict::mapped(&made.args, &machine);
    let aligned = Measured::Is(Value::Yes(addr.is_multiple_of(page)));
    add(report, "page-aligned", Say::new(texts::FACT_ALIGNED), Expected::Is(Value::Yes(true)), aligned);
    let text = Say::new(texts::FACT_MAPPED).with("asked", made.args.len.0);
    let now_mapped = Measured::Is(bytes(mapped(&made.before, &made.after)));
    add(report, "mapped-bytes", text, Expected::Is(bytes(len)), now_mapped);
    let grew = Bytes(made.after.virtual_size.0.saturating_sub(made.before.virtual_size.0));
    let predicted = Expected::Is(bytes(len));
    add(report, "virtual-grew", Say::new(shared::FACT_VIRTUAL), predicted, Measured::Is(bytes(grew)));
    resident_after_call(report, made, file, AddrRange::from_len(Addr(addr), len));
    let new = AddrRange::from_len(Addr(addr), len).unwrap_or(AddrRange::ALL);
    let others =
        changes.iter().all(|change| matches!(change, PageChange::Added(row) if new.covers(row.range)));
    let predicted = Expected::Is(Value::Yes(true));
    add(
        report,
        "nothing-else",
        Say::new(shared::FACT_NOTHING_ELSE),
        predicted,
        Measured::Is(Value::Yes(others)),
    );
    model_equals(report, made);
}

fn resident_after_call(report: &mut Report, made: &Made, file: bool, area: Option<AddrRange>) {
    let grew = made.after.total.resident.0.saturating_sub(made.before.total.resident.0)
        + made.after.total.hugetlb.0.saturating_sub(made.before.total.hugetlb.0);
    let predicted = match (predict::populates(&made.args), area) {
        (true, Some(area)) if !file && made.args.prot.0 & 2 == 2 => Expected::Is(bytes(area.len())),
        (true, _) => Expected::Unknown(Say::new(texts::READS_DECIDE)),
        (false, _) => Expected::Is(Value::Bytes(0)),
    };
    add(report, "resident", Say::new(texts::FACT_RESIDENT), predicted, Measured::Is(Value::Bytes(grew)));
}

fn model_equals(report: &mut Report, made: &Made) {
    let is_equal = made.model.as_ref().map(|model| {
        // The stack grows by touching, without a call.
        let settled = |rows: &[vmatlas_event::VmaRow]| {
            rows.iter().filter(|row| row.special() != Some(b"stack")).cloned().collect::<Vec<_>>()
        };
        page_changes(&settled(model), &settled(&made.after.rows), &[]).is_empty()
    });
    let predicted = Expected::Is(Value::Yes(true));
    add(report, "model-equals-kernel", Say::new(shared::FACT_MODEL), predicted, traced(is_equal, Value::Yes));
}

/// Facts about the call for one byte.
pub(super) fn of_one_byte(report: &mut Report, made: &Made) {
    if made.reply.is_err() {
        return;
    }
    let predicted = Expected::Is(bytes(predict::mapped(&made.args, &report.machine)));
    let measured = Measured::Is(bytes(mapped(&made.before, &made.after)));
    add(report, "one-byte", Say::new(texts::FACT_ONE_BYTE), predicted, measured);
}

/// Facts about touching that went well: `was` and `is` are the area's pages before and after.
pub(super) fn of_touch(
    report: &mut Report,
    args: &MmapArgs,
    touched: u64,
    was: PageCounts,
    is: PageCounts,
    (before, after): (&State, &State),
) {
    let page = report.machine.page.bytes();
    let anonymous = args.flags.has(MapFlags::ANONYMOUS);
    let writes = args.prot.0 & 2 == 2;
    let shared_memory = args.flags.0 & 1 == 1;
    let huge = if shared_memory { report.machine.shmem_huge } else { report.machine.thp.largest.is_some() };
    let now = Bytes((is.resident + is.hugetlb).0);
    let want = touched * page;
    let predicted = match (anonymous, writes) {
        _ if predict::populates(args) => Expected::Is(bytes(was.resident + was.hugetlb)),
        (true, true) if huge => Expected::AtLeast(Value::Bytes(want)),
        (true, true) => Expected::Is(Value::Bytes(want)),
        // Reading untouched private memory shows the zero page, which is not resident; shared memory gets real pages.
        (true, false) if !shared_memory && !after.zero_pages_counted => Expected::Is(Value::Bytes(0)),
        _ => Expected::Unknown(Say::new(texts::READS_DECIDE)),
    };
    let predicted = match predicted {
        // hugetlb pages come whole.
        Expected::Is(Value::Bytes(n)) if args.flags.has(0x4_0000) => Expected::AtLeast(Value::Bytes(n)),
        other => other,
    };
    add(report, "touched", Say::new(texts::FACT_TOUCHED), predicted, Measured::Is(bytes(now)));
    let measured = Measured::Is(bytes(after.virtual_size));
    let predicted = Expected::Is(bytes(before.virtual_size));
    add(report, "touch-virtual", Say::new(texts::FACT_TOUCH_VIRTUAL), predicted, measured);
}

/// The fact about an access that ended the subject.
pub(super) fn of_signal(report: &mut Report, args: &MmapArgs, ending: &Ending) {
    let predicted = match args.prot.0 & 3 {
        0 => Expected::Is(Value::Word("SIGSEGV".to_owned())),
        // A page past the end of a file.
        _ if args.fd >= 0 => Expected::Is(Value::Word("SIGBUS".to_owned())),
        _ => Expected::Unknown(Say::new(texts::DECIDED_ELSEWHERE)),
    };
    let word = match ending {
        Ending::Signaled(signal) => vmatlas_sys::signal::name(*signal),
        other => other.to_string(),
    };
    add(report, "signal", Say::new(texts::FACT_SIGNAL), predicted, Measured::Is(Value::Word(word)));
}
