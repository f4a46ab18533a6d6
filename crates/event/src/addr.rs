//! Addresses, sizes and ranges of one address space.

use std::fmt;

/// A virtual address of some process, never one of our own.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub u64);

/// A size in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A count of base pages.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pages(pub u64);

/// The size of a base page: a power of two, 4096 on x86_64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize(u64);

impl PageSize {
    /// Takes a size in bytes; `None` unless it is a power of two.
    pub const fn new(bytes: u64) -> Option<PageSize> {
        if bytes.is_power_of_two() { Some(PageSize(bytes)) } else { None }
    }

    /// The 4 KiB page of x86_64, for decoders and tests.
    pub const FOUR_KIB: PageSize = PageSize(4096);

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The address of the page that holds `addr`.
    pub const fn floor(self, addr: Addr) -> Addr {
        Addr(addr.0 & !(self.0 - 1))
    }

    /// `addr` when it starts a page, otherwise the next page; `None` past the end of the address space.
    pub fn ceil(self, addr: Addr) -> Option<Addr> {
        Some(Addr(addr.0.checked_add(self.0 - 1)? & !(self.0 - 1)))
    }

    /// A length rounded up to whole pages, as mmap(2) does; `None` on overflow.
    pub fn round_up(self, len: Bytes) -> Option<Bytes> {
        self.ceil(Addr(len.0)).map(|a| Bytes(a.0))
    }

    /// How many pages `len` spans when it starts on a page.
    pub const fn pages(self, len: Bytes) -> Pages {
        Pages(len.0.div_ceil(self.0))
    }
}

impl Addr {
    /// The address `len` further up; `None` past the end of the address space.
    pub fn checked_add(self, len: Bytes) -> Option<Addr> {
        self.0.checked_add(len.0).map(Addr)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.0)
    }
}

impl std::ops::Add for Bytes {
    type Output = Bytes;
    /// Saturates: totals of an address space are shown, never used to compute addresses.
    fn add(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_add(other.0))
    }
}

impl std::ops::AddAssign for Bytes {
    fn add_assign(&mut self, other: Bytes) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Bytes>>(iter: I) -> Bytes {
        iter.fold(Bytes(0), |a, b| a + b)
    }
}

/// A half-open range of addresses, `[start, end)`, with `start <= end`.
///
/// ```
/// use vmatlas_event::{Addr, AddrRange, Bytes};
/// let r = AddrRange::new(Addr(0x1000), Addr(0x3000)).unwrap();
/// assert_eq!(r.len(), Bytes(0x2000));
/// assert!(r.contains(Addr(0x2fff)) && !r.contains(Addr(0x3000)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddrRange {
    start: Addr,
    end: Addr,
}

impl AddrRange {
    /// Every address there is, but for the last byte.
    pub const ALL: AddrRange = AddrRange { start: Addr(0), end: Addr(u64::MAX) };

    /// A range from its two ends; `None` when they are the wrong way round.
    pub const fn new(start: Addr, end: Addr) -> Option<AddrRange> {
        if start.0 <= end.0 { Some(AddrRange { start, end }) } else { None }
    }

    /// A range from its start and length; `None` past the end of the address space.
    pub fn from_len(start: Addr, len: Bytes) -> Option<AddrRange> {
        Some(AddrRange { start, end: start.checked_add(len)? })
    }

    /// The first address.
    pub const fn start(self) -> Addr {
        self.start
    }

    /// The address after the last.
    pub const fn end(self) -> Addr {
        self.end
    }

    /// The size in bytes.
    pub const fn len(self) -> Bytes {
        Bytes(self.end.0 - self.start.0)
    }

    /// Whether the range holds no address at all.
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// Whether `addr` lies inside.
    pub const fn contains(self, addr: Addr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }

    /// Whether all of `other` lies inside.
    pub const fn covers(self, other: AddrRange) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Whether the two share an address.
    pub const fn intersects(self, other: AddrRange) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }

    /// The addresses that both hold; `None` when there are none.
    pub fn intersect(self, other: AddrRange) -> Option<AddrRange> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(AddrRange { start, end })
    }

    /// The smallest range that holds both.
    pub fn hull(self, other: AddrRange) -> AddrRange {
        AddrRange { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start.0, self.end.0)
    }
}

impl fmt::Debug for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(a: u64, b: u64) -> AddrRange {
        AddrRange::new(Addr(a), Addr(b)).unwrap()
    }

    /// Checks that ranges that only touch do not intersect, and that an empty one intersects nothing.
    #[test]
    fn touching_ranges_do_not_intersect() {
        assert!(!r(0, 10).intersects(r(10, 20)));
        assert!(r(0, 11).intersects(r(10, 20)));
        assert_eq!(r(0, 11).intersect(r(10, 20)), Some(r(10, 11)));
        assert_eq!(r(0, 10).intersect(r(10, 20)), None);
        assert!(!r(5, 5).intersects(r(5, 6)));
    }

    /// Checks that one byte asks for one page, none for none, and that lengths near 2^64 do not wrap.
    #[test]
    fn lengths_round_up_to_pages() {
        let p = PageSize::FOUR_KIB;
        assert_eq!(p.round_up(Bytes(1)), Some(Bytes(4096)));
        assert_eq!(p.round_up(Bytes(0)), Some(Bytes(0)));
        assert_eq!(p.round_up(Bytes(4096)), Some(Bytes(4096)));
        assert_eq!(p.round_up(Bytes(u64::MAX)), None);
        assert_eq!(AddrRange::from_len(Addr(u64::MAX), Bytes(1)), None);
        assert_eq!(PageSize::new(4095), None);
    }
}
