//! Page-fault events, tried on ourselves.

use super::{error, setcap, setting, sysctl, tried};
use vmatlas_event::{Bytes, Errno, Tid};
use vmatlas_sys::perf::{Event, Faults, Options, Ring};
use vmatlas_sys::sched;
use vmatlas_view::doctor::{Finding, Item, State, texts};
use vmatlas_view::units::size;

const EPERM: Errno = Errno(1);
const EACCES: Errno = Errno(13);

/// So many pages of records are asked for, as `--faults` does, and fewer where that is refused.
const PAGES: usize = 512;
/// With fewer a burst of faults is lost.
const ENOUGH: usize = 16;

pub(super) fn look() -> Vec<Finding> {
    let own = open(false);
    let kernel = open(true);
    let room = largest_ring();
    let level = setting("kernel.perf_event_paranoid");
    let permit = |value: &str| sysctl("kernel.perf_event_paranoid", value);
    let is_forbidden = |errno: Errno| matches!(errno, EPERM | EACCES);
    let can_pass = |errno| is_forbidden(errno) && level.as_deref().is_some_and(|level| level > "2");
    let with_grant = |finding: Finding, errno| match can_pass(errno) {
        true => finding.granted_by(permit("2")),
        false => finding,
    };
    let faults = match (own, &room) {
        (Err(errno), _) => with_grant(tried(Item::PageFaults, Err(errno)), errno),
        (Ok(()), Err(errno)) => tried(Item::PageFaults, Err(*errno)),
        (Ok(()), Ok(_)) if kernel.is_err() => {
            Finding::new(Item::PageFaults, State::InPart).because(texts::USER_ONLY, missing(kernel))
        }
        (Ok(()), Ok(_)) => Finding::new(Item::PageFaults, State::Works),
    };
    let paranoid = match (own, &level) {
        (Ok(()), Some(level)) => Finding::new(Item::Paranoid, State::Works)
            .because(texts::SETTING, format!("kernel.perf_event_paranoid = {level}")),
        (Ok(()), None) => Finding::new(Item::Paranoid, State::Works),
        (Err(errno), _) => with_grant(tried(Item::Paranoid, Err(errno)), errno),
    };
    let touches = match kernel {
        Ok(()) => Finding::new(Item::KernelTouches, State::Works),
        Err(errno) => {
            let finding = tried(Item::KernelTouches, Err(errno));
            // As safe as a setting can be: it is for this program alone.
            if is_forbidden(errno) { finding.granted_by(setcap("cap_perfmon")) } else { finding }
        }
    };
    let mlock = match room {
        Ok(pages) => {
            let bytes = Bytes(pages as u64 * vmatlas_sys::page_size().bytes());
            let state = if pages >= ENOUGH { State::Works } else { State::InPart };
            let finding = Finding::new(Item::Mlock, state).because(texts::ROOM, size(bytes));
            if state == State::Works {
                finding
            } else {
                finding.granted_by(sysctl("kernel.perf_event_mlock_kb", "2052"))
            }
        }
        Err(errno) => {
            let finding = tried(Item::Mlock, Err(errno));
            let is_room = own.is_ok() && is_forbidden(errno);
            if is_room { finding.granted_by(sysctl("kernel.perf_event_mlock_kb", "2052")) } else { finding }
        }
    };
    vec![faults, paranoid, touches, mlock]
}

fn missing(answer: Result<(), Errno>) -> String {
    answer.err().map(error).unwrap_or_default()
}

/// Whether an event of ours can be opened, with the kernel's touches or without.
fn open(kernel: bool) -> Result<(), Errno> {
    let cpu = sched::online().first().copied();
    let options = Options { cpu, kernel, on_exec: false, sampled: true, execs: false, stacks: None };
    Event::open(Tid(0), Faults::Minor, options).map(|_| ())
}

/// The largest ring that one gets for every processor at a time, in pages.
fn largest_ring() -> Result<usize, Errno> {
    let cpus = sched::online();
    let mut pages = PAGES;
    loop {
        let rings: Result<Vec<Ring>, Errno> = cpus.iter().map(|cpu| Ring::new(*cpu, pages)).collect();
        match rings {
            Ok(_) => return Ok(pages),
            Err(_) if pages > 1 => pages /= 2,
            Err(errno) => return Err(errno),
        }
    }
}
