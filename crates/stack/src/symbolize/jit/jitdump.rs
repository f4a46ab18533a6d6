//! jitdump: records of code that was loaded and moved, each with its time and, before it, its lines.

use crate::symbolize::demangle;
use crate::symbolize::ranges::Ranges;
use std::collections::HashMap;
use vmatlas_event::{Addr, MonoNs, Symbol};

const MAGIC: u32 = 0x4a69_5444;
const CODE_LOAD: u32 = 0;
const CODE_MOVE: u32 = 1;
const DEBUG_INFO: u32 = 2;
const CODE_CLOSE: u32 = 3;
/// Times are a processor's counter, not CLOCK_MONOTONIC.
const ARCH_TIMESTAMP: u64 = 1;
const MAX_RECORDS: usize = 4_000_000;
const MAX_LINES: usize = 8_000_000;

/// A parsed jitdump.
#[derive(Debug)]
pub struct JitDump {
    code: Ranges<Code>,
    lines: Vec<Line>,
    names: Vec<Box<[u8]>>,
    has_times: bool,
    is_cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Code {
    since: u64,
    start: u64,
    /// Where in the names, and where in the lines (first, count).
    name: usize,
    lines: (usize, usize),
}

/// Code from this distance of its function's start on is of this line.
#[derive(Clone, Copy, Debug)]
struct Line {
    at: u64,
    line: u32,
    file: usize,
}

/// Little-endian fields, taken one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number<const N: usize>(&mut self) -> Option<u64> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        let mut bytes = [0; 8];
        bytes.get_mut(..N)?.copy_from_slice(field);
        Some(u64::from_le_bytes(bytes))
    }

    fn half(&mut self) -> Option<u32> {
        u32::try_from(self.number::<4>()?).ok()
    }

    fn wide(&mut self) -> Option<u64> {
        self.number::<8>()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..)?;
        Some(text)
    }
}

/// While records are read.
#[derive(Default)]
struct Loading {
    code: Vec<(u64, u64, Code)>,
    /// The latest code of each index, which moves refer to.
    by_index: HashMap<u64, (Code, u64)>,
    lines: Vec<Line>,
    /// Lines tell of the code that is loaded next: its start, and where they are.
    pending: Option<(u64, (usize, usize))>,
    names: Vec<Box<[u8]>>,
    files: HashMap<Box<[u8]>, usize>,
}

impl JitDump {
    /// Parses the bytes of a dump, up to its end or to the first record that is cut or damaged; `None` where the header is
    /// not that of a dump of a little-endian machine.
    pub fn parse(bytes: &[u8]) -> Option<JitDump> {
        let mut head = Fields(bytes);
        let (magic, _version, size) = (head.half()?, head.half()?, head.half()?);
        let (_machine, _pad, _pid) = (head.half()?, head.half()?, head.half()?);
        let (_time, flags) = (head.wide()?, head.wide()?);
        if magic != MAGIC {
            return None;
        }
        let mut rest = bytes.get(usize::try_from(size).ok().filter(|size| *size >= 40)?..)?;
        let mut loading = Loading::default();
        let mut whole = 0;
        while let Some((record, after)) = next(rest) {
            let (kind, time, body) = record;
            if kind == CODE_CLOSE || whole >= MAX_RECORDS || loading.take(kind, time, body).is_none() {
                break;
            }
            rest = after;
            whole += 1;
        }
        let is_cut = !rest.is_empty() && next(rest).is_none_or(|((kind, ..), _)| kind != CODE_CLOSE);
        let Loading { mut code, lines, names, .. } = loading;
        // Of code with one start the latest is found first.
        code.sort_by_key(|(_, _, code)| code.since);
        let has_times = flags & ARCH_TIMESTAMP == 0;
        Some(JitDump { code: Ranges::new(code), lines, names, has_times, is_cut })
    }

    /// The function that was at an address of the process at a time (the latest there was, without one); for an address to
    /// return to, ask for the byte before it.
    pub fn name_at(&self, at: Addr, when: Option<MonoNs>) -> Option<Symbol> {
        let when = when.filter(|_| self.has_times).map_or(u64::MAX, |when| when.0);
        let code = self.code.covering(at.0).filter(|c| c.since <= when).max_by_key(|c| c.since)?;
        self.symbol(at, code)
    }

