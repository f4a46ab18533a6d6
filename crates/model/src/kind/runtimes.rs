//! Layouts of other runtimes and allocators: Go, V8, Python, mimalloc, jemalloc, tcmalloc.

use super::facts::Facts;
use super::sheet::{Sheet, size};
use super::{Confidence, Kind, Why};
use vmatlas_event::{Addr, Prot, Sharing};

/// Claims Go's heap: whole arenas of 64 MiB from an address only Go asks for.
///
/// runtime/malloc.go:mallocinit() tries `i << 40 | 0xc0 << 32` (0x40 << 32 on arm64), under the race detector
/// `i << 32` from 0xc0 to 0xe0; the higher half of the hints, which is tried last, lies where the kernel places memory
/// by itself and is left out. Each arena is heapArenaBytes, reserved whole and made accessible from its start. What Go
/// keeps beside it (page summaries, spans, its own threads' stacks) has no such mark. Go 1.25 and later name everything.
///
/// Chromium keeps 16 GiB and more at addresses chosen by chance, one in 64 of which is one of these.
pub(super) fn go(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    const ARENA: u64 = 64 << 20;
    if facts.v8 {
        return;
    }
    let mut at = 0;
    while at < sheet.rows.len() {
        let start = sheet.rows[at].range.start();
        if !is_go_hint(start) || sheet.open(at).is_none() {
            at += 1;
            continue;
        }
        let end = sheet.run(at, |i| {
            let row = &sheet.rows[i];
            row.sharing == Sharing::Private
                && !row.has_file()
                && (row.prot == Prot::RW || facts.is_reserve(row))
        });
        let span =
            end.checked_sub(1).map_or(0, |last| sheet.rows[last].range.end().0.saturating_sub(start.0));
        if span > 0 && span.is_multiple_of(ARENA) {
            for row in at..end {
                sheet.claim(row, Kind::ManagedHeap, Confidence::Evidence, Why::GoArena);
            }
        }
        at = end.max(at + 1);
    }
}

/// Guesses what Go's runtime keeps beside its arenas: summaries of pages, spans, bitmaps of the collector, its tables.
///
/// runtime/mem_linux.go:sysReserve() and sysAlloc() take them from mmap(2) at any address. Where no library is loaded,
/// nobody else in the process asks for memory but the program itself, by its own mmap(2).
pub(super) fn go_own(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    let is_go = sheet.claimed().any(|(_, verdict)| verdict.why == Why::GoArena);
    if !is_go || facts.code.len() != 1 || !facts.code.keys().all(|key| Some(*key) == facts.program) {
        return;
    }
    for at in 0..sheet.rows.len() {
        if sheet.open(at).is_some_and(|row| row.prot == Prot::RW || facts.is_reserve(row)) {
            sheet.claim(at, Kind::ManagedHeap, Confidence::Guess, Why::GoOwn);
        }
    }
}

fn is_go_hint(start: Addr) -> bool {
    let high = start.0 >> 32;
    let in_first = high & 0xff;
    start.0 & 0xffff_ffff == 0
        && (high >> 8) < 0x40
        && (in_first == 0xc0 || in_first == 0x40 || (0xc0..0xe0).contains(&high))
}

/// Claims V8's heap: chunks of 256 KiB (or larger, for one large object) at addresses chosen by chance.
///
/// base/platform/platform-posix.cc:OS::GetRandomMmapAddr() masks hints to 46 bits, which keeps them below everything
/// the kernel itself places; chunks are aligned to MemoryChunk::kAlignment (1 << kPageSizeBits, 18). The kernel may
/// refuse a hint; such a chunk is not recognised.
pub(super) fn v8(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    const CHUNK: u64 = 256 << 10;
    const HINT_MAX: Addr = Addr(1 << 46);
    if !facts.v8 {
        return;
    }
    for at in 0..sheet.rows.len() {
        let Some(row) = sheet.open(at) else { continue };
        // Its read-only space ends up `r--`.
        let used = row.prot == Prot::RW || row.prot == Prot::READ;
        if used && row.range.start().0.is_multiple_of(CHUNK) && row.range.end() <= HINT_MAX {
            sheet.claim(at, Kind::ManagedHeap, Confidence::Evidence, Why::V8Chunk);
        }
    }
}

