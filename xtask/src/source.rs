//! Rust source as plain text: just enough of its grammar to tell code from comments and strings.

/// The source with the text of comments, strings and characters blanked; line numbers stay.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (keep, skip) = token(rest, first);
        code.push_str(&rest[..keep]);
        // What is left out keeps its line ends, and a blank so that its neighbours do not grow together.
        code.push_str(&rest[keep..keep + skip].replace(|c| c != '\n', " "));
        rest = &rest[keep + skip..];
    }
    code
}

/// The lines, from 1, where the keyword `unsafe` stands.
pub(crate) fn unsafe_lines(source: &str) -> Vec<usize> {
    let code = code_only(source);
    let has_it = |line: &str| line.split(|c| !is_word(c)).any(|word| word == "unsafe");
    code.lines().enumerate().filter(|(_, line)| has_it(line)).map(|(index, _)| index + 1).collect()
}

/// Whether the root file of a crate says `#![forbid(unsafe_code)]`.
pub(crate) fn forbids_unsafe(source: &str) -> bool {
    let code: String = code_only(source).split_whitespace().collect();
    code.split("#![forbid(").skip(1).any(|lints| {
        lints.split_once(")]").is_some_and(|(lints, _)| lints.split(',').any(|lint| lint == "unsafe_code"))
    })
}

/// How many bytes at the start of `rest` are code, and how many after them are not; together at least one character.
fn token(rest: &str, first: char) -> (usize, usize) {
    match first {
        '/' if rest.starts_with("//") => (0, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (0, block_comment(rest)),
        '"' => (0, string(rest, '"')),
        '\'' => (0, character(rest)),
        c if is_word(c) => {
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let raw = matches!(&rest[..word], "r" | "br" | "cr");
            (word, if raw { raw_string(&rest[word..]) } else { 0 })
        }
        c => (c.len_utf8(), 0),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = if here.starts_with(b"/*") {
            depth += 1;
            2
        } else if here.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a text that starts and ends with `quote` and may hold escapes.
fn string(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal, or of the mere quote of a lifetime or label.
fn character(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => string(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// The length of a raw string after its `r`; 0 for anything else, such as a raw identifier.
fn raw_string(rest: &str) -> usize {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if !rest[hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", &rest[..hashes]);
    rest[hashes + 1..].find(&end).map_or(rest.len(), |at| hashes + 1 + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the keyword is found as block, function, impl, attribute and inside a macro.
    #[test]
    fn the_keyword_is_found_wherever_it_is_code() {
        let source = "fn f() {\n  unsafe { g() }\n}\nunsafe fn g() {}\nunsafe impl Send for X {}\n\
                      #[unsafe(no_mangle)]\nm!(unsafe{});";
        assert_eq!(unsafe_lines(source), [2, 4, 5, 6, 7]);
    }

    /// Checks that comments, strings, characters and longer words do not count, in every form they have.
    #[test]
    fn words_that_are_no_code_do_not_count() {
        for source in [
            "// unsafe",
            "//! unsafe\n/// unsafe",
            "/* unsafe /* unsafe */ unsafe */",
            "let s = \"unsafe \\\" unsafe\";",
            "let s = r#\"unsafe \" unsafe\"#; let b = br\"unsafe\"; let c = c\"unsafe\";",
            "let c = '\"'; // unsafe\nlet d = '\\''; // unsafe",
            "fn f<'a>(x: &'a str) -> &'a str { \"unsafe\" }",
            "#![forbid(unsafe_code)]\nfn not_unsafe() {}",
            "let r#unsafe_ = 1;",
            "let multi = \"a\n unsafe\n\";",
        ] {
            assert_eq!(unsafe_lines(source), [0_usize; 0], "{source}");
        }
    }

    /// Checks that code after each kind of text is seen again, on its own line.
    #[test]
    fn code_goes_on_after_a_text() {
        assert_eq!(unsafe_lines("let c = '\"';\nunsafe {}"), [2]);
        assert_eq!(unsafe_lines("/* a\n b */ unsafe {}"), [2]);
        assert_eq!(unsafe_lines("let s = r##\"a\"# b\"##;\nunsafe {}"), [2]);
        assert_eq!(unsafe_lines("let x: &'static str = \"\\\\\";\nunsafe {}"), [2]);
        assert_eq!(unsafe_lines("let c = 'é'; unsafe {}"), [1]);
    }

    /// Checks that the attribute is recognised alone, in a list and over lines, and not in a comment.
    #[test]
    fn the_attribute_is_recognised() {
        assert!(forbids_unsafe("//! Docs.\n\n#![forbid(unsafe_code)]\n"));
        assert!(forbids_unsafe("#![forbid(\n    missing_docs,\n    unsafe_code\n)]"));
        assert!(!forbids_unsafe("// #![forbid(unsafe_code)]"));
        assert!(!forbids_unsafe("#![deny(unsafe_code)]"));
        assert!(!forbids_unsafe("#![forbid(missing_docs)]"));
    }
}
