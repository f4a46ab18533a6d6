//! What stands below the lines of a sheet: the kernel's figures, what is worth knowing within and outside of RSS, a
//! profiler's total.

use super::text::{amount, heading};
use super::{Options, RssView, percent, signed, texts};
use crate::kind_text::kind_name;
use crate::picture::wrap::wrap;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, width};
use crate::units::size;
use std::fmt::{self, Display, Write};
use vmatlas_event::Bytes;
use vmatlas_model::rss::{Arena, Difference};

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
        if let Some(pss) = kernel.pss {
            let ours = self.sheet.sum.frames.map(|frames| size(frames.pss.bytes()));
            let ours = ours.map_or(String::new(), |ours| texts::OWN_SUM.fill(lang, &[("size", &ours)]));
            rows.push(note(ROLLUP_PSS, Some(pss), ours));
        }
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
        let locked = self.sheet.kernel.locked.filter(|b| b.0 > 0 && sum.locked.is_none());
        rows.extend(
            locked
                .map(|b| note(texts::LOCKED_ALL.get(lang), Some(b), texts::LOCKED_NOTE.get(lang).to_owned())),
        );
        let twice = self.sheet.mapped_again.filter(|b| b.0 > 0);
        rows.extend(
            twice.map(|b| note(texts::AGAIN.get(lang), Some(b), texts::AGAIN_NOTE.get(lang).to_owned())),
        );
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
            let fragments = inside.sum(None, Arena::fragments);
            let matters = |b: &Bytes| percent(*b, sum.pages.resident).is_some_and(|p| p > 0);
            rows.extend(fragments.filter(matters).map(|b| {
                let why = texts::TRIM_FRAGMENTS_NOTE.get(lang).to_owned();
                note(texts::TRIM_FRAGMENTS.get(lang), Some(b), why)
            }));
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
        let view = self.sheet.profiler(total, self.of_malloc());
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
        let mut can = names(Can);
        if self.of_malloc() > Bytes(0) {
            can =
                format!("{can}{}{}", if can.is_empty() { "" } else { ", " }, texts::MALLOC_MAPPED.get(lang));
        }
        let rows = [
            note(texts::CAN.get(lang), Some(view.can), can),
            note(texts::PART.get(lang), Some(view.part), names(Part)),
            note(texts::CANNOT.get(lang), Some(view.cannot), names(Cannot)),
        ];
        notes(out, &rows, options)?;
        let (least, most) = view.beyond();
        if most.0 > 0 {
            let values: [(&str, &dyn Display); 2] = [("least", &size(least)), ("most", &size(most))];
            let text = if size(least) == size(most) { texts::BEYOND_ABOUT } else { texts::BEYOND };
            paragraph(out, &text.fill(lang, &values), options)?;
            let inside = self.inside.as_ref();
            let pages = inside.and_then(|inside| inside.sum(None, |a| a.free_resident));
            let fragments = inside.and_then(|inside| inside.sum(None, Arena::fragments));
            if let Some((pages, fragments)) = pages.zip(fragments) {
                let values: [(&str, &dyn Display); 2] =
                    [("pages", &size(pages)), ("fragments", &size(fragments))];
                paragraph(out, &texts::BEYOND_FREE.fill(lang, &values), options)?;
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

/// Writes notes as a table; on a terminal their remarks take as many lines as they need.
pub(super) fn notes(out: &mut dyn Write, rows: &[Vec<Cell>], options: &Options) -> fmt::Result {
    /// With less room than this, remarks go below their labels.
    const NARROW: usize = 30;
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left], options.style, None);
    rows.iter().for_each(|row| table.fit_row(row));
    let widest = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| width(&cell.text)).max().unwrap_or(0)
    };
    let used = widest(0) + widest(1) + 4;
    for row in rows {
        let (Some(columns), [label, figure, remark]) = (options.columns, row.as_slice()) else {
            table.row(out, row)?;
            continue;
        };
        let room = columns.saturating_sub(used);
        if width(&remark.text) <= room {
            table.row(out, row)?;
        } else if room >= NARROW {
            let mut start = [label.clone(), figure.clone()];
            for line in wrap(&remark.text, room) {
                let [label, figure] = std::mem::replace(&mut start, [Cell::new(""), Cell::new("")]);
                table.row(out, &[label, figure, Cell::new(line).paint(remark.paint)])?;
            }
        } else {
            table.row(out, &[label.clone(), figure.clone()])?;
            for line in wrap(&remark.text, columns.saturating_sub(4)) {
                writeln!(out, "    {}", options.style.paint(remark.paint, &line))?;
            }
        }
    }
    Ok(())
}

/// Writes a sentence; `· ` before it makes it an item of a list.
pub(super) fn paragraph(out: &mut dyn Write, text: &str, options: &Options) -> fmt::Result {
    let (mut mark, indent, text) = match text.strip_prefix("· ") {
        Some(item) => ("· ", "  ", item),
        None => ("", "", text),
    };
    let lines = match options.columns {
        Some(columns) => wrap(text, columns.saturating_sub(2 + indent.len())),
        None => vec![text.to_owned()],
    };
    for line in lines {
        writeln!(out, "  {}", options.style.paint(Paint::Faint, &format!("{mark}{line}")))?;
        mark = indent;
    }
    Ok(())
}

/// Writes a text, in as many lines as a terminal needs.
pub(super) fn lines(
    out: &mut dyn Write,
    text: &str,
    columns: Option<usize>,
    style: Style,
    paint: Paint,
) -> fmt::Result {
    let lines = columns.map_or_else(|| vec![text.to_owned()], |columns| wrap(text, columns));
    lines.iter().try_for_each(|line| writeln!(out, "{}", style.paint(paint, line)))
}
