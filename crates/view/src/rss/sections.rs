//! What stands below the lines of a sheet: the kernel's figures, what is worth knowing within and outside of RSS, a
//! profiler's total.

use super::text::{amount, heading};
use super::{Options, RssView, signed, texts};
use crate::kind_text::kind_name;
use crate::picture::wrap::wrap;
use crate::style::Paint;
use crate::table::{Align, Cell, Table};
use crate::units::size;
use std::fmt::{self, Display, Write};
use vmatlas_event::Bytes;
use vmatlas_model::rss::Difference;

/// Names of the kernel, the same in every language.
const ROLLUP: &str = "smaps_rollup (Rss)";
const ROLLUP_PSS: &str = "smaps_rollup (Pss)";
const COUNTER: &str = "status (VmRSS)";

impl RssView {
    pub(super) fn write_kernel(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, kernel) = (options.lang, &self.sheet.kernel);
        if self.map.header.source.is_some() && self.sheet.against_counter().is_none() {
            return Ok(());
        }
        heading(out, texts::KERNEL.get(lang), options)?;
        let verdict = |difference: Difference, why: Option<String>| match difference.signed() {
            0 => texts::EQUAL.get(lang).to_owned(),
            bytes => {
                let rest = texts::REMAINDER.fill(lang, &[("size", &signed(bytes))]);
                why.map_or(rest.clone(), |why| format!("{rest}: {why}"))
            }
        };
        let moved = kernel.moved().filter(|bytes| *bytes != 0);
        let moved = moved.map(|bytes| texts::MOVED.fill(lang, &[("size", &signed(bytes))]));
        let mut rows = Vec::new();
        rows.push(match self.sheet.against_rollup() {
            Some(d) => note(ROLLUP, Some(d.kernel), verdict(d, moved.clone())),
            None if self.map.header.source.is_some() => {
                note(ROLLUP, None, texts::NOT_RECORDED.get(lang).to_owned())
            }
            None => note(ROLLUP, None, texts::ROLLUP_NOT_READ.get(lang).to_owned()),
        });
        rows.extend(kernel.pss.map(|pss| note(ROLLUP_PSS, Some(pss), String::new())));
        if let Some(d) = self.sheet.against_counter() {
            let counter = || texts::COUNTER_ERROR.get(lang).to_owned();
            let why = moved.unwrap_or_else(counter);
            rows.push(note(COUNTER, Some(d.kernel), verdict(d, Some(why))));
        }
        notes(out, &rows, options)
    }

    pub(super) fn write_within(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, sum) = (options.lang, &self.sheet.sum);
        let mut rows = Vec::new();
        if sum.pages.huge.0 > 0 {
            rows.push(note(
                texts::HUGE.get(lang),
                Some(sum.pages.huge),
                texts::HUGE_NOTE.get(lang).to_owned(),
            ));
        }
        let lazy = self.sheet.kernel.lazy_free.or(sum.frames.map(|f| f.lazy_free));
        match lazy {
            Some(Bytes(0)) => {}
            Some(bytes) => {
                rows.push(note(texts::LAZY.get(lang), Some(bytes), texts::LAZY_NOTE.get(lang).to_owned()))
            }
            None if self.map.header.source.is_some() => {}
            None => rows.push(note(texts::LAZY.get(lang), None, texts::LAZY_UNKNOWN.get(lang).to_owned())),
        }
        if let Some(inside) = &self.inside {
            let trim = inside.sum(None, |a| a.free_resident).filter(|b| b.0 > 0);
            rows.extend(
                trim.map(|b| note(texts::TRIM.get(lang), Some(b), texts::TRIM_NOTE.get(lang).to_owned())),
            );
            rows.extend(inside.cached.map(|b| note(texts::CACHED.get(lang), Some(b), String::new())));
        }
        if rows.is_empty() {
            return Ok(());
        }
        heading(out, texts::WITHIN.get(lang), options)?;
        notes(out, &rows, options)
    }

    pub(super) fn write_outside(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, sum, kernel) = (options.lang, &self.sheet.sum, &self.sheet.kernel);
        let mut rows = Vec::new();
        rows.extend(kernel.page_tables.map(|b| note(texts::PAGE_TABLES.get(lang), Some(b), String::new())));
        let hugetlb = Some(sum.pages.hugetlb.max(kernel.hugetlb.unwrap_or_default())).filter(|b| b.0 > 0);
        rows.extend(hugetlb.map(|b| note(texts::HUGETLB.get(lang), Some(b), String::new())));
        let swap = kernel.rollup_swap.or(kernel.swap).filter(|b| b.0 > 0);
        let swap_note = if kernel.rollup_swap.is_some() { "" } else { texts::SWAP_NOTE.get(lang) };
        rows.extend(swap.map(|b| note(texts::SWAP.get(lang), Some(b), swap_note.to_owned())));
        let zero = Some(sum.pages.zero).filter(|b| b.0 > 0);
        rows.extend(
            zero.map(|b| note(texts::ZERO.get(lang), Some(b), texts::ZERO_NOTE.get(lang).to_owned())),
        );
        if rows.is_empty() {
            return Ok(());
        }
        heading(out, texts::OUTSIDE.get(lang), options)?;
        notes(out, &rows, options)
    }

    pub(super) fn write_profiler(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let Some(total) = self.profiler else { return Ok(()) };
        let lang = options.lang;
        let view = self.sheet.profiler(total);
        heading(out, &texts::PROFILER.fill(lang, &[("size", &size(total))]), options)?;
        let names = |wanted| -> String {
            let lines = self.sheet.lines.iter();
            let lines = lines.filter(|l| {
                vmatlas_model::rss::containment(l.kind) == wanted
                    && l.amounts.pages.resident + l.amounts.pages.hugetlb > Bytes(0)
            });
            lines.map(|l| kind_name(l.kind, lang)).collect::<Vec<_>>().join(", ")
        };
        use vmatlas_model::rss::Containment::{Can, Cannot, Part};
        let rows = [
            note(texts::CAN.get(lang), Some(view.can), names(Can)),
            note(texts::PART.get(lang), Some(view.part), names(Part)),
            note(texts::CANNOT.get(lang), Some(view.cannot), names(Cannot)),
        ];
        notes(out, &rows, options)?;
        let (least, most) = view.beyond();
        if most.0 > 0 {
            let (least, most) = (size(least), size(most));
            let text = if least == most { texts::BEYOND_ONE } else { texts::BEYOND };
            let values: [(&str, &dyn Display); 2] = [("least", &least), ("most", &most)];
            paragraph(out, &text.fill(lang, &values), options)?;
            let free = self.inside.as_ref().and_then(|inside| inside.sum(None, |a| a.free_resident));
            if let Some(free) = free {
                paragraph(out, &texts::BEYOND_FREE.fill(lang, &[("size", &size(free))]), options)?;
            }
        }
        if view.not_resident().0 > 0 {
            let text = texts::NOT_RESIDENT.fill(lang, &[("size", &size(view.not_resident()))]);
            paragraph(out, &text, options)?;
        }
        Ok(())
    }
}

