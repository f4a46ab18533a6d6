//! The notes of a core file (elf(5); kernel `fs/binfmt_elf.c:fill_note_info()`, `include/linux/elfcore.h`).
//!
//! Notes are walked header by header, so that registers of vector units, which nobody asks for, are never read.

use super::Machine;
use crate::read::process::Thread;
use crate::saved::Facts;
use object::elf::{
    EM_386, EM_AARCH64, EM_ARM, EM_X86_64, NT_AUXV, NT_FILE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use vmatlas_event::{Addr, PageSize, Pid, Tid};

/// The most notes: several for each thread, and a system has at most 4194304 of them.
const NOTES: usize = 1 << 23;
/// The largest note that is read; NT_FILE is at most 4 MiB unless a sysctl says otherwise.
const NOTE: u64 = 64 << 20;
/// As many as segments.
const FILES: usize = 1 << 22;

/// A mapping of a file by NT_FILE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) start: u64,
    pub(super) end: u64,
    /// In bytes.
    pub(super) offset: u64,
    pub(super) name: Vec<u8>,
}

/// What the notes tell.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) files: Vec<FileEntry>,
    threads: Vec<Thread>,
    signal: Option<i32>,
    siginfo: Option<i32>,
    pid: Option<i32>,
    name: Vec<u8>,
    auxv: Vec<(u64, u64)>,
}

/// Numbers of the machine's width and byte order.
#[derive(Clone, Copy)]
struct Words(Machine);

impl Words {
    fn size(self) -> usize {
        if self.0.is_64 { 8 } else { 4 }
    }

    fn number(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(size)?)?;
        let add = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if self.0.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    }

    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number(bytes, at, self.size())
    }

    fn int(self, bytes: &[u8], at: usize) -> Option<i32> {
        self.number(bytes, at, 4).map(|n| n as u32 as i32)
    }
}

impl Notes {
    /// Reads the notes in `len` bytes at `offset`; what is cut or makes no sense ends the walk.
    pub(super) fn read(&mut self, file: &File, machine: Machine, offset: u64, len: u64) {
        let words = Words(machine);
        let end = offset.saturating_add(len);
        let mut at = offset;
        for _ in 0..NOTES {
            let mut head = [0; 12];
            if at.saturating_add(12) > end || file.read_exact_at(&mut head, at).is_err() {
                return;
            }
            let part = |at| words.number(&head, at, 4).unwrap_or(0);
            let (name_len, len, kind) = (part(0), part(4), part(8) as u32);
            let padded = |n: u64| n.next_multiple_of(4);
            let body = at + 12 + padded(name_len);
            let next = body.saturating_add(padded(len));
            if body.saturating_add(len) > end {
                return;
            }
            let wanted = matches!(kind, NT_PRSTATUS | NT_PRPSINFO | NT_AUXV | NT_FILE | NT_SIGINFO);
            if wanted && len <= NOTE {
                // The name tells who defined the note; the same numbers mean other things elsewhere ("LINUX", "GNU").
                let mut name = [0; 5];
                let mut bytes = vec![0; len as usize];
                if name_len == 5
                    && file.read_exact_at(&mut name, at + 12).is_ok()
                    && &name == b"CORE\0"
                    && file.read_exact_at(&mut bytes, body).is_ok()
                {
                    self.take(words, kind, &bytes);
                }
            }
            at = next;
        }
    }

    fn take(&mut self, words: Words, kind: u32, bytes: &[u8]) {
        match kind {
            NT_PRSTATUS => self.prstatus(words, bytes),
            NT_PRPSINFO => self.prpsinfo(words, bytes),
            // struct siginfo begins with si_signo.
            NT_SIGINFO => self.siginfo = self.siginfo.or(words.int(bytes, 0)),
            NT_AUXV if self.auxv.is_empty() => {
                let pairs = bytes.chunks_exact(2 * words.size());
                self.auxv = pairs
                    .filter_map(|pair| Some((words.word(pair, 0)?, words.word(pair, words.size())?)))
                    .collect();
            }
            NT_FILE if self.files.is_empty() => self.files = files(words, bytes),
            _ => {}
        }
    }

