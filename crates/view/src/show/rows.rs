//! The table of VMAs and the table of totals.

use super::column::{Column, Missing};
use super::totals::{sum, sum_of_smaps, totals};
use super::{MapView, Options, ShowRow, Sort, paint_of, texts as own};
use crate::change::what;
use crate::kind_text::{kind_name, why_text};
use crate::lang::Lang;
use crate::style::Paint;
use crate::table::{Align, Cell, Table, width, write_table};
use crate::texts;
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::{Addr, AddrRange, Backing, Bytes, Sharing};
use vmatlas_model::kind::{Confidence, Kind, Verdict};

/// What stands in a place of the table: a column, or what smaps says beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Own(Column),
    Smaps(Column),
}

/// The addresses of a row; on a narrow terminal only the first, so that the name has room (the size tells the end).
fn address(row: &ShowRow, options: &Options) -> String {
    const WIDE: usize = 100;
    match options.columns {
        Some(columns) if columns < WIDE => row.vma.range.start().to_string(),
        _ => row.vma.range.to_string(),
    }
}

/// The kind's name, with a question mark when it is a guess.
fn kind_label(verdict: &Verdict, lang: Lang) -> String {
    let name = kind_name(verdict.kind, lang);
    if verdict.confidence == Confidence::Guess && verdict.kind != Kind::Anonymous {
        format!("{name}?")
    } else {
        name.to_owned()
    }
}

fn backing_name(backing: Backing, lang: Lang) -> &'static str {
    match backing {
        Backing::Anonymous => own::OF_NOTHING.get(lang),
        Backing::File => own::OF_FILE.get(lang),
        Backing::Shmem => own::OF_SHMEM.get(lang),
        Backing::Hugetlb => own::HUGETLB.get(lang),
        Backing::Special => own::OF_KERNEL.get(lang),
        Backing::Unknown => "?",
    }
}

pub(crate) fn amount_cell(amount: Result<Bytes, Missing>, lang: Lang) -> Cell {
    match amount {
        Ok(Bytes(0)) => Cell::new("0").paint(Paint::Faint),
        Ok(bytes) => Cell::new(size(bytes)),
        Err(Missing::Hidden) => Cell::new(own::HIDDEN.get(lang)).paint(Paint::Faint),
        Err(Missing::Unknown) => Cell::new("?").paint(Paint::Faint),
        Err(Missing::NotRead | Missing::NotLooked | Missing::NoPages | Missing::NotRecorded) => {
            Cell::new("-").paint(Paint::Faint)
        }
    }
}

impl MapView {
    /// The places of the table: with smaps, its figures stand beside ours.
    fn places(&self, options: &Options) -> Vec<Place> {
        let mut places = Vec::new();
        for column in self.columns(options) {
            places.push(Place::Own(column));
            let told_twice = column != Column::Size && !column.smaps_keys().is_empty();
            // What we do not know ourselves already shows the kernel's figure.
            let has_own = || self.rows.iter().any(|row| column.own_amount(row, self).is_ok_and(|b| b.0 > 0));
            if self.has_smaps && told_twice && has_own() {
                places.push(Place::Smaps(column));
            }
        }
        places
    }

    pub(super) fn write_rows(
        &self,
        out: &mut dyn Write,
        rows: &[&ShowRow],
        options: &Options,
    ) -> fmt::Result {
        let places = self.places(options);
        let aligns: Vec<Align> = places.iter().map(|place| align(*place)).collect();
        let mut table = Table::new(&aligns, options.style, options.columns);
        let head: Vec<Cell> = places.iter().map(|place| heading(*place, options.lang)).collect();
        table.fit_row(&head);
        for row in rows {
            // The last column is as wide as its text.
            for (index, place) in places.iter().enumerate().take(places.len().saturating_sub(1)) {
                table.fit(index, width(&self.cell(*place, row, options).text));
            }
        }
        table.row(out, &head)?;
        let mut previous: Option<&ShowRow> = None;
        for row in rows {
            let gap = previous
                .filter(|_| options.sort == Sort::Address && options.filter.is_all())
                .and_then(|p| AddrRange::new(p.vma.range.end(), row.vma.range.start()))
                // What lies below [vsyscall] is no address space of the process but the hole of the architecture.
                .filter(|gap| !gap.is_empty() && row.vma.range.start() < Addr(1 << 63));
            if let Some(gap) = gap {
                let text = texts::GAP.fill(options.lang, &[("size", &size(gap.len()))]);
                writeln!(out, "{}", options.style.paint(Paint::Faint, &format!("  · {text}")))?;
            }
            let cells: Vec<Cell> = places.iter().map(|place| self.cell(*place, row, options)).collect();
            table.row(out, &cells)?;
            previous = Some(row);
        }
        Ok(())
    }