    /// The function that was at an address all the time between two moments; `None` where it was not one alone.
    pub fn name_between(&self, at: Addr, first: MonoNs, last: MonoNs) -> Option<Symbol> {
        let symbol = self.name_at(at, Some(first))?;
        let between = |c: &&Code| self.has_times && c.since > first.0 && c.since <= last.0;
        let mut others = self.code.covering(at.0).filter(between);
        others.all(|code| self.symbol(at, code).as_ref() == Some(&symbol)).then_some(symbol)
    }

    fn symbol(&self, at: Addr, code: &Code) -> Option<Symbol> {
        let mut symbol = super::symbol(self.names.get(code.name)?);
        let lines = self.lines.get(code.lines.0..code.lines.0 + code.lines.1).unwrap_or_default();
        let offset = at.0 - code.start;
        // The nearest before counts.
        let after = lines.partition_point(|line| line.at <= offset);
        if let Some(line) = after.checked_sub(1).and_then(|at| lines.get(at)) {
            symbol.file = self.names.get(line.file).map(|name| demangle::plain(name, super::MAX_NAME));
            symbol.line = (line.line != 0).then_some(line.line);
        }
        Some(symbol)
    }

    /// How many times code was loaded or moved.
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether no code was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something follows that was not understood: the file was cut, or is still being written.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

type Record<'a> = (u32, u64, &'a [u8]);

fn next(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut head = Fields(bytes);
    let (kind, size, time) = (head.half()?, head.half()?, head.wide()?);
    let size = usize::try_from(size).ok()?;
    Some(((kind, time, bytes.get(16..size)?), bytes.get(size..)?))
}

impl Loading {
    fn take(&mut self, kind: u32, time: u64, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        match kind {
            CODE_LOAD => {
                let (_pid, _tid, _vma) = (fields.half()?, fields.half()?, fields.wide()?);
                let (start, size, index) = (fields.wide()?, fields.wide()?, fields.wide()?);
                let name = fields.text()?;
                let end = start.checked_add(size)?;
                let lines = self.pending.take().filter(|(at, _)| *at == start).map_or((0, 0), |(_, l)| l);
                let name = self.name(name);
                let code = Code { since: time, start, name, lines };
                self.by_index.insert(index, (code, end));
                self.code.push((start, end, code));
            }
            CODE_MOVE => {
                let (_pid, _tid, _vma) = (fields.half()?, fields.half()?, fields.wide()?);
                let (_old, start, size) = (fields.wide()?, fields.wide()?, fields.wide()?);
                let index = fields.wide()?;
                let end = start.checked_add(size)?;
                // Of code that was never loaded there is no name.
                if let Some((code, _)) = self.by_index.get(&index) {
                    self.code.push((start, end, Code { since: time, start, ..*code }));
                }
            }
            DEBUG_INFO => {
                let (start, count) = (fields.wide()?, fields.wide()?);
                let first = self.lines.len();
                let mut file = None;
                for _ in 0..count {
                    let (at, line, _discriminator) = (fields.wide()?, fields.half()?, fields.half()?);
                    let name = fields.text()?;
                    // Its own sign for "the file of the entry before".
                    if name != b"\xff" {
                        file = Some(self.file(name));
                    }
                    if let Some(file) = file.filter(|_| self.lines.len() < MAX_LINES) {
                        self.lines.push(Line { at: at.wrapping_sub(start), line, file });
                    }
                }
                // They are not always sorted.
                if let Some(lines) = self.lines.get_mut(first..) {
                    lines.sort_by_key(|line| line.at);
                }
                self.pending = Some((start, (first, self.lines.len() - first)));
            }
            // Unwinding information, and what later versions add.
            _ => {}
        }
        Some(())
    }

    fn name(&mut self, name: &[u8]) -> usize {
        let name = name.get(..super::MAX_NAME * 4).unwrap_or(name);
        self.names.push(name.into());
        self.names.len() - 1
    }

