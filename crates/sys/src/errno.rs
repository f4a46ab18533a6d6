//! Error numbers: taking them, naming them.

use std::ffi::CStr;
use vmatlas_event::Errno;

/// The error number the last failed call of this thread left.
pub fn last_errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Turns the -1 convention of libc into a `Result`.
pub(crate) fn check(ret: i64) -> Result<i64, Errno> {
    if ret < 0 { Err(last_errno()) } else { Ok(ret) }
}

/// The constant's name (`ENOMEM`); `None` for a number without one.
pub fn errno_name(errno: Errno) -> Option<&'static str> {
    unsafe extern "C" {
        fn strerrorname_np(errnum: libc::c_int) -> *const libc::c_char;
    }
    // SAFETY: strerrorname_np (glibc 2.32) takes any number and returns a static string or NULL.
    let name = unsafe { strerrorname_np(errno.0) };
    if name.is_null() {
        return None;
    }
    // SAFETY: not NULL, and static for the life of the process.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

/// The kernel's meaning of the number in English (`Cannot allocate memory`).
pub fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.0).to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a number has its name and meaning, and that nonsense has none.
    #[test]
    fn errors_have_names() {
        assert_eq!(errno_name(Errno(libc::ENOMEM)), Some("ENOMEM"));
        assert_eq!(errno_name(Errno(9999)), None);
        assert_eq!(errno_text(Errno(libc::EINVAL)), "Invalid argument");
    }
}
