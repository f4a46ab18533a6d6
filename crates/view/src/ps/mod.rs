//! All processes as a table: what each has of the address space, of memory and of swap.

mod group;
mod json;
mod notes;
mod text;
pub mod texts;

pub use group::{Group, Key, Sum, Sums};
pub use json::write_json;
pub use text::{Options, write_text};

use std::cmp::Reverse;
use vmatlas_event::{Bytes, Pid, Workload};

/// Why a figure is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is not for us.
    Hidden,
    /// It was not asked for, or would have cost too much.
    NotRead,
    /// Threads of the kernel and the dead have none.
    NoMemory,
    /// It could not be read.
    Unknown,
}

impl Missing {
    /// The word in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Missing::Hidden => "hidden",
            Missing::NotRead => "not-read",
            Missing::NoMemory => "no-memory",
            Missing::Unknown => "unknown",
        }
    }
}

/// A figure, or why there is none.
pub type Figure<T = Bytes> = Result<T, Missing>;

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process.
    Process,
    /// A thread of the kernel.
    KernelThread,
    /// Ended, and only its exit status is left.
    Zombie,
}

impl What {
    /// The word in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            What::Process => "process",
            What::KernelThread => "kernel-thread",
            What::Zombie => "zombie",
        }
    }
}

/// Where proportional and unique sizes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareSource {
    /// Our own sum over its pages.
    Pages,
    /// smaps_rollup.
    Rollup,
}

impl ShareSource {
    /// The word in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            ShareSource::Pages => "pages",
            ShareSource::Rollup => "smaps_rollup",
        }
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsRow {
    /// Its PID.
    pub pid: Pid,
    /// Its name, bytes of any kind; `None` where hidden.
    pub name: Option<Vec<u8>>,
    /// What it is.
    pub what: What,
    /// Its effective user.
    pub uid: Option<u32>,
    /// That user's name, where it is known.
    pub user: Option<Vec<u8>>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Virtual size.
    pub virtual_size: Figure,
    /// Resident size, as the kernel counts it.
    pub resident: Figure,
    /// The part of it that belongs to no file.
    pub anonymous: Figure,
    /// The part that belongs to files.
    pub file: Figure,
    /// The part that is shared memory.
    pub shmem: Figure,
    /// In swap.
    pub swapped: Figure,
    /// Page tables.
    pub page_tables: Figure,
    /// VMAs.
    pub vmas: Figure<u64>,
    /// Proportional size.
    pub pss: Figure,
    /// Unique size.
    pub uss: Figure,
    /// Where these two come from.
    pub shares_from: Option<ShareSource>,
    /// Another process in the list that uses the same address space: the figures of it are that one's.
    pub space_of: Option<Pid>,
    /// The cgroup that names it best; `None` where it was not read or is hidden.
    pub cgroup: Option<Vec<u8>>,
    /// What that says.
    pub workload: Workload,
    /// Its arguments, each ended by a zero byte.
    pub args: Figure<Vec<u8>>,
}

/// What rows are ordered by: sizes largest first, names and numbers ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Resident size.
    #[default]
    Rss,
    /// Virtual size.
    Vsz,
    /// Swap.
    Swap,
    /// Number of VMAs.
    Vmas,
    /// Proportional size.
    Pss,
    /// Unique size.
    Uss,
    /// PID.
    Pid,
    /// Name.
    Name,
}

impl Sort {
    /// All, with the words of the option.
    pub const ALL: [(Sort, &'static str); 8] = [
        (Sort::Rss, "rss"),
        (Sort::Vsz, "vsz"),
        (Sort::Swap, "swap"),
        (Sort::Vmas, "vmas"),
        (Sort::Pss, "pss"),
        (Sort::Uss, "uss"),
        (Sort::Pid, "pid"),
        (Sort::Name, "name"),
    ];
}

/// What rows are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Container.
    Container,
    /// User.
    User,
    /// Name.
    Name,
    /// Cgroup.
    Cgroup,
}

