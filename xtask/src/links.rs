//! The relative links of the Markdown files: each must lead to a file or folder of the tree.

use crate::{fail_on, root};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Folders that are not ours to check.
const SKIPPED: &[&str] = &["target", ".git", "node_modules"];

/// Checks every Markdown file of the tree.
pub(crate) fn check() -> Result<()> {
    let root = root();
    let (mut faults, mut count) = (Vec::new(), 0);
    let files = markdown_files(&root)?;
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file = path.strip_prefix(&root).unwrap_or(path);
        for (line, link) in links(&text) {
            let Some(target) = relative(&link) else { continue };
            count += 1;
            if !inside(file, target).is_some_and(|t| root.join(t).exists()) {
                faults.push(format!("{}:{line}: {link} leads nowhere", file.display()));
            }
        }
    }
    fail_on(&faults, "broken links:")?;
    println!("{} Markdown files, {count} relative links, none broken", files.len());
    Ok(())
}

fn markdown_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|s| entry.file_name() == *s) {
                found.extend(markdown_files(&path)?);
            }
        } else if path.extension().is_some_and(|e| e == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The destinations in a text with their lines, from 1: `[text](here)`, `![picture](here)` and `[name]: here`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => found.extend(links_of_line(trimmed).map(|link| (index + 1, link))),
        }
    }
    found
}

fn links_of_line(line: &str) -> impl Iterator<Item = String> {
    // Whatever is between backticks is code: every second piece.
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let definition = prose.strip_prefix('[').and_then(|l| l.split_once("]: ")).map(|(_, to)| to.to_owned());
    let inline: Vec<String> = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| match rest.strip_prefix('<') {
            Some(rest) => rest.split_once('>').map(|(to, _)| format!("<{to}>")),
            None => Some(rest[..closing(rest)?].to_owned()),
        })
        .collect();
    definition.into_iter().chain(inline)
}

/// Where the parenthesis that was opened before `rest` is closed; a destination may hold pairs of its own.
fn closing(rest: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => return Some(at),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The path in a destination, without its title and `#place`; `None` for other sites and for places in the same file.
fn relative(link: &str) -> Option<&str> {
    let link = link.trim();
    let path = match link.strip_prefix('<') {
        Some(rest) => rest.split('>').next()?,
        None => link.split_whitespace().next()?,
    };
    let path = path.split('#').next()?;
    let has_scheme =
        path.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphabetic()));
    (!path.is_empty() && !has_scheme && !path.starts_with("//")).then_some(path)
}

/// The place from the top of the tree that `target` means in `file`; `None` when it leads out of the tree.
fn inside(file: &Path, target: &str) -> Option<PathBuf> {
    // A leading slash means the top of the tree, as forges show it.
    let path = match target.strip_prefix('/') {
        Some(from_top) => PathBuf::from(from_top),
        None => file.parent()?.join(target.replace("%20", " ")),
    };
    let mut place = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if !place.pop() => return None,
            Component::Normal(name) => place.push(name),
            _ => {}
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every form of link is found, on its line.
    #[test]
    fn links_are_found() {
        let text =
            "See [a](docs/A.md) and ![b](b.svg \"title\").\n\n[c]: ../C.md\n[d](<two words.md>) [e](f(1).md)";
        let found: Vec<(usize, String)> = links(text);
        let wanted =
            [(1, "docs/A.md"), (1, "b.svg \"title\""), (3, "../C.md"), (4, "<two words.md>"), (4, "f(1).md")];
        assert_eq!(found, wanted.map(|(line, link)| (line, link.to_owned())));
    }

    /// Checks that code is no link, whether fenced or between backticks.
    #[test]
    fn code_is_no_link() {
        let text = "`[a](b)` x\n```rust\nlet x = a[0](b);\n[c]: d\n```\n~~~\n```\n[e](f)\n~~~\n";
        assert_eq!(links(text), []);
        assert_eq!(links("`x` [a](b) `y`"), [(1, "b".to_owned())]);
    }

    /// Checks that other sites and places in the same file are not looked up, and what is left of the others.
    #[test]
    fn only_paths_are_looked_up() {
        assert_eq!(relative("https://example.org/x"), None);
        assert_eq!(relative("mailto:a@example.org"), None);
        assert_eq!(relative("#place"), None);
        assert_eq!(relative("A.md#place"), Some("A.md"));
        assert_eq!(relative("b.svg \"title\""), Some("b.svg"));
        assert_eq!(relative("<two words.md>"), Some("two words.md"));
    }

    /// Checks that paths are counted from the file or from the top, and never lead out of the tree.
    #[test]
    fn paths_stay_in_the_tree() {
        let file = Path::new("docs/A.md");
        assert_eq!(inside(file, "B.md"), Some(PathBuf::from("docs/B.md")));
        assert_eq!(inside(file, "../README.md"), Some(PathBuf::from("README.md")));
        assert_eq!(inside(file, "/crates/"), Some(PathBuf::from("crates")));
        assert_eq!(inside(file, "a%20b.md"), Some(PathBuf::from("docs/a b.md")));
        assert_eq!(inside(file, "../../etc/passwd"), None);
    }
}
