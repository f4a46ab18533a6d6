//! Names as the source has them, out of names as the linker has them; both of a length with a bound.

use cpp_demangle::{BorrowedSymbol, DemangleOptions};
use std::fmt::{self, Write};
use vmatlas_event::Name;

/// A function's name for people: demangled where it is a mangled name of Rust (legacy and v0) or C++ (Itanium ABI),
/// as it is otherwise. At most `limit` bytes, a longer one cut with `…` at its end.
///
/// ```text
/// _ZN3std2io5stdio6_print17h0123456789abcdefE  ->  std::io::stdio::_print
/// _Z4grow3Mapi                                 ->  grow(Map, int)
/// ```
pub(super) fn function(raw: &[u8], limit: usize) -> Name {
    demangled(raw, limit).map_or_else(|| plain(raw, limit), |text| Name::new(text.as_bytes()))
}

/// A name as it is, cut where it is too long.
pub(super) fn plain(raw: &[u8], limit: usize) -> Name {
    match raw.get(..limit) {
        Some(part) if part.len() < raw.len() => {
            let mut cut = part.to_vec();
            // Not within a character.
            while cut.last().is_some_and(|b| b & 0xc0 == 0x80) {
                cut.pop();
            }
            cut.pop();
            cut.extend_from_slice("…".as_bytes());
            Name::new(&cut)
        }
        _ => Name::new(raw),
    }
}

fn demangled(raw: &[u8], limit: usize) -> Option<String> {
    // A mangled name that is longer would cost more than its name is worth.
    let text = std::str::from_utf8(raw).ok().filter(|text| text.len() <= limit)?;
    if !text.starts_with("_Z") && !text.starts_with("_R") {
        return None;
    }
    let mut out = Bounded { text: String::new(), limit };
    if let Ok(rust) = rustc_demangle::try_demangle(text) {
        // The alternate form is without the hash.
        let _ = write!(out, "{rust:#}");
        return Some(out.text);
    }
    // Both recursions of this library have a bound of their own (96 and 128).
    let (symbol, rest) = BorrowedSymbol::with_tail(raw).ok()?;
    let whole = symbol.structured_demangle(&mut out, &DemangleOptions::new());
    if !rest.is_empty() {
        // A version (`@@GLIBC_2.34`) or another suffix that is no part of the mangling.
        let _ = write!(out, "{}", String::from_utf8_lossy(rest));
    }
    // An error means that the name is nonsense, or that the text became too long: then what is there is a beginning.
    (whole.is_ok() || out.text.ends_with('…')).then_some(out.text)
}

/// Text that refuses to become longer than a limit.
struct Bounded {
    text: String,
    limit: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        const CUT: char = '…';
        if self.text.ends_with(CUT) {
            return Err(fmt::Error);
        }
        if self.text.len() + more.len() <= self.limit {
            self.text.push_str(more);
            return Ok(());
        }
        let room = self.limit.saturating_sub(self.text.len() + CUT.len_utf8());
        let fits = more.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last();
        self.text.push_str(more.get(..fits.unwrap_or(0)).unwrap_or_default());
        self.text.push(CUT);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(raw: &str) -> String {
        String::from_utf8(function(raw.as_bytes(), 4096).as_bytes().to_vec()).unwrap()
    }

    /// Checks both manglings of Rust, C++ with a clone's suffix, and names that are none of them.
    #[test]
    fn names_are_those_of_the_source() {
        for (raw, name) in [
            ("_ZN3std2io5stdio6_print17h0123456789abcdefE", "std::io::stdio::_print"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_Z4growi", "grow(int)"),
            ("_ZN3Map4growEi", "Map::grow(int)"),
            ("mmap", "mmap"),
            ("_Z", "_Z"),
            ("_ZNNNNN", "_ZNNNNN"),
            ("main.cold", "main.cold"),
        ] {
            assert_eq!(named(raw), name);
        }
        assert!(named("_Z4growi.constprop.0").starts_with("grow(int)"));
    }

    /// Checks that a name of doubling substitutions ends at the limit, and that cutting does not part a character.
    #[test]
    fn names_have_a_bound() {
        let mut bomb = "_Z1fI".to_owned();
        bomb.push_str("1a");
        for i in 0..200 {
            let _ = write!(bomb, "S{}_", if i == 0 { String::new() } else { format!("{:X}", i - 1) });
        }
        bomb.push_str("EvT_");
        let name = function(bomb.as_bytes(), 1000);
        assert!(name.as_bytes().len() <= 1000);
        let long = format!("_Z300{}v", "領域".repeat(50));
        let cut = function(long.as_bytes(), 100);
        assert!(cut.as_bytes().len() <= 103 && std::str::from_utf8(cut.as_bytes()).is_ok());
        assert_eq!(plain(b"abc", 3).as_bytes(), b"abc");
        assert_eq!(plain(b"abcd", 3).as_bytes(), "ab…".as_bytes());
        assert!(function(&[0xff; 10], 4).as_bytes().len() <= 8);
        let mut text = Bounded { text: String::new(), limit: 8 };
        assert!(text.write_str("領").is_ok());
        assert!(text.write_str("域名").is_err());
        assert_eq!(text.text, "領…");
    }
}
