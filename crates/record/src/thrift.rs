//! A walk through the compact protocol of Thrift, and a look at the description of a Parquet file before the decoder takes it: it follows groups inside groups by recursion, and
//! an enemy's groups would end its stack, which nothing can catch. Tables are flat, so whatever is not is refused.

/// No description is longer; what the decoder makes of it takes many times as much.
const LONGEST: usize = 16 << 20;
/// No table has more columns.
const MOST_COLUMNS: u64 = 1024;
/// How deep values may stand in each other; those of Parquet's own are less than half as deep.
const DEEPEST: u8 = 16;

/// Types of the compact protocol of Thrift.
pub(crate) const TRUE: u8 = 1;
pub(crate) const FALSE: u8 = 2;
pub(crate) const I32: u8 = 5;
const LIST: u8 = 9;
pub(crate) const STRUCT: u8 = 12;

/// The list of columns in FileMetaData, and the number of children in a SchemaElement.
const SCHEMA: i16 = 2;
const CHILDREN: i16 = 5;

/// Whether the file ends in a description that can be walked through, of a table without groups.
pub(crate) fn is_flat(file: &[u8]) -> bool {
    let [rest @ .., a, b, c, d, b'P', b'A', b'R', b'1'] = file else { return false };
    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let Some(start) = rest.len().checked_sub(length).filter(|_| length <= LONGEST) else { return false };
    let mut walk = Walk(rest.get(start..).unwrap_or_default());
    let walked = walk.fields(&mut |walk, id, kind| match (id, kind) {
        (SCHEMA, LIST) => walk.columns(),
        (SCHEMA, _) => None,
        _ => walk.skip(kind, DEEPEST),
    });
    walked.is_some()
}

/// What is left to walk through; each step is `None` where it makes no sense.
pub(crate) struct Walk<'a>(pub(crate) &'a [u8]);

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Leaves out so many bytes.
    pub(crate) fn advance(&mut self, bytes: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    /// A number as it stands there: one with a sign is twice as large, and odd where it is below 0.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
        }
        None
    }

    /// A number of 32 bits with a sign that is not below 0.
    pub(crate) fn natural(&mut self) -> Option<u64> {
        let number = self.number()?;
        (number & 1 == 0 && number >> 1 <= i32::MAX as u64).then_some(number >> 1)
    }

    /// Gives each field of a structure, by its number and its type.
    pub(crate) fn fields(&mut self, found: &mut dyn FnMut(&mut Self, i16, u8) -> Option<()>) -> Option<()> {
        let mut id = 0_i16;
        loop {
            let byte = self.byte()?;
            let (step, kind) = (byte >> 4, byte & 15);
            if kind == 0 {
                return (step == 0).then_some(());
            }
            id = match step {
                0 => {
                    let number = self.number()?;
                    i16::try_from((number >> 1) as i64 ^ -((number & 1) as i64)).ok()?
                }
                step => id.checked_add(i16::from(step))?,
            };
            found(self, id, kind)?;
        }
    }

    /// How many values a list has, and of which type.
    fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.number()? } else { u64::from(byte >> 4) };
        Some((count, byte & 15))
    }

    /// The columns, the first of which is the table itself.
    fn columns(&mut self) -> Option<()> {
        let (count, kind) = self.list()?;
        if kind != STRUCT || count > MOST_COLUMNS + 1 {
            return None;
        }
        for column in 0..count {
            self.fields(&mut |walk, id, kind| match (id, kind) {
                (CHILDREN, I32) => (walk.number()? == 0 || column == 0).then_some(()),
                (CHILDREN, _) => None,
                _ => walk.skip(kind, DEEPEST),
            })?;
        }
        Some(())
    }

    /// Leaves out a value, in which others are at most `depth` deep.
    pub(crate) fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => Some(()),
            3 => self.advance(1),
            4 | I32 | 6 => self.number().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.number()?;
                self.advance(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                // In a list a truth takes a byte; so each value takes one at least, and the file is an end.
                let kind = if matches!(kind, TRUE | FALSE) { 3 } else { kind };
                (0..count).try_for_each(|_| self.skip(kind, depth))
            }
            STRUCT => self.fields(&mut |walk, _, kind| walk.skip(kind, depth)),
            // Parquet has no maps.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a list of columns with so many children each.
    fn file(children: &[u8]) -> Vec<u8> {
        let mut footer = vec![0x15, 2, 0x19, 0xfc, children.len() as u8];
        for children in children {
            footer.extend_from_slice(&[0x48, 1, b'a']);
            if *children > 0 {
                footer.extend_from_slice(&[0x15, children * 2]);
            }
            footer.push(0);
        }
        // Rows, and row groups: one of an empty structure.
        footer.extend_from_slice(&[0x16, 0, 0x19, 0x1c, 0, 0]);
        let length = footer.len() as u32;
        [&b"PAR1"[..], &footer, &length.to_le_bytes(), b"PAR1"].concat()
    }

    /// Checks that columns of a table are taken, and a group among them is not.
    #[test]
    fn groups_are_refused() {
        assert!(is_flat(&file(&[2, 0, 0])));
        assert!(!is_flat(&file(&[1, 1, 0])));
        assert!(!is_flat(&file(&[2, 0, 9])));
    }

    /// Checks that whatever is cut or nonsense is refused.
    #[test]
    fn what_is_cut_is_refused() {
        let whole = file(&[2, 0, 0]);
        assert!((0..whole.len()).all(|length| !is_flat(&whole[..length])));
        let deep = [&[0x1c_u8; 100][..], &[0; 101]].concat();
        let length = (deep.len() as u32).to_le_bytes();
        assert!(!is_flat(&[&deep[..], &length, b"PAR1"].concat()));
    }
}
