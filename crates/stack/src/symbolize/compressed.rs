//! What is compressed inside a file: debug sections (zlib, zstd) and `.gnu_debugdata` (xz), unpacked up to a limit.

use super::error::Flaw;
use super::limits::Budget;
use std::io::Read;
use std::rc::Rc;

/// A dictionary that a stream of xz may ask for, in KiB; `xz -9` asks for 64 MiB.
const MAX_DICTIONARY_KIB: u32 = 96 << 10;

/// The most that so many packed bytes may become: debug information becomes five times as large, a bomb a thousand times.
fn most(packed: &[u8]) -> u64 {
    (16 << 20) + 64 * packed.len() as u64
}

/// A section with SHF_COMPRESSED: Elf64_Chdr or Elf32_Chdr, then the packed bytes.
pub(super) fn section(name: &str, bytes: &[u8], wide: bool, budget: &Budget) -> Result<Rc<[u8]>, Flaw> {
    let damaged = || Flaw::Damaged(name.to_owned());
    let number = |at: usize, len: usize| -> Result<u64, Flaw> {
        let mut value = [0; 8];
        let from = bytes.get(at..at + len).ok_or_else(damaged)?;
        value.get_mut(..len).ok_or_else(damaged)?.copy_from_slice(from);
        Ok(u64::from_le_bytes(value))
    };
    let (size, packed) = if wide { (number(8, 8)?, 24) } else { (number(4, 4)?, 12) };
    let packed = bytes.get(packed..).ok_or_else(damaged)?;
    match number(0, 4)? {
        _ if size > most(packed) => Err(Flaw::TooLarge { what: name.to_owned(), size, limit: most(packed) }),
        1 => unpack(name, flate2::read::ZlibDecoder::new(packed), size, budget),
        2 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|_| damaged())?;
            unpack(name, decoder, size, budget)
        }
        _ => Err(Flaw::Compression(name.to_owned())),
    }
}

/// A `.zdebug_` section of older tools: "ZLIB", the size (big-endian), then the packed bytes.
pub(super) fn old_section(name: &str, bytes: &[u8], budget: &Budget) -> Result<Rc<[u8]>, Flaw> {
    let damaged = || Flaw::Damaged(name.to_owned());
    let (head, packed) = bytes.split_first_chunk::<12>().ok_or_else(damaged)?;
    let (magic, size) = head.split_first_chunk::<4>().ok_or_else(damaged)?;
    if magic != b"ZLIB" {
        return Err(damaged());
    }
    let size = u64::from_be_bytes(size.try_into().map_err(|_| damaged())?);
    if size > most(packed) {
        return Err(Flaw::TooLarge { what: name.to_owned(), size, limit: most(packed) });
    }
    unpack(name, flate2::read::ZlibDecoder::new(packed), size, budget)
}

/// The file inside `.gnu_debugdata`, whose size is not told beforehand: at most `limit` bytes.
pub(super) fn xz(name: &str, packed: &[u8], limit: u64, budget: &Budget) -> Result<Rc<[u8]>, Flaw> {
    let most = limit.min(most(packed));
    let reader = lzma_rust2::XzReader::new_mem_limit(packed, false, MAX_DICTIONARY_KIB);
    let mut out = Vec::new();
    reader.take(most + 1).read_to_end(&mut out).map_err(|_| Flaw::Damaged(name.to_owned()))?;
    if out.len() as u64 > most {
        return Err(Flaw::TooLarge { what: name.to_owned(), size: most + 1, limit: most });
    }
    budget.take(name, out.len() as u64)?;
    Ok(out.into())
}

/// Exactly `size` bytes out of a decoder. The room grows with what comes, so that a size alone costs nothing.
fn unpack(name: &str, decoder: impl Read, size: u64, budget: &Budget) -> Result<Rc<[u8]>, Flaw> {
    budget.take(name, size)?;
    let mut out = Vec::new();
    decoder.take(size + 1).read_to_end(&mut out).map_err(|_| Flaw::Damaged(name.to_owned()))?;
    if out.len() as u64 != size {
        return Err(Flaw::Damaged(name.to_owned()));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;
    use std::io::Write;

    fn packed(kind: u32, size: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = [kind, 0].map(u32::to_le_bytes).concat();
        out.extend([size, 1].map(u64::to_le_bytes).concat());
        let mut zip = flate2::write::ZlibEncoder::new(out, flate2::Compression::best());
        zip.write_all(bytes).unwrap();
        zip.finish().unwrap()
    }

    /// Checks that a section becomes what it says, and that sizes which are wrong, too much, or a bomb's are refused.
    #[test]
    fn a_section_becomes_what_it_says() {
        let budget = || Budget::new(&Limits { section: 1 << 30, ..Limits::default() });
        let unpacked = |size, bytes: &[u8]| section(".debug_info", &packed(1, size, bytes), true, &budget());
        assert_eq!(&*unpacked(5, b"hello").unwrap(), b"hello");
        let damaged = Err(Flaw::Damaged(".debug_info".to_owned()));
        assert_eq!(unpacked(4, b"hello"), damaged);
        assert_eq!(unpacked(6, b"hello"), damaged);
        let large = |size, bytes: &[u8]| matches!(unpacked(size, bytes), Err(Flaw::TooLarge { .. }));
        assert!(large(u64::MAX, b"hello") && large(32 << 20, &vec![0; 32 << 20]));
        let small = Budget::new(&Limits { section: 4, ..Limits::default() });
        assert!(section(".debug_info", &packed(1, 5, b"hello"), true, &small).is_err());
        let unknown = section(".debug_info", &packed(9, 5, b"hello"), true, &budget());
        assert_eq!(unknown, Err(Flaw::Compression(".debug_info".to_owned())));
        for cut in 0..24 {
            assert!(section(".debug_info", &packed(1, 5, b"hello")[..cut], true, &budget()).is_err());
        }
    }
}
