//! Processes that belong together, as one: who is in it, who shares with whom, what was copied since fork.

mod json;

use super::sections::lines;
use super::text::amount;
use super::texts;
use crate::kind_text::kind_name;
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::units::{count, size};
use crate::{Lang, Style, Text, escape};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write};
use vmatlas_event::{AddrRange, Bytes, Limit, Pid};
use vmatlas_model::kind::Kind;
use vmatlas_model::rss::{CgroupFigures, Copies, Family, MOST_SETS};

/// One process of a family.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub pid: Pid,
    /// Its name, bytes of any kind.
    pub name: Vec<u8>,
    /// The member that forked it; `None` when that is not in the family.
    pub parent: Option<usize>,
    /// The member whose very address space it has, not a copy of it (vfork(2), CLONE_VM): its pages are told there.
    pub same_memory: Option<usize>,
    /// VmRSS.
    pub rss: Option<Bytes>,
    /// In swap.
    pub swap: Option<Bytes>,
    /// The VMAs that copies are told of, by their row.
    pub vmas: BTreeMap<u32, MemberVma>,
}

/// One VMA of a member.
#[derive(Clone, Debug)]
pub struct MemberVma {
    /// Where it is.
    pub range: AddrRange,
    /// What it is for.
    pub kind: Kind,
    /// The kernel's text, bytes of any kind.
    pub name: Vec<u8>,
}

/// What makes them a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bond {
    /// A process and all its descendants.
    Tree(Pid),
    /// The processes of a cgroup, by its path: bytes of any kind.
    Cgroup(Vec<u8>),
}

/// All that is shown of a family.
#[derive(Clone, Debug)]
pub struct FamilyView {
    /// What makes it one.
    pub bond: Bond,
    /// Its members, parents before children.
    pub members: Vec<Member>,
    /// Its frames; or why they are not known: "hidden", "unknown", "too-many-pages".
    pub family: Result<Family, &'static str>,
    /// What the cgroup says, where the family is one.
    pub cgroup: Option<CgroupFigures>,
    /// Processes that ended while they were read.
    pub gone: u64,
    /// Processes that may not be read.
    pub hidden: u64,
    /// What reading cost, as it goes into JSON.
    pub cost: Value,
}

/// The most rows of a list before it says how many more there are.
const MOST: usize = 12;

impl FamilyView {
    fn sum_of_rss(&self) -> Option<Bytes> {
        self.members.iter().filter(|m| m.same_memory.is_none()).map(|m| m.rss).sum()
    }

    /// Shared memory charged to the cgroup that no member maps: files in tmpfs, memfds that are open but not mapped.
    fn unmapped_shmem(&self) -> Option<Bytes> {
        let charged = self.cgroup.as_ref()?.memory.stat.shmem?;
        let mapped = self.family.as_ref().ok()?.shmem;
        // Members that are hidden or ended may map what is left; where more is mapped than charged, others are charged for
        // a part, and how large that is nobody tells.
        charged.0.checked_sub(mapped.0).map(Bytes).filter(|_| self.hidden == 0 && self.gone == 0)
    }

