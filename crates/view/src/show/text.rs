//! All of it as text: the header, and what follows it.

use super::totals::totals;
use super::{Header, MapView, Options};
use crate::escape;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::texts;
use crate::units::{count, size};
use serde_json::Value;
use std::fmt::{self, Write};
use vmatlas_event::PageCounts;

/// From so many per cent of vm.max_map_count on, the header says so aloud.
const ALMOST_FULL: u64 = 80;

impl Header {
    /// Writes which process it is, and what was read where that is no living process.
    pub(crate) fn write_title(&self, out: &mut dyn Write, lang: Lang, style: Style) -> fmt::Result {
        let name = escape::terminal(&self.name);
        let title = match self.pid {
            Some(pid) => texts::PROCESS.fill(lang, &[("name", &name), ("pid", &pid)]),
            None => name,
        };
        // Saved maps tell no name.
        if !(title.is_empty() && self.exe.is_empty()) {
            write!(out, "{}", style.paint(Paint::Heading, &title))?;
            if !self.exe.is_empty() {
                write!(out, "  {}", style.paint(Paint::Faint, &escape::terminal(&self.exe)))?;
            }
            writeln!(out)?;
        }
        self.source.iter().flat_map(|source| source.lines(lang)).try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl MapView {
    /// Writes all of it as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        self.write_header(out, options)?;
        let rows = self.selected(&options.filter, options.sort);
        if !options.summary {
            writeln!(out)?;
            self.write_rows(out, &rows, options)?;
        }
        if !options.filter.is_all() {
            let values: [(&str, &dyn fmt::Display); 2] =
                [("n", &count(rows.len() as u64)), ("all", &count(self.rows.len() as u64))];
            writeln!(out, "\n{}", texts::SHOWN.fill(options.lang, &values))?;
        }
        writeln!(out)?;
        self.write_totals(out, &rows, options)?;
        self.write_cost(out, options)
    }

    /// One faint line: what the reading cost the reader and the process.
    fn write_cost(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let us = |name: &str| self.cost.get(name).and_then(Value::as_u64);
        let Some(maps) = us("maps_us") else { return Ok(()) };
        let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
        let time = ms(maps + us("pages_us").unwrap_or(0) + us("frames_us").unwrap_or(0));
        let how = self.cost.get("pages_method").and_then(Value::as_str);
        let line = match (us("pages_longest_hold_us").max(us("frames_longest_hold_us")), how) {
            (Some(hold), Some(how)) => {
                let values: [(&str, &dyn fmt::Display); 3] =
                    [("time", &time), ("hold", &ms(hold)), ("how", &how)];
                texts::COST.fill(options.lang, &values)
            }
            _ => texts::COST_OF_MAP.fill(options.lang, &[("time", &time)]),
        };
        writeln!(out, "\n{}", options.style.paint(Paint::Faint, &line))
    }

    /// Writes what stands above the map.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_header(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (h, lang, style) = (&self.header, options.lang, options.style);
        h.write_title(out, lang, style)?;
        // What the kernel prints there for old system calls is no VMA, and does not count against the limit.
        let vmas = self.rows.iter().filter(|row| row.vma.special() != Some(b"vsyscall")).count() as u64;
        let n = count(vmas);
        let mut facts = vec![match h.max_map_count {
            Some(max) => {
                let text = texts::VMAS_OF.fill(lang, &[("n", &n), ("max", &count(max))]);
                match super::map_count::percent(vmas, max) {
                    Some(percent) if percent >= ALMOST_FULL => {
                        style.paint(Paint::Failed, &format!("{text} ({percent} %)"))
                    }
                    _ => text,
                }
            }
            None => texts::VMAS.fill(lang, &[("n", &n)]),
        }];
        if let Some(bytes) = h.virtual_size {
            facts.push(texts::VIRTUAL.fill(lang, &[("size", &size(bytes))]));
        }
        if let Some(bytes) = h.resident {
            facts.push(texts::RESIDENT_SIZE.fill(lang, &[("size", &size(bytes))]));
        }
        let sum = totals(self.rows.iter()).into_iter().filter_map(|t| t.pages).fold(
            PageCounts::default(),
            |mut sum, pages| {
                sum += pages;
                sum
            },
        );
        if sum.swapped.0 > 0 {
            facts.push(texts::SWAPPED_SIZE.fill(lang, &[("size", &size(sum.swapped))]));
        }
        if sum.hugetlb.0 > 0 {
            facts.push(texts::HUGETLB_SIZE.fill(lang, &[("size", &size(sum.hugetlb))]));
        }
        if let Some(threads) = h.threads.filter(|n| *n > 1) {
            facts.push(texts::THREADS.fill(lang, &[("n", &count(threads))]));
        }
        writeln!(out, "{}", facts.join(" · "))?;
        if h.leader_ended {
            writeln!(out, "{}", texts::LEADER_ENDED.get(lang))?;
        }
        if h.torn > 0 {
            writeln!(out, "{}", texts::TORN.fill(lang, &[("n", &h.torn)]))?;
        }
        if h.zero_pages_counted {
            writeln!(out, "{}", texts::ZERO_PAGES_COUNTED.get(lang))?;
        }
        Ok(())
    }
}
