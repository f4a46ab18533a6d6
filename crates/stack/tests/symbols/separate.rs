//! Debug files beside programs, inside of them, and in folders of their own; and files that are not the mapped one.

use super::build::{Built, address, ask, folders, module, texts, tool, without_build_id, word};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use vmatlas_event::{Addr, Module, Name};
use vmatlas_stack::symbolize::{Folders, Limits, Lookup, Note, Symbolizer};
use vmatlas_testkit::{Capability, need};

const GROW: [&str; 3] = ["ask <", "twice <", "grow"];

/// The program stripped, its debug information in `program.debug` beside it, and an address that has inlined functions.
fn stripped() -> (Built, Module, u64) {
    let built = Built::c(&[]);
    let start = address(&built.path, "grow");
    let module = built.module();
    let at =
        (start..start + 200).find(|at| texts(&ask(&module, Path::new("/none"), &[*at]).names[0]) == GROW);
    let folder = &built.folder.path().to_owned();
    tool(folder, &["objcopy", "--only-keep-debug", "program", "program.debug"]);
    tool(folder, &["strip", "--strip-all", "program"]);
    (built, module_again(module, &folder.join("program")), at.unwrap())
}

/// A file that was written anew has another inode.
fn module_again(old: Module, path: &Path) -> Module {
    Module { build_id: old.build_id, ..without_build_id(path) }
}

fn have_tools() -> bool {
    need(Capability::Tool("cc")) && need(Capability::Tool("objcopy"))
}

/// Checks that a stripped program says so, and that its debug file is found by build ID, also when the program is gone.
#[test]
fn a_debug_file_is_found_by_build_id() {
    if !have_tools() {
        return;
    }
    let (built, module, at) = stripped();
    let debug = built.beside("debug");
    assert_eq!(texts(&ask(&module, &debug, &[at]).names[0]), ["the file has no symbols"]);
    let hex: String = module.build_id.iter().map(|b| format!("{b:02x}")).collect();
    let place = debug.join(".build-id").join(&hex[..2]).join(format!("{}.debug", &hex[2..]));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::rename(built.beside("program.debug"), &place).unwrap();
    let answer = ask(&module, &debug, &[at]);
    assert_eq!(texts(&answer.names[0]), GROW);
    assert_eq!(answer.notes, [Note::DebugFile(place.clone())]);

    fs::remove_file(&built.path).unwrap();
    let deleted = Module {
        name: Some(Name::new(&[word(&built.path).as_bytes(), b" (deleted)"].concat())),
        ..module.clone()
    };
    for module in [&module, &deleted] {
        assert_eq!(texts(&ask(module, &debug, &[at]).names[0]), GROW);
    }
    // Another build's file under that name is not taken.
    let other = Built::c(&["-DOTHER", "-O1"]);
    fs::copy(&other.path, &place).unwrap();
    let answer = ask(&module, &debug, &[at]);
    assert_eq!(texts(&answer.names[0]), ["the file is gone"]);
}

/// Checks the places of .gnu_debuglink, and that a file with another checksum is not taken.
#[test]
fn a_debug_file_is_found_by_its_link() {
    if !have_tools() {
        return;
    }
    let (built, module, at) = stripped();
    let folder = built.folder.path();
    tool(folder, &["objcopy", "--add-gnu-debuglink=program.debug", "program"]);
    let module = module_again(module, &built.path);
    let debug = built.beside("debug");
    let mirrored = debug.join(folder.strip_prefix("/").unwrap());
    for place in [folder.to_owned(), folder.join(".debug"), mirrored] {
        fs::create_dir_all(&place).unwrap();
        let file = place.join("program.debug");
        if !file.exists() {
            fs::rename(built.beside("kept"), &file).unwrap();
        }
        let answer = ask(&module, &debug, &[at]);
        assert_eq!(texts(&answer.names[0]), GROW, "{file:?}");
        let mut bytes = fs::read(&file).unwrap();
        let whole = bytes.clone();
        // Behind the headers: still an ELF file of that build ID.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let answer = ask(&module, &debug, &[at]);
        assert!(
            texts(&answer.names[0]) != GROW && answer.notes == [Note::WrongDebugFile(file.clone())],
            "{answer:?}"
        );
        fs::remove_file(&file).unwrap();
        fs::write(built.beside("kept"), whole).unwrap();
    }
}

