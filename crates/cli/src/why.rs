//! `vmatlas why`: who mapped an address, and what changed it since.

use crate::args::parse_addr;
use crate::context::{Context, Stream};
use crate::recording::Visit;
use crate::recording::features::FAULTS;
use crate::recording::looks::{self, Looked};
use crate::show::Wanted;
use crate::subject::{self, Subject};
use crate::{output, stacks, target, texts};
use anyhow::{Result, anyhow};
use clap::Args;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use vmatlas_event::{Addr, Event, EventSource, MonoNs, Op, Pid, Seq, StackId, VmaRow};
use vmatlas_model::timeline::History;
use vmatlas_view::show::{MapView, ShowRow};
use vmatlas_view::stack::ShownStack;
use vmatlas_view::why::{Story, WhyView};

#[derive(Args, Debug)]
pub(crate) struct WhyArgs {
    /// A recording, or a moment of one (REC@1.25s, REC@1042, REC@exec, REC@peak, REC@MARK, REC:PID@exit); a PID, a process
    /// name, or what was saved of one
    #[arg(value_name = "TARGET")]
    target: OsString,
    /// The address (hexadecimal)
    #[arg(value_name = "ADDR", required_unless_present = "pid")]
    addr: Option<OsString>,
    /// The process by its PID; the address is the only word then
    #[arg(short, long, value_name = "PID", conflicts_with = "addr")]
    pid: Option<i32>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Do not use a pager
    #[arg(long)]
    no_pager: bool,
}

/// What a person should know of histories.
pub(crate) const NOTES: &str = "\
    In a recording, the history of an address is followed through moves (mremap) and back through forks into the parents; \
    neighbours that the kernel has merged into one VMA are told apart by the calls that mapped them. Numbers after # are \
    those of events: 'vmatlas show REC@NUMBER' shows the map after one. The kernel itself does not remember who mapped \
    what, so for a living process or a saved map only the evidence in the map can be shown.";

pub(crate) fn run(args: &WhyArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let root = context.proc_root();
    let (subject, addr) = match (args.pid, &args.addr) {
        (Some(pid), _) => (Subject::Live(target::by_pid(&root, Pid(pid), context)?), &args.target),
        (None, Some(addr)) => (subject::open(&root, &args.target, context)?, addr),
        (None, None) => return Err(anyhow!("ADDR")),
    };
    let addr = parse_addr(&addr.to_string_lossy()).map_err(|wanted| {
        let values: [(&str, &dyn std::fmt::Display); 2] =
            [("text", &addr.to_string_lossy()), ("wanted", &wanted)];
        anyhow!(texts::BAD_ADDR.fill(context.lang, &values))
    })?;
    let map = subject::read(&subject, Wanted::default(), context)?;
    let (story, start) = match subject {
        Subject::Recorded(mut visit) => (recorded(&mut visit, addr, context)?, visit.timeline.start()),
        Subject::Live(_) => (Story::NotSeen { lives: true }, MonoNs(0)),
        Subject::Saved(_) => (Story::NotSeen { lives: false }, MonoNs(0)),
    };
    let view = view(map, addr, story);
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json(vmatlas_sys::errno_name)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = context.lines(Stream::Stdout, start);
    output::show(context, args.no_pager, |out| view.write_text(out, &options))?;
    Ok(ExitCode::SUCCESS)
}

fn view(map: MapView, addr: Addr, story: Story) -> WhyView {
    let at = map.rows.partition_point(|row| row.vma.range.end() <= addr);
    let vma = |row: Option<&ShowRow>| -> Option<VmaRow> { row.map(|row| row.vma.clone()) };
    let around = (vma(at.checked_sub(1).and_then(|below| map.rows.get(below))), vma(map.rows.get(at)));
    let row = map.rows.get(at).filter(|row| row.vma.range.contains(addr)).cloned();
    WhyView { header: map.header, addr, row, around, story }
}

/// What a recording tells.
fn recorded(visit: &mut Visit, addr: Addr, context: &Context) -> Result<Story> {
    let broken = |error| crate::recording::broken(error, context);
    let history = visit.timeline.history(visit.mm, addr, |_| true).map_err(broken)?;
    let mut events = BTreeMap::new();
    for seq in mentioned(&history) {
        let found = read(visit, seq).map_err(|e| crate::recording::explain_reading(&e, context))?;
        events.extend(found.map(|event| (seq, event)));
    }
    let start = visit.timeline.start();
    let reader = visit.timeline.source_ref().reader();
    // Page snapshots of a traced program tell nothing of when something came to be.
    let all = if looks::is_watched(reader) { looks::all(reader) } else { Vec::new() };
    let told = history.chapters.iter().map(|chapter| chapter.event.seq).chain(mentioned(&history));
    let looks = told.filter_map(|seq| Some((seq, Looked::of_event(&all, seq, start)?))).collect();
    let reader = visit.timeline.source_ref().reader();
    let faults = reader.meta().features.iter().any(|feature| feature == FAULTS);
    let stacks = told_stacks(visit, &history, &events, context);
    Ok(Story::Recorded { history: Box::new(history), events, looks, stacks, faults })
}

/// The call stacks of what is told.
fn told_stacks(
    visit: &Visit,
    history: &History,
    events: &BTreeMap<Seq, Event>,
    context: &Context,
) -> BTreeMap<Seq, ShownStack> {
    let told = history.chapters.iter().map(|chapter| &chapter.event).chain(events.values());
    let told = told.chain(&history.first_fault);
    let named: Vec<(Seq, StackId)> = told.filter_map(|event| Some((event.seq, event.stack?))).collect();
    if named.is_empty() {
        return BTreeMap::new();
    }
    let Some(stacks) = stacks::of(visit.timeline.source_ref().reader(), context) else {
        return BTreeMap::new();
    };
    let shown = |(seq, id)| Some((seq, stacks.stack(id)?));
    named.into_iter().filter_map(shown).collect()
}

/// The events that mapped it and its neighbours.
fn mentioned(history: &History) -> Vec<Seq> {
    let mut all: Vec<Seq> = history.neighbours.iter().map(|part| part.seq).chain(history.origin).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// One event, without rows.
fn read(visit: &mut Visit, seq: Seq) -> Result<Option<Event>, vmatlas_record::RecordError> {
    let mut found = None;
    visit.timeline.source().events(seq, &mut |mut event| {
        if let Op::Snapshot { rows, .. } | Op::Observed { rows, .. } = &mut event.op {
            *rows = Vec::new();
        }
        found = Some(event).filter(|event| event.seq == seq);
        false
    })?;
    Ok(found)
}
