//! The terminal.

use std::os::fd::{AsRawFd, BorrowedFd};

/// The terminal's size in characters, (columns, rows); `None` when it is no terminal or does not tell.
pub fn size(fd: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (ret == 0 && size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}
