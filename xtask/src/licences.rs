//! The licences of all dependencies, when cargo-deny is not there to look.

use crate::metadata::{self, Package};
use crate::{fail_on, root};
use anyhow::{Context, Result, bail};
use std::fs;

/// Checks that the licence of every package lets us use it under a licence that deny.toml allows.
pub(crate) fn check() -> Result<()> {
    let path = root().join("deny.toml");
    let allowed = allowed(&fs::read_to_string(&path).with_context(|| path.display().to_string())?)?;
    let packages = metadata::with_dependencies()?;
    fail_on(&faults(&packages, &allowed), "licences that deny.toml does not allow:")?;
    println!("{} packages, each under one of: {}", packages.len(), allowed.join(", "));
    Ok(())
}

/// The list `allow` of the table `licenses`, so that it is written once, for cargo-deny and for us.
fn allowed(deny_toml: &str) -> Result<Vec<String>> {
    let list = deny_toml
        .split_once("[licenses]")
        .and_then(|(_, table)| table.split_once("allow = ["))
        .and_then(|(_, list)| list.split_once(']'))
        .map(|(list, _)| list)
        .context("deny.toml: [licenses] has no list `allow`")?;
    // Comments end with their line; what is between quotes is a licence.
    let lines = list.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before));
    Ok(lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect())
}

fn faults(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let fault = |package: &Package| {
        let label = format!("{} {}", package.name, package.version);
        let Some(licence) = &package.licence else { return Some(format!("{label}: none in its manifest")) };
        match satisfied(licence, allowed) {
            Ok(true) => None,
            Ok(false) => Some(format!("{label}: {licence}")),
            Err(error) => Some(format!("{label}: {licence:?}: {error}")),
        }
    };
    packages.iter().filter_map(fault).collect()
}

/// Whether an SPDX expression can be met with the allowed licences alone.
fn satisfied(expression: &str, allowed: &[String]) -> Result<bool> {
    // Old manifests write a slash for OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let answer = parser.any()?;
    match parser.words {
        [] => Ok(answer),
        [word, ..] => bail!("unexpected {word:?}"),
    }
}

/// What is left to read; AND binds more tightly than OR.
struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Ok(answer)
    }

    fn all(&mut self) -> Result<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Ok(answer)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("(") {
            let answer = self.any()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed");
            }
            return Ok(answer);
        }
        let licence = self.word()?;
        // A licence with an exception is another licence than without.
        let whole =
            if self.take("WITH") { format!("{licence} WITH {}", self.word()?) } else { licence.to_owned() };
        Ok(self.allowed.contains(&whole))
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.words {
            [word, rest @ ..] if !matches!(*word, "OR" | "AND" | "WITH" | "(" | ")") => {
                self.words = rest;
                Ok(word)
            }
            _ => bail!("a licence is missing"),
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        match self.words {
            [word, rest @ ..] if *word == wanted => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(licences: &[&str]) -> Vec<String> {
        licences.iter().map(|l| (*l).to_owned()).collect()
    }

    /// Checks what an expression of each form is worth when only MIT, Zlib and Unicode-3.0 are allowed.
    #[test]
    fn expressions_are_worth_what_they_say() {
        let allowed = list(&["MIT", "Zlib", "Unicode-3.0"]);
        for (expression, worth) in [
            ("MIT", true),
            ("GPL-2.0-only", false),
            ("GPL-2.0-only OR MIT", true),
            ("GPL-2.0-only AND MIT", false),
            ("Unlicense/MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-2.0-only OR Apache-2.0) AND Unicode-3.0", false),
            // AND first: GPL alone is refused, the rest is not needed.
            ("GPL-2.0-only AND Zlib OR MIT", true),
            ("MIT OR Zlib AND GPL-2.0-only", true),
            ("MIT WITH LLVM-exception", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
        ] {
            assert_eq!(satisfied(expression, &allowed).unwrap(), worth, "{expression}");
        }
    }

    /// Checks that an expression we cannot read is an error, never a yes.
    #[test]
    fn unreadable_expressions_are_errors() {
        let allowed = list(&["MIT"]);
        for bad in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT MIT", "MIT WITH"] {
            assert!(satisfied(bad, &allowed).is_err(), "{bad}");
        }
    }

    /// Checks that the list of our own deny.toml is read in full.
    #[test]
    fn our_own_list_is_read() {
        let ours = allowed(include_str!("../../deny.toml")).unwrap();
        let wanted =
            ["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "CC0-1.0"];
        assert_eq!(ours, wanted);
        assert!(allowed("[bans]\n").is_err());
    }

    /// Checks that a package without a licence and one under another licence are both named.
    #[test]
    fn faults_name_the_package() {
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            ..Package::default()
        };
        let packages = [package("a", None), package("b", Some("GPL-3.0-only")), package("c", Some("MIT"))];
        let found = faults(&packages, &list(&["MIT"]));
        assert_eq!(found, ["a 1.0.0: none in its manifest", "b 1.0.0: GPL-3.0-only"]);
    }
}
