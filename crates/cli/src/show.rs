//! `vmatlas show`: one reading of a process, classified and drawn.

pub(crate) mod more;
mod read;
pub(crate) mod words;

use crate::args::ShowArgs;
use crate::context::{Context, Stream};
use crate::subject::{self, Subject};
use crate::target;
use crate::{output, texts};
use anyhow::{Result, anyhow};
pub(crate) use read::{Wanted, read, read_map};
use std::process::ExitCode;
use vmatlas_event::Pid;
use vmatlas_proc::Budget;
use vmatlas_view::show::{Filter, Need, Options, Sort};

pub(crate) fn run(args: ShowArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let root = context.proc_root();
    let subject = match (&args.target, args.pid) {
        (_, Some(pid)) => Subject::Live(target::by_pid(&root, Pid(pid), context)?),
        (Some(name), None) => subject::open(&root, name, context)?,
        (None, None) => return Err(anyhow!("PID|NAME|FILE")),
    };
    let show = args.columns.unwrap_or_default();
    let sort_needs = |need| matches!(args.sort, Sort::By(column) if column.need() == need);
    let wanted = Wanted {
        pages: (!args.no_resident).then_some(Budget {
            method: args.method,
            threads: usize::from(args.threads),
            ..Budget::of_hold(args.budget)
        }),
        frames: show.needs(Need::Frames) || sort_needs(Need::Frames),
        smaps: args.smaps,
        policies: args.smaps && args.map_count,
    };
    if let (Some(_), Subject::Recorded(_)) = (args.method, &subject) {
        return Err(anyhow!(texts::LIVING_ONLY.fill(context.lang, &[("option", &"--method")])));
    }
    let view = subject::read(&subject, wanted, context)?;
    if let (true, false, Some(source)) = (args.smaps, view.has_smaps, &view.header.source) {
        let path = String::from_utf8_lossy(&source.path);
        return Err(anyhow!(texts::SMAPS_NOT_SAVED.fill(context.lang, &[("path", &path)])));
    }
    let filter = Filter {
        kinds: args.kind,
        prot: args.prot,
        min_size: args.min_size,
        name: args.name.map(|n| n.into_encoded_bytes()),
        addr: args.addr,
    };
    if let Some(path) = &args.svg {
        let svg = vmatlas_view::picture::space::svg(&view, context.lang);
        std::fs::write(path, svg).map_err(|e| {
            let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("why", &e)];
            anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
        })?;
        if !args.json {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if args.json {
        output::print(|out| match args.map_count {
            true => view.write_map_count_json(out),
            false => view.write_json(out, &filter, args.sort, &show, args.summary),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout),
        filter,
        sort: args.sort,
        show,
        summary: args.summary,
        why_kind: args.why_kind,
    };
    let write = |out: &mut dyn std::fmt::Write| match args.map_count {
        true => view.write_map_count(out, &options),
        false => view.write_text(out, &options),
    };
    output::show(context, args.no_pager, write)?;
    Ok(ExitCode::SUCCESS)
}
