//! `vmatlas pages`: the pages of a process, run by run or one by one, with the frames behind them.

use crate::args::{parse_addr, parse_kind};
use crate::context::{Context, Stream};
use crate::recording::Selector;
use crate::target::{self, explain};
use crate::{output, show, texts};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;
use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{Addr, AddrRange, PageInfo, Pid, VmaRow};
use vmatlas_model::kind::Kind;
use vmatlas_proc::read::{frames::Visited, pages, whole::Space};
use vmatlas_proc::{Budget, ProcError, Process};
use vmatlas_view::pages::{Grouper, JsonWriter, PagesRow, Reading, Run, TextOptions, TextWriter};
use vmatlas_view::picture::frames::{self as picture, Collector};
use vmatlas_view::show::{MapView, Options};

/// Runs of text without `--limit`; JSON has no such limit.
const MOST_RUNS: u64 = 10_000;

#[derive(Args, Debug)]
pub(crate) struct PagesArgs {
    /// A PID or a process name
    #[arg(value_name = "PID|NAME", required_unless_present = "pid")]
    target: Option<OsString>,
    /// Only the VMA that holds this address, these addresses, or the VMAs of this kind (heap, thread-stack, ...)
    #[arg(value_name = "ADDR|ADDR-ADDR|KIND", value_parser = parse_part)]
    part: Option<Part>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID")]
    pid: Option<i32>,
    /// Page by page; what is not present stays a run
    #[arg(long)]
    each: bool,
    /// At most so many runs or pages (text: 10000, JSON: no limit); the totals count them all
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    /// One JSON object per line: the process, each run, the totals
    #[arg(long, conflicts_with = "json")]
    jsonl: bool,
    /// Draw pages and frames side by side on the terminal
    #[arg(long, conflicts_with_all = ["json", "jsonl", "each", "limit"])]
    picture: bool,
    /// Draw pages and frames side by side into this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "jsonl", "each", "limit"])]
    svg: Option<PathBuf>,
    /// Do not use a pager
    #[arg(long)]
    no_pager: bool,
}

/// What a person should know of pages.
pub(crate) const NOTES: &str = "\
    A run is neighbouring pages of one VMA of which the same is true. Frame numbers, map counts and flags are told to root \
    only; whether a page is mapped here alone is told to everybody. Frame ranges end, as addresses do, at the first that \
    is no more of them. The process is not stopped: what changes meanwhile is shown as it was when it was read.";

/// Which part of a process is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The VMA that holds this address.
    At(Addr),
    /// These addresses.
    Range(AddrRange),
    /// The VMAs of this kind.
    Kind(Kind),
}

/// An address, a range of them, or a kind.
fn parse_part(text: &str) -> Result<Part, String> {
    let range = |(start, end): (&str, &str)| AddrRange::new(parse_addr(start).ok()?, parse_addr(end).ok()?);
    if let Ok(kind) = parse_kind(text) {
        return Ok(Part::Kind(kind));
    }
    if let Some(range) = text.split_once('-').and_then(range).filter(|range| !range.is_empty()) {
        return Ok(Part::Range(range));
    }
    parse_addr(text).map(Part::At).map_err(|_| {
        let kinds = parse_kind("").err().unwrap_or_default();
        format!("{text}: an address (0x7f001000), a range of them (0x7f001000-0x7f003000) or a kind; {kinds}")
    })
}

