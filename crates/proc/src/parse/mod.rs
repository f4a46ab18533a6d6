//! Parsers of /proc text: pure, no I/O.

pub mod cgroup;
pub mod kpageflags;
pub mod maps;
pub mod mountinfo;
pub mod numa_maps;
pub mod pagemap;
pub mod smaps;
pub mod stat;
pub mod status;
pub mod workload;

use std::fmt;

/// A text that is not what the kernel writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was expected.
    pub expected: &'static str,
    /// The offending text, at most 80 bytes of it.
    pub found: Vec<u8>,
}

impl ParseError {
    pub(crate) fn new(expected: &'static str, found: &[u8]) -> ParseError {
        ParseError { expected, found: found[..found.len().min(80)].to_vec() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found \"{}\"", self.expected, self.found.escape_ascii())
    }
}

impl std::error::Error for ParseError {}

/// A decimal number with nothing around it.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |n, b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 { None } else { n.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}
