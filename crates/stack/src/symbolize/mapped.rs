//! The file that was mapped: found by its path, proven by its build ID or its inode.

use super::Folders;
use super::elf::Elf;
use super::error::NoNames;
use super::input::Input;
use super::limits::Limits;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;
use vmatlas_event::{Module, Name};

/// Opens the file of a module below each of the roots, until one is the one that was mapped. The path is the one in the
/// mount namespace of the program, so `/proc/PID/root` is a root. What is held open comes last, for debug files are looked for
/// beside a path; it comes first where nothing but an inode tells the file.
///
/// # Errors
/// The [`NoNames`] that says most: that another file stands there counts more than that there is none.
pub(super) fn open(module: &Module, folders: &Folders, limits: &Limits) -> Result<(Elf, PathBuf), NoNames> {
    let name = module.name.as_ref().map_or(&[][..], Name::as_bytes);
    if module.inode == 0 && name == b"[vdso]" {
        return vdso(module);
    }
    if !name.starts_with(b"/") {
        return Err(NoNames::NoFile);
    }
    if module.build_id.is_empty() && (module.inode == 0 || module.dev.is_none()) {
        return Err(NoNames::Unproven);
    }
    // The kernel says so of a file without a name; the same build may be there again, or be called that.
    let without = name.strip_suffix(b" (deleted)");
    let names = [Some(name), without].into_iter().flatten().map(|n| Path::new(OsStr::from_bytes(n)));
    let in_roots = folders.roots.iter().flat_map(|root| names.clone().map(move |name| (root, name)));
    let in_roots = in_roots.map(|(root, name)| root.join(name.strip_prefix("/").unwrap_or(name)));
    let mut held = folders.held.iter().filter(|(of, _)| of == module).map(|(_, path)| path.clone());
    let first = if module.build_id.is_empty() { held.next() } else { None };
    let mut why = NoNames::Gone;
    for path in first.into_iter().chain(in_roots).chain(held) {
        match proven(module, &path, folders.unchanged_since, limits) {
            Ok(elf) => return Ok((elf, path)),
            Err(NoNames::Gone) => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

fn proven(
    module: &Module,
    path: &Path,
    unchanged_since: Option<SystemTime>,
    limits: &Limits,
) -> Result<Elf, NoNames> {
    let input = Input::open(path, limits)?;
    let is_it = || {
        let is_unchanged = unchanged_since.is_none_or(|since| input.changed().is_some_and(|at| at <= since));
        input.identity() == module.dev.map(|dev| (dev, module.inode)) && is_unchanged
    };
    if module.build_id.is_empty() && !is_it() {
        return Err(NoNames::Replaced);
    }
    let elf = Elf::parse(input).map_err(NoNames::Flaw)?;
    if !module.build_id.is_empty() && elf.build_id().as_deref() != Some(module.build_id.as_slice()) {
        return Err(NoNames::Replaced);
    }
    Ok(elf)
}

/// The vdso is the kernel's, so ours is the program's, where the build IDs say so.
fn vdso(module: &Module) -> Result<(Elf, PathBuf), NoNames> {
    let own = own_vdso().and_then(|bytes| Elf::parse(Input::of_bytes(bytes)).ok()).ok_or(NoNames::NoFile)?;
    if module.build_id.is_empty() {
        return Err(NoNames::Unproven);
    }
    if own.build_id().as_deref() != Some(module.build_id.as_slice()) {
        return Err(NoNames::Replaced);
    }
    Ok((own, PathBuf::from("[vdso]")))
}

fn own_vdso() -> Option<Rc<[u8]>> {
    const MOST: u64 = 1 << 20;
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let line = maps.split(|b| *b == b'\n').find(|line| line.ends_with(b"[vdso]"))?;
    let range = std::str::from_utf8(line.split(|b| *b == b' ').next()?).ok()?;
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16));
    let (start, end) = (start.ok()?, end.ok()?);
    let mut memory = File::open("/proc/self/mem").ok()?;
    memory.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    memory.take(end.checked_sub(start)?.min(MOST)).read_to_end(&mut bytes).ok()?;
    Some(bytes.into())
}
