//! Whether BPF programs can be used, asked cheaply: before each start, and by `vmatlas doctor`.

use super::{BpfError, OBJECT};
use crate::probe;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use vmatlas_event::Errno;

/// Where the kernel describes its structures.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// What is in the way of BPF programs, as far as a few system calls tell: loading them can still be refused.
pub fn obstacle() -> Option<BpfError> {
    let unsupported = |what: &str| Some(BpfError::Unsupported(what.to_owned()));
    if OBJECT.is_empty() {
        return unsupported("there are no BPF programs for this processor");
    }
    match probe::can_load_bpf() {
        Ok(()) => {}
        Err(Errno(libc::EPERM | libc::EACCES)) => return Some(BpfError::NotPermitted),
        Err(Errno(libc::ENOSYS)) => return unsupported("this kernel has no BPF"),
        Err(errno) => return Some(BpfError::Other(crate::errno_text(errno))),
    }
    if !is_outermost() {
        return unsupported(
            "BPF tells the host's PIDs, and here is a PID namespace (a container without --pid host)",
        );
    }
    btf_error(Path::new(BTF))
}

/// Why the kernel's types cannot be read, if so: their first two bytes are looked at.
fn btf_error(path: &Path) -> Option<BpfError> {
    /// `include/uapi/linux/btf.h`.
    const MAGIC: u16 = 0xeb9f;
    let mut magic = [0; 2];
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if u16::from_ne_bytes(magic) == MAGIC => None,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(BpfError::NotPermitted),
        // Not there, or another file where it should be.
        _ => Some(BpfError::NoBtf),
    }
}

/// Whether our PIDs are the kernel's own: in a PID namespace they are not.
fn is_outermost() -> bool {
    // PROC_PID_INIT_INO (include/linux/proc_ns.h).
    const FIRST: u64 = 0xefff_fffc;
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that types that are missing, empty or something else are no types.
    #[test]
    fn other_files_are_no_types() {
        for path in ["/nowhere/vmlinux", "/dev/null", "/proc/self/maps"] {
            assert_eq!(btf_error(Path::new(path)), Some(BpfError::NoBtf), "{path}");
        }
    }
}
