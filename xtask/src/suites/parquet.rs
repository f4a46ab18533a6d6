//! Recordings in the hands of others: DuckDB and pyarrow read every sealed table, and answer the queries of the docs.

use super::folder;
use crate::metadata::{cargo, release_folder};
use crate::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SCRIPT: &str = include_str!("parquet.py");
/// What is asked of PyPI.
const PACKAGES: [&str; 2] = ["duckdb==2.0.1", "pyarrow==26.0.1"];

pub(crate) fn run() -> Result<()> {
    let folder = folder()?;
    let python = environment(&folder)?;
    let built = cargo().args(["build", "--quiet", "-p", "vmatlas-cli", "--bin", "vmatlas"]).status()?;
    if !built.success() {
        bail!("cargo build failed");
    }
    let release = release_folder();
    let vmatlas = release.parent().unwrap_or(&release).join("debug/vmatlas");
    let place = folder.join("parquet");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let mut command = Command::new(python);
    let compared = call(command.arg("-c").arg(SCRIPT).arg(vmatlas).arg(root()).arg(&place));
    fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    compared
}

/// A Python of our own with both packages, made where it is not there yet.
fn environment(folder: &Path) -> Result<PathBuf> {
    let place = folder.join("python");
    let python = place.join("bin/python");
    // Written last: what was cut short is made anew.
    let (mark, wanted) = (place.join("vmatlas-packages"), PACKAGES.join(" "));
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let _ = fs::remove_dir_all(&place);
    println!("installing {wanted} from PyPI into {}", place.display());
    call(Command::new("python3").args(["-m", "venv"]).arg(&place))
        .context("python3 -m venv does not work: on Debian as root, apt-get install python3-venv")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    call(Command::new(&python).args(pip).args(PACKAGES))?;
    fs::write(&mark, wanted)?;
    Ok(python)
}

fn call(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| name.clone())?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}
