//! The tests once more, as a user who may do nothing special.
//!
//! That user can often enter neither the tree nor root's toolchain, so nothing is built again: the test programs that
//! root built are copied out, with the `vmatlas` they start and the files they read, and are run there.

use super::scratch::{Scratch, copy_file, copy_tree};
use crate::metadata::cargo;
use crate::root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who owns nothing: `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    /// Such as `vmatlas-proc (lib vmatlas_proc)`.
    label: String,
    /// The target's name.
    name: String,
    executable: PathBuf,
    /// The folder of its package, where cargo runs its tests.
    package: PathBuf,
    is_test: bool,
}

/// Where tests of the second run note what they skipped.
pub(super) fn skip_list(scratch: &Scratch) -> PathBuf {
    scratch.path().join("home").join("skipped")
}

/// Runs every test program as nobody and fails when one does; all are run.
pub(super) fn run(scratch: &Scratch) -> Result<()> {
    let mut programs = build(&["test", "--workspace", "--no-run"])?;
    if !programs.iter().any(|p| !p.is_test && p.name == "vmatlas") {
        programs.extend(build(&["build", "--package", "vmatlas-cli", "--bin", "vmatlas"])?);
    }
    // Cargo reports them in the order in which they happened to be ready.
    programs.sort_by(|a, b| a.label.cmp(&b.label));
    let place = Place::furnish(scratch, &programs)?;
    let tests: Vec<&Program> = programs.iter().filter(|p| p.is_test).collect();
    let mut failed = Vec::new();
    for test in &tests {
        println!("     Running {} as user {NOBODY}", test.label);
        io::stdout().flush()?;
        let status = place.command(test)?.status().context("setpriv")?;
        if !status.success() {
            failed.push(format!("{}: {status}", test.label));
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} test programs failed:\n  {}", failed.len(), tests.len(), failed.join("\n  "));
    }
    println!("{} test programs passed", tests.len());
    Ok(())
}

/// Has cargo build and asks it what came out.
fn build(arguments: &[&str]) -> Result<Vec<Program>> {
    let output = cargo()
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(programs(&String::from_utf8_lossy(&output.stdout)))
}

/// The programs named in cargo's messages; other messages are passed over.
fn programs(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message["target"]["name"].as_str()?.to_owned();
        let kind = message["target"]["kind"][0].as_str()?;
        let package = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
        let of = package.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Some(Program {
            label: format!("{of} ({kind} {name})"),
            name,
            executable: PathBuf::from(message["executable"].as_str()?),
            package,
            is_test: message["profile"]["test"].as_bool()?,
        })
    };
    messages.lines().filter_map(program).collect()
}

/// The copy that nobody works in.
struct Place {
    tree: PathBuf,
    binaries: PathBuf,
    tests: PathBuf,
    home: PathBuf,
}

impl Place {
    fn furnish(scratch: &Scratch, programs: &[Program]) -> Result<Place> {
        let place = Place {
            tree: scratch.path().join("tree"),
            binaries: scratch.folder("bin")?,
            tests: scratch.folder("tests")?,
            home: scratch.folder("home")?,
        };
        // The whole tree, since it is small: fixtures, snapshots, and whatever else a test reads next to itself.
        copy_tree(&root(), &place.tree, &["target", ".git", "node_modules"])?;
        for program in programs {
            copy_file(&program.executable, &place.copied(program)?)?;
        }
        fs::create_dir(place.tmp())?;
        for folder in [place.home.clone(), place.tmp()] {
            chown(&folder, Some(NOBODY), Some(NOBODY)).context("chown")?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        }
        Ok(place)
    }

    fn tmp(&self) -> PathBuf {
        self.home.join("tmp")
    }

    fn copied(&self, program: &Program) -> Result<PathBuf> {
        // Test programs carry a hash in their names; several packages may have a test of the same name.
        let name = program.executable.file_name().context("a program without a name")?;
        Ok(if program.is_test { self.tests.join(name) } else { self.binaries.join(&program.name) })
    }

    fn command(&self, test: &Program) -> Result<Command> {
        let folder = test.package.strip_prefix(root()).unwrap_or(Path::new("."));
        let folder = self.tree.join(folder);
        let vmatlas = self.binaries.join("vmatlas");
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()])
            .arg(self.copied(test)?)
            .current_dir(&folder)
            .stdin(Stdio::null())
            // Nothing of root's environment: it may name folders that nobody cannot enter.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("TMPDIR", self.tmp())
            .env("LANG", "C.UTF-8")
            .env("VMATLAS_CI", "1")
            .env("VMATLAS_SKIP_LIST", self.home.join("skipped"))
            .env("VMATLAS_BIN", &vmatlas)
            .env("VMATLAS_FIXTURES", self.tree.join("fixtures"))
            // What cargo and the snapshot tests look for at run time.
            .env("CARGO_BIN_EXE_vmatlas", &vmatlas)
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("INSTA_WORKSPACE_ROOT", &self.tree)
            .env("INSTA_UPDATE", "no");
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that test programs and products are told apart, and that libraries and other messages are passed over.
    #[test]
    fn programs_are_found_in_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/w/crates/proc/Cargo.toml","target":{"kind":["lib"],"name":"vmatlas_proc"},"profile":{"test":true},"executable":"/w/target/debug/deps/vmatlas_proc-1"}
{"reason":"compiler-artifact","manifest_path":"/w/crates/proc/Cargo.toml","target":{"kind":["lib"],"name":"vmatlas_proc"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/crates/cli/Cargo.toml","target":{"kind":["bin"],"name":"vmatlas"},"profile":{"test":false},"executable":"/w/target/debug/vmatlas"}
{"reason":"build-finished","success":true}
not json"#;
        let found = programs(messages);
        let [test, product] = &found[..] else { panic!("{found:?}") };
        assert_eq!((test.label.as_str(), test.is_test), ("proc (lib vmatlas_proc)", true));
        assert_eq!(test.package, Path::new("/w/crates/proc"));
        assert_eq!((product.name.as_str(), product.is_test), ("vmatlas", false));
        assert_eq!(product.executable, Path::new("/w/target/debug/vmatlas"));
    }
}
