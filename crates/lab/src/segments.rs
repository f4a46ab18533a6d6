//! SysV shared memory segments, as /proc/sysvipc/shm lists them (proc_sysvipc(5)).

use std::io;

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its number.
    pub(crate) id: i32,
    /// The process that made it.
    pub(crate) maker: i32,
    /// How often it is attached now.
    pub(crate) attached: u64,
    /// Who made it.
    pub(crate) user: u32,
    /// What it takes of memory, in bytes; in swap counts too.
    pub(crate) takes: u64,
}

/// All that there are.
///
/// # Errors
/// When the list cannot be read: this kernel may have none.
pub(crate) fn all() -> io::Result<Vec<Segment>> {
    Ok(parse(&std::fs::read_to_string("/proc/sysvipc/shm")?))
}

/// Columns are found by their titles, since they came over time.
fn parse(text: &str) -> Vec<Segment> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or("").split_whitespace().collect();
    let segment = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |title: &str| words.get(titles.iter().position(|t| *t == title)?).copied();
        let number = |title: &str| word(title)?.parse::<u64>().ok();
        Some(Segment {
            id: word("shmid")?.parse().ok()?,
            maker: word("cpid")?.parse().ok()?,
            attached: number("nattch")?,
            user: word("cuid")?.parse().ok()?,
            takes: number("rss").unwrap_or(0) + number("swap").unwrap_or(0),
        })
    };
    lines.filter_map(segment).collect()
}

/// Those that this process has made for us.
pub(crate) fn made_by(pid: i32) -> io::Result<Vec<Segment>> {
    let user = vmatlas_sys::effective_uid();
    Ok(all()?.into_iter().filter(|segment| segment.maker == pid && segment.user == user).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that columns are found wherever they are, and that a broken line is none.
    #[test]
    fn the_list_is_read() {
        let text = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
            atime      dtime      ctime                   rss                  swap\n         0    3538947  1600    \
            56  5668  5673      2 1 2 65534 65534 1795535082 1795535083 1795535082  4096  8192\nbroken 1\n";
        let segment = Segment { id: 3_538_947, maker: 5668, attached: 2, user: 65_534, takes: 12_288 };
        assert_eq!(parse(text), [segment]);
        assert_eq!(parse(""), []);
    }
}
