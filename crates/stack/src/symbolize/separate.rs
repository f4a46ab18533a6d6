//! Debug information in files of its own, and where they are looked for (gdb's manual, "Separate Debug Files").

use super::elf::Elf;
use super::error::Note;
use super::input::Input;
use super::limits::{Budget, Limits};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vmatlas_event::{Module, Name};

/// What follows the name in `.gnu_debuglink`, and in `.gnu_debugaltlink`.
struct Link {
    name: PathBuf,
    rest: Vec<u8>,
    /// Where the rest begins.
    at: usize,
}

/// A section that begins with a file's name.
fn link(elf: &Elf, section: &str, budget: &Budget) -> Option<Link> {
    const MAX_LINK: u64 = 4096 + 64;
    let section = elf.section(section).filter(|s| s.size <= MAX_LINK)?;
    let bytes = elf.data(section, budget).ok()?;
    let end = bytes.iter().position(|b| *b == 0)?;
    let name = bytes.get(..end).filter(|name| !name.is_empty())?;
    let rest = bytes.get(end + 1..)?.to_vec();
    Some(Link { name: PathBuf::from(OsStr::from_bytes(name)), rest, at: end + 1 })
}

/// `DIR/.build-id/xx/yyyy.debug` below each folder of debug files.
fn by_build_id<'a>(build_id: &[u8], debug: &'a [PathBuf]) -> impl Iterator<Item = PathBuf> + use<'a> {
    let hex: String = build_id.iter().map(|b| format!("{b:02x}")).collect();
    let tail = hex.split_at_checked(2).filter(|(_, rest)| !rest.is_empty());
    let tail = tail.map(|(first, rest)| format!(".build-id/{first}/{rest}.debug"));
    debug.iter().filter_map(move |folder| Some(folder.join(tail.as_deref()?)))
}

/// A debug file, and whether it is the module's, which the notes tell otherwise.
pub(super) struct Found {
    /// Its headers.
    pub(super) elf: Elf,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// The debug file of a module: by its build ID, else by the name and checksum that the file `main` has of it.
pub(super) fn debug_file(
    module: &Module,
    main: Option<(&Elf, &Path)>,
    debug: &[PathBuf],
    limits: &Limits,
    budget: &Budget,
    notes: &mut Vec<Note>,
) -> Option<Found> {
    let build_id = &module.build_id;
    for path in by_build_id(build_id, debug) {
        let Some(elf) = open(&path, limits) else { continue };
        if elf.build_id().as_ref() == Some(build_id) {
            return Some(Found { elf, path });
        }
        notes.push(Note::WrongDebugFile(path));
    }
    let (main, main_path) = main?;
    let link = link(main, ".gnu_debuglink", budget)?;
    // The checksum stands at the next multiple of four. A name is a name, not a way to other folders.
    let crc = link.rest.get(link.at.next_multiple_of(4) - link.at..)?.first_chunk::<4>()?;
    let name = link.name.file_name().filter(|name| *name == link.name)?;
    let folder = main_path.parent()?;
    // Folders of debug files mirror those of the program's own file system.
    let own = module.name.as_ref().map_or(&[][..], Name::as_bytes);
    let below_root = Path::new(OsStr::from_bytes(own)).parent()?.strip_prefix("/").ok()?;
    let beside = [folder.join(name), folder.join(".debug").join(name)];
    let paths = beside.into_iter().chain(debug.iter().map(|d| d.join(below_root).join(name)));
    for path in paths.filter(|path| path != main_path) {
        let Some(elf) = open(&path, limits) else { continue };
        let same_id = elf.build_id().is_none_or(|id| build_id.is_empty() || id == *build_id);
        if same_id && elf.input().crc32() == Ok(u32::from_le_bytes(*crc)) {
            return Some(Found { elf, path });
        }
        notes.push(Note::WrongDebugFile(path));
    }
    None
}

/// The supplementary file (dwz) that the debug information of `elf` at `path` refers to, by its build ID.
pub(super) fn supplement(
    elf: &Elf,
    path: &Path,
    debug: &[PathBuf],
    limits: &Limits,
    budget: &Budget,
    notes: &mut Vec<Note>,
) -> Option<Elf> {
    let link = link(elf, ".gnu_debugaltlink", budget)?;
    // An absolute name is looked for as it is, a relative one from the file that has it.
    let named = path.parent().map(|folder| folder.join(&link.name));
    let found = named.into_iter().chain(by_build_id(&link.rest, debug)).find_map(|path| {
        open(&path, limits).filter(|elf| elf.build_id().as_deref() == Some(link.rest.as_slice()))
    });
    if found.is_none() {
        notes.push(Note::NoSupplement(link.name));
    }
    found
}

fn open(path: &Path, limits: &Limits) -> Option<Elf> {
    Elf::parse(Input::open(path, limits).ok()?).ok()
}
