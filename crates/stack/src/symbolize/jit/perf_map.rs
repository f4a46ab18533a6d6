//! Perf maps: a line `START SIZE NAME` for each piece of code, START and SIZE in hexadecimal.

use std::collections::BTreeMap;
use vmatlas_event::{Addr, Symbol};

/// The most bytes that are looked at; a Java server's map has some 10 MiB.
const MAX_BYTES: usize = 256 << 20;
/// The most pieces of code that are kept.
const MAX_PIECES: usize = 4_000_000;

/// A parsed perf map.
#[derive(Debug, Default)]
pub struct PerfMap {
    text: Vec<u8>,
    /// So much of the text was parsed: all but a line without its end.
    parsed: usize,
    /// By start: the end, and where in the text the name is.
    pieces: BTreeMap<u64, (u64, usize, usize)>,
    left_out: usize,
}

impl PerfMap {
    /// Parses the bytes of a map; of pieces that overlap, the later in the file counts, for code moves and memory is used
    /// again. Lines that are none of the format are counted and left out, a last line without its end is not taken yet: it
    /// may be half written.
    pub fn parse(bytes: &[u8]) -> PerfMap {
        let mut map = PerfMap::default();
        map.push(bytes);
        map
    }

    /// Takes what was written since; of a map of more than 256 MiB the rest is left out.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = MAX_BYTES.saturating_sub(self.text.len());
        self.text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let text = std::mem::take(&mut self.text);
        for line in text.get(self.parsed..).unwrap_or_default().split_inclusive(|b| *b == b'\n') {
            let Some(content) = line.strip_suffix(b"\n") else { break };
            match piece(content) {
                Some((start, end, name)) if self.pieces.len() < MAX_PIECES => {
                    self.put(start, (end, self.parsed + name, self.parsed + content.len()));
                }
                _ => self.left_out += 1,
            }
            self.parsed += line.len();
        }
        self.text = text;
    }

    /// So many bytes were taken: what is written after them is to be pushed.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// Whether no more is taken.
    pub fn is_full(&self) -> bool {
        self.text.len() >= MAX_BYTES
    }

    /// Puts a piece over what was there.
    fn put(&mut self, start: u64, piece: (u64, usize, usize)) {
        let end = piece.0;
        if let Some((&before, old)) = self.pieces.range_mut(..start).next_back()
            && old.0 > start
        {
            let rest = (end < old.0).then_some(*old);
            old.0 = start;
            debug_assert!(before < start);
            if let Some(rest) = rest {
                self.pieces.insert(end, rest);
            }
        }
        while let Some((&next, &old)) = self.pieces.range(start..end).next() {
            self.pieces.remove(&next);
            if old.0 > end {
                self.pieces.insert(end, old);
            }
        }
        self.pieces.insert(start, piece);
    }

    /// The function at an address of the process; for an address to return to, ask for the byte before it.
    pub fn name_at(&self, at: Addr) -> Option<Symbol> {
        let (_, (end, from, to)) = self.pieces.range(..=at.0).next_back()?;
        let name = self.text.get(*from..*to).filter(|_| at.0 < *end)?;
        Some(super::symbol(name))
    }

    /// How many pieces of code it knows.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many lines were left out.
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

/// Start, end and the place of the name in a line.
fn piece(line: &[u8]) -> Option<(u64, u64, usize)> {
    let mut fields = line.splitn(3, |b| *b == b' ');
    let (start, size, name) = (fields.next()?, fields.next()?, fields.next()?);
    let (start, size) = (hex(start)?, hex(size)?);
    let end = start.checked_add(size).filter(|end| *end > start && !name.is_empty())?;
    Some((start, end, line.len() - name.len()))
}

/// A hexadecimal number, with or without `0x` (old versions of mono and Java agents wrote it).
fn hex(digits: &[u8]) -> Option<u64> {
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(map: &PerfMap, at: u64) -> Option<String> {
        let function = map.name_at(Addr(at))?.function?;
        Some(String::from_utf8_lossy(function.as_bytes()).into_owned())
    }

    /// Checks that later pieces lie over earlier ones, which keep what is left of them on both sides.
    #[test]
    fn the_later_piece_counts() {
        let map =
            PerfMap::parse(b"1000 100 whole\n1020 10 inner\n10f0 20 tail\n1028 0 none\n0x2000 4 a b c\n");
        let told: Vec<_> =
            [0xfff, 0x1000, 0x101f, 0x1020, 0x102f, 0x1030, 0x10ef, 0x10f0, 0x110f, 0x1110, 0x2003]
                .map(|at| name(&map, at).unwrap_or_default())
                .to_vec();
        let wanted = ["", "whole", "whole", "inner", "inner", "whole", "whole", "tail", "tail", "", "a b c"];
        assert_eq!(told, wanted);
        assert_eq!((map.len(), map.left_out()), (5, 1));
    }

    /// Checks that a map which comes in pieces of any size is the whole one.
    #[test]
    fn pieces_of_a_file_join() {
        let text = b"1000 10 a\nnonsense\n1008 10 b c\n2000 1 d\n";
        let whole = PerfMap::parse(text);
        for size in 1..text.len() {
            let mut map = PerfMap::default();
            text.chunks(size).for_each(|piece| map.push(piece));
            assert_eq!(map.bytes(), text.len() as u64);
            assert_eq!((map.len(), map.left_out()), (whole.len(), whole.left_out()));
            for at in [0x1000, 0x1008, 0x1017, 0x1018, 0x2000] {
                assert_eq!(name(&map, at), name(&whole, at), "{size} {at:#x}");
            }
        }
    }

    /// Checks every byte against a plain list in which each line overwrites what was there.
    #[test]
    fn pieces_are_those_of_a_plain_list() {
        let mut state = 12345u64;
        let mut text = String::new();
        let mut plain = [None; 256];
        for number in 0..200 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (start, size) = ((state >> 33) as usize % 200, 1 + (state >> 50) as usize % 50);
            text.push_str(&format!("{start:x} {size:x} f{number}\n"));
            for slot in plain.iter_mut().skip(start).take(size) {
                *slot = Some(number);
            }
        }
        let map = PerfMap::parse(text.as_bytes());
        for (at, number) in plain.iter().enumerate() {
            assert_eq!(name(&map, at as u64), number.map(|n: i32| format!("f{n}")), "at {at:#x}");
        }
    }

    /// Checks lines that are no pieces of code.
    #[test]
    fn malformed_lines_are_left_out() {
        for line in
            ["", "\n", "10\n", "10 10\n", "10 10 \n", "x 10 f\n", "10 -1 f\n", "10 10 half", "+1 1 f\n"]
        {
            assert_eq!(PerfMap::parse(line.as_bytes()).len(), 0, "{line:?}");
        }
        assert_eq!(PerfMap::parse(b"ffffffffffffffff 2 f\n1 ffffffffffffffff g\n").len(), 0);
        assert_eq!(PerfMap::parse(b"1 fffffffffffffffe \xff\xfe\n").len(), 1);
    }
}
