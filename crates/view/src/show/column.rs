//! What a column shows of a VMA: an amount, which may be missing for a reason, or a text.

use super::{MapView, ShowRow, texts as own};
use crate::Text;
use crate::texts;
use vmatlas_event::{Backing, Bytes};

/// Why an amount is not told; never 0 and never a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Not permitted.
    Hidden,
    /// Nothing that was read tells.
    Unknown,
    /// It was known a moment before and a moment after: nobody looked.
    NotLooked,
    /// Nobody asked for it.
    NotRead,
    /// No page tables are there (`[vsyscall]`).
    NoPages,
    /// The file that was read does not hold it.
    NotRecorded,
}

impl Missing {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Missing::Hidden => "hidden",
            Missing::Unknown | Missing::NotLooked => "unknown",
            Missing::NotRead => "not-read",
            Missing::NoPages => "no-pages",
            Missing::NotRecorded => "not-recorded",
        }
    }
}

/// What must be read for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The map.
    Map,
    /// Which pages are there.
    Pages,
    /// The frames behind them.
    Frames,
    /// smaps, and nothing else tells.
    Smaps,
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $id:literal, $heading:expr, $need:ident, $smaps:expr;)*) => {
        /// A column of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Column { $($(#[$doc])* $name,)* }

        impl Column {
            /// Every one, in the order of `--columns all`.
            pub const ALL: &'static [Column] = &[$(Column::$name,)*];

            /// The name in options and JSON; it never changes.
            pub const fn id(self) -> &'static str {
                match self { $(Column::$name => $id,)* }
            }

            /// What stands above it.
            pub const fn heading(self) -> &'static Text {
                match self { $(Column::$name => &$heading,)* }
            }

            /// What must be read for it.
            pub const fn need(self) -> Need {
                match self { $(Column::$name => Need::$need,)* }
            }

            /// The keys of smaps whose sum is the same figure; empty where there is none.
            pub const fn smaps_keys(self) -> &'static [&'static str] {
                match self { $(Column::$name => &$smaps,)* }
            }
        }
    };
}

columns! {
    /// The addresses.
    Address: "address", texts::ADDRESS, Map, [];
    /// The length.
    Size: "size", texts::SIZE, Map, ["Size"];
    /// In physical memory, hugetlb included.
    Resident: "resident", texts::RESIDENT, Pages, ["Rss", "Shared_Hugetlb", "Private_Hugetlb"];
    /// The part of it that belongs to no file.
    Anonymous: "anonymous", own::ANON, Pages, ["Anonymous"];
    /// The part of it that belongs to a file on a disk or network.
    File: "file", own::FILE, Pages, [];
    /// The part of it that belongs to an object in memory.
    Shmem: "shmem", own::SHMEM, Pages, [];
    /// In swap.
    Swapped: "swapped", texts::SWAPPED, Pages, ["Swap"];
    /// Mapped here and nowhere else (USS).
    Private: "private", own::PRIVATE, Frames, ["Private_Clean", "Private_Dirty"];
    /// Mapped by others too.
    Shared: "shared", own::SHARED, Frames, ["Shared_Clean", "Shared_Dirty"];
    /// The proportional share.
    Pss: "pss", own::PSS, Frames, ["Pss"];
    /// Not as on disk.
    Dirty: "dirty", own::DIRTY, Smaps, ["Private_Dirty", "Shared_Dirty"];
    /// Mapped by transparent huge pages.
    Huge: "huge", own::HUGE, Pages, ["AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"];
    /// In hugetlb pages.
    Hugetlb: "hugetlb", own::HUGETLB, Pages, ["Shared_Hugetlb", "Private_Hugetlb"];
    /// The shared page of zeros, which costs nothing.
    Zero: "zero", own::ZERO, Pages, [];
    /// Given back with MADV_FREE, by the frames: a page written since may still be among them.
    LazyFree: "lazyfree", own::LAZYFREE, Frames, ["LazyFree"];
    /// Merged by KSM.
    Ksm: "ksm", own::KSM, Frames, ["KSM"];
    /// On an active list of reclaim.
    Active: "active", own::ACTIVE, Frames, [];
    /// Marked by reclaim as used; page tables may know of more (smaps: Referenced).
    Referenced: "referenced", own::REFERENCED, Frames, [];
    /// Proportional share of what mlock(2) keeps in memory.
    Locked: "locked", own::LOCKED, Smaps, ["Locked"];
    /// On the list of what cannot be reclaimed.
    Unevictable: "unevictable", own::UNEVICTABLE, Frames, [];
    /// Held by a core file.
    Dumped: "dumped", crate::source::DUMPED, Map, [];
    /// Protection and sharing.
    Prot: "prot", texts::PROT, Map, [];
    /// What it is for.
    Kind: "kind", texts::KIND, Map, [];
    /// What stands behind its pages.
    Backing: "backing", own::BACKING, Map, [];
    /// The offset in its file.
    Offset: "offset", own::OFFSET, Map, [];
    /// Its file's device.
    Dev: "dev", own::DEV, Map, [];
    /// Its file's inode.
    Inode: "inode", own::INODE, Map, [];
    /// VmFlags of smaps.
    Flags: "flags", own::FLAGS, Smaps, [];
    /// How the kind is known.
    Why: "why", texts::WHY, Map, [];
    /// The kernel's text.
    Name: "name", texts::NAME, Map, [];
}

impl Column {
    /// The column of this name; some have a second one.
    pub fn from_id(text: &str) -> Option<Column> {
        let id = match text {
            "anon" => "anonymous",
            "rss" => "resident",
            "swap" => "swapped",
            "uss" | "exclusive" => "private",
            "thp" => "huge",
            other => other,
        };
        Column::ALL.iter().copied().find(|column| column.id() == id)
    }

