//! Protections, mapping flags and advice: numbers as in mmap(2), mprotect(2), madvise(2), and their names.
//!
//! A call's own argument keeps every bit it came with; only what the kernel reports of a VMA is a [`Prot`].

use std::fmt;

/// What a VMA allows: read, write, execute.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prot(u8);

impl Prot {
    /// No access at all (PROT_NONE).
    pub const NONE: Prot = Prot(0);
    /// Readable.
    pub const READ: Prot = Prot(1);
    /// Writable.
    pub const WRITE: Prot = Prot(2);
    /// Executable.
    pub const EXEC: Prot = Prot(4);
    /// Readable and writable.
    pub const RW: Prot = Prot(3);

    /// From three answers.
    pub const fn new(read: bool, write: bool, exec: bool) -> Prot {
        Prot(read as u8 | (write as u8) << 1 | (exec as u8) << 2)
    }

    /// The three lowest bits of a `prot` argument; the rest does not show in the map.
    pub const fn from_arg(arg: ProtArg) -> Prot {
        Prot((arg.0 & 7) as u8)
    }

    /// Three letters as /proc/PID/maps has them: `rw-`, `---`.
    pub const fn as_str(self) -> &'static str {
        const TEXT: [&str; 8] = ["---", "r--", "-w-", "rw-", "--x", "r-x", "-wx", "rwx"];
        TEXT[(self.0 & 7) as usize]
    }

    /// Whether all of `other` is allowed.
    pub const fn has(self, other: Prot) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The `prot` argument of a call, every bit kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProtArg(pub u64);

/// The `flags` argument of mmap(2), every bit kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MapFlags(pub u64);

/// The `advice` argument of madvise(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Advice(pub i32);

/// The mapping type in the two (four, since MAP_SHARED_VALIDATE) lowest bits of [`MapFlags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// MAP_PRIVATE, or MAP_DROPPABLE, which the map shows as private too.
    Private,
    /// MAP_SHARED or MAP_SHARED_VALIDATE.
    Shared,
    /// A value the kernel refuses.
    Invalid(u8),
}

impl MapFlags {
    /// MAP_FIXED: exactly here, and what was here is unmapped.
    pub const FIXED: u64 = 0x10;
    /// MAP_ANONYMOUS: no file behind it.
    pub const ANONYMOUS: u64 = 0x20;
    /// MAP_POPULATE: fault the pages in at once.
    pub const POPULATE: u64 = 0x8000;
    /// MAP_FIXED_NOREPLACE: exactly here, or fail.
    pub const FIXED_NOREPLACE: u64 = 0x10_0000;

    /// Whether the bit (or all bits) of `flag` are set.
    pub const fn has(self, flag: u64) -> bool {
        self.0 & flag == flag
    }

    /// Private or shared.
    pub const fn map_type(self) -> MapType {
        match self.0 & 0xf {
            1 | 3 => MapType::Shared,
            2 | 8 => MapType::Private,
            n => MapType::Invalid(n as u8),
        }
    }
}

/// One named bit, or one named value of a bit field.
#[derive(Clone, Copy, Debug)]
pub struct FlagName {
    /// The bits that are looked at.
    pub mask: u64,
    /// What they must be.
    pub value: u64,
    /// The constant's name without its prefix, in capitals as the man page has it.
    pub name: &'static str,
}

const fn bit(value: u64, name: &'static str) -> FlagName {
    FlagName { mask: value, value, name }
}

const fn field(mask: u64, value: u64, name: &'static str) -> FlagName {
    FlagName { mask, value, name }
}

/// Names for PROT_*; none of them set is `NONE`.
pub const PROT: &[FlagName] = &[
    bit(1, "READ"),
    bit(2, "WRITE"),
    bit(4, "EXEC"),
    bit(8, "SEM"),
    bit(0x0100_0000, "GROWSDOWN"),
    bit(0x0200_0000, "GROWSUP"),
];

/// Names for MAP_* (x86_64; include/uapi/linux/mman.h, asm-generic/mman-common.h, arch/x86 mman.h).
pub const MAP: &[FlagName] = &[
    field(0xf, 1, "SHARED"),
    field(0xf, 2, "PRIVATE"),
    field(0xf, 3, "SHARED_VALIDATE"),
    field(0xf, 8, "DROPPABLE"),
    bit(0x10, "FIXED"),
    bit(0x20, "ANONYMOUS"),
    bit(0x40, "32BIT"),
    bit(0x80, "ABOVE4G"),
    bit(0x100, "GROWSDOWN"),
    bit(0x800, "DENYWRITE"),
    bit(0x1000, "EXECUTABLE"),
    bit(0x2000, "LOCKED"),
    bit(0x4000, "NORESERVE"),
    bit(0x8000, "POPULATE"),
    bit(0x1_0000, "NONBLOCK"),
    bit(0x2_0000, "STACK"),
    bit(0x4_0000, "HUGETLB"),
    bit(0x8_0000, "SYNC"),
    bit(0x10_0000, "FIXED_NOREPLACE"),
    bit(0x400_0000, "UNINITIALIZED"),
];