/// Claims mimalloc's segments: it asks for addresses between 2 and 30 TiB (src/os.c:_mi_os_get_aligned_hint(),
/// MI_HINT_BASE, MI_HINT_MAX), whole multiples of 4 MiB.
///
/// Linked in, as in most Rust programs that use it, it leaves no file to see. Then it is a guess, and only where the
/// kernel itself places memory higher up: a segment with its reserve can look just like an arena of glibc.
pub(super) fn mimalloc(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    const HINTS: std::ops::Range<u64> = 2 << 40..30 << 40;
    const SEGMENT: u64 = 4 << 20;
    let confidence = match facts.mimalloc {
        true => Confidence::Evidence,
        false if facts.wide && !facts.v8 && !facts.jvm => Confidence::Guess,
        false => return,
    };
    let mut at = sheet.rows.partition_point(|row| row.range.start().0 < HINTS.start);
    while at < sheet.rows.len() && sheet.rows[at].range.end().0 <= HINTS.end {
        let end = sheet.run(at, |i| sheet.open(i).is_some());
        if end > at {
            let (first, last) = (sheet.rows[at].range.start(), sheet.rows[end - 1].range.end());
            if [first, last].iter().all(|edge| edge.0.is_multiple_of(SEGMENT)) {
                for row in at..end {
                    sheet.claim(row, Kind::Allocator, confidence, Why::MimallocAddress);
                }
            }
        }
        at = end.max(at + 1);
    }
}

