//! The Java heap and class metadata of HotSpot.

use super::facts::{Facts, FileKey, base_name};
use super::sheet::{Sheet, size};
use super::{Confidence, Kind, Why};
use vmatlas_event::{Addr, Prot};

/// Compressed pointers to objects reach 32 GiB (oops/compressedOops.hpp: OopEncodingHeapMax), so heaps up to nearly
/// that size are placed below it (memory/virtualspace.cpp: ReservedHeapSpace::initialize_compressed_heap()). Nothing
/// else asks for such low addresses but a program that is not position independent.
const COMPRESSED_MAX: Addr = Addr(32 << 30);
/// A metaspace node that is not for classes (memory/metaspace/metaspaceSettings.hpp).
const METASPACE_NODE: u64 = 64 << 20;
/// The default CompressedClassSpaceSize: what lies below 32 GiB when no heap does.
const CLASS_SPACE: u64 = 1 << 30;
/// What a heap above 32 GiB has at least, its reserve included; nothing else of a JVM that lacks one is as large.
const BIG_HEAP: u64 = 2 << 30;

/// Claims the low addresses: the heap, its reserve, and class space where there is no archive. Says whether that can be
/// the heap.
pub(super) fn low_heap(sheet: &mut Sheet<'_>, facts: &Facts<'_>) -> bool {
    if !facts.jvm {
        return false;
    }
    let mut total = 0u64;
    for at in 0..sheet.rows.len() {
        if sheet.rows[at].range.end() > COMPRESSED_MAX {
            break;
        }
        if heap_like(sheet, at) {
            sheet.claim(at, Kind::ManagedHeap, Confidence::Evidence, Why::JavaLow);
            total = total.saturating_add(size(&sheet.rows[at]));
        }
    }
    total != 0 && total != CLASS_SPACE
}

/// Claims what lies around the class archive, after the heap of ZGC, and a heap too large for low addresses.
pub(super) fn rest(sheet: &mut Sheet<'_>, facts: &Facts<'_>, low_heap: bool) {
    if !facts.jvm {
        return;
    }
    let mut has_heap = low_heap;
    for at in 0..sheet.rows.len() {
        let row = &sheet.rows[at];
        if FileKey::of(row).is_none() {
            continue;
        }
        let name = base_name(row.name_bytes());
        if name.ends_with(b".jsa") {
            metaspace_below(sheet, at);
            claim_run(sheet, at + 1, Why::JavaClasses);
        } else if name == b"memfd:java_heap" {
            has_heap = true;
            claim_run(sheet, at + 1, Why::JavaReserve);
        }
    }
    if !has_heap {
        big_heap(sheet);
    }
    if low_heap {
        tables(sheet);
    }
}

fn heap_like(sheet: &Sheet<'_>, at: usize) -> bool {
    sheet.open(at).is_some_and(|row| row.prot == Prot::RW || row.prot == Prot::NONE)
}

/// Class space follows the archive in one reservation
/// (cds/metaspaceShared.cpp: MetaspaceShared::reserve_address_space_for_archives()).
fn claim_run(sheet: &mut Sheet<'_>, from: usize, why: Why) {
    let mut at = from;
    while sheet.touches_previous(at) && heap_like(sheet, at) {
        sheet.claim(at, Kind::ManagedHeap, Confidence::Evidence, why);
        at += 1;
    }
}

/// The first metaspace node is usually placed directly below the archive; a whole node, used in granules of 64 KiB.
fn metaspace_below(sheet: &mut Sheet<'_>, archive: usize) {
    let end = sheet.rows[archive].range.start();
    let mut first = archive;
    // A node has at most one used and one unused row for each granule.
    while first > 0 && sheet.touches_previous(first) && heap_like(sheet, first - 1) {
        first -= 1;
        let span = end.0.saturating_sub(sheet.rows[first].range.start().0);
        if span == METASPACE_NODE {
            for at in first..archive {
                sheet.claim(at, Kind::ManagedHeap, Confidence::Guess, Why::JavaMetaspace);
            }
        }
        if span >= METASPACE_NODE {
            return;
        }
    }
}

