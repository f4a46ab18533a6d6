//! Which file a command means, as execvp(3) decides it.

use crate::error::TraceError;
use crate::faults::FaultWatch;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use vmatlas_event::Errno;
use vmatlas_sys::privilege::User;

const EACCES: Errno = Errno(13);

/// A command to start.
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) path: CString,
    pub(crate) args: Vec<CString>,
    pub(crate) name: String,
    /// Descriptors to hand on: (ours, the number it shall have).
    pub fds: Vec<(i32, i32)>,
    /// Its environment; `None` hands on our own.
    pub env: Option<Vec<CString>>,
    /// The user to run it as; `None` for our own.
    pub user: Option<User>,
    /// Whether to share one processor with the program, which then sees one only.
    pub same_cpu: bool,
    /// Whether to hold all tasks after every memory call and have the model compared with the kernel.
    pub check: bool,
    /// Whether the sink is to walk the stack after every memory call.
    pub stacks: bool,
    /// Whether page faults are watched, and how.
    pub faults: Option<FaultWatch>,
    /// Whether the terminal's keys and job control belong to the program: for a tool run from a shell.
    pub is_job: bool,
}

impl Launch {
    /// Finds the program (in `search`, the value of PATH, unless its name has a slash).
    ///
    /// # Errors
    /// [`TraceError::NotFound`], [`TraceError::NotExecutable`], or [`TraceError::NulByte`].
    pub fn new(command: &[OsString], search: Option<&OsStr>) -> Result<Launch, TraceError> {
        let Some(program) = command.first() else {
            return Err(TraceError::NotFound { program: String::new() });
        };
        let name = program.to_string_lossy().into_owned();
        let path = find(program, search, &name)?;
        let c_string = |bytes: &OsStr| {
            CString::new(bytes.as_bytes()).map_err(|_| TraceError::NulByte { program: name.clone() })
        };
        let args = command.iter().map(|arg| c_string(arg)).collect::<Result<_, _>>()?;
        let path = c_string(path.as_os_str())?;
        Ok(Launch {
            path,
            args,
            name,
            fds: Vec::new(),
            env: None,
            user: None,
            same_cpu: false,
            check: false,
            stacks: false,
            faults: None,
            is_job: false,
        })
    }
}

fn find(program: &OsStr, search: Option<&OsStr>, name: &str) -> Result<PathBuf, TraceError> {
    if program.as_bytes().contains(&b'/') {
        // The kernel says what is wrong with it, better than a check here.
        return Ok(PathBuf::from(program));
    }
    let mut refused = None;
    // Without PATH, where confstr(_CS_PATH) looks.
    let search = search.unwrap_or(OsStr::new("/bin:/usr/bin"));
    for dir in search.as_bytes().split(|b| *b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let file = Path::new(&OsString::from_vec(dir.to_vec())).join(program);
        match fs::metadata(&file) {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => return Ok(file),
            Ok(meta) if meta.is_file() => refused = Some(EACCES),
            _ => {}
        }
    }
    match refused {
        Some(errno) => Err(TraceError::NotExecutable { program: name.to_owned(), errno }),
        None => Err(TraceError::NotFound { program: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(words: &[&str], search: Option<&str>) -> Result<Launch, TraceError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Launch::new(&words, search.map(OsStr::new))
    }

    /// Checks the search: in PATH, by slash, missing, there but not executable, nothing at all.
    #[test]
    fn programs_are_found_as_execvp_does() {
        let sh = launch(&["sh", "-c", ":"], Some("/nowhere:/bin")).unwrap();
        assert_eq!((sh.path.as_bytes(), sh.args.len()), (&b"/bin/sh"[..], 3));
        assert_eq!(launch(&["./sh"], None).unwrap().path.as_bytes(), b"./sh");
        assert!(matches!(launch(&["sh"], Some("/nowhere")), Err(TraceError::NotFound { .. })));
        assert!(matches!(launch(&["passwd"], Some("/etc")), Err(TraceError::NotExecutable { .. })));
        assert!(matches!(launch(&[], None), Err(TraceError::NotFound { .. })));
        assert!(matches!(launch(&["sh", "a\0b"], Some("/bin")), Err(TraceError::NulByte { .. })));
    }
}
