//! /proc/PID/maps (proc_pid_maps(5), kernel `fs/proc/task_mmu.c:show_map_vma()`).
//!
//! Lines are split by newline alone and may be of any length: a reader with a 5,000-byte buffer was fooled into
//! inventing VMAs by one of 14,507. The name starts at a fixed column, so its own leading and trailing spaces survive.
//! Numbers are read eight digits at a time, because maps of a million lines exist.

use super::ParseError;
use vmatlas_event::{Addr, AddrRange, Dev, Name, Prot, Sharing, VmaRow};

/// One line; the name still as the kernel wrote it (newlines as `\012`, everything else raw).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapsLine<'a> {
    /// Its addresses.
    pub range: AddrRange,
    /// What it allows.
    pub prot: Prot,
    /// Private or shared.
    pub sharing: Sharing,
    /// Offset into the file in bytes.
    pub offset: u64,
    /// The file's device.
    pub dev: Dev,
    /// The file's inode.
    pub inode: u64,
    /// The name, empty where there is none.
    pub name: &'a [u8],
}

impl MapsLine<'_> {
    /// The same as a row, which has this name: readers keep each name once.
    pub fn row(&self, name: Option<Name>) -> VmaRow {
        let MapsLine { range, prot, sharing, offset, dev, inode, .. } = *self;
        VmaRow { range, prot, sharing, offset, dev, inode, name }
    }
}

/// What was found at a place in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A line, and where the next one starts.
    Line(MapsLine<'a>, usize),
    /// The buffer ends inside this line.
    Partial,
}

/// Columns up to the name on a 64-bit kernel: `25 + sizeof(void *) * 6 - 1`, then one space.
const NAME_COLUMN: usize = 73;
/// The same on a 32-bit kernel.
const NAME_COLUMN_32: usize = 49;

/// Reads one line at `at`.
///
/// # Errors
/// [`ParseError`] with what was expected, when a whole line is there and is not one of maps.
///
/// ```
/// use vmatlas_proc::parse::maps::{Parsed, parse_at};
/// let text = b"55e0-55f0 r-xp 00001000 08:01 42                                         /bin/a b \n";
/// let Ok(Parsed::Line(line, next)) = parse_at(text, 0) else { panic!() };
/// assert_eq!((line.name, line.inode, next), (&b"/bin/a b "[..], 42, text.len()));
/// ```
#[inline]
pub fn parse_at(buf: &[u8], at: usize) -> Result<Parsed<'_>, ParseError> {
    match fields(buf, at) {
        Some(answer) => Ok(answer),
        None => match buf[at..].iter().position(|b| *b == b'\n') {
            None => Ok(Parsed::Partial),
            Some(len) => Err(ParseError::new("a line of maps", &buf[at..at + len])),
        },
    }
}

/// The rest of a line without file and name.
const ANONYMOUS: &[u8] = b"00000000 00:00 0 \n";

/// `None` when the text is not a line of maps, or when it is too short to tell.
#[inline]
fn fields(buf: &[u8], start: usize) -> Option<Parsed<'_>> {
    let mut at = start;
    let first = hex(buf, &mut at)?;
    eat(buf, &mut at, b'-')?;
    let end = hex(buf, &mut at)?;
    eat(buf, &mut at, b' ')?;
    let perms: &[u8; 5] = buf.get(at..at + 5)?.try_into().ok()?;
    at += 5;
    let (prot, sharing) = permissions(perms)?;
    // Most lines of a large map are anonymous: one comparison instead of four numbers.
    if buf.get(at..at + ANONYMOUS.len()) == Some(ANONYMOUS) {
        let range = AddrRange::new(Addr(first), Addr(end))?;
        let (offset, dev, inode, name) = (0, Dev::default(), 0, &[][..]);
        let line = MapsLine { range, prot, sharing, offset, dev, inode, name };
        return Some(Parsed::Line(line, at + ANONYMOUS.len()));
    }
    let offset = hex(buf, &mut at)?;
    eat(buf, &mut at, b' ')?;
    let major = hex_short(buf, &mut at)?;
    eat(buf, &mut at, b':')?;
    let minor = hex_short(buf, &mut at)?;
    eat(buf, &mut at, b' ')?;
    let inode = dec(buf, &mut at)?;
    eat(buf, &mut at, b' ')?;
    let name: &[u8] = match buf.get(at)? {
        b'\n' => {
            at += 1;
            &[]
        }
        _ => {
            let Some(len) = buf[at..].iter().position(|b| *b == b'\n') else { return Some(Parsed::Partial) };
            let name = name(buf, start, at, at + len)?;
            at += len + 1;
            name
        }
    };
    let range = AddrRange::new(Addr(first), Addr(end))?;
    let dev = Dev { major: major.try_into().ok()?, minor: minor.try_into().ok()? };
    Some(Parsed::Line(MapsLine { range, prot, sharing, offset, dev, inode, name }, at))
}

