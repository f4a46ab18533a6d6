//! Saved sources as they come from production: cut, pasted, hostile.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use proptest::prelude::*;
use std::fs;
use std::path::Path;
use vmatlas_event::{Addr, Bytes, PageSize, Pid, Prot};
use vmatlas_proc::saved::{Saved, SavedError, SavedKind};

fn word(bytes: &mut Vec<u8>, value: u64, size: usize) {
    bytes.extend_from_slice(&value.to_le_bytes()[..size]);
}

fn note(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    for n in [5, body.len() as u64, u64::from(kind)] {
        word(out, n, 4);
    }
    out.extend_from_slice(b"CORE\0\0\0\0");
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A core file of x86_64 with two threads: a program of two pages, a heap of one dumped page in four, a stack.
fn core() -> Vec<u8> {
    let mut notes = Vec::new();
    for (tid, sp, signal) in [(42u64, 0x7fff_0800u64, 11u64), (43, 0x9800, 0)] {
        let mut status = vec![0; 336];
        status[12] = signal as u8;
        status[32..36].copy_from_slice(&(tid as u32).to_le_bytes());
        status[264..272].copy_from_slice(&sp.to_le_bytes());
        note(&mut notes, 1, &status);
    }
    let mut info = vec![0; 136];
    info[24] = 42;
    info[40..45].copy_from_slice(b"crash");
    note(&mut notes, 3, &info);
    let mut auxv = Vec::new();
    [3, 0x1040, 6, 4096, 33, 0x8000, 0, 0].iter().for_each(|n| word(&mut auxv, *n, 8));
    note(&mut notes, 6, &auxv);
    let mut files = Vec::new();
    [1, 4096, 0x1000, 0x3000, 5].iter().for_each(|n| word(&mut files, *n, 8));
    files.extend_from_slice(b"/bin/crash\0");
    note(&mut notes, 0x4649_4c45, &files);

    let loads =
        [(0x1000u64, 0x2000u64, 0u64, 5u64), (0x4000, 0x4000, 0x1000, 6), (0x7fff_0000, 0x1000, 0x1000, 6)];
    let phnum = loads.len() as u64 + 1;
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    [
        (4, 2),
        (62, 2),
        (1, 4),
        (0, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (phnum, 2),
        (0, 2),
        (0, 2),
        (0, 2),
    ]
    .iter()
    .for_each(|(n, size)| word(&mut out, *n, *size));
    let notes_at = 64 + 56 * phnum;
    let mut header = |kind, flags, offset, addr, in_file, in_memory| {
        [(kind, 4), (flags, 4), (offset, 8), (addr, 8), (0, 8), (in_file, 8), (in_memory, 8), (1, 8)]
            .iter()
            .for_each(|(n, size)| word(&mut out, *n, *size));
    };
    header(4, 0, notes_at, 0, notes.len() as u64, 0);
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(4096);
    for (addr, in_memory, in_file, flags) in loads {
        header(1, flags, at, addr, in_file, in_memory);
        at += in_file;
    }
    out.extend_from_slice(&notes);
    out.resize((notes_at as usize + notes.len()).next_multiple_of(4096), 0);
    out.resize(out.len() + 4096, 0xaa);
    out.resize(out.len() + 4096, 0xbb);
    out
}

fn open(bytes: &[u8]) -> Result<Saved, SavedError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("any name");
    fs::write(&path, bytes).unwrap();
    Saved::open(&path)
}

/// Checks what a core file tells: rows, names, threads, the signal, the program, and what was dumped.
#[test]
fn a_core_tells_its_process() {
    let saved = open(&core()).unwrap();
    assert_eq!((saved.kind, saved.rows.len(), saved.truncated), (SavedKind::Core, 3, None));
    assert_eq!((saved.rows[0].name_bytes(), saved.rows[0].offset), (&b"/bin/crash"[..], 5 * 4096));
    assert_eq!((saved.rows[0].prot.has(Prot::EXEC), saved.rows[1].prot), (true, Prot::RW));
    assert_eq!(saved.dumped, Some(vec![Bytes(0), Bytes(4096), Bytes(4096)]));
    let facts = &saved.facts;
    assert_eq!(
        (facts.pid, &facts.name[..], &facts.exe[..]),
        (Some(Pid(42)), &b"crash"[..], &b"/bin/crash"[..])
    );
    assert_eq!((facts.signal, facts.page, facts.vdso), (Some(11), PageSize::FOUR_KIB, Some(Addr(0x8000))));
    let threads: Vec<_> = facts.threads.iter().map(|t| (t.tid.0, t.stack_pointer)).collect();
    assert_eq!(threads, [(42, Some(Addr(0x7fff_0800))), (43, Some(Addr(0x9800)))]);
}

/// Checks that dumped memory reads as it was, and that what was not dumped is not there.
#[test]
fn dumped_memory_is_read_and_no_other() {
    let saved = open(&core()).unwrap();
    let memory = saved.memory.unwrap();
    let mut buf = [0; 8192];
    assert_eq!(memory.read(Addr(0x4ffc), &mut buf).unwrap(), 4);
    assert_eq!(buf[..4], [0xaa; 4]);
    assert_eq!(memory.read(Addr(0x7fff_0000), &mut buf).unwrap(), 4096);
    assert_eq!(buf[0], 0xbb);
    for addr in [0, 0x1000, 0x5000, u64::MAX] {
        assert_eq!(memory.read(Addr(addr), &mut buf).unwrap(), 0, "{addr:#x}");
    }
    assert_eq!(memory.len(), Bytes(8192));
}

/// Checks that a cut core shows its map and says how much of it is there, wherever the cut is.
#[test]
fn a_cut_core_says_so() {
    let whole = core();
    for len in 0..whole.len() {
        if !(len < 400 || len % 61 == 0) {
            continue;
        }
        match open(&whole[..len]) {
            Ok(saved) => {
                let cut = saved.truncated.unwrap();
                assert_eq!((cut.have, cut.of), (Bytes(len as u64), Bytes(whole.len() as u64)));
                assert_eq!(saved.rows.len(), 3);
            }
            Err(error) => assert!(len < 64 + 4 * 56, "{len}: {error}"),
        }
    }
}

/// Checks that other files are refused by what they are.
#[test]
fn other_files_are_refused_by_what_they_are() {
    assert!(matches!(open(b""), Err(SavedError::Empty)));
    assert!(matches!(open(b"\n\n"), Err(SavedError::Empty)));
    assert!(matches!(open(b"\x1f\x8b\x08"), Err(SavedError::Packed("gzip"))));
    assert!(matches!(open(b"hello\n"), Err(SavedError::Unknown)));
    assert!(matches!(open(&fs::read("/proc/self/smaps_rollup").unwrap()), Err(SavedError::Rollup)));
    assert!(matches!(Saved::open(Path::new("/proc/self/exe")), Err(SavedError::NotCore)));
    assert!(matches!(Saved::open(Path::new("/dev/zero")), Err(SavedError::Special)));
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Saved::open(dir.path()), Err(SavedError::NoMaps)));
    assert!(matches!(Saved::open(&dir.path().join("none")), Err(SavedError::Io(_))));
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    assert!(matches!(Saved::open(&fifo), Err(SavedError::Special)));
}