pub(crate) fn run(args: &PagesArgs, context: &Context) -> Result<ExitCode> {
    let root = context.proc_root();
    // With -p the first word is no target but the part.
    let (process, part) = match (&args.target, args.pid) {
        (part, Some(pid)) => {
            let part = part.as_ref().map(|word| parse_part(&word.to_string_lossy()));
            let part = part.transpose().map_err(|why| anyhow!(why))?;
            if part.is_some() && args.part.is_some() {
                return Err(anyhow!(texts::ONE_PART.get(context.lang)));
            }
            (target::by_pid(&root, Pid(pid), context)?, part)
        }
        (Some(name), None) => {
            let is_number = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
            if !is_number && Selector::parse(name).is_some() {
                let target = name.to_string_lossy();
                return Err(anyhow!(texts::PAGES_OF_RECORDING.fill(context.lang, &[("target", &target)])));
            }
            (target::open(&root, name, context)?, args.part)
        }
        (None, None) => return Err(anyhow!("PID|NAME")),
    };
    let space = Space::of(&process).map_err(|error| explain(&error, context))?;
    let view = show::read(&process, show::Wanted::default(), context)?;
    let rows = rows_of(&view, part);
    if rows.is_empty() {
        return Err(nothing_there(part, process.pid(), context));
    }
    let session = Session { process: &process, space: &space, view: &view, rows: &rows, args };
    if args.svg.is_some() || args.picture {
        return session.picture(context);
    }
    let mut answer = Ok(());
    let write = |out: &mut dyn Write| {
        let (written, read) = match args.json || args.jsonl {
            true => session.json(out),
            false => session.text(out, context),
        };
        answer = read;
        written
    };
    // A pager needs the whole text; who asks for more lines than that is given them as they come.
    let is_long = args.limit.is_some_and(|limit| limit > 10 * MOST_RUNS);
    output::show(context, args.no_pager || args.json || args.jsonl || is_long, write)?;
    answer.map(|()| ExitCode::SUCCESS).map_err(|error| explain(&error, context))
}

/// The rows of the part, cut to it.
fn rows_of(view: &MapView, part: Option<Part>) -> Vec<PagesRow> {
    let page = vmatlas_sys::page_size();
    let range = match part {
        Some(Part::Range(range)) => {
            AddrRange::new(page.floor(range.start()), page.ceil(range.end()).unwrap_or(range.end()))
        }
        _ => Some(AddrRange::ALL),
    };
    let takes = |row: &VmaRow, kind: Kind| match part {
        Some(Part::At(addr)) => row.range.contains(addr),
        Some(Part::Kind(wanted)) => kind == wanted,
        Some(Part::Range(_)) | None => true,
    };
    let cut = |row: &VmaRow| {
        let range = row.range.intersect(range?)?;
        Some(VmaRow { range, ..row.clone() })
    };
    view.rows
        .iter()
        // The pseudo mapping of old system calls is no VMA: it has no page table.
        .filter(|row| row.vma.special() != Some(b"vsyscall") && takes(&row.vma, row.verdict.kind))
        .filter_map(|row| Some(PagesRow { vma: cut(&row.vma)?, kind: row.verdict.kind }))
        .collect()
}

fn nothing_there(part: Option<Part>, pid: Pid, context: &Context) -> anyhow::Error {
    let what: String = match part {
        Some(Part::At(addr)) => addr.to_string(),
        Some(Part::Range(range)) => range.to_string(),
        Some(Part::Kind(kind)) => kind.id().to_owned(),
        None => String::new(),
    };
    anyhow!(texts::NO_SUCH_PART.fill(context.lang, &[("pid", &pid), ("what", &what)]))
}

/// One reading of the pages of one process.
struct Session<'a> {
    process: &'a Process,
    /// What the map is of: pages of another program would be told as not present.
    space: &'a Space<'a>,
    view: &'a MapView,
    rows: &'a [PagesRow],
    args: &'a PagesArgs,
}

