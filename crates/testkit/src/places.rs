//! Where tests find what they need: `cargo xtask ci` moves test programs away from the tree they were built in.

use std::env;
use std::path::{Path, PathBuf};

/// The `vmatlas` binary: $VMATLAS_BIN, otherwise the path that was compiled in, `env!("CARGO_BIN_EXE_vmatlas")`.
pub fn vmatlas_binary(compiled_in: &str) -> PathBuf {
    chosen(env::var_os("VMATLAS_BIN"), Path::new(compiled_in))
}

/// The folder of the captured inputs: $VMATLAS_FIXTURES, otherwise `fixtures` at the top of the tree.
pub fn fixtures() -> PathBuf {
    let in_the_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    chosen(env::var_os("VMATLAS_FIXTURES"), &in_the_tree)
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
    }

    /// Checks that the fixtures are where the tests are told, in the tree and moved away from it.
    #[test]
    fn the_fixtures_are_there() {
        assert!(fixtures().is_dir(), "{} is no folder", fixtures().display());
    }
}