/// Checks that text pasted through editors and mailers is read where it is unambiguous, else the line is named.
#[test]
fn pasted_text_is_read() {
    for text in [
        "1000-2000 rw-p 00000000 00:00 0 \r\n2000-3000 r--p 00000000 00:00 0 \r\n",
        "1000-2000 rw-p 00000000 00:00 0\n2000-3000 r--p 00000000 00:00 0",
    ] {
        assert_eq!(open(text.as_bytes()).unwrap().rows.len(), 2, "{text:?}");
    }
    let error = open(b"1000-2000 rw-p 00000000 00:00 0 \n> 2000-3000 r--p 00000000 00:00 0 \n").unwrap_err();
    assert!(matches!(&error, SavedError::Line { line: 2, .. }), "{error}");
    let smaps = b"08048000-08049000 r-xp 00000000 03:01 12345      /bin/cat\nRss:  4 kB\nAnonymous: 0 kB\nSwap: 0 kB\nKernelPageSize: 64 kB\n";
    let saved = open(smaps).unwrap();
    assert_eq!((saved.kind, saved.facts.page.bytes()), (SavedKind::Smaps, 64 << 10));
    assert_eq!(saved.pages.unwrap()[0].unwrap().resident, Bytes(4096));
    assert_eq!(saved.rows[0].name_bytes(), b"/bin/cat");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Checks that no damage to a core file makes reading it panic or its rows overlap.
    #[test]
    fn damaged_cores_are_survived(
        damage in proptest::collection::vec((0usize..1700, any::<u8>()), 1..12),
        wide in proptest::collection::vec((0usize..200, any::<u64>()), 0..3),
    ) {
        let mut bytes = core();
        damage.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        wide.into_iter().for_each(|(at, n)| bytes[at * 8..at * 8 + 8].copy_from_slice(&n.to_le_bytes()));
        if let Ok(saved) = open(&bytes) {
            prop_assert!(saved.rows.windows(2).all(|w| w[0].range.end() <= w[1].range.start()));
            prop_assert_eq!(saved.dumped.map(|d| d.len()), Some(saved.rows.len()));
            let mut buf = [0; 64];
            for row in &saved.rows {
                let _ = saved.memory.as_ref().unwrap().read(row.range.start(), &mut buf);
            }
        }
    }

    /// Checks that no text makes reading it panic.
    #[test]
    fn any_text_is_survived(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut text = b"1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\n".to_vec();
        text.extend_from_slice(&noise);
        let _ = open(&text);
        let _ = open(&noise);
    }
}