    fn cell(&self, place: Place, row: &ShowRow, options: &Options) -> Cell {
        let lang = options.lang;
        let file = |text: String| if row.vma.has_file() { Cell::new(text) } else { Cell::new("") };
        let column = match place {
            Place::Own(column) => column,
            Place::Smaps(column) => {
                let missing =
                    if row.vma.special() == Some(b"vsyscall") { Missing::NoPages } else { Missing::Unknown };
                let cell = amount_cell(column.of_smaps(row).ok_or(missing), lang);
                return if column.differs(row, self) {
                    Cell::new(format!("≠ {}", cell.text)).paint(Paint::Changed)
                } else {
                    cell
                };
            }
        };
        match column {
            Column::Address => Cell::new(address(row, options)),
            Column::Prot => {
                let sharing = match row.vma.sharing {
                    _ if self.header.source.as_ref().is_some_and(|source| !source.knows_sharing()) => '?',
                    Sharing::Shared => 's',
                    Sharing::Private => 'p',
                };
                Cell::new(format!("{}{sharing}", row.vma.prot))
            }
            Column::Kind => Cell::new(kind_label(&row.verdict, lang)).paint(paint_of(row.verdict.kind)),
            Column::Backing => Cell::new(backing_name(row.backing, lang)),
            Column::Offset => file(format!("{:#x}", row.vma.offset)),
            Column::Dev => file(format!("{:02x}:{:02x}", row.vma.dev.major, row.vma.dev.minor)),
            Column::Inode => file(row.vma.inode.to_string()),
            Column::Flags => match &row.smaps {
                Some(smaps) if !smaps.flags.is_empty() => {
                    Cell::new(crate::escape::terminal(smaps.flag_text().as_bytes()))
                }
                _ => Cell::new("?").paint(Paint::Faint),
            },
            Column::Why => Cell::new(why_text(&row.verdict.why, lang)).paint(Paint::Faint),
            Column::Name if row.vma.name.is_some() => Cell::new(what(&row.vma, lang).into_owned()),
            Column::Name => Cell::new(""),
            amount => amount_cell(amount.amount(row, self), lang),
        }
    }

    pub(super) fn write_totals(
        &self,
        out: &mut dyn Write,
        rows: &[&ShowRow],
        options: &Options,
    ) -> fmt::Result {
        let lang = options.lang;
        let is_shown = |place: &Place| match place {
            Place::Own(column) => column.is_amount() && *column != Column::Size,
            Place::Smaps(_) => true,
        };
        let places: Vec<Place> = self.places(options).into_iter().filter(is_shown).collect();
        let bold = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut head = vec![bold(&texts::KIND), bold(&texts::COUNT), bold(&texts::SIZE)];
        head.extend(places.iter().map(|place| heading(*place, lang)));
        let line = |label: Cell, rows: &[&ShowRow]| {
            let bytes: Bytes = rows.iter().map(|row| row.vma.range.len()).sum();
            let mut cells = vec![label, Cell::new(count(rows.len() as u64)), Cell::new(size(bytes))];
            cells.extend(places.iter().map(|place| match place {
                Place::Own(column) => amount_cell(sum(*column, rows.iter().copied(), self), lang),
                Place::Smaps(column) => {
                    let told = sum_of_smaps(*column, rows.iter().copied());
                    amount_cell(told.ok_or(Missing::Unknown), lang)
                }
            }));
            cells
        };
        let mut lines = vec![head];
        for total in totals(rows.iter().copied()) {
            let of_kind: Vec<&ShowRow> =
                rows.iter().copied().filter(|row| row.verdict.kind == total.kind).collect();
            let label = Cell::new(kind_name(total.kind, lang)).paint(paint_of(total.kind));
            lines.push(line(label, &of_kind));
        }
        lines.push(line(bold(&texts::TOTAL), rows));
        let mut aligns = vec![Align::Left, Align::Right, Align::Right];
        aligns.extend(places.iter().map(|_| Align::Right));
        write_table(out, &aligns, &lines, options.style, None)?;
        self.write_notes(out, rows, &places, options)
    }

    /// What the marks in the tables mean, where there are any.
    fn write_notes(
        &self,
        out: &mut dyn Write,
        rows: &[&ShowRow],
        places: &[Place],
        options: &Options,
    ) -> fmt::Result {
        let mut notes = Vec::new();
        let columns = || places.iter().filter_map(|p| if let Place::Own(c) = p { Some(*c) } else { None });
        let any = |missing: Missing| {
            columns().any(|column| rows.iter().any(|row| column.amount(row, self) == Err(missing)))
        };
        if any(Missing::Hidden) {
            notes.push(own::SOME_HIDDEN);
        }
        let flags = self.columns(options).contains(&Column::Flags) && !self.has_smaps && !options.summary;
        match any(Missing::Unknown) || flags {
            true if self.has_smaps => notes.push(own::STILL_UNKNOWN),
            true => notes.push(own::SOME_UNKNOWN),
            false => {}
        }
        let differs = |place: &Place| matches!(place, Place::Smaps(column) if rows.iter().any(|row| column.differs(row, self)));
        if places.iter().any(differs) {
            notes.push(own::SMAPS_DIFFER);
        }
        for note in notes {
            writeln!(out, "{}", options.style.paint(Paint::Faint, note.get(options.lang)))?;
        }
        Ok(())
    }
}

fn align(place: Place) -> Align {
    match place {
        Place::Own(Column::Offset | Column::Inode) => Align::Right,
        Place::Own(column) if !column.is_amount() => Align::Left,
        _ => Align::Right,
    }
}

fn heading(place: Place, lang: Lang) -> Cell {
    let text = match place {
        Place::Own(column) => column.heading().get(lang).to_owned(),
        Place::Smaps(Column::Resident) => format!("{} RSS", own::SMAPS.get(lang)),
        Place::Smaps(column) => format!("{} {}", own::SMAPS.get(lang), column.heading().get(lang)),
    };
    Cell::new(text).paint(Paint::Heading)
}
