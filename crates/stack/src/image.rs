//! The bytes of a module, in blocks that are read when they are needed and kept for a while.
//!
//! Files are read with pread(2), never mapped: a mapped file that is cut short would end us. Nothing is read of a file
//! but the blocks that a lookup goes through, about eight for a new place; so a stop costs little, however large
//! the tables are.

use rustc_hash::FxHashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vmatlas_event::{Addr, Pid};
use vmatlas_sys::process_vm_read;

/// The size of a block.
const BLOCK: usize = 4096;
/// So many are kept: 8 MiB. When there are more, all go, and what is needed is read again.
const BLOCKS: usize = 2048;

/// Where the bytes of a module are.
#[derive(Debug)]
pub(crate) enum Image {
    /// In its file, by offset.
    File(File),
    /// In the memory of the process: this is the address of its first byte. For files that are not there any more.
    Memory(u64),
    /// Here, as they were read of the process: the vdso.
    Bytes(Arc<[u8]>),
}

/// Blocks of all modules.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// By module and place; an empty one could not be read.
    kept: FxHashMap<(u32, u64), Box<[u8]>>,
}

impl Blocks {
    /// Fills `buf` from `at` (an offset in a file, else an address in the process); whether all of it was there.
    pub(crate) fn read(&mut self, module: u32, image: &Image, pid: Pid, at: u64, buf: &mut [u8]) -> bool {
        if let Image::Bytes(bytes) = image {
            let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..buf.len()));
            return from.map(|from| buf.copy_from_slice(from)).is_some();
        }
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = at.checked_add(done as u64) else { return false };
            let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let block = self.block(module, image, pid, number);
            let Some(from) = block.get(within..).filter(|from| !from.is_empty()) else { return false };
            let len = from.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(from) {
                *to = *from;
            }
            done += len;
        }
        true
    }

    fn block(&mut self, module: u32, image: &Image, pid: Pid, number: u64) -> &[u8] {
        let key = (module, number);
        if self.kept.len() >= BLOCKS && !self.kept.contains_key(&key) {
            self.kept.clear();
        }
        self.kept.entry(key).or_insert_with(|| {
            let mut bytes = vec![0; BLOCK];
            let at = number.saturating_mul(BLOCK as u64);
            let len = match image {
                Image::File(file) => read_at(file, &mut bytes, at),
                Image::Memory(_) => process_vm_read(pid, Addr(at), &mut bytes).unwrap_or(0),
                Image::Bytes(_) => 0,
            };
            bytes.truncate(len);
            bytes.into_boxed_slice()
        })
    }

    /// Forgets the blocks of one module.
    pub(crate) fn forget(&mut self, module: u32) {
        self.kept.retain(|(of, _), _| *of != module);
    }
}

/// As much as there is.
fn read_at(file: &File, buf: &mut [u8], at: u64) -> usize {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(done as u64)) {
            Ok(0) | Err(_) => break,
            Ok(read) => done += read,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that reads across blocks give the file's bytes, and that reads beyond its end say no.
    #[test]
    fn blocks_join() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..3 * BLOCK + 100).map(|i| (i % 251) as u8).collect();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let image = Image::File(file);
        let mut blocks = Blocks::default();
        for (at, len) in [(0, 1), (4090, 20), (100, 3 * BLOCK), (3 * BLOCK, 100)] {
            let mut buf = vec![0; len];
            assert!(blocks.read(0, &image, Pid(0), at as u64, &mut buf));
            assert_eq!(buf, bytes[at..at + len]);
        }
        let mut buf = [0; 101];
        assert!(!blocks.read(0, &image, Pid(0), 3 * BLOCK as u64, &mut buf));
        assert!(!blocks.read(0, &image, Pid(0), u64::MAX - 10, &mut buf));
    }

    /// Checks that the number of kept blocks has its limit.
    #[test]
    fn blocks_are_bounded() {
        let file = tempfile::tempfile().unwrap();
        file.set_len((BLOCK * (BLOCKS + 10)) as u64).unwrap();
        let (image, mut blocks) = (Image::File(file), Blocks::default());
        for number in 0..BLOCKS + 10 {
            assert!(blocks.read(0, &image, Pid(0), (number * BLOCK) as u64, &mut [0; 8]));
            assert!(blocks.kept.len() <= BLOCKS);
        }
    }
}
