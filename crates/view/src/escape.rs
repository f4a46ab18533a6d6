//! The one place where bytes from outside become text for a terminal or a picture.

use std::fmt::Write;

/// Whether a character could act on a terminal or on the order of the text around it, instead of being seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

/// Bytes as text that is safe on a terminal: what would act is shown as `\x1b` or `\u{202e}`, bytes that are no UTF-8
/// as `\xff`.
///
/// ```
/// use vmatlas_view::escape::terminal;
/// assert_eq!(terminal(b"/tmp/\x1b[31m\xff"), "/tmp/\\x1b[31m\\xff");
/// ```
pub fn terminal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if !acts(c) => out.push(c),
                c if u32::from(c) < 0x100 => {
                    // Writing to a String does not fail.
                    let _ = write!(out, "\\x{:02x}", u32::from(c));
                }
                c => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Text as content of XML or HTML, attributes included. Give it what [`terminal`] made of bytes.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks controls of both ranges, bidi overrides and broken UTF-8, and that Japanese stays as it is.
    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(
            terminal("a\u{202e}b\u{9b}c\x7f\r\n\t".as_bytes()),
            "a\\u{202e}b\\x9bc\\x7f\\x0d\\x0a\\x09"
        );
        assert_eq!(terminal("領域".as_bytes()), "領域");
        assert_eq!(terminal(b"\xe3\x81"), "\\xe3\\x81");
        let all: Vec<u8> = (0..=255).collect();
        assert!(terminal(&all).chars().all(|c| !acts(c)));
    }

    /// Checks that markup stays text.
    #[test]
    fn markup_stays_text() {
        assert_eq!(xml("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
