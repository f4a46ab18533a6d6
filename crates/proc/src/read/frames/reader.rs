//! The reads themselves: neighbouring pages, and neighbouring frames, with one read(2).

use super::{Frame, FrameCost, NoFrames, Page};
use crate::parse::kpageflags::KpageFlags;
use crate::parse::pagemap;
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use crate::read::walk::Budget;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use vmatlas_event::Addr;
use vmatlas_sys::PageRun;

/// One read of pagemap covers at most so many pages.
const PAGES: u64 = 4096;
/// Entries of pages that nobody wants are read too when a further read would cost more.
const PAGE_GAP: u64 = 256;
/// The same for frames.
const FRAME_GAP: u64 = 16;
/// One read of /proc/kpage* covers at most so many frames.
const FRAMES: u64 = 8192;
const ENTRY: u64 = 8;

pub(super) struct Reader<'a> {
    process: &'a Process,
    budget: Budget,
    page: u64,
    pagemap: File,
    path: PathBuf,
    /// /proc/kpagecount and /proc/kpageflags.
    kpage: Option<[File; 2]>,
    why: Option<NoFrames>,
    /// Time held since the last pause.
    held: Duration,
    pending: Vec<PageRun>,
    pages: Vec<Page>,
    /// Frame numbers with the places of their pages in `pages`.
    frames: Vec<(u64, usize)>,
    buffer: Vec<u8>,
    cost: FrameCost,
}

impl<'a> Reader<'a> {
    pub(super) fn open(process: &'a Process, budget: Budget) -> Result<Reader<'a>, ProcError> {
        let open = |name| File::open(process.root().path().join(name));
        let kpage = open("kpagecount").and_then(|count| Ok([count, open("kpageflags")?]));
        let why = kpage.as_ref().err().map(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => NoFrames::Hidden,
            _ => NoFrames::Unknown,
        });
        Ok(Reader {
            process,
            budget,
            page: vmatlas_sys::page_size().bytes(),
            pagemap: process.open_file("pagemap")?,
            path: process.path_of("pagemap"),
            kpage: kpage.ok(),
            why,
            held: Duration::ZERO,
            pending: Vec::new(),
            pages: Vec::new(),
            frames: Vec::new(),
            buffer: Vec::new(),
            cost: FrameCost::default(),
        })
    }

    pub(super) fn cost(&self) -> FrameCost {
        self.cost
    }

    pub(super) fn why(&self) -> Option<NoFrames> {
        self.why
    }

    /// Takes a run, which must not lie before an earlier one.
    pub(super) fn add(&mut self, run: PageRun, found: &mut dyn FnMut(&Page)) -> Result<(), ProcError> {
        let (most, gap) = (PAGES * self.page, PAGE_GAP * self.page);
        let mut start = run.start;
        while start < run.end {
            if let (Some(first), Some(last)) = (self.pending.first(), self.pending.last())
                && (start.saturating_sub(last.end) > gap || start.saturating_sub(first.start) >= most)
            {
                self.flush(found)?;
            }
            let first = self.pending.first().map_or(start, |first| first.start);
            let end = run.end.min(first.saturating_add(most));
            self.pending.push(PageRun { start, end, traits: run.traits });
            start = end.max(start + self.page);
        }
        Ok(())
    }

    /// Reads all that was taken and gives it away.
    pub(super) fn flush(&mut self, found: &mut dyn FnMut(&Page)) -> Result<(), ProcError> {
        let since = Instant::now();
        self.read_entries()?;
        self.read_frames();
        self.cost.time += since.elapsed();
        self.pages.iter().for_each(found);
        Ok(())
    }

    fn read_entries(&mut self) -> Result<(), ProcError> {
        self.pages.clear();
        self.frames.clear();
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let start = first.start;
        let want = (last.end.saturating_sub(start) / self.page * ENTRY) as usize;
        self.buffer.resize(want.max(self.buffer.len()), 0);
        let since = Instant::now();
        let bytes = self
            .pagemap
            .read_at(self.buffer.get_mut(..want).unwrap_or_default(), start / self.page * ENTRY)
            .map_err(|error| self.process.io(&self.path, error))?;
        let took = since.elapsed();
        self.cost.pagemap_reads += 1;
        self.cost.bytes += bytes as u64;
        self.cost.longest_hold = self.cost.longest_hold.max(took);
        self.held += took;
        if self.held >= self.budget.hold / 4 {
            vmatlas_sys::sleep(self.budget.pause);
            self.held = Duration::ZERO;
        }
        if bytes == 0 && want > 0 {
            return Err(ProcError::new(ErrorKind::Gone, self.process.pid()));
        }
        let entries = self.buffer.get(..bytes).unwrap_or_default();
        for run in self.pending.drain(..) {
            let skip = (run.start.saturating_sub(start) / self.page) as usize;
            let count = ((run.end - run.start) / self.page) as usize;
            let part = entries.get(skip * ENTRY as usize..).unwrap_or_default();
            for (entry, addr) in
                pagemap::entries(part).take(count).zip((run.start..).step_by(self.page as usize))
            {
                match entry.pfn() {
                    Some(pfn) => self.frames.push((pfn, self.pages.len())),
                    None if entry.present() => self.why = self.why.or(Some(NoFrames::Hidden)),
                    None => {}
                }
                self.pages.push(Page { addr: Addr(addr), traits: run.traits, entry, frame: None });
            }
        }
        Ok(())
    }

    fn read_frames(&mut self) {
        let Some([count, flags]) = &self.kpage else { return };
        self.frames.sort_unstable();
        let mut rest = self.frames.as_slice();
        while let Some((first, _)) = rest.first() {
            let joined = |pair: &[(u64, usize)]| match pair {
                [(a, _), (b, _)] => b - a <= FRAME_GAP && b - first < FRAMES,
                _ => false,
            };
            let len = 1 + rest.windows(2).take_while(|pair| joined(pair)).count();
            let (group, others) = rest.split_at(len);
            rest = others;
            let numbers = *first..group.last().map_or(*first, |(last, _)| *last) + 1;
            let counts = read_u64s(count, numbers.clone());
            let flags = read_u64s(flags, numbers.clone());
            self.cost.frame_reads += 2;
            self.cost.bytes += ENTRY * (counts.len() + flags.len()) as u64;
            let at = |list: &[u64], pfn: u64| list.get((pfn - numbers.start) as usize).copied();
            let mut head = KpageFlags::default();
            let mut seen = numbers.start;
            for (pfn, index) in group {
                // The frames between are looked at too: one of them may be the head.
                for flags in (seen..=*pfn).filter_map(|pfn| at(&flags, pfn)).map(KpageFlags) {
                    if !flags.compound_tail() {
                        head = flags;
                    }
                }
                seen = *pfn;
                if let (Some(mapcount), Some(flags), Some(page)) =
                    (at(&counts, *pfn), at(&flags, *pfn), self.pages.get_mut(*index))
                {
                    let flags = KpageFlags(flags).or_of_head(head);
                    page.frame = Some(Frame { pfn: *pfn, mapcount, flags });
                }
            }
        }
    }
}

/// Entries of these numbers; fewer where the file ends or a frame cannot be asked about.
fn read_u64s(file: &File, numbers: Range<u64>) -> Vec<u64> {
    let mut bytes = vec![0; ((numbers.end - numbers.start) * ENTRY) as usize];
    let read = numbers.start.checked_mul(ENTRY).map_or(Ok(0), |at| file.read_at(&mut bytes, at)).unwrap_or(0);
    let bytes = bytes.get(..read).unwrap_or_default();
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_ne_bytes(*chunk)).collect()
}
