//! `vmatlas diff`: two maps, and what is different.

use crate::args::{parse_kind, parse_size};
use crate::context::{Context, Stream};
use crate::show::Wanted;
use crate::subject::Subject;
use crate::{DIFFERENT, output, subject, texts};
use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;
use vmatlas_event::Bytes;
use vmatlas_model::AddressSpace;
use vmatlas_model::kind::Kind;
use vmatlas_model::timeline::share_origins;
use vmatlas_view::diff::{By, Comparison, Filter, Options};

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// A PID or a process name; saved maps or smaps, a copied /proc/PID folder, a core file, or a recording at a
    /// moment (REC@1.25s)
    #[arg(value_name = "A")]
    pub(crate) a: OsString,
    /// The same: what A is compared with
    #[arg(value_name = "B")]
    pub(crate) b: OsString,
    /// How: by address, as one address space at two moments; by file and kind, as two runs; by origin, two moments of one
    /// recording (else by origin where that is possible, or as the layout tells)
    #[arg(long, value_name = "WAY")]
    pub(crate) by: Option<Way>,
    /// Only these kinds (image, heap, malloc-arena, thread-stack, ... as in --json)
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = parse_kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only differences of at least this size (4096, 64KiB, 1.5GiB); totals are those of all
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Do not read which pages are resident
    #[arg(long)]
    pub(crate) no_resident: bool,
    /// End with 3 where the maps differ in what was asked for (other resident pages are no difference)
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

/// How two maps are compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Way {
    Address,
    File,
    Origin,
}

/// The address spaces of two moments of one recording, where the same event mapped pages of both.
fn related<'a>(a: &'a Subject, b: &'a Subject) -> Option<[&'a AddressSpace; 2]> {
    let (Subject::Recorded(a), Subject::Recorded(b)) = (a, b) else { return None };
    let spaces = [a.timeline.space(a.mm)?, b.timeline.space(b.mm)?];
    (a.is_of_same(b) && share_origins(spaces[0], spaces[1])).then_some(spaces)
}

pub(crate) fn run(args: DiffArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.json);
    let root = context.proc_root();
    let open = |target: &OsString| subject::open(&root, target, context);
    let subjects = [open(&args.a)?, open(&args.b)?];
    let wanted = if args.no_resident { Wanted::default() } else { Wanted::pages() };
    let a = subject::read(&subjects[0], wanted, context)?;
    let b = subject::read(&subjects[1], wanted, context)?;
    let by = args.by.map(|way| match way {
        Way::Address => By::Address,
        Way::File => By::File,
        Way::Origin => By::Origin,
    });
    let spaces = related(&subjects[0], &subjects[1]);
    if by == Some(By::Origin) && spaces.is_none() {
        return Err(anyhow!(texts::DIFF_NOT_RELATED.get(context.lang)));
    }
    let filter = Filter { kinds: args.kind, min_size: args.min_size };
    let found = Comparison::new(&a, &b, by, spaces, &filter);
    if args.json {
        output::print(|out| found.write_json(out))?;
    } else {
        let options = Options {
            lang: context.lang,
            style: context.style(Stream::Stdout),
            columns: context.columns(Stream::Stdout),
        };
        output::show(context, args.no_pager, |out| found.write_text(out, &options))?;
    }
    let is_told = args.exit_code && found.is_different();
    Ok(if is_told { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}