/// The name in `buf[at..end]`, where `at` is just after the inode's space.
fn name(buf: &[u8], start: usize, at: usize, end: usize) -> Option<&[u8]> {
    let blank = |from: usize, to: usize| buf.get(from..to).is_some_and(|pad| pad.iter().all(|b| *b == b' '));
    // The kernel pads to the column and adds one space; a longer prefix gets the space alone.
    for column in [NAME_COLUMN, NAME_COLUMN_32] {
        let from = (start + column).max(at + 1);
        if from <= end && blank(at, from) {
            return Some(&buf[from..end]);
        }
    }
    None
}

#[inline]
fn permissions(p: &[u8; 5]) -> Option<(Prot, Sharing)> {
    let [read, write, exec, sharing, space] = *p;
    let known = (read == b'r') | (read == b'-');
    let known = known & ((write == b'w') | (write == b'-')) & ((exec == b'x') | (exec == b'-'));
    let known = known & ((sharing == b'p') | (sharing == b's')) & (space == b' ');
    let prot = Prot::new(read == b'r', write == b'w', exec == b'x');
    let sharing = if sharing == b's' { Sharing::Shared } else { Sharing::Private };
    known.then_some((prot, sharing))
}

#[inline]
fn eat(buf: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    let found = *buf.get(*at)? == byte;
    *at += 1;
    found.then_some(())
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Reads up to 16 hexadecimal digits; `None` when there is none, or more.
#[inline]
fn hex(buf: &[u8], at: &mut usize) -> Option<u64> {
    let (high, n) = hex_word(buf, *at)?;
    *at += n;
    if n < 8 {
        return (n > 0).then_some(high);
    }
    let (low, m) = hex_word(buf, *at)?;
    *at += m;
    if m == 8 && buf.get(*at).is_some_and(u8::is_ascii_hexdigit) {
        return None;
    }
    // A shift by 32 when all sixteen are there, by 0 when the number ended with the first eight.
    Some(high << (4 * m as u32) | low)
}

/// The value and count of the hexadecimal digits in the eight bytes at `at`.
///
/// Eight at once in a register: a byte is a digit when it is in one of two ranges, and its value is its low nibble,
/// plus 9 for letters. `None` only when the buffer ends before the number does.
#[inline]
fn hex_word(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let Some(word) = buf.get(at..at + 8) else { return hex_slow(buf, at) };
    let x = u64::from_le_bytes(word.try_into().ok()?);
    // Capitals never come from the kernel and end the number here; bytes over 0x7f must not carry into neighbours.
    let ascii = x & (0x7f * ONES);
    let ge = |n: u64| ascii + (0x80 - n) * ONES;
    let digit = ge(0x30) & !ge(0x3a);
    let letter = ge(0x61) & !ge(0x67);
    let is_hex = (digit | letter) & !x & (0x80 * ONES);
    let n = ((is_hex ^ (0x80 * ONES)).trailing_zeros() / 8) as usize;
    if n == 0 {
        return Some((0, 0));
    }
    // Leading zeros take the place of the bytes that are not ours.
    let x = x << (8 * (8 - n) as u32);
    let d = (x & (0x0f * ONES)) + 9 * (x >> 6 & ONES);
    let d = (d << 4 | d >> 8) & 0x00ff_00ff_00ff_00ff;
    let d = (d << 8 | d >> 16) & 0x0000_ffff_0000_ffff;
    Some(((d << 16 | d >> 32) & 0xffff_ffff, n))
}

#[cold]
fn hex_slow(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    let mut n = 0;
    loop {
        let byte = *buf.get(at + n)?;
        match byte {
            b'0'..=b'9' => value = value << 4 | u64::from(byte - b'0'),
            b'a'..=b'f' => value = value << 4 | u64::from(byte - b'a' + 10),
            _ => return Some((value, n)),
        }
        n += 1;
    }
}

/// Two or a few hexadecimal digits.
#[inline]
fn hex_short(buf: &[u8], at: &mut usize) -> Option<u64> {
    let start = *at;
    let mut value = 0u64;
    loop {
        let digit = match *buf.get(*at)? {
            b @ b'0'..=b'9' => b - b'0',
            b @ b'a'..=b'f' => b - b'a' + 10,
            _ => break,
        };
        value = value << 4 | u64::from(digit);
        *at += 1;
    }
    (1..=8).contains(&(*at - start)).then_some(value)
}

#[inline]
fn dec(buf: &[u8], at: &mut usize) -> Option<u64> {
    let start = *at;
    let mut value = 0u64;
    loop {
        let digit = buf.get(*at)?.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        *at += 1;
    }
    (*at > start).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &[u8]) -> Result<MapsLine<'_>, ParseError> {
        match parse_at(text, 0)? {
            Parsed::Line(line, _) => Ok(line),
            Parsed::Partial => Err(ParseError::new("a whole line", text)),
        }
    }

    fn padded(prefix: &str, name: &[u8]) -> Vec<u8> {
        let mut line = format!("{prefix} ").into_bytes();
        while line.len() < 72 {
            line.push(b' ');
        }
        line.push(b' ');
        line.extend_from_slice(name);
        line.push(b'\n');
        line
    }

    /// Checks that names which would fool a splitter by white space come through whole.
    #[test]
    fn hostile_names_come_through_whole() {
        let prefix = "7f0000000000-7f0000001000 r--s 00000000 fe:00 18446744073709551615";
        let long = vec![b'x'; 14_507];
        for name in [
            &b"/tmp/a\\012b"[..],
            b" leading and trailing  ",
            b"/tmp/\x1b[31mred",
            b"/tmp/\xff\xfe",
            b"/SYSV1",
            b"/SYSVzzzzzzzz",
            b"[stack:xx]",
            b"/memfd:m\\012q [heap] (deleted)",
            b"/y (deleted) (deleted)",
            b"7f0000000000-7f0000001000 rw-p 00000000 00:00 0",
            b"\t",
            &long,
        ] {
            let text = padded(prefix, name);
            let line = one(&text).unwrap();
            assert_eq!(line.name, name);
            assert_eq!(line.inode, u64::MAX);
        }
    }

    /// Checks the widths that surprise: short and full addresses, wide devices, offsets over 32 bits, long prefixes.
    #[test]
    fn numbers_of_any_width_are_read() {
        let line = *b"00400000-00401000 r-xp 123456789000 103:fffff 7 \n";
        let line = one(&line).unwrap();
        assert_eq!(line.range.start(), Addr(0x40_0000));
        assert_eq!((line.offset, line.dev), (0x1234_5678_9000, Dev { major: 0x103, minor: 0xfffff }));
        let line =
            one(b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n")
                .unwrap();
        assert_eq!((line.range.end(), line.name), (Addr(0xffff_ffff_ff60_1000), &b"[vsyscall]"[..]));
        let wide = "ffffffffff600000-ffffffffff601000 --xp 123456789abcdef0 fffff:fffff 12345678901234567890";
        assert_eq!(one(&padded(wide, b"/x")).unwrap().name, b"/x");
        // A 32-bit kernel pads to an earlier column.
        assert_eq!(
            one(b"08048000-08049000 r-xp 00000000 03:01 12345      /bin/cat\n").unwrap().name,
            b"/bin/cat"
        );
    }

    /// Checks that text which is not a line of maps is refused and quoted.
    #[test]
    fn malformed_lines_are_refused() {
        for text in [
            &b"\n"[..],
            b"hello\n",
            b"1000-2000 rw-p 0 00:00\n",
            b"2000-1000 rw-p 00000000 00:00 0 \n",
            b"1000-2000 rwzp 00000000 00:00 0 \n",
            b"1000-2000 rw-q 00000000 00:00 0 \n",
            b"1000 2000 rw-p 00000000 00:00 0 \n",
            b"11112222333344445-2000 rw-p 00000000 00:00 0 \n",
            b"1000-2000 rw-p 00000000 00:00 99999999999999999999 \n",
            b"1000-2000 rw-p 00000000 00:00 0 x\n",
            b"1000-2000 rw-p 00000000 123456789:00 0 \n",
            b"1000-2000\xb0rw-p 00000000 00:00 0 \n",
        ] {
            assert!(one(text).is_err(), "{}", text.escape_ascii());
        }
        assert_eq!(parse_at(b"1000-2000 rw-p 00000000 00:00 0", 0), Ok(Parsed::Partial));
        assert_eq!(parse_at(b"", 0), Ok(Parsed::Partial));
    }

    proptest! {
        /// Checks that what is written is read back, and that no bytes at all make it panic.
        #[test]
        fn lines_survive_a_round_trip(
            a in any::<u64>(), b in any::<u64>(), perms in 0u8..16, offset in any::<u64>(),
            major in any::<u32>(), minor in any::<u32>(), inode in any::<u64>(),
            name in proptest::collection::vec(any::<u8>().prop_filter("no newline", |b| *b != b'\n'), 0..40),
            noise in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let (a, b) = (a.min(b), a.max(b));
            let p = |bit: u8, c: char| if perms & bit != 0 { c } else { '-' };
            let prefix = format!(
                "{a:08x}-{b:08x} {}{}{}{} {offset:08x} {major:02x}:{minor:02x} {inode}",
                p(1, 'r'), p(2, 'w'), p(4, 'x'), if perms & 8 != 0 { 's' } else { 'p' }
            );
            let text = if name.is_empty() { format!("{prefix} \n").into_bytes() } else { padded(&prefix, &name) };
            let line = one(&text).unwrap();
            prop_assert_eq!(line.range, AddrRange::new(Addr(a), Addr(b)).unwrap());
            prop_assert_eq!(line.prot, Prot::new(perms & 1 != 0, perms & 2 != 0, perms & 4 != 0));
            prop_assert_eq!(line.offset, offset);
            prop_assert_eq!(line.dev, Dev { major, minor });
            prop_assert_eq!(line.inode, inode);
            prop_assert_eq!(line.name, &name[..]);
            let _ = parse_at(&noise, 0);
        }
    }
}
