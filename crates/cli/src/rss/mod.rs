//! `vmatlas rss`: where every resident byte of a process, or of a family of processes, belongs.

mod family;
mod inside;
mod live;
mod recorded;
mod saved;

use crate::args::RssArgs;
use crate::context::{Context, Stream};
use crate::subject::{self, Subject};
use crate::{output, target, texts};
use anyhow::{Result, anyhow};
use std::process::ExitCode;
use vmatlas_event::Pid;
use vmatlas_view::rss::{Options, RssView};

pub(crate) fn run(args: &RssArgs, context: &Context) -> Result<ExitCode> {
    let root = context.proc_root();
    if args.tree.is_some() || args.cgroup.is_some() {
        return family::run(&root, args, context);
    }
    let subject = match (&args.target, args.pid) {
        (_, Some(pid)) => Subject::Live(target::by_pid(&root, Pid(pid), context)?),
        (Some(target), None) => subject::open(&root, target, context)?,
        (None, None) => return Err(anyhow!("TARGET")),
    };
    let view = match &subject {
        Subject::Live(process) => live::read(process, args, context)?,
        Subject::Saved(source) => {
            for (asked, option) in [(args.rollup, "--rollup"), (args.pss, "--pss")] {
                if asked {
                    return Err(anyhow!(texts::LIVING_ONLY.fill(context.lang, &[("option", &option)])));
                }
            }
            saved::read(source, &subject, args, context)?
        }
        Subject::Recorded(visit) => recorded::read(visit, &subject, args, context)?,
    };
    if let Some(kind) = args.line
        && view.sheet.line(kind).is_none()
    {
        let what = vmatlas_view::kind_text::kind_name(kind, context.lang);
        return Err(anyhow!(vmatlas_view::rss::texts::NO_LINE.fill(context.lang, &[("kind", &what)])));
    }
    show(&view, args, context)
}

fn show(view: &RssView, args: &RssArgs, context: &Context) -> Result<ExitCode> {
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout),
        line: args.line,
    };
    output::show(context, args.no_pager, |out| view.write_text(out, &options))?;
    Ok(ExitCode::SUCCESS)
}
