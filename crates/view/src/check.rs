//! A difference between the model and the kernel, for the person who will look for its cause.

use crate::call;
use crate::escape;
use crate::run::LineOptions;
use crate::texts;
use crate::units::size;
use std::fmt::Write;
use vmatlas_event::{Event, Sharing, VmaRow};
use vmatlas_model::{Difference, Level};

/// Several lines: what differs, the last call, the rows of both maps around it.
pub fn difference(difference: &Difference, last_call: Option<&Event>, options: &LineOptions) -> String {
    let lang = options.lang;
    let text = match difference.level {
        Level::Coverage => &texts::DIFFERENT_PAGES,
        Level::Boundaries => &texts::DIFFERENT_BOUNDARIES,
    };
    let at = format!("{}-{}", difference.at.start(), difference.at.end());
    let mut out = text.fill(lang, &[("at", &at)]);
    if let Some(event) = last_call {
        let mut line = call::text(&event.op);
        line.push_str(" = ");
        call::push_result(&mut line, &event.op, event.outcome, options.errno_name);
        // Writing to a String does not fail.
        let _ = write!(out, "\n  {}", texts::AFTER_CALL.fill(lang, &[("call", &line)]));
        let _ = write!(out, " [#{}, tid {}]", event.seq.0, event.task.tid);
    }
    for (heading, rows) in
        [(&texts::MODEL_ROWS, &difference.model), (&texts::KERNEL_ROWS, &difference.kernel)]
    {
        let _ = write!(out, "\n  {}", heading.get(lang));
        for row in rows {
            let _ = write!(out, "\n    {}", line(row));
        }
    }
    out
}

fn line(row: &VmaRow) -> String {
    let sharing = if row.sharing == Sharing::Shared { 's' } else { 'p' };
    let mut out = format!(
        "{}-{} {}{sharing} {:>9}",
        row.range.start(),
        row.range.end(),
        row.prot,
        size(row.range.len())
    );
    if row.has_file() {
        let _ = write!(out, " {:02x}:{:02x} {} +{:#x}", row.dev.major, row.dev.minor, row.inode, row.offset);
    }
    if let Some(name) = &row.name {
        let _ = write!(out, " {}", escape::terminal(name.as_bytes()));
    }
    out
}
