//! The summary that `vmatlas run --jsonl` ends with: the one place that knows its members, and does without any of them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Sums of one run or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Comparisons with the kernel; `None` where the command made none.
    pub(super) compared: Option<u64>,
    pub(super) skipped: u64,
    pub(super) differences: u64,
    /// The first difference in words.
    pub(super) first: Option<String>,
    /// By the name of the call: done and failed.
    pub(super) calls: BTreeMap<String, (u64, u64)>,
    /// Calls after which the kernel had to be asked; `None` where the command does not say.
    pub(super) asked: Option<u64>,
    pub(super) conflicts: Option<u64>,
    pub(super) drift: u64,
}

impl Summary {
    /// From the lines that were written; `None` when the last is no summary.
    pub(super) fn parse(lines: &str) -> Option<Summary> {
        let value: Value = serde_json::from_str(lines.lines().last()?).ok()?;
        if value["schema"] != "vmatlas/run-summary/1" {
            return None;
        }
        let check = &value["check"];
        let number = |value: &Value| value.as_u64();
        let calls = value["calls"].as_object().map(|calls| {
            calls.iter().map(|(name, call)| {
                let failed = number(&call["failed"]).unwrap_or(0);
                (name.clone(), (number(&call["calls"]).unwrap_or(0).saturating_sub(failed), failed))
            })
        });
        Some(Summary {
            compared: number(&check["compared"]),
            skipped: number(&check["skipped"]).unwrap_or(0),
            differences: number(&check["differences"]).unwrap_or(0),
            first: check["first"].as_str().map(str::to_owned),
            calls: calls.map(Iterator::collect).unwrap_or_default(),
            asked: number(&value["asked"]),
            conflicts: number(&value["conflicts"]),
            drift: number(&value["drift"]).unwrap_or(0),
        })
    }

    /// All calls, done or failed.
    pub(super) fn total(&self) -> u64 {
        self.calls.values().map(|(done, failed)| done + failed).sum()
    }
}

impl AddAssign<&Summary> for Summary {
    fn add_assign(&mut self, other: &Summary) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0) + b.unwrap_or(0)),
        };
        self.compared = sum(self.compared, other.compared);
        self.skipped += other.skipped;
        self.differences += other.differences;
        self.first = self.first.take().or_else(|| other.first.clone());
        for (name, (done, failed)) in &other.calls {
            let call = self.calls.entry(name.clone()).or_default();
            *call = (call.0 + done, call.1 + failed);
        }
        self.asked = sum(self.asked, other.asked);
        self.conflicts = sum(self.conflicts, other.conflicts);
        self.drift += other.drift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"schema":"vmatlas/run-summary/1","calls":{"mmap":{"calls":5,"failed":2}},"asked":3,
        "conflicts":1,"drift":4,"check":{"compared":7,"skipped":1,"differences":1,"first":"after mmap"}}"#;

    /// Checks that every member is taken, that a summary without the newer ones will do, and that sums add up.
    #[test]
    fn members_may_be_missing() {
        let full = Summary::parse(&FULL.replace('\n', "")).unwrap();
        assert_eq!((full.compared, full.asked, full.conflicts, full.drift), (Some(7), Some(3), Some(1), 4));
        assert_eq!((full.calls["mmap"], full.total()), ((3, 2), 5));
        let old = r#"{"schema":"vmatlas/run-summary/1","calls":{},"drift":0}"#;
        let old = Summary::parse(&format!("{{\"other\":1}}\n{old}\n")).unwrap();
        assert_eq!((old.compared, old.asked, old.first.as_deref()), (None, None, None));
        let mut sum = full.clone();
        sum += &full;
        sum += &old;
        assert_eq!((sum.compared, sum.calls["mmap"], sum.drift), (Some(14), (6, 4), 8));
        assert_eq!(Summary::parse("{}"), None);
        assert_eq!(Summary::parse(""), None);
    }
}
