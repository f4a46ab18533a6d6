//! The model alone against the kernel's own mm/vma.c, which decides what merges and what is cut, built as a program.
//!
//! The kernel builds it for its own tests (tools/testing/vma); ours takes the place of those tests there, in a folder
//! of links to the kernel tree, which stays as it is.

use super::{folder, need, selftests};
use crate::metadata::{cargo, release_folder};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// GPL code is around it once it is built, so that is done here and nowhere else.
const SOURCE: &str = include_str!("vma.c");
/// What the build reads, below the tree.
const LINKS: &[&str] = &[
    "arch",
    "include",
    "lib",
    "mm",
    "tools/arch",
    "tools/include",
    "tools/lib",
    "tools/testing/shared",
    "tools/testing/vma/Makefile",
    "tools/testing/vma/linux",
    "tools/testing/vma/vma_internal.h",
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    tree: Option<&'a Path>,
    operations: u64,
    seed: u64,
}

pub(super) fn run(args: &[&str]) -> Result<()> {
    let options = parse(args)?;
    need("gcc", "gcc libc6-dev make")?;
    need("make", "gcc libc6-dev make")?;
    let folder = folder()?;
    let tree = match options.tree {
        Some(tree) => tree.canonicalize().with_context(|| tree.display().to_string())?,
        None => selftests::unpacked(&folder)?,
    };
    let driver = build(&tree, &folder.join("vma"))?;
    let model = ["build", "--release", "--quiet", "-p", "vmatlas-model", "--example", "model_against_vma"];
    if !cargo().args(model).status()?.success() {
        bail!("cargo build failed");
    }
    // Some 100,000 operations a second, and a hundred times as long where the machine is busy.
    let limit = Duration::from_secs(60 + options.operations / 1000);
    let start = Instant::now();
    let mut child = Command::new(release_folder().join("examples/model_against_vma"))
        .arg(&driver)
        .args([options.operations, options.seed].map(|number| number.to_string()))
        .stdin(Stdio::null())
        .spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            // The driver reads from it, and ends at the end of what it reads.
            child.kill()?;
            child.wait()?;
            bail!("not done after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        bail!("seed {}: not equal (see above)", options.seed);
    }
    Ok(())
}

fn parse<'a>(args: &[&'a str]) -> Result<Options<'a>> {
    let mut options = Options { tree: None, operations: 200_000, seed: 1 };
    let mut words = args.iter().copied();
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|n| n.parse().ok()).with_context(|| format!("{word} takes a number"));
        match word {
            "--operations" => options.operations = number()?,
            "--seed" => options.seed = number()?,
            tree if options.tree.is_none() && !tree.starts_with('-') => options.tree = Some(Path::new(tree)),
            _ => bail!("not understood: {word}"),
        }
    }
    Ok(options)
}

/// Builds the driver with the code of `tree`; everything that comes of it is in `folder`.
fn build(tree: &Path, folder: &Path) -> Result<PathBuf> {
    // Another tree may have been linked before, and what was built from it is newer than this one's files.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for name in LINKS {
        let (from, to) = (tree.join(name), folder.join(name));
        if !from.exists() {
            bail!("{} is missing: this needs the sources of Linux 6.12", from.display());
        }
        fs::create_dir_all(to.parent().unwrap_or(folder))?;
        symlink(&from, &to).with_context(|| to.display().to_string())?;
    }
    let place = folder.join("tools/testing/vma");
    fs::write(place.join("vma.c"), SOURCE)?;
    let output = Command::new("make")
        .args(["-s", "vma"])
        // Without it the kernel's harness has no sealed memory, and maple trees of another shape than the kernel's.
        .env("CFLAGS", "-DCONFIG_64BIT")
        .current_dir(&place)
        .stdin(Stdio::null())
        .output()
        .context("make")?;
    if !output.status.success() {
        let (tree, complaints) = (tree.display(), String::from_utf8_lossy(&output.stderr));
        if complaints.contains("urcu") {
            bail!("liburcu is missing: apt-get install liburcu-dev");
        }
        bail!("mm/vma.c of {tree} cannot be built with our driver, which is for Linux 6.12:\n{complaints}");
    }
    Ok(place.join("vma"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a tree, a number and a seed are understood in any order, and that a mistake is none of them.
    #[test]
    fn arguments_are_understood_in_any_order() {
        let tree = Some(Path::new("/src/linux"));
        let options = Options { tree, operations: 5, seed: 9 };
        assert_eq!(parse(&["/src/linux", "--seed", "9", "--operations", "5"]).unwrap(), options);
        assert_eq!(parse(&["--operations", "5", "/src/linux", "--seed", "9"]).unwrap(), options);
        assert_eq!(parse(&[]).unwrap(), Options { tree: None, operations: 200_000, seed: 1 });
        for wrong in [&["--sed", "1"][..], &["--seed"], &["--seed", "x"], &["a", "b"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
