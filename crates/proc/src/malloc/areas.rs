//! Where chunks may be, and where glibc keeps its own variables, by the map alone.

use vmatlas_event::{Addr, AddrRange, Prot, Sharing, VmaRow};

/// What the map tells a search for arenas.
pub(super) struct Areas {
    /// Private writable memory without a file, ascending, touching rows joined.
    writable: Vec<AddrRange>,
    /// Where its rows start, ascending.
    pub(super) starts: Vec<Addr>,
    /// Where the main arena and `mp_` may be: libc's writable data and bss, or those of every image.
    pub(super) data: Vec<AddrRange>,
}

impl Areas {
    pub(super) fn new(rows: &[VmaRow]) -> Areas {
        let chunks = |row: &&VmaRow| is_writable(row) && !row.has_file() && row.special() != Some(b"stack");
        let writable = joined(rows.iter().filter(chunks).map(|row| row.range));
        let starts = rows.iter().filter(chunks).map(|row| row.range.start()).collect();
        let mut data = data(rows, &|name| is_libc(name));
        if data.is_empty() {
            data = self::data(rows, &|name| name.starts_with(b"/"));
        }
        Areas { writable, starts, data }
    }

    /// Whether chunks may lie in all of this.
    pub(super) fn cover(&self, range: AddrRange) -> bool {
        self.around(range.start()).is_some_and(|area| area.covers(range))
    }

    /// Whether a chunk may be at `at`.
    pub(super) fn hold(&self, at: u64) -> bool {
        self.around(Addr(at)).is_some()
    }

    fn around(&self, at: Addr) -> Option<AddrRange> {
        let index = self.writable.partition_point(|area| area.end() <= at);
        self.writable.get(index).copied().filter(|area| area.contains(at))
    }

    /// Every area where chunks may be.
    pub(super) fn all(&self) -> &[AddrRange] {
        &self.writable
    }
}

fn is_writable(row: &VmaRow) -> bool {
    row.prot.has(Prot::WRITE) && row.prot.has(Prot::READ) && row.sharing == Sharing::Private
}

/// Writable data of the files whose path `wanted` likes, each with the bss that follows it.
fn data(rows: &[VmaRow], wanted: &dyn Fn(&[u8]) -> bool) -> Vec<AddrRange> {
    let mut found = Vec::new();
    let mut end = None;
    for row in rows {
        let bss = !row.has_file() && row.name.is_none() && end == Some(row.range.start());
        if is_writable(row) && (bss || (row.name_bytes().starts_with(b"/") && wanted(row.name_bytes()))) {
            found.push(row.range);
            end = (!bss).then(|| row.range.end());
        } else {
            end = None;
        }
    }
    joined(found.into_iter())
}

/// `libc.so.6`, or `libc-2.31.so` up to glibc 2.33, also after an upgrade took the file away.
fn is_libc(path: &[u8]) -> bool {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    name == b"libc.so.6" || (name.starts_with(b"libc-2.") && name.ends_with(b".so"))
}

/// Ranges in ascending order, those that touch made one.
pub(super) fn joined(ranges: impl Iterator<Item = AddrRange>) -> Vec<AddrRange> {
    let mut all: Vec<AddrRange> = ranges.filter(|range| !range.is_empty()).collect();
    all.sort_unstable();
    let mut joined: Vec<AddrRange> = Vec::with_capacity(all.len());
    for range in all {
        match joined.last_mut() {
            Some(last) if range.start() <= last.end() => *last = last.hull(range),
            _ => joined.push(range),
        }
    }
    joined
}
