//! What the fuzzer feeds: the first byte chooses a format, the rest is the file.

use std::cell::RefCell;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use vmatlas_event::{Addr, Dev, Module, MonoNs, Name};
use vmatlas_stack::symbolize::jit::{JitDump, PerfMap};
use vmatlas_stack::symbolize::{Flaw, Folders, Limits, Lookup, NoNames, Symbolizer};

/// An ELF file, a perf map, or a jitdump: asked for names at some addresses.
pub(crate) fn symbols(data: &[u8]) {
    let Some((kind, file)) = data.split_first() else { return };
    match kind % 3 {
        0 => elf(file),
        1 => {
            let map = PerfMap::parse(file);
            places().for_each(|at| drop(map.name_at(at)));
        }
        _ => {
            let Some(dump) = JitDump::parse(file) else { return };
            for when in [None, Some(MonoNs(0)), Some(MonoNs(1 << 40)), Some(MonoNs(u64::MAX))] {
                places().for_each(|at| drop(dump.name_at(at, when)));
            }
        }
    }
}

/// Where small programs have their code, and the ends.
fn places() -> impl Iterator<Item = Addr> {
    let code = [0x1000, 0x40_00b0, 0x7f00_0000_0000];
    code.into_iter()
        .flat_map(|start| (0..16).map(move |i| Addr(start + i * 16)))
        .chain([Addr(0), Addr(u64::MAX)])
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SYMBOLIZER: RefCell<Option<(tempfile::TempDir, Symbolizer)>> = const { RefCell::new(None) };
}

fn elf(file: &[u8]) {
    SYMBOLIZER.with_borrow_mut(|kept| {
        let (folder, symbolizer) = kept.get_or_insert_with(|| {
            let limits = Limits { kept: 1 << 20, ..Limits::default() };
            let folder = tempfile::tempdir().expect("a folder");
            // Links to debug files lead nowhere but into the folder itself.
            let folders = Folders { debug: vec![folder.path().to_owned()], ..Folders::default() };
            (folder, Symbolizer::new(folders, limits))
        });
        // By its old name the symbolizer would know it, inodes being used again.
        let path = folder.path().join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
        fs::write(&path, file).expect("a file");
        let facts = fs::metadata(&path).expect("facts");
        let number = facts.dev();
        let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00));
        let module = Module {
            name: Some(Name::new(path.as_os_str().as_bytes())),
            build_id: Vec::new(),
            dev: Some(Dev { major: major as u32, minor: minor as u32 }),
            inode: facts.ino(),
        };
        let lookups: Vec<Lookup> = places().map(|at| Lookup { at, is_return: false }).collect();
        let answer = symbolizer.names(&module, &lookups);
        fs::remove_file(&path).expect("the file");
        for names in &answer.names {
            assert_ne!(*names, Err(NoNames::Deadline));
            assert_ne!(*names, Err(NoNames::Flaw(Flaw::Damaged("the file".to_owned()))), "a parser panicked");
        }
    });
}
