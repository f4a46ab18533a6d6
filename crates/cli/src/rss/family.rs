//! `vmatlas rss --tree` and `--cgroup`: processes that belong together, as one.

use super::live::figures;
use crate::args::RssArgs;
use crate::context::{Context, Stream};
use crate::show::Wanted;
use crate::target::explain;
use crate::{output, show, target, texts};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Instant;
use vmatlas_event::{Bytes, Pid, Tid, VmaRow};
use vmatlas_model::rss::{FamilyPage, FamilyPages, PageClass};
use vmatlas_proc::read::frames::{self, Page};
use vmatlas_proc::read::whole;
use vmatlas_proc::{Budget, Cgroup, Cgroups, ErrorKind, ProcError, ProcRoot, Process};
use vmatlas_view::rss::family::{Bond, FamilyView, Member, MemberVma};
use vmatlas_view::show::{MapView, ShowRow};

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
    if let (true, Some(error)) = (gathering.view.members.is_empty(), &gathering.error) {
        return Err(explain(error, context));
    }
    let mut view = gathering.finish();
    view.cost = json!({ "time_us": start.elapsed().as_micros() as u64 });
    if args.json {
        output::print(|out| writeln!(out, "{}", view.json()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (style, columns) = (context.style(Stream::Stdout), context.columns(Stream::Stdout));
    let write = |out: &mut dyn std::fmt::Write| view.write_text(out, context.lang, style, columns);
    output::show(context, args.no_pager, write)?;
    Ok(ExitCode::SUCCESS)
}

fn find(root: &ProcRoot, path: &std::ffi::OsStr, context: &Context) -> Result<Cgroup> {
    let found = Cgroups::read(root)?.named(path.as_encoded_bytes());
    found.ok_or_else(|| anyhow!(texts::NO_CGROUP.fill(context.lang, &[("path", &path.to_string_lossy())])))
}

/// A process and all that descend from it, as /proc shows them now.
fn descendants(root: &ProcRoot, first: Pid) -> Result<Vec<Pid>> {
    let mut children: BTreeMap<Pid, Vec<Pid>> = BTreeMap::new();
    for pid in root.pids()? {
        if let Some(parent) = root.parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![first];
    let mut at = 0;
    while let Some(parent) = found.get(at) {
        // What changed parents while we looked may form a ring: each is taken once.
        found.extend(children.remove(parent).into_iter().flatten().filter(|pid| *pid != first));
        at += 1;
    }
    Ok(found)
}

/// Each with its parent where that is one of them, a child below its parent.
fn in_order(root: &ProcRoot, pids: Vec<Pid>) -> Vec<(Pid, Option<Pid>)> {
    let all: BTreeSet<Pid> = pids.iter().copied().collect();
    let parent_of = |pid| root.parent_of(pid).filter(|parent| all.contains(parent) && *parent != pid);
    tree(pids.iter().map(|pid| (*pid, parent_of(*pid))).collect())
}

fn tree(pids: Vec<(Pid, Option<Pid>)>) -> Vec<(Pid, Option<Pid>)> {
    let mut children: BTreeMap<Option<Pid>, Vec<Pid>> = BTreeMap::new();
    for (pid, parent) in &pids {
        children.entry(*parent).or_default().push(*pid);
    }
    let mut ordered = Vec::with_capacity(pids.len());
    let mut stack: Vec<(Pid, Option<Pid>)> = Vec::new();
    let mut push = |stack: &mut Vec<(Pid, Option<Pid>)>, parent: Option<Pid>| {
        let below = children.remove(&parent).unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|pid| (pid, parent)));
    };
    push(&mut stack, None);
    while let Some((pid, parent)) = stack.pop() {
        ordered.push((pid, parent));
        push(&mut stack, Some(pid));
    }
    // What changed parents while we looked may form a ring: it is listed all the same.
    let listed: BTreeSet<Pid> = ordered.iter().map(|(pid, _)| *pid).collect();
    ordered.extend(pids.into_iter().filter(|(pid, _)| !listed.contains(pid)).map(|(pid, _)| (pid, None)));
    ordered
}

struct Gathering {
    view: FamilyView,
    pages: FamilyPages,
    /// Why frames cannot be told, once that is known.
    why: Option<&'static str>,
    /// Why the first member that was passed over could not be read.
    error: Option<ProcError>,
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
        Gathering { view, pages: FamilyPages::new(page, MOST_PAGES), why: None, error: None }
    }

    /// Reads one member. One that has ended, or that we may not read, is counted and passed over.
    fn take(&mut self, root: &ProcRoot, (pid, parent): (Pid, Option<Pid>), context: &Context) -> Result<()> {
        let parent = parent.and_then(|pid| self.view.members.iter().position(|m| m.pid == pid));
        // Whose pages it may have inherited, or still uses (vfork(2), CLONE_VM): those of its parent, or of whom that has
        // them from.
        let owner = parent.and_then(|at| Some((at, self.view.members.get(at)?)));
        let owner = owner.map(|(at, member)| member.same_memory.unwrap_or(at));
        let owner_pid = owner.and_then(|at| self.view.members.get(at)).map(|member| member.pid);
        let same_memory_as = |pid: Pid| {
            vmatlas_sys::same_address_space(Tid(pid.0), Tid(owner_pid?.0)).ok().filter(|same| *same)
        };
        let (pages, known) = (&mut self.pages, self.why);
        let mut begun = false;
        let read = root.process(pid).and_then(|process| {
            let (map, why, same) = whole::read(&process, |process| {
                let same = same_memory_as(process.pid()).is_some();
                let map = show::read_map(process, Wanted::default())?;
                if std::mem::replace(&mut begun, true) {
                    pages.forget_newest();
                }
                pages.member(owner);
                let why = match known {
                    None if !same => frames_of(pages, process, &map)?,
                    why => why,
                };
                Ok((map, why, same))
            })?;
            Ok((map, why, same, process.status()?))
        });
        let (map, why, same, status) = match read {
            Ok(read) => read,
            Err(error) => {
                if begun {
                    self.pages.forget_newest();
                }
                return self.passed_over(error, context);
            }
        };
        self.why = why;
        let rows = self.pages.rows_of_newest();
        let vmas = rows.filter_map(|row| Some((row, vma(map.rows.get(row as usize)?)))).collect();
        let (name, rss, swap) = (map.header.name, status.vm_rss, status.vm_swap);
        let same_memory = owner.filter(|_| same);
        self.view.members.push(Member { pid, name, parent, same_memory, rss, swap, vmas });
        Ok(())
    }

    fn passed_over(&mut self, error: ProcError, context: &Context) -> Result<()> {
        match error.kind() {
            ErrorKind::Gone | ErrorKind::Zombie | ErrorKind::NoSuchProcess => self.view.gone += 1,
            ErrorKind::NotPermitted => self.view.hidden += 1,
            ErrorKind::KernelThread => {}
            _ => return Err(explain(&error, context)),
        }
        self.error.get_or_insert(error);
        Ok(())
    }

    fn finish(self) -> FamilyView {
        let Gathering { mut view, pages, why, .. } = self;
        view.family = why.map_or_else(|| Ok(pages.finish()), Err);
        view
    }
}

