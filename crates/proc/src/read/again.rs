//! The same map again and again: a text that reads as before is not parsed again.

use crate::read::error::ProcError;
use crate::read::process::Process;
use crate::read::snapshot::{Maps, parse_lines};
use rustc_hash::FxHashSet;
use std::fs::File;
use std::io::{self, Read};
use std::mem::take;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use vmatlas_event::{Name, Pid};

/// Reads the map of one process again and again. It keeps the text of the last reading, some 50 bytes for each VMA.
#[derive(Debug, Default)]
pub struct MapsAgain {
    names: FxHashSet<Name>,
    /// Room for the next text, and for a block of it.
    text: Vec<u8>,
    block: Vec<u8>,
    last: Option<(Vec<u8>, Arc<Maps>)>,
}

/// More than the kernel gives in a read, which is about one page.
const ROOM: usize = 64 * 1024;

impl MapsAgain {
    /// One with nothing remembered.
    pub fn new() -> MapsAgain {
        MapsAgain::default()
    }

    /// Reads the map; when it changed meanwhile (torn), once more, and gives the better reading.
    ///
    /// What reads as it did the last time is the same `Arc` as then.
    ///
    /// # Errors
    /// Those of [`MapsReader::read`](crate::MapsReader::read).
    pub fn read(&mut self, process: &Process) -> Result<Arc<Maps>, ProcError> {
        const TRIES: u32 = 3;
        let mut best = None::<Arc<Maps>>;
        for _ in 0..TRIES {
            let file = process.open_file("maps")?;
            let maps = self.read_file(process.pid(), &process.path_of("maps"), file)?;
            if maps.rows.is_empty() {
                return Err(process.why_empty());
            }
            let is_whole = maps.torn == 0;
            if best.as_ref().is_none_or(|best| maps.torn < best.torn) {
                best = Some(maps);
            }
            if is_whole {
                break;
            }
        }
        process.still_there()?;
        Ok(best.unwrap_or_default())
    }

    fn read_file(&mut self, pid: Pid, path: &Path, mut file: File) -> Result<Arc<Maps>, ProcError> {
        let start = Instant::now();
        let mut maps = Maps::default();
        let mut text = take(&mut self.text);
        text.clear();
        self.block.resize(ROOM, 0);
        // Each block is compared while it is near, and kept only from the first other byte on.
        let last = self.last.as_ref().map_or(&[][..], |(last, _)| last);
        let (mut same, mut is_same) = (0, true);
        loop {
            let n = match file.read(&mut self.block) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                answer => answer.map_err(|e| ProcError::io(pid, path, e))?,
            };
            maps.cost.calls += 1;
            if n == 0 {
                break;
            }
            maps.cost.bytes += n as u64;
            let block = self.block.get(..n).unwrap_or_default();
            if is_same && last.get(same..same + n) == Some(block) {
                same += n;
                continue;
            }
            if is_same {
                text.extend_from_slice(last.get(..same).unwrap_or_default());
                is_same = false;
            }
            text.extend_from_slice(block);
        }
        if is_same {
            if let Some((last, known)) = &self.last
                && last.len() == same
            {
                let known = known.clone();
                self.text = text;
                return Ok(known);
            }
            // It ends where the last one went on.
            text.extend_from_slice(last.get(..same).unwrap_or_default());
        }
        parse_lines(&text, &mut self.names, &mut maps).map_err(|e| ProcError::parse(pid, path, e))?;
        maps.cost.time = start.elapsed();
        let maps = Arc::new(maps);
        if let Some((last, _)) = self.last.replace((text, maps.clone())) {
            self.text = last;
        }
        Ok(maps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(reader: &mut MapsAgain, text: &[u8]) -> Result<Arc<Maps>, ProcError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        reader.read_file(Pid(1), Path::new("maps"), file)
    }

    /// Checks that only a text that is the same to its last byte is taken for the same, whichever came before.
    #[test]
    fn the_same_text_is_not_parsed_again() {
        let one = b"1000-2000 r--p 00000000 00:00 0 \n3000-9000 rw-p 00000000 00:00 0 \n";
        let longer = [&one[..], b"a000-b000 rw-p 00000000 00:00 0 \n"].concat();
        let other = b"1000-2000 r--p 00000000 00:00 0 \n3000-8000 rw-p 00000000 00:00 0 \n";
        let mut reader = MapsAgain::new();
        let mut last = read(&mut reader, one).unwrap();
        assert!(Arc::ptr_eq(&last, &read(&mut reader, one).unwrap()));
        for text in [&longer[..], one, other, one, &longer] {
            let maps = read(&mut reader, text).unwrap();
            assert!(!Arc::ptr_eq(&maps, &last));
            let mut fresh = Maps::default();
            parse_lines(text, &mut FxHashSet::default(), &mut fresh).unwrap();
            assert_eq!(maps.rows, fresh.rows);
            last = maps;
        }
        assert!(Arc::ptr_eq(&last, &read(&mut reader, &longer).unwrap()));
    }

    /// Checks that a text of many pages is read whole, and that nonsense is an error and forgets nothing.
    #[test]
    fn long_texts_and_nonsense() {
        let mut text = Vec::new();
        for page in 1..20_000u64 {
            writeln!(text, "{:x}000-{:x}000 rw-p 00000000 00:00 0 ", page * 2, page * 2 + 1).unwrap();
        }
        let mut reader = MapsAgain::new();
        let maps = read(&mut reader, &text).unwrap();
        assert_eq!((maps.rows.len(), maps.cost.bytes), (19_999, text.len() as u64));
        assert_eq!(read(&mut reader, b"nonsense\n").unwrap_err().kind(), crate::ErrorKind::Malformed);
        assert!(Arc::ptr_eq(&maps, &read(&mut reader, &text).unwrap()));
    }
}
