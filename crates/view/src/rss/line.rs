//! One line of the sheet, opened: its VMAs, and what the allocator says of them.

use super::{Options, RssView, arenas, texts};
use crate::kind_text::kind_name;
use crate::show::{Column, Filter, Sort};
use std::fmt::{self, Write};
use vmatlas_model::kind::Kind;

impl RssView {
    pub(super) fn write_line(&self, out: &mut dyn Write, kind: Kind, options: &Options) -> fmt::Result {
        if self.sheet.line(kind).is_none() {
            let name = kind_name(kind, options.lang);
            return writeln!(out, "{}", texts::NO_LINE.fill(options.lang, &[("kind", &name)]));
        }
        let show = crate::show::Options {
            lang: options.lang,
            style: options.style,
            columns: options.columns,
            filter: Filter { kinds: vec![kind], ..Filter::default() },
            sort: Sort::By(Column::Resident),
            why_kind: true,
            ..crate::show::Options::default()
        };
        self.map.write_text(out, &show)?;
        let main = kind == Kind::Heap;
        match &self.inside {
            Some(inside) if matches!(kind, Kind::Heap | Kind::MallocArena) => {
                arenas::write_arenas(out, inside, main, options)
            }
            _ => Ok(()),
        }
    }
}