/// Checks the small symbol table inside .gnu_debugdata, which is packed with xz.
#[test]
fn mini_debug_information_names_functions() {
    if !have_tools() || !need(Capability::Tool("xz")) {
        return;
    }
    let (built, module, at) = stripped();
    let folder = built.folder.path();
    fs::write(built.beside("keep"), "grow\nleave\n").unwrap();
    tool(folder, &["objcopy", "-S", "--keep-symbols=keep", "program.debug", "mini"]);
    tool(folder, &["xz", "mini"]);
    tool(folder, &["objcopy", "--add-section", ".gnu_debugdata=mini.xz", "program"]);
    let module = module_again(module, &built.path);
    assert_eq!(texts(&ask(&module, &built.beside("none"), &[at]).names[0]), ["grow"]);

    // Damage inside is told, and nothing else.
    let mut packed = fs::read(built.beside("mini.xz")).unwrap();
    let middle = packed.len() / 2;
    packed[middle] ^= 0x55;
    fs::write(built.beside("bad.xz"), packed).unwrap();
    tool(folder, &["objcopy", "--update-section", ".gnu_debugdata=bad.xz", "program"]);
    let answer = ask(&module_again(module, &built.path), &built.beside("none"), &[at]);
    assert_eq!(
        answer.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [".gnu_debugdata is damaged"]
    );
}

/// Checks compressed sections: zlib, zstd, and the way of older tools.
#[test]
fn compressed_sections_are_unpacked() {
    if !have_tools() {
        return;
    }
    let built = Built::c(&[]);
    let at = address(&built.path, "grow");
    let wanted = texts(&ask(&built.module(), Path::new("/none"), &[at]).names[0]);
    assert_eq!(wanted.last().map(String::as_str), Some("grow"));
    for how in ["zlib", "zlib-gnu", "zstd"] {
        let out = format!("program.{how}");
        let option = format!("--compress-debug-sections={how}");
        let mut command = std::process::Command::new("objcopy");
        command.args([&option, "program", &out]).current_dir(built.folder.path());
        if !command.output().unwrap().status.success() {
            // Binutils before 2.40, or built without it.
            vmatlas_testkit::left_off(&option);
            continue;
        }
        let answer = ask(&module(&built.beside(&out)), Path::new("/none"), &[at]);
        assert_eq!((texts(&answer.names[0]), answer.notes), (wanted.clone(), vec![]), "{how}");
    }
}

/// Checks that a supplementary file that is missing is told, and the names there are come all the same.
#[test]
fn a_missing_supplementary_file_is_told() {
    if !have_tools() {
        return;
    }
    let built = Built::c(&[]);
    let at = address(&built.path, "grow");
    let mut link = b"/usr/lib/debug/.dwz/common.debug\0".to_vec();
    link.extend([7; 20]);
    fs::write(built.beside("link"), link).unwrap();
    tool(built.folder.path(), &["objcopy", "--add-section", ".gnu_debugaltlink=link", "program"]);
    let answer = ask(&module_again(built.module(), &built.path), Path::new("/none"), &[at]);
    assert_eq!(answer.notes, [Note::NoSupplement(PathBuf::from("/usr/lib/debug/.dwz/common.debug"))]);
    assert_eq!(texts(&answer.names[0]).pop().as_deref(), Some("grow"));
}

/// Checks a program of which parts went to a supplementary file.
#[test]
fn a_supplementary_file_is_read() {
    if !have_tools() || !need(Capability::Tool("dwz")) {
        return;
    }
    let (one, two) = (Built::c(&[]), Built::c(&["-DTWO"]));
    let folder = one.folder.path();
    let at = address(&one.path, "grow");
    let wanted = texts(&ask(&one.module(), Path::new("/none"), &[at]).names[0]);
    fs::copy(&two.path, one.beside("two")).unwrap();
    tool(folder, &["dwz", "-m", "common.debug", "program", "two"]);
    let answer = ask(&module_again(one.module(), &one.path), Path::new("/none"), &[at]);
    assert_eq!((texts(&answer.names[0]), answer.notes), (wanted, vec![]));
}

