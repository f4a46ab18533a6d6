//! Touching page by page, with sizes and faults over time.

mod texts;

use crate::error::LabError;
use crate::facts::{Expected, Fact, Measured, Value};
use crate::report::{Audience, Figure, Info, Part, Report, SizeRow, Step};
use crate::say::Say;
use crate::state::{State, pages_of};
use crate::subject::Subject;
use crate::texts as shared;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_view::Text;
use vmatlas_view::picture::chart::{Chart, Sample};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info { name: "demand-paging", title: texts::TITLE, en: include_str!("en.md"), ja: include_str!("ja.md") };

/// Looks at the subject while it touches, not counting the first.
const LOOKS: u64 = 40;
/// How fast a person can watch: 10 MiB in a tenth of a second.
const WATCHABLE: u64 = 100 << 20;

/// Makes the experiment with an area of `length`.
///
/// # Errors
/// When the subject cannot be started or read, or the area not be obtained.
pub fn run(length: Bytes, audience: &mut dyn Audience) -> Result<Report, LabError> {
    let mut subject = Subject::start(None)?;
    let mut report = Report::new(&INFO, &subject);
    audience.begin(&report);
    let page = report.machine.page.bytes();
    let pages = length.0.div_ceil(page).max(1);
    let args = MmapArgs {
        addr: Addr(0),
        len: Bytes(pages * page),
        prot: ProtArg(3),
        flags: MapFlags(0x22),
        fd: -1,
        offset: 0,
    };
    let reply = subject.mmap(args).map_err(|how| LabError::Ended { how })?;
    let addr = Addr(reply.map_err(|errno| LabError::Refused { length: args.len, errno })?);
    let area = AddrRange::from_len(addr, args.len).unwrap_or(AddrRange::ALL);
    let start = subject.state()?;
    let fresh = pages_of(subject.process(), &start.rows, area)?.resident;
    let title = Say::new(texts::STEP_MAP).with("size", args.len);
    let note = Part::Para(Say::new(texts::MAPPED_NOTE).with("addr", addr));
    report.add(Step { id: "map", title, parts: vec![note, sizes(None, &start)] }, audience);

    if let Some(have) = report.machine.available().filter(|have| *have < args.len) {
        audience.warn(&Say::new(shared::TOUCH_WARNING).with("want", args.len).with("have", have));
    }
    let (samples, end) = touch(&mut subject, area, pages, &start, audience)?;
    let title = Say::new(texts::STEP_TOUCH);
    let note = Part::Para(Say::new(texts::TOUCH_NOTE).with("n", pages));
    let parts = vec![note, Part::Samples(samples.clone()), sizes(Some(&start), &end)];
    report.add(Step { id: "touch", title, parts }, audience);

    let resident = pages_of(subject.process(), &end.rows, area)?.resident;
    let faults = end.minor_faults.saturating_sub(start.minor_faults);
    let (huge, all) = (report.machine.thp.largest, Value::Count(pages));
    let faults_predicted = match huge {
        // One fault may bring a whole huge page, or fall back to a small one.
        Some(largest) => Expected::Between(Value::Count(pages.div_ceil((largest.0 / page).max(1))), all),
        None => Expected::Is(all),
    };
    let is = |n: u64| Expected::Is(Value::Bytes(n));
    report.facts = vec![
        fact("fresh", texts::FACT_BEFORE, is(0), Value::Bytes(fresh.0)),
        fact("resident", texts::FACT_RESIDENT, is(pages * page), Value::Bytes(resident.0)),
        fact("faults", texts::FACT_FAULTS, faults_predicted, Value::Count(faults)),
        fact("virtual", texts::FACT_VIRTUAL, is(start.virtual_size.0), Value::Bytes(end.virtual_size.0)),
    ];
    report.figure = Some(Figure::Chart(Chart { samples }));
    subject.finish();
    Ok(report)
}

fn touch(
    subject: &mut Subject,
    area: AddrRange,
    pages: u64,
    start: &State,
    audience: &mut dyn Audience,
) -> Result<(Vec<Sample>, State), LabError> {
    let page = vmatlas_sys::page_size().bytes();
    let chunk = pages.div_ceil(LOOKS);
    let began = Instant::now();
    let sample = |touched: u64, state: &State| Sample {
        at: began.elapsed(),
        touched: Bytes(touched * page),
        virtual_size: state.virtual_size,
        resident: state.total.resident,
        faults: state.minor_faults.saturating_sub(start.minor_faults),
    };
    let mut samples = vec![sample(0, start)];
    let mut done = 0;
    let mut latest = start.clone();
    while done < pages {
        let now = chunk.min(pages - done);
        if audience.wants_time() {
            vmatlas_sys::sleep(Duration::from_secs_f64((now * page) as f64 / WATCHABLE as f64));
        }
        let touched = subject.touch(area, done, now, Touch::Write).map_err(|how| LabError::Ended { how })?;
        done += touched.unwrap_or(now);
        latest = subject.state()?;
        samples.push(sample(done, &latest));
        if let Some(last) = samples.last() {
            audience.sample(last);
        }
    }
    Ok((samples, latest))
}

fn sizes(before: Option<&State>, after: &State) -> Part {
    let row = |what: Text, of: fn(&State) -> Bytes| SizeRow {
        what: Say::new(what),
        before: before.map(of),
        after: of(after),
    };
    Part::Sizes(vec![
        row(shared::VIRTUAL_SIZE, |s| s.virtual_size),
        row(shared::RESIDENT_SIZE, |s| s.total.resident),
    ])
}

fn fact(id: &'static str, text: Text, predicted: Expected, measured: Value) -> Fact {
    Fact { id, text: Say::new(text), predicted, measured: Measured::Is(measured) }
}
