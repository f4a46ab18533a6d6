//! What cargo knows about the packages.

use crate::root;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A package of the workspace, or one that it depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The SPDX expression of its manifest.
    pub(crate) licence: Option<String>,
    /// The folder of its manifest.
    pub(crate) folder: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// The root files of its library and programs, not of its tests.
    pub(crate) product_roots: Vec<PathBuf>,
}

/// A line of a manifest's dependencies.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Which table of the manifest it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo
}

/// Where release builds are.
pub(crate) fn release_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("release")
}

/// The packages of the workspace alone.
pub(crate) fn workspace() -> Result<Vec<Package>> {
    metadata(&["--no-deps", "--offline"])
}

/// The packages of the workspace and all that they need on this kind of machine, for tests too.
pub(crate) fn with_dependencies() -> Result<Vec<Package>> {
    // Without the filter cargo would fetch the packages of every other system to look at them.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    metadata(&["--filter-platform", &platform])
}

fn metadata(options: &[&str]) -> Result<Vec<Package>> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(options)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    parse(&output.stdout)
}

fn parse(json: &[u8]) -> Result<Vec<Package>> {
    let document: Value = serde_json::from_slice(json).context("cargo metadata: no JSON")?;
    array(&document["packages"]).map(package).collect()
}

fn package(json: &Value) -> Result<Package> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let manifest = PathBuf::from(text(&json["manifest_path"]).context("package without a manifest")?);
    let is_product = |target: &&Value| {
        array(&target["kind"])
            .any(|k| matches!(k.as_str(), Some("lib" | "bin" | "proc-macro" | "custom-build")))
    };
    Ok(Package {
        name: text(&json["name"]).context("package without a name")?,
        version: text(&json["version"]).unwrap_or_default(),
        licence: text(&json["license"]),
        folder: manifest.parent().context("manifest without a folder")?.to_owned(),
        dependencies: array(&json["dependencies"]).filter_map(dependency).collect(),
        product_roots: array(&json["targets"])
            .filter(is_product)
            .filter_map(|target| text(&target["src_path"]).map(PathBuf::from))
            .collect(),
    })
}

fn dependency(json: &Value) -> Option<Dependency> {
    let kind = match json["kind"].as_str() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    };
    Some(Dependency { name: json["name"].as_str()?.to_owned(), kind })
}

fn array(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that names, kinds of dependencies and root files are found in cargo's JSON.
    #[test]
    fn packages_are_read() {
        let json = br#"{"packages": [{
            "name": "a", "version": "1.2.3", "license": "MIT", "manifest_path": "/w/a/Cargo.toml",
            "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}, {"name": "d", "kind": "build"}],
            "targets": [{"kind": ["lib"], "src_path": "/w/a/src/lib.rs"},
                        {"kind": ["test"], "src_path": "/w/a/tests/t.rs"}]}]}"#;
        let packages = parse(json).unwrap();
        let [a] = &packages[..] else { panic!("one package") };
        assert_eq!((a.name.as_str(), a.licence.as_deref()), ("a", Some("MIT")));
        assert_eq!(a.folder, PathBuf::from("/w/a"));
        assert_eq!(a.product_roots, [PathBuf::from("/w/a/src/lib.rs")]);
        let kinds: Vec<Kind> = a.dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Dev, Kind::Build]);
    }

    /// Checks that other output than cargo's is an error and not an empty workspace.
    #[test]
    fn other_output_is_an_error() {
        assert!(parse(b"error: no manifest").is_err());
        assert!(parse(br#"{"packages": [{"version": "1"}]}"#).is_err());
    }
}
