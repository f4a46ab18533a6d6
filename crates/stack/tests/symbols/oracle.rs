//! addr2line(1), nm(1) and gdb(1) about the same addresses.

use super::build::{self, Built, ask, functions, module, run, text, texts, tool, word};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use vmatlas_event::{Addr, Symbol};
use vmatlas_stack::symbolize::{Folders, Limits, Lookup, Symbolizer};
use vmatlas_testkit::{Capability, need};

/// What addr2line says of addresses: function and file:line for each, innermost first.
fn addr2line(path: &Path, at: &[u64]) -> Vec<Vec<(String, String)>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-C", "-e"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let asked: String = at.iter().map(|at| format!("{at:#x}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let mut told: Vec<Vec<(String, String)>> = Vec::new();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            told.push(Vec::new());
            continue;
        }
        let place = lines.next().unwrap();
        // Which of several lines at one address is meant has no bearing.
        let place = place.split(" (discriminator").next().unwrap();
        told.last_mut().unwrap().push((line.to_owned(), place.to_owned()));
    }
    assert_eq!(told.len(), at.len());
    told
}

/// Names as both write them: binutils leave the hash of Rust's names out, and its crates' too.
fn same_name(ours: &str, theirs: &str) -> bool {
    let plain = |name: &str| name.replace("[clone .", ".").replace([' ', ']'], "");
    ours == theirs || plain(ours) == plain(theirs)
}

fn place(symbol: &Symbol) -> String {
    let file = symbol.file.as_ref().map_or("??".into(), |f| String::from_utf8_lossy(f.as_bytes()));
    format!("{file}:{}", symbol.line.map_or("?".to_owned(), |line| line.to_string()))
}

/// Every address of the functions `of` (mangled names begin so) has the functions and lines that addr2line tells.
fn agrees_with_addr2line(path: &Path, of: impl Fn(&str) -> bool) {
    let of: Vec<_> = functions(path).into_iter().filter(|(name, ..)| of(name)).collect();
    assert!(!of.is_empty(), "none of the functions");
    let at: BTreeSet<u64> = of.iter().flat_map(|(_, start, size)| *start..start + size.min(&4096)).collect();
    let at: Vec<u64> = at.into_iter().collect();
    let ours = ask(&module(path), Path::new("/nonexistent"), &at);
    assert_eq!(ours.notes, [], "{path:?}");
    let mut inlined = 0;
    for ((at, ours), theirs) in at.iter().zip(&ours.names).zip(addr2line(path, &at)) {
        let ours = ours.as_ref().unwrap_or_else(|why| panic!("{at:#x}: {why}, addr2line: {theirs:?}"));
        let told: Vec<_> =
            ours.iter().map(|s| (text(s).trim_end_matches(" <").to_owned(), place(s))).collect();
        let same = told.len() == theirs.len()
            && told
                .iter()
                .zip(&theirs)
                .all(|(ours, theirs)| same_name(&ours.0, &theirs.0) && ours.1 == theirs.1);
        assert!(same, "{at:#x}\nours   {told:?}\ntheirs {theirs:?}");
        assert!(ours.last().is_some_and(|s| !s.is_inlined));
        inlined += usize::from(ours.len() > 1);
    }
    assert!(inlined > 0, "no address has an inlined function");
}

/// Checks functions, inlined functions and lines of C at every address.
#[test]
fn c_is_named_as_addr2line_names_it() {
    if need(Capability::Tool("cc")) && need(Capability::Tool("addr2line")) {
        for arguments in [&[][..], &["-gdwarf-4"], &["-static"], &["-no-pie"], &["-gz=zlib"], &["-O0", "-O1"]]
        {
            let built = Built::c(arguments);
            agrees_with_addr2line(&built.path, |name| ["grow", "leave", "main"].contains(&name));
        }
    }
}

/// Checks templates, methods and namespaces of C++ at every address.
#[test]
fn cpp_is_named_as_addr2line_names_it() {
    if need(Capability::Tool("c++")) && need(Capability::Tool("addr2line")) {
        let built = Built::new("c++", &["-O2", "-g", "-Wl,--build-id"], "subject.cc", build::CPP);
        agrees_with_addr2line(&built.path, |name| name.contains("memory") || name == "main");
    }
}

/// Checks Rust in both manglings: generic functions, closures, traits.
#[test]
fn rust_is_named_as_addr2line_names_it() {
    if !need(Capability::Rustc) || !need(Capability::Tool("addr2line")) {
        return;
    }
    for mangling in ["legacy", "v0"] {
        let mangling_option = format!("-Csymbol-mangling-version={mangling}");
        let options = [
            "-Zunstable-options",
            "-g",
            "-O",
            "-Clink-arg=-Wl,--build-id",
            &mangling_option,
            "--edition=2021",
        ];
        let built = Built::new("rustc", &options, "subject.rs", build::RUST);
        let grow = functions(&built.path).into_iter().filter(|(name, ..)| name.contains("grow"));
        let grow: Vec<_> = grow.collect();
        assert!(!grow.is_empty(), "{mangling}");
        let answer = ask(&built.module(), Path::new("/nonexistent"), &[grow[0].1]);
        let names = texts(&answer.names[0]);
        assert!(
            names.last().unwrap().contains("Vec<u64>") || names.last().unwrap().contains("grow"),
            "{names:?}"
        );
        assert!(!names.last().unwrap().contains("::h"), "{names:?}");
        agrees_with_addr2line(&built.path, |name| {
            name.contains("subject4main") || name.contains("7subject4main")
        });
    }
}

