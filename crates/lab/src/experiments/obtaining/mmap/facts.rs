//! The statements of this experiment.

use super::calling::{Made, mapped};
use super::predict::{self, FileKind, SUCCESS, Why};
use super::texts;
use crate::error::Ending;
use crate::facts::{Expected, Fact, Measured, Value};
use crate::report::Report;
use crate::say::Say;
use crate::state::State;
use crate::texts as shared;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, PageCounts};
use vmatlas_model::{PageChange, page_changes};
use vmatlas_sys::mem::MmapArgs;

/// The word for touching that went well.
const NO_SIGNAL: &str = "-";

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
pub(super) fn of_call(report: &mut Report, made: &Made) {
    let machine = report.machine.clone();
    let page = machine.page.bytes();
    let word = match made.reply {
        Ok(_) => SUCCESS.to_owned(),
        Err(errno) => vmatlas_sys::errno_name(errno).unwrap_or("?").to_owned(),
    };
    let predicted = match made.predicted {
        predict::Ending::Succeeds => Expected::Is(Value::Word(SUCCESS.to_owned())),
        predict::Ending::Fails(errno, _) => Expected::Is(Value::Word(errno.to_owned())),
        predict::Ending::Open(why) => Expected::Unknown(Say::new(why.0)),
    };
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
    let new = AddrRange::from_len(Addr(addr), len).unwrap_or(AddrRange::ALL);
    resident_after_call(report, made, new);
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

/// Of the VMA that the new area is in, not of the whole process: the subject's own program may get pages meanwhile, when
/// others that run it too were faulting the same pages in (fault-around passes over pages that are locked).
fn resident_after_call(report: &mut Report, made: &Made, new: AddrRange) {
    let (after, around) = made.after.resident_around(new);
    let (before, _) = made.before.resident_around(around);
    let grew = after.0.saturating_sub(before.0);
    let predicted = match predict::populates(&made.args) {
        true => populated(report, made, new.len()),
        false => Expected::Is(Value::Bytes(0)),
    };
    add(report, "resident", Say::new(texts::FACT_RESIDENT), predicted, Measured::Is(Value::Bytes(grew)));
}

/// What a call that brings its pages in leaves in memory.
fn populated(report: &Report, made: &Made, len: Bytes) -> Expected {
    let page = report.machine.page;
    let args = &made.args;
    if args.flags.has(MapFlags::ANONYMOUS) {
        let reads_private = args.prot.0 & 2 == 0 && args.flags.0 & 1 == 0;
        return match reads_private {
            // The shared zero page, which is not resident.
            true if made.after.zero_pages_counted => Expected::Unknown(Say::new(shared::ZERO_COUNTED)),
            true => Expected::Is(Value::Bytes(0)),
            false => Expected::Is(bytes(len)),
        };
    }
    match made.file {
        Some(FileKind::Regular { size, .. }) => {
            let there = page.round_up(Bytes(size.saturating_sub(args.offset))).unwrap_or(len);
            Expected::Is(bytes(there.min(len)))
        }
        _ => Expected::Unknown(Say::new(texts::READS_DECIDE)),
    }
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

/// Facts about touching that went well: the area's pages and the whole subject, each before and after.
pub(super) fn of_touch(
    report: &mut Report,
    (args, file): (&MmapArgs, Option<FileKind>),
    touched: u64,
    (was, is): (PageCounts, PageCounts),
    (before, after): (&State, &State),
) {
    let want = touched * report.machine.page.bytes();
    let predicted = match predict::populates(args) {
        true => Expected::Is(bytes(was.resident + was.hugetlb)),
        false => after_touch(report, args, file, want, after.zero_pages_counted),
    };
    let now = Measured::Is(bytes(is.resident + is.hugetlb));
    let text = match predicted {
        Expected::AtLeast(_) => texts::FACT_TOUCHED_MORE,
        _ => texts::FACT_TOUCHED,
    };
    add(report, "touched", Say::new(text), predicted, now);
    let measured = Measured::Is(bytes(after.virtual_size));
    let predicted = Expected::Is(bytes(before.virtual_size));
    add(report, "touch-virtual", Say::new(texts::FACT_TOUCH_VIRTUAL), predicted, measured);
}

fn after_touch(
    report: &Report,
    args: &MmapArgs,
    file: Option<FileKind>,
    want: u64,
    zero_pages_counted: bool,
) -> Expected {
    let (writes, is_shared) = (args.prot.0 & 2 == 2, args.flags.0 & 1 == 1);
    let (exactly, at_least) = (Expected::Is(Value::Bytes(want)), Expected::AtLeast(Value::Bytes(want)));
    if args.flags.has(MapFlags::ANONYMOUS) {
        let huge = match is_shared {
            _ if args.flags.has(0x4_0000) => true,
            true => report.machine.shmem_huge,
            false => report.machine.thp.largest.is_some(),
        };
        return match (writes, is_shared) {
            // Reading private memory that was never written shows the zero page, which is not resident.
            (false, false) if zero_pages_counted => Expected::Unknown(Say::new(shared::ZERO_COUNTED)),
            (false, false) => Expected::Is(Value::Bytes(0)),
            // Huge pages come whole.
            _ if huge => at_least,
            _ => exactly,
        };
    }
    match file {
        // A copy of each page that is written; what is read, or shared, brings its neighbours along.
        Some(FileKind::Regular { .. }) if writes && !is_shared => exactly,
        Some(FileKind::Regular { .. }) => at_least,
        _ => Expected::Unknown(Say::new(texts::READS_DECIDE)),
    }
}

/// The fact about the signal that touching was to raise, or raised: `ending` is `None` when the subject lives on.
pub(super) fn of_signal(
    report: &mut Report,
    predicted: Result<Option<&'static str>, Why>,
    ending: Option<Ending>,
) {
    let word = |text: &str| Value::Word(text.to_owned());
    let predicted = match predicted {
        Ok(signal) => Expected::Is(word(signal.unwrap_or(NO_SIGNAL))),
        Err(why) => Expected::Unknown(Say::new(why.0)),
    };
    let measured = match ending {
        None => word(NO_SIGNAL),
        Some(Ending::Signaled(signal)) => Value::Word(vmatlas_sys::signal::name(signal)),
        Some(other) => Value::Word(other.to_string()),
    };
    add(report, "signal", Say::new(texts::FACT_SIGNAL), predicted, Measured::Is(measured));
}
