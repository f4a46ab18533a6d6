//! Waiting for a descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether one of `events` (or an error) is there within `timeout` milliseconds; -1 waits without end.
fn poll(fd: BorrowedFd<'_>, events: i16, timeout: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, timeout) == 1 }
}

/// Whether reading would not wait.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll(fd, libc::POLLIN, 0)
}

/// Waits until writing does not wait any more, an error or a signal comes: then try again.
pub fn wait_writable(fd: BorrowedFd<'_>) {
    poll(fd, libc::POLLOUT, -1);
}

/// Waits until reading does not wait any more, a signal comes, or the time is over.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, time: std::time::Duration) {
    poll(fd, libc::POLLIN, i32::try_from(time.as_millis()).unwrap_or(i32::MAX));
}
