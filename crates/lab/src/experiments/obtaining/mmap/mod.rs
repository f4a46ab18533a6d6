//! The experiment everything started from: a map, one mmap, the map again; then touching.

mod facts;
mod options;
pub(in crate::experiments) mod predict;
mod texts;

use crate::error::{Ending, LabError};
use crate::info::{Info, Setup};
use crate::machine::Machine;
use crate::program::Program;
use crate::report::{Audience, CallPart, ComparePart, Figure, MapPart, Part, Report, SizeRow, Step};
use crate::say::Say;
use crate::state::{State, frames_of, pages_of};
use crate::subject::Subject;
use crate::texts as shared;
use std::collections::BTreeMap;
use std::sync::Arc;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, Op, Outcome};
use vmatlas_model::PageChange;
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_view::picture::talk::{Moment, NewArea, Panel, Talk, blocks};
use vmatlas_view::{Text, call};

use options::{Options, TouchPages};
use predict::{FileKind, Setting};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("mmap", (include_str!("en.md"), include_str!("ja.md")), make).params(options::PARAMS);

/// Makes the experiment.
///
/// # Errors
/// When the subject cannot be started or read, or the file cannot be opened; a call that fails is no error.
fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let Setup { info, settings, audience, tap, .. } = setup;
    let options = &Options::of(settings);
    let args = options.args();
    let (opened, file) = options.open()?.unzip();
    let mut subject = Subject::start(opened.into_iter().collect(), tap)?;
    let path = options.file.as_ref().map(|p| p.as_os_str().as_encoded_bytes());
    let mut report = Report::new(info, &subject);
    let touch = touch_count(options, &report.machine);
    let written = if options.prot.0 & 2 == 2 { touch.min(1 << 20) } else { 0 };
    report.program = Some(Program::mmap(&args, path, written));
    audience.begin(&report);
    let start = Arc::new(subject.state()?);
    let step = beginning(&subject, &start);
    report.add(step, audience);

    if predict::populates(&args) {
        warn_of_size(&report, args.len, audience);
    }
    let first = one_call(&mut subject, &report, &args, file, &start, (texts::STEP_CALL, "call"))?;
    facts::of_call(&mut report, &first);
    report.add(first.step.clone(), audience);
    let mut panels = vec![panel(Moment::Before, &start, None)];
    let Ok(addr) = first.reply else {
        report.figure = Some(Figure::Talk(Talk { panels }));
        subject.finish();
        return Ok(report);
    };
    let area =
        AddrRange::from_len(Addr(addr), predict::mapped(&args, &report.machine)).unwrap_or(AddrRange::ALL);
    panels.push(panel(
        Moment::AfterCall,
        &first.after,
        Some((area, new_area(&subject, &first.after, area)?)),
    ));

    let mut latest = first.after.clone();
    if options.file.is_none() && options.addr.0 == 0 {
        let one = MmapArgs { len: Bytes(1), ..args };
        let mut second =
            one_call(&mut subject, &report, &one, file, &latest, (texts::STEP_ONE_BYTE, "one-byte"))?;
        let page = Bytes(predict::mapped(&one, &report.machine).0);
        second.step.parts.push(Part::Para(Say::new(texts::ONE_BYTE_NOTE).with("page", page)));
        facts::of_one_byte(&mut report, &second);
        report.add(second.step.clone(), audience);
        latest = second.after;
    }
    if touch > 0
        && let Some(panel) =
            touching(&mut subject, &mut report, &first.args, (area, touch, file), &latest, audience)?
    {
        panels.push(panel);
    }
    report.figure = Some(Figure::Talk(Talk { panels }));
    subject.finish();
    Ok(report)
}

/// A call that was made, and the maps around it.
struct Made {
    args: MmapArgs,
    file: Option<FileKind>,
    predicted: predict::Ending,
    reply: Result<u64, Errno>,
    before: Arc<State>,
    after: Arc<State>,
    /// Memory calls that our tracer saw between the two maps; `None` when nothing was traced.
    calls: Option<u64>,
    /// The model's map after it; `None` when nothing was traced.
    model: Option<Vec<vmatlas_event::VmaRow>>,
    step: Step,
}

/// Step 0: what the process was given, and what it obtained since.
fn beginning(subject: &Subject, start: &Arc<State>) -> Step {
    let mut parts = Vec::new();
    match subject.watch().at_exec() {
        Some(rows) => {
            parts.push(Part::Map(MapPart {
                title: Say::new(texts::AT_EXEC),
                since: None,
                rows,
                state: None,
            }));
            let mut sums: BTreeMap<&'static str, (u64, Bytes, Bytes)> = BTreeMap::new();
            for done in subject.watch().calls(0) {
                let sum = sums.entry(done.event.op.kind().name()).or_default();
                let (mapped, unmapped) = done.bytes();
                *sum = (sum.0 + 1, sum.1 + mapped, sum.2 + unmapped);
            }
            parts.push(Part::Para(Say::new(texts::SINCE)));
            parts.push(Part::Sums(sums.into_iter().map(|(call, (n, a, b))| (call, n, a, b)).collect()));
        }
        None => parts.push(Part::Warning(Say::new(texts::NO_START))),
    }
    parts.push(Part::Map(MapPart {
        title: Say::new(texts::NOW),
        since: subject.watch().at_exec(),
        rows: start.rows.clone(),
        state: Some(start.clone()),
    }));
    Step { id: "start", title: Say::new(texts::STEP_START), parts }
}

