//! The results as Markdown.

use super::pairs::{Asked, Measured};

/// Where a table stands in the document.
pub(super) struct Marks {
    begin: &'static str,
    end: &'static str,
}

/// The rows against peers.
pub(super) const ROWS: Marks = Marks {
    begin: "<!-- bench:begin, written by `cargo xtask bench --write` -->",
    end: "<!-- bench:end -->",
};

/// What readers make their target wait.
pub(super) const STALL: Marks = Marks {
    begin: "<!-- stall:begin, written by `cargo xtask bench stall --write` -->",
    end: "<!-- stall:end -->",
};

/// What watching memory calls costs.
pub(super) const COSTS: Marks = Marks {
    begin: "<!-- costs:begin, written by `cargo xtask bench costs --write` -->",
    end: "<!-- costs:end -->",
};

/// The table of the rows.
pub(super) fn markdown(rows: &[Measured]) -> String {
    let mut text = String::from(
        "| what | asked | ours (median) | peer (median) | ours / peer, pair by pair: median (least-most) | holds |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        let cells = [
            row.name.clone(),
            asked(row),
            format!("{}: {} {}", row.ours_name, number(row.ours), row.unit),
            format!("{}: {} {}", row.peer_name, number(row.peer), row.unit),
            spread(row),
            if row.holds() { "yes" } else { "**no**" }.to_owned(),
        ];
        text.push_str(&format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    text
}

/// What the machine itself adds, as a sentence.
pub(super) fn control_line(control: &Measured) -> String {
    format!("The same command on both sides, {} pairs: ratio {}.", control.rounds, spread(control))
}

/// The document with the table between its marks; a new document when there is none, `None` when a mark is missing.
pub(super) fn into_document(marks: &Marks, old: Option<&str>, table: &str) -> Option<String> {
    let block = format!("{}\n{}\n{}", marks.begin, table.trim_end(), marks.end);
    let Some(old) = old else {
        return Some(format!("# Benchmarks\n\n{block}\n"));
    };
    let (before, rest) = old.split_once(marks.begin)?;
    let (_, after) = rest.split_once(marks.end)?;
    Some(format!("{before}{block}{after}"))
}

/// A table in which rows that were measured again, by their names, take the place of the old ones; new ones come last.
/// `None` where the old one is not of the same machine, whose line is its first.
pub(super) fn with_rows(marks: &Marks, document: &str, machine: &str, rows: &[Measured]) -> Option<String> {
    let (_, rest) = document.split_once(marks.begin)?;
    let (old, _) = rest.split_once(marks.end)?;
    let mut lines: Vec<String> = old.trim().lines().map(str::to_owned).collect();
    if lines.first().map(String::as_str) != Some(machine) {
        return None;
    }
    for new in markdown(rows).lines().skip(2) {
        let is_same = |old: &String| old.split(" | ").next() == new.split(" | ").next();
        match lines.iter_mut().find(|old| is_same(old)) {
            Some(old) => *old = new.to_owned(),
            None => lines.push(new.to_owned()),
        }
    }
    Some(lines.join("\n"))
}

fn asked(row: &Measured) -> String {
    match row.asked {
        Asked::RatioAtMost(limit) => format!("at most {} x the peer", number(limit)),
        Asked::ValueAtMost(limit) => format!("at most {} {}", number(limit), row.unit),
        Asked::Nothing => "nothing".to_owned(),
    }
}

fn spread(row: &Measured) -> String {
    let ratio = row.ratio;
    format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.least, ratio.most)
}

/// Three digits that matter; more would be noise.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pairs::Spread;
    use super::*;

    fn row() -> Measured {
        Measured {
            name: "map of 60,000 VMAs".to_owned(),
            unit: "ms",
            asked: Asked::RatioAtMost(2.0),
            ours_name: "show".to_owned(),
            peer_name: "a | b".to_owned(),
            ours: 37.04,
            peer: 18.2,
            ratio: Spread { least: 1.9, median: 2.04, most: 2.1 },
            rounds: 9,
        }
    }

    /// Checks a row that does not hold, letter by letter, a bar in a name included.
    #[test]
    fn a_row_is_written_in_full() {
        let text = markdown(&[row()]);
        let last = text.lines().last().unwrap();
        let wanted = "| map of 60,000 VMAs | at most 2.00 x the peer | show: 37.0 ms | a \\| b: 18.2 ms \
                      | 2.04 (1.90-2.10) | **no** |";
        assert_eq!(last, wanted);
        assert_eq!(text.lines().count(), 3);
    }

    /// Checks that only what is between the marks is replaced, and that a document without them is left alone.
    #[test]
    fn the_document_keeps_its_prose() {
        let new = into_document(&ROWS, None, "T1\n").unwrap();
        assert!(new.starts_with("# Benchmarks\n"));
        let prose = format!("Before.\n{}After.\n", new.strip_prefix("# Benchmarks\n").unwrap());
        let changed = into_document(&ROWS, Some(&prose), "T2").unwrap();
        assert!(changed.starts_with("Before.\n") && changed.ends_with("After.\n"));
        assert!(changed.contains("T2") && !changed.contains("T1"));
        assert_eq!(into_document(&ROWS, Some("no marks"), "T"), None);
    }

    /// Checks that rows measured again replace those of their names alone, and only on the same machine.
    #[test]
    fn single_rows_are_replaced() {
        let other = Measured { name: "another".to_owned(), ..row() };
        let table = format!("Machine: M.\n\n{}", markdown(&[row(), other]));
        let document = into_document(&ROWS, None, &table).unwrap();
        let again = Measured { ours: 12.5, ..row() };
        let third = Measured { name: "a third".to_owned(), ..row() };
        let changed = with_rows(&ROWS, &document, "Machine: M.", &[again, third]).unwrap();
        let lines: Vec<&str> = changed.lines().skip(4).collect();
        assert!(lines[0].starts_with("| map of") && lines[0].contains("show: 12.5 ms"), "{changed}");
        assert!(lines[1].starts_with("| another |") && lines[2].starts_with("| a third |"), "{changed}");
        assert_eq!(with_rows(&ROWS, &document, "Machine: N.", &[row()]), None);
    }
}
