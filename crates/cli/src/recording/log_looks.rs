//! `vmatlas log` of a recording that was made by looking: a line for each look, with what it found.

use super::log::LogArgs;
use super::{explain_reading, moment};
use crate::complain;
use crate::context::{Context, Stream};
use crate::output::{Pen, quiet};
use anyhow::Result;
use std::fmt::{self, Write};
use std::io;
use std::process::ExitCode;
use vmatlas_event::{Event, EventSource, Look, MonoNs, Op, Seq, SnapshotReason};
use vmatlas_model::{Done, Spaces};
use vmatlas_record::Reader;
use vmatlas_view::looks::{Found, LookTable, json_line, texts};
use vmatlas_view::{escape, json};

/// What shows one look after another.
struct Lines<'a> {
    args: &'a LogArgs,
    context: &'a Context,
    start: MonoNs,
    looks: std::iter::Peekable<std::vec::IntoIter<Look>>,
    table: LookTable,
    found: Found,
    pen: Pen<io::StdoutLock<'static>>,
}

pub(super) fn run(mut reader: Reader, args: &LogArgs, context: &Context) -> Result<ExitCode> {
    let mut found = Vec::new();
    let read = reader.looks(&mut found);
    let start = found.first().map_or(MonoNs(reader.meta().started), |look| look.at);
    let (style, columns) = (context.style(Stream::Stdout), context.columns(Stream::Stdout));
    let mut lines = Lines {
        args,
        context,
        start,
        looks: found.into_iter().peekable(),
        table: LookTable::new(context.lang, style, columns, start),
        found: Found::default(),
        pen: Pen::new(io::stdout().lock()),
    };
    let mut spaces = Spaces::new(moment::page_of(&reader));
    if !args.jsonl {
        let _ = lines.table.head(&mut lines.pen);
    }
    let read = read.and(reader.events(Seq(0), &mut |event| lines.event(&event, &mut spaces).is_ok()));
    quiet(lines.pen.finish())?;
    for damage in reader.damage() {
        complain(context, &damage.to_string());
    }
    match read {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(explain_reading(&error, context)),
    }
}

impl Lines<'_> {
    /// Replays an event.
    fn event(&mut self, event: &Event, spaces: &mut Spaces) -> fmt::Result {
        let progress = spaces.event(event);
        let is_of_look = self.looks.peek().is_some_and(|look| look.first <= event.seq);
        for done in progress.unanswered.iter().chain(&progress.done) {
            match &event.op {
                Op::Mark { .. } | Op::Exit { .. } => self.other(done)?,
                Op::Exec { .. } => {}
                _ if is_of_look => {
                    let is_first = matches!(event.op, Op::Snapshot { reason: SnapshotReason::Watch, .. });
                    self.found.is_executed |= is_first && event.seq.0 > 0;
                    self.found.add(done, self.args.jsonl);
                }
                _ => {}
            }
        }
        match self.looks.next_if(|look| look.seq == event.seq) {
            Some(look) => self.look(&look),
            None => Ok(()),
        }
    }

    fn look(&mut self, look: &Look) -> fmt::Result {
        let found = std::mem::take(&mut self.found);
        let large = |min| found.mapped >= min || found.unmapped >= min;
        let is_wanted = self.is_wanted(look.at) && self.args.min_size.is_none_or(large);
        if !is_wanted {
            // The next line tells what is different from this look all the same.
            return self.table.look(&mut String::new(), look, &found);
        }
        match self.args.jsonl {
            true => writeln!(self.pen, "{}", json_line(look, &found, self.start)),
            false => self.table.look(&mut self.pen, look, &found),
        }
    }

    /// A mark, or the end of the process.
    fn other(&mut self, done: &Done) -> fmt::Result {
        if !self.is_wanted(done.event.entered) || self.args.min_size.is_some() {
            return Ok(());
        }
        if self.args.jsonl {
            return writeln!(self.pen, "{}", json::event(done, vmatlas_sys::errno_name));
        }
        let lang = self.context.lang;
        let text = match &done.event.op {
            Op::Mark { name } => {
                vmatlas_view::texts::MARK.fill(lang, &[("name", &escape::terminal(name.as_bytes()))])
            }
            _ => texts::ENDED.get(lang).to_owned(),
        };
        self.table.note(&mut self.pen, done.event.entered, &text)
    }

    /// Whether the person wants to see this time; a look is no call.
    fn is_wanted(&self, at: MonoNs) -> bool {
        let since = at.0.saturating_sub(self.start.0);
        self.args.expr.is_empty()
            && !self.args.failed
            && self.args.from.is_none_or(|from| since >= from)
            && self.args.to.is_none_or(|to| since <= to)
    }
}
