//! Looks at a process that nobody traced: a line for each, what they come to, and where a moment lies among them.

mod line;
mod sums;
pub mod texts;

pub use line::{Found, LookTable, json_line};
pub use sums::Looks;

use crate::lang::Lang;
use serde_json::{Map, Value};
use std::fmt::Display;
use vmatlas_event::{MonoNs, Seq};

/// The time by which a look is named: `1.000s`. A look is found by every time of its millisecond.
pub fn look_time(since_start: MonoNs) -> String {
    let ms = since_start.0 / 1_000_000;
    format!("{}.{:03}s", ms / 1000, ms % 1000)
}

/// Where a moment lies among the looks of a recording; times are since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtLook {
    /// When the look began whose map it is.
    pub at: MonoNs,
    /// Its last event.
    pub seq: Seq,
    /// The moment that was asked for, where that is after the look: pages are not known then.
    pub asked: Option<MonoNs>,
    /// When the next look began.
    pub next: Option<MonoNs>,
}

impl AtLook {
    /// The lines that say so.
    pub(crate) fn lines(&self, path: &str, lang: Lang) -> Vec<String> {
        let time = look_time(self.at);
        let Some(asked) = self.asked else {
            let values: [(&str, &dyn Display); 3] = [("path", &path), ("time", &time), ("seq", &self.seq)];
            return vec![texts::AT_LOOK.fill(lang, &values)];
        };
        let asked = look_time(asked);
        let values: [(&str, &dyn Display); 4] =
            [("path", &path), ("asked", &asked), ("time", &time), ("seq", &self.seq)];
        vec![texts::BETWEEN.fill(lang, &values), self.hint(path, lang)]
    }

    /// Where pages are known instead.
    pub fn hint(&self, path: &str, lang: Lang) -> String {
        let before = format!("{path}@{}", look_time(self.at));
        match self.next {
            Some(next) => {
                let after = format!("{path}@{}", look_time(next));
                texts::PAGES_BOTH.fill(lang, &[("before", &before), ("after", &after)])
            }
            None => texts::PAGES_BEFORE.fill(lang, &[("before", &before)]),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let seconds = |at: MonoNs| at.0 as f64 / 1e9;
        let mut object = Map::new();
        object.insert("event".into(), self.seq.0.into());
        object.insert("time".into(), seconds(self.at).into());
        object.insert("exact".into(), self.asked.is_none().into());
        // The moment that was asked for, and a later look, are there or are not.
        for (key, at) in [("asked", self.asked), ("next", self.next)] {
            object.extend(at.map(|at| (key.to_owned(), seconds(at).into())));
        }
        Value::Object(object)
    }
}

/// A look for tests, so many milliseconds after the first one.
#[cfg(test)]
fn look_for_tests(ms: u64, resident: Option<u64>) -> vmatlas_event::Look {
    use vmatlas_event::{Bytes, Extent, Look, MmId, PageSource};
    Look {
        first: Seq(ms),
        seq: Seq(ms),
        mm: MmId(1),
        at: MonoNs(5_000_000_000 + ms * 1_000_000),
        took: 1_000_000,
        extent: Extent::Changed,
        method: PageSource::PagemapScan,
        rows: 0,
        vmas: 1234,
        size: Bytes(1 << 30),
        resident: resident.map(Bytes),
        anonymous: None,
        swapped: None,
        swap_is_empty: true,
        late: ms / 2000,
        hold: ms * 100,
        cpu: ms * 10_000,
    }
}
