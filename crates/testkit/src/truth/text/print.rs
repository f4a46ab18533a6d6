//! From steps to text.

use super::super::step::{Length, PAGE, Place, Step};
use super::words::{
    ADVICES, LOCK_FLAGS, MAP_FLAGS, MAP_TYPE, MAP_TYPES, NAMES, POLICIES, PROTS, REMAP_FIXED, REMAP_FLAGS,
    SHM_FLAGS, SOURCES, WRITE, WRITE_PROTECT, Words,
};
use std::fmt::{self, Write};

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
            Place::Break(page) => write!(f, "b{page}"),
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
