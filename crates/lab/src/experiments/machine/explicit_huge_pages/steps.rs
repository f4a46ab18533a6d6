//! The touch, a page without a promise, and what the machine counts.

use super::{FREE, HUGETLB, RESERVED, SHOWN};
use crate::error::LabError;
use crate::experiments::machine::calls::{args, expected, take, word};
use crate::facts::{Expected, Measured, Value};
use crate::lab::{Lab, PRIVATE, RW, status_word};
use crate::memory::Meminfo;
use crate::squares::part_of;
use vmatlas_event::{AddrRange, Bytes, MapFlags};
use vmatlas_proc::parse::smaps::Field;
use vmatlas_sys::mem::Touch;
use vmatlas_view::units;

pub(super) const SIZES: &str = "/sys/kernel/mm/hugepages";

pub(super) const NORESERVE: u64 = 0x4000;

/// Writes to every small page of the area.
pub(super) fn touch(lab: &mut Lab<'_>, area: AddrRange, small: u64, pages: u64) -> Result<(), LabError> {
    lab.step("touch", |lab| {
        lab.touch(area, 0, small, Touch::Write)?.unwrap_or(0);
        lab.say("touch");
        Ok(())
    })?;
    lab.draw("touch", part_of(area, 0, SHOWN), &[], &[])?;
    let faults = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    lab.is("faults", Value::Count(pages), Value::Count(faults));
    let told = |lab: &Lab<'_>, fields: &[Field]| -> Result<Measured, LabError> {
        let size = lab.smaps(area, fields)?;
        let none = || Measured::NotRead(lab.why("no-count"));
        Ok(size.map_or_else(none, |size| Measured::Is(Value::Bytes(size.0))))
    };
    let (rss, hugetlb) =
        (told(lab, &[Field::Rss])?, told(lab, &[Field::PrivateHugetlb, Field::SharedHugetlb])?);
    lab.fact("rss", Expected::Is(Value::Bytes(0)), rss);
    lab.fact("hugetlb", Expected::Is(Value::Bytes(area.len().0)), hugetlb);
    Ok(())
}

/// Maps a huge page without a promise, and lets a child touch it.
pub(super) fn unpromised(lab: &mut Lab<'_>, huge: u64) -> Result<(), LabError> {
    let call = args(huge, RW, MapFlags(PRIVATE.0 | HUGETLB | NORESERVE), -1);
    let predicted = expected(lab, &call);
    let left = Meminfo::now();
    let left =
        left.count(FREE).zip(left.count(RESERVED)).map(|(free, reserved)| free.saturating_sub(reserved));
    let (mapped, ended) = lab.step("unpromised", |lab| {
        let area = match take(lab, call)? {
            Ok(area) => area,
            Err(errno) => return Ok((Err(errno), None)),
        };
        let mut child = lab.fork()?;
        let written = lab.in_child(&mut child, area.start(), Some(1));
        lab.did_end_child(&child, written, &format!("*(char *){} = 1", area.start()));
        let status = lab.end_child(&mut child)?;
        lab.say(if status == Ok(0) { "unpromised-there" } else { "unpromised" });
        Ok((Ok(area), Some(status)))
    })?;
    if let Ok(area) = mapped {
        lab.draw("unpromised", part_of(area, 0, SHOWN), &[], &[])?;
    }
    lab.fact("unpromised", predicted, word(mapped));
    let predicted = match (left, lab.report.machine.huge_extra) {
        (Some(0), Some(0)) => Expected::Is(Value::Word("SIGBUS".to_owned())),
        (Some(1..), _) => Expected::Is(Value::Word("0".to_owned())),
        _ => Expected::Unknown(lab.why("extra")),
    };
    let measured = match ended {
        Some(status) => Measured::Is(Value::Word(status_word(status))),
        None => Measured::NotRead(lab.why("none")),
    };
    lab.fact("signal", predicted, measured);
    Ok(())
}

/// By how much a count of the machine grew.
pub(super) fn change(lab: &Lab<'_>, key: &str, from: &Meminfo, to: &Meminfo) -> Measured {
    match from.count(key).zip(to.count(key)) {
        Some((from, to)) => Measured::Is(Value::Count(to.saturating_sub(from))),
        None => Measured::NotRead(lab.why("no-count")),
    }
}

/// The sizes that this kernel can set aside.
pub(super) fn sizes() -> String {
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    };
    let mut all: Vec<u64> =
        std::fs::read_dir(SIZES).into_iter().flatten().flatten().filter_map(name).collect();
    all.sort_unstable();
    let all: Vec<String> = all.into_iter().map(|kib| units::size(Bytes(kib * 1024))).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}
