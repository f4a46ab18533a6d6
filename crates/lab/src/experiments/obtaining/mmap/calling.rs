//! One call with the maps around it.

use super::predict::{self, FileKind, Setting};
use super::texts;
use crate::error::LabError;
use crate::report::{CallPart, ComparePart, Part, Report, SizeRow, Step};
use crate::say::Say;
use crate::state::State;
use crate::subject::Subject;
use crate::texts as shared;
use std::sync::Arc;
use vmatlas_event::{Bytes, Errno, Op, Outcome};
use vmatlas_model::PageChange;
use vmatlas_sys::mem::MmapArgs;
use vmatlas_view::{Text, call};

/// A call that was made, and the maps around it.
pub(super) struct Made {
    pub(super) args: MmapArgs,
    pub(super) file: Option<FileKind>,
    pub(super) predicted: predict::Ending,
    pub(super) reply: Result<u64, Errno>,
    pub(super) before: Arc<State>,
    pub(super) after: Arc<State>,
    /// Memory calls that our tracer saw between the two maps; `None` when nothing was traced.
    pub(super) calls: Option<u64>,
    /// The model's map after it; `None` when nothing was traced.
    pub(super) model: Option<Vec<vmatlas_event::VmaRow>>,
    pub(super) step: Step,
}

pub(super) fn one_call(
    subject: &mut Subject,
    report: &Report,
    args: &MmapArgs,
    file: Option<FileKind>,
    before: &Arc<State>,
    (title, id): (Text, &'static str),
) -> Result<Made, LabError> {
    let predicted = predict::ending(args, Setting { machine: &report.machine, before, file });
    let seen = subject.watch().count();
    let reply = subject.mmap(*args).map_err(|how| LabError::Ended { how })?;
    let after = Arc::new(subject.state()?);
    let traced = subject.watch().blind().is_none();
    let calls = traced.then(|| subject.watch().calls(seen).len() as u64);
    let outcome = reply.map_or_else(Outcome::Failed, Outcome::Done);
    let op = Op::Mmap {
        addr: args.addr,
        len: args.len,
        prot: args.prot,
        flags: args.flags,
        fd: args.fd,
        offset: args.offset,
    };
    let meaning = match reply {
        Ok(_) => Say::new(texts::MEANS_ADDRESS),
        Err(errno) => {
            let name = vmatlas_sys::errno_name(errno).unwrap_or("?");
            let why = match predicted {
                predict::Ending::Fails(expected, why) if expected == name => why.0,
                _ => predict::general_reason(name),
            };
            Say::new(texts::MEANS_ERROR).with("meaning", vmatlas_sys::errno_text(errno)).with("why", why)
        }
    };
    let mut sizes = vec![
        size_row(shared::REQUESTED, None, args.len),
        size_row(shared::MAPPED, None, mapped(before, &after)),
        size_row(shared::VIRTUAL_SIZE, Some(before.virtual_size), after.virtual_size),
        size_row(shared::RESIDENT_SIZE, Some(before.total.resident), after.total.resident),
    ];
    if after.total.hugetlb.0 > 0 {
        sizes.push(size_row(shared::HUGETLB_SIZE, Some(before.total.hugetlb), after.total.hugetlb));
    }
    let parts = vec![
        Part::Call(Box::new(CallPart { op, args: described(args), outcome, meaning })),
        Part::Compare(Box::new(ComparePart { before: before.clone(), after: after.clone() })),
        Part::Sizes(sizes),
    ];
    let step = Step { id, title: Say::new(title), parts };
    let model = if traced { subject.watch().model() } else { None };
    Ok(Made { args: *args, file, predicted, reply, before: before.clone(), after, calls, model, step })
}

pub(super) fn size_row(what: Text, before: Option<Bytes>, after: Bytes) -> SizeRow {
    SizeRow { what: Say::new(what), before, after }
}

/// The six arguments: name, value, meaning.
pub(super) fn described(args: &MmapArgs) -> Vec<(&'static str, String, Say)> {
    let addr = match args.addr.0 {
        0 => ("NULL".to_owned(), texts::ARG_ADDR_ANY),
        _ => (args.addr.to_string(), texts::ARG_ADDR_HINT),
    };
    let fd = if args.fd < 0 { texts::ARG_FD } else { texts::ARG_FD_FILE };
    vec![
        ("addr", addr.0, Say::new(addr.1)),
        ("length", args.len.0.to_string(), Say::new(texts::ARG_LENGTH)),
        ("prot", prefixed("PROT_", &call::prot(args.prot.0)), Say::new(texts::ARG_PROT)),
        ("flags", prefixed("MAP_", &call::map_flags(args.flags.0)), Say::new(texts::ARG_FLAGS)),
        ("fd", args.fd.to_string(), Say::new(fd)),
        ("offset", args.offset.to_string(), Say::new(texts::ARG_OFFSET)),
    ]
}

pub(super) fn prefixed(prefix: &str, words: &str) -> String {
    let word = |w: &str| {
        if w == "0" || w.starts_with("0x") { w.to_owned() } else { format!("{prefix}{w}") }
    };
    words.split('|').map(word).collect::<Vec<_>>().join("|")
}

/// How much the later map has that the earlier one does not.
pub(super) fn mapped(before: &State, after: &State) -> Bytes {
    let added =
        |change: &PageChange| if let PageChange::Added(row) = change { row.range.len() } else { Bytes(0) };
    before.changes(after).iter().map(added).sum()
}
