//! Address space layout randomisation: where everything is in each start, and how many bits of that are chosen at random.

mod places;

use crate::command::Command;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::Lab;
use crate::randomised::{Bits, Randomised, certainly_seen};
use crate::report::{Figure, Report};
use crate::settings::Param;
use crate::subject::Peer;
use places::{differing, figure, places, table};
use std::collections::BTreeSet;

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("randomisation", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("starts", "8", 2, 64)]);

/// ADDR_NO_RANDOMIZE of personality(2).
const NO_RANDOMIZE: u64 = 0x4_0000;
/// How often the program is started without it.
const FIXED_STARTS: u64 = 3;
/// Page bits in which the vdso's place may lean to one side: up to Linux 6.9 it was chosen between the end of the stack
/// and the end of that page table (arch/x86/entry/vdso/vma.c, vdso_addr()).
const UNEVEN: Bits = 9;

/// What is compared: section `label NAME` is its word, `NAME-bits` its fact.
const PLACES: [(&str, &str); 5] = [
    ("program", "program-bits"),
    ("heap", "heap-bits"),
    ("loader", "loader-bits"),
    ("vdso", "vdso-bits"),
    ("stack", "stack-bits"),
];

/// Where each of [`PLACES`] begins, the stack where it ends, for it grows down; `None` where there is none.
type Places = [Option<u64>; 5];

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let starts = lab.settings.count("starts");
    lab.set("n", starts);
    let how = Randomised::read(lab.report.machine.page);
    let own = places(lab.subject.process())?;
    lab.step_alone("look", |lab| {
        let setting = how.and_then(|how| how.setting);
        lab.set("setting", setting.map_or_else(|| "?".to_owned(), |number| number.to_string()));
        table(lab, &[own]);
        lab.say(match how.and_then(|how| how.is_on()) {
            Some(true) => "look",
            Some(false) => "look-off",
            None => "look-unknown",
        });
        Ok(())
    })?;

    let mut child = lab.step_alone("fork", |lab| {
        let child = lab.fork()?;
        table(lab, &[own, places(child.process())?]);
        lab.say("fork");
        Ok(child)
    })?;
    lab.is("fork-same", Value::Yes(true), Value::Yes(places(child.process())? == own));

    let predicted = PLACES.map(|(name, _)| expected(&lab, how, name, starts));
    let seen = lab.step_alone("starts", |lab| {
        let seen = start(lab, &mut child, starts)?;
        lab.say("starts");
        Ok(seen)
    })?;
    lab.report.figure = Some(Figure::Spread(figure(&lab, &seen)));
    for ((index, (_, id)), predicted) in PLACES.into_iter().enumerate().zip(predicted) {
        let all: Option<Vec<u64>> = seen.iter().map(|places| *places.get(index)?).collect();
        let measured = match all {
            Some(all) => Measured::Is(Value::Count(differing(&all))),
            None => Measured::NotRead(lab.why("none")),
        };
        lab.fact(id, predicted, measured);
    }

    let fixed = lab.step_alone("off", |lab| {
        let command = personality();
        let reply = child.command(command).map_err(|how| LabError::Ended { how })?;
        lab.did_child(&child, "personality(ADDR_NO_RANDOMIZE)", reply.map(|old| format!("{old:#x}")));
        if reply.is_err() {
            lab.say("off-refused");
            return Ok(None);
        }
        let seen = start(lab, &mut child, FIXED_STARTS)?;
        lab.say("off");
        Ok(Some(seen))
    })?;
    let measured = match &fixed {
        Some(fixed) => Measured::Is(Value::Count(fixed.iter().collect::<BTreeSet<_>>().len() as u64)),
        None => Measured::NotRead(lab.why("refused")),
    };
    lab.fact("off", Expected::Is(Value::Count(1)), measured);
    let predicted = match how.and_then(usual_start) {
        Some(addr) => Expected::Is(Value::Addr(addr)),
        None => Expected::Unknown(lab.why("processor")),
    };
    let found = fixed.as_ref().and_then(|fixed| *fixed.first()?.first()?);
    let measured =
        found.map_or_else(|| Measured::NotRead(lab.why("refused")), |at| Measured::Is(Value::Addr(at)));
    lab.fact("off-program", predicted, measured);
    lab.step_alone("end", |lab| lab.end_child(&mut child))?.unwrap_or(0);
    Ok(lab.end())
}

/// How many bits of a place are to differ.
fn expected(lab: &Lab<'_>, how: Option<Randomised>, name: &str, starts: u64) -> Expected {
    let Some((how, is_on)) = how.and_then(|how| Some((how, how.is_on()?))) else {
        return Expected::Unknown(lab.why("setting"));
    };
    match if is_on { bits_of(how, name, lab.report.machine.page) } else { 0 } {
        0 => Expected::Is(Value::Count(0)),
        bits => Expected::AtLeast(Value::Count(certainly_seen(bits, starts))),
    }
}

fn personality() -> Command {
    let calls = vmatlas_sys::workbench::CALLS;
    let index = calls.iter().position(|call| call.name == "personality").unwrap_or(usize::MAX) as u64;
    Command::Call { index, args: [NO_RANDOMIZE, 0, 0, 0, 0, 0] }
}

/// Starts the program again and again, in the same child: where everything is each time.
fn start(lab: &mut Lab<'_>, child: &mut Peer, times: u64) -> Result<Vec<Places>, LabError> {
    let mut seen = Vec::new();
    for _ in 0..times {
        let reply = child.command(Command::Exec).map_err(|how| LabError::Ended { how })?;
        reply.map_err(|errno| LabError::Start { why: vmatlas_sys::errno_text(errno) })?;
        seen.push(places(child.process())?);
    }
    let shown = format!("for (i = 0; i < {times}; i++) execve(\"/proc/self/exe\", argv, environ)");
    lab.did_child(child, shown, Ok(String::new()));
    table(lab, &seen);
    Ok(seen)
}

/// How many bits of a place are chosen at random, evenly and each for itself.
fn bits_of(how: Randomised, name: &str, page: vmatlas_event::PageSize) -> Bits {
    match name {
        "program" => how.program_bits(page),
        "heap" => how.heap_bits(page),
        "loader" => how.map_bits,
        "vdso" => how.map_bits.min(how.stack_bits.saturating_sub(UNEVEN)),
        _ => how.stack_bits,
    }
}

/// Where a program that can be anywhere and has a loader begins without randomisation: at two thirds of the addresses (ELF_ET_DYN_BASE).
fn usual_start(how: Randomised) -> Option<u64> {
    const ADDRESSES: u64 = (1 << 47) - 4096;
    (cfg!(target_arch = "x86_64") && how.is_pie && how.has_loader)
        .then_some(ADDRESSES / 3 * 2 / how.align * how.align)
}
