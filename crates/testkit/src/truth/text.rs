//! Programs as text: one step per line, in the words of the man pages, in pages rather than bytes.
//!
//! ```text
//! mmap 12 3 rw private fixed            # pages 12-14 of the playground
//! mmap null 4 r shared file+2 to s1     # where the kernel likes, then known as slot 1; the file from its page 2 on
//! mprotect s1+1 1 rw
//! mremap 12 3 3 maymove fixed 40
//! touch 40 1 write
//! fork                                  # the child does what follows, up to its end
//!   munmap 40 1
//! end
//! ```
//!
//! A place is a page of the playground (`12`), a page of a slot (`s1`, `s1+2`) or `null`; a length is in pages, or in
//! bytes when a `b` follows. What stands after `#` is a remark.

use super::step::{Length, PAGE, Place, Source, Step, StepKind};
use std::fmt::{self, Write};

type Words = &'static [(u64, &'static str)];

const MAP_TYPES: Words = &[(2, "private"), (1, "shared"), (3, "validate"), (8, "droppable")];
const MAP_TYPE: u64 = 0xf;
pub(super) const MAP_FLAGS: Words = &[
    (0x10, "fixed"),
    (0x10_0000, "noreplace"),
    (0x40, "32bit"),
    (0x100, "growsdown"),
    (0x2000, "locked"),
    (0x4000, "noreserve"),
    (0x8000, "populate"),
    (0x2_0000, "stack"),
    (0x4_0000, "hugetlb"),
];
const REMAP_FLAGS: Words = &[(1, "maymove"), (4, "dontunmap")];
const REMAP_FIXED: u64 = 2;
const LOCK_FLAGS: Words = &[(1, "current"), (2, "future"), (4, "onfault")];
const SHM_FLAGS: Words = &[(0o10000, "rdonly"), (0o40000, "remap"), (0o100000, "exec")];
const PROTS: Words = &[
    (0, "none"),
    (1, "r"),
    (2, "w"),
    (3, "rw"),
    (4, "x"),
    (5, "rx"),
    (6, "wx"),
    (7, "rwx"),
    (0x100_0001, "r,growsdown"),
    (0x100_0003, "rw,growsdown"),
];
const POLICIES: Words = &[(0, "default"), (1, "preferred"), (2, "bind"), (3, "interleave"), (4, "local")];
const NAMES: Words = &[(0, "none"), (1, "one"), (2, "two")];
const WRITE_PROTECT: Words = &[(0, "missing"), (1, "wp")];
const WRITE: Words = &[(0, "read"), (1, "write")];
/// MADV_*.
const ADVICES: Words = &[
    (0, "normal"),
    (1, "random"),
    (2, "sequential"),
    (3, "willneed"),
    (4, "dontneed"),
    (8, "free"),
    (9, "remove"),
    (10, "dontfork"),
    (11, "dofork"),
    (12, "mergeable"),
    (13, "unmergeable"),
    (14, "hugepage"),
    (15, "nohugepage"),
    (16, "dontdump"),
    (17, "dodump"),
    (18, "wipeonfork"),
    (19, "keeponfork"),
    (20, "cold"),
    (21, "pageout"),
    (22, "populate_read"),
    (23, "populate_write"),
    (24, "dontneed_locked"),
    (25, "collapse"),
    (102, "guard_install"),
    (103, "guard_remove"),
];
const SOURCES: &[(Source, &str)] = &[
    (Source::File, "file"),
    (Source::Again, "again"),
    (Source::Dup, "dup"),
    (Source::ReadOnly, "rofile"),
    (Source::Sealed, "sealed"),
    (Source::Zero, "zero"),
    (Source::Perf, "perf"),
];

/// A number as its word, or itself where it has none.
struct Word(Words, u64);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().find(|(number, _)| *number == self.1) {
            Some((_, word)) => f.write_str(word),
            None => write!(f, "{:#x}", self.1),
        }
    }
}

