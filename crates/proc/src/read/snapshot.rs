//! The whole map, read from /proc/PID/maps.

use crate::parse::ParseError;
use crate::parse::maps::{MapsLine, Parsed, parse_at};
use crate::read::error::ProcError;
use crate::read::process::Process;
use rustc_hash::FxHashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};
use vmatlas_event::{AddrRange, Name, Pid, VmaRow};

/// What a read cost the reader; maps is read under per-VMA locks and does not stall the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCost {
    /// Wall time.
    pub time: Duration,
    /// Bytes of text.
    pub bytes: u64,
    /// read(2) calls.
    pub calls: u64,
}

/// One reading of a map.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    /// Every line, in the kernel's order.
    pub rows: Vec<VmaRow>,
    /// Lines that overlapped the one before: the map changed while it was read, and the later line was believed.
    pub torn: u64,
    /// What it cost.
    pub cost: ReadCost,
}

/// Reads maps again and again without allocating anew: names that were seen once are shared.
#[derive(Debug, Default)]
pub struct MapsReader {
    buffer: Vec<u8>,
    names: FxHashSet<Name>,
}

/// More than one page: the kernel gives about one page a read, but a single long line as a whole.
const BUFFER: usize = 64 * 1024;
/// The longest line there can be: a path may need a few pages, never a megabyte.
const LINE_LIMIT: usize = 1 << 20;

impl MapsReader {
    /// A reader with nothing remembered.
    pub fn new() -> MapsReader {
        MapsReader::default()
    }

    /// Reads the map of a process; when it changed meanwhile (torn), once more, and keeps the better reading.
    ///
    /// # Errors
    /// By kind. An empty map is an error that says why: zombie, kernel thread, gone.
    pub fn read(&mut self, process: &Process) -> Result<Maps, ProcError> {
        const TRIES: u32 = 3;
        let mut best: Option<Maps> = None;
        for _ in 0..TRIES {
            let mut maps = Maps::default();
            let file = process.open_file("maps")?;
            self.read_file(process.pid(), &process.path_of("maps"), file, &mut maps)?;
            if maps.rows.is_empty() {
                return Err(process.why_empty());
            }
            let done = maps.torn == 0;
            if best.as_ref().is_none_or(|b| maps.torn < b.torn) {
                best = Some(maps);
            }
            if done {
                break;
            }
        }
        process.still_there()?;
        Ok(best.unwrap_or_default())
    }

    /// Reads one open maps file to its end into `maps`, whose rows are replaced and whose space is used again.
    ///
    /// # Errors
    /// By kind; [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) quotes the line.
    pub fn read_file(
        &mut self,
        pid: Pid,
        path: &Path,
        mut file: File,
        maps: &mut Maps,
    ) -> Result<(), ProcError> {
        let start = Instant::now();
        maps.rows.clear();
        maps.torn = 0;
        maps.cost = ReadCost::default();
        self.buffer.resize(BUFFER, 0);
        let mut filled = 0;
        loop {
            let n = loop {
                match file.read(&mut self.buffer[filled..]) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    answer => break answer.map_err(|e| ProcError::io(pid, path, e))?,
                }
            };
            maps.cost.calls += 1;
            maps.cost.bytes += n as u64;
            if n == 0 {
                break;
            }
            filled += n;
            let at = parse_lines(&self.buffer[..filled], &mut self.names, maps)
                .map_err(|e| ProcError::parse(pid, path, e))?;
            self.buffer.copy_within(at..filled, 0);
            filled -= at;
            if filled == self.buffer.len() {
                if filled >= LINE_LIMIT {
                    let error = ParseError::new("a line under 1 MiB", &self.buffer[..80]);
                    return Err(ProcError::parse(pid, path, error));
                }
                self.buffer.resize(filled * 2, 0);
            }
        }
        maps.cost.time = start.elapsed();
        Ok(())
    }
}

/// Adds the whole lines of a text; where the first that is not whole begins.
pub(super) fn parse_lines(
    text: &[u8],
    names: &mut FxHashSet<Name>,
    maps: &mut Maps,
) -> Result<usize, ParseError> {
    let mut at = 0;
    while at < text.len() {
        match parse_at(text, at)? {
            Parsed::Line(line, next) => {
                push(maps, names, &line);
                at = next;
            }
            Parsed::Partial => break,
        }
    }
    Ok(at)
}

/// Adds a line; one that overlaps what is there takes the place of the overlap (the later line is the newer truth).
#[inline]
pub(crate) fn push(maps: &mut Maps, names: &mut FxHashSet<Name>, line: &MapsLine<'_>) {
    let previous = maps.rows.last();
    if previous.is_some_and(|p| p.range.end() > line.range.start()) {
        cut_overlap(maps, line);
    }
    let name = match line.name {
        [] => None,
        bytes => Some(match maps.rows.last().and_then(|row| row.name.as_ref()) {
            // Neighbours mostly belong to one file.
            Some(name) if name.as_bytes() == bytes => name.clone(),
            _ => intern(names, bytes),
        }),
    };
    maps.rows.push(line.row(name));
}