/// What a G1 heap of this size has beside it: for 64 bytes of heap a byte of the marking bitmap
/// (gc/shared/markBitMap.hpp: heap_map_factor()), for 512 bytes one of the card table, of the block offset table and of
/// the card counts (gc/g1/g1CollectedHeap.cpp: initialize()). Each is reserved for the whole heap and committed with it,
/// so the part in use and the rest stand in the same proportion as the heap's.
fn tables(sheet: &mut Sheet<'_>) {
    const PER_BYTE: [u64; 2] = [64, 512];
    /// Rests of this size are no coincidence.
    const LEAST_REST: u64 = 64 << 10;
    let is_low = |verdict: &super::Verdict| verdict.why == Why::JavaLow;
    let Some((first, _)) = sheet.claimed().find(|(_, verdict)| is_low(verdict)) else { return };
    // Committed from its start; the rest; committed at its end, for archived objects.
    let (mut used, mut rest, mut last) = (0u64, 0u64, 0u64);
    let mut at = first;
    while at == first || sheet.touches_previous(at) {
        let Some(row) = sheet.rows.get(at) else { break };
        let sum = match (row.prot == Prot::NONE, rest) {
            (true, _) => &mut rest,
            (false, 0) => &mut used,
            (false, _) => &mut last,
        };
        *sum = sum.saturating_add(size(row));
        at += 1;
    }
    for at in 1..sheet.rows.len() {
        let Some(end) = sheet.open_with(at, Prot::NONE).map(size) else { continue };
        let Some(begin) = sheet.open_with(at - 1, Prot::RW).map(size) else { continue };
        let fits = |per: &u64| end == rest / per && end >= LEAST_REST && begin >= used / per;
        let Some(per) = PER_BYTE.into_iter().find(fits).filter(|_| sheet.touches_previous(at)) else {
            continue;
        };
        // The end of the table below may have merged with it, or memory of other use.
        let sure = match begin - used / per <= last / 64 {
            true => Confidence::Evidence,
            false => Confidence::Guess,
        };
        sheet.claim(at - 1, Kind::ManagedHeap, sure, Why::JavaTables);
        sheet.claim(at, Kind::ManagedHeap, Confidence::Evidence, Why::JavaTables);
        let is_last = sheet.open_with(at + 1, Prot::RW).is_some_and(|row| size(row) == last / per);
        if sheet.touches_previous(at + 1) && is_last {
            sheet.claim(at + 1, Kind::ManagedHeap, Confidence::Evidence, Why::JavaTables);
        }
    }
}

