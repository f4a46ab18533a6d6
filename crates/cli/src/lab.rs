//! `vmatlas lab`: experiments, shown while they are made.

use crate::args::{parse_addr, parse_prot, parse_size};
use crate::context::{Context, Stream};
use crate::output;
use crate::texts;
use anyhow::{Result, anyhow};
use clap::Args;
use std::fmt::Write;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{Addr, Bytes, MAP, MapFlags, ProtArg, parse_flags};
use vmatlas_lab::render::{self, Look};
use vmatlas_lab::{Audience, LabError, MmapOptions, Nobody, Report, Sample, Say, Step, TouchPages};
use vmatlas_view::{Paint, escape};

/// A fact that does not hold.
const NOT_HELD: u8 = 3;

#[derive(Args, Debug)]
pub(crate) struct LabArgs {
    /// mmap, brk or demand-paging
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Make all experiments and show their facts
    #[arg(long, conflicts_with_all = ["name", "svg", "addr", "prot", "flags", "file", "offset", "touch"])]
    all: bool,
    /// Do not wait for Enter between the steps
    #[arg(long)]
    no_wait: bool,
    /// Show the kernel's own lines of /proc/PID/maps
    #[arg(long)]
    raw: bool,
    /// Show whole maps, not only where something changed
    #[arg(long)]
    all_lines: bool,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Draw the picture into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// mmap, demand-paging: how much (1GiB, 1, 0, 100MiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    length: Option<Bytes>,
    /// mmap: the address wished for, or ordered with MAP_FIXED
    #[arg(long, value_name = "ADDR", value_parser = parse_addr)]
    addr: Option<Addr>,
    /// mmap: READ|WRITE, NONE, EXEC, or a number
    #[arg(long, value_name = "FLAGS", value_parser = parse_prot)]
    prot: Option<ProtArg>,
    /// mmap: PRIVATE|ANONYMOUS, SHARED, POPULATE, ..., or a number
    #[arg(long, value_name = "FLAGS", value_parser = parse_map_flags)]
    flags: Option<MapFlags>,
    /// mmap: add MAP_POPULATE to the flags
    #[arg(long)]
    populate: bool,
    /// mmap: map this file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// mmap: where in the file to begin
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    offset: Option<Bytes>,
    /// mmap: touch this many pages of the new area, or all
    #[arg(long, value_name = "N|all", value_parser = parse_touch)]
    touch: Option<TouchPages>,
}

fn parse_map_flags(text: &str) -> Result<MapFlags, String> {
    parse_flags(MAP, "MAP_", text).map(MapFlags).map_err(|word| format!("{word}: no MAP_ flag"))
}

fn parse_touch(text: &str) -> Result<TouchPages, String> {
    match text {
        "all" => Ok(TouchPages::All),
        n => n.parse().map(TouchPages::Some).map_err(|_| "a number of pages, or all".to_owned()),
    }
}

impl LabArgs {
    fn mmap(&self) -> MmapOptions {
        let usual = MmapOptions::default();
        let with_file = MapFlags(2);
        let flags = self.flags.unwrap_or(if self.file.is_some() { with_file } else { usual.flags });
        let populate = if self.populate { MapFlags::POPULATE } else { 0 };
        let length = self.length.unwrap_or_else(|| self.file_size().unwrap_or(usual.length));
        MmapOptions {
            length,
            addr: self.addr.unwrap_or(usual.addr),
            prot: self.prot.unwrap_or(if self.file.is_some() { ProtArg(1) } else { usual.prot }),
            flags: MapFlags(flags.0 | populate),
            file: self.file.clone(),
            offset: self.offset.map_or(0, |b| b.0),
            touch: self.touch.unwrap_or(usual.touch),
        }
    }

    /// A file is mapped whole unless a length is given.
    fn file_size(&self) -> Option<Bytes> {
        let size = std::fs::metadata(self.file.as_ref()?).ok()?.len();
        (size > 0).then_some(Bytes(size))
    }