    /// Writes all of it as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        let n = count(self.members.len() as u64);
        let title = match &self.bond {
            Bond::Tree(pid) => texts::TREE.fill(lang, &[("pid", pid), ("n", &n)]),
            Bond::Cgroup(path) => {
                texts::CGROUP_FAMILY.fill(lang, &[("path", &escape::terminal(path)), ("n", &n)])
            }
        };
        writeln!(out, "{}", style.paint(Paint::Heading, &title))?;
        if let Some(sum) = self.sum_of_rss() {
            let text = match &self.family {
                Ok(family) => {
                    let values: [(&str, &dyn Display); 2] =
                        [("one", &size(family.unique)), ("sum", &size(sum))];
                    texts::AS_ONE.fill(lang, &values)
                }
                Err(why) => {
                    texts::SUM_ALONE.fill(lang, &[("sum", &size(sum)), ("why", &why_text(why, lang))])
                }
            };
            lines(out, &text, columns, style, Paint::Plain)?;
        }
        for (n, text) in [(self.gone, texts::GONE), (self.hidden, texts::HIDDEN_MEMBERS)] {
            if n > 0 {
                writeln!(out, "{}", text.fill(lang, &[("n", &count(n))]))?;
            }
        }
        writeln!(out)?;
        self.write_members(out, lang, style, columns)?;
        if let Ok(family) = &self.family {
            self.write_sharing(out, family, lang, style, columns)?;
            self.write_copies(out, family, lang, style, columns)?;
        }
        self.write_shmem(out, lang, style)
    }

    fn write_members(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        let head = |text: Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut rows = vec![vec![
            Cell::new("PID").paint(Paint::Heading),
            head(texts::RSS),
            head(texts::ALONE),
            head(texts::WITH_OTHERS),
            head(crate::texts::SWAPPED),
            head(crate::texts::NAME),
        ]];
        for (index, member) in self.members.iter().enumerate() {
            let family = self.family.as_ref().ok().filter(|_| member.same_memory.is_none());
            let alone = family.and_then(|f| f.alone.get(index).copied());
            let shared = family.and_then(|f| f.with_others.get(index).copied());
            let depth = self.depth(index);
            let same = member.same_memory.and_then(|owner| self.members.get(owner));
            let same = same.map(|owner| texts::SAME_MEMORY.fill(lang, &[("pid", &owner.pid)]));
            rows.push(vec![
                Cell::new(member.pid.to_string()),
                amount(member.rss),
                amount(alone),
                amount(shared),
                amount(member.swap),
                Cell::new(format!(
                    "{:depth$}{}{}",
                    "",
                    escape::terminal(&member.name),
                    same.unwrap_or_default()
                )),
            ]);
        }
        let aligns = [Align::Right, Align::Right, Align::Right, Align::Right, Align::Right, Align::Left];
        write_table(out, &aligns, &rows, style, columns)
    }

    /// How far below the first member, in columns of the name.
    fn depth(&self, member: usize) -> usize {
        const DEEPEST: usize = 8;
        let mut depth = 0;
        let mut at = self.members.get(member).and_then(|m| m.parent);
        while let Some(parent) = at.filter(|_| depth < DEEPEST) {
            depth += 1;
            at = self.members.get(parent).and_then(|m| m.parent);
        }
        2 * depth
    }

    fn write_sharing(
        &self,
        out: &mut dyn Write,
        family: &Family,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        let shared: Vec<_> = family.sharing.iter().filter(|s| s.members.len() > 1).collect();
        if shared.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}", style.paint(Paint::Heading, texts::SHARED_BETWEEN.get(lang)))?;
        let head = |text: Text| Cell::new(text.get(lang)).paint(Paint::Faint);
        let mut rows = vec![vec![head(texts::WITH_OTHERS), head(texts::SINCE_FORK), head(texts::MAPPED_BY)]];
        for entry in shared.iter().take(MOST) {
            let who = Cell::new(self.who(&entry.members, lang));
            rows.push(vec![amount(Some(entry.bytes)), amount(Some(entry.anonymous)), who]);
        }
        write_table(out, &[Align::Right, Align::Right, Align::Left], &rows, style, columns)?;
        let rest = if family.shared_sets > MOST_SETS as u64 { texts::MORE_SETS } else { texts::MORE_LINES };
        more(out, family.shared_sets, rest, lang, style)
    }

    fn who(&self, members: &[usize], lang: Lang) -> String {
        const NAMED: usize = 6;
        if members.len() == self.members.len() {
            return texts::ALL_OF_THEM.fill(lang, &[("n", &count(members.len() as u64))]);
        }
        let mut pids: Vec<String> = members
            .iter()
            .take(NAMED)
            .filter_map(|m| self.members.get(*m))
            .map(|m| m.pid.to_string())
            .collect();
        if members.len() > NAMED {
            pids.push(texts::AND_MORE.fill(lang, &[("n", &count((members.len() - NAMED) as u64))]));
        }
        pids.join(" ")
    }

    /// The copies worth a line, largest difference first: those of VMAs that had something to inherit.
    fn copies<'a>(&'a self, family: &'a Family) -> Vec<(&'a Copies, &'a Member, &'a MemberVma)> {
        let heirs: BTreeSet<usize> =
            family.copies.iter().filter(|c| c.same.0 > 0).map(|c| c.member).collect();
        let mut copies: Vec<_> = family
            .copies
            .iter()
            // Who shares nothing with its parent has executed another program since: it has inherited nothing.
            .filter(|c| c.same + c.different > Bytes(0) && heirs.contains(&c.member))
            .filter_map(|c| {
                let member = self.members.get(c.member)?;
                Some((c, member, member.vmas.get(&c.row)?))
            })
            .collect();
        copies.sort_by_key(|(c, ..)| std::cmp::Reverse(c.different));
        copies
    }

    fn write_copies(
        &self,
        out: &mut dyn Write,
        family: &Family,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        let copies = self.copies(family);
        if copies.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}", style.paint(Paint::Heading, texts::COPIED.get(lang)))?;
        let head = |text: Text| Cell::new(text.get(lang)).paint(Paint::Faint);
        let mut rows = vec![vec![
            Cell::new("PID").paint(Paint::Faint),
            head(texts::STILL_SHARED),
            head(texts::COPIED_COLUMN),
            head(texts::NEW_COLUMN),
            head(crate::texts::KIND),
            head(crate::texts::ADDRESS),
            head(crate::texts::NAME),
        ]];
        let sum = |pick: fn(&Copies) -> Bytes| Some(copies.iter().map(|(c, ..)| pick(c)).sum());
        for (c, member, vma) in copies.iter().take(MOST) {
            rows.push(vec![
                Cell::new(member.pid.to_string()),
                amount(Some(c.same)),
                amount(Some(c.different)),
                amount(Some(c.alone)),
                Cell::new(kind_name(vma.kind, lang)).paint(crate::show::paint_of(vma.kind)),
                Cell::new(vma.range.start().to_string()),
                Cell::new(escape::terminal(&vma.name)),
            ]);
        }
        rows.push(vec![
            Cell::new(crate::texts::TOTAL.get(lang)),
            amount(sum(|c| c.same)),
            amount(sum(|c| c.different)),
            amount(sum(|c| c.alone)),
        ]);
        let r = Align::Right;
        write_table(out, &[r, r, r, r, Align::Left, Align::Left, Align::Left], &rows, style, columns)?;
        more(out, copies.len() as u64, texts::MORE_LINES, lang, style)?;
        lines(out, texts::COPIED_NOTE.get(lang), columns, style, Paint::Faint)
    }

    fn write_shmem(&self, out: &mut dyn Write, lang: Lang, style: Style) -> fmt::Result {
        let Some(figures) = &self.cgroup else { return Ok(()) };
        writeln!(out, "\n{}", style.paint(Paint::Heading, texts::CHARGED_TO_IT.get(lang)))?;
        let row = |text: Text, bytes: Option<Bytes>| {
            vec![Cell::new(format!("  {}", text.get(lang))), amount(bytes)]
        };
        let stat = &figures.memory.stat;
        let limit = figures.memory.max.and_then(Limit::bytes);
        let mut rows = vec![
            row(texts::CHARGED, figures.memory.current),
            row(texts::ANONYMOUS, stat.anon),
            row(texts::CACHE, stat.file),
            row(texts::SHMEM, stat.shmem),
            row(texts::SHMEM_UNMAPPED, self.unmapped_shmem()),
            row(texts::KERNEL_MEMORY, stat.kernel.or(stat.pagetables)),
        ];
        rows.extend(limit.map(|limit| row(texts::LIMIT, Some(limit))));
        write_table(out, &[Align::Left, Align::Right], &rows, style, None)
    }
}

fn more(out: &mut dyn Write, all: u64, text: Text, lang: Lang, style: Style) -> fmt::Result {
    match all.checked_sub(MOST as u64).filter(|n| *n > 0) {
        Some(n) => {
            let text = text.fill(lang, &[("n", &count(n)), ("most", &count(MOST_SETS as u64))]);
            writeln!(out, "{}", style.paint(Paint::Faint, &text))
        }
        None => Ok(()),
    }
}

/// Why something is not known, in words.
fn why_text(why: &str, lang: Lang) -> String {
    match why {
        "hidden" => texts::WHY_HIDDEN.get(lang).to_owned(),
        "too-many-pages" => texts::WHY_TOO_MANY.get(lang).to_owned(),
        other => other.to_owned(),
    }
}
