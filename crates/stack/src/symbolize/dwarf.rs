//! Functions, inlined calls and lines by DWARF.

use super::demangle;
use super::elf::Elf;
use super::error::Flaw;
use super::limits::{Budget, Limits};
use super::reader::{Part, Tank};
use addr2line::gimli::{AbbreviationsCacheStrategy, Dwarf, Reader, SectionId};
use addr2line::{Context, Location};
use std::rc::Rc;
use vmatlas_event::{Name, Symbol};

/// What addr2line reads; types, variables and macros are none of our business and may be the larger half.
const READ: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// The debug information of one file.
pub(super) struct Lines {
    context: Context<Part>,
    tank: Rc<Tank>,
    size: u64,
}

impl Lines {
    /// Reads the sections and the list of units; functions and lines of a unit are parsed when one is asked for.
    ///
    /// `stack` is how many bytes of its stack the calling thread can spare. `None` where there is no `.debug_info`.
    ///
    /// # Errors
    /// A [`Flaw`] of a section; [`Flaw::Damaged`] where the units cannot be listed.
    pub(super) fn load(
        elf: &Elf,
        supplement: Option<&Elf>,
        stack: usize,
        budget: &Budget,
    ) -> Result<Option<Lines>, Flaw> {
        if !has_lines(elf) {
            return Ok(None);
        }
        let tank = Rc::new(Tank::new(stack));
        let mut size = 0;
        let mut section = |elf: &Elf, id: SectionId| -> Result<Part, Flaw> {
            let bytes = match named(elf, id.name()).filter(|_| READ.contains(&id)) {
                Some(section) => elf.data(section, budget)?,
                None => Rc::from([]),
            };
            size += bytes.len() as u64;
            Ok(Part::new(bytes, Rc::clone(&tank)))
        };
        let mut dwarf = Dwarf::load(|id| section(elf, id))?;
        if let Some(supplement) = supplement {
            dwarf.load_sup(|id| section(supplement, id))?;
        }
        // Else each unit parses its abbreviations anew.
        dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::All);
        let context = Context::from_dwarf(dwarf).map_err(|_| damaged())?;
        if tank.is_empty() {
            return Err(damaged());
        }
        Ok(Some(Lines { context, tank, size }))
    }

    /// The functions at an address of the file, innermost first, the last one not inlined; empty where no unit covers
    /// it. The outermost may lack its name, where only the line is known.
    ///
    /// # Errors
    /// [`Flaw::Damaged`].
    pub(super) fn at(&self, at: u64, limits: &Limits) -> Result<Vec<Symbol>, Flaw> {
        // addr2line asks for [at, at + 1).
        if at == u64::MAX || self.tank.is_empty() {
            return Err(damaged());
        }
        let mut frames = self.context.find_frames(at).skip_all_loads().map_err(|_| damaged())?;
        let mut found: Vec<Symbol> = Vec::new();
        while let Some(frame) = frames.next().map_err(|_| damaged())? {
            let mut symbol = Symbol { is_inlined: true, ..Symbol::default() };
            if let Some(name) = &frame.function {
                let raw = name.name.to_slice().map_err(|_| damaged())?;
                symbol.function = (!raw.is_empty()).then(|| demangle::function(&raw, limits.name));
            }
            if let Some(location) = &frame.location {
                (symbol.file, symbol.line) = place(location, limits);
            }
            // The outermost always stays: it is what the linker knows.
            if found.len() >= limits.inlined {
                found.pop();
            }
            found.push(symbol);
        }
        if let Some(outermost) = found.last_mut() {
            outermost.is_inlined = false;
        }
        Ok(found)
    }

    /// Roughly the bytes it occupies, once some of it is parsed.
    pub(super) fn size(&self) -> u64 {
        self.size * 2
    }
}

/// Whether a file has debug information at all.
pub(super) fn has_lines(elf: &Elf) -> bool {
    named(elf, ".debug_info").is_some_and(|s| s.size > 0)
}

/// A section by its name, or by the name that older tools give it compressed.
fn named<'a>(elf: &'a Elf, name: &str) -> Option<&'a super::elf::Section> {
    elf.section(name).or_else(|| elf.section(&name.replacen(".debug_", ".zdebug_", 1)))
}

fn place(location: &Location<'_>, limits: &Limits) -> (Option<Name>, Option<u32>) {
    let file = location.file.filter(|f| !f.is_empty()).map(|f| demangle::plain(f.as_bytes(), limits.name));
    (file, location.line.filter(|line| *line != 0))
}

fn damaged() -> Flaw {
    Flaw::Damaged("the debug information".to_owned())
}
