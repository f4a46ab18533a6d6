//! The reader that debug information is parsed through: it ends what would go on for too long or too deep.
//!
//! gimli and addr2line check every offset, but nothing bounds how often they follow one: a list of ranges that every unit
//! refers to, a line program that each of a million units runs, inlined functions nested by the million (which addr2line
//! descends into by recursion). All of that reads, so the reader counts: each read takes from a tank that one module has,
//! and none is done when the stack is almost used up. An empty tank looks like the end of the section.

use addr2line::gimli::{Error, LittleEndian, Reader, ReaderOffsetId, Result};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

/// How much one module may read, and where the stack ends.
#[derive(Debug)]
pub(super) struct Tank {
    left: Cell<u64>,
    /// The address of a local variable when the work began, and how far below it is allowed.
    stack: (usize, usize),
}

impl Tank {
    /// For the thread that makes it, which may use `stack` bytes more of its stack than it does now.
    pub(super) fn new(stack: usize) -> Tank {
        let local = 0u8;
        Tank { left: Cell::new(4 << 20), stack: (address_of(&local), stack) }
    }

    /// Adds what a section of `size` bytes is worth: each byte may be read a few times.
    pub(super) fn fill(&self, size: u64) {
        self.left.set(self.left.get().saturating_add(size.saturating_mul(4)));
    }

    /// Whether it was used up.
    pub(super) fn is_empty(&self) -> bool {
        self.left.get() == 0
    }

    #[inline]
    fn take(&self, what: u64, at: ReaderOffsetId) -> Result<()> {
        let local = 0u8;
        let deep = self.stack.0.abs_diff(address_of(&local)) > self.stack.1;
        match self.left.get().checked_sub(what) {
            Some(left) if !deep => {
                self.left.set(left);
                Ok(())
            }
            _ => {
                self.left.set(0);
                Err(Error::UnexpectedEof(at))
            }
        }
    }
}

#[inline]
fn address_of(local: &u8) -> usize {
    std::ptr::from_ref(local).addr()
}

/// A part of a section.
#[derive(Clone, Debug)]
pub(super) struct Part {
    whole: Rc<Whole>,
    start: usize,
    end: usize,
}

#[derive(Debug)]
struct Whole {
    bytes: Rc<[u8]>,
    tank: Rc<Tank>,
}

impl Part {
    /// A whole section, which fills the tank.
    pub(super) fn new(bytes: Rc<[u8]>, tank: Rc<Tank>) -> Part {
        let end = bytes.len();
        tank.fill(end as u64);
        Part { whole: Rc::new(Whole { bytes, tank }), start: 0, end }
    }

    fn bytes(&self) -> &[u8] {
        self.whole.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn end_of(&self, len: usize) -> Result<usize> {
        let end = self.start.checked_add(len).filter(|end| *end <= self.end);
        end.ok_or_else(|| Error::UnexpectedEof(self.offset_id()))
    }
}

impl Reader for Part {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    #[inline]
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn empty(&mut self) {
        self.end = self.start;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.end = self.end_of(len)?;
        Ok(())
    }

    fn offset_from(&self, base: &Part) -> usize {
        self.start.saturating_sub(base.start)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.bytes().as_ptr().addr() as u64)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        let offset = usize::try_from(id.0.checked_sub(self.offset_id().0)?).ok()?;
        (offset <= self.len()).then_some(offset)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = self.bytes().iter().position(|b| *b == byte);
        // Looking through bytes costs less than reading them one by one.
        let looked_at = found.unwrap_or(self.len()) as u64;
        self.whole.tank.take(1 + looked_at / 16, self.offset_id())?;
        found.ok_or_else(|| Error::UnexpectedEof(self.offset_id()))
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<()> {
        self.whole.tank.take(1, ReaderOffsetId(0))?;
        self.start = self.end_of(len)?;
        Ok(())
    }

    #[inline]
    fn split(&mut self, len: usize) -> Result<Part> {
        self.whole.tank.take(1, ReaderOffsetId(0))?;
        let end = self.end_of(len)?;
        let part = Part { whole: Rc::clone(&self.whole), start: self.start, end };
        self.start = end;
        Ok(part)
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        Ok(self.bytes().into())
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        std::str::from_utf8(self.bytes()).map(Cow::from).map_err(|_| Error::BadUtf8)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        Ok(String::from_utf8_lossy(self.bytes()))
    }

    #[inline]
    fn read_slice(&mut self, buf: &mut [u8]) -> Result<()> {
        self.whole.tank.take(1, ReaderOffsetId(0))?;
        let end = self.end_of(buf.len())?;
        let bytes = self.whole.bytes.get(self.start..end).unwrap_or_default();
        if bytes.len() == buf.len() {
            buf.copy_from_slice(bytes);
        }
        self.start = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8], tank: Tank) -> Part {
        Part::new(Rc::from(bytes), Rc::new(tank))
    }

    /// Checks reading, splitting and skipping up to the end and not over it.
    #[test]
    fn a_part_is_read_up_to_its_end() {
        let mut reader = part(b"\x01\x02\x03\x04\x05text\0", Tank::new(1 << 20));
        let base = reader.clone();
        assert_eq!(reader.read_u32().unwrap(), 0x0403_0201);
        assert_eq!(reader.offset_from(&base), 4);
        assert_eq!(base.lookup_offset_id(reader.offset_id()), Some(4));
        reader.skip(1).unwrap();
        assert_eq!(reader.find(0).unwrap(), 4);
        let text = reader.read_null_terminated_slice().unwrap();
        assert_eq!(text.to_string().unwrap(), "text");
        assert!(reader.is_empty() && reader.skip(1).is_err() && reader.read_u8().is_err());
        assert!(reader.split(usize::MAX).is_err());
    }

    /// Checks that reading ends with the tank, and below the allowed stack.
    #[test]
    fn an_empty_tank_ends_all_reading() {
        let tank = Tank { left: Cell::new(0), stack: (0, usize::MAX) };
        let mut reader = part(b"12345678", tank);
        reader.whole.tank.left.set(3);
        assert!((0..3).all(|_| reader.read_u8().is_ok()));
        assert!(reader.read_u8().is_err() && reader.whole.tank.is_empty());

        let mut shallow = part(b"12345678", Tank::new(64 << 10));
        assert!(shallow.read_u8().is_ok());
        assert!(!descend(&mut shallow, 100_000));
    }

    /// Recursion that ends where reading does.
    fn descend(reader: &mut Part, depth: usize) -> bool {
        let filler = std::hint::black_box([depth; 8]);
        depth == 0
            || (reader.find(b'8').is_ok() && descend(reader, depth - 1) && filler.first() == Some(&depth))
    }
}
