//! Sums of several processes.

use super::{By, Figure, Missing, PsRow, PsView, Sort, texts};
use crate::escape;
use crate::lang::Lang;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use vmatlas_event::Bytes;

/// A sum, and how many had nothing to add to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of those that are known.
    pub total: u64,
    /// How many are known.
    pub known: u64,
    /// How many hide theirs from us.
    pub hidden: u64,
    /// How many were not read.
    pub not_read: u64,
    /// How many could not be read.
    pub unknown: u64,
}

impl Sum {
    fn add(&mut self, figure: Figure<u64>) {
        match figure {
            Ok(n) => {
                self.total = self.total.saturating_add(n);
                self.known += 1;
            }
            // What has no memory takes nothing away from a sum.
            Err(Missing::NoMemory) => {}
            Err(Missing::Hidden) => self.hidden += 1,
            Err(Missing::NotRead) => self.not_read += 1,
            Err(Missing::Unknown) => self.unknown += 1,
        }
    }

    /// How many are not in the sum although they have the figure.
    pub fn missing(self) -> u64 {
        self.hidden + self.not_read + self.unknown
    }

    /// The sum, where at least one is known or there is nothing to know.
    pub fn figure(self) -> Figure<u64> {
        match self {
            Sum { known: 0, hidden: 1.., .. } => Err(Missing::Hidden),
            Sum { known: 0, not_read: 1.., .. } => Err(Missing::NotRead),
            Sum { known: 0, unknown: 1.., .. } => Err(Missing::Unknown),
            _ => Ok(self.total),
        }
    }
}

/// Sums of several processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many.
    pub processes: u64,
    /// Virtual size.
    pub virtual_size: Sum,
    /// Resident size: what several processes share is in it several times.
    pub resident: Sum,
    /// In swap.
    pub swapped: Sum,
    /// VMAs.
    pub vmas: Sum,
    /// Proportional size: what is shared is in it once, if all that share it are.
    pub pss: Sum,
    /// Unique size.
    pub uss: Sum,
    /// How many use the address space of another one in the list: proportional and unique sizes have it once.
    pub same_space: u64,
}

impl Sums {
    /// Of these rows.
    pub fn of<'a>(rows: impl Iterator<Item = &'a PsRow>) -> Sums {
        let mut sums = Sums::default();
        rows.for_each(|row| sums.add(row));
        sums
    }

    fn add(&mut self, row: &PsRow) {
        let bytes = |figure: &Figure| figure.map(|Bytes(n)| n);
        self.processes += 1;
        self.virtual_size.add(bytes(&row.virtual_size));
        self.resident.add(bytes(&row.resident));
        self.swapped.add(bytes(&row.swapped));
        self.vmas.add(row.vmas);
        match row.space_of {
            // Its page tables are another's, who brings them into the sum.
            Some(_) => self.same_space += 1,
            None => {
                self.pss.add(bytes(&row.pss));
                self.uss.add(bytes(&row.uss));
            }
        }
    }
}

/// What the processes of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A container: who runs it, its id, the pod.
    Container(vmatlas_event::Container, Option<Vec<u8>>),
    /// A user: number and, where known, name.
    User(u32, Option<Vec<u8>>),
    /// A name.
    Name(Vec<u8>),
    /// A cgroup's path.
    Cgroup(Vec<u8>),
    /// Known to be in no container.
    NoContainer,
    /// Not known to us.
    Hidden,
}

impl Key {
    fn of(row: &PsRow, by: By) -> Key {
        match by {
            By::Container => match (&row.workload.container, &row.cgroup) {
                (Some(container), _) => Key::Container(container.clone(), row.workload.pod.clone()),
                (None, Some(_)) => Key::NoContainer,
                (None, None) => Key::Hidden,
            },
            By::User => row.uid.map_or(Key::Hidden, |uid| Key::User(uid, row.user.clone())),
            By::Name => row.name.clone().map_or(Key::Hidden, Key::Name),
            By::Cgroup => row.cgroup.clone().map_or(Key::Hidden, Key::Cgroup),
        }
    }

    /// As a person reads it, safe on a terminal.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Key::Container(container, pod) => {
                let id = escape::terminal(container.short());
                let runtime = container.runtime.id();
                match pod {
                    Some(pod) => {
                        let pod = escape::terminal(pod);
                        texts::IN_POD.fill(lang, &[("runtime", &runtime), ("id", &id), ("pod", &pod)])
                    }
                    None => format!("{runtime} {id}"),
                }
            }
            Key::User(uid, name) => name.as_ref().map_or_else(|| uid.to_string(), |n| escape::terminal(n)),
            Key::Name(name) | Key::Cgroup(name) => escape::terminal(name),
            Key::NoContainer => texts::NO_CONTAINER.get(lang).to_owned(),
            Key::Hidden => texts::HIDDEN.get(lang).to_owned(),
        }
    }
}

/// Processes that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What.
    pub key: Key,
    /// Their sums.
    pub sums: Sums,
}

impl PsView {
    /// The groups, in the order of their sums.
    pub fn groups(&self, by: By, sort: Sort) -> Vec<Group> {
        let mut groups: BTreeMap<Key, Sums> = BTreeMap::new();
        for row in &self.rows {
            groups.entry(Key::of(row, by)).or_default().add(row);
        }
        let mut groups: Vec<Group> = groups.into_iter().map(|(key, sums)| Group { key, sums }).collect();
        // They come in the order of their keys, which stays where sums are equal.
        groups.sort_by_key(|Group { sums, .. }| {
            let sum = match sort {
                Sort::Rss => sums.resident,
                Sort::Vsz => sums.virtual_size,
                Sort::Swap => sums.swapped,
                Sort::Vmas => sums.vmas,
                Sort::Pss => sums.pss,
                Sort::Uss => sums.uss,
                Sort::Pid | Sort::Name => Sum::default(),
            };
            Reverse(sum.figure().ok())
        });
        groups
    }
}
