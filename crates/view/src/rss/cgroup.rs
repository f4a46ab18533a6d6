//! The cgroup's view of the same bytes.

use super::sections::paragraph;
use super::text::{amount, heading};
use super::{Options, RssView, texts};
use crate::escape;
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::units::{count, size};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, Limit};
use vmatlas_model::rss::Reason;

impl RssView {
    pub(super) fn write_cgroup(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let lang = options.lang;
        let figures = match &self.cgroup {
            Ok(figures) => figures,
            Err(_) if self.map.header.source.is_some() => return Ok(()),
            Err(why) => {
                return heading(out, &texts::CGROUP_UNKNOWN.fill(lang, &[("why", why)]), options);
            }
        };
        let path = escape::terminal(&figures.memory.path);
        let values: [(&str, &dyn Display); 2] =
            [("path", &path), ("version", &figures.memory.version.number())];
        heading(out, &texts::CGROUP.fill(lang, &values), options)?;
        let pages = self.sheet.sum.pages;
        let known = self.sheet.sum.unread < self.sheet.sum.vmas;
        let ours = |bytes: Bytes| known.then_some(bytes);
        let head = |text: crate::Text| Cell::new(text.get(lang)).paint(Paint::Faint);
        let row = |text: crate::Text, theirs: Option<Bytes>, ours: Option<Bytes>| {
            vec![Cell::new(format!("  {}", text.get(lang))), amount(theirs), amount(ours)]
        };
        let mut rows =
            vec![vec![Cell::new(""), Cell::new("CGROUP").paint(Paint::Faint), head(texts::PROCESS_COLUMN)]];
        let stat = &figures.memory.stat;
        rows.push(row(texts::CHARGED, figures.memory.current, ours(pages.resident)));
        rows.push(row(texts::ANONYMOUS, stat.anon, ours(pages.anonymous)));
        rows.push(row(texts::CACHE, stat.file, ours(pages.of_files())));
        if stat.shmem.is_some() || self.sheet.kernel.shmem.is_some() {
            rows.push(row(texts::SHMEM, stat.shmem, self.sheet.kernel.shmem));
        }
        rows.push(row(texts::PAGE_TABLES, stat.pagetables, self.sheet.kernel.page_tables));
        rows.push(row(texts::KERNEL_MEMORY, stat.kernel, None));
        if let Some(Limit::At(limit)) = figures.memory.max {
            rows.push(row(texts::LIMIT, Some(limit), None));
        }
        write_table(out, &[Align::Left, Align::Right, Align::Right], &rows, options.style, options.columns)?;
        let reasons = figures.reasons(&self.sheet);
        if reasons.is_empty() {
            return Ok(());
        }
        writeln!(out, "  {}", texts::WHY_DIFFERENT.get(lang))?;
        reasons.iter().try_for_each(|reason| paragraph(out, &format!("· {}", say(*reason, options)), options))
    }
}

fn say(reason: Reason, options: &Options) -> String {
    let lang = options.lang;
    let with = |text: crate::Text, bytes: Bytes| text.fill(lang, &[("size", &size(bytes))]);
    match reason {
        Reason::OtherMembers(n) => texts::R_MEMBERS.fill(lang, &[("n", &count(n))]),
        Reason::UnmappedCache(bytes) => with(texts::R_CACHE, bytes),
        Reason::CacheMayBeUnmapped => texts::R_MAYBE.get(lang).to_owned(),
        Reason::Kernel(bytes) => with(texts::R_KERNEL, bytes),
        Reason::ChargedElsewhere(bytes) => with(texts::R_ELSEWHERE, bytes),
        Reason::AnonymousElsewhere(bytes) => with(texts::R_ANON, bytes),
    }
}