    /// The options of mmap that another experiment was given.
    fn stray(&self) -> Option<&'static str> {
        let given = [
            ("--addr", self.addr.is_some()),
            ("--prot", self.prot.is_some()),
            ("--flags", self.flags.is_some()),
            ("--populate", self.populate),
            ("--file", self.file.is_some()),
            ("--offset", self.offset.is_some()),
            ("--touch", self.touch.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

pub(crate) fn run(args: LabArgs, context: &Context) -> Result<ExitCode> {
    let look = Look {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout).unwrap_or(120),
        raw: args.raw,
        all_lines: args.all_lines,
    };
    let Some(name) = args.name.as_deref() else {
        return if args.all {
            all(&args, &look)
        } else {
            output::print(|out| render::list(out, &look))?;
            Ok(ExitCode::SUCCESS)
        };
    };
    if name != "mmap"
        && let Some(option) = args.stray()
    {
        return Err(anyhow!(texts::NOT_FOR_THIS.fill(context.lang, &[("option", &option), ("name", &name)])));
    }
    let waits = !args.no_wait && !args.json && io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut stage = Stage { look, waits, shown: 0, line_open: false };
    let audience: &mut dyn Audience = if args.json { &mut Nobody } else { &mut stage };
    let report = make(name, &args, audience, context)?;
    if let Some(path) = &args.svg {
        let svg = report
            .figure
            .as_ref()
            .map(|figure| figure.svg(context.lang))
            .ok_or_else(|| anyhow!(texts::NO_PICTURE.fill(context.lang, &[("name", &name)])))?;
        std::fs::write(path, svg).map_err(|why| {
            let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("why", &why)];
            anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
        })?;
    }
    if args.json {
        output::print(|out| writeln!(out, "{}", render::one(&report)))?;
    } else {
        output::print(|out| render::ending(out, &report, &look))?;
    }
    Ok(code(report.holds()))
}

fn code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::from(NOT_HELD) }
}

fn make(name: &str, args: &LabArgs, audience: &mut dyn Audience, context: &Context) -> Result<Report> {
    let hundred_mib = Bytes(100 << 20);
    let report = match name {
        "mmap" => vmatlas_lab::mmap(&args.mmap(), audience),
        "brk" => vmatlas_lab::brk(audience),
        "demand-paging" => vmatlas_lab::demand_paging(args.length.unwrap_or(hundred_mib), audience),
        other => {
            let name = escape::terminal(other.as_bytes());
            return Err(anyhow!(texts::NO_EXPERIMENT.fill(context.lang, &[("name", &name)])));
        }
    };
    report.map_err(|error: LabError| anyhow!(error.say().get(context.lang)))
}

fn all(args: &LabArgs, look: &Look) -> Result<ExitCode> {
    let mut reports = Vec::new();
    for info in vmatlas_lab::EXPERIMENTS {
        let context = Context::new(Some(look.lang), crate::context::Color::Never, true);
        reports.push(make(info.name, args, &mut Nobody, &context)?);
    }
    if args.json {
        output::print(|out| writeln!(out, "{}", render::all(&reports)))?;
    } else {
        output::print(|out| render::table_of_all(out, &reports, look))?;
    }
    Ok(code(reports.iter().all(Report::holds)))
}

/// A person at a terminal, or a pipe: sees each step as it is made.
struct Stage {
    look: Look,
    waits: bool,
    shown: usize,
    /// Whether a line stands that the next one writes over.
    line_open: bool,
}

impl Stage {
    fn say(&mut self, write: impl FnOnce(&mut dyn Write) -> std::fmt::Result) {
        if std::mem::take(&mut self.line_open) {
            let _ = output::print(|out| out.write_str("\n"));
        }
        // A reader that went away does not stop the experiment; the last line tells whether all was written.
        let _ = output::print(write);
    }
}

impl Audience for Stage {
    fn begin(&mut self, report: &Report) {
        let look = self.look;
        self.say(|out| render::beginning(out, report, &look));
        self.pause();
    }

    fn step(&mut self, _report: &Report, step: &Step) {
        let (look, number) = (self.look, self.shown);
        self.shown += 1;
        self.say(|out| render::step(out, number, step, &look));
    }

    fn sample(&mut self, sample: &Sample) {
        if self.waits {
            let line = render::sample(sample, &self.look);
            let _ = output::print(|out| write!(out, "\r\x1b[K{line}"));
            self.line_open = true;
        }
    }

    fn warn(&mut self, warning: &Say) {
        let text = self.look.style.paint(Paint::Changed, &format!("! {}", warning.get(self.look.lang)));
        self.say(|out| writeln!(out, "\n{text}"));
    }

    fn pause(&mut self) {
        if !self.waits {
            return;
        }
        let prompt = self.look.style.paint(Paint::Faint, texts::PRESS_ENTER.get(self.look.lang));
        self.say(|out| write!(out, "\n{prompt} "));
        let mut line = String::new();
        // The end of input is as good as Enter, and nobody is there to wait for after it.
        if matches!(io::stdin().lock().read_line(&mut line), Ok(0) | Err(_)) {
            self.waits = false;
        }
    }

    fn wants_time(&self) -> bool {
        self.waits
    }
}
