//! /proc/PID/smaps and smaps_rollup (proc_pid_smaps(5), kernel `fs/proc/task_mmu.c:__show_smap()`).
//!
//! Fields came over time (LazyFree 4.12, THPeligible 5.0, Pss_Dirty 6.0, KSM 6.7): a missing one is `None`, never 0,
//! and one that is not known yet is kept.

use super::ParseError;
use super::decimal;
use super::maps::{MapsLine, Parsed, parse_at};
use vmatlas_event::Bytes;

/// The figures of one VMA, or of a whole process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmapsFields {
    sizes: [Option<Bytes>; FIELDS.len()],
    /// Whether huge pages may be used here.
    pub thp_eligible: Option<bool>,
    /// The protection key.
    pub protection_key: Option<u64>,
    /// Flags of the VMA, two letters each, in the kernel's order; empty where the kernel tells none.
    pub flags: Vec<[u8; 2]>,
    /// Sizes of names that this parser does not know.
    pub others: Vec<(Vec<u8>, Bytes)>,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $key:literal,)*) => {
        /// A figure of smaps that is a size.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $($(#[$doc])* $name,)* }
        /// Every one with the kernel's name for it.
        pub const FIELDS: &[(Field, &str)] = &[$((Field::$name, $key),)*];
    };
}

fields! {
    /// The VMA's length.
    Size = "Size",
    /// Its page size.
    KernelPageSize = "KernelPageSize",
    /// The page size of its page tables.
    MmuPageSize = "MMUPageSize",
    /// Resident.
    Rss = "Rss",
    /// Proportional share.
    Pss = "Pss",
    /// Proportional share of what is dirty.
    PssDirty = "Pss_Dirty",
    /// Proportional share of anonymous pages (rollup only).
    PssAnon = "Pss_Anon",
    /// Proportional share of file pages (rollup only).
    PssFile = "Pss_File",
    /// Proportional share of shared memory (rollup only).
    PssShmem = "Pss_Shmem",
    /// Mapped elsewhere too, as on disk.
    SharedClean = "Shared_Clean",
    /// Mapped elsewhere too, changed.
    SharedDirty = "Shared_Dirty",
    /// Mapped here alone, as on disk.
    PrivateClean = "Private_Clean",
    /// Mapped here alone, changed.
    PrivateDirty = "Private_Dirty",
    /// Used lately.
    Referenced = "Referenced",
    /// Of no file.
    Anonymous = "Anonymous",
    /// Merged by KSM.
    Ksm = "KSM",
    /// Given back with MADV_FREE.
    LazyFree = "LazyFree",
    /// Anonymous transparent huge pages.
    AnonHugePages = "AnonHugePages",
    /// Shared memory mapped by huge page tables.
    ShmemPmdMapped = "ShmemPmdMapped",
    /// Files mapped by huge page tables.
    FilePmdMapped = "FilePmdMapped",
    /// hugetlb pages mapped elsewhere too.
    SharedHugetlb = "Shared_Hugetlb",
    /// hugetlb pages mapped here alone.
    PrivateHugetlb = "Private_Hugetlb",
    /// In swap.
    Swap = "Swap",
    /// Proportional share of what is in swap.
    SwapPss = "SwapPss",
    /// Locked.
    Locked = "Locked",
}

impl SmapsFields {
    /// One figure; `None` where the kernel does not tell it.
    pub fn get(&self, field: Field) -> Option<Bytes> {
        self.sizes[field as usize]
    }

    /// The sum of several figures; `None` when one is missing.
    pub fn sum(&self, fields: &[Field]) -> Option<Bytes> {
        fields.iter().map(|f| self.get(*f)).sum::<Option<Bytes>>()
    }