/// Bits as their words, each with a blank before it.
struct Bits(Words, u64);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.1;
        for (bit, word) in self.0.iter().filter(|(bit, _)| self.1 & bit != 0) {
            rest &= !bit;
            write!(f, " {word}")?;
        }
        if rest != 0 { write!(f, " {rest:#x}") } else { Ok(()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Page(page) => write!(f, "{page}"),
            Place::Slot(slot, 0) => write!(f, "s{slot}"),
            Place::Slot(slot, page) => write!(f, "s{slot}+{page}"),
            Place::Null => f.write_str("null"),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(PAGE) { write!(f, "{}", self.0 / PAGE) } else { write!(f, "{}b", self.0) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.kind().word();
        match *self {
            Step::Mmap { at, len, prot, flags, source, page, slot } => {
                let (kind, bits) = (Word(MAP_TYPES, flags & MAP_TYPE), Bits(MAP_FLAGS, flags & !MAP_TYPE));
                write!(f, "{word} {at} {len} {} {kind}{bits}", Word(PROTS, prot))?;
                if let Some((_, name)) = SOURCES.iter().find(|(known, _)| *known == source) {
                    write!(f, " {name}+{page}")?;
                }
                to_slot(f, slot)
            }
            Step::Mremap { at, len, new, flags, to, slot } => {
                write!(f, "{word} {at} {len} {new}{}", Bits(REMAP_FLAGS, flags & !REMAP_FIXED))?;
                if flags & REMAP_FIXED != 0 {
                    write!(f, " fixed {to}")?;
                }
                to_slot(f, slot)
            }
            Step::Mprotect { at, len, prot } => write!(f, "{word} {at} {len} {}", Word(PROTS, prot)),
            Step::PkeyMprotect { at, len, prot, key } => {
                write!(f, "{word} {at} {len} {} {key}", Word(PROTS, prot))
            }
            Step::Brk { pages } => write!(f, "{word} {pages}"),
            Step::Madvise { at, len, advice } | Step::ProcessMadvise { at, len, advice } => {
                write!(f, "{word} {at} {len} {}", Word(ADVICES, advice as u64))
            }
            Step::Mlockall { flags } => write!(f, "{word}{}", Bits(LOCK_FLAGS, flags as u64)),
            Step::Mbind { at, len, policy } => {
                write!(f, "{word} {at} {len} {}", Word(POLICIES, policy as u64))
            }
            Step::RemapFilePages { at, len, page } => write!(f, "{word} {at} {len} {page}"),
            Step::Name { at, len, name } => write!(f, "{word} {at} {len} {}", Word(NAMES, name.into())),
            Step::Shmat { at, flags, slot } => {
                write!(f, "{word} {at}{}", Bits(SHM_FLAGS, flags as u64))?;
                to_slot(f, slot)
            }
            Step::Shmdt { at } | Step::Grow { at } => write!(f, "{word} {at}"),
            Step::IoSetup { ring } | Step::IoDestroy { ring } => write!(f, "{word} {ring}"),
            Step::UffdRegister { at, len, write_protect } => {
                write!(f, "{word} {at} {len} {}", Word(WRITE_PROTECT, write_protect.into()))
            }
            Step::Touch { at, len, write } => write!(f, "{word} {at} {len} {}", Word(WRITE, write.into())),
            Step::Munmap { at, len }
            | Step::Mlock { at, len }
            | Step::MlockOnFault { at, len }
            | Step::Munlock { at, len }
            | Step::Mseal { at, len }
            | Step::HomeNode { at, len }
            | Step::UffdUnregister { at, len } => write!(f, "{word} {at} {len}"),
            Step::Munlockall
            | Step::UffdClose
            | Step::Fork
            | Step::Vfork
            | Step::End
            | Step::Spawn
            | Step::Reset => f.write_str(word),
        }
    }
}

fn to_slot(f: &mut fmt::Formatter<'_>, slot: u8) -> fmt::Result {
    if slot == 0 { Ok(()) } else { write!(f, " to s{slot}") }
}

/// A program as text; what a child does is set off.
pub fn print(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for step in steps {
        if *step == Step::End {
            depth = depth.saturating_sub(1);
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "{:1$}{step}", "", 2 * depth);
        if matches!(step, Step::Fork | Step::Vfork) {
            depth += 1;
        }
    }
    text
}

/// A program from its text.
///
/// # Errors
/// The number of the line that is not understood, and the line.
pub fn parse(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default();
        if words.trim().is_empty() {
            continue;
        }
        let step = parse_line(words).ok_or_else(|| format!("line {}: not understood: {line}", index + 1))?;
        steps.push(step);
    }
    Ok(steps)
}

