//! The programs whose stacks are compared.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use vmatlas_testkit::{Capability, left_off, need};

/// How a program is made.
#[derive(Debug)]
enum Make {
    Compile { compiler: &'static str, file: &'static str, source: &'static str, options: Vec<&'static str> },
    System(Vec<OsString>),
}

/// A program to stop.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    make: Make,
}

/// A program in C.
pub(crate) fn compile(name: &'static str, source: &'static str, options: &[&'static str]) -> Program {
    Program { name, make: Make::Compile { compiler: "cc", file: "p.c", source, options: options.to_vec() } }
}

impl Program {
    pub(crate) fn cpp() -> Program {
        let options = vec!["-O2", "-fomit-frame-pointer"];
        let make = Make::Compile { compiler: "c++", file: "p.cc", source: CPP, options };
        Program { name: "c++", make }
    }

    pub(crate) fn rust() -> Program {
        let options = vec!["-O", "-Cforce-frame-pointers=no"];
        let make = Make::Compile { compiler: "rustc", file: "p.rs", source: RUST, options };
        Program { name: "rust", make }
    }

    pub(crate) fn system(name: &'static str, args: &[&str]) -> Program {
        let command = [name].iter().chain(args).map(OsString::from).collect();
        Program { name, make: Make::System(command) }
    }

    /// The command, made in a folder where it must be made; `None` where the machine cannot.
    pub(crate) fn command(&self, folder: &Path) -> Option<Vec<OsString>> {
        match &self.make {
            Make::Compile { compiler, file, source, options } => {
                let capability = match *compiler {
                    "rustc" => Capability::Rustc,
                    other => Capability::Tool(other),
                };
                if !need(capability) {
                    return None;
                }
                let (from, to) = (folder.join(file), folder.join("program"));
                std::fs::write(&from, source).unwrap();
                let mut command = Command::new(compiler);
                command.args(options).arg("-o").arg(&to).arg(&from);
                let output = command.output().unwrap();
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
                Some(vec![to.into()])
            }
            Make::System(command) => {
                let program = command.first()?.to_str()?;
                let real = real_program(program)?;
                Some([real].into_iter().chain(command.iter().skip(1).cloned()).collect())
            }
        }
    }
}

/// The file of a program itself, where PATH leads to a script that chooses among versions.
fn real_program(name: &str) -> Option<OsString> {
    let usual = Path::new("/usr/bin").join(name);
    if usual.exists() {
        return Some(usual.into());
    }
    left_off(&format!("/usr/bin/{name}"));
    None
}

/// Recursion, a callback of libc, a large frame, an aligned frame, a variable frame.
pub(crate) const C: &str = include_str!("../programs/calls.c");

/// Threads, handlers on the same and on another stack, a handler that interrupts code.
pub(crate) const THREADS: &str = include_str!("../programs/threads.c");

/// Exceptions, virtual calls, lambdas, templates.
const CPP: &str = include_str!("../programs/shapes.cc");

/// Recursion, closures, threads, a panic that is caught.
const RUST: &str = include_str!("../programs/deep.rs");
