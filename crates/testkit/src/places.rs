//! Where tests find what they need: `cargo xtask ci` moves test programs away from the tree they were built in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The `vmatlas` binary: $VMATLAS_BIN, otherwise the path that was compiled in, `env!("CARGO_BIN_EXE_vmatlas")`.
pub fn vmatlas_binary(compiled_in: &str) -> PathBuf {
    chosen(env::var_os("VMATLAS_BIN"), Path::new(compiled_in))
}

/// The `vmatlas` binary as a test starts it: in English, without input, and as whoever runs the test (who may have become root
/// through sudo).
pub fn vmatlas_command(compiled_in: &str) -> Command {
    const REMOVED: [&str; 6] = ["LC_ALL", "LC_MESSAGES", "SUDO_UID", "SUDO_GID", "PKEXEC_UID", "DOAS_USER"];
    let mut command = Command::new(vmatlas_binary(compiled_in));
    REMOVED.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// Another program of ours, by its compiled-in path `env!("CARGO_BIN_EXE_...")`: beside $VMATLAS_BIN where that is set.
pub fn program(compiled_in: &str) -> PathBuf {
    beside(env::var_os("VMATLAS_BIN"), Path::new(compiled_in))
}

/// The folder of the captured inputs: $VMATLAS_FIXTURES, otherwise `fixtures` at the top of the tree.
pub fn fixtures() -> PathBuf {
    let in_the_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    chosen(env::var_os("VMATLAS_FIXTURES"), &in_the_tree)
}

fn beside(vmatlas: Option<std::ffi::OsString>, compiled_in: &Path) -> PathBuf {
    match (vmatlas, compiled_in.file_name()) {
        (Some(path), Some(name)) if !path.is_empty() => PathBuf::from(path).with_file_name(name),
        _ => compiled_in.to_owned(),
    }
}

fn chosen(by_environment: Option<std::ffi::OsString>, otherwise: &Path) -> PathBuf {
    match by_environment {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => otherwise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the environment wins over the compiled-in path, and that an empty value does not count.
    #[test]
    fn the_environment_wins_unless_it_is_empty() {
        let built = Path::new("/built");
        assert_eq!(chosen(Some("/moved".into()), built), Path::new("/moved"));
        assert_eq!(chosen(Some("".into()), built), built);
        assert_eq!(chosen(None, built), built);
        let other = Path::new("/built/other");
        assert_eq!(beside(Some("/moved/vmatlas".into()), other), Path::new("/moved/other"));
        assert_eq!(beside(Some("".into()), other), other);
        assert_eq!(beside(None, other), other);
    }

    /// Checks that the fixtures are where the tests are told, in the tree and moved away from it.
    #[test]
    fn the_fixtures_are_there() {
        assert!(fixtures().is_dir(), "{} is no folder", fixtures().display());
    }
}