/// Names for MADV_* (include/uapi/asm-generic/mman-common.h).
pub const MADV: &[FlagName] = &[
    field(u64::MAX, 0, "NORMAL"),
    field(u64::MAX, 1, "RANDOM"),
    field(u64::MAX, 2, "SEQUENTIAL"),
    field(u64::MAX, 3, "WILLNEED"),
    field(u64::MAX, 4, "DONTNEED"),
    field(u64::MAX, 8, "FREE"),
    field(u64::MAX, 9, "REMOVE"),
    field(u64::MAX, 10, "DONTFORK"),
    field(u64::MAX, 11, "DOFORK"),
    field(u64::MAX, 12, "MERGEABLE"),
    field(u64::MAX, 13, "UNMERGEABLE"),
    field(u64::MAX, 14, "HUGEPAGE"),
    field(u64::MAX, 15, "NOHUGEPAGE"),
    field(u64::MAX, 16, "DONTDUMP"),
    field(u64::MAX, 17, "DODUMP"),
    field(u64::MAX, 18, "WIPEONFORK"),
    field(u64::MAX, 19, "KEEPONFORK"),
    field(u64::MAX, 20, "COLD"),
    field(u64::MAX, 21, "PAGEOUT"),
    field(u64::MAX, 22, "POPULATE_READ"),
    field(u64::MAX, 23, "POPULATE_WRITE"),
    field(u64::MAX, 24, "DONTNEED_LOCKED"),
    field(u64::MAX, 25, "COLLAPSE"),
    field(u64::MAX, 100, "HWPOISON"),
    field(u64::MAX, 101, "SOFT_OFFLINE"),
    field(u64::MAX, 102, "GUARD_INSTALL"),
    field(u64::MAX, 103, "GUARD_REMOVE"),
];

impl Advice {
    /// Whether this advice can split or alter VMAs (the others touch pages only).
    ///
    /// An advice this table does not know may do anything, so it counts as one that can.
    pub fn changes_vmas(self) -> bool {
        !matches!(self.0, 3 | 4 | 8 | 9 | 20..=25 | 100..=103)
    }

    /// The name without MADV_; `None` for a number without one.
    pub fn name(self) -> Option<&'static str> {
        let value = u64::try_from(self.0).ok()?;
        MADV.iter().find(|f| f.value == value).map(|f| f.name)
    }
}

/// The names of the set bits of `bits`, in table order, and the bits that have none.
///
/// ```
/// use vmatlas_event::{MAP, flag_names};
/// assert_eq!(flag_names(MAP, 0x22 | 1 << 40), (vec!["PRIVATE", "ANONYMOUS"], 1 << 40));
/// ```
pub fn flag_names(table: &[FlagName], bits: u64) -> (Vec<&'static str>, u64) {
    let mut left = bits;
    let mut names = Vec::new();
    for f in table {
        if bits & f.mask == f.value && f.value != 0 {
            names.push(f.name);
            left &= !f.mask;
        }
    }
    (names, left)
}

/// Reads `PRIVATE|ANONYMOUS`, `map_private,map_anonymous` or a number into bits; the error is the word not understood.
///
/// `prefix` is the constants' prefix in capitals, as in `MAP_`; it may be left out, and capitals do not matter.
pub fn parse_flags(table: &[FlagName], prefix: &str, text: &str) -> Result<u64, String> {
    let mut bits = 0u64;
    for word in text.split(['|', ',']).map(str::trim).filter(|w| !w.is_empty()) {
        let upper = word.to_ascii_uppercase();
        let bare = upper.strip_prefix(prefix).unwrap_or(&upper);
        let number = match upper.strip_prefix("0X") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => upper.parse().ok(),
        };
        let alias = if bare == "ANON" { "ANONYMOUS" } else { bare };
        bits |= match (table.iter().find(|f| f.name == alias), number) {
            (Some(f), _) => f.value,
            (None, Some(n)) => n,
            (None, None) if bare == "NONE" => 0,
            (None, None) => return Err(word.to_owned()),
        };
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that names and bits go both ways and unknown bits survive.
    #[test]
    fn flags_survive_a_round_trip() {
        for bits in [0x22, 0x8022, 0x10_0021, 0x3, 0x28] {
            let (names, rest) = flag_names(MAP, bits);
            assert_eq!(rest, 0, "{bits:#x}");
            assert_eq!(parse_flags(MAP, "MAP_", &names.join("|")), Ok(bits));
        }
        assert_eq!(flag_names(MAP, 0x4000_0000_0002), (vec!["PRIVATE"], 0x4000_0000_0000));
        assert_eq!(parse_flags(MAP, "MAP_", "map_private | MAP_ANON"), Ok(0x22));
        assert_eq!(parse_flags(MAP, "MAP_", "32BIT,2"), Ok(0x42));
        assert_eq!(parse_flags(MAP, "MAP_", "0x4000000"), Ok(0x400_0000));
        assert_eq!(parse_flags(PROT, "PROT_", "none"), Ok(0));
        assert_eq!(parse_flags(PROT, "PROT_", "read|fly"), Err("fly".to_owned()));
    }

    /// Checks that advice that only touches pages is told from advice that splits (madvise(2), KERNEL-FACTS).
    #[test]
    fn advice_that_splits_is_known() {
        for a in [1, 2, 10, 14, 15, 16, 18, 777] {
            assert!(Advice(a).changes_vmas(), "{a}");
        }
        for a in [3, 4, 8, 21, 22, 102] {
            assert!(!Advice(a).changes_vmas(), "{a}");
        }
        assert_eq!(Advice(4).name(), Some("DONTNEED"));
        assert_eq!(Advice(-1).name(), None);
    }
}