    /// struct elf_prstatus: siginfo, pr_cursig, two words of signals, pr_pid and relatives, four times, registers.
    fn prstatus(&mut self, words: Words, bytes: &[u8]) {
        let (pid, registers) = if words.0.is_64 { (32, 112) } else { (24, 72) };
        let Some(tid) = words.int(bytes, pid) else { return };
        // Which of the registers is the stack pointer, by struct user_regs_struct and struct user_pt_regs.
        let index = match (words.0.number, words.0.is_64) {
            (EM_X86_64, true) => Some(19),
            (EM_AARCH64, true) => Some(31),
            (EM_386, false) => Some(15),
            (EM_ARM, false) => Some(13),
            _ => None,
        };
        let stack_pointer =
            index.and_then(|i: usize| words.word(bytes, registers + i * words.size())).map(Addr);
        if self.threads.is_empty() {
            self.signal = words.number(bytes, 12, 2).map(|n| n as i32);
        }
        self.threads.push(Thread { tid: Tid(tid), stack_pointer });
    }

    /// struct elf_prpsinfo; user and group are 16 bits wide on some machines, which its size tells.
    fn prpsinfo(&mut self, words: Words, bytes: &[u8]) {
        let (pid, name) = match (words.0.is_64, bytes.len()) {
            (true, _) => (24, 40),
            (false, 124) => (12, 28),
            (false, _) => (16, 32),
        };
        let text = bytes.get(name..name + 16).unwrap_or_default();
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        self.name = text.get(..end).unwrap_or_default().to_vec();
        self.pid = words.int(bytes, pid);
    }

    fn auxv(&self, kind: u64) -> Option<u64> {
        self.auxv.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value).filter(|value| *value != 0)
    }

    /// All of it as facts; the files must be in address order.
    pub(super) fn facts(self) -> Facts {
        const AT_PHDR: u64 = 3;
        const AT_PAGESZ: u64 = 6;
        const AT_ENTRY: u64 = 9;
        const AT_EXECFN: u64 = 31;
        const AT_SYSINFO_EHDR: u64 = 33;
        let file_at = |addr: u64| {
            let at = self.files.partition_point(|file| file.end <= addr);
            self.files.get(at).filter(|file| file.start <= addr)
        };
        let exe = self.auxv(AT_PHDR).and_then(file_at).or_else(|| self.auxv(AT_ENTRY).and_then(file_at));
        let first = self.threads.first();
        let leader = self.threads.iter().find(|t| Some(t.tid.0) == self.pid);
        let main_stack = self.auxv(AT_EXECFN).map(Addr).or(leader.and_then(|t| t.stack_pointer));
        Facts {
            pid: self.pid.or(first.map(|t| t.tid.0)).filter(|pid| *pid > 0).map(Pid),
            exe: exe.map(|file| file.name.clone()).unwrap_or_default(),
            thread_count: (!self.threads.is_empty()).then_some(self.threads.len() as u64),
            page: self.auxv(AT_PAGESZ).and_then(PageSize::new).unwrap_or(PageSize::FOUR_KIB),
            signal: self.siginfo.or(self.signal).filter(|signal| *signal > 0),
            vdso: self.auxv(AT_SYSINFO_EHDR).map(Addr),
            main_stack,
            name: self.name,
            threads: self.threads,
            ..Facts::default()
        }
    }
}

/// NT_FILE: a count, the page size, (start, end, offset in pages) for each, then the names, each ended by a zero byte.
fn files(words: Words, bytes: &[u8]) -> Vec<FileEntry> {
    let size = words.size();
    let (Some(count), Some(page)) = (words.word(bytes, 0), words.word(bytes, size)) else {
        return Vec::new();
    };
    let Ok(count) = usize::try_from(count) else { return Vec::new() };
    if count > FILES || count > bytes.len() / (3 * size) {
        return Vec::new();
    }
    let names = bytes.get((2 + 3 * count) * size..).unwrap_or_default().split(|b| *b == 0);
    let entry = |(index, name): (usize, &[u8])| {
        let at = (2 + 3 * index) * size;
        let (start, end) = (words.word(bytes, at)?, words.word(bytes, at + size)?);
        let offset = words.word(bytes, at + 2 * size)?.checked_mul(page)?;
        Some(FileEntry { start, end, offset, name: name.to_vec() })
    };
    names.take(count).enumerate().filter_map(entry).filter(|file| file.start < file.end).collect()
}
