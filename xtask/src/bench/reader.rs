//! Rows of the light reader: the pages of each VMA, against what the kernel itself takes.

use super::pairs::{Asked, Row, Side};
use super::rows::number_of;
use super::subject::{Programs, Sleeper};
use anyhow::Result;
use std::process::Command;
use std::rc::Rc;

const WHAT: &str = "resident size of each of 60,000 VMAs";

pub(super) fn rows(programs: &Rc<Programs>) -> Result<[Row; 3]> {
    let sleeper = Rc::new(Sleeper::start(&programs.subject, &["vmas", "60000"])?);
    let with = |name: &str, mode: &'static str, more: &'static [&'static str]| {
        let (programs, sleeper) = (programs.clone(), sleeper.clone());
        Side::new(name, move || {
            let mut command = Command::new(&programs.read_pages);
            number_of(command.args([mode, &sleeper.pid().to_string(), "5"]).args(more))
        })
    };
    let side = |name: &str, mode: &'static str| with(name, mode, &[]);
    let smaps = sleeper.clone();
    Ok([
        Row {
            name: format!("{WHAT}, over what the kernel takes"),
            unit: "us",
            asked: Asked::RatioAtMost(1.25),
            ours: side("maps and PAGEMAP_SCAN in slices, with pauses", "ours"),
            peer: side("bare read(2) of maps, one PAGEMAP_SCAN", "floor"),
        },
        Row {
            name: format!("{WHAT}, over what the kernel takes, --threads 2"),
            unit: "us",
            asked: Asked::RatioAtMost(1.25),
            ours: with("the same with two threads", "ours", &["1000", "2"]),
            peer: side("bare read(2) of maps, one PAGEMAP_SCAN", "floor"),
        },
        Row {
            name: format!("{WHAT}, against only reading smaps"),
            unit: "us",
            asked: Asked::RatioAtMost(0.34),
            ours: side("maps and PAGEMAP_SCAN in slices, with pauses", "ours"),
            peer: Side::new("cat smaps", move || {
                let start = std::time::Instant::now();
                let path = format!("/proc/{}/smaps", smaps.pid());
                let output = Command::new("cat").arg(path).stdout(std::process::Stdio::null()).status()?;
                anyhow::ensure!(output.success(), "cat ended with {output}");
                Ok(start.elapsed().as_secs_f64() * 1e6)
            }),
        },
    ])
}
