//! What happens inside the subject: malloc(3) and free(3), here and in a second thread.

use crate::command::Reply;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError, mpsc};
use vmatlas_event::Errno;
use vmatlas_sys::workbench::Workbench;

/// What the own routine does: its first argument.
pub(super) const SMALL: u64 = 0;
pub(super) const MALLOC: u64 = 1;
pub(super) const FREE: u64 = 2;
pub(super) const THREAD: u64 = 3;

/// Places for blocks that are to be freed again.
pub(super) const SLOTS: u64 = 9;

/// The blocks in these places. An array, so that keeping them allocates nothing.
static KEPT: Mutex<[Vec<u8>; SLOTS as usize]> = Mutex::new([const { Vec::new() }; SLOTS as usize]);

const ENOSYS: Errno = Errno(38);
const ENOMEM: Errno = Errno(12);
const EAGAIN: Errno = Errno(11);

/// Rust's own allocator is the C library's malloc: what a `Vec` of bytes reserves is one malloc(3), dropping it one free(3).
///
/// `SMALL, COUNT, SIZE`: so many blocks that are never freed; the answer is the address of the last. `MALLOC, SLOT, SIZE,
/// FILL`: one that is kept, and filled where FILL is not 0. `FREE, SLOT`. `THREAD, _, SIZE`: one in a new thread.
pub(super) fn own(_: &Workbench, [what, slot, size, fill, _]: [u64; 5]) -> Reply {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut keep = |block| kept.get_mut(slot as usize).map(|place| *place = block).ok_or(ENOSYS);
    match what {
        SMALL => (0..slot).try_fold(0, |_, _| malloc(size).map(|block| address(block.leak()))),
        MALLOC => {
            let mut block = malloc(size)?;
            if fill > 0 {
                block.resize(size as usize, 1);
            }
            let at = address(&block);
            keep(block).map(|()| at)
        }
        FREE => keep(Vec::new()).map(|()| 0),
        THREAD => in_thread(size),
        _ => Err(ENOSYS),
    }
}

fn malloc(size: u64) -> Result<Vec<u8>, Errno> {
    let mut block = Vec::new();
    block.try_reserve_exact(size as usize).map_err(|_| ENOMEM)?;
    // Nobody uses it: the compiler could leave it out.
    Ok(black_box(block))
}

fn address(block: &[u8]) -> u64 {
    block.as_ptr().addr() as u64
}

/// malloc(3) in a new thread, which then waits for the end of the process.
fn in_thread(size: u64) -> Reply {
    const STACK: usize = 256 << 10;
    let (tell, told) = mpsc::channel();
    let body = move || {
        let block = malloc(size);
        let _ = tell.send(block.as_deref().map(address).map_err(|errno| *errno));
        loop {
            std::thread::park();
        }
    };
    std::thread::Builder::new().stack_size(STACK).spawn(body).map_err(|_| EAGAIN)?;
    told.recv().unwrap_or(Err(EAGAIN))
}