impl By {
    /// All, with the words of the option.
    pub const ALL: [(By, &'static str); 4] =
        [(By::Container, "container"), (By::User, "user"), (By::Name, "name"), (By::Cgroup, "cgroup")];

    /// The word of the option and of JSON.
    pub fn id(self) -> &'static str {
        By::ALL.iter().find(|(by, _)| *by == self).map_or("", |(_, id)| id)
    }
}

/// Which rows are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// With this text in the name.
    pub name: Option<Vec<u8>>,
    /// At least so much resident.
    pub min_rss: Option<Bytes>,
    /// Threads of the kernel and the dead too.
    pub all: bool,
}

impl Filter {
    /// Whether a row is shown. A process that hides its size is no small one.
    pub fn takes(&self, row: &PsRow) -> bool {
        let has = |name: &[u8], part: &[u8]| part.is_empty() || name.windows(part.len()).any(|w| w == part);
        (self.all || row.what == What::Process)
            && self.name.as_ref().is_none_or(|part| has(row.name.as_deref().unwrap_or_default(), part))
            && self.min_rss.is_none_or(|min| match row.resident {
                Ok(resident) => resident >= min,
                Err(missing) => missing == Missing::Hidden,
            })
    }
}

/// What reading all of it cost, and what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// How many VMAs a process may have.
    pub max_map_count: Option<u64>,
    /// Processes that ended before they were read.
    pub ended: u64,
    /// Whether /proc shows us our own processes only (mount option hidepid).
    pub hidepid: bool,
    /// Processes whose proportional size was not summed because they are large.
    pub too_large: u64,
    /// From which size on it was not.
    pub own_sum_most: Bytes,
    /// Proportional sizes cannot be summed without root.
    pub needs_root: bool,
    /// Processes whose arguments did not come in time.
    pub args_late: u64,
    /// What smaps_rollup cost its targets; `None` where it was not read.
    pub rollup: Option<RollupCost>,
    /// Wall time of all reading, in microseconds.
    pub time_us: u64,
    /// The longest call over page tables, in microseconds; `None` where none were read.
    pub longest_hold_us: Option<u64>,
}

/// What smaps_rollup cost the processes it was read of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollupCost {
    /// How many.
    pub processes: u64,
    /// How long the one that waited longest may have waited, in microseconds.
    pub longest_us: u64,
    /// All of them together.
    pub total_us: u64,
}

/// All that `ps` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PsView {
    /// The processes that the filter takes.
    pub rows: Vec<PsRow>,
    /// What else is known.
    pub about: About,
    /// Whether VMAs were asked for.
    pub with_vmas: bool,
    /// Whether proportional sizes were.
    pub with_shares: bool,
    /// Whether arguments were.
    pub with_args: bool,
}

impl PsView {
    /// Orders the rows; those without the figure come last, equal ones by PID.
    pub fn sort(&mut self, sort: Sort) {
        let size = |figure: &Figure| Reverse(figure.ok());
        match sort {
            Sort::Rss => self.rows.sort_by_key(|row| (size(&row.resident), row.pid)),
            Sort::Vsz => self.rows.sort_by_key(|row| (size(&row.virtual_size), row.pid)),
            Sort::Swap => self.rows.sort_by_key(|row| (size(&row.swapped), row.pid)),
            Sort::Pss => self.rows.sort_by_key(|row| (size(&row.pss), row.pid)),
            Sort::Uss => self.rows.sort_by_key(|row| (size(&row.uss), row.pid)),
            Sort::Vmas => self.rows.sort_by_key(|row| (Reverse(row.vmas.ok()), row.pid)),
            Sort::Pid => self.rows.sort_by_key(|row| row.pid),
            Sort::Name => self.rows.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid))),
        }
    }
}

#[cfg(test)]
mod tests;
