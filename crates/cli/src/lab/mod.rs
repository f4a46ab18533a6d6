//! `vmatlas lab`: experiments, shown while they are made.

mod experiment;
mod record;
mod stage;

use crate::context::{Context, Stream};
use crate::output;
use crate::texts;
use anyhow::{Result, anyhow};
use clap::Args;
use experiment::Chosen;
use record::Recording;
use stage::Stage;
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmatlas_lab::render::{self, Look};
use vmatlas_lab::{Audience, Info, LabError, Nobody, Report, Settings, experiments, quiz};
use vmatlas_view::escape;

/// A fact that does not hold.
const NOT_HELD: u8 = 3;
/// Columns where nobody tells.
const COLUMNS: usize = 120;

#[derive(Args, Debug)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "NAME",
    subcommand_help_heading = "Experiments"
)]
pub(crate) struct LabArgs {
    /// Make all experiments and show their facts
    #[arg(long, conflicts_with_all = ["svg", "markdown", "output", "quiz"])]
    all: bool,
    /// Do not wait for Enter between the steps
    #[arg(long, global = true)]
    no_wait: bool,
    /// Wait for a line of input between the steps, also where this is no terminal
    #[arg(long, global = true, conflicts_with_all = ["no_wait", "json"])]
    wait: bool,
    /// Ask two questions at the end; the answers are what was measured
    #[arg(long, global = true)]
    quiz: bool,
    /// Show the kernel's own lines of /proc/PID/maps
    #[arg(long, global = true)]
    raw: bool,
    /// Show whole maps, not only where something changed
    #[arg(long, global = true)]
    all_lines: bool,
    /// One JSON document instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Draw the picture into this file
    #[arg(long, global = true, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a handout into this file; with --svg it shows that picture
    #[arg(long, global = true, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Record the process of the experiment into this new folder, for every other command
    #[arg(short, long, global = true, value_name = "REC")]
    output: Option<PathBuf>,
    /// Replace a recording of that name
    #[arg(long, global = true, requires = "output")]
    force: bool,
    #[command(subcommand)]
    chosen: Option<Chosen>,
}

pub(crate) fn run(args: LabArgs, context: &Context) -> Result<ExitCode> {
    let look = Look {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout).unwrap_or(COLUMNS),
        raw: args.raw,
        all_lines: args.all_lines,
    };
    match &args.chosen {
        Some(chosen) => one(chosen, &args, &look, context),
        None if args.all => all(&args, &look),
        None if args.json => {
            output::print(|out| writeln!(out, "{}", render::list_json()))?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            output::print(|out| render::list(out, &look))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn one(chosen: &Chosen, args: &LabArgs, look: &Look, context: &Context) -> Result<ExitCode> {
    let Some(info) = chosen.info() else {
        let name = escape::terminal(chosen.name().as_bytes());
        crate::complain(context, &texts::NO_EXPERIMENT.fill(context.lang, &[("name", &name)]));
        return Ok(ExitCode::from(crate::USAGE));
    };
    let settings = Settings::new(info.params, chosen.given());
    let recording = match &args.output {
        Some(path) => Some(Recording::create(path.clone(), args.force, info, context)?),
        None => None,
    };
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let waits = args.wait || terminal && !args.no_wait && !args.json;
    let mut stage = Stage::new(*look, waits);
    let audience: &mut dyn Audience = if args.json { &mut Nobody } else { &mut stage };
    let report = info.make(&settings, audience, recording.as_ref().map(Recording::tap));
    if let Some(recording) = recording {
        recording.finish(context);
    }
    let report = report.map_err(|error: LabError| anyhow!(error.say().get(context.lang)))?;
    write_files(args, info, &report, look, context)?;
    if args.json {
        output::print(|out| writeln!(out, "{}", render::one(&report)))?;
    } else {
        output::print(|out| render::ending(out, &report, look))?;
        if args.quiz {
            stage.quiz(&quiz(&report))?;
        }
    }
    Ok(code(report.holds()))
}

fn write_files(args: &LabArgs, info: &Info, report: &Report, look: &Look, context: &Context) -> Result<()> {
    if let Some(path) = &args.svg {
        let figure = report.figure.as_ref();
        let none = || anyhow!(texts::NO_PICTURE.fill(context.lang, &[("name", &info.name)]));
        write_file(path, &figure.ok_or_else(none)?.svg(context.lang), context)?;
    }
    if let Some(path) = &args.markdown {
        let picture = args.svg.as_ref().map(|svg| beside(path, svg));
        let mut text = String::new();
        render::markdown(&mut text, report, picture.as_deref(), look)?;
        write_file(path, &text, context)?;
    }
    Ok(())
}

/// How a handout names its picture: by its bare name where both are in one folder.
fn beside(handout: &Path, picture: &Path) -> String {
    let name = picture.file_name().filter(|_| handout.parent() == picture.parent());
    name.map_or_else(|| picture.to_string_lossy(), |name| name.to_string_lossy()).into_owned()
}

fn write_file(path: &Path, text: &str, context: &Context) -> Result<()> {
    std::fs::write(path, text).map_err(|why| {
        let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", &why)];
        anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
    })
}

fn code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::from(NOT_HELD) }
}

fn all(args: &LabArgs, look: &Look) -> Result<ExitCode> {
    let mut outcomes: Vec<render::Outcome> = Vec::new();
    for info in experiments() {
        let outcome = (info, info.make(&Settings::new(info.params, &[]), &mut Nobody, None));
        if !args.json {
            output::print(|out| render::one_of_all(out, &outcome, look))?;
        }
        outcomes.push(outcome);
    }
    if args.json {
        output::print(|out| writeln!(out, "{}", render::all(&outcomes)))?;
    } else {
        output::print(|out| render::sum_of_all(out, &outcomes, look))?;
    }
    let all_made = outcomes.iter().all(|(_, outcome)| outcome.is_ok());
    let all_hold =
        outcomes.iter().all(|(_, outcome)| outcome.as_ref().is_ok_and(Report::holds) || outcome.is_err());
    Ok(if all_hold && !all_made { ExitCode::FAILURE } else { code(all_hold) })
}
