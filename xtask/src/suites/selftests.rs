//! The kernel's own tests of its memory calls (tools/testing/selftests/mm), built from Debian's sources.

use super::{Watch, each, need};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Those that are about address spaces and need nothing but root.
///
/// memfd_secret is not among them: its fifth test traces a child of its own, which fails under any tracer.
const TESTS: &[&str] = &[
    "mremap_test",
    "mremap_dontunmap",
    "map_fixed_noreplace",
    "mlock2-tests",
    "mlock-random-test",
    "mseal_test",
    "madv_populate",
    "droppable",
    "mdwe_test",
];
const ARCHIVE: &str = "/usr/src/linux-source-6.12.tar.xz";

pub(super) fn run(watch: &Watch, tree: Option<&Path>) -> Result<()> {
    let tree = match tree {
        Some(tree) => tree.to_owned(),
        None => unpacked(&watch.folder)?,
    };
    need("gcc", "gcc libc6-dev libcap-dev")?;
    command("make", &["-s", "ARCH=x86", "headers"], &tree)?;
    let tests = tree.join("tools/testing/selftests/mm");
    each(watch, "test", TESTS.iter().copied(), |name| {
        let program = watch.folder.join(name);
        let (source, out) = (format!("{name}.c"), program.display().to_string());
        let include = ["-isystem", "../../../../usr/include", "-I..", "-I../../../include"];
        let sources =
            [source.as_str(), "vm_util.c", "thp_settings.c", "-o", &out, "-lpthread", "-lrt", "-lcap"];
        command("gcc", &[&["-O1", "-w"], &include[..], &sources[..]].concat(), &tests)?;
        let outcome = watch.both(name, &[&out], Duration::from_secs(60))?;
        let same = verdicts(&outcome.plain.output) == verdicts(&outcome.watched.output)
            && outcome.plain.status.and_then(|s| s.code()) == outcome.watched.status.and_then(|s| s.code());
        Ok((outcome, same))
    })
}

/// The lines of TAP that say how each test ended; what is measured in them differs from run to run.
fn verdicts(output: &str) -> Vec<String> {
    let is_verdict =
        |line: &&str| line.starts_with("ok ") || line.starts_with("not ok ") || line.starts_with("# Totals");
    let words = |line: &str| {
        let words = line.split_whitespace().filter(|word| !word.starts_with("0x") && !word.ends_with("ns"));
        words.collect::<Vec<_>>().join(" ")
    };
    output.lines().filter(is_verdict).map(words).collect()
}

/// Debian's sources, unpacked once.
pub(super) fn unpacked(folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("linux");
    if !tree.join("Makefile").is_file() {
        if !Path::new(ARCHIVE).is_file() {
            bail!("{ARCHIVE} is missing: apt-get install linux-source-6.12 libcap-dev make bison flex");
        }
        std::fs::create_dir_all(&tree)?;
        println!("unpacking {ARCHIVE}");
        command("tar", &["xf", ARCHIVE, "--strip-components=1"], &tree)?;
    }
    Ok(tree)
}

fn command(program: &str, args: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| program.to_owned())?;
    if !status.success() {
        bail!("{program} {} ended with {status}", args.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that verdicts are compared, and measured times are not.
    #[test]
    fn verdicts_are_told_from_measures() {
        let first = "# noise\nok 1 a\nnot ok 2 b 0x7f00\n# Totals: pass:1 fail:1\n";
        assert_eq!(verdicts(first), verdicts(&first.replace("0x7f00", "0x8000").replace("noise", "else")));
        assert_ne!(verdicts(first), verdicts(&first.replace("not ok", "ok")));
    }
}
