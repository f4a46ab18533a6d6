//! The sheet of what was saved of a process: a map, smaps, a copied folder, a core file.

use super::inside;
use crate::args::RssArgs;
use crate::context::Context;
use crate::show::Wanted;
use crate::subject::{self, Subject};
use anyhow::Result;
use vmatlas_event::{Bytes, FrameCounts, PageCounts, Share};
use vmatlas_model::kind::runtime_hints;
use vmatlas_model::rss::{KernelFigures, RssRow, Sheet};
use vmatlas_proc::parse::smaps::{Field, SmapsFields};
use vmatlas_proc::saved::Saved;
use vmatlas_view::rss::RssView;
use vmatlas_view::show::ShowRow;

/// `subject` is the same source, as other commands take it.
pub(super) fn read(source: &Saved, subject: &Subject, args: &RssArgs, context: &Context) -> Result<RssView> {
    let map = subject::read(subject, Wanted::pages(), context)?;
    let smaps = source.smaps.as_deref().unwrap_or_default();
    // The kernel's page of old system calls is no VMA: it has no pages to count, where pages are counted at all.
    let no_pages = |row: &ShowRow| {
        (source.pages.is_some() && row.vma.special() == Some(b"vsyscall")).then(PageCounts::default)
    };
    let rows = map.rows.iter().enumerate().map(|(index, row)| RssRow {
        vma: &row.vma,
        verdict: row.verdict,
        pages: row.pages.or(no_pages(row)),
        frames: smaps.get(index).and_then(frames),
        locked: smaps.get(index).and_then(|fields| fields.get(Field::Locked)),
    });
    let kernel = KernelFigures {
        rss_after: source.facts.resident,
        lazy_free: smaps
            .iter()
            .map(|fields| fields.get(Field::LazyFree))
            .sum::<Option<Bytes>>()
            .filter(|_| !smaps.is_empty()),
        ..KernelFigures::default()
    };
    let sheet = Sheet::new(rows, kernel);
    Ok(RssView {
        sheet,
        inside: source.memory.as_ref().and_then(|memory| inside::look_at_core(memory, source, &map.rows)),
        cgroup: Err("not-recorded"),
        profiler: args.profiler_total,
        frames_asked: false,
        hints: runtime_hints(&source.rows),
        map,
    })
}

/// The shares that smaps tells; `None` where it is too old to tell all of them.
fn frames(fields: &SmapsFields) -> Option<FrameCounts> {
    Some(FrameCounts {
        pss: Share::of_bytes(fields.get(Field::Pss)?),
        private: fields.sum(&[Field::PrivateClean, Field::PrivateDirty])?,
        shared: fields.sum(&[Field::SharedClean, Field::SharedDirty])?,
        referenced: fields.get(Field::Referenced)?,
        // What smaps does not tell of frames is asked of nobody here.
        ..FrameCounts::default()
    })
}