/// A label, a figure and a remark.
pub(super) fn note(label: &str, bytes: Option<Bytes>, remark: String) -> Vec<Cell> {
    vec![Cell::new(format!("  {label}")), amount(bytes), Cell::new(remark).paint(Paint::Faint)]
}

/// Writes labels, figures and remarks; a remark that does not fit goes on below itself.
pub(super) fn notes(out: &mut dyn Write, rows: &[Vec<Cell>], options: &Options) -> fmt::Result {
    const LEAST: usize = 24;
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left], options.style, None);
    rows.iter().for_each(|row| table.fit_row(row));
    let before = |row: &[Cell]| table.place_of(row.len() - 1);
    for row in rows {
        let room = options.columns.and_then(|all| all.checked_sub(before(row))).filter(|room| *room >= LEAST);
        let (Some(room), Some((remark, rest))) = (room, row.split_last()) else {
            table.row(out, row)?;
            continue;
        };
        let mut start = rest.to_vec();
        let lines = wrap(&remark.text, room);
        for line in lines.iter().map(String::as_str).chain(lines.is_empty().then_some("")) {
            start.push(Cell::new(line).paint(remark.paint));
            table.row(out, &start)?;
            start = vec![Cell::new(""); rest.len()];
        }
    }
    Ok(())
}

/// Writes a remark, in lines that fit.
pub(super) fn paragraph(out: &mut dyn Write, text: &str, options: &Options) -> fmt::Result {
    let lines =
        options.columns.map_or_else(|| vec![text.to_owned()], |all| wrap(text, all.saturating_sub(2)));
    lines.iter().try_for_each(|line| writeln!(out, "  {}", options.style.paint(Paint::Faint, line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::width;

    /// Checks that remarks go on below themselves on a narrow terminal, in both languages, and stay whole elsewhere.
    #[test]
    fn remarks_fit_the_terminal() {
        for lang in [crate::Lang::En, crate::Lang::Ja] {
            let rows = [note("label", Some(Bytes(4096)), texts::HUGE_NOTE.get(lang).to_owned())];
            let write = |columns| {
                let options = Options { lang, columns, ..Options::default() };
                let mut out = String::new();
                notes(&mut out, &rows, &options).unwrap();
                paragraph(&mut out, texts::BEYOND_ONE.get(lang), &options).unwrap();
                out
            };
            assert_eq!(write(None).lines().count(), 2);
            let narrow = write(Some(60));
            assert!(narrow.lines().count() > 4 && narrow.lines().all(|line| width(line) <= 60), "{narrow}");
            assert_eq!(write(Some(10)).lines().next(), write(None).lines().next());
        }
    }
}
