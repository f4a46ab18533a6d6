//! Names of code made at run time, out of what its makers write about it.
//!
//! Two formats: *perf maps* (`/tmp/perf-PID.map`: node `--perf-basic-prof`, Python `-X perf`, Java) say what lies where
//! now; *jitdump* (`jit-PID.dump`: Python `-X perf_jit`, node `--perf-prof`) also when it came. Both are files of the
//! program that may be overwritten, and go with it: copy the bytes while they are there ([`Maker`]), and parse them when
//! names are wanted. Sources: tools/perf/Documentation/jit-interface.txt and jitdump-specification.txt of the kernel.

mod find;
mod jitdump;
mod perf_map;

pub use find::{FileState, Found, Hold, JitFile, Maker, NoFile};
pub use jitdump::JitDump;
pub use perf_map::PerfMap;

use super::demangle;
use vmatlas_event::{Name, Symbol};

/// The longest name that is kept, in bytes.
const MAX_NAME: usize = 1024;

/// A function by the name its maker gave it; the known forms are taken apart.
///
/// ```text
/// py::_find_spec:<frozen importlib._bootstrap>   Python: function, file
/// JS:*fill file:///srv/app.js:10:20              node: function, file, line
/// anything else                                  as it is
/// ```
fn symbol(raw: &[u8]) -> Symbol {
    let parts = python(raw).or_else(|| node(raw)).unwrap_or((raw, None, None));
    let (function, file, line) = parts;
    let name = |bytes: &[u8]| -> Name { demangle::plain(bytes, MAX_NAME) };
    Symbol { function: Some(name(function)), file: file.map(name), line, is_inlined: false }
}

type Parts<'a> = (&'a [u8], Option<&'a [u8]>, Option<u32>);

fn python(raw: &[u8]) -> Option<Parts<'_>> {
    let rest = raw.strip_prefix(b"py::")?;
    let at = rest.iter().position(|b| *b == b':')?;
    let (function, file) = (rest.get(..at)?, rest.get(at + 1..)?);
    (!function.is_empty() && !file.is_empty()).then_some((function, Some(file), None))
}

/// `JS:` and, before node 20, `LazyCompile:` and others; then how it was compiled, the name (which may be empty), a
/// space, and file:line:column.
fn node(raw: &[u8]) -> Option<Parts<'_>> {
    let kinds: [&[u8]; 4] = [b"JS:", b"LazyCompile:", b"Function:", b"Eval:"];
    let rest = kinds.iter().find_map(|kind| raw.strip_prefix(*kind))?;
    let rest = match rest {
        [b'*' | b'~' | b'^' | b'+', rest @ ..] => rest,
        rest => rest,
    };
    let space = rest.iter().position(|b| *b == b' ')?;
    let (function, place) = (rest.get(..space)?, rest.get(space + 1..)?);
    let (place, _column) = number_behind(place)?;
    let (file, line) = number_behind(place)?;
    let function = if function.is_empty() { &b"(anonymous)"[..] } else { function };
    Some((function, (!file.is_empty()).then_some(file), Some(line)))
}

/// Takes `:NUMBER` off the end.
fn number_behind(text: &[u8]) -> Option<(&[u8], u32)> {
    let at = text.iter().rposition(|b| *b == b':')?;
    let number = std::str::from_utf8(text.get(at + 1..)?).ok()?;
    Some((text.get(..at)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(raw: &str) -> (String, Option<String>, Option<u32>) {
        let symbol = symbol(raw.as_bytes());
        let text = |name: Name| String::from_utf8(name.as_bytes().to_vec()).unwrap();
        (text(symbol.function.unwrap()), symbol.file.map(text), symbol.line)
    }

    /// Checks the forms of Python and node, and that others stay whole.
    #[test]
    fn known_forms_are_taken_apart() {
        let file = |text: &str| Some(text.to_owned());
        assert_eq!(told("py::grow:/srv/a:b.py"), ("grow".into(), file("/srv/a:b.py"), None));
        assert_eq!(told("JS:*fill file:///a b.js:10:2"), ("fill".into(), file("file:///a b.js"), Some(10)));
        assert_eq!(told("JS:~ /x.js:1:1"), ("(anonymous)".into(), file("/x.js"), Some(1)));
        assert_eq!(told("LazyCompile:~g node:x:3:4"), ("g".into(), file("node:x"), Some(3)));
        for whole in ["py::grow", "py:::x", "JS:x", "JS:*f /a.js:1", "Builtin:Load", "void a.B.c(int)", ""] {
            assert_eq!(told(whole), (whole.to_owned(), None, None));
        }
        assert!(symbol(&[b'x'; 5000]).function.unwrap().as_bytes().len() <= MAX_NAME + 3);
    }
}
