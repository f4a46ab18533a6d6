//! `vmatlas rss --tree` and `--cgroup`: processes that belong together, as one.

use super::live::figures;
use crate::args::RssArgs;
use crate::context::{Context, Stream};
use crate::show::Wanted;
use crate::target::explain;
use crate::{output, show, target, texts};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;
use vmatlas_event::{Bytes, Pid, VmaRow};
use vmatlas_model::rss::{FamilyPage, FamilyPages, PageClass};
use vmatlas_proc::read::frames::{self, Page};
use vmatlas_proc::{Budget, Cgroup, Cgroups, ErrorKind, ProcError, ProcRoot, Process};
use vmatlas_view::rss::family::{Bond, FamilyView, Member, MemberVma};
use vmatlas_view::show::MapView;

/// The most pages that are compared: 64 GiB of mapped 4 KiB pages, for which we need up to a GiB ourselves.
const MOST_PAGES: u64 = 16 << 20;

pub(super) fn run(root: &ProcRoot, args: &RssArgs, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    let (bond, pids, cgroup) = match (&args.cgroup, args.tree) {
        (Some(path), _) => {
            let cgroup = find(root, path, context)?;
            let members = cgroup.members();
            (Bond::Cgroup(cgroup.path().to_vec()), members.pids, Some(figures(&cgroup)))
        }
        (None, Some(pid)) => {
            let first = target::by_pid(root, Pid(pid), context)?.pid();
            (Bond::Tree(first), descendants(root, first)?, None)
        }
        (None, None) => return Err(anyhow!("--tree PID | --cgroup PATH")),
    };
    let mut gathering = Gathering::new(bond, cgroup);
    for pid in in_order(root, pids) {
        gathering.take(root, pid, context)?;
    }
    let mut view = gathering.finish();
    view.cost = json!({ "time_us": start.elapsed().as_micros() as u64 });
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (style, columns) = (context.style(Stream::Stdout), context.columns(Stream::Stdout));
    let write = |out: &mut dyn std::fmt::Write| view.write_text(out, context.lang, style, columns);
    if args.no_pager {
        output::print(write)?
    } else {
        output::page(context, write)?
    };
    Ok(ExitCode::SUCCESS)
}

fn find(root: &ProcRoot, path: &std::ffi::OsStr, context: &Context) -> Result<Cgroup> {
    let found = Cgroups::read(root)?.named(path.as_encoded_bytes());
    found.ok_or_else(|| anyhow!(texts::NO_CGROUP.fill(context.lang, &[("path", &path.to_string_lossy())])))
}

/// A process and all that descend from it, as /proc shows them now.
fn descendants(root: &ProcRoot, first: Pid) -> Result<Vec<Pid>> {
    let parents: Vec<(Pid, Pid)> =
        root.pids()?.into_iter().filter_map(|pid| Some((pid, root.parent_of(pid)?))).collect();
    let mut found = vec![first];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = parents.iter().filter(|(pid, ppid)| *ppid == parent && !found.contains(pid));
        let children: Vec<Pid> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        at += 1;
    }
    Ok(found)
}

/// Each with its parent where that is one of them, parents first.
fn in_order(root: &ProcRoot, pids: Vec<Pid>) -> Vec<(Pid, Option<Pid>)> {
    let mut rest: Vec<(Pid, Option<Pid>)> = pids
        .iter()
        .map(|pid| (*pid, root.parent_of(*pid).filter(|parent| pids.contains(parent) && parent != pid)))
        .collect();
    let mut ordered: Vec<(Pid, Option<Pid>)> = Vec::with_capacity(rest.len());
    // A depth-first walk, so that children stand below their parent.
    let mut stack: Vec<Pid> =
        rest.iter().rev().filter(|(_, parent)| parent.is_none()).map(|(pid, _)| *pid).collect();
    while let Some(pid) = stack.pop() {
        if let Some(at) = rest.iter().position(|(p, _)| *p == pid) {
            ordered.push(rest.remove(at));
            stack.extend(rest.iter().rev().filter(|(_, parent)| *parent == Some(pid)).map(|(p, _)| *p));
        }
    }
    // What changed parents while we looked may form a ring: it is listed all the same.
    ordered.extend(rest.into_iter().map(|(pid, _)| (pid, None)));
    ordered
}

