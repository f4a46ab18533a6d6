//! From text to steps.

use super::super::step::{Length, Place, Source, Step, StepKind};
use super::words::{
    ADVICES, LOCK_FLAGS, MAP_FLAGS, MAP_TYPES, NAMES, POLICIES, PROTS, REMAP_FIXED, REMAP_FLAGS, SHM_FLAGS,
    SOURCES, WRITE, WRITE_PROTECT, Words,
};

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
        if let Some(page) = word.strip_prefix('b') {
            return page.parse().ok().map(Place::Break);
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