    /// Takes one line; `false` when it is no line of figures.
    pub(crate) fn take(&mut self, line: &[u8]) -> bool {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return false };
        let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match key {
            b"VmFlags" => {
                let words = value.split(|b| *b == b' ').filter_map(|word| <[u8; 2]>::try_from(word).ok());
                self.flags.extend(words);
                return true;
            }
            b"THPeligible" => {
                self.thp_eligible = decimal(value).map(|n| n != 0);
                return true;
            }
            b"ProtectionKey" => {
                self.protection_key = decimal(value);
                return true;
            }
            _ => {}
        }
        let kib = value.strip_suffix(b" kB").and_then(decimal);
        let Some(size) = kib.and_then(|n| n.checked_mul(1024)).map(Bytes) else { return false };
        match FIELDS.iter().find(|(_, name)| name.as_bytes() == key) {
            Some((field, _)) => self.sizes[*field as usize] = Some(size),
            None => self.others.push((key.to_vec(), size)),
        }
        true
    }
}

/// One VMA of smaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmapsEntry<'a> {
    /// Its line, as in maps.
    pub line: MapsLine<'a>,
    /// Its figures.
    pub fields: SmapsFields,
}

/// Reads a whole smaps text, or smaps_rollup, whose only VMA is `[rollup]`.
///
/// # Errors
/// [`ParseError`] with the first line that is neither a VMA nor a figure.
pub fn parse(text: &[u8]) -> Result<Vec<SmapsEntry<'_>>, ParseError> {
    let mut entries: Vec<SmapsEntry<'_>> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        // A name may hold a colon, but figures start with a capital letter and VMAs with a hexadecimal digit.
        let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |len| at + len);
        let line = &text[at..end];
        match entries.last_mut() {
            Some(entry) if line.first().is_some_and(u8::is_ascii_uppercase) => {
                if !entry.fields.take(line) {
                    return Err(ParseError::new("a line of smaps", line));
                }
                at = end + 1;
            }
            _ => match parse_at(text, at)? {
                Parsed::Line(line, next) => {
                    entries.push(SmapsEntry { line, fields: SmapsFields::default() });
                    at = next;
                }
                Parsed::Partial => return Err(ParseError::new("a whole line of smaps", line)),
            },
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that our own smaps is read, that every VMA has a size that is its length, and that Rss and flags are there.
    #[test]
    fn our_own_smaps_is_read() {
        let text = std::fs::read("/proc/self/smaps").unwrap();
        let entries = parse(&text).unwrap();
        assert!(entries.len() > 5);
        for entry in &entries {
            assert_eq!(entry.fields.get(Field::Size), Some(entry.line.range.len()));
            assert!(entry.fields.get(Field::Rss).is_some() && !entry.fields.flags.is_empty());
        }
        let rollup = std::fs::read("/proc/self/smaps_rollup").unwrap();
        let rollup = parse(&rollup).unwrap();
        assert_eq!((rollup.len(), rollup[0].line.name), (1, &b"[rollup]"[..]));
        assert!(rollup[0].fields.sum(&[Field::PssAnon, Field::PssFile]).is_some());
    }

    /// Checks that what is missing is none, that what is new is kept, and that nonsense is refused.
    #[test]
    fn missing_is_none_and_new_is_kept() {
        let text = b"1000-2000 rw-p 00000000 00:00 0 \nRss:  4 kB\nNewThing:  8 kB\nVmFlags: rd wr zz \n";
        let entries = parse(text).unwrap();
        let fields = &entries[0].fields;
        assert_eq!((fields.get(Field::Rss), fields.get(Field::Pss)), (Some(Bytes(4096)), None));
        assert_eq!(fields.others, [(b"NewThing".to_vec(), Bytes(8192))]);
        assert_eq!(fields.flags, [*b"rd", *b"wr", *b"zz"]);
        assert!(parse(b"1000-2000 rw-p 00000000 00:00 0 \nRss: much\n").is_err());
        assert!(parse(b"Rss: 4 kB\n").is_err());
        assert_eq!(parse(b"").unwrap(), []);
    }
}
