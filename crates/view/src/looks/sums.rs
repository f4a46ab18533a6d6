//! What all looks of a recording come to.

use super::{look_time, texts};
use crate::lang::Lang;
use crate::units::{count, size};
use serde_json::{Map, Value};
use std::fmt::Display;
use vmatlas_event::{Bytes, Look, MonoNs};

/// What is said of all looks together, in JSON.
const OF_ALL: [&str; 8] = [
    "count",
    "late",
    "resident_first",
    "resident_last",
    "resident_most",
    "cpu",
    "cpu_percent",
    "longest_hold_us",
];

/// What all looks of a recording come to.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// How many.
    pub count: u64,
    /// Whether others could not be read: then nothing is said of all of them.
    pub is_part: bool,
    /// How long after one the next was due, in nanoseconds.
    pub interval: Option<u64>,
    /// How many were left out.
    pub late: u64,
    /// What was resident at the first one whose sum is known, at the last one, and at that where it was most.
    pub resident: Option<[(Bytes, MonoNs); 3]>,
    /// CPU time of who looked, in nanoseconds, and how long that was.
    pub cpu: u64,
    /// From the first to the last, in nanoseconds.
    pub time: u64,
    /// The longest single call, in nanoseconds.
    pub hold: u64,
}

impl Looks {
    /// The sums, with times since the first look.
    pub fn of(looks: &[Look], interval: Option<u64>) -> Looks {
        let start = looks.first().map_or(MonoNs(0), |look| look.at);
        let known = || {
            looks.iter().filter_map(|look| Some((look.resident?, MonoNs(look.at.0.saturating_sub(start.0)))))
        };
        // The first of several that are as large.
        let most = known().reduce(|most, this| if this.0 > most.0 { this } else { most });
        Looks {
            count: looks.len() as u64,
            is_part: false,
            interval,
            late: looks.iter().fold(0, |sum, look| sum.saturating_add(look.late)),
            resident: known()
                .next()
                .zip(known().next_back())
                .zip(most)
                .map(|((first, last), most)| [first, last, most]),
            cpu: looks.last().map_or(0, |look| look.cpu),
            time: looks.last().map_or(0, |last| last.end().0.saturating_sub(start.0)),
            hold: looks.iter().map(|look| look.hold).max().unwrap_or(0),
        }
    }

    /// Two or three lines.
    pub fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = Vec::new();
        let (n, late) = (count(self.count), count(self.late));
        if self.is_part {
            return vec![texts::LOOKS_LEFT.fill(lang, &[("n", &n)])];
        }
        lines.push(match self.interval {
            Some(interval) => {
                let interval = short_seconds(interval);
                texts::LOOKS.fill(lang, &[("n", &n), ("interval", &interval), ("late", &late)])
            }
            None => texts::LOOKS_ALONE.fill(lang, &[("n", &n), ("late", &late)]),
        });
        lines.push(match self.resident {
            Some([first, last, most]) => {
                let values: [(&str, &dyn Display); 4] = [
                    ("first", &size(first.0)),
                    ("last", &size(last.0)),
                    ("peak", &size(most.0)),
                    ("time", &look_time(most.1)),
                ];
                texts::SIZES.fill(lang, &values)
            }
            None => texts::NO_SIZES.get(lang).to_owned(),
        });
        lines.extend(self.cost(lang));
        lines
    }

    /// The lines at the end of watching.
    pub fn end_lines(&self, has_ended: bool, lang: Lang) -> Vec<String> {
        let first = self.lines(lang).into_iter().take(1);
        let ended = has_ended.then(|| texts::ENDED.get(lang).to_owned());
        first.chain(ended).chain(self.cost(lang)).collect()
    }

    /// What watching cost.
    pub fn cost(&self, lang: Lang) -> Option<String> {
        let percent = self.percent()?;
        let values: [(&str, &dyn Display); 3] = [
            ("cpu", &format!("{:.3}", self.cpu as f64 / 1e9)),
            ("percent", &format!("{percent:.2}")),
            ("hold", &format!("{:.2}", self.hold as f64 / 1e6)),
        ];
        Some(texts::COST.fill(lang, &values))
    }

    /// CPU time in per cent of one CPU: a look and the wait that follows it; nothing of less than two looks.
    fn percent(&self) -> Option<f64> {
        (self.count > 1 && self.time > 0).then(|| self.cpu as f64 * 100.0 / self.time as f64)
    }

    /// The same for JSON.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        let interval = self.interval.map_or(Value::Null, |ns| (ns as f64 / 1e9).into());
        object.insert("interval".into(), interval);
        if self.is_part {
            object.insert("readable".into(), self.count.into());
            for key in OF_ALL {
                object.insert(key.into(), Value::Null);
                object.insert(format!("{key}_why"), "damaged".into());
            }
            return Value::Object(object);
        }
        object.insert("count".into(), self.count.into());
        object.insert("late".into(), self.late.into());
        for (index, key) in ["first", "last", "most"].into_iter().enumerate() {
            let found = self.resident.and_then(|all| all.get(index).copied());
            object.insert(format!("resident_{key}"), found.map_or(Value::Null, |(bytes, _)| bytes.0.into()));
            match found {
                Some((_, at)) => object.insert(format!("resident_{key}_time"), (at.0 as f64 / 1e9).into()),
                None => object.insert(format!("resident_{key}_why"), "unknown".into()),
            };
        }
        object.insert("cpu".into(), (self.cpu as f64 / 1e9).into());
        object.insert("cpu_percent".into(), self.percent().map_or(Value::Null, Into::into));
        if self.percent().is_none() {
            object.insert("cpu_percent_why".into(), "unknown".into());
        }
        object.insert("longest_hold_us".into(), (self.hold / 1000).into());
        Value::Object(object)
    }
}

/// `1`, `0.25`.
fn short_seconds(ns: u64) -> String {
    let text = format!("{:.6}", ns as f64 / 1e9);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::look_for_tests as look;
    use super::*;

    /// Checks sums over looks, and that they are unknown where no look knows its own.
    #[test]
    fn sums_are_those_of_known_looks() {
        let looks = [look(0, None), look(1000, Some(10)), look(2000, Some(30)), look(4000, Some(20))];
        let sums = Looks::of(&looks, Some(250_000_000));
        let at = |ms: u64| MonoNs(ms * 1_000_000);
        assert_eq!(
            sums.resident,
            Some([(Bytes(10), at(1000)), (Bytes(20), at(4000)), (Bytes(30), at(2000))])
        );
        assert_eq!((sums.late, sums.hold, sums.json()["interval"].as_f64()), (3, 400_000, Some(0.25)));
        assert!(sums.lines(Lang::En)[0].contains("every 0.25 s"));
        assert_eq!(Looks::of(&looks[..1], None).json()["resident_first_why"], "unknown");
    }
}
