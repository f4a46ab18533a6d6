//! `vmatlas doctor`: what this kernel and these privileges allow, tried out, and the command that permits what they do not.
//!
//! Nothing here is concluded from a version; each thing is done once, to ourselves or to a child that never runs.

mod bpf;
mod faults;
mod reading;
mod tracing;

pub(crate) use reading::{can_query_maps, can_scan_pages};

use crate::backend::{Whom, choose};
use crate::context::{Context, Stream};
use crate::output;
use crate::privilege::invoker_name;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
use vmatlas_event::Errno;
use vmatlas_sys::privilege::{Cap, Caps};
use vmatlas_view::doctor::{DoctorView, Finding, Item, State, texts};
use vmatlas_view::escape;

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Exit status 3 where a way to watch that is used today does not work at all
    #[arg(long)]
    check: bool,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Do not use a pager
    #[arg(long)]
    no_pager: bool,
}

/// What a person should know of the answers.
pub(crate) const NOTES: &str = "\
    Each thing was tried with the privileges of this command: under sudo the answers are those of root. Commands after $ \
    permit more; those of sysctl last until the machine is started anew, and setcap until vmatlas is installed anew.\n\n\
    Exit status: 0; with --check 3 where run, attach or page faults do not work.";

pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<ExitCode> {
    let view = look(context);
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
    } else {
        let (style, columns) = (context.style(Stream::Stdout), context.columns(Stream::Stdout));
        output::show(context, args.no_pager, |out| view.write_text(out, context.lang, style, columns))?;
    }
    let is_ill = args.check && !view.is_well();
    Ok(if is_ill { ExitCode::from(crate::DIFFERENT) } else { ExitCode::SUCCESS })
}

fn look(context: &Context) -> DoctorView {
    // Once for all who ask.
    let mut bpf = Some(vmatlas_trace::Bpf::load());
    let mut findings = tracing::look();
    findings.extend(faults::look());
    findings.extend(bpf::look(bpf.as_ref().and_then(|loaded| loaded.as_ref().err())));
    findings.extend(reading::look(&context.proc_root()));
    let place = |item: Item| Item::ALL.iter().position(|other| *other == item);
    findings.sort_by_key(|finding| place(finding.item));
    let unused = || Err(vmatlas_trace::TraceError::TooOld);
    let choices =
        [Whom::Ours, Whom::Theirs].map(|whom| choose(whom, None, || bpf.take().unwrap_or_else(unused)).1);
    DoctorView {
        kernel: vmatlas_sys::hostname_release(),
        uid: vmatlas_sys::effective_uid(),
        findings,
        choices: choices.into(),
        invoker: invoker_name(context),
    }
}

/// A thing that was tried: it works, or it is missing because of an error.
fn tried(item: Item, answer: Result<(), Errno>) -> Finding {
    match answer {
        Ok(()) => Finding::new(item, State::Works),
        Err(errno) => Finding::new(item, State::Missing).because(texts::REFUSED, error(errno)),
    }
}

/// An error with its name: `Operation not permitted (EPERM)`.
fn error(errno: Errno) -> String {
    let text = vmatlas_sys::errno_text(errno);
    match vmatlas_sys::errno_name(errno) {
        Some(name) => format!("{text} ({name})"),
        None => text,
    }
}

/// The error number of a failure to open or read.
fn errno_of(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(5))
}

/// A setting in /proc/sys, as it is written there; `None` where it is missing or hidden.
fn setting(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(escape::terminal(text.trim().as_bytes()))
}

/// Whether a capability is in force.
fn has(cap: Cap) -> bool {
    Caps::effective().is_ok_and(|caps| caps.has(cap))
}

/// The command that gives this program capabilities.
fn setcap(capabilities: &str) -> String {
    let program = std::env::current_exe().unwrap_or_default();
    // Between quotes of a shell, which a path may hold itself.
    let path = program.to_string_lossy().replace('\'', "'\\''");
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    let path = if is_plain { path } else { format!("'{path}'") };
    format!("sudo setcap {capabilities}+ep {}", escape::terminal(path.as_bytes()))
}

/// The command that changes a setting until the machine is started anew.
fn sysctl(name: &str, value: &str) -> String {
    format!("sudo sysctl {name}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_view::Lang;

    /// Checks that each thing is looked at exactly once, in the order of the table.
    #[test]
    fn each_thing_is_looked_at() {
        let view = look(&Context::new(Some(Lang::En), crate::context::Color::Never, true));
        let items: Vec<Item> = view.findings.iter().map(|finding| finding.item).collect();
        assert_eq!(items, Item::ALL);
    }

    /// Checks that what does not work says why, and that commands are offered only where something is missing.
    #[test]
    fn what_is_missing_says_why() {
        let view = look(&Context::new(Some(Lang::En), crate::context::Color::Never, true));
        for finding in &view.findings {
            if finding.state != State::Works {
                assert!(finding.note.is_some(), "{finding:?}");
            }
            assert!(finding.grant.is_none() || finding.state != State::Works, "{finding:?}");
        }
    }
}
