//! Sentences that do not know their language yet: an experiment makes them, a renderer asks for one of the two.

use std::fmt::{self, Display};
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_view::{Lang, Text, units};

/// A text with the values it shows.
#[derive(Clone, Debug)]
pub struct Say {
    text: Text,
    values: Vec<(&'static str, Word)>,
}

/// A value inside a sentence.
#[derive(Clone, Debug)]
pub enum Word {
    /// The same in every language: a number, an address, a name that is already escaped.
    Plain(String),
    /// A text of its own.
    Say(Say),
}

impl Say {
    /// The text, its values to follow.
    pub fn new(text: Text) -> Say {
        Say { text, values: Vec::new() }
    }

    /// The values of this sentence, with another text.
    #[must_use]
    pub fn retell(&self, text: Text) -> Say {
        Say { text, values: self.values.clone() }
    }

    /// Fills in one value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Word>) -> Say {
        self.values.push((name, value.into()));
        self
    }

    /// The sentence in one language.
    pub fn get(&self, lang: Lang) -> String {
        let shown: Vec<(&str, InLang<'_>)> =
            self.values.iter().map(|(name, word)| (*name, InLang { word, lang })).collect();
        let values: Vec<(&str, &dyn Display)> =
            shown.iter().map(|(name, word)| (*name, word as &dyn Display)).collect();
        self.text.fill(lang, &values)
    }
}

struct InLang<'a> {
    word: &'a Word,
    lang: Lang,
}

impl Display for InLang<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word {
            Word::Plain(text) => f.write_str(text),
            Word::Say(say) => f.write_str(&say.get(self.lang)),
        }
    }
}

impl From<Text> for Say {
    fn from(text: Text) -> Say {
        Say::new(text)
    }
}

impl From<String> for Word {
    fn from(text: String) -> Word {
        Word::Plain(text)
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Word {
        Word::Plain(text.to_owned())
    }
}

impl From<u64> for Word {
    fn from(n: u64) -> Word {
        Word::Plain(units::count(n))
    }
}

impl From<Bytes> for Word {
    fn from(bytes: Bytes) -> Word {
        Word::Plain(units::size(bytes))
    }
}

impl From<Addr> for Word {
    fn from(addr: Addr) -> Word {
        Word::Plain(addr.to_string())
    }
}

impl From<AddrRange> for Word {
    fn from(range: AddrRange) -> Word {
        Word::Plain(range.to_string())
    }
}

impl From<Text> for Word {
    fn from(text: Text) -> Word {
        Word::Say(Say::new(text))
    }
}

impl From<Say> for Word {
    fn from(say: Say) -> Word {
        Word::Say(say)
    }
}

/// A section of a longer text: what stands below the line `## name`, up to the next such line.
pub(crate) fn section(document: &'static str, name: &str) -> &'static str {
    let mut rest = document;
    while let Some(at) = rest.find("## ") {
        let after = &rest[at + 3..];
        let (title, body) = after.split_once('\n').unwrap_or((after, ""));
        if title.trim() == name {
            return body.find("\n## ").map_or(body, |end| &body[..end]).trim();
        }
        rest = body;
    }
    ""
}

/// The names of all sections, for the tests that compare two languages.
#[cfg(test)]
pub(crate) fn sections(document: &'static str) -> Vec<&'static str> {
    document.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a sentence inside a sentence is in the language of the outer one.
    #[test]
    fn sentences_nest_in_one_language() {
        let inner = Text { en: "{n} pages", ja: "{n} ページ" };
        let outer = Text { en: "touched {what}", ja: "{what}に触れた" };
        let say = Say::new(outer).with("what", Say::new(inner).with("n", 1234u64));
        assert_eq!(say.get(Lang::En), "touched 1,234 pages");
        assert_eq!(say.get(Lang::Ja), "1,234 ページに触れた");
    }

    /// Checks that sections are found by name, and that a missing one is empty.
    #[test]
    fn sections_are_found() {
        let text = "intro\n## a\none\ntwo\n\n## b\nthree\n";
        assert_eq!(section(text, "a"), "one\ntwo");
        assert_eq!(section(text, "b"), "three");
        assert_eq!(section(text, "c"), "");
    }
}
