//! The budget of VMAs: how many of vm.max_map_count there are, of which kinds, and which neighbours look alike.

use super::{MapView, Options, paint_of, texts as own, totals::totals};
use crate::kind_text::kind_name;
use crate::lang::Lang;
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::texts;
use crate::units::count;
use serde_json::{Value, json};
use std::fmt::{self, Write};
use vmatlas_event::Addr;
use vmatlas_model::kind::Kind;
use vmatlas_model::{AlikeRun, Apart, Neighbour, alike};

/// Whole per cent of a limit; `None` without one.
pub(super) fn percent(n: u64, max: u64) -> Option<u64> {
    n.checked_mul(100)?.checked_div(max)
}

/// The budget, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapCount {
    /// VMAs the kernel counts: all lines of the map but `[vsyscall]`.
    pub vmas: u64,
    /// vm.max_map_count.
    pub max: Option<u64>,
    /// By kind, the most first.
    pub kinds: Vec<(Kind, u64)>,
    /// Look-alikes by reason, the most boundaries first.
    pub apart: Vec<ApartCount>,
}

/// Look-alikes that are apart for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApartCount {
    /// Why.
    pub why: Apart,
    /// Boundaries between them: so many VMAs more than if each run were one.
    pub boundaries: u64,
    /// Runs of neighbours.
    pub runs: u64,
    /// The longest run: how many VMAs, and where it starts.
    pub longest: (u64, Addr),
}

impl MapCount {
    /// Counts a map.
    pub fn of(view: &MapView) -> MapCount {
        let counted = || view.rows.iter().filter(|row| row.vma.special() != Some(b"vsyscall"));
        let neighbours: Vec<Neighbour<'_>> = counted()
            .map(|row| Neighbour {
                row: &row.vma,
                flags: row.smaps.as_ref().map(|smaps| smaps.flags.as_slice()),
                policy: row.smaps.as_ref().and_then(|smaps| smaps.policy.as_deref()),
            })
            .collect();
        let mut kinds: Vec<(Kind, u64)> = totals(counted()).iter().map(|t| (t.kind, t.count)).collect();
        kinds.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let start = |run: &AlikeRun| neighbours.get(run.vmas.start).map_or(Addr(0), |n| n.row.range.start());
        let mut apart: Vec<ApartCount> = Vec::new();
        for run in alike(&neighbours) {
            let longest = (run.vmas.len() as u64, start(&run));
            let boundaries = run.boundaries() as u64;
            match apart.iter_mut().find(|known| known.why == run.why) {
                Some(known) => {
                    known.boundaries += boundaries;
                    known.runs += 1;
                    if longest.0 > known.longest.0 {
                        known.longest = longest;
                    }
                }
                None => apart.push(ApartCount { why: run.why, boundaries, runs: 1, longest }),
            }
        }
        apart.sort_by_key(|a| std::cmp::Reverse(a.boundaries));
        MapCount { vmas: neighbours.len() as u64, max: view.header.max_map_count, kinds, apart }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let kinds: Vec<Value> =
            self.kinds.iter().map(|(kind, n)| json!({ "kind": kind.id(), "count": n })).collect();
        let apart: Vec<Value> = self
            .apart
            .iter()
            .map(|a| {
                let flags = match &a.why {
                    Apart::Flags(flags) => flag_text(flags).into(),
                    _ => Value::Null,
                };
                json!({
                    "why": why_id(&a.why), "flags": flags, "boundaries": a.boundaries, "runs": a.runs,
                    "longest_run": a.longest.0, "longest_at": a.longest.1.to_string(),
                })
            })
            .collect();
        json!({
            "vmas": self.vmas,
            "max_map_count": self.max,
            "left": self.max.map(|max| max.saturating_sub(self.vmas)),
            "kinds": kinds,
            "look_alikes": apart,
        })
    }

