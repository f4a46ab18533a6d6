//! The BPF object: built from its source with clang, kept beside it, and compared, so that nobody else needs clang.

use crate::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJECT: &str = "vm.x86_64.bpf.o";
const NOTE: &str = "vm.x86_64.bpf.txt";
/// Another version makes other bytes.
const CLANG: u32 = 14;

/// Builds the object; with `check` only says whether it would be the one that is kept.
pub(crate) fn run(check: bool) -> Result<()> {
    let folder = root().join("crates/sys/bpf");
    let Some(tools) = Tools::find() else {
        let reason =
            format!("clang-{CLANG} and llvm-strip-{CLANG} are not here (Debian: clang-{CLANG} llvm-{CLANG})");
        if check {
            println!("not compared: {reason}");
            return Ok(());
        }
        bail!("{reason}");
    };
    let scratch = root().join("target/bpf");
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    let built = scratch.join(OBJECT);
    tools.build(&folder, &built)?;
    let note = note(&tools, &built)?;
    let (object, text) = (folder.join(OBJECT), folder.join(NOTE));
    if !check {
        fs::copy(&built, &object).with_context(|| object.display().to_string())?;
        fs::write(&text, &note).with_context(|| text.display().to_string())?;
        print!("{note}");
        return Ok(());
    }
    let kept = fs::read(&object).with_context(|| object.display().to_string())?;
    if kept != fs::read(&built)? {
        bail!("{OBJECT} is not what its source makes: cargo xtask bpf");
    }
    if fs::read_to_string(&text)? != note {
        bail!("{NOTE} does not tell of {OBJECT}: cargo xtask bpf");
    }
    println!("{OBJECT} is what its source makes");
    Ok(())
}

struct Tools {
    clang: PathBuf,
    strip: PathBuf,
    version: String,
}

impl Tools {
    fn find() -> Option<Tools> {
        let clang = [format!("clang-{CLANG}"), "clang".to_owned()];
        let (clang, version) = clang.into_iter().find_map(|name| {
            let output = Command::new(&name).arg("--version").output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1)?.to_owned();
            (version.split('.').next() == Some(&CLANG.to_string())).then_some((PathBuf::from(name), version))
        })?;
        let strip = PathBuf::from(format!("llvm-strip-{CLANG}"));
        Command::new(&strip).arg("--version").output().ok()?;
        Some(Tools { clang, strip, version })
    }

    /// The bytes do not depend on where the tree lies.
    fn build(&self, folder: &Path, built: &Path) -> Result<()> {
        let here = folder.canonicalize()?;
        let mut clang = Command::new(&self.clang);
        clang.current_dir(&here).args(FLAGS);
        clang.arg(format!("-ffile-prefix-map={}=.", here.display()));
        clang.args(["-c", "vm.bpf.c", "-o"]).arg(built);
        done(&mut clang)?;
        done(Command::new(&self.strip).arg("-g").arg(built))
    }
}

const FLAGS: [&str; 10] = [
    "-target",
    "bpf",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-Wall",
    "-Werror",
    "-Wno-unused-function",
    "-fdebug-compilation-dir=.",
    "-nostdinc",
];

fn done(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn note(tools: &Tools, built: &Path) -> Result<String> {
    let output = Command::new("sha256sum").arg(built).output().context("sha256sum")?;
    let sum = String::from_utf8(output.stdout)?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    Ok(format!("file: {OBJECT}\nsha256: {sum}\nclang: {}\nflags: {}\n", tools.version, FLAGS.join(" ")))
}
