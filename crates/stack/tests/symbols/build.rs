//! Small programs, built by the compilers that are here.

use object::{Object, ObjectSymbol};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use vmatlas_event::{Addr, Dev, Module, Name, Symbol};
use vmatlas_stack::symbolize::{Answer, Folders, Limits, Lookup, NoNames, Symbolizer};

/// Inlined functions, a static one, one that never returns.
pub(crate) const C: &str = r#"
#include <stdlib.h>
#include <sys/mman.h>
static inline __attribute__((always_inline)) void *ask(size_t n) {
    return mmap(0, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static inline __attribute__((always_inline)) void *twice(size_t n) {
    ask(n);
    return ask(2 * n);
}
static __attribute__((noinline, noipa)) void *grow(int pages) {
    return twice((size_t)pages * 4096);
}
__attribute__((noinline, noipa, noreturn)) void leave(int status) { exit(status); }
int main(int argc, char **argv) {
    (void)argv;
    grow(argc);
    leave(0);
}
"#;

/// Namespaces, templates, a class, an inlined method.
pub(crate) const CPP: &str = r#"
#include <cstdlib>
#include <vector>
namespace memory {
template <typename T> struct Pool {
    std::vector<T> kept;
    [[gnu::always_inline]] inline void keep(T value) { kept.push_back(value); }
    [[gnu::noinline]] int fill(int count) {
        for (int i = 0; i < count; i++) keep(T(i));
        return static_cast<int>(kept.size());
    }
};
[[gnu::noinline]] int grow(const char *, int count) { return Pool<long>().fill(count); }
}
int main(int argc, char **argv) { return memory::grow(argv[0], argc); }
"#;

/// Generic and inlined functions, a closure, a trait.
pub(crate) const RUST: &str = r#"
use std::hint::black_box;
trait Grow { fn grow(&mut self, by: usize) -> usize; }
impl<T: Default + Clone> Grow for Vec<T> {
    #[inline(never)]
    fn grow(&mut self, by: usize) -> usize { self.resize(by, T::default()); inlined(self.len()) }
}
#[inline(always)]
fn inlined(len: usize) -> usize { black_box(len) + 1 }
fn main() {
    let all: usize = (0..black_box(3)).map(|by| Vec::<u64>::new().grow(by)).sum();
    println!("{all}");
}
"#;

/// A folder with a program in it.
pub(crate) struct Built {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Built {
    /// Compiles a source with a command and its arguments; `-o` and the names are added.
    pub(crate) fn new(compiler: &str, arguments: &[&str], name: &str, source: &str) -> Built {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), source).unwrap();
        let path = folder.path().join("program");
        let mut command = Command::new(compiler);
        command.args(arguments).arg("-o").arg(&path).arg(name).current_dir(folder.path());
        // rustc makes legacy names for those who ask like that only.
        run(command.env("RUSTC_BOOTSTRAP", "1"));
        Built { folder, path }
    }

    /// The C program with debug information and a build ID.
    pub(crate) fn c(arguments: &[&str]) -> Built {
        let all: Vec<&str> = ["-O2", "-g", "-Wl,--build-id=sha1"].iter().chain(arguments).copied().collect();
        Built::new("cc", &all, "subject.c", C)
    }

    /// A file in its folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A module as its map would name it.
    pub(crate) fn module(&self) -> Module {
        module(&self.path)
    }
}

/// Runs a tool in a folder; it must succeed.
pub(crate) fn tool(folder: &Path, words: &[&str]) -> String {
    let (program, arguments) = words.split_first().unwrap();
    run(Command::new(program).args(arguments).current_dir(folder))
}

/// Runs a command, and gives what it wrote.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The module of a file: build ID, device and inode.
pub(crate) fn module(path: &Path) -> Module {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let build_id = file.build_id().unwrap().unwrap_or_default().to_vec();
    Module { build_id, ..without_build_id(path) }
}

/// The same for a file without a build ID, or that is none of ELF.
pub(crate) fn without_build_id(path: &Path) -> Module {
    let facts = fs::metadata(path).unwrap();
    let numbers = run(Command::new("stat").args(["-c", "%Hd %Ld"]).arg(path));
    let numbers: Vec<u32> = numbers.split_whitespace().map(|n| n.parse().unwrap()).collect();
    Module {
        name: Some(Name::new(path.as_os_str().as_bytes())),
        build_id: Vec::new(),
        dev: Some(Dev { major: numbers[0], minor: numbers[1] }),
        inode: facts.ino(),
    }
}

/// Functions by name, with their addresses and sizes.
pub(crate) fn functions(path: &Path) -> Vec<(String, u64, u64)> {
    let bytes = fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbols = file.symbols().chain(file.dynamic_symbols());
    let functions =
        symbols.filter(|s| s.kind() == object::SymbolKind::Text && s.is_definition() && s.size() > 0);
    functions.map(|s| (s.name().unwrap().to_owned(), s.address(), s.size())).collect()
}

/// The address of a function.
pub(crate) fn address(path: &Path, name: &str) -> u64 {
    functions(path).into_iter().find(|(n, ..)| n == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// Folders for a test: no debug file of the machine plays a part.
pub(crate) fn folders(debug: &Path) -> Folders {
    Folders { debug: vec![debug.to_owned()], ..Folders::default() }
}

/// Asks for places in one go.
pub(crate) fn ask(module: &Module, debug: &Path, at: &[u64]) -> Answer {
    let lookups: Vec<Lookup> = at.iter().map(|at| Lookup { at: Addr(*at), is_return: false }).collect();
    Symbolizer::new(folders(debug), Limits::default()).names(module, &lookups)
}

/// A function, with `<` where it is inlined into the next.
pub(crate) fn text(symbol: &Symbol) -> String {
    let name = symbol.function.as_ref().map_or("?".into(), |name| String::from_utf8_lossy(name.as_bytes()));
    format!("{name}{}", if symbol.is_inlined { " <" } else { "" })
}

/// The functions of one place.
pub(crate) fn texts(names: &Result<Vec<Symbol>, NoNames>) -> Vec<String> {
    names.as_ref().map_or_else(|why| vec![why.to_string()], |names| names.iter().map(text).collect())
}

/// A path as text.
pub(crate) fn word(path: &Path) -> &str {
    OsStr::to_str(path.as_os_str()).unwrap()
}