    /// Whether it holds amounts, which can be summed and ordered.
    pub fn is_amount(self) -> bool {
        let first_text = Column::Prot as usize;
        self != Column::Address && (self as usize) < first_text
    }

    /// What it says of a row, from what was read apart from smaps where that is possible.
    pub(super) fn amount(self, row: &ShowRow, view: &MapView) -> Result<Bytes, Missing> {
        let own = self.own_amount(row, view);
        match self {
            // The kernel's own figure, where nothing else tells.
            Column::Size | Column::Resident | Column::Huge | Column::Hugetlb => own,
            _ => own.or_else(|missing| self.of_smaps(row).ok_or(missing)),
        }
    }

    /// Whether the amount is the kernel's own, because nothing else that was read tells.
    pub(super) fn is_from_smaps(self, row: &ShowRow, view: &MapView) -> bool {
        let own = self.own_amount(row, view);
        own.is_err_and(|why| why != Missing::NoPages) && self.amount(row, view).is_ok()
    }

    /// The same figure of smaps; `None` where it was not read or does not tell.
    pub(super) fn of_smaps(self, row: &ShowRow) -> Option<Bytes> {
        let smaps = row.smaps.as_ref()?;
        let keys = self.smaps_keys();
        if keys.is_empty() {
            return None;
        }
        // Keys that came later (hugetlb 4.3, FilePmdMapped 5.4) are nothing where they are missing; the first one counts.
        let first = keys.first().and_then(|key| smaps.get(key))?;
        Some(first + keys.iter().skip(1).filter_map(|key| smaps.get(key)).sum())
    }

    /// Whether smaps, read too, says something else: exactly, or to its KiB where it has no more.
    pub(super) fn differs(self, row: &ShowRow, view: &MapView) -> bool {
        let whole_kib = |bytes: Bytes| if self == Column::Pss { bytes.0 / 1024 * 1024 } else { bytes.0 };
        match (self.own_amount(row, view), self.of_smaps(row)) {
            (Ok(own), Some(smaps)) => whole_kib(own) != smaps.0,
            _ => false,
        }
    }

    pub(super) fn own_amount(self, row: &ShowRow, view: &MapView) -> Result<Bytes, Missing> {
        let pages = row.pages.ok_or(match view.pages_why {
            Some("not-recorded") => Missing::NotRecorded,
            Some("unknown") => Missing::NotLooked,
            Some(_) => Missing::NotRead,
            None => Missing::NoPages,
        });
        let frames = row.frames.ok_or(match (row.pages, view.pages_why, view.frames_why) {
            (None, None, _) => Missing::NoPages,
            (_, _, Some(why)) => why,
            _ => Missing::Unknown,
        });
        let mapped = row.mapped.ok_or(match (row.pages, view.pages_why, view.frames_why) {
            (None, None, _) => Missing::NoPages,
            (_, _, Some(why @ (Missing::NotRead | Missing::NotRecorded))) => why,
            _ => Missing::Unknown,
        });
        let of_backing = |wanted: Backing| match (pages?.of_files(), row.backing) {
            (Bytes(0), _) => Ok(Bytes(0)),
            (_, Backing::Unknown) => Err(Missing::Unknown),
            (files, backing) if backing == wanted => Ok(files),
            _ => Ok(Bytes(0)),
        };
        match self {
            Column::Size => Ok(row.vma.range.len()),
            Column::Resident => pages.map(|p| p.resident + p.hugetlb),
            Column::Anonymous => pages.map(|p| p.anonymous),
            Column::File => of_backing(Backing::File),
            Column::Shmem => of_backing(Backing::Shmem),
            // Page tables do not hold pages of shared objects that are in swap.
            Column::Swapped => match (pages?, row.backing) {
                (_, Backing::Shmem | Backing::Unknown) if !view.swap_is_empty => Err(Missing::Unknown),
                (p, _) => Ok(p.swapped),
            },
            Column::Private => mapped.map(|m| m.private),
            Column::Shared => mapped.map(|m| m.shared),
            // What nobody shares counts whole.
            Column::Pss => match (frames, row.mapped) {
                (Ok(frames), _) => Ok(frames.pss.bytes()),
                (Err(_), Some(m)) if m.shared == Bytes(0) => Ok(m.private),
                (Err(missing), _) => Err(missing),
            },
            // Entries of pagemap tell no sizes: hugetlb is among what is resident.
            Column::Huge | Column::Hugetlb if view.header.zero_pages_counted => {
                pages.and(Err(Missing::Unknown))
            }
            Column::Huge => pages.map(|p| p.huge),
            Column::Hugetlb => pages.map(|p| p.hugetlb),
            Column::Dumped => row.dumped.ok_or(Missing::NotRecorded),
            Column::Zero if view.header.zero_pages_unknown => pages.and(Err(Missing::Unknown)),
            Column::Zero => pages.map(|p| p.zero),
            Column::Ksm => frames.map(|f| f.ksm),
            Column::LazyFree => frames.map(|f| f.lazy_free),
            Column::Active => frames.map(|f| f.active),
            Column::Referenced => frames.map(|f| f.referenced),
            Column::Unevictable => frames.map(|f| f.unevictable),
            Column::Locked if view.nothing_is_locked => pages.map(|_| Bytes(0)).or(Ok(Bytes(0))),
            // Without resident pages nothing is dirty.
            Column::Dirty if row.pages.is_some_and(|p| p.resident == Bytes(0)) => Ok(Bytes(0)),
            _ => Err(Missing::Unknown),
        }
    }
}