impl Session<'_> {
    /// Reads the pages and gives each run to `out`, until it says `false`: a reader that went away needs no more.
    fn read(&self, each: bool, out: &mut dyn FnMut(usize, Run) -> bool) -> Result<Visited, ProcError> {
        let vmas: Vec<VmaRow> = self.rows.iter().map(|row| row.vma.clone()).collect();
        let mut grouper = Grouper::new(self.rows, vmatlas_sys::page_size().bytes(), each);
        let goes_on = Cell::new(true);
        let mut give = |row, run| goes_on.set(goes_on.get() && out(row, run));
        let mut take = |row, info: PageInfo| {
            grouper.page(row, &info, &mut give);
            goes_on.get()
        };
        let visited = pages::visit(self.process, &vmas, Budget::default(), &mut take)?;
        self.space.still()?;
        grouper.finish(&mut give);
        Ok(visited)
    }

    fn text(&self, out: &mut dyn Write, context: &Context) -> (fmt::Result, Result<(), ProcError>) {
        let columns = context.columns(Stream::Stdout);
        let style = context.style(Stream::Stdout);
        let options = TextOptions {
            lang: context.lang,
            style,
            columns,
            page: vmatlas_sys::page_size().bytes(),
            limit: self.args.limit.unwrap_or(MOST_RUNS),
        };
        let mut writer = TextWriter::new(self.rows, options);
        let header = Options { lang: context.lang, style, columns, ..Options::default() };
        let mut written = self
            .view
            .write_header(out, &header)
            .and_then(|()| writeln!(out))
            .and_then(|()| writer.start(out));
        let read = self.read(self.args.each, &mut |row, run| {
            if written.is_ok() {
                written = writer.run(out, row, &run);
            }
            written.is_ok()
        });
        let reading = reading(&read);
        (written.and_then(|()| writer.finish(out, &reading)), read.map(|_| ()))
    }

    fn json(&self, out: &mut dyn Write) -> (fmt::Result, Result<(), ProcError>) {
        let limit = self.args.limit.unwrap_or(u64::MAX);
        let page = vmatlas_sys::page_size().bytes();
        let mut writer = JsonWriter::new(self.rows, page, limit, self.args.jsonl);
        let mut written = writer.start(out, &self.view.header, self.view.rows.len());
        let read = self.read(self.args.each, &mut |row, run| {
            if written.is_ok() {
                written = writer.run(out, row, &run);
            }
            written.is_ok()
        });
        let reading = reading(&read);
        (written.and_then(|()| writer.finish(out, &reading)), read.map(|_| ()))
    }

    /// Draws the pages beside their frames: into a file, on the terminal, or both.
    fn picture(&self, context: &Context) -> Result<ExitCode> {
        let lang = context.lang;
        let mut collector = Collector::new(self.rows, vmatlas_sys::page_size().bytes());
        self.read(false, &mut |row, run| {
            collector.add(row, &run);
            true
        })
        .map_err(|e| explain(&e, context))?;
        let figure = collector.finish(&self.view.header);
        if let Some(path) = &self.args.svg {
            std::fs::write(path, picture::svg(&figure, lang)).map_err(|e| {
                let values: [(&str, &dyn fmt::Display); 2] = [("path", &path.display()), ("why", &e)];
                anyhow!(texts::CANNOT_WRITE.fill(lang, &values))
            })?;
        }
        if self.args.picture {
            let columns = context.columns(Stream::Stdout).unwrap_or(100);
            let lines = picture::terminal(&figure, lang, context.style(Stream::Stdout), columns);
            let write = |out: &mut dyn Write| lines.iter().try_for_each(|line| writeln!(out, "{line}"));
            output::show(context, self.args.no_pager, write)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn reading(read: &Result<Visited, ProcError>) -> Reading {
    let Ok(visited) = read else { return Reading::default() };
    let longest = visited.walk.longest_hold.max(visited.cost.longest_hold);
    let cost = json!({
        "pages_method": visited.walk.method.id(),
        "walk_us": visited.walk.time.as_micros() as u64,
        "walk_calls": visited.walk.calls,
        "frames_us": visited.cost.time.as_micros() as u64,
        "frames_reads": visited.cost.pagemap_reads + visited.cost.frame_reads,
        "frames_bytes": visited.cost.bytes,
        "longest_hold_us": longest.as_micros() as u64,
    });
    Reading { complete: true, cost }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what the second word can be, and that a wrong one is refused with what there is.
    #[test]
    fn parts_are_told_apart() {
        assert_eq!(parse_part("0x7f00"), Ok(Part::At(Addr(0x7f00))));
        assert_eq!(parse_part("heap"), Ok(Part::Kind(Kind::Heap)));
        let range = AddrRange::new(Addr(0x1000), Addr(0x3000)).unwrap();
        assert_eq!(parse_part("0x1000-0x3000"), Ok(Part::Range(range)));
        assert_eq!(parse_part("1000-3000"), Ok(Part::Range(range)));
        for wrong in ["", "nonsense", "0x3000-0x1000", "0x1000-0x1000", "0x", "-", "malloc-", "0xzz"] {
            assert!(parse_part(wrong).unwrap_err().contains("malloc-arena"), "{wrong}");
        }
    }
}
