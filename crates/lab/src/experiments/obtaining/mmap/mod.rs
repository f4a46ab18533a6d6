//! The experiment everything started from: a map, one mmap, the map again; then touching.

mod calling;
mod facts;
mod options;
pub(in crate::experiments) mod predict;
mod texts;
mod touching;

use crate::error::LabError;
use crate::info::{Info, Setup};
use crate::program::Program;
use crate::report::{Figure, MapPart, Part, Report, Step};
use crate::say::Say;
use crate::state::State;
use crate::subject::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_sys::mem::MmapArgs;
use vmatlas_view::picture::talk::{Moment, Talk};

use calling::one_call;
use options::Options;
use touching::{new_area, panel, touch_count, touching, warn_of_size};

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
