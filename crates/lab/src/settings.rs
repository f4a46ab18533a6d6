//! Parameters of experiments: what can be asked, and what was.

use std::collections::BTreeMap;
use vmatlas_event::Bytes;
use vmatlas_view::units;

/// A parameter: `--NAME VALUE` on the command line. Its help is the section `param NAME` of the texts.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Its usual value, as it would be written; empty for none.
    pub usual: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// A size from the first to the second.
    Size(u64, u64),
    /// A number from the first to the second.
    Count(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Anything that the function agrees to; the name stands in help.
    Text(&'static str, fn(&str) -> Result<(), String>),
    /// Nothing: it is there or not.
    Flag,
}

impl Param {
    /// A number of things.
    pub const fn count(name: &'static str, usual: &'static str, least: u64, most: u64) -> Param {
        Param { name, takes: Takes::Count(least, most), usual }
    }

    /// A size.
    pub const fn size(name: &'static str, usual: &'static str, least: u64, most: u64) -> Param {
        Param { name, takes: Takes::Size(least, most), usual }
    }

    /// One of several words; the first is usual.
    pub const fn word(name: &'static str, words: &'static [&'static str]) -> Param {
        Param { name, takes: Takes::Word(words), usual: words[0] }
    }

    /// Whether it can have this value; what would be possible instead.
    ///
    /// # Errors
    /// The words for what is possible.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.takes {
            Takes::Size(least, most) => match units::parse_size(value) {
                Some(size) if (least..=most).contains(&size.0) => Ok(()),
                _ => Err(format!(
                    "a size from {} to {}, such as 64KiB",
                    units::size(Bytes(least)),
                    units::size(Bytes(most))
                )),
            },
            Takes::Count(least, most) => match value.parse::<u64>() {
                Ok(n) if (least..=most).contains(&n) => Ok(()),
                _ => Err(format!("a number from {least} to {most}")),
            },
            Takes::Word(words) if words.contains(&value) => Ok(()),
            Takes::Word(words) => Err(format!("one of {}", words.join(", "))),
            Takes::Text(_, check) => check(value),
            Takes::Flag => Ok(()),
        }
    }

    /// What stands for its value in help; `None` when it takes none.
    pub fn value_name(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Size(..) => Some("SIZE"),
            Takes::Count(..) => Some("N"),
            Takes::Word(_) => Some("WORD"),
            Takes::Text(name, _) => Some(name),
            Takes::Flag => None,
        }
    }
}

/// The values of an experiment's parameters.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    /// What was given; the rest is as usual.
    pub fn new(params: &'static [Param], given: &[(String, String)]) -> Settings {
        let mut values = BTreeMap::new();
        for param in params.iter().filter(|param| !param.usual.is_empty()) {
            values.insert(param.name, param.usual.to_owned());
        }
        for param in params {
            let value =
                given.iter().rev().find(|(name, value)| name == param.name && param.check(value).is_ok());
            if let Some((_, value)) = value {
                values.insert(param.name, value.clone());
            }
        }
        Settings { values }
    }

    /// A value as it was written; `None` when it was not given and has no usual one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether a flag, or anything, was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A number; 0 for a parameter that does not exist.
    pub fn count(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// A size; 0 for a parameter that does not exist.
    pub fn size(&self, name: &str) -> Bytes {
        self.text(name).and_then(units::parse_size).unwrap_or(Bytes(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what was not given is as usual, and that values are checked against their bounds.
    #[test]
    fn what_is_not_given_is_as_usual() {
        const PARAMS: &[Param] = &[
            Param::count("pages", "4", 1, 9),
            Param::size("length", "64KiB", 1, 1 << 20),
            Param::word("how", &["read", "write"]),
        ];
        let usual = Settings::new(PARAMS, &[]);
        assert_eq!(
            (usual.count("pages"), usual.size("length"), usual.text("how")),
            (4, Bytes(1 << 16), Some("read"))
        );
        let given = |name: &str, value: &str| Settings::new(PARAMS, &[(name.to_owned(), value.to_owned())]);
        assert_eq!(given("pages", "7").count("pages"), 7);
        assert_eq!(given("pages", "10").count("pages"), 4);
        assert!(
            PARAMS[0].check("10").is_err()
                && PARAMS[1].check("2MiB").is_err()
                && PARAMS[2].check("x").is_err()
        );
        assert!(PARAMS.iter().all(|param| param.check(param.usual).is_ok()));
    }
}
