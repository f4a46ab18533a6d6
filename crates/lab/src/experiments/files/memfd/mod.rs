//! memfd_create: a file without a name, which is nowhere but in memory.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::memfd_noexec;
use crate::info::{Info, Setup};
use crate::lab::{Lab, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use std::os::unix::fs::MetadataExt;
use vmatlas_event::{Bytes, MapFlags};
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("memfd", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "4", 3, 4096)]);

const MAP_SHARED: MapFlags = MapFlags(1);
const MFD_CLOEXEC: u64 = 1;
const MFD_NOEXEC_SEAL: u64 = 8;
/// FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE.
const PUNCH_HOLE: u64 = 3;
const CHILDS: u8 = 77;
/// A file's blocks are counted in these, whatever its file system.
const BLOCK: u64 = 512;

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    let length = pages * page;
    lab.set("n", pages);
    lab.set("size", Bytes(length));
    lab.set("childs", u64::from(CHILDS));
    let fd = lab.step("create", |lab| create(lab, length))?;
    let (links, takes) = look(&lab, fd)?;
    lab.is("links", Value::Count(0), Value::Count(links));
    lab.is("empty", Value::Bytes(0), Value::Bytes(takes));

    let area = lab.step("map", |lab| lab.map_with(length, RW, MAP_SHARED, fd as i32))?;
    lab.draw("map", area, &[], &[])?;
    let named = lab.name_of(area) == "/memfd:vmatlas-lab (deleted)";
    lab.is("name", Value::Yes(true), Value::Yes(named));

    lab.step("write", |lab| {
        let before = shmem();
        lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
        for (name, kib) in [("shmem_before", before), ("shmem_after", shmem())] {
            lab.set(name, kib.map_or_else(|| "?".to_owned(), vmatlas_view::units::count));
        }
        lab.say("write");
        Ok(())
    })?;
    lab.draw("write", area, &[], &[])?;
    takes_now(&mut lab, "filled", fd, length)?;

    let second = page_of(area, 1).start();
    let mut child = lab.step_alone("fork", Lab::fork)?;
    let seen = lab.step_alone("child-writes", |lab| {
        lab.in_child(&mut child, second, Some(CHILDS)).unwrap_or(0);
        lab.peek(second)
    })?;
    lab.is("parent-sees", Value::Count(CHILDS.into()), Value::Count(seen.into()));
    lab.draw("child-writes", area, &[1], &[("child", child.process())])?;

    lab.step("punch", |lab| {
        let args = [fd, PUNCH_HOLE, page, page, 0, 0];
        let shown = format!("fallocate({fd}, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, {page}, {page})");
        done(lab.call("fallocate", args, shown)?, page)
    })?;
    takes_now(&mut lab, "punched", fd, length - page)?;
    lab.draw("punch", area, &[1], &[("child", child.process())])?;

    let byte = lab.step_alone("read-hole", |lab| {
        let byte = lab.in_child(&mut child, second, None).unwrap_or(u64::MAX);
        lab.end_child(&mut child)?.unwrap_or(0);
        lab.say("read-hole");
        Ok(byte)
    })?;
    lab.is("hole-byte", Value::Count(0), Value::Count(byte));

    lab.step("unmap", |lab| lab.unmap(area))?.unwrap_or(0);
    takes_now(&mut lab, "kept", fd, length)?;
    Ok(lab.end())
}

/// Makes the file and gives it its size: the descriptor, a number of the subject's.
fn create(lab: &mut Lab<'_>, length: u64) -> Result<u64, LabError> {
    let (flags, words) = match memfd_noexec() {
        true => (MFD_CLOEXEC | MFD_NOEXEC_SEAL, "MFD_CLOEXEC|MFD_NOEXEC_SEAL"),
        false => (MFD_CLOEXEC, "MFD_CLOEXEC"),
    };
    let shown = format!("memfd_create(\"vmatlas-lab\", {words})");
    let fd = lab.call("memfd_create", [0, flags, 0, 0, 0, 0], shown)?;
    let fd = fd.map_err(|errno| LabError::Refused { length: Bytes(length), errno })?;
    done(lab.call("ftruncate", [fd, length, 0, 0, 0, 0], format!("ftruncate({fd}, {length})"))?, length)?;
    Ok(fd)
}

fn done(reply: crate::command::Reply, length: u64) -> Result<(), LabError> {
    reply.map(|_| ()).map_err(|errno| LabError::Refused { length: Bytes(length), errno })
}

/// The names the file has, and the memory it takes.
fn look(lab: &Lab<'_>, fd: u64) -> Result<(u64, u64), LabError> {
    let path = format!("/proc/{}/fd/{fd}", lab.subject.pid());
    let data = std::fs::metadata(&path).map_err(LabError::file(&path))?;
    Ok((data.nlink(), data.blocks() * BLOCK))
}

fn takes_now(lab: &mut Lab<'_>, id: &'static str, fd: u64, predicted: u64) -> Result<(), LabError> {
    let (_, takes) = look(lab, fd)?;
    let predicted = match lab.report.machine.shmem_huge {
        // Pages may come in larger pieces.
        true => Expected::Unknown(lab.why("huge")),
        false => Expected::Is(Value::Bytes(predicted)),
    };
    lab.fact(id, predicted, Measured::Is(Value::Bytes(takes)));
    Ok(())
}

/// Shmem of /proc/meminfo, in KiB: of the whole machine.
fn shmem() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Shmem:"))?.split_whitespace().next()?;
    kib.parse().ok()
}