/// Checks that each function that nm lists is found at its first and its last byte, by its name or another name of the
/// same range.
fn agrees_with_nm(path: &Path, options: &[&str]) {
    let listed = run(Command::new("nm").args(options).args(["--defined-only", "-S"]).arg(path));
    let mut ranges: BTreeMap<(u64, u64), BTreeSet<String>> = BTreeMap::new();
    for line in listed.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [start, size, kind, name] = fields[..] else { continue };
        if ["t", "T", "w", "W", "i"].contains(&kind) {
            let [start, size] = [start, size].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let name = name.split('@').next().unwrap();
            ranges.entry((start, size)).or_default().insert(name.to_owned());
        }
    }
    assert!(ranges.len() > 10, "{path:?}");
    let at: Vec<u64> = ranges.keys().flat_map(|(start, size)| [*start, start + size - 1]).collect();
    let answer = ask(&module(path), Path::new("/nonexistent"), &at);
    let mut wrong = Vec::new();
    for (index, names) in answer.names.iter().enumerate() {
        let (range, aliases) = ranges.iter().nth(index / 2).unwrap();
        let found = texts(names).pop().unwrap();
        // A function may have others inside, or lie inside of others.
        let inside = |(start, size): &(u64, u64)| (*start..start + size).contains(&at[index]);
        let nested = ranges.iter().any(|(other, names)| inside(other) && names.contains(&found));
        if !aliases.contains(&found) && !nested {
            wrong.push(format!("{range:x?} {aliases:?}: {found}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Checks every function of the C library, which has but its dynamic symbols, and of a static program.
#[test]
fn functions_are_those_of_nm() {
    if !need(Capability::Tool("cc")) || !need(Capability::Tool("nm")) {
        return;
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libc.so"));
    agrees_with_nm(Path::new(libc.unwrap()), &["-D"]);
    let built = Built::c(&["-static", "-g0"]);
    agrees_with_nm(&built.path, &[]);
}

/// Checks that of several names of one function the one that people know is told.
#[test]
fn the_known_name_of_a_function_is_told() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libc.so"));
    let libc = Path::new(libc.unwrap());
    for name in ["mmap", "malloc", "munmap", "brk"] {
        let at = functions(libc).into_iter().find(|(n, ..)| n.split('@').next() == Some(name)).unwrap().1;
        // Where its debug information is installed that has other names.
        for debug in ["/nonexistent", "/usr/lib/debug"] {
            let names = texts(&ask(&module(libc), Path::new(debug), &[at]).names[0]);
            assert_eq!(names.last().map(String::as_str), Some(name), "{names:?}");
        }
    }
}

/// Checks that a call at the very end of a function belongs to it, though its return address does not.
#[test]
fn a_return_address_is_looked_up_one_byte_before() {
    if !need(Capability::Tool("cc")) || !need(Capability::Tool("gdb")) {
        return;
    }
    let built = Built::c(&["-g0"]);
    let (_, start, size) = functions(&built.path).into_iter().find(|(name, ..)| name == "leave").unwrap();
    let lookups = [true, false].map(|is_return| Lookup { at: Addr(start + size), is_return });
    let answer = Symbolizer::new(Folders::default(), Limits::default()).names(&built.module(), &lookups);
    assert_eq!(texts(&answer.names[0]), ["leave"]);
    assert_ne!(texts(&answer.names[1]), ["leave"]);
    let command = format!("info symbol {:#x}", start + size - 1);
    let gdb = tool(built.folder.path(), &["gdb", "-nx", "-batch", "-ex", &command, word(&built.path)]);
    assert!(gdb.contains("leave + "), "{gdb}");
}

/// Checks names in the vdso, which is no file, by the build ID that a program's vdso has: ours.
#[test]
fn the_vdso_has_names() {
    if !need(Capability::Tool("gdb")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("vdso");
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; (end - start) as usize];
    std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, start).unwrap();
    fs::write(&image, bytes).unwrap();
    let vdso = vmatlas_event::Module {
        name: Some(vmatlas_event::Name::new(b"[vdso]")),
        dev: None,
        inode: 0,
        ..module(&image)
    };
    let (name, at, _) =
        functions(&image).into_iter().find(|(name, ..)| name.contains("clock_gettime")).unwrap();
    let found = texts(&ask(&vdso, folder.path(), &[at]).names[0]);
    assert!(name.ends_with(&found[0]), "{name}: {found:?}");
    let other = vmatlas_event::Module { build_id: vec![1; 20], ..vdso };
    assert_eq!(texts(&ask(&other, folder.path(), &[at]).names[0]), ["the file was replaced"]);
}
