//! The modules of all address spaces: which file a row is of, opened once for each version of it.
//!
//! The rows are those of the live model at the moment of the stop; nothing has to be told when a library goes or comes.

use crate::Rows;
use crate::debug_frame::DebugFrame;
use crate::elf::Elf;
use crate::image::{Blocks, Image};
use crate::open::{FileKey, first_row, open};
use crate::rule::Rule;
use crate::tables::Index;
use gimli::UnwindContext;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use vmatlas_event::{Addr, Dev, MmId, Module, Pid, VmaRow};
use vmatlas_sys::process_vm_read;

/// So many modules are told apart; then code of others is memory of no known module.
const MODULES: usize = 1 << 16;
/// So many files are kept open.
const OPEN: usize = 64;
/// So many bytes of tables without an index are kept.
const DEBUG_FRAMES: usize = 128 << 20;
/// A vdso is not larger.
const VDSO: u64 = 64 * 1024;

/// Which row of which address space: a file there, or the vdso (0:0, 0).
type Seen = (MmId, Dev, u64);

/// A thread that stands still, and its map.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) mm: MmId,
    /// Any task of it.
    pub(crate) pid: Pid,
    pub(crate) rows: &'a dyn Rows,
}

/// All modules that code of a stack was found in.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    loaded: Vec<Loaded>,
    by_file: FxHashMap<FileKey, u32>,
    by_bytes: FxHashMap<Arc<[u8]>, u32>,
    seen: FxHashMap<Seen, Option<u32>>,
    blocks: Blocks,
    context: UnwindContext<usize>,
    /// Modules whose file is open, the latest last.
    open: Vec<u32>,
    /// Bytes of all tables of `.debug_frame`.
    debug_frames: usize,
}

#[derive(Debug)]
struct Loaded {
    module: Module,
    /// `None`: no ELF file, or nobody could read its headers.
    elf: Option<Elf>,
    /// `None`: not open now.
    image: Option<Image>,
    index: Index,
    /// `None`: no place of it needed them yet.
    debug_frame: Option<Option<DebugFrame>>,
    /// Which version of the file it is, where it can be opened again.
    key: Option<FileKey>,
}

impl Modules {
    /// The module of a row that can be executed, with the address of the file's own for `addr`.
    pub(crate) fn place(&mut self, here: Here<'_>, row: &VmaRow, addr: u64) -> Option<(u32, u64)> {
        let is_vdso = row.special() == Some(b"vdso");
        if !row.has_file() && !is_vdso {
            return None;
        }
        let seen = (here.mm, row.dev, row.inode);
        let number = match self.seen.get(&seen) {
            Some(number) => *number,
            None => {
                let number = if is_vdso { self.vdso(here, row) } else { self.file(here, row) };
                self.seen.insert(seen, number);
                number
            }
        }?;
        let offset = row.offset.wrapping_add(addr.wrapping_sub(row.range.start().0));
        let elf = self.loaded.get(number as usize)?.elf.as_ref();
        Some((number, elf.and_then(|elf| elf.svma_of(offset)).unwrap_or(offset)))
    }

    /// What is known of a module.
    pub(crate) fn module(&self, number: u32) -> Option<&Module> {
        self.loaded.get(number as usize).map(|loaded| &loaded.module)
    }

