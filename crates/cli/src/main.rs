//! The vmatlas command: arguments become a wiring of readers, tracer, model and views.

#![forbid(unsafe_code)]

mod args;
mod attach;
mod backend;
mod cgroup;
mod context;
mod copies;
mod diff;
mod doctor;
mod export;
mod failure;
mod faults;
mod filter;
mod jit;
mod lab;
mod log;
mod origins;
mod output;
mod pages;
mod privilege;
mod progress;
mod ps;
mod recording;
mod rss;
mod run;
mod show;
mod stacks;
mod subject;
mod target;
mod texts;
mod watch;
mod watcher;
mod why;

use args::{Cli, Command, NOT_YET};
use clap::Parser;
use context::{Context, Stream};
use std::process::ExitCode;

/// Wrong usage, as clap has it.
const USAGE: u8 = 2;
/// A check found a difference.
const DIFFERENT: u8 = 3;

fn main() -> ExitCode {
    // The lab's subject: nothing may be allocated for it, so it comes before everything.
    vmatlas_lab::child_if_asked();
    let cli = Cli::parse();
    let context = Context::new(cli.lang, cli.color, !cli.no_procmap_query);
    let result = match cli.command {
        Command::Show(args) => show::run(args, &context),
        Command::Pages(args) => pages::run(&args, &context),
        Command::Rss(args) => rss::run(&args, &context),
        Command::Ps(args) => ps::run(args, &context),
        Command::Run(args) => return run::run(&args, &context),
        Command::Attach(args) => return attach::attach(&args, &context),
        Command::Watch(args) => watch::run(&args, &context),
        Command::Info(args) => recording::info::run(&args, &context),
        Command::Log(args) => recording::log::run(&args, &context),
        Command::Verify(args) => recording::verify::run(&args, &context),
        Command::Why(args) => why::run(&args, &context),
        Command::Origins(args) => origins::run(&args, &context),
        Command::Pack(args) => recording::pack::run(&args, &context),
        Command::Mark(args) => recording::mark::run(&args, &context),
        Command::Diff(args) => diff::run(args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Doctor(args) => doctor::run(&args, &context),
        Command::Lab(args) => lab::run(args, &context),
        Command::Other(words) => return unknown(&words, &context),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            complain(&context, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error, ours by its prefix.
pub(crate) fn complain(context: &Context, message: &str) {
    report(context, &vmatlas_view::escape::terminal(message.as_bytes()));
}

/// The same for a text of several lines that is escaped already.
pub(crate) fn report(context: &Context, text: &str) {
    let style = context.style(Stream::Stderr);
    let line = format!("{} {}\n", style.paint(vmatlas_view::Paint::Failed, "vmatlas:"), text);
    // With nobody to tell there is nothing else to do.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

fn unknown(words: &[std::ffi::OsString], context: &Context) -> ExitCode {
    let name = words.first().map(|w| w.to_string_lossy().into_owned()).unwrap_or_default();
    let text = if NOT_YET.contains(&name.as_str()) { texts::NOT_YET } else { texts::NO_SUCH_COMMAND };
    complain(context, &text.fill(context.lang, &[("name", &name)]));
    ExitCode::from(USAGE)
}
