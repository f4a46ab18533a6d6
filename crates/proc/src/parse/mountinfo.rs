//! /proc/PID/mountinfo (proc_pid_mountinfo(5)): what is mounted where.

use super::decimal;
use vmatlas_event::Dev;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique while it is mounted.
    pub id: u64,
    /// The device that its files have in maps; some file systems (btrfs) give theirs other numbers.
    pub dev: Dev,
    /// The folder of the file system that is mounted; for cgroups, seen from our cgroup namespace.
    pub root: Vec<u8>,
    /// Where, as seen from the process whose file this is.
    pub mount_point: Vec<u8>,
    /// The file system's type (`ext4`, `cgroup2`).
    pub fs_type: Vec<u8>,
    /// The options of the file system (`rw,memory`).
    pub super_options: Vec<u8>,
}

impl Mount {
    /// Whether this is one of the file system's options.
    pub fn has_option(&self, name: &[u8]) -> bool {
        self.super_options.split(|b| *b == b',').any(|option| option == name)
    }

    /// The path, below the mount point, of something that the file system calls `path`; `None` when it lies outside of
    /// what is mounted.
    pub fn locate(&self, path: &[u8]) -> Option<Vec<u8>> {
        let root = self.root.strip_suffix(b"/").unwrap_or(&self.root);
        let rest = path.strip_prefix(root)?;
        if !rest.is_empty() && !rest.starts_with(b"/") {
            return None;
        }
        // What lies outside of our namespace is written with `..`: as a path that would lead elsewhere.
        if rest.split(|b| *b == b'/').any(|part| part == b"..") {
            return None;
        }
        let mut at = self.mount_point.clone();
        at.extend(rest);
        Some(at)
    }
}

/// Reads the lines; those that are none are passed over.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|b| *b == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; between the mount's options and
/// the dash come any number of fields.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let id = decimal(fields.next()?)?;
    let _parent = fields.next()?;
    let dev = device(fields.next()?)?;
    let (root, mount_point, _options) = (fields.next()?, fields.next()?, fields.next()?);
    fields.find(|field| *field == b"-")?;
    let (fs_type, _source) = (fields.next()?, fields.next()?);
    let super_options = fields.next().unwrap_or_default().to_vec();
    Some(Mount {
        id,
        dev,
        root: unescape(root),
        mount_point: unescape(mount_point),
        fs_type: unescape(fs_type),
        super_options,
    })
}

/// `98:0`, in decimal digits, other than in maps.
fn device(field: &[u8]) -> Option<Dev> {
    let colon = field.iter().position(|b| *b == b':')?;
    let number = |digits: Option<&[u8]>| u32::try_from(decimal(digits?)?).ok();
    Some(Dev { major: number(field.get(..colon))?, minor: number(field.get(colon + 1..))? })
}

/// Blank, tab, newline and backslash are written as a backslash and three octal digits (`mangle()` of the kernel's
/// fs/proc_namespace.c).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) = (first, after) {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks optional fields, escapes, and lines that are none.
    #[test]
    fn mounts_are_read() {
        let text = b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            36 35 98:0 /mnt\\0401 /a\\134b\\011c rw,noatime master:1 shared:2 - ext3 /dev/root rw\nnonsense\n1 2 3 - x\n\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].id, mounts[0].fs_type.as_slice()), (35, &b"cgroup"[..]));
        assert_eq!((mounts[0].dev.minor, mounts[1].dev.major), (32, 98));
        assert!(mounts[0].has_option(b"memory") && !mounts[0].has_option(b"mem"));
        assert_eq!(
            (mounts[1].root.as_slice(), mounts[1].mount_point.as_slice()),
            (&b"/mnt 1"[..], &b"/a\\b\tc"[..])
        );
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }

    /// Checks paths against the root of a mount: inside, outside, a name that only starts alike, other namespaces.
    #[test]
    fn paths_are_relative_to_the_mounts_root() {
        let mount = |root: &[u8]| Mount {
            id: 1,
            dev: Dev::default(),
            root: root.to_vec(),
            mount_point: b"/cg".to_vec(),
            fs_type: Vec::new(),
            super_options: Vec::new(),
        };
        let found =
            |root: &[u8], path: &[u8]| mount(root).locate(path).map(|p| String::from_utf8(p).unwrap());
        assert_eq!(found(b"/", b"/docker/abc").as_deref(), Some("/cg/docker/abc"));
        assert_eq!(found(b"/", b"/").as_deref(), Some("/cg/"));
        assert_eq!(found(b"/docker/abc", b"/docker/abc").as_deref(), Some("/cg"));
        assert_eq!(found(b"/docker/abc", b"/docker/abc/x").as_deref(), Some("/cg/x"));
        assert_eq!(found(b"/docker/abc", b"/docker/abcd"), None);
        assert_eq!(found(b"/docker/abc", b"/"), None);
        assert_eq!(found(b"/", b"/../other"), None);
        assert_eq!(found(b"/..", b"/../other").as_deref(), Some("/cg/other"));
        assert_eq!(found(b"/..", b"/../../other"), None);
    }
}
