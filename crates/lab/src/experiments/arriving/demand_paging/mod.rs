//! Touching page by page, with sizes and faults over time.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{Lab, RW};
use crate::report::{Figure, Part, Report};
use crate::settings::Param;
use crate::state::State;
use std::time::{Duration, Instant};
use vmatlas_event::{AddrRange, Bytes};
use vmatlas_sys::mem::Touch;
use vmatlas_view::picture::chart::{Chart, Sample};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new(
    "demand-paging",
    (include_str!("en.md"), include_str!("ja.md")),
    make,
)
.params(&[Param::size("length", "100MiB", 1, 1 << 60)]);

/// Looks at the subject while it touches, not counting the first.
const LOOKS: u64 = 40;
/// How fast a person can watch: 10 MiB in a tenth of a second.
const WATCHABLE: u64 = 100 << 20;
/// Pages that are touched one by one, with a look after each.
const ONE_BY_ONE: u64 = 16;

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let page = lab.page();
    let pages = lab.settings.size("length").0.div_ceil(page).max(1);
    let singles = pages.min(ONE_BY_ONE);
    lab.set("size", Bytes(pages * page));
    lab.set("n", pages);
    lab.set("singles", singles);
    let area = lab.step("map", |lab| {
        let area = lab.map(pages * page, RW)?;
        lab.set("addr", area.start());
        lab.say("mapped");
        Ok(area)
    })?;
    let fresh = lab.resident(area)?;
    lab.is("fresh", Value::Bytes(0), Value::Bytes(fresh.0));

    let start = lab.after.clone();
    let exact = lab.step("singles", |lab| one_by_one(lab, area, singles))?;
    let huge = lab.report.machine.thp.largest.is_some();
    // Where huge pages come by themselves, the first touch may bring many pages.
    let predicted = match huge {
        true => Expected::Unknown(lab.why("huge")),
        false => Expected::Is(Value::Count(singles)),
    };
    lab.fact("each-resident", predicted.clone(), Measured::Is(Value::Count(exact.0)));
    lab.fact("each-fault", predicted, Measured::Is(Value::Count(exact.1)));

    lab.warn_of(Bytes(pages * page));
    let samples = lab.step("touch", |lab| {
        let samples = touch(lab, area, (singles, pages), &start)?;
        lab.show(Part::Samples(samples.clone()));
        Ok(samples)
    })?;
    let end = lab.after.clone();
    let resident = lab.resident(area)?;
    let faults = end.minor_faults.saturating_sub(start.minor_faults);
    let all = Value::Count(pages);
    let predicted = match lab.report.machine.thp.largest {
        // One fault may bring a whole huge page, or fall back to a small one.
        Some(largest) => Expected::Between(Value::Count(pages.div_ceil((largest.0 / page).max(1))), all),
        None => Expected::Is(all),
    };
    lab.is("resident", Value::Bytes(pages * page), Value::Bytes(resident.0));
    lab.fact("faults", predicted, Measured::Is(Value::Count(faults)));
    lab.is("virtual", Value::Bytes(start.virtual_size.0), Value::Bytes(end.virtual_size.0));
    lab.report.figure = Some(Figure::Chart(Chart { samples }));
    Ok(lab.end())
}

/// Touches pages with a look after each: how often exactly one page came, and exactly one fault.
fn one_by_one(lab: &mut Lab<'_>, area: AddrRange, pages: u64) -> Result<(u64, u64), LabError> {
    let page = lab.page();
    let mut seen = (lab.resident(area)?, lab.subject.state()?.minor_faults);
    let mut exact = (0, 0);
    for index in 0..pages {
        if index < 2 {
            lab.touch(area, index, 1, Touch::Write)?.unwrap_or(0);
        } else {
            // All lines would be alike.
            let _ = lab.touch_unshown(area, index, 1, Touch::Write)?;
        }
        let now = (lab.resident(area)?, lab.subject.state()?.minor_faults);
        exact.0 += u64::from(now.0.0.checked_sub(seen.0.0) == Some(page));
        exact.1 += u64::from(now.1.checked_sub(seen.1) == Some(1));
        seen = now;
    }
    lab.say("and-so-on");
    Ok(exact)
}

fn touch(
    lab: &mut Lab<'_>,
    area: AddrRange,
    (first, pages): (u64, u64),
    start: &State,
) -> Result<Vec<Sample>, LabError> {
    let page = lab.page();
    let chunk = pages.div_ceil(LOOKS);
    let began = Instant::now();
    let sample = |touched: u64, state: &State| Sample {
        at: began.elapsed(),
        touched: Bytes(touched * page),
        virtual_size: state.virtual_size,
        resident: state.total.resident,
        faults: state.minor_faults.saturating_sub(start.minor_faults),
    };
    let mut samples = vec![sample(first, &lab.subject.state()?)];
    let mut done = first;
    while done < pages {
        let now = chunk.min(pages - done);
        if lab.wants_time() {
            vmatlas_sys::sleep(Duration::from_secs_f64((now * page) as f64 / WATCHABLE as f64));
        }
        done += lab.touch_unshown(area, done, now, Touch::Write)?.unwrap_or(now);
        samples.push(sample(done, &lab.subject.state()?));
        lab.sample(&samples);
    }
    Ok(samples)
}
