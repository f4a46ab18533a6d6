//! What stands below the list.

use super::group::Sums;
use super::text::Options;
use super::{PsView, texts};
use crate::lang::Lang;
use crate::style::Paint;
use crate::texts as common;
use crate::units::{count, size};
use std::fmt::{self, Write};

/// What else a person should know.
pub(super) fn notes(view: &PsView, sums: &Sums, out: &mut dyn Write, options: &Options) -> fmt::Result {
    let (about, lang, style) = (&view.about, options.lang, options.style);
    let mut note = |text: String| writeln!(out, "{}", style.paint(Paint::Faint, &text));
    if sums.processes > 1 {
        note(if view.with_shares { texts::SHARED_ONCE } else { texts::SHARED_TWICE }.get(lang).to_owned())?;
    }
    if sums.same_space > 0 {
        note(texts::SAME_SPACE.fill(lang, &[("n", &count(sums.same_space))]))?;
    }
    for text in lacks(view, sums, lang) {
        note(text)?;
    }
    if about.needs_root {
        note(texts::NEEDS_ROOT.get(lang).to_owned())?;
    }
    if about.too_large > 0 {
        let values: [(&str, &dyn fmt::Display); 2] =
            [("n", &about.too_large), ("size", &size(about.own_sum_most))];
        note(texts::TOO_LARGE.fill(lang, &values))?;
    }
    if let Some(cost) = about.rollup {
        let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
        let values: [(&str, &dyn fmt::Display); 3] =
            [("n", &cost.processes), ("longest", &ms(cost.longest_us)), ("total", &ms(cost.total_us))];
        note(texts::ROLLUP.fill(lang, &values))?;
    }
    for (n, text) in [(about.args_late, &texts::ARGS_LATE), (about.ended, &texts::ENDED)] {
        if n > 0 {
            note(text.fill(lang, &[("n", &count(n))]))?;
        }
    }
    if about.hidepid {
        note(texts::HIDEPID.get(lang).to_owned())?;
    }
    Ok(())
}

/// How many are missing in the sums; columns that lack the same are named together. What was not read for its cost is
/// told elsewhere, with what would read it.
fn lacks(view: &PsView, sums: &Sums, lang: Lang) -> Vec<String> {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for (shown, column, sum) in [
        (true, &common::RESIDENT, sums.resident),
        (view.with_vmas, &texts::VMAS, sums.vmas),
        (view.with_shares, &texts::PSS, sums.pss),
        (view.with_shares, &texts::USS, sums.uss),
    ] {
        let parts = [(sum.hidden, texts::HIDDEN_N), (sum.unknown, texts::UNKNOWN_N)].into_iter();
        let parts: Vec<String> =
            parts.filter(|(n, _)| *n > 0).map(|(n, text)| text.fill(lang, &[("n", &count(n))])).collect();
        if !shown || parts.is_empty() {
            continue;
        }
        let parts = parts.join(", ");
        match lines.iter_mut().find(|(same, _)| *same == parts) {
            Some((_, columns)) => columns.push(column.get(lang)),
            None => lines.push((parts, vec![column.get(lang)])),
        }
    }
    let fill = |(parts, columns): (String, Vec<&str>)| {
        texts::LACKS.fill(lang, &[("columns", &columns.join(", ")), ("parts", &parts)])
    };
    lines.into_iter().map(fill).collect()
}
