//! `vmatlas origins`: who asked for the memory of a process.

use crate::context::{Context, Stream};
use crate::recording::features::FAULTS;
use crate::recording::looks::tiled;
use crate::recording::{Visit, broken, explain_reading};
use crate::show::Wanted;
use crate::subject::{self, Subject};
use crate::{copies, output, stacks, target, texts};
use anyhow::{Result, anyhow};
use clap::Args;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::process::ExitCode;
use vmatlas_event::{AddrRange, Bytes, Event, EventSource, MonoNs, Pid, Seq, SnapshotReason};
use vmatlas_model::{Site, SiteSum, Sites, Spaces, Toucher};
use vmatlas_view::origins::{By, CopiesView, Known, Options, OriginsView};
use vmatlas_view::show::MapView;

#[derive(Args, Debug)]
pub(crate) struct OriginsArgs {
    /// A recording, or a moment of one (REC@1.25s, REC@1042, REC@peak, REC@MARK, REC:PID@exit); a PID, a process name, or what was
    /// saved of one
    #[arg(value_name = "TARGET", required_unless_present = "pid")]
    target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pid: Option<i32>,
    /// What the rows are ordered by: mapped, asked, touched, resident, faults, calls or vmas
    #[arg(long, value_name = "FIGURE", default_value = "mapped", value_parser = parse_by)]
    by: By,
    /// At most so many call sites; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// At most so many functions of each call stack, without the C library's for the call itself; 0 for all of them
    #[arg(long, value_name = "N", default_value_t = 6)]
    frames: usize,
    /// Instead: who broke the sharing of pages after a fork, in all processes of the recording (run --faults, best with
    /// --stacks)
    #[arg(long)]
    copies: bool,
    /// One JSON document instead of text, all call sites and frames in it
    #[arg(long)]
    json: bool,
    /// Do not use a pager
    #[arg(long)]
    no_pager: bool,
}

/// What a person should know of the figures.
pub(crate) const NOTES: &str = "\
    Each page of the map belongs to one call site, and each event to one, so the columns add up to the whole. MAPPED is there now; \
    ASKED FOR is what calls mapped in all, also what was unmapped since; TOUCHED are pages with a recorded fault (run --faults), and \
    FAULTS counts those faults: one may bring 16 pages of a file or a huge page. VMAS are the VMAs that calls made, less those they \
    removed (a hole makes two of one): who uses up vm.max_map_count. What was mapped before we looked is a row of its own. RESIDENT is \
    known at moments whose pages were recorded (run --pages, attach --pages, watch). With --by touched or --by faults those that touched \
    the memory most stand below each row (all of them with --top 0).";

fn parse_by(text: &str) -> Result<By, String> {
    let found = By::ALL.iter().find(|(id, _)| *id == text).map(|(_, by)| *by);
    found.ok_or_else(|| By::ALL.map(|(id, _)| id).join(", "))
}

pub(crate) fn run(args: &OriginsArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let root = context.proc_root();
    let subject = match (args.pid, &args.target) {
        (Some(pid), _) => Subject::Live(target::by_pid(&root, Pid(pid), context)?),
        (None, Some(target)) => subject::open(&root, target, context)?,
        (None, None) => return Err(anyhow!("TARGET")),
    };
    let map = subject::read(&subject, Wanted::pages(), context)?;
    let (view, start) = match subject {
        Subject::Recorded(mut visit) if args.copies => {
            let view = copies::recorded(&mut visit, map.header, context)?;
            return show_copies(&view, visit.timeline.start(), args, context);
        }
        _ if args.copies => return Err(anyhow!(texts::COPIES_NEED_FAULTS.get(context.lang))),
        Subject::Recorded(mut visit) => (recorded(&mut visit, map, context)?, visit.timeline.start()),
        Subject::Live(_) => (OriginsView { map_limit: root.max_map_count(), ..unseen(map) }, MonoNs(0)),
        Subject::Saved(_) => (unseen(map), MonoNs(0)),
    };
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json(args.by)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = context.lines(Stream::Stdout, start);
    let options = Options { by: args.by, top: args.top, frames: args.frames };
    output::show(context, args.no_pager, |out| view.write_text(out, &line, &options))?;
    Ok(ExitCode::SUCCESS)
}