/// The words of a line that are left.
struct Line<'a>(std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>);

impl Line<'_> {
    fn place(&mut self) -> Option<Place> {
        let word = self.0.next()?;
        if word == "null" {
            return Some(Place::Null);
        }
        match word.strip_prefix('s') {
            None => word.parse().ok().map(Place::Page),
            Some(slot) => {
                let (slot, page) = slot.split_once('+').unwrap_or((slot, "0"));
                Some(Place::Slot(slot.parse().ok()?, page.parse().ok()?))
            }
        }
    }

    fn length(&mut self) -> Option<Length> {
        let word = self.0.next()?;
        match word.strip_suffix('b') {
            Some(bytes) => bytes.parse().ok().map(Length),
            None => word.parse::<u32>().ok().map(|pages| Length::pages(pages.into())),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn word(&mut self, words: Words) -> Option<u64> {
        let word = self.0.next()?;
        let known = words.iter().find(|(_, known)| *known == word).map(|(number, _)| *number);
        known.or_else(|| hexadecimal(word))
    }

    /// As many bits as follow.
    fn bits(&mut self, words: Words) -> u64 {
        let mut bits = 0;
        while let Some(word) = self.0.peek() {
            let known = words.iter().find(|(_, known)| known == word).map(|(bit, _)| *bit);
            let Some(bit) = known.or_else(|| hexadecimal(word)) else { break };
            bits |= bit;
            self.0.next();
        }
        bits
    }

    fn source(&mut self) -> Option<(Source, u32)> {
        let (name, page) = match self.0.peek() {
            Some(word) if *word != "to" => word.split_once('+')?,
            _ => return Some((Source::Anonymous, 0)),
        };
        let (source, _) = SOURCES.iter().find(|(_, known)| *known == name)?;
        let page = page.parse().ok()?;
        self.0.next();
        Some((*source, page))
    }

    fn slot(&mut self) -> Option<u8> {
        match self.0.peek() {
            Some(&"to") => {
                self.0.next();
                self.0.next()?.strip_prefix('s')?.parse().ok()
            }
            _ => Some(0),
        }
    }
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

fn parse_line(text: &str) -> Option<Step> {
    let mut line = Line(text.split_ascii_whitespace().peekable());
    let kind = StepKind::from_word(line.0.next()?)?;
    let step = arguments(kind, &mut line)?;
    line.0.next().is_none().then_some(step)
}

/// Struct fields are read in the order they are written here, which is the order of the words.
fn arguments(kind: StepKind, line: &mut Line<'_>) -> Option<Step> {
    Some(match kind {
        StepKind::Mmap => {
            let (at, len, prot) = (line.place()?, line.length()?, line.word(PROTS)?);
            let flags = line.word(MAP_TYPES)? | line.bits(MAP_FLAGS);
            let (source, page) = line.source()?;
            Step::Mmap { at, len, prot, flags, source, page, slot: line.slot()? }
        }
        StepKind::Mremap => {
            let (at, len, new) = (line.place()?, line.length()?, line.length()?);
            let mut flags = line.bits(REMAP_FLAGS);
            let mut to = Place::Null;
            if line.0.peek() == Some(&"fixed") {
                line.0.next();
                flags |= REMAP_FIXED;
                to = line.place()?;
            }
            Step::Mremap { at, len, new, flags, to, slot: line.slot()? }
        }
        StepKind::Munmap => Step::Munmap { at: line.place()?, len: line.length()? },
        StepKind::Mprotect => {
            Step::Mprotect { at: line.place()?, len: line.length()?, prot: line.word(PROTS)? }
        }
        StepKind::PkeyMprotect => {
            let (at, len, prot) = (line.place()?, line.length()?, line.word(PROTS)?);
            Step::PkeyMprotect { at, len, prot, key: line.number()? }
        }
        StepKind::Brk => Step::Brk { pages: line.number()? },
        StepKind::Madvise => {
            Step::Madvise { at: line.place()?, len: line.length()?, advice: line.word(ADVICES)? as i32 }
        }
        StepKind::ProcessMadvise => Step::ProcessMadvise {
            at: line.place()?,
            len: line.length()?,
            advice: line.word(ADVICES)? as i32,
        },
        StepKind::Mlock => Step::Mlock { at: line.place()?, len: line.length()? },
        StepKind::MlockOnFault => Step::MlockOnFault { at: line.place()?, len: line.length()? },
        StepKind::Munlock => Step::Munlock { at: line.place()?, len: line.length()? },
        StepKind::Mlockall => Step::Mlockall { flags: line.bits(LOCK_FLAGS) as i32 },
        StepKind::Munlockall => Step::Munlockall,
        StepKind::Mseal => Step::Mseal { at: line.place()?, len: line.length()? },
        StepKind::Mbind => {
            Step::Mbind { at: line.place()?, len: line.length()?, policy: line.word(POLICIES)? as i32 }
        }
        StepKind::HomeNode => Step::HomeNode { at: line.place()?, len: line.length()? },
        StepKind::RemapFilePages => {
            Step::RemapFilePages { at: line.place()?, len: line.length()?, page: line.number()? }
        }
        StepKind::Name => {
            Step::Name { at: line.place()?, len: line.length()?, name: line.word(NAMES)? as u8 }
        }
        StepKind::Shmat => {
            let (at, flags) = (line.place()?, line.bits(SHM_FLAGS) as i32);
            Step::Shmat { at, flags, slot: line.slot()? }
        }
        StepKind::Shmdt => Step::Shmdt { at: line.place()? },
        StepKind::IoSetup => Step::IoSetup { ring: line.number()? },
        StepKind::IoDestroy => Step::IoDestroy { ring: line.number()? },
        StepKind::UffdRegister => {
            let (at, len) = (line.place()?, line.length()?);
            Step::UffdRegister { at, len, write_protect: line.word(WRITE_PROTECT)? != 0 }
        }
        StepKind::UffdUnregister => Step::UffdUnregister { at: line.place()?, len: line.length()? },
        StepKind::UffdClose => Step::UffdClose,
        StepKind::Touch => {
            Step::Touch { at: line.place()?, len: line.length()?, write: line.word(WRITE)? != 0 }
        }
        StepKind::Grow => Step::Grow { at: line.place()? },
        StepKind::Fork => Step::Fork,
        StepKind::Vfork => Step::Vfork,
        StepKind::End => Step::End,
        StepKind::Spawn => Step::Spawn,
        StepKind::Reset => Step::Reset,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Without, program};
    use super::*;

    /// Checks that printed programs of many seeds are understood as the very same steps, with one thread and more.
    #[test]
    fn what_is_printed_is_understood() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let steps = program(seed, seed * 7, seed % 3, &Without::default());
            assert_eq!(parse(&print(&steps)).as_ref(), Ok(&steps), "seed {seed}");
            kinds.extend(steps.iter().map(|step| step.kind().word()));
        }
        let all: std::collections::BTreeSet<_> = StepKind::ALL.iter().map(|(_, word)| *word).collect();
        let never: Vec<_> = all.difference(&kinds).collect();
        assert_eq!(never, [&"reset"], "every other kind of step is made");
    }

    /// Checks the example of the module's page.
    #[test]
    fn a_person_can_write_one() {
        let text = "mmap 12 3 rw private fixed # three pages\n\nmmap null 12289b r shared file+2 to s1\n  \
                    mprotect s1+1 1 rw,growsdown\nfork\nmremap 12 3 3 maymove fixed 40\n";
        let steps = parse(text).unwrap();
        assert_eq!(steps.len(), 5);
        assert_eq!(steps[2].to_string(), "mprotect s1+1 1 rw,growsdown");
        assert_eq!(steps[1].to_string(), "mmap null 12289b r shared file+2 to s1");
    }

    /// Checks that a fault names its line, for a word too few, too many, or unknown.
    #[test]
    fn a_fault_names_its_line() {
        for bad in ["munmap 3", "munmap 3 4 5", "mummap 3 4", "touch 3 1 look", "mmap 1 1 rw fixed", "brk -1"]
        {
            let error = parse(&format!("fork\n{bad}")).unwrap_err();
            assert_eq!(error, format!("line 2: not understood: {bad}"));
        }
    }
}
