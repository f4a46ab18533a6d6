//! The programs that tests need, and where Debian has them.

use super::machine::Powers;
use super::run_command;
use anyhow::{Result, bail};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// No program: Python's module for environments, which Debian has in a package of its own.
const VENV: &str = "python3 -m venv";

/// A program that tests need.
struct Tool {
    program: &'static str,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    reason: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "cc",
        packages: &["gcc", "libc6-dev"],
        reason: "links Rust; builds small programs to trace",
    },
    Tool { program: "strace", packages: &["strace"], reason: "the peer whose calls ours are compared with" },
    Tool { program: "tmux", packages: &["tmux"], reason: "a terminal, for keys and job control" },
    Tool {
        program: "python3",
        packages: &["python3", "python3-venv"],
        reason: "threads, forks and mmap in a few lines",
    },
    Tool {
        program: VENV,
        packages: &["python3-venv"],
        reason: "a Python with duckdb and pyarrow, that recordings are read with",
    },
    Tool {
        program: "c++",
        packages: &["g++"],
        reason: "builds programs whose stacks are walked and whose functions are named",
    },
    Tool { program: "objcopy", packages: &["binutils"], reason: "moves symbols into files of their own" },
    Tool {
        program: "addr2line",
        packages: &["binutils"],
        reason: "the peer whose names ours are compared with",
    },
    Tool {
        program: "nm",
        packages: &["binutils"],
        reason: "tells where functions and tables of a program are",
    },
    Tool { program: "xz", packages: &["xz-utils"], reason: "packs symbols as distributions do" },
    Tool { program: "dwz", packages: &["dwz"], reason: "moves debug information into a supplementary file" },
    Tool { program: "unzip", packages: &["unzip"], reason: "takes packed recordings apart" },
    Tool {
        program: "gdb",
        packages: &["gdb"],
        reason: "asks a program for its own malloc_info(3); the unwinder that ours is compared with",
    },
    Tool { program: "go", packages: &["golang-go"], reason: "go tool pprof reads what we export" },
    Tool { program: "less", packages: &["less"], reason: "a full-screen program" },
    Tool {
        program: "setarch",
        packages: &["util-linux"],
        reason: "starts programs without random addresses",
    },
    Tool {
        program: "setpriv",
        packages: &["util-linux"],
        reason: "runs the tests once more as an ordinary user",
    },
    Tool {
        program: "unshare",
        packages: &["util-linux"],
        reason: "a kernel that hides things, a /proc of its own",
    },
];

/// Installs what is missing where we may; otherwise says what is missing, and the tests that need it will fail.
pub(super) fn provide(powers: Powers) -> Result<()> {
    let missing = missing(env::var_os("PATH").as_deref());
    if missing.is_empty() {
        println!("all there: {}", TOOLS.iter().map(|t| t.program).collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|t| t.packages).copied().collect();
    if powers.is_root() && find("apt-get", env::var_os("PATH").as_deref()) {
        println!("installing {}", packages.join(", "));
        run_command(&mut apt(&["update"]))?;
        run_command(apt(&["install", "-y", "--no-install-recommends"]).args(&packages))?;
    }
    let missing = self::missing(env::var_os("PATH").as_deref());
    for tool in &missing {
        println!("MISSING: {} (Debian: {}): {}", tool.program, tool.packages.join(" "), tool.reason);
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("install them, on Debian as root: apt-get install {}", packages.join(" "))
}

fn apt(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    // Another apt may be at work on a machine that was just started.
    apt.args(["-q", "-o", "DPkg::Lock::Timeout=120"]);
    apt.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    apt
}

fn missing(path: Option<&OsStr>) -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !find(tool.program, path)).collect()
}

/// The module itself is always there; what is missing is what it installs.
fn has_venv(path: &OsStr) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import venv, ensurepip"]).env("PATH", path).stdin(Stdio::null());
    python.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn find(program: &str, path: Option<&OsStr>) -> bool {
    if program == VENV {
        return path.is_some_and(has_venv);
    }
    path.is_some_and(|path| {
        env::split_paths(path).any(|folder| {
            fs::metadata(folder.join(program))
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a tool is missing exactly where $PATH does not lead to it.
    #[test]
    fn what_path_does_not_lead_to_is_missing() {
        assert_eq!(missing(None).len(), TOOLS.len());
        assert_eq!(missing(Some(OsStr::new("/nowhere"))).len(), TOOLS.len());
        assert!(find("sh", Some(OsStr::new("/nowhere:/bin"))));
        assert!(!find("bin", Some(OsStr::new("/usr"))));
    }
}