/// Checks that a replaced file gives no names, with a build ID and without one, and that nothing is guessed without both.
#[test]
fn a_replaced_file_gives_no_names() {
    if !have_tools() {
        return;
    }
    let built = Built::c(&[]);
    let at = address(&built.path, "grow");
    let module = built.module();
    let plain = Module { build_id: Vec::new(), ..module.clone() };
    let none = Path::new("/none");
    for module in [&module, &plain] {
        assert_eq!(texts(&ask(module, none, &[at]).names[0]).pop().as_deref(), Some("grow"));
    }
    // Written over in place, the inode is the same: only what changed before counts, or what is held open.
    let names = |module: &Module, folders: Folders| {
        let place = [Lookup { at: Addr(at), is_return: false }];
        texts(&Symbolizer::new(folders, Limits::default()).names(module, &place).names[0])
    };
    let since =
        |unchanged_since| Folders { unchanged_since: Some(unchanged_since), ..super::build::folders(none) };
    let changed = fs::metadata(&built.path).unwrap();
    let changed = UNIX_EPOCH + Duration::new(changed.ctime() as u64, changed.ctime_nsec() as u32);
    let before = changed - Duration::from_nanos(1);
    assert_eq!(names(&plain, since(changed)).pop().as_deref(), Some("grow"));
    assert_eq!(names(&plain, since(before)), ["the file was replaced"]);
    assert_eq!(names(&module, since(before)).pop().as_deref(), Some("grow"));
    let unknown = Module { dev: None, inode: 0, ..plain.clone() };
    assert_eq!(
        texts(&ask(&unknown, none, &[at]).names[0]),
        ["nothing tells whether the file is the one that was mapped"]
    );
    let other = Built::c(&["-O1"]);
    fs::rename(&built.path, built.beside("old")).unwrap();
    fs::copy(&other.path, &built.path).unwrap();
    for module in [&module, &plain] {
        assert_eq!(texts(&ask(module, none, &[at]).names[0]), ["the file was replaced"]);
    }
    // The same build elsewhere is the same file, by its build ID only.
    let moved = |module: &Module| Module {
        name: Some(Name::new(word(&built.beside("old")).as_bytes())),
        inode: 1,
        ..module.clone()
    };
    assert_eq!(texts(&ask(&moved(&module), none, &[at]).names[0]).pop().as_deref(), Some("grow"));
    assert_eq!(texts(&ask(&moved(&plain), none, &[at]).names[0]), ["the file was replaced"]);
    // It is deleted, and somebody has it open.
    let open = fs::File::open(built.beside("old")).unwrap();
    fs::remove_file(built.beside("old")).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    for module in [&module, &plain] {
        let held = vec![(module.clone(), path.clone())];
        let folders = Folders { held, ..super::build::folders(none) };
        assert_eq!(names(module, folders).pop().as_deref(), Some("grow"));
    }
}

/// Checks that sections, tables, files and time beyond the limits are refused, and told by name.
#[test]
fn limits_are_kept() {
    if !have_tools() {
        return;
    }
    let built = Built::c(&[]);
    let lookup = Lookup { at: Addr(address(&built.path, "grow")), is_return: false };
    let ask = |limits: Limits| {
        Symbolizer::new(folders(Path::new("/none")), limits).names(&built.module(), &[lookup])
    };
    let whole = || Limits::default();
    let told = |limits| ask(limits).notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    assert!(told(Limits { section: 100, ..whole() }).contains(".debug_abbrev is too large"));
    assert!(told(Limits { symbols: 10, ..whole() }).contains(".symtab is too large"));
    assert!(texts(&ask(Limits { file: 100, ..whole() }).names[0])[0].contains("too large"));
    let time = std::time::Duration::ZERO;
    assert_eq!(texts(&ask(Limits { time, ..whole() }).names[0]), ["it took too long"]);
    assert_eq!(texts(&ask(Limits { name: 2, ..whole() }).names[0]).pop().as_deref(), Some("g…"));
    // Nothing but the latest is kept; what was dropped is read again.
    let mut symbolizer = Symbolizer::new(folders(Path::new("/none")), Limits { kept: 1, ..whole() });
    for _ in 0..3 {
        let other = module(&std::env::current_exe().unwrap());
        symbolizer.names(&other, &[lookup]);
        assert!(symbolizer.names(&built.module(), &[lookup]).names[0].is_ok());
    }
}