fn show_copies(view: &CopiesView, start: MonoNs, args: &OriginsArgs, context: &Context) -> Result<ExitCode> {
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = context.lines(Stream::Stdout, start);
    output::show(context, args.no_pager, |out| view.write_text(out, &line, (args.top, args.frames)))?;
    Ok(ExitCode::SUCCESS)
}

/// What no call was seen of: all of it was there before anybody looked.
fn unseen(map: MapView) -> OriginsView {
    // `[vsyscall]` is no VMA.
    let rows = || map.rows.iter().filter(|row| row.vma.special() != Some(b"vsyscall"));
    let sum = SiteSum {
        mapped: Bytes(rows().map(|row| row.vma.range.len().0).sum()),
        vmas: rows().count() as i64,
        resident: rows().map(|row| Some(row.pages?.resident.0)).sum::<Option<u64>>().map(Bytes),
        ..SiteSum::default()
    };
    OriginsView {
        sites: [(Site::Found(SnapshotReason::Attach), sum)].into(),
        stacks: BTreeMap::new(),
        touchers: BTreeMap::new(),
        map_limit: None,
        known: Known { calls: false, faults: false, resident_why: map.pages_why },
        header: map.header,
    }
}

/// What a recording tells, from its first event to the moment.
fn recorded(visit: &mut Visit, map: MapView, context: &Context) -> Result<OriginsView> {
    let mut spaces = Spaces::new(visit.page);
    spaces.distrust(visit.timeline.source_ref().reader().meta().distrust);
    let mut sites = Sites::new(visit.mm, visit.page);
    let Some(last) = visit.timeline.position().seq else { return Ok(unseen(map)) };
    let features = &visit.timeline.source_ref().reader().meta().features;
    let has_faults = features.iter().any(|feature| feature == FAULTS);
    let mut take = |event: &Event, spaces: &mut Spaces| {
        let progress = spaces.event(event);
        for done in progress.unanswered.iter().chain(&progress.done) {
            sites.add(done, spaces);
        }
    };
    let read = visit.timeline.source().events(Seq(0), &mut |event| {
        // A moment is after an event and after the answers to it: `last` is the last of those.
        let is_wanted = event.seq <= last;
        if is_wanted {
            take(&event, &mut spaces);
        }
        is_wanted
    });
    read.map_err(|error| explain_reading(&error, context))?;
    let resident: HashMap<AddrRange, Option<Bytes>> =
        map.rows.iter().map(|row| (row.vma.range, row.pages.map(|pages| pages.resident))).collect();
    let space = visit.timeline.space(visit.mm);
    let space = space
        .ok_or_else(|| broken(vmatlas_model::timeline::TimelineError::NoSuchSpace(visit.mm), context))?;
    let touchers = sites.touchers();
    let reader = visit.timeline.source_ref().reader();
    // By origins where a traced program's pages were recorded so, else by whole VMAs.
    let pages = visit.looked.as_ref().and_then(|looked| looked.pages(reader, context)).unwrap_or_default();
    let of_parts = |range| tiled(&pages, range).and_then(|(_, pages)| pages).map(|pages| pages.resident);
    let sums =
        sites.finish(space, &|range| of_parts(range).or_else(|| resident.get(&range).copied().flatten()));
    let asked = sums.keys().filter_map(|site| match site {
        Site::Stack(id) => Some(*id),
        _ => None,
    });
    let touched = touchers.values().flatten().filter_map(|(by, _)| match by {
        Toucher::Stack(id) => Some(*id),
        _ => None,
    });
    let ids = asked.chain(touched);
    let table = ids.clone().next().and_then(|_| stacks::of(visit.timeline.source_ref().reader(), context));
    let stacks = ids.filter_map(|id| Some((id, table.as_ref()?.stack(id)?))).collect();
    let known = Known { calls: true, faults: has_faults, resident_why: map.pages_why };
    let map_limit = visit.timeline.source_ref().reader().meta().max_map_count;
    Ok(OriginsView { header: map.header, sites: sums, stacks, touchers, map_limit, known })
}
