//! English and Japanese.

use std::fmt::Display;

/// The language a person reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

impl Lang {
    /// From a locale or a language's name: `ja`, `ja_JP.UTF-8`, `en`, `C`; `None` for one we do not have.
    pub fn from_locale(text: &str) -> Option<Lang> {
        let language = text.split(['_', '.', '-', '@']).next().unwrap_or_default();
        match language.to_ascii_lowercase().as_str() {
            "ja" => Some(Lang::Ja),
            "en" | "c" | "posix" => Some(Lang::En),
            _ => None,
        }
    }

    /// From the environment: the first of LC_ALL, LC_MESSAGES and LANG that is set and not empty; English otherwise.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Lang {
        ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(get)
            .find(|value| !value.is_empty())
            .and_then(|value| Lang::from_locale(&value))
            .unwrap_or_default()
    }
}

/// A text in both languages; `{name}` stands for a value.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// Japanese.
    pub ja: &'static str,
}

impl Text {
    /// The text as it stands.
    pub const fn get(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Ja => self.ja,
        }
    }

    /// The text with each `{name}` replaced by its value.
    ///
    /// ```
    /// use vmatlas_view::{Lang, Text};
    /// let text = Text { en: "{n} of {all}", ja: "全{all}のうち{n}" };
    /// assert_eq!(text.fill(Lang::Ja, &[("n", &3), ("all", &"十")]), "全十のうち3");
    /// ```
    pub fn fill(&self, lang: Lang, values: &[(&str, &dyn Display)]) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        self.fill_into(&mut out, lang, &mut |out, name| {
            // Writing to a String does not fail.
            let _ = match values.iter().find(|(n, _)| *n == name) {
                Some((_, value)) => write!(out, "{value}"),
                None => write!(out, "{{{name}}}"),
            };
        });
        out
    }

    /// Adds the text to `out`, calling `push` to add the value of each `{name}`.
    pub fn fill_into(&self, out: &mut String, lang: Lang, push: &mut dyn FnMut(&mut String, &str)) {
        let mut rest = self.get(lang);
        // One pass: a value may itself hold braces.
        // Byte by byte: a text is so short that the search of `str::find` costs more to begin than to do.
        let find = |text: &str, brace: u8| text.bytes().position(|byte| byte == brace);
        while let Some(open) = find(rest, b'{') {
            let Some(close) = find(&rest[open..], b'}').map(|at| open + at) else { break };
            out.push_str(&rest[..open]);
            push(out, &rest[open + 1..close]);
            rest = &rest[close + 1..];
        }
        out.push_str(rest);
    }
}

/// Defines texts as constants, and `ALL` of them for the test that looks for gaps.
///
/// Public so that every face can keep its own table in the same form.
#[macro_export]
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $en:expr, $ja:expr;)*) => {
        $($(#[$doc])* pub const $name: $crate::Text = $crate::Text { en: $en, ja: $ja };)*
        /// Every text of this table with its name.
        pub const ALL: &[(&str, $crate::Text)] = &[$((stringify!($name), $name)),*];
    };
}

/// What is wrong with a table of texts: a missing language, or a value that only one of the two shows.
///
/// For tests of every table made with `texts!`.
pub fn gaps(table: &[(&str, Text)]) -> Vec<String> {
    let names = |text: &str| -> Vec<String> {
        let mut names: Vec<String> = text
            .split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(n, _)| n.to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    let mut found = Vec::new();
    for (name, text) in table {
        if text.en.trim().is_empty() || text.ja.trim().is_empty() {
            found.push(format!("{name}: one language is empty"));
        }
        if names(text.en) != names(text.ja) {
            found.push(format!("{name}: the two languages show different values"));
        }
        // A word of Japanese has a Japanese letter, unless the text is only symbols and units.
        let words: String =
            text.en.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest)).collect();
        let has_words = words.split(|c: char| !c.is_alphabetic()).any(|w| w.len() > 3);
        if has_words && text.en == text.ja && text.ja.is_ascii() {
            found.push(format!("{name}: not translated"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which variable decides, and that an unknown language is English.
    #[test]
    fn the_environment_decides() {
        let env = |vars: &'static [(&'static str, &'static str)]| {
            Lang::from_environment(|name| {
                vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(env(&[("LANG", "ja_JP.UTF-8")]), Lang::Ja);
        assert_eq!(env(&[("LC_ALL", "C.UTF-8"), ("LANG", "ja_JP.UTF-8")]), Lang::En);
        assert_eq!(env(&[("LC_ALL", ""), ("LC_MESSAGES", "ja"), ("LANG", "en")]), Lang::Ja);
        assert_eq!(env(&[("LANG", "fr_FR")]), Lang::En);
        assert_eq!(env(&[]), Lang::En);
    }

    /// Checks that the gap finder finds each kind of gap, so that the tests of the tables can fail.
    #[test]
    fn gaps_are_found() {
        let bad = [
            ("A", Text { en: "hello", ja: "" }),
            ("B", Text { en: "hello {x}", ja: "やあ" }),
            ("C", Text { en: "hello", ja: "hello" }),
        ];
        assert_eq!(gaps(&bad).len(), 3);
        assert_eq!(gaps(&[("D", Text { en: "{n} KiB", ja: "{n} KiB" })]), Vec::<String>::new());
    }

    /// Checks that a value with braces is not filled again.
    #[test]
    fn values_are_filled_once() {
        let text = Text { en: "{a}{b}{c", ja: "" };
        assert_eq!(text.fill(Lang::En, &[("a", &"{b}"), ("b", &1)]), "{b}1{c");
    }
}
