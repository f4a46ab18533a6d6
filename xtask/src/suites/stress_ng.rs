//! stress-ng: each stressor with a bounded number of operations, verified by itself.

use super::{Watch, heading, need};
use anyhow::{Result, bail};
use std::time::Duration;

/// Each with the operations it gets: as many as end within seconds without us.
const STRESSORS: &[(&str, u32)] = &[
    ("mremap", 20),
    ("mmapfixed", 100),
    ("mprotect", 2000),
    ("mmapfork", 10),
    ("mmapmany", 500),
    ("munmap", 500),
    ("madvise", 20),
    ("mlock", 100),
    ("brk", 2000),
    ("stack", 100),
    ("userfaultfd", 200),
    ("shm-sysv", 20),
    ("remap", 20),
    ("vforkmany", 100),
    ("memfd", 20),
];
/// What a stressor that does not count its operations gets.
const SECONDS: &str = "15";

pub(super) fn run(watch: &Watch, chosen: &[&str]) -> Result<()> {
    need("stress-ng", "stress-ng")?;
    println!("{}", heading("stressor"));
    let mut wrong = Vec::new();
    for (name, ops) in STRESSORS.iter().filter(|(name, _)| chosen.is_empty() || chosen.contains(name)) {
        let (stressor, bound, ops) = (format!("--{name}"), format!("--{name}-ops"), ops.to_string());
        let command = ["stress-ng", &stressor, "1", &bound, &ops, "--verify", "-t", SECONDS];
        let outcome = watch.both(name, &command, Duration::from_secs(60))?;
        let code = |ended: &super::Ended| ended.status.and_then(|status| status.code());
        let same = code(&outcome.plain).is_some() && code(&outcome.plain) == code(&outcome.watched);
        let (line, is_well) = outcome.line(name, same);
        println!("{line}");
        if !is_well {
            wrong.push(*name);
        }
    }
    if !wrong.is_empty() {
        bail!(
            "not as without us, or not equal: {} (outputs in {})",
            wrong.join(", "),
            watch.folder.display()
        );
    }
    // vm-segv is not among them: it traces its own child, which no program under a tracer can.
    Ok(())
}