/// Guesses blocks of an allocator library, and pymalloc's arenas, by size.
pub(super) fn allocators(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    /// 256 KiB up to Python 3.9, 1 MiB from 3.10 (Objects/obmalloc.c: ARENA_SIZE); neighbours merge.
    const PYTHON_ARENA: u64 = 256 << 10;
    /// jemalloc maps whole multiples of its huge page and trims to 64 KiB or more, tcmalloc whole spans. A large block of
    /// jemalloc starts at any page.
    const BLOCK: u64 = 64 << 10;
    /// Work buffers of OpenBLAS: BUFFER_SIZE (common_x86_64.h: 32 << 22; smaller processors less), taken from mmap(2)
    /// (driver/others/memory.c: alloc_mmap()).
    const BLAS_BUFFER: u64 = 32 << 20;
    if !facts.allocator && !facts.python && !facts.openblas {
        return;
    }
    for at in 0..sheet.rows.len() {
        let Some(row) = sheet.open_with(at, Prot::RW) else { continue };
        if facts.openblas && size(row) > 0 && size(row).is_multiple_of(BLAS_BUFFER) {
            sheet.claim(at, Kind::Allocator, Confidence::Guess, Why::OpenBlas);
            continue;
        }
        if facts.allocator && size(row) >= 8 * BLOCK && size(row).is_multiple_of(BLOCK) {
            sheet.claim(at, Kind::Allocator, Confidence::Guess, Why::AllocatorLibrary);
        } else if facts.python && size(row) > 0 && size(row).is_multiple_of(PYTHON_ARENA) {
            sheet.claim(at, Kind::Allocator, Confidence::Guess, Why::Pymalloc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kinds, kinds_of, parse, verdicts};
    use super::*;
    use Kind::{Allocator, Anonymous, Image, ManagedHeap, Reserved};
    use vmatlas_event::Tid;

    /// Checks that Go's arenas are known by address and size, and that a goroutine's stack in them changes nothing.
    #[test]
    fn go_asks_for_its_own_addresses() {
        for start in ["c000000000", "1c000000000", "4000000000", "c100000000"] {
            let base = u64::from_str_radix(start, 16).unwrap();
            let (used, end) = (base + 0x680_0000, base + 0x800_0000);
            let text = format!("{start}-{used:x} rw-p 0 00:00 0\n{used:x}-{end:x} ---p 0 00:00 0\n");
            let mut evidence = crate::kind::Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
            evidence.threads = vec![(Tid(1), Some(Addr(base + 0x1000)))];
            assert_eq!(kinds_of(&parse(&text), &evidence), [ManagedHeap, ManagedHeap], "{start}");
        }
        let chromium = "1000-2000 r-xp 0 08:01 7 /usr/lib/chromium/chromium\n26c000000000-26c000004000 rw-p 0 00:00 0\n\
                        26c000004000-26c400000000 ---p 0 00:00 0\n";
        assert!(verdicts(chromium).iter().all(|verdict| verdict.why != Why::GoArena));
        let short = "c000000000-c000001000 rw-p 0 00:00 0\nc000001000-c001000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(short), [Anonymous, Reserved]);
        assert_eq!(kinds("7fc000000000-7fc004000000 rw-p 0 00:00 0\n"), [Anonymous]);
    }

    /// Checks that Go's arenas are known in a core file too, where gcore(1) calls their rest readable, and are not glibc's.
    #[test]
    fn go_in_a_core_file() {
        let text = "c000000000-c000400000 rw-p 0 00:00 0\nc000400000-c004000000 r--p 0 00:00 0\n";
        let mut evidence = crate::kind::Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
        evidence.unlabelled = Some(crate::kind::Unlabelled::default());
        assert_eq!(kinds_of(&parse(text), &evidence), [ManagedHeap, ManagedHeap]);
    }

    /// Checks that the rest of a Go program's memory is its runtime's only where no library is loaded.
    #[test]
    fn go_keeps_data_beside_its_arenas() {
        let text = |library: &str| {
            format!(
                "400000-482000 r-xp 0 08:01 7 /x\nc000000000-c000400000 rw-p 0 00:00 0\n\
                 c000400000-c004000000 ---p 0 00:00 0\n7f0000000000-7f0000040000 rw-p 0 00:00 0\n\
                 7f0000040000-7f0020000000 ---p 0 00:00 0\n7f0030000000-7f0030001000 {library}\n"
            )
        };
        let alone = verdicts(&text("r--s 0 08:01 9 /data"));
        assert_eq!(
            (alone[3].kind, alone[3].confidence, alone[3].why),
            (ManagedHeap, Confidence::Guess, Why::GoOwn)
        );
        assert_eq!(alone[4].kind, ManagedHeap);
        assert_eq!(kinds(&text("r-xp 0 08:01 9 /lib/libc.so.6"))[3..5], [Anonymous, Reserved]);
    }

    /// Checks that chance addresses are V8's only where V8 is, aligned, and not where the kernel places memory.
    #[test]
    fn v8_chunks_lie_at_chance_addresses() {
        let text = |program: &str| {
            format!(
                "1000-2000 r-xp 0 08:01 7 {program}\n2cabd40000-2cabd80000 rw-p 0 00:00 0\n\
                 3b8d77640000-3b8d7764d000 r--p 0 00:00 0\n3b8d77641000-3b8d77681000 rw-p 0 00:00 0\n\
                 7f0000040000-7f0000080000 rw-p 0 00:00 0\n"
            )
        };
        assert_eq!(
            kinds(&text("/usr/bin/node (deleted)")),
            [Image, ManagedHeap, ManagedHeap, Anonymous, Anonymous]
        );
        assert_eq!(kinds(&text("/usr/bin/nodes")), [Image, Anonymous, Anonymous, Anonymous, Anonymous]);
    }

    /// Checks that allocators are guessed only in processes that load them, by size, and mimalloc by address.
    #[test]
    fn allocators_are_guessed_where_they_are_loaded() {
        let text = |library: &str| {
            format!(
                "51530000000-51532100000 rw-p 0 00:00 0\n51532100000-51534000000 ---p 0 00:00 0\n\
                 7f0000200000-7f0000400000 rw-p 0 00:00 0\n7f0000500000-7f0000501000 rw-p 0 00:00 0\n\
                 7f0000600000-7f0000601000 r-xp 0 08:01 7 /usr/lib/{library}\n"
            )
        };
        assert_eq!(kinds(&text("libmimalloc.so.2.0"))[..4], [Allocator, Allocator, Allocator, Anonymous]);
        assert_eq!(kinds(&text("libjemalloc.so.2"))[2..4], [Allocator, Anonymous]);
        assert_eq!(kinds(&text("libpython3.11.so.1.0"))[2..4], [Allocator, Anonymous]);
        assert_eq!(kinds(&text("libz.so.1"))[2..4], [Anonymous, Anonymous]);
        let blas = "7f0000000000-7f0008000000 rw-p 0 00:00 0\n7f0008100000-7f0008300000 rw-p 0 00:00 0\n\
                    7f0009000000-7f0009001000 r-xp 0 08:01 7 /usr/lib/libopenblas.so.0\n\
                    7f0009100000-7f0009101000 r-xp 0 08:01 8 /usr/bin/python3.11\n";
        let why: Vec<Why> = verdicts(blas).iter().take(2).map(|verdict| verdict.why).collect();
        assert_eq!(why, [Why::OpenBlas, Why::Pymalloc]);
        // Linked in, mimalloc is known by its addresses alone, and never taken for glibc.
        assert_eq!(verdicts(&text("libz.so.1"))[0].confidence, Confidence::Guess);
        assert_eq!(kinds(&text("libz.so.1"))[..2], [Allocator, Allocator]);
        assert_eq!(
            kinds("51530001000-51532100000 rw-p 0 00:00 0\n7f0000000000-7f0000001000 rw-p 0 00:00 0\n")[0],
            Anonymous
        );
    }
}