    fn file(&mut self, name: &[u8]) -> usize {
        if let Some(known) = self.files.get(name) {
            return *known;
        }
        let at = self.name(name);
        self.files.insert(name.into(), at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [MAGIC, 1, 40, 62, 0, 4711] {
            out.extend(field.to_le_bytes());
        }
        out.extend([7u64, flags].map(u64::to_le_bytes).concat());
        out
    }

    fn record(kind: u32, time: u64, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let mut out = kind.to_le_bytes().to_vec();
        out.extend((body.len() as u32 + 16).to_le_bytes());
        out.extend(time.to_le_bytes());
        out.extend(body);
        out
    }

    fn load(time: u64, start: u64, size: u64, index: u64, name: &[u8]) -> Vec<u8> {
        let numbers = [start, start, size, index].map(u64::to_le_bytes).concat();
        record(CODE_LOAD, time, &[&[0; 8], &numbers, name, b"\0", &vec![0x90; size as usize]])
    }

    fn name(dump: &JitDump, at: u64, when: u64) -> String {
        let symbol = dump.name_at(Addr(at), Some(MonoNs(when)));
        symbol.map_or_else(String::new, |s| {
            let text = |name: vmatlas_event::Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
            format!(
                "{} {} {}",
                text(s.function.unwrap()),
                s.file.map(text).unwrap_or_default(),
                s.line.unwrap_or(0)
            )
        })
    }

    /// Checks that code has the name of its time, also where it moved, and that lines belong to the next code.
    #[test]
    fn code_has_the_name_of_its_time() {
        let mut lines = [0x1000u64, 2].map(u64::to_le_bytes).concat();
        for (at, line, file) in [(0x1000u64, 5u32, &b"a.js\0"[..]), (0x1008, 7, b"\xff\0")] {
            lines.extend([&at.to_le_bytes()[..], &line.to_le_bytes(), &[0; 4], file].concat());
        }
        let moved = [0x1000u64, 0x1000, 0x3000, 0x10, 1].map(u64::to_le_bytes).concat();
        let bytes = [
            header(0),
            record(DEBUG_INFO, 10, &[&lines]),
            load(10, 0x1000, 0x10, 1, b"first"),
            load(30, 0x1000, 0x20, 2, b"second"),
            record(CODE_MOVE, 20, &[&[0; 8], &moved]),
            record(99, 20, &[b"what a later version adds"]),
            record(CODE_CLOSE, 40, &[]),
        ]
        .concat();
        let dump = JitDump::parse(&bytes).unwrap();
        assert_eq!((dump.len(), dump.is_cut()), (3, false));
        assert_eq!(name(&dump, 0x1004, 15), "first a.js 5");
        assert_eq!(name(&dump, 0x100c, 15), "first a.js 7");
        assert_eq!(name(&dump, 0x100c, 30), "second  0");
        assert_eq!(name(&dump, 0x101f, 15), "");
        assert_eq!(name(&dump, 0x3000, 19), "");
        assert_eq!(name(&dump, 0x3000, 20), "first a.js 5");
        assert_eq!(name(&dump, 0x1004, 9), "");
        let between = |first, last| {
            let symbol = dump.name_between(Addr(0x1004), MonoNs(first), MonoNs(last));
            symbol.and_then(|s| s.function).map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
        };
        assert_eq!(between(12, 29).as_deref(), Some("first"));
        assert_eq!(between(30, 99).as_deref(), Some("second"));
        assert_eq!(between(29, 30), None);
        assert_eq!(between(9, 29), None);
        // With a processor's counter no time can be compared: the latest.
        let counter = [header(ARCH_TIMESTAMP), load(10, 0x1000, 0x10, 1, b"x")].concat();
        assert_eq!(name(&JitDump::parse(&counter).unwrap(), 0x1000, 1), "x  0");
    }

    /// Checks that a dump that is cut anywhere gives its first records and says so, and that damage never panics.
    #[test]
    fn a_cut_dump_gives_its_beginning() {
        let whole = [header(0), load(1, 0x1000, 8, 1, b"a"), load(2, 0x2000, 8, 2, b"b")].concat();
        let ends = [40, whole.len() - (whole.len() - 40) / 2, whole.len()];
        for cut in 0..=whole.len() {
            match JitDump::parse(&whole[..cut]) {
                None => assert!(cut < 40, "{cut}"),
                Some(dump) => {
                    assert_eq!(dump.len(), ends.iter().filter(|end| **end <= cut).count() - 1, "{cut}");
                    assert_eq!(dump.is_cut(), !ends.contains(&cut), "{cut}");
                }
            }
        }
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            if let Some(dump) = JitDump::parse(&bytes) {
                dump.name_at(Addr(0x1004), None);
            }
        }
    }
}
