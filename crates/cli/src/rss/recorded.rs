//! The sheet of a moment of a recording: a look, for only then pages are known.

use crate::args::RssArgs;
use crate::context::Context;
use crate::recording::Visit;
use crate::show::Wanted;
use crate::subject::{self, Subject};
use crate::texts;
use anyhow::{Result, anyhow};
use std::fmt::Display;
use vmatlas_event::{Bytes, PageCounts, VmaRow};
use vmatlas_model::kind::runtime_hints;
use vmatlas_model::rss::{KernelFigures, RssRow, Sheet};
use vmatlas_view::escape;
use vmatlas_view::rss::RssView;

/// `subject` is the same moment, as other commands take it.
pub(super) fn read(visit: &Visit, subject: &Subject, args: &RssArgs, context: &Context) -> Result<RssView> {
    for (asked, option) in [(args.rollup, "--rollup"), (args.pss, "--pss")] {
        if asked {
            return Err(anyhow!(texts::LIVING_ONLY.fill(context.lang, &[("option", &option)])));
        }
    }
    let Some(looked) = &visit.looked else {
        let moment = visit.header.source.as_ref().and_then(|source| source.moment.as_ref());
        if let Some(line) = moment.and_then(|moment| moment.pages_line(context.lang)) {
            return Err(anyhow!(line));
        }
        return Err(anyhow!(texts::REC_NO_PAGES.get(context.lang)));
    };
    let mut map = subject::read(subject, Wanted::pages(), context)?;
    // It is our own sum, and no counter of the kernel's to compare it with.
    map.header.resident = None;
    if map.pages_why.is_some() {
        let path = map.header.source.as_ref().map(|s| escape::terminal(&s.path)).unwrap_or_default();
        let hint = looked.place.hint(&path, context.lang);
        let values: [(&str, &dyn Display); 2] = [("hint", &hint), ("path", &path)];
        return Err(anyhow!(texts::REC_BETWEEN_LOOKS.fill(context.lang, &values)));
    }
    // The kernel's page of old system calls is no VMA: it has no pages to count.
    let no_pages = |row: &VmaRow| (row.special() == Some(b"vsyscall")).then(PageCounts::default);
    let rows = map.rows.iter().map(|row| RssRow {
        vma: &row.vma,
        verdict: row.verdict,
        pages: row.pages.or(no_pages(&row.vma)),
        frames: None,
        locked: None::<Bytes>,
    });
    let sheet = Sheet::new(rows, KernelFigures::default());
    let vmas: Vec<VmaRow> = map.rows.iter().map(|row| row.vma.clone()).collect();
    Ok(RssView {
        sheet,
        inside: None,
        cgroup: Err("not-recorded"),
        profiler: args.profiler_total,
        frames_asked: false,
        hints: runtime_hints(&vmas),
        map,
    })
}