fn one_call(
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

fn size_row(what: Text, before: Option<Bytes>, after: Bytes) -> SizeRow {
    SizeRow { what: Say::new(what), before, after }
}

/// The six arguments: name, value, meaning.
fn described(args: &MmapArgs) -> Vec<(&'static str, String, Say)> {
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

fn prefixed(prefix: &str, words: &str) -> String {
    let word = |w: &str| {
        if w == "0" || w.starts_with("0x") { w.to_owned() } else { format!("{prefix}{w}") }
    };
    words.split('|').map(word).collect::<Vec<_>>().join("|")
}

/// How much the later map has that the earlier one does not.
fn mapped(before: &State, after: &State) -> Bytes {
    let added =
        |change: &PageChange| if let PageChange::Added(row) = change { row.range.len() } else { Bytes(0) };
    before.changes(after).iter().map(added).sum()
}

fn touch_count(options: &Options, machine: &Machine) -> u64 {
    let pages = predict::mapped(&options.args(), machine).0 / machine.page.bytes();
    match options.touch {
        TouchPages::All => pages,
        TouchPages::Some(n) => n.min(pages),
    }
}

fn new_area(subject: &Subject, state: &State, area: AddrRange) -> Result<NewArea, LabError> {
    const LOOK: u64 = 4096;
    const DRAWN: usize = 8;
    let page = vmatlas_sys::page_size().bytes();
    let counts = pages_of(subject.process(), &state.rows, area)?;
    let resident = counts.resident + counts.hugetlb;
    Ok(NewArea {
        pages: area.len().0 / page,
        resident_pages: resident.0 / page,
        frames: match resident {
            Bytes(0) => Vec::new(),
            _ => frames_of(subject.process(), area, LOOK, DRAWN)?,
        },
    })
}

fn panel(moment: Moment, state: &State, new: Option<(AddrRange, NewArea)>) -> Panel {
    Panel { moment, blocks: blocks(&state.rows, &state.pages, new) }
}

fn warn_of_size(report: &Report, want: Bytes, audience: &mut dyn Audience) {
    if let Some(have) = report.machine.available().filter(|have| *have < want) {
        audience.warn(&Say::new(shared::TOUCH_WARNING).with("want", want).with("have", have));
    }
}

/// Step 3; the panel of it, or nothing when the subject did not survive.
fn touching(
    subject: &mut Subject,
    report: &mut Report,
    args: &MmapArgs,
    (area, pages, file): (AddrRange, u64, Option<FileKind>),
    before: &Arc<State>,
    audience: &mut dyn Audience,
) -> Result<Option<Panel>, LabError> {
    let page = report.machine.page.bytes();
    warn_of_size(report, Bytes(pages * page), audience);
    let signal = predict::signal(args, pages, Setting { machine: &report.machine, before, file });
    let reads_only = args.prot.0 & 3 == 1;
    let how = if reads_only { Touch::Read } else { Touch::Write };
    let note = match (reads_only, args.prot.0 & 2) {
        (true, _) if !args.flags.has(MapFlags::ANONYMOUS) => texts::TOUCH_NOTE_READ_FILE,
        (true, _) => texts::TOUCH_NOTE_READ,
        (false, 0) => texts::TOUCH_NOTE_REFUSED,
        (false, _) => texts::TOUCH_NOTE_WRITE,
    };
    let was = pages_of(subject.process(), &before.rows, area)?;
    let mut parts = vec![Part::Para(Say::new(note))];
    let title = Say::new(if pages == 1 { texts::STEP_TOUCH_ONE } else { texts::STEP_TOUCH }).with("n", pages);
    let touched = match subject.touch(area, 0, pages, how) {
        Err(ending) => {
            let how = match ending {
                Ending::Signaled(signal) => vmatlas_sys::signal::name(signal),
                other => other.to_string(),
            };
            parts.push(Part::Warning(Say::new(texts::TOUCH_KILLED).with("how", how)));
            facts::of_signal(report, signal, Some(ending));
            report.add(Step { id: "touch", title, parts }, audience);
            return Ok(None);
        }
        Ok(answer) => answer.unwrap_or(0),
    };
    let after = Arc::new(subject.state()?);
    let counts = pages_of(subject.process(), &after.rows, area)?;
    parts.push(Part::Sizes(vec![
        size_row(texts::TOUCHED, None, Bytes(touched * page)),
        size_row(shared::VIRTUAL_SIZE, Some(before.virtual_size), after.virtual_size),
        size_row(shared::RESIDENT_SIZE, Some(before.total.resident), after.total.resident),
    ]));
    if signal != Ok(None) {
        facts::of_signal(report, signal, None);
    }
    facts::of_touch(report, (args, file), touched, (was, counts), (before, &after));
    let new = new_area(subject, &after, area)?;
    report.add(Step { id: "touch", title, parts }, audience);
    Ok(Some(panel(Moment::Touched(touched), &after, Some((area, new)))))
}
