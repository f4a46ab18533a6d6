//! All that is known of one module's names: its own tables and those of its debug files.

use super::error::{Flaw, NoNames, Note};
use super::input::Input;
use super::limits::{Budget, Limits};
use super::table::{Builder, Functions};
use super::{Folders, compressed, demangle, dwarf, elf::Elf, mapped, separate};
use std::path::Path;
use vmatlas_event::{Module, Name, Symbol};

/// A module, parsed.
pub(super) struct Image {
    functions: Functions,
    lines: Option<dwarf::Lines>,
    notes: Vec<Note>,
}

impl Image {
    /// Reads what names a module. Debug files found by the build ID serve where the module's own file is gone. `stack` is
    /// what debug information may use of the thread's stack; without it none is read.
    ///
    /// # Errors
    /// Why there is nothing. A flaw in one of several sources is a note.
    pub(super) fn load(
        module: &Module,
        folders: &Folders,
        limits: &Limits,
        stack: Option<usize>,
    ) -> Result<Image, NoNames> {
        let budget = Budget::new(limits);
        let mut notes = Vec::new();
        let main = mapped::open(module, folders, limits);
        let own = main.as_ref().ok().map(|(elf, path)| (elf, path.as_path()));
        let debug = match own {
            Some((elf, _)) if dwarf::has_lines(elf) => None,
            _ => separate::debug_file(module, own, &folders.debug, limits, &budget, &mut notes),
        };
        let debug = debug.as_ref().map(|found| (&found.elf, found.path.as_path()));
        if let Some((_, path)) = debug {
            notes.push(Note::DebugFile(path.to_owned()));
        }
        let files: Vec<(&Elf, &Path)> = own.into_iter().chain(debug).collect();
        if files.is_empty() {
            return Err(main.err().unwrap_or(NoNames::Gone));
        }
        let functions = functions(&files, limits, &budget, &mut notes);
        let with_lines = files.iter().find(|(elf, _)| dwarf::has_lines(elf));
        let lines = with_lines.zip(stack).and_then(|((elf, path), stack)| {
            let supplement = separate::supplement(elf, path, &folders.debug, limits, &budget, &mut notes);
            dwarf::Lines::load(elf, supplement.as_ref(), stack, &budget).unwrap_or_else(|flaw| {
                notes.push(Note::Unused(flaw));
                None
            })
        });
        Ok(Image { functions, lines, notes })
    }

    /// The functions at an address of the file, innermost first.
    ///
    /// # Errors
    /// [`NoNames::Stripped`], [`NoNames::NotCovered`].
    pub(super) fn names(&self, at: u64, limits: &Limits) -> Result<Vec<Symbol>, NoNames> {
        // Damage in a unit takes away its lines; the tables of symbols still name the function.
        let lines = self.lines.as_ref().and_then(|lines| lines.at(at, limits).ok());
        let mut names = lines.unwrap_or_default();
        let inner = names.last().and_then(|outermost| outermost.function.as_ref()).map(Name::as_bytes);
        let raw = self.functions.name_at(at, limits.name).filter(|raw| is_better_known(raw, inner));
        if let Some(raw) = raw {
            let function = Some(demangle::function(raw, limits.name));
            match names.last_mut() {
                Some(outermost) => outermost.function = function,
                None => names.push(Symbol { function, ..Symbol::default() }),
            }
        }
        match names.is_empty() {
            true if self.functions.is_empty() && self.lines.is_none() => Err(NoNames::Stripped),
            true => Err(NoNames::NotCovered),
            false => Ok(names),
        }
    }

    /// What was noticed while it was read.
    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Roughly the bytes it occupies.
    pub(super) fn size(&self) -> u64 {
        self.functions.size() + self.lines.as_ref().map_or(0, dwarf::Lines::size)
    }
}

/// Whether a symbol's name says more to people than the one in the debug information: that of the C library calls its
/// mmap `__GI___mmap64`. Mangled names are compared no further.
fn is_better_known(symbol: &[u8], by_lines: Option<&[u8]>) -> bool {
    let underscores = |name: &[u8]| name.iter().take_while(|b| **b == b'_').count();
    by_lines.is_none_or(|name| !symbol.starts_with(b"_Z") && underscores(symbol) < underscores(name))
}

fn functions(files: &[(&Elf, &Path)], limits: &Limits, budget: &Budget, notes: &mut Vec<Note>) -> Functions {
    let mut builder = Builder::default();
    for (elf, _) in files {
        for table in [".dynsym", ".symtab"] {
            if let Err(flaw) = builder.add(elf, table, limits, budget) {
                notes.push(Note::Unused(flaw));
            }
        }
        match mini(elf, limits, budget) {
            None => {}
            Some(Ok(inner)) => {
                if let Err(flaw) = builder.add(&inner, ".symtab", limits, budget) {
                    notes.push(Note::Unused(flaw));
                }
            }
            Some(Err(flaw)) => notes.push(Note::Unused(flaw)),
        }
    }
    builder.build()
}

/// The small ELF file inside `.gnu_debugdata` (gdb's manual, "MiniDebugInfo").
fn mini(elf: &Elf, limits: &Limits, budget: &Budget) -> Option<Result<Elf, Flaw>> {
    const NAME: &str = ".gnu_debugdata";
    /// That of a library of 100 MiB has about 5.
    const MOST: u64 = 256 << 20;
    let section = elf.section(NAME)?;
    let inner = elf
        .data(section, budget)
        .and_then(|packed| compressed::xz(NAME, &packed, MOST.min(limits.section), budget))
        .and_then(|bytes| Elf::parse(Input::of_bytes(bytes)));
    Some(inner)
}