/// Adds the pages of the newest member; or why that cannot be.
fn frames_of(
    pages: &mut FamilyPages,
    process: &Process,
    map: &MapView,
) -> Result<Option<&'static str>, ProcError> {
    let rows: Vec<VmaRow> = map.rows.iter().map(|row| row.vma.clone()).collect();
    let mut row = 0;
    let mut too_many = false;
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

fn vma(row: &ShowRow) -> MemberVma {
    MemberVma { range: row.vma.range, kind: row.verdict.kind, name: row.vma.name_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that children stand below their parents, in their order, and that a ring is listed too.
    #[test]
    fn children_stand_below_their_parents() {
        let list = |pairs: &[(i32, Option<i32>)]| -> Vec<(Pid, Option<Pid>)> {
            pairs.iter().map(|(pid, parent)| (Pid(*pid), parent.map(Pid))).collect()
        };
        let pids = list(&[
            (1, None),
            (2, Some(1)),
            (3, None),
            (4, Some(2)),
            (5, Some(1)),
            (6, Some(7)),
            (7, Some(6)),
        ]);
        let expected =
            list(&[(1, None), (2, Some(1)), (4, Some(2)), (5, Some(1)), (3, None), (6, None), (7, None)]);
        assert_eq!(tree(pids), expected);
    }
}
