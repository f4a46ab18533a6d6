//! Waiting for children and for descriptors at once.

use super::{Mask, Wishes, change_mask, set_action, set_of, wait_for_one};
use crate::errno::check;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;
use vmatlas_event::Errno;

/// While it lives, the calling thread can wait for a child and for descriptors at once: SIGCHLD is blocked, and read from
/// a descriptor (signalfd(2)), so that none is lost between looking and waiting. What [`Wishes`] asks for wakes too.
///
/// A program is to be started before: it would inherit the mask.
#[derive(Debug)]
pub struct Ears {
    before: Mask,
    epoll: OwnedFd,
    /// Open as long as it is listened to.
    _signals: OwnedFd,
}

impl Ears {
    /// Begins it, for the calling thread; other threads must not take the signal (see [`shielded`](super::shielded)).
    ///
    /// # Errors
    /// EMFILE, ENOMEM; ENOSYS where the kernel has none of this.
    pub fn begin() -> Result<Ears, Errno> {
        let mut heard = Wishes::all();
        // SAFETY: an initialised set and a valid signal number.
        unsafe { libc::sigaddset(&mut heard, libc::SIGCHLD) };
        // SAFETY: an initialised set; -1 asks for a new descriptor.
        let signals = unsafe { libc::signalfd(-1, &raw const heard, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        let signals = check(signals.into())? as i32;
        // SAFETY: a descriptor that was just made for us.
        let signals = unsafe { OwnedFd::from_raw_fd(signals) };
        // SAFETY: takes a number.
        let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())? as i32;
        // SAFETY: as above.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        add(&epoll, signals.as_raw_fd())?;
        // Ignored, it would not be told; a blocked signal with its default action is.
        set_action(libc::SIGCHLD, false);
        let before = Mask(change_mask(libc::SIG_BLOCK, &set_of(&[libc::SIGCHLD])));
        Ok(Ears { before, epoll, _signals: signals })
    }

    /// Listens to a descriptor too, until it is closed.
    ///
    /// # Errors
    /// EPERM where it cannot be waited for, ENOMEM, ENOSPC.
    pub fn listen(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        add(&self.epoll, fd.as_raw_fd())
    }

    /// Waits until a child or a descriptor has something to tell, somebody has a wish, or the time is over.
    pub fn wait(&self, time: Duration) {
        let ms = time.as_nanos().div_ceil(1_000_000);
        let ms = i32::try_from(ms).unwrap_or(i32::MAX);
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for the one event that is asked for.
        unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, ms) };
        // It was heard; whoever it is about is asked for next.
        wait_for_one(&set_of(&[libc::SIGCHLD]), Duration::ZERO);
    }
}

fn add(epoll: &OwnedFd, fd: i32) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: the request reads one event, which `event` is.
    let ret = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    check(ret.into()).map(|_| ())
}

impl Drop for Ears {
    fn drop(&mut self) {
        change_mask(libc::SIG_SETMASK, &self.before.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Instant;

    /// Checks that a descriptor with something to read ends the wait, and that nothing else does before its time.
    #[test]
    fn a_descriptor_wakes() {
        let ears = Ears::begin().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        ears.listen(reader.as_fd()).unwrap();
        ears.wait(Duration::from_millis(1));
        writer.write_all(b"x").unwrap();
        let start = Instant::now();
        ears.wait(Duration::from_secs(600));
        assert!(start.elapsed() < Duration::from_secs(300));
    }
}
