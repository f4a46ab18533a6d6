//! What was typed; no system is asked while it is parsed.

mod show;
mod values;
mod watch;

pub(crate) use show::{PsArgs, RssArgs, ShowArgs};
pub(crate) use values::{parse_addr, parse_call, parse_duration, parse_kind, parse_method, parse_size};
pub(crate) use watch::{AttachArgs, RunArgs, WatchArgs};

use crate::context::Color;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use values::parse_lang;
use vmatlas_view::Lang;

/// See how a process gets its memory: its map, every call that changed it, and what was really touched.
#[derive(Debug, Parser)]
#[command(
    name = "vmatlas",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = PLANNED
)]
pub(crate) struct Cli {
    /// Language: en or ja (else LC_ALL, LC_MESSAGES, LANG)
    #[arg(long, global = true, value_name = "LANG", value_parser = parse_lang)]
    pub(crate) lang: Option<Lang>,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Do without PROCMAP_QUERY, as on kernels before 6.11
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_procmap_query: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the map of a process: its VMAs, what each is for, and how much of it is resident
    Show(ShowArgs),
    /// Where every resident byte of a process belongs: heap, images, stacks, files, ... beside what others count
    #[command(after_help = show::RSS_NOTES)]
    Rss(RssArgs),
    /// Show the pages of a process, run by run or one by one, and the physical frames behind them
    #[command(after_help = crate::pages::NOTES)]
    Pages(crate::pages::PagesArgs),
    /// List all processes: virtual, resident and swapped size; map count, PSS and USS when asked
    #[command(after_help = show::PS_NOTES)]
    Ps(PsArgs),
    /// Start a program and watch its memory calls: each with what it changed
    #[command(after_help = watch::RUN_NOTES)]
    Run(RunArgs),
    /// Watch the memory calls of a running process: each with what it changed; ^C leaves it running
    #[command(after_help = watch::ATTACH_NOTES)]
    Attach(AttachArgs),
    /// Record the map and the pages of a running process at intervals, without tracing it; ^C ends it
    #[command(after_help = crate::watch::NOTES)]
    Watch(crate::watch::WatchProcessArgs),
    /// Show what a recording holds: program, machine, processes, counts of calls, marks, damage
    Info(crate::recording::info::InfoArgs),
    /// Show the events of a recording, as 'run' shows them
    Log(crate::recording::log::LogArgs),
    /// Check a recording: its checksums, and replay against every snapshot and keyframe in it
    #[command(after_help = crate::recording::verify::NOTES)]
    Verify(crate::recording::verify::VerifyArgs),
    /// Who mapped an address, and every call that changed it since; merged neighbours told apart
    #[command(after_help = crate::why::NOTES)]
    Why(crate::why::WhyArgs),
    /// Who asked for the memory: call sites by what is mapped, touched, resident, by faults and calls
    #[command(after_help = crate::origins::NOTES)]
    Origins(crate::origins::OriginsArgs),
    /// Name this moment of a recording, while it is being made
    Mark(crate::recording::mark::MarkArgs),
    /// Make one file of a recording, which all commands read too
    #[command(after_help = crate::recording::pack::NOTES)]
    Pack(crate::recording::pack::PackArgs),
    /// Write the call stacks of a recording as other tools read them: collapsed, speedscope, Firefox profiler, pprof
    #[command(after_help = crate::export::NOTES)]
    Export(crate::export::ExportArgs),
    /// Compare two maps: added, removed, altered, grown, moved, and what that makes for each kind
    #[command(after_help = DIFF_NOTES)]
    Diff(crate::diff::DiffArgs),
    /// Run an experiment step by step: the map before, the call, the map after, a picture
    #[command(after_help = LAB_NOTES)]
    Lab(crate::lab::LabArgs),
    /// What this kernel and these privileges allow, and the command that permits what they do not
    #[command(after_help = crate::doctor::NOTES)]
    Doctor(crate::doctor::DoctorArgs),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// What a person should know of a comparison.
const DIFF_NOTES: &str = "\
    Maps of one address space (a process at two moments, a parent and its child) are compared by address. Two runs of a \
    program lie at different addresses: their VMAs are paired by kind, file, offset, protection and size.\n\n\
    Exit status: 0; with --exit-code 3 where the maps differ.";

/// What a person should know before an experiment.
const LAB_NOTES: &str = "\
    Experiments happen in a process of their own; nothing of the machine is changed but by an \
    option that says so, and that is put back. Without a name they are listed.\n\n\
    Exit status: 0 when every fact held, 3 when one did not, 1 when the experiment could not be made.";

const PLANNED: &str = "\
    Not yet there: tui, serve, report.";

/// Commands of the design that do not exist yet.
pub(crate) const NOT_YET: &[&str] = &["tui", "serve", "report"];

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the options are consistent (clap's own check) and that everything after the program is the program's.
    #[test]
    fn options_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["vmatlas", "run", "-c", "--", "ls", "-c", "--lang", "x"]).unwrap();
        let Command::Run(run) = cli.command else { panic!() };
        assert!(run.watch.count);
        assert_eq!(run.command, ["ls", "-c", "--lang", "x"]);
    }

    /// Checks that the help names every planned command.
    #[test]
    fn help_names_what_is_planned() {
        assert!(NOT_YET.iter().all(|name| PLANNED.contains(name)));
    }

    /// Checks that wrong values are refused with the values there are.
    #[test]
    fn wrong_values_are_refused() {
        for words in [
            ["vmatlas", "show", "1", "--kind=nonsense"],
            ["vmatlas", "show", "1", "--min-size=much"],
            ["vmatlas", "show", "1", "--prot=q"],
            ["vmatlas", "show", "1", "--columns=help"],
            ["vmatlas", "show", "1", "--columns="],
            ["vmatlas", "show", "1", "--sort=name"],
            ["vmatlas", "ps", "--by=colour", "--all"],
            ["vmatlas", "ps", "--sort=heat", "--all"],
            ["vmatlas", "show", "1", "--budget=0"],
            ["vmatlas", "show", "1", "--method=magic"],
            ["vmatlas", "run", "--expr=open", "ls"],
            ["vmatlas", "attach", "--duration=soon", "1"],
            ["vmatlas", "attach", "--duration=0", "1"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }
}
