//! Step 3: touching what was obtained; and the panels of the picture.

use super::calling::size_row;
use super::options::{Options, TouchPages};
use super::predict::{self, FileKind, Setting};
use super::{facts, texts};
use crate::error::{Ending, LabError};
use crate::machine::Machine;
use crate::report::{Audience, Part, Report, Step};
use crate::say::Say;
use crate::state::{State, frames_of, pages_of};
use crate::subject::Subject;
use crate::texts as shared;
use std::sync::Arc;
use vmatlas_event::{AddrRange, Bytes, MapFlags};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_view::picture::talk::{Moment, NewArea, Panel, blocks};

pub(super) fn touch_count(options: &Options, machine: &Machine) -> u64 {
    let pages = predict::mapped(&options.args(), machine).0 / machine.page.bytes();
    match options.touch {
        TouchPages::All => pages,
        TouchPages::Some(n) => n.min(pages),
    }
}

pub(super) fn new_area(subject: &Subject, state: &State, area: AddrRange) -> Result<NewArea, LabError> {
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

pub(super) fn panel(moment: Moment, state: &State, new: Option<(AddrRange, NewArea)>) -> Panel {
    Panel { moment, blocks: blocks(&state.rows, &state.pages, new) }
}

pub(super) fn warn_of_size(report: &Report, want: Bytes, audience: &mut dyn Audience) {
    if let Some(have) = report.machine.available().filter(|have| *have < want) {
        audience.warn(&Say::new(shared::TOUCH_WARNING).with("want", want).with("have", have));
    }
}

/// Step 3; the panel of it, or nothing when the subject did not survive.
pub(super) fn touching(
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
