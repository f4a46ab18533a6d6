//! What programs are played on: the playground, the files they map, the segment they attach.

use super::generate::FILE_PAGES;
use super::play::Play;
use super::step::{PAGE, Source, Step};
use super::{Counts, Without, program};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use vmatlas_event::{Addr, Bytes, Errno};
use vmatlas_sys::playground::{ChildStack, Playground, Segment, memfd, perf_counter, seal_against_writing};

/// Far from where the kernel puts anything by itself.
const AT: Addr = Addr(0x20_0000_0000);
/// Much larger than what steps use, so that a huge page rounds up inside. Unmapped addresses cost nothing.
const LEN: Bytes = Bytes(4 << 30);
const SEGMENT_PAGES: u64 = 4;

/// Why nothing can be played.
#[derive(Debug)]
pub enum StageError {
    /// A call failed.
    Call(Errno),
    /// A file could not be opened.
    File(io::Error),
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageError::Call(errno) => f.write_str(&vmatlas_sys::errno_text(*errno)),
            StageError::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StageError {}

impl From<Errno> for StageError {
    fn from(errno: Errno) -> StageError {
        StageError::Call(errno)
    }
}

impl From<io::Error> for StageError {
    fn from(error: io::Error) -> StageError {
        StageError::File(error)
    }
}

/// The files that steps map.
#[derive(Debug)]
struct Files {
    file: OwnedFd,
    again: File,
    dup: OwnedFd,
    read_only: File,
    sealed: OwnedFd,
    zero: File,
    perf: Option<OwnedFd>,
    /// Where touching writes what it read.
    sink: OwnedFd,
}

impl Files {
    fn open() -> Result<Files, StageError> {
        let file = memfd(Bytes(FILE_PAGES * PAGE))?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let sealed = memfd(Bytes(FILE_PAGES * PAGE))?;
        seal_against_writing(&sealed)?;
        let both = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        Ok(Files {
            again: both(&path)?,
            dup: file.try_clone()?,
            read_only: File::open(&path)?,
            sealed,
            zero: both("/dev/zero")?,
            // Not permitted everywhere; mapping it fails with EBADF then.
            perf: perf_counter().ok(),
            sink: memfd(Bytes(PAGE))?,
            file,
        })
    }
}

/// Everything a program needs; only one can be in a process.
#[derive(Debug)]
pub struct Stage {
    ground: Playground,
    files: Files,
    segment: Segment,
    counts: Counts,
    /// Children that a signal ended, which none should.
    killed: AtomicU64,
}

/// Uses more of this thread's stack than playing will, so that it does not grow while somebody compares.
fn warm_stack() {
    const DEEP: usize = 64 * 1024;
    std::hint::black_box([1u8; DEEP]);
}

impl Stage {
    /// Opens and claims it all.
    ///
    /// # Errors
    /// What cannot be had.
    pub fn new() -> Result<Stage, StageError> {
        Ok(Stage {
            ground: Playground::claim(AT, LEN)?,
            files: Files::open()?,
            segment: Segment::new(Bytes(SEGMENT_PAGES * PAGE))?,
            counts: Counts::new()?,
            killed: AtomicU64::new(0),
        })
    }

    /// What was done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many children a signal ended.
    pub fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    /// Plays one program.
    pub fn play(&self, steps: &[Step]) {
        let mut stack = ChildStack::new();
        warm_stack();
        self.ground.take_break();
        let mut play = Play::new(self, &mut stack);
        play.reset();
        play.all(steps);
        play.reset();
    }

    /// Plays epochs from `from` on, each with one program for each thread, until `go_on` says no.
    ///
    /// The threads play one epoch at the same time and wait for each other before the next.
    pub fn play_together(
        &self,
        seed: u64,
        from: u64,
        threads: u64,
        without: &Without,
        go_on: &(impl Fn(u64) -> bool + Sync),
    ) {
        let barrier = Barrier::new(threads as usize);
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 0..threads {
                let (barrier, ended) = (&barrier, &ended);
                scope.spawn(move || {
                    let mut stack = ChildStack::new();
                    let mut play = Play::new(self, &mut stack);
                    for epoch in from.. {
                        let steps = program(seed, epoch, thread, without);
                        // Nobody allocates while another plays: see the playground.
                        if barrier.wait().is_leader() {
                            ended.store(!go_on(epoch), Ordering::Relaxed);
                            self.ground.take_break();
                            play.reset_ground();
                        }
                        barrier.wait();
                        if ended.load(Ordering::Relaxed) {
                            break;
                        }
                        play.all(&steps);
                        play.reset_own();
                        if barrier.wait().is_leader() {
                            play.reset_ground();
                        }
                        barrier.wait();
                    }
                });
            }
        });
    }

    pub(super) fn ground(&self) -> &Playground {
        &self.ground
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(super) fn child_was_killed(&self) {
        self.killed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn zeros(&self) -> BorrowedFd<'_> {
        self.files.zero.as_fd()
    }

    pub(super) fn sink(&self) -> BorrowedFd<'_> {
        self.files.sink.as_fd()
    }

    /// The descriptor to map, -1 for none.
    pub(super) fn fd(&self, source: Source) -> i32 {
        let files = &self.files;
        match source {
            Source::Anonymous => -1,
            Source::File => files.file.as_raw_fd(),
            Source::Again => files.again.as_raw_fd(),
            Source::Dup => files.dup.as_raw_fd(),
            Source::ReadOnly => files.read_only.as_raw_fd(),
            Source::Sealed => files.sealed.as_raw_fd(),
            Source::Zero => files.zero.as_raw_fd(),
            Source::Perf => files.perf.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        }
    }
}
