//! A copied /proc/PID folder: what could not be copied is missing, empty or a broken link.

use super::source::{open_regular, read_small};
use super::{Saved, SavedError, SavedKind, text};
use crate::parse::{decimal, stat, status};
use crate::read::process::{Thread, stack_pointer};
use std::fs;
use std::path::Path;
use vmatlas_event::{Addr, PageSize, Tid};

/// status, stat, syscall and auxv are a few kilobytes.
const SMALL: u64 = 1 << 20;
/// The most threads a system can have (/proc/sys/kernel/pid_max: 4194304).
const THREADS: usize = 1 << 22;

pub(super) fn read(path: &Path) -> Result<Saved, SavedError> {
    let mut saved = Saved::new(SavedKind::ProcFolder, path);
    // smaps tells more, but may be empty where only its owner or root may read it.
    let read = |name: &str| open_regular(&path.join(name)).and_then(text::read);
    let text = match read("smaps") {
        Err(in_smaps) => match (read("maps"), in_smaps) {
            (Ok(text), _) => text,
            (Err(wrong @ SavedError::Line { .. }), _) | (Err(_), wrong @ SavedError::Line { .. }) => {
                return Err(wrong);
            }
            _ => return Err(SavedError::NoMaps),
        },
        Ok(text) => text,
    };
    text::take(&mut saved, text);
    let small = |name: &str| read_small(&path.join(name), SMALL);
    let facts = &mut saved.facts;
    if let Some(text) = small("status") {
        let status = status::parse(&text);
        facts.pid = status.tgid;
        facts.virtual_size = status.vm_size;
        facts.resident = status.vm_rss;
        facts.thread_count = status.threads;
    }
    if let Some(stat) = small("stat").and_then(|text| stat::parse(&text).ok()) {
        facts.name = stat.comm;
        facts.start_brk = stat.start_brk;
    } else if let Some(comm) = small("comm") {
        facts.name = comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec();
    }
    facts.exe = exe(path);
    if let Some(page) = small("auxv").and_then(|auxv| page_size(&auxv)) {
        facts.page = page;
    }
    facts.threads = threads(path);
    Ok(saved)
}

/// The program's path: the link's text, whether it leads anywhere or not, or a text that holds it.
fn exe(folder: &Path) -> Vec<u8> {
    const PATH_MAX: u64 = 4096;
    let path = folder.join("exe");
    if let Ok(target) = fs::read_link(&path) {
        return target.into_os_string().into_encoded_bytes();
    }
    // `cp -L` copies the program itself, which is larger or begins with what no path holds.
    let text = read_small(&path, PATH_MAX).unwrap_or_default();
    let text = text.trim_ascii();
    if text.starts_with(b"/") && !text.contains(&0) { text.to_vec() } else { Vec::new() }
}

/// AT_PAGESZ of an auxiliary vector of 64-bit words, as little endian machines write it.
fn page_size(auxv: &[u8]) -> Option<PageSize> {
    const AT_PAGESZ: u64 = 6;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let pair = auxv.chunks_exact(16).find(|pair| pair.get(..8).and_then(word) == Some(AT_PAGESZ))?;
    PageSize::new(pair.get(8..).and_then(word)?)
}

fn threads(folder: &Path) -> Vec<Thread> {
    let Ok(entries) = fs::read_dir(folder.join("task")) else { return Vec::new() };
    let mut threads: Vec<Thread> = entries
        .take(THREADS)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let tid = decimal(entry.file_name().as_encoded_bytes()).and_then(|n| i32::try_from(n).ok())?;
            let syscall = read_small(&entry.path().join("syscall"), SMALL).unwrap_or_default();
            let stack_pointer: Option<Addr> = stack_pointer(&syscall);
            Some(Thread { tid: Tid(tid), stack_pointer })
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.tid);
    threads
}
