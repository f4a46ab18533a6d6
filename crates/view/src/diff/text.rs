//! A comparison as text: the differences, then what they come to, the totals last.

use super::{By, Comparison, Entry, Options, Resident, Total, What, difference, texts as own};
use crate::change::what;
use crate::kind_text::kind_name;
use crate::lang::Text;
use crate::show::{Missing, amount_cell, paint_of};
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::texts;
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::{AddrRange, Bytes, Sharing, VmaRow};

/// So many VMAs are listed for their pages alone.
const MOST_RESIDENT: usize = 10;

/// An amount with its sign: `+132 KiB`.
fn signed(amount: i128) -> String {
    let bytes = Bytes(u64::try_from(amount.unsigned_abs()).unwrap_or(u64::MAX));
    match amount {
        0 => "0".to_owned(),
        1.. => format!("+{}", size(bytes)),
        _ => format!("-{}", size(bytes)),
    }
}

fn signed_cell(amount: i128) -> Cell {
    let paint = match amount {
        0 => Paint::Faint,
        1.. => Paint::Added,
        _ => Paint::Removed,
    };
    Cell::new(signed(amount)).paint(paint)
}

impl What {
    fn text(self) -> Text {
        match self {
            What::Added => own::ADDED,
            What::Removed => own::REMOVED,
            What::Altered => own::ALTERED,
            What::Grew => own::GREW,
            What::Shrank => own::SHRANK,
            What::Moved => own::MOVED,
        }
    }

    fn paint(self) -> Paint {
        match self {
            What::Added | What::Grew => Paint::Added,
            What::Removed | What::Shrank => Paint::Removed,
            What::Altered | What::Moved => Paint::Changed,
        }
    }
}

impl Options {
    fn head(&self, texts: &[&Text]) -> Vec<Cell> {
        texts.iter().map(|text| Cell::new(text.get(self.lang)).paint(Paint::Heading)).collect()
    }

    /// The addresses; on a narrow terminal only the first, so that the name has room.
    fn address(&self, range: AddrRange) -> Cell {
        const WIDE: usize = 100;
        Cell::new(match self.columns {
            Some(columns) if columns < WIDE => range.start().to_string(),
            _ => range.to_string(),
        })
    }
}

