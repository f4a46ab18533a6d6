//! What the map as a whole tells: which files hold code, which file is the program, which runtimes are there.

use super::Evidence;
use rustc_hash::FxHashMap;
use vmatlas_event::{Addr, Dev, Prot, Sharing, VmaRow};

/// Which file stands behind a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileKey<'a> {
    /// By device and inode, as in a live map.
    Id(Dev, u64),
    /// By path alone: a core file's NT_FILE note has no more.
    Path(&'a [u8]),
}

impl<'a> FileKey<'a> {
    /// `None` for a row without a file. The kernel begins the name of a VMA without one with `[`, so a path is a file.
    pub(super) fn of(row: &'a VmaRow) -> Option<FileKey<'a>> {
        if row.has_file() {
            Some(FileKey::Id(row.dev, row.inode))
        } else {
            row.name_bytes().starts_with(b"/").then(|| FileKey::Path(row.name_bytes()))
        }
    }
}

/// How a file is mapped executable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code {
    /// Privately, as a loader does.
    pub(super) private: bool,
    /// Shared, as a JIT does that keeps a second, writable view.
    pub(super) shared: bool,
}

/// What the map as a whole tells.
pub(super) struct Facts<'a> {
    /// Files with executable mappings.
    pub(super) code: FxHashMap<FileKey<'a>, Code>,
    /// The program's file: as told, or the lowest image where nothing was told.
    pub(super) program: Option<FileKey<'a>>,
    /// Whether the program's file was told.
    pub(super) told: bool,
    /// No row lies above 4 GiB.
    pub(super) narrow: bool,
    /// A row lies between 64 TiB and the kernel's half: the kernel places memory from the top of 47 bits or more.
    pub(super) wide: bool,
    pub(super) jvm: bool,
    pub(super) v8: bool,
    pub(super) python: bool,
    /// jemalloc, tcmalloc or mimalloc as a library; linked in they leave no file to see.
    pub(super) allocator: bool,
    pub(super) mimalloc: bool,
    /// OpenBLAS, as numpy and scipy load it.
    pub(super) openblas: bool,
    /// The map of a core file: gcore(1) writes what cannot be accessed as readable.
    pub(super) core: bool,
}

impl<'a> Facts<'a> {
    /// What no row tells.
    pub(super) fn empty() -> Facts<'a> {
        Facts {
            code: FxHashMap::default(),
            program: None,
            told: false,
            narrow: true,
            wide: false,
            jvm: false,
            v8: false,
            python: false,
            allocator: false,
            mimalloc: false,
            openblas: false,
            core: false,
        }
    }

    pub(super) fn gather(rows: &'a [VmaRow], evidence: &Evidence) -> Facts<'a> {
        let mut facts = Facts::empty();
        facts.core = evidence.unlabelled.is_some();
        let told = evidence.exe.map(|(dev, inode)| FileKey::Id(dev, inode));
        let mut lowest = None;
        for row in rows {
            // [vsyscall] is shown to 64-bit tasks only and lies at the very top.
            facts.narrow &= row.range.end() <= Addr(1 << 32);
            facts.wide |= (1 << 46..1 << 63).contains(&row.range.start().0);
            let Some(key) = FileKey::of(row) else { continue };
            // stat(2) and maps can disagree on the device (btrfs subvolumes, overlayfs), so the path counts too.
            let same_path = !evidence.exe_path.is_empty() && row.name_bytes() == evidence.exe_path;
            if !facts.told && (told == Some(key) || same_path) {
                facts.program = Some(key);
                facts.told = true;
            }
            if !row.prot.has(Prot::EXEC) {
                continue;
            }
            let private = row.sharing == Sharing::Private;
            if private && lowest.is_none() {
                lowest = Some(key);
            }
            let code = facts.code.entry(key).or_default();
            let first_seen = !(code.private || code.shared);
            code.private |= private;
            code.shared |= !private;
            if first_seen {
                facts.runtime(base_name(row.name_bytes()));
            }
        }
        facts.program = facts.program.or(lowest);
        facts
    }

    /// Notes the runtime that a file of this name belongs to.
    pub(super) fn runtime(&mut self, name: &[u8]) {
        let begins = |prefixes: &[&[u8]]| prefixes.iter().any(|p| name.starts_with(p));
        self.jvm |= name == b"libjvm.so";
        self.v8 |=
            matches!(name, b"node" | b"nodejs" | b"electron" | b"chrome" | b"chromium" | b"deno" | b"d8")
                || begins(&[b"libnode.so", b"libv8.so"]);
        self.python |= begins(&[b"libpython", b"python3", b"python2"]) || name == b"python";
        self.mimalloc |= begins(&[b"libmimalloc"]);
        // numpy brings its own: libscipy_openblas64_-....so.
        self.openblas |= begins(&[b"libopenblas", b"libscipy_openblas"]);
        self.allocator |= is_allocator(name);
    }

    /// Whether a row is address space that is only kept.
    pub(super) fn is_reserve(&self, row: &VmaRow) -> bool {
        row.prot == Prot::NONE || (self.core && row.prot == Prot::READ)
    }

    /// Whether this file is mapped executable, and how.
    pub(super) fn code(&self, key: FileKey<'_>) -> Code {
        self.code.get(&key).copied().unwrap_or_default()
    }
}

/// Whether a library of that name replaces malloc.
pub(super) fn is_allocator(name: &[u8]) -> bool {
    [&b"libjemalloc"[..], b"libtcmalloc", b"libmimalloc"].iter().any(|p| name.starts_with(p))
}

/// The last part of a path, without the ` (deleted)` that a package upgrade leaves.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}
