//! The kernel's own words: a second reader of /proc/PID/maps, written for plainness, that shares no code with ours.

use std::fs;
use std::io;
use vmatlas_event::Pid;

/// One line of maps, each column as it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapsLine {
    /// The first address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// Four letters, such as `rw-p`.
    pub perms: String,
    /// The offset in the file in bytes.
    pub offset: u64,
    /// Major and minor number in hexadecimal, such as `fe:00`.
    pub dev: String,
    /// The inode, 0 without a file.
    pub inode: u64,
    /// The rest of the line with the kernel's escapes left as they are; empty when there is none.
    pub name: Vec<u8>,
    /// The whole line without its end.
    pub raw: Vec<u8>,
}

/// The lines of a process's maps.
///
/// The map of a running process changes while it is read, also by the reading when it is our own.
///
/// # Errors
/// When the file cannot be read, or holds a line that is none.
pub fn maps(pid: Pid) -> io::Result<Vec<MapsLine>> {
    parse(&fs::read(format!("/proc/{pid}/maps"))?)
}

/// The lines of a saved maps text.
///
/// # Errors
/// InvalidData with the line that is none.
pub fn parse(text: &[u8]) -> io::Result<Vec<MapsLine>> {
    let bad = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, format!("no line of maps: {line:?}"))
    };
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| parse_line(line).ok_or_else(|| bad(line))).collect()
}

fn parse_line(line: &[u8]) -> Option<MapsLine> {
    // Five columns end at one space each; then come spaces up to the name, which may hold spaces of its own.
    let mut columns = line.splitn(6, |b| *b == b' ');
    let mut column = || std::str::from_utf8(columns.next()?).ok();
    let (start, end) = column()?.split_once('-')?;
    let perms = column()?.to_owned();
    let offset = column()?;
    let dev = column()?.to_owned();
    let inode = column()?.parse().ok()?;
    let rest = columns.next().unwrap_or_default();
    let name_at = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
    if perms.len() != 4 || !dev.contains(':') {
        return None;
    }
    Some(MapsLine {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        perms,
        offset: u64::from_str_radix(offset, 16).ok()?,
        dev,
        inode,
        name: rest[name_at..].to_vec(),
        raw: line.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tracee, wait_until};
    use std::process::Command;
    use std::time::Duration;

    /// Checks every column of a line with a file, spaces in its name included.
    #[test]
    fn a_line_is_read_column_by_column() {
        let text =
            b"7f0000001000-7f0000003000 r-xp 00002000 fe:00 1234                       /a b/c (deleted)\n";
        let lines = parse(text).unwrap();
        let [line] = &lines[..] else { panic!("one line") };
        assert_eq!((line.start, line.end), (0x7f00_0000_1000, 0x7f00_0000_3000));
        assert_eq!((line.perms.as_str(), line.offset), ("r-xp", 0x2000));
        assert_eq!((line.dev.as_str(), line.inode), ("fe:00", 1234));
        assert_eq!(line.name, b"/a b/c (deleted)");
        assert_eq!(line.raw, text[..text.len() - 1]);
    }

    /// Checks that an anonymous line, which ends with a space, has no name.
    #[test]
    fn an_anonymous_line_has_no_name() {
        let lines = parse(b"00400000-00401000 rw-p 00000000 00:00 0 \n").unwrap();
        assert_eq!(lines[0].name, b"");
    }

    /// Checks that what is no line of maps is refused.
    #[test]
    fn malformed_lines_are_refused() {
        for bad in [
            "x",
            "1000-2000",
            "1000 rw-p 0 00:00 0",
            "1000-2000 rw- 0 00:00 0",
            "1000-2000 rw-p g 00:00 0",
            "1000-2000 rw-p 0 0000 0",
            "1000-2000 rw-p 0 00:00 x",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Checks that the map of a stopped program, which nobody changes while it is read, is in order and without overlap.
    #[test]
    fn a_stopped_map_is_in_order() {
        const SIGSTOP: i32 = 19;
        let program = Tracee::start(Command::new("sleep").arg("60")).unwrap();
        program.signal(SIGSTOP).unwrap();
        let stat = format!("/proc/{}/stat", program.pid());
        let is_stopped = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "));
        assert!(wait_until(is_stopped, Duration::from_secs(30)), "never stopped");
        let lines = maps(program.pid()).unwrap();
        assert!(lines.iter().all(|l| l.start < l.end));
        assert!(lines.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(lines.iter().any(|l| l.name == b"[stack]"));
    }
}
