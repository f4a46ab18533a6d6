//! SysV shared memory: it lives without any process, until somebody removes it.

use crate::cleanup::{Cleanup, Undo};
use crate::command::{Command, Reply};
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::Lab;
use crate::report::Report;
use crate::segments::{self, Segment};
use crate::settings::Param;
use crate::subject::Peer;
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_sys::mem::Touch;
use vmatlas_sys::workbench::CALLS;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("sysv", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "4", 1, 4096)]);

/// IPC_CREAT and the permissions rw-------.
const CREATE: u64 = 0o1600;
const IPC_RMID: u64 = 0;
const WRITTEN: u8 = 42;
const LIST: &str = "/proc/sysvipc/shm";

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut cleanup = Cleanup::start().map_err(LabError::file(LIST))?;
    let mut lab = setup.begin(Vec::new())?;
    let (pages, length) = (lab.settings.count("pages"), lab.settings.count("pages") * lab.page());
    lab.set("n", pages);
    lab.set("written", u64::from(WRITTEN));
    let mut child = lab.step_alone("fork", Lab::fork)?;
    // Before there is one: whatever becomes of us, the child's segment goes.
    cleanup.later(&Undo::SegmentsOf(child.pid().0)).map_err(LabError::file(LIST))?;

    let id = lab.step_alone("create", |lab| create(lab, &mut child, length))?;
    let now = find(id)?;
    lab.is("attached-child", Value::Count(1), Value::Count(now.map_or(0, |segment| segment.attached)));

    let now = lab.step_alone("nobody", |lab| {
        lab.end_child(&mut child)?.unwrap_or(0);
        let now = find(id)?;
        lab.set("attached", now.map_or(0, |segment| segment.attached));
        lab.say("nobody");
        Ok(now)
    })?;
    // With this setting the kernel removes what nobody has attached.
    let forced = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").is_ok_and(|s| s.trim() == "1");
    lab.is("survives", Value::Yes(!forced), Value::Yes(now.is_some()));
    let Some(now) = now else {
        for id in ["nobody", "kept", "name", "value", "still", "gone"] {
            lab.fact(id, Expected::Unknown(lab.why("forced")), Measured::NotRead(lab.why("forced")));
        }
        return Ok(lab.end());
    };
    lab.is("nobody", Value::Count(0), Value::Count(now.attached));
    lab.is("kept", Value::Bytes(length), Value::Bytes(now.takes));

    let (area, value) = lab.step("attach", |lab| {
        let at = lab.call("shmat", [id as u64, 0, 0, 0, 0, 0], format!("shmat({id}, NULL, 0)"))?;
        let area = area(at, length)?;
        lab.touch(area, 0, pages, Touch::Read)?.unwrap_or(0);
        Ok((area, lab.peek(area.start())?))
    })?;
    lab.draw("attach", area, &[], &[])?;
    let named = lab.name_of(area) == "/SYSV00000000 (deleted)";
    lab.is("name", Value::Yes(true), Value::Yes(named));
    lab.is("value", Value::Count(WRITTEN.into()), Value::Count(value.into()));

    let still = lab.step_alone("remove", |lab| {
        let args = [id as u64, IPC_RMID, 0, 0, 0, 0];
        lab.call("shmctl", args, format!("shmctl({id}, IPC_RMID, NULL)"))?.unwrap_or(0);
        lab.peek(area.start())
    })?;
    lab.is("still", Value::Count(WRITTEN.into()), Value::Count(still.into()));

    let at = area.start();
    lab.step("detach", |lab| lab.call("shmdt", [at.0, 0, 0, 0, 0, 0], format!("shmdt({at})")))?.unwrap_or(0);
    lab.is("gone", Value::Yes(true), Value::Yes(find(id)?.is_none()));
    Ok(lab.end())
}

/// The child makes a segment, attaches it, and writes to each of its pages.
fn create(lab: &mut Lab<'_>, child: &mut Peer, length: u64) -> Result<i32, LabError> {
    let shown = format!("shmget(IPC_PRIVATE, {length}, IPC_CREAT|0600)");
    let id = call(lab, child, "shmget", [0, length, CREATE, 0, 0, 0], &shown)?;
    let id = id.map_err(|errno| LabError::Refused { length: Bytes(length), errno })? as i32;
    lab.set("id", id.to_string());
    let at = call(lab, child, "shmat", [id as u64, 0, 0, 0, 0, 0], &format!("p = shmat({id}, NULL, 0)"))?;
    let area = area(at, length)?;
    let (pages, page) = (length / lab.page(), lab.page());
    let touch = Command::Touch { range: area, first: 0, pages, how: Touch::Write };
    child.command(touch).map_err(|how| LabError::Ended { how })?.unwrap_or(0);
    lab.did_in(child, &format!("for (i = 0; i < {pages}; i++) p[i * {page}] = 1"), Ok(String::new()));
    lab.in_child(child, area.start(), Some(WRITTEN)).unwrap_or(0);
    Ok(id)
}

/// A call of the child's.
fn call(
    lab: &mut Lab<'_>,
    child: &mut Peer,
    name: &str,
    args: [u64; 6],
    shown: &str,
) -> Result<Reply, LabError> {
    let index = CALLS.iter().position(|call| call.name == name).unwrap_or(usize::MAX) as u64;
    let reply = child.command(Command::Call { index, args }).map_err(|how| LabError::Ended { how })?;
    let result = |value: u64| if value >= 1 << 32 { Addr(value).to_string() } else { value.to_string() };
    lab.did_in(child, shown, reply.map(result));
    Ok(reply)
}

fn area(at: Reply, length: u64) -> Result<AddrRange, LabError> {
    let at = at.map_err(|errno| LabError::Refused { length: Bytes(length), errno })?;
    Ok(AddrRange::from_len(Addr(at), Bytes(length)).unwrap_or(AddrRange::ALL))
}

/// The segment, where it is still there.
fn find(id: i32) -> Result<Option<Segment>, LabError> {
    let all = segments::all().map_err(LabError::file(LIST))?;
    Ok(all.into_iter().find(|segment| segment.id == id))
}
