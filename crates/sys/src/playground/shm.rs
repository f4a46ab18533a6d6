//! A System V segment that cannot outlive its process.

use crate::errno::check;
use vmatlas_event::{Addr, Bytes, Errno};

/// A shared memory segment, attached once and marked for removal, so that the kernel removes it with its last user.
#[derive(Debug)]
pub struct Segment {
    id: i32,
    kept: Addr,
    len: Bytes,
}

impl Segment {
    /// Makes one of whole pages.
    ///
    /// # Errors
    /// ENOSPC when there are too many, else the kernel's error.
    pub fn new(len: Bytes) -> Result<Segment, Errno> {
        // SAFETY: shmget takes numbers.
        let id = check(i64::from(unsafe { libc::shmget(libc::IPC_PRIVATE, len.0 as usize, 0o600) }))? as i32;
        // SAFETY: the kernel chooses a free place.
        let kept = check(unsafe { libc::syscall(libc::SYS_shmat, id, 0, 0) });
        // SAFETY: IPC_RMID reads no argument.
        let removed = check(i64::from(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }));
        removed?;
        Ok(Segment { id, kept: Addr(kept? as u64), len })
    }

    /// Its id.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Its size.
    pub fn len(&self) -> Bytes {
        self.len
    }

    /// Never: a segment has at least a page.
    pub fn is_empty(&self) -> bool {
        false
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: attached by us alone; nobody has a reference into it.
        let _ = check(unsafe { libc::syscall(libc::SYS_shmdt, self.kept.0) });
    }
}
