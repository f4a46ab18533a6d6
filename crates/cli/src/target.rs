//! Which process is meant, and what to say when it cannot be read.

use crate::context::Context;
use crate::texts;
use anyhow::{Result, anyhow};
use std::ffi::OsStr;
use std::path::Path;
use vmatlas_event::Pid;
use vmatlas_proc::{ErrorKind, ProcError, ProcRoot, Process};

/// Opens the process that a PID or a name means.
pub(crate) fn open(root: &ProcRoot, target: &OsStr, context: &Context) -> Result<Process> {
    let lang = context.lang;
    let text = target.to_string_lossy();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number {
        let pid = text.parse().map_err(|_| anyhow!(texts::BAD_PID.fill(lang, &[("pid", &text)])))?;
        return by_pid(root, Pid(pid), context);
    }
    // A path wins over a name.
    if is_path(target) {
        return Err(anyhow!(texts::PATH_NOT_YET.fill(lang, &[("path", &text)])));
    }
    let found = root.find_by_name(target.as_encoded_bytes())?;
    match found.as_slice() {
        [] => Err(anyhow!(texts::NO_NAME.fill(lang, &[("name", &text)]))),
        [one] => by_pid(root, one.pid, context),
        several => {
            const MOST: usize = 20;
            let mut pids: Vec<String> = several.iter().take(MOST).map(|c| c.pid.to_string()).collect();
            if several.len() > MOST {
                pids.push("…".to_owned());
            }
            let values: [(&str, &dyn std::fmt::Display); 3] =
                [("name", &text), ("n", &several.len()), ("pids", &pids.join(" "))];
            Err(anyhow!(texts::AMBIGUOUS.fill(lang, &values)))
        }
    }
}

/// Whether it names a file or folder rather than a process: a number is always a PID (`./1234` is a path).
pub(crate) fn is_path(target: &OsStr) -> bool {
    let bytes = target.as_encoded_bytes();
    let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    !is_number && (bytes.contains(&b'/') || Path::new(target).exists())
}

/// Opens a process by its number.
pub(crate) fn by_pid(root: &ProcRoot, pid: Pid, context: &Context) -> Result<Process> {
    if pid.0 <= 0 {
        return Err(anyhow!(texts::BAD_PID.fill(context.lang, &[("pid", &pid)])));
    }
    root.process(pid).map_err(|error| explain(&error, context))
}

/// One line that says which of the ways to fail it was, and what to do.
pub(crate) fn explain(error: &ProcError, context: &Context) -> anyhow::Error {
    let text = match error.kind() {
        ErrorKind::NoSuchProcess => texts::NO_PROCESS,
        ErrorKind::Gone => texts::GONE,
        ErrorKind::Zombie => texts::ZOMBIE,
        ErrorKind::KernelThread => texts::KERNEL_THREAD,
        ErrorKind::TimedOut => texts::TIMED_OUT,
        ErrorKind::NotPermitted if vmatlas_sys::effective_uid() == 0 => texts::NOT_PERMITTED_ROOT,
        ErrorKind::NotPermitted => texts::NOT_PERMITTED,
        ErrorKind::Unsupported | ErrorKind::Malformed | ErrorKind::Io => {
            let values: [(&str, &dyn std::fmt::Display); 2] = [("pid", &error.pid()), ("why", error)];
            return anyhow!(texts::CANNOT_READ.fill(context.lang, &values));
        }
    };
    anyhow!(text.fill(context.lang, &[("pid", &error.pid())]))
}
