//! `vmatlas origins --copies`: who broke copy-on-write after a fork.

use crate::context::Context;
use crate::recording::features::FAULTS;
use crate::recording::{Visit, explain_reading};
use crate::{stacks, texts};
use anyhow::{Result, anyhow};
use vmatlas_event::{EventSource, Seq};
use vmatlas_model::{Copies, Spaces, Toucher};
use vmatlas_view::origins::CopiesView;
use vmatlas_view::show::Header;

/// What a recording tells of all its processes, from its first event to the moment.
pub(crate) fn recorded(visit: &mut Visit, header: Header, context: &Context) -> Result<CopiesView> {
    let meta = visit.timeline.source_ref().reader().meta();
    if !meta.features.iter().any(|feature| feature == FAULTS) {
        return Err(anyhow!(texts::COPIES_NEED_FAULTS.get(context.lang)));
    }
    let mut spaces = Spaces::new(visit.page);
    spaces.distrust(meta.distrust);
    let mut copies = Copies::new(visit.page);
    let last = visit.timeline.position().seq;
    let read = visit.timeline.source().events(Seq(0), &mut |event| {
        let is_wanted = last.is_some_and(|last| event.seq <= last);
        if is_wanted {
            let progress = spaces.event(&event);
            for done in progress.unanswered.iter().chain(&progress.done) {
                copies.add(done, &spaces);
            }
        }
        is_wanted
    });
    read.map_err(|error| explain_reading(&error, context))?;
    let rows = copies.sorted();
    let ids = rows.iter().filter_map(|(who, _)| match who.by {
        Toucher::Stack(id) => Some(id),
        _ => None,
    });
    let table = ids.clone().next().and_then(|_| stacks::of(visit.timeline.source_ref().reader(), context));
    let stacks = ids.filter_map(|id| Some((id, table.as_ref()?.stack(id)?))).collect();
    Ok(CopiesView {
        header,
        stacks,
        page: copies.page(),
        forks: copies.forks(),
        is_complete: copies.is_complete(),
        rows,
    })
}
