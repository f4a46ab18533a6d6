//! /proc/PID/mountinfo (proc_pid_mountinfo(5)): which file system is on which device.

use super::decimal;
use vmatlas_event::Dev;

/// One mount: its device, and the name of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The device that its files have in maps; some file systems (btrfs) give theirs other numbers.
    pub dev: Dev,
    /// The type of file system: `ext4`, `tmpfs`.
    pub fs: &'a [u8],
}

/// Reads the lines; malformed ones are passed over.
pub fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut words = line.split(|b| *b == b' ');
        let dev = words.nth(2)?;
        let colon = dev.iter().position(|b| *b == b':')?;
        let number = |bytes: &[u8]| u32::try_from(decimal(bytes)?).ok();
        let dev = Dev { major: number(dev.get(..colon)?)?, minor: number(dev.get(colon + 1..)?)? };
        // Optional fields end with a dash; a path never is one, because mount points begin with a slash.
        words.by_ref().find(|word| *word == b"-")?;
        Some(Mount { dev, fs: words.next()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that devices and types are found behind any number of optional fields, and that nonsense is passed over.
    #[test]
    fn types_are_found() {
        let text = b"22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
            30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw\n\
            nonsense\n31 22 0:x / / rw - tmpfs a b\n32 22 0:9 / / rw\n";
        let found: Vec<_> = mounts(text).map(|m| (m.dev.major, m.dev.minor, m.fs)).collect();
        assert_eq!(found, [(254, 0, &b"ext4"[..]), (0, 26, b"tmpfs")]);
        assert!(mounts(&std::fs::read("/proc/self/mountinfo").unwrap()).any(|m| m.fs == b"proc"));
    }
}