    fn write(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, style) = (options.lang, options.style);
        let n = count(self.vmas);
        let first = match self.max {
            Some(max) => {
                let tenths = self.vmas.saturating_mul(1000) / max.max(1);
                let values: [(&str, &dyn fmt::Display); 4] = [
                    ("n", &n),
                    ("max", &count(max)),
                    ("percent", &format!("{}.{}", tenths / 10, tenths % 10)),
                    ("left", &count(max.saturating_sub(self.vmas))),
                ];
                own::MAP_COUNT.fill(lang, &values)
            }
            None => own::MAP_COUNT_ALONE.fill(lang, &[("n", &n)]),
        };
        writeln!(out, "{first}\n")?;
        let bold = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut lines = vec![vec![bold(&texts::KIND), bold(&texts::COUNT), bold(&own::PART)]];
        for (kind, n) in &self.kinds {
            let part = percent(*n, self.vmas).unwrap_or(0);
            lines.push(vec![
                Cell::new(kind_name(*kind, lang)).paint(paint_of(*kind)),
                Cell::new(count(*n)),
                Cell::new(format!("{part} %")),
            ]);
        }
        write_table(out, &[Align::Left, Align::Right, Align::Right], &lines, style, options.columns)?;
        writeln!(out)?;
        if self.apart.is_empty() {
            return writeln!(out, "{}", own::NO_ALIKE.get(lang));
        }
        let pairs: u64 = self.apart.iter().map(|a| a.boundaries).sum();
        let runs: u64 = self.apart.iter().map(|a| a.runs).sum();
        let values: [(&str, &dyn fmt::Display); 2] = [("pairs", &count(pairs)), ("runs", &count(runs))];
        writeln!(out, "{}", own::ALIKES.fill(lang, &values))?;
        let mut lines = vec![vec![bold(&own::BOUNDARIES), bold(&own::LONGEST), bold(&own::WHY_APART)]];
        for a in &self.apart {
            let values: [(&str, &dyn fmt::Display); 2] = [("n", &count(a.longest.0)), ("addr", &a.longest.1)];
            lines.push(vec![
                Cell::new(count(a.boundaries)),
                Cell::new(own::RUN.fill(lang, &values)),
                Cell::new(why_words(&a.why, lang)),
            ]);
        }
        write_table(out, &[Align::Right, Align::Left, Align::Left], &lines, style, options.columns)?;
        if self.apart.iter().any(|a| matches!(a.why, Apart::Unseen | Apart::Unread)) {
            writeln!(out, "{}", style.paint(Paint::Faint, own::HISTORY.get(lang)))?;
        }
        Ok(())
    }
}

fn flag_text(flags: &[[u8; 2]]) -> String {
    let words: Vec<_> = flags.iter().map(|flag| String::from_utf8_lossy(flag)).collect();
    words.join(" ")
}

fn why_id(why: &Apart) -> &'static str {
    match why {
        Apart::Offset => "offset",
        Apart::Name => "name",
        Apart::Flags(_) => "flags",
        Apart::Policy => "policy",
        Apart::Unseen => "unseen",
        Apart::Unread => "unread",
    }
}

fn why_words(why: &Apart, lang: Lang) -> String {
    match why {
        Apart::Offset => own::APART_OFFSET.get(lang).to_owned(),
        Apart::Name => own::APART_NAME.get(lang).to_owned(),
        Apart::Flags(flags) => {
            own::APART_FLAGS.fill(lang, &[("flags", &crate::escape::terminal(flag_text(flags).as_bytes()))])
        }
        Apart::Policy => own::APART_POLICY.get(lang).to_owned(),
        Apart::Unseen => own::APART_UNSEEN.get(lang).to_owned(),
        Apart::Unread => own::APART_UNREAD.get(lang).to_owned(),
    }
}

impl MapView {
    /// Writes the header and the budget of VMAs, in place of the map.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_map_count(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        self.write_header(out, options)?;
        MapCount::of(self).write(out, options)
    }
    /// Writes the budget of VMAs as one JSON document.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_map_count_json(&self, out: &mut dyn Write) -> fmt::Result {
        let process = Value::Object(self.process_json());
        let budget = MapCount::of(self).to_json();
        let document = json!({
            "schema": "vmatlas/map-count/1", "process": process, "map_count": budget, "cost": self.cost,
        });
        writeln!(out, "{document}")
    }
}
