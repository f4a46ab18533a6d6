//! The arenas of malloc one by one, for the line that is opened.

use super::sections::paragraph;
use super::text::{amount, heading};
use super::{Options, texts};
use crate::escape;
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::units::count;
use std::fmt::{self, Write};
use vmatlas_model::rss::Inside;

/// Writes the main arena, or all others.
pub(super) fn write_arenas(
    out: &mut dyn Write,
    inside: &Inside,
    main: bool,
    options: &Options,
) -> fmt::Result {
    let lang = options.lang;
    heading(out, texts::ARENAS.get(lang), options)?;
    let head = |text: crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        head(texts::ARENA),
        head(texts::THREADS),
        head(texts::SYSTEM),
        head(texts::IN_USE),
        head(texts::FREE_COLUMN),
        head(texts::BLOCKS),
        head(texts::LARGEST),
        head(texts::TOP),
        head(texts::FREE_RESIDENT_COLUMN),
    ]];
    let number = |n: Option<u64>| Cell::new(n.map_or_else(|| "-".to_owned(), count));
    for arena in inside.arenas.iter().filter(|arena| arena.main == main) {
        let name = if arena.main { "main".to_owned() } else { arena.addr.to_string() };
        rows.push(vec![
            Cell::new(name),
            number(arena.threads),
            amount(arena.system),
            amount(arena.used),
            amount(arena.free),
            number(arena.free_blocks),
            amount(arena.largest_free),
            amount(arena.top),
            amount(arena.free_resident),
        ]);
    }
    let mut aligns = vec![Align::Left];
    aligns.extend([Align::Right; 8]);
    if rows.len() > 1 {
        write_table(out, &aligns, &rows, options.style, options.columns)?;
    }
    let troubles = inside.arenas.iter().filter_map(|a| Some((a.addr, a.trouble.as_ref()?)));
    for (addr, why) in troubles {
        let text = texts::UNKNOWN_WHY.fill(lang, &[("why", &escape::terminal(why.as_bytes()))]);
        paragraph(out, &format!("{addr}: {text}"), options)?;
    }
    match &inside.trouble {
        Some(why) => {
            let why = escape::terminal(why.as_bytes());
            paragraph(out, &texts::MISSING_ARENAS.fill(lang, &[("why", &why)]), options)
        }
        None => Ok(()),
    }
}