/// A heap that no compressed pointer needs lies anywhere; it is far larger than everything else.
fn big_heap(sheet: &mut Sheet<'_>) {
    for at in 0..sheet.rows.len() {
        if sheet.open_with(at, Prot::RW).is_none() {
            continue;
        }
        let reserve = sheet.touches_previous(at + 1) && sheet.open_with(at + 1, Prot::NONE).is_some();
        let rest = if reserve { size(&sheet.rows[at + 1]) } else { 0 };
        let span = size(&sheet.rows[at]).saturating_add(rest);
        if span >= BIG_HEAP {
            sheet.claim(at, Kind::ManagedHeap, Confidence::Guess, Why::JavaBig);
            if reserve {
                sheet.claim(at + 1, Kind::ManagedHeap, Confidence::Guess, Why::JavaBig);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::kinds;
    use super::*;
    use Kind::{Anonymous, Image, ManagedHeap, MappedFile, Reserved};

    const JVM: &str = "7fff00000000-7fff00001000 r-xp 0 08:01 9 /usr/lib/jvm/lib/server/libjvm.so\n";

    /// Checks that low memory is the heap only in a JVM, and that the program's own low pages are not.
    #[test]
    fn low_memory_of_a_jvm_is_its_heap() {
        let low = "400000-401000 r-xp 0 08:01 7 /x\n401000-402000 rw-p 0 08:01 7 /x\n402000-403000 rw-p 0 00:00 0\n\
                   6c0000000-6d0000000 rw-p 0 00:00 0\n6d0000000-7c0000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(low), [Image, Image, Image, Anonymous, Reserved]);
        let jvm = kinds(&format!("{low}900000000-900001000 rw-p 0 00:00 0\n{JVM}"));
        assert_eq!(jvm[..6], [Image, Image, Image, ManagedHeap, ManagedHeap, Anonymous]);
    }

    /// Checks that a heap above 32 GiB is guessed, and only where no other heap is known.
    #[test]
    fn a_big_heap_is_guessed() {
        let big = "7f0000000000-7f0010000000 rw-p 0 00:00 0\n7f0010000000-7f0a00000000 ---p 0 00:00 0\n\
                   7f0b00000000-7f0b00001000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(&format!("{big}{JVM}"))[..3], [ManagedHeap, ManagedHeap, Anonymous]);
        let class_space = "7c0000000-7c0010000 rw-p 0 00:00 0\n7c0010000-800000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(&format!("{class_space}{big}{JVM}"))[2..5], [ManagedHeap, ManagedHeap, Anonymous]);
        let low = "f0000000-100000000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(&format!("{low}{big}{JVM}"))[..3], [ManagedHeap, Anonymous, Reserved]);
    }

    /// Checks class space after the archive and the metaspace node of 64 MiB before it, and that less is no node.
    #[test]
    fn class_metadata_lies_around_the_archive() {
        let map = |node: &str| {
            format!(
                "{node}-7f0001010000 rw-p 0 00:00 0\n7f0001010000-7f0005000000 ---p 0 00:00 0\n\
                 7f0005000000-7f0006000000 rw-p 0 08:01 8 /jvm/classes.jsa\n7f0006000000-7f0006010000 rw-p 0 00:00 0\n\
                 7f0006010000-7f0046000000 ---p 0 00:00 0\n7f0047000000-7f0047001000 rw-p 0 00:00 0\n{JVM}"
            )
        };
        let after = [MappedFile, ManagedHeap, ManagedHeap, Anonymous];
        let whole = kinds(&map("7f0001000000"));
        assert_eq!((&whole[..2], &whole[2..6]), (&[ManagedHeap, ManagedHeap][..], &after[..]));
        let less = kinds(&map("7f0001001000"));
        assert_eq!((&less[..2], &less[2..6]), (&[Anonymous, Reserved][..], &after[..]));
    }

    /// Checks that tables in the proportion of the heap are its own, one with other memory before it as a guess.
    #[test]
    fn tables_stand_in_the_proportion_of_the_heap() {
        // 48 MiB in use, 16 MiB kept: 768 and 256 KiB of bitmap, 96 and 32 KiB (too small to tell) of cards.
        let map = |bitmap: &str| {
            format!(
                "c0000000-c3000000 rw-p 0 00:00 0\nc3000000-c4000000 ---p 0 00:00 0\n\
                 {bitmap}-7f00000c0000 rw-p 0 00:00 0\n7f00000c0000-7f0000100000 ---p 0 00:00 0\n\
                 7f0000200000-7f0000218000 rw-p 0 00:00 0\n7f0000218000-7f0000220000 ---p 0 00:00 0\n{JVM}"
            )
        };
        let sure = |bitmap: &str| super::super::tests::verdicts(&map(bitmap))[2];
        assert_eq!(
            (sure("7f0000000000").why, sure("7f0000000000").confidence),
            (Why::JavaTables, Confidence::Evidence)
        );
        assert_eq!(
            (sure("7eff00000000").why, sure("7eff00000000").confidence),
            (Why::JavaTables, Confidence::Guess)
        );
        assert_eq!(kinds(&map("7f0000001000"))[2..4], [Anonymous, Reserved]);
        assert_eq!(kinds(&map("7f0000000000"))[4..6], [Anonymous, Reserved]);
    }

    /// Checks that ZGC's heap takes the address space kept after it.
    #[test]
    fn zgc_keeps_address_space() {
        let text = format!(
            "40000000000-40017a00000 rw-s 0 00:01 5 /memfd:java_heap (deleted)\n40017a00000-40200000000 ---p 0 00:00 0\n{JVM}"
        );
        assert_eq!(kinds(&text)[..2], [ManagedHeap, ManagedHeap]);
    }
}
