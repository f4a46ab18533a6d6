//! Breaking text into lines, in English between words and in Japanese between characters.

use unicode_width::UnicodeWidthChar;

/// Characters that may not begin a line in Japanese.
const NOT_FIRST: &str =
    "、。，．・：；？！」』）】〉》〕］｝ーぁぃぅぇぉっゃゅょァィゥェォッャュョヵヶ々…,.:;?!)]}%";
/// Characters that may not end a line in Japanese.
const NOT_LAST: &str = "「『（【〈《〔［｛([{";

/// A piece that is never broken, its width, and whether a blank stood before it.
struct Piece {
    text: String,
    width: usize,
    blank_before: bool,
}

/// Breaks a text into lines of at most `columns` columns; a single word that is longer stays whole.
///
/// A line end in the text is a blank, an empty line begins a new paragraph, and lines that begin with `- ` are items
/// of a list.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in paragraphs(text) {
        match paragraph.strip_prefix("- ") {
            Some(item) => {
                let inner = fill(item, columns.saturating_sub(2));
                let bullet =
                    |(i, line): (usize, String)| format!("{}{line}", if i == 0 { "• " } else { "  " });
                lines.extend(inner.into_iter().enumerate().map(bullet));
            }
            None => lines.extend(fill(&paragraph, columns)),
        }
    }
    lines
}

fn paragraphs(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            if open {
                out.push(String::new());
            }
            open = false;
        } else if line.starts_with("- ") || !open {
            out.push(line.to_owned());
            open = true;
        } else if let Some(last) = out.last_mut() {
            // Japanese has no blank where a line was broken.
            let wide = |c: Option<char>| c.is_some_and(|c| c.width() == Some(2));
            if !(wide(last.chars().next_back()) && wide(line.chars().next())) {
                last.push(' ');
            }
            last.push_str(line);
        }
    }
    while out.last().is_some_and(String::is_empty) {
        out.pop();
    }
    out
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut blank = false;
    let mut glue = false;
    for c in text.chars() {
        if c == ' ' {
            blank = true;
            glue = false;
            continue;
        }
        let width = c.width().unwrap_or(0);
        let last_is_wide = out.last().is_some_and(|p| p.text.chars().all(|c| c.width() == Some(2)));
        let starts = match out.last() {
            None => true,
            Some(_) if blank => true,
            Some(_) if glue || NOT_FIRST.contains(c) => false,
            Some(_) => width == 2 || last_is_wide || out.last().is_some_and(|p| ends_wide(&p.text)),
        };
        match out.last_mut() {
            Some(piece) if !starts => {
                piece.text.push(c);
                piece.width += width;
            }
            _ => out.push(Piece { text: c.to_string(), width, blank_before: blank }),
        }
        blank = false;
        glue = NOT_LAST.contains(c);
    }
    out
}

fn ends_wide(text: &str) -> bool {
    text.chars().next_back().is_some_and(|c| c.width() == Some(2))
}

fn fill(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for piece in pieces(text) {
        let blank = usize::from(piece.blank_before && !line.is_empty());
        if !line.is_empty() && used + blank + piece.width > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        } else if blank == 1 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&piece.text);
        used += piece.width;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::width;

    /// Checks that words stay whole, paragraphs stay apart and lists keep their indent.
    #[test]
    fn english_breaks_between_words() {
        let text = "one two three\nfour\n\n- item that is long\n- other";
        let lines = wrap(text, 10);
        assert_eq!(lines, ["one two", "three four", "", "• item", "  that is", "  long", "• other"]);
    }

    /// Checks that Japanese breaks anywhere but before closing marks, keeps Latin words whole and fits.
    #[test]
    fn japanese_breaks_between_characters() {
        let text = "メモリはmmap(2)で獲得します。ページ単位です。";
        for columns in 12..40 {
            let lines = wrap(text, columns);
            assert_eq!(lines.concat(), text);
            assert!(lines.iter().all(|l| width(l) <= columns), "{lines:?}");
            assert!(!lines.iter().any(|l| l.starts_with(['。', 'ー', ')'])), "{lines:?}");
            assert!(lines.iter().any(|l| l.contains("mmap(2)")), "{lines:?}");
        }
        assert_eq!(wrap("仮想アドレス\n空間", 40), ["仮想アドレス空間"]);
    }
}