    /// The files that are open now, as /proc has them for this very process.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&Module, PathBuf)> {
        self.loaded.iter().filter_map(|loaded| match &loaded.image {
            Some(Image::File(file)) => {
                Some((&loaded.module, PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))))
            }
            _ => None,
        })
    }

    /// The modules from a number on.
    pub(crate) fn since(&self, number: usize) -> impl Iterator<Item = &Module> {
        self.loaded.get(number..).unwrap_or_default().iter().map(|loaded| &loaded.module)
    }

    /// Whether a place belongs to the first instructions of a program, or of its loader.
    pub(crate) fn is_start(&self, number: u32, svma: u64) -> bool {
        let elf = self.loaded.get(number as usize).and_then(|loaded| loaded.elf.as_ref());
        elf.is_some_and(|elf| elf.is_start(svma))
    }

    /// The rule for an address of the file's own; `row` is one of the file's, to open it again.
    pub(crate) fn rule(&mut self, here: Here<'_>, number: u32, row: &VmaRow, svma: u64) -> Rule {
        self.reopen(here, number, row);
        let Modules { loaded, blocks, context, debug_frames, .. } = self;
        let Some(Loaded { elf: Some(elf), image: Some(image), index, debug_frame, .. }) =
            loaded.get_mut(number as usize)
        else {
            return Rule::Missing;
        };
        let read = &mut |at, buf: &mut [u8]| read_svma(blocks, number, elf, image, here.pid, at, buf);
        match index.rule(svma, context, read) {
            Rule::Missing => {}
            rule => return rule,
        }
        // Not loaded, so it is in the file alone.
        let Image::File(_) = image else { return Rule::Missing };
        let tables = debug_frame.get_or_insert_with(|| {
            let found = DebugFrame::of(&mut |at, buf| blocks.read(number, image, here.pid, at, buf))?;
            let sum = debug_frames.saturating_add(found.size());
            (sum <= DEBUG_FRAMES).then(|| *debug_frames = sum)?;
            Some(found)
        });
        tables.as_ref().map_or(Rule::Missing, |tables| tables.rule(svma, context))
    }

    /// Whether tables of `.debug_frame` were needed, as Go's are.
    pub(crate) fn has_debug_frame(&self, number: u32) -> bool {
        let loaded = self.loaded.get(number as usize);
        loaded.is_some_and(|loaded| matches!(loaded.debug_frame, Some(Some(_))))
    }

    /// Bytes of a module's code.
    pub(crate) fn code(
        &mut self,
        here: Here<'_>,
        number: u32,
        row: &VmaRow,
        svma: u64,
        buf: &mut [u8],
    ) -> bool {
        self.reopen(here, number, row);
        let Modules { loaded, blocks, .. } = self;
        let Some(Loaded { elf: Some(elf), image: Some(image), .. }) = loaded.get(number as usize) else {
            return false;
        };
        read_svma(blocks, number, elf, image, here.pid, svma, buf)
    }

    /// An address space is no more.
    pub(crate) fn forget(&mut self, mm: MmId) {
        self.seen.retain(|(of, ..), _| *of != mm);
    }

    fn file(&mut self, here: Here<'_>, row: &VmaRow) -> Option<u32> {
        let opened = open(here.pid, row, here.rows);
        if let Some((_, key)) = &opened
            && let Some(number) = self.by_file.get(key)
        {
            return Some(*number);
        }
        let mut module =
            Module { name: row.name.clone(), build_id: Vec::new(), dev: Some(row.dev), inode: row.inode };
        let (elf, image, key) = match opened {
            Some((file, key)) => {
                let image = Image::File(file);
                let mut read = |at, buf: &mut [u8]| self.blocks.read(u32::MAX, &image, here.pid, at, buf);
                let elf = Elf::read(true, &mut read);
                self.blocks.forget(u32::MAX);
                (elf, Some(image), Some(key))
            }
            None => {
                let (elf, image) = in_memory(here, row).unzip();
                (elf, image, None)
            }
        };
        if let Some(elf) = &elf {
            module.build_id.clone_from(&elf.build_id);
        }
        let number =
            self.add(here, Loaded { module, elf, image, index: Index::None, debug_frame: None, key })?;
        if let Some(key) = key {
            self.by_file.insert(key, number);
            self.used(number);
        }
        Some(number)
    }

    fn vdso(&mut self, here: Here<'_>, row: &VmaRow) -> Option<u32> {
        let mut bytes = vec![0; usize::try_from(row.range.len().0.min(VDSO)).ok()?];
        let len = process_vm_read(here.pid, row.range.start(), &mut bytes).ok()?;
        bytes.truncate(len);
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(number) = self.by_bytes.get(&bytes) {
            return Some(*number);
        }
        let image = Image::Bytes(Arc::clone(&bytes));
        let elf = Elf::read(false, &mut |at, buf| self.blocks.read(u32::MAX, &image, here.pid, at, buf));
        let build_id = elf.as_ref().map(|elf| elf.build_id.clone()).unwrap_or_default();
        let module = Module { name: row.name.clone(), build_id, dev: None, inode: 0 };
        let loaded =
            Loaded { module, elf, image: Some(image), index: Index::None, debug_frame: None, key: None };
        let number = self.add(here, loaded)?;
        self.by_bytes.insert(bytes, number);
        Some(number)
    }

    fn add(&mut self, here: Here<'_>, mut loaded: Loaded) -> Option<u32> {
        let number = u32::try_from(self.loaded.len()).ok()?;
        if self.loaded.len() >= MODULES {
            return None;
        }
        if let (Some(elf), Some(image)) = (&loaded.elf, &loaded.image) {
            let blocks = &mut self.blocks;
            let mut read = |at, buf: &mut [u8]| read_svma(blocks, number, elf, image, here.pid, at, buf);
            loaded.index = Index::new(elf, &mut read);
        }
        self.loaded.push(loaded);
        Some(number)
    }

    /// Opens the file of a module again, if it was closed to make room.
    fn reopen(&mut self, here: Here<'_>, number: u32, row: &VmaRow) {
        let Some(loaded) = self.loaded.get_mut(number as usize) else { return };
        let Some(key) = loaded.key else { return };
        if loaded.image.is_none() {
            // Another version by now: its bytes are not these.
            let same = |(file, found): (File, FileKey)| (found == key).then_some(Image::File(file));
            loaded.image = open(here.pid, row, here.rows).and_then(same);
        }
        self.used(number);
    }

    /// Keeps count of open files.
    fn used(&mut self, number: u32) {
        if self.open.last() == Some(&number) {
            return;
        }
        self.open.retain(|open| *open != number);
        self.open.push(number);
        if self.open.len() > OPEN {
            let oldest = self.open.remove(0);
            if let Some(loaded) = self.loaded.get_mut(oldest as usize) {
                loaded.image = None;
            }
        }
    }
}

fn read_svma(
    blocks: &mut Blocks,
    number: u32,
    elf: &Elf,
    image: &Image,
    pid: Pid,
    svma: u64,
    buf: &mut [u8],
) -> bool {
    let at = match image {
        Image::File(_) | Image::Bytes(_) => elf.offset_of(svma),
        // Only what the file says is loaded is read of the process.
        Image::Memory(bias) => elf.offset_of(svma).map(|_| bias.wrapping_add(svma)),
    };
    at.is_some_and(|at| blocks.read(number, image, pid, at, buf))
}

/// The headers of a file that cannot be opened, from where they are mapped.
fn in_memory(here: Here<'_>, row: &VmaRow) -> Option<(Elf, Image)> {
    let first = first_row(row, here.rows)?;
    let start = first.range.start().0;
    let mut read = |at: u64, buf: &mut [u8]| {
        let is_inside = at.checked_add(buf.len() as u64).is_some_and(|end| end <= first.range.len().0);
        is_inside && process_vm_read(here.pid, Addr(start + at), buf) == Ok(buf.len())
    };
    let elf = Elf::read(false, &mut read)?;
    let bias = start.wrapping_sub(elf.svma_of(0)?);
    Some((elf, Image::Memory(bias)))
}
