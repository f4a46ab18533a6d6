//! stress-ng: each stressor with a bounded number of operations, verified by itself.

use super::{Ended, Watch, each, need};
use anyhow::Result;
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
    // vm-segv is not among them: it traces its own child, which no program under a tracer can.
    let names =
        STRESSORS.iter().map(|(name, _)| *name).filter(|name| chosen.is_empty() || chosen.contains(name));
    each(watch, "stressor", names, |name| {
        let ops = STRESSORS.iter().find(|(n, _)| *n == name).map_or(0, |(_, ops)| *ops).to_string();
        let (stressor, bound) = (format!("--{name}"), format!("--{name}-ops"));
        let command = ["stress-ng", &stressor, "1", &bound, &ops, "--verify", "-t", SECONDS];
        let outcome = watch.both(name, &command, Duration::from_secs(60))?;
        let code = |ended: &Ended| ended.status.and_then(|status| status.code());
        let same = code(&outcome.plain).is_some() && code(&outcome.plain) == code(&outcome.watched);
        Ok((outcome, same))
    })
}