/// Takes what the line overlaps out of the rows before it.
#[cold]
fn cut_overlap(maps: &mut Maps, line: &MapsLine<'_>) {
    maps.torn += 1;
    while let Some(last) = maps.rows.pop() {
        if last.range.end() <= line.range.start() {
            maps.rows.push(last);
            break;
        }
        let head = AddrRange::new(last.range.start(), line.range.start()).filter(|head| !head.is_empty());
        if let Some(head) = head.and_then(|head| last.clip(head)) {
            maps.rows.push(head);
            break;
        }
    }
}

fn intern(names: &mut FxHashSet<Name>, bytes: &[u8]) -> Name {
    if let Some(name) = names.get(bytes) {
        return name.clone();
    }
    let name = Name::new(bytes);
    names.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProcRoot;
    use std::io::Write;
    use vmatlas_event::{Addr, Prot, Sharing};

    fn read_text(text: &[u8]) -> Result<Maps, ProcError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut maps = Maps::default();
        MapsReader::new().read_file(Pid(1), Path::new("maps"), file, &mut maps).map(|()| maps)
    }

    /// Checks that our own map is read, and that every row PROCMAP_QUERY knows is the same there (two readers, one fact).
    #[test]
    fn two_readers_agree_on_our_own_map() {
        use std::os::fd::AsFd;
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        // Reading changes our own heap now and then: one agreeing pass in a few is the claim.
        let agree = || -> Result<bool, vmatlas_event::Errno> {
            let maps = MapsReader::new().read(&me).unwrap();
            let file = me.open_file("maps").unwrap();
            for row in &maps.rows {
                let mode = vmatlas_sys::QueryMode::Covering;
                match vmatlas_sys::procmap_query(file.as_fd(), row.range.start(), mode)? {
                    Some(answer) if answer.row == *row => {}
                    None if row.special() == Some(b"vsyscall") => {}
                    _ => return Ok(false),
                }
            }
            Ok(!maps.rows.is_empty())
        };
        match (0..20).map(|_| agree()).find(|a| *a != Ok(false)) {
            Some(Ok(_)) => {}
            Some(Err(errno)) => eprintln!("SKIPPED: PROCMAP_QUERY gave error {}", errno.0),
            None => panic!("20 passes, none agreed"),
        }
    }

    /// Checks that lines that overlap are counted and the later one wins, as one was seen: [0..133) then [0..512).
    #[test]
    fn overlapping_lines_are_torn() {
        let text = b"1000-2000 r--p 00000000 00:00 0 \n3000-9000 rw-p 00000000 00:00 0 \n5000-c000 r--p 00000000 00:00 0 \n\
            5000-d000 rwxp 00000000 00:00 0 \n";
        let maps = read_text(text).unwrap();
        let ranges: Vec<_> = maps.rows.iter().map(|r| (r.range.start().0, r.range.end().0)).collect();
        assert_eq!(ranges, [(0x1000, 0x2000), (0x3000, 0x5000), (0x5000, 0xd000)]);
        assert_eq!(maps.torn, 2);
    }

    /// Checks that lines longer than the buffer, and names that repeat, are read whole and shared.
    #[test]
    fn long_lines_and_repeated_names() {
        let name = vec![b'n'; 200_000];
        let mut text = Vec::new();
        for i in 1..4u64 {
            text.extend_from_slice(
                format!("{i}0000-{i}1000 r--p 00000000 08:01 77{}", " ".repeat(100)).as_bytes(),
            );
            let column =
                73 - (text.len() - text.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1)) as i64;
            assert!(column < 0);
            text.extend_from_slice(&name);
            text.push(b'\n');
        }
        let maps = read_text(&text).unwrap();
        assert_eq!(maps.rows.len(), 3);
        let trailing = |row: &VmaRow| row.name_bytes().iter().filter(|b| **b == b'n').count();
        assert!(maps.rows.iter().all(|r| trailing(r) == 200_000 && r.sharing == Sharing::Private));
        assert_eq!(maps.rows[0].name_bytes().as_ptr(), maps.rows[2].name_bytes().as_ptr());
    }

    /// Checks that text which is no map is an error that quotes it.
    #[test]
    fn nonsense_is_quoted() {
        let error = read_text(b"1000-2000 r--p 00000000 00:00 0 \nnonsense\n").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Malformed);
        assert!(error.to_string().contains("nonsense"), "{error}");
        assert_eq!(read_text(b"").unwrap().rows, []);
        let row = &read_text(b"1000-2000 --xs 00000000 00:00 0 \n").unwrap().rows[0];
        assert_eq!((row.prot, row.range.start()), (Prot::EXEC, Addr(0x1000)));
    }
}