impl Comparison<'_> {
    /// Writes all of it as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, style) = (options.lang, options.style);
        for (label, view) in ["A", "B"].into_iter().zip(self.views) {
            let mut title = String::new();
            view.header.write_title(&mut title, lang, style)?;
            for (index, line) in title.lines().enumerate() {
                writeln!(out, "{}  {line}", if index == 0 { label } else { " " })?;
            }
            if view.header.torn > 0 {
                writeln!(out, "   {}", texts::TORN.fill(lang, &[("n", &view.header.torn)]))?;
            }
        }
        let how = match (self.by, self.by_itself) {
            (By::Address, true) => own::BY_ADDRESS_FOUND,
            (By::Address, false) => own::BY_ADDRESS_ASKED,
            (By::Origin, _) => own::BY_ORIGIN,
            (By::File, true) => own::BY_FILE_FOUND,
            (By::File, false) => own::BY_FILE_ASKED,
        };
        writeln!(out, "{}\n", style.paint(Paint::Faint, how.get(lang)))?;
        if self.entries.is_empty() {
            let text = if self.filtered { own::SAME_OF_THESE } else { own::SAME };
            writeln!(out, "{}", text.get(lang))?;
        } else {
            self.write_entries(out, options)?;
            writeln!(out, "\n{}", self.sums(options))?;
        }
        if !self.resident.is_empty() {
            self.write_resident(out, options)?;
        }
        writeln!(out)?;
        self.write_totals(out, options)
    }

    fn write_entries(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let head = [&own::CHANGE, &texts::ADDRESS, &texts::SIZE, &texts::PROT, &texts::KIND, &texts::NAME];
        let mut rows = vec![options.head(&head)];
        rows.extend(self.entries.iter().filter_map(|entry| self.entry_cells(entry, options)));
        let aligns = [Align::Left, Align::Left, Align::Right, Align::Left, Align::Left, Align::Left];
        write_table(out, &aligns, &rows, options.style, options.columns)
    }

    fn entry_cells(&self, entry: &Entry, options: &Options) -> Option<Vec<Cell>> {
        let row = entry.row()?;
        let change = match entry.what {
            What::Altered | What::Moved => Cell::new(size(entry.size)),
            _ => signed_cell(entry.growth()),
        };
        let prot = |view: usize, row: &VmaRow| {
            let source = self.views.get(view).and_then(|view| view.header.source.as_ref());
            let sharing = match row.sharing {
                _ if source.is_some_and(|source| !source.knows_sharing()) => '?',
                Sharing::Shared => 's',
                Sharing::Private => 'p',
            };
            format!("{}{sharing}", row.prot)
        };
        let protections = match (&entry.a, &entry.b) {
            (Some(a), Some(b)) if entry.what == What::Altered => format!("{} → {}", prot(0, a), prot(1, b)),
            (_, Some(b)) => prot(1, b),
            (a, None) => a.as_ref().map_or_else(String::new, |a| prot(0, a)),
        };
        let mut name = if row.name.is_some() { what(row, options.lang).into_owned() } else { String::new() };
        if let (What::Moved, Some(a)) = (entry.what, &entry.a) {
            let from = own::FROM.fill(options.lang, &[("addr", &a.range.start())]);
            name = format!("{name} {from}").trim_start().to_owned();
        }
        Some(vec![
            Cell::new(entry.what.text().get(options.lang)).paint(entry.what.paint()),
            options.address(row.range),
            change,
            Cell::new(protections),
            Cell::new(kind_name(entry.kind, options.lang)).paint(paint_of(entry.kind)),
            Cell::new(name),
        ])
    }

    /// `added 3 (12 MiB) · grew 1 (132 KiB)`
    fn sums(&self, options: &Options) -> String {
        let sum = |what: What| {
            let of_these = || self.entries.iter().filter(move |entry| entry.what == what);
            let n = of_these().count();
            let bytes: Bytes = of_these().map(|entry| entry.size).sum();
            let text = format!("{} {} ({})", what.text().get(options.lang), count(n as u64), size(bytes));
            (n > 0).then(|| options.style.paint(what.paint(), &text))
        };
        What::ALL.into_iter().filter_map(sum).collect::<Vec<_>>().join(" · ")
    }

    fn write_resident(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let title = own::RESIDENT_CHANGED.get(options.lang);
        writeln!(out, "\n{}", options.style.paint(Paint::Heading, title))?;
        let head = [
            &texts::ADDRESS,
            &own::RESIDENT_A,
            &own::RESIDENT_B,
            &own::DIFFERENCE,
            &texts::KIND,
            &texts::NAME,
        ];
        let mut rows = vec![options.head(&head)];
        // The largest growth, and where there is less of it, the largest shrinkage.
        let shown =
            |index: usize| index < MOST_RESIDENT / 2 || index + MOST_RESIDENT / 2 >= self.resident.len();
        let cells = |r: &Resident| {
            vec![
                options.address(r.row.range),
                amount_cell(Ok(r.a), options.lang),
                amount_cell(Ok(r.b), options.lang),
                signed_cell(difference(r.a, r.b)),
                Cell::new(kind_name(r.kind, options.lang)).paint(paint_of(r.kind)),
                Cell::new(if r.row.name.is_some() {
                    what(&r.row, options.lang).into_owned()
                } else {
                    String::new()
                }),
            ]
        };
        rows.extend(
            self.resident.iter().enumerate().filter(|(index, _)| shown(*index)).map(|(_, r)| cells(r)),
        );
        let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Left, Align::Left];
        write_table(out, &aligns, &rows, options.style, options.columns)?;
        match self.resident.len().saturating_sub(MOST_RESIDENT) {
            0 => Ok(()),
            more => {
                let text = own::MORE.fill(options.lang, &[("n", &count(more as u64))]);
                writeln!(out, "{}", options.style.paint(Paint::Faint, &text))
            }
        }
    }

    fn write_totals(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let lang = options.lang;
        let mut head = vec![&texts::KIND, &own::SIZE_A, &own::SIZE_B, &own::DIFFERENCE];
        if self.knows_pages() {
            head.extend([&own::RESIDENT_A, &own::RESIDENT_B, &own::DIFFERENCE]);
        }
        let mut rows = vec![options.head(&head)];
        let line = |total: &Total| {
            let label = match total.kind {
                Some(kind) => Cell::new(kind_name(kind, lang)).paint(paint_of(kind)),
                None => Cell::new(texts::TOTAL.get(lang)).paint(Paint::Heading),
            };
            let [a, b] = total.size;
            let mut cells = vec![label];
            cells.extend([a, b].map(|bytes| amount_cell(Ok(bytes), lang)));
            cells.push(signed_cell(difference(a, b)));
            if self.knows_pages() {
                cells.extend(total.resident.map(|amount| amount_cell(amount, lang)));
                cells.push(match total.resident {
                    [Ok(a), Ok(b)] => signed_cell(difference(a, b)),
                    [Err(why), _] | [_, Err(why)] => amount_cell(Err::<Bytes, Missing>(why), lang),
                });
            }
            cells
        };
        rows.extend(self.totals.iter().map(line));
        let mut aligns = vec![Align::Left];
        aligns.resize(head.len(), Align::Right);
        write_table(out, &aligns, &rows, options.style, None)
    }
}