struct Gathering {
    view: FamilyView,
    pages: FamilyPages,
    /// Why frames cannot be told, once that is known.
    why: Option<&'static str>,
}

impl Gathering {
    fn new(bond: Bond, cgroup: Option<vmatlas_model::rss::CgroupFigures>) -> Gathering {
        let page = Bytes(vmatlas_sys::page_size().bytes());
        let view = FamilyView {
            bond,
            members: Vec::new(),
            family: Err("not-read"),
            cgroup,
            gone: 0,
            hidden: 0,
            cost: serde_json::Value::Null,
        };
        Gathering { view, pages: FamilyPages::new(page, MOST_PAGES), why: None }
    }

    /// Reads one member. One that has ended, or that we may not read, is counted and passed over.
    fn take(&mut self, root: &ProcRoot, (pid, parent): (Pid, Option<Pid>), context: &Context) -> Result<()> {
        let taken = root.process(pid).and_then(|process| {
            let map = show::read_map(&process, Wanted::default())?;
            Ok((process, map))
        });
        let (process, map) = match taken {
            Ok(taken) => taken,
            Err(error) => return self.passed_over(&error, context),
        };
        let parent = parent.and_then(|pid| self.view.members.iter().position(|m| m.pid == pid));
        self.pages.member(parent);
        if self.why.is_none() {
            match self.frames_of(&process, &map) {
                Ok(why) => self.why = why,
                Err(error) => {
                    // Its pages are only in part among the family's: nothing may be told of all.
                    self.why = Some("changed-meanwhile");
                    self.passed_over(&error, context)?;
                }
            }
        }
        let swap = process.status().ok().and_then(|status| status.vm_swap);
        self.view.members.push(Member { swap, ..member(pid, parent, map) });
        Ok(())
    }

    fn passed_over(&mut self, error: &ProcError, context: &Context) -> Result<()> {
        match error.kind() {
            ErrorKind::Gone | ErrorKind::Zombie | ErrorKind::NoSuchProcess => self.view.gone += 1,
            ErrorKind::NotPermitted => self.view.hidden += 1,
            ErrorKind::KernelThread => {}
            _ => return Err(explain(error, context)),
        }
        Ok(())
    }

    fn frames_of(&mut self, process: &Process, map: &MapView) -> Result<Option<&'static str>, ProcError> {
        let rows: Vec<VmaRow> = map.rows.iter().map(|row| row.vma.clone()).collect();
        let mut row = 0;
        let mut too_many = false;
        let pages = &mut self.pages;
        let mut found = |page: &Page| {
            while rows.get(row).is_some_and(|r| r.range.end() <= page.addr) {
                row += 1;
            }
            let Some(frame) = page.frame.filter(|f| !f.flags.zero() && !f.flags.hugetlb()) else { return };
            let class = match (frame.flags.anonymous(), frame.flags.swap_backed()) {
                (true, _) => PageClass::Anonymous,
                (false, true) => PageClass::Shmem,
                (false, false) => PageClass::File,
            };
            let page = FamilyPage { addr: page.addr, frame: frame.pfn, class, row: row as u32 };
            too_many |= pages.add(page).is_err();
        };
        let wanted = &mut |run: &vmatlas_sys::PageRun| run.traits.present() && !run.traits.zero();
        let visited = frames::visit(process, &rows, Budget::default(), wanted, &mut found)?;
        Ok(match visited.why {
            Some(frames::NoFrames::Hidden) => Some("hidden"),
            Some(frames::NoFrames::Unknown) => Some("unknown"),
            None => too_many.then_some("too-many-pages"),
        })
    }

    fn finish(self) -> FamilyView {
        let Gathering { mut view, pages, why } = self;
        view.family = why.map_or_else(|| Ok(pages.finish()), Err);
        view
    }
}

fn member(pid: Pid, parent: Option<usize>, map: MapView) -> Member {
    let vma = |row: &vmatlas_view::show::ShowRow| MemberVma {
        range: row.vma.range,
        kind: row.verdict.kind,
        name: row.vma.name_bytes().to_vec(),
    };
    let vmas = map.rows.iter().map(vma).collect();
    Member { pid, name: map.header.name, parent, rss: map.header.resident, swap: None, vmas }
}
