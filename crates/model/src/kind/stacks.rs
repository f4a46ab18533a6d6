//! Thread stacks and guards.

use super::sheet::{Sheet, is_plain, size};
use super::{Confidence, Evidence, Kind, Why};
use vmatlas_event::{Addr, Prot};

/// The largest guard below a stack that is proven; programs can choose (pthread_attr_setguardsize(3)).
const PROVEN_GUARD: u64 = 1 << 20;
/// The largest guard that makes what lies above it look like a stack. glibc and Rust use a page, musl two, HotSpot its
/// own four inside the stack (StackOverflow::initialize_stack_zone_sizes()); some pages are 64 KiB.
const LIKELY_GUARD: u64 = 64 << 10;

/// Claims the rows that stack pointers lie in, and the guards below them.
///
/// Only memory no surer rule has claimed: goroutines run on Go's heap, coroutines on whatever malloc gave.
pub(super) fn by_stack_pointer(sheet: &mut Sheet<'_>, evidence: &Evidence) {
    for (tid, pointer) in &evidence.threads {
        let Some(pointer) = *pointer else { continue };
        let at = sheet.rows.partition_point(|row| row.range.end() <= pointer);
        let Some(row) = sheet.open(at) else { continue };
        if row.range.contains(pointer) && row.prot.has(Prot::RW) {
            sheet.claim(at, Kind::ThreadStack, Confidence::Evidence, Why::StackPointer(*tid));
            guard_below(sheet, at, PROVEN_GUARD, Confidence::Evidence);
        }
    }
}

/// Claims what has the size of a stack and a guard directly below: a saved map has no threads, a running thread's
/// stack pointer is unknown, and glibc keeps stacks of ended threads for the next ones (nptl/nptl-stack.c).
///
/// Since glibc 2.42 the guard may be no VMA of its own (MADV_GUARD_INSTALL). Then a stack of 8 MiB has the very size of
/// a block of 8 MiB from malloc (node's buffers), so without a guard the size says nothing.
pub(super) fn by_layout(sheet: &mut Sheet<'_>) {
    for at in 1..sheet.rows.len() {
        let Some(row) = sheet.open_with(at, Prot::RW) else { continue };
        let Some(guard) = sheet.open_with(at - 1, Prot::NONE).map(size) else { continue };
        if guard <= LIKELY_GUARD && sheet.touches_previous(at) && looks_like_a_stack(guard, size(row)) {
            sheet.claim(at, Kind::ThreadStack, Confidence::Guess, Why::StackLayout);
            guard_below(sheet, at, LIKELY_GUARD, Confidence::Guess);
        }
    }
}

/// Whether a stack of `size` bytes above a guard of `guard` bytes is one that a thread library makes.
fn looks_like_a_stack(guard: u64, size: u64) -> bool {
    const SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 20;
    let round = |n: u64| SIZES.contains(&n) && n.is_multiple_of(64 << 10);
    // glibc since 2.26 adds the guard to the size it was asked for, before that and in HotSpot the guard is part of it.
    // musl puts the thread's own data on top of its 128 KiB (src/thread/pthread_create.c, DEFAULT_GUARD_SIZE 8192).
    round(size)
        || round(size.saturating_add(guard))
        || (guard == 8 << 10 && (128 << 10..=256 << 10).contains(&size))
}

fn guard_below(sheet: &mut Sheet<'_>, stack: usize, limit: u64, confidence: Confidence) {
    let Some(below) = stack.checked_sub(1) else { return };
    if sheet.touches_previous(stack)
        && sheet.open_with(below, Prot::NONE).is_some_and(|row| size(row) <= limit)
    {
        let start: Addr = sheet.rows[stack].range.start();
        sheet.claim(below, Kind::Guard, confidence, Why::BelowStack(start));
    }
}

/// Claims what is left of small inaccessible rows directly below writable private memory.
pub(super) fn guards(sheet: &mut Sheet<'_>) {
    for at in 1..sheet.rows.len() {
        let above = &sheet.rows[at];
        let stack = sheet.kind(at) == Some(Kind::MainStack);
        if !(stack || is_plain(above) && above.prot.has(Prot::WRITE)) || !sheet.touches_previous(at) {
            continue;
        }
        if sheet.open_with(at - 1, Prot::NONE).is_some_and(|row| size(row) <= LIKELY_GUARD) {
            let why = if stack { Why::BelowStack(above.range.start()) } else { Why::BelowWritable };
            sheet.claim(at - 1, Kind::Guard, Confidence::Guess, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kinds, kinds_of, parse};
    use super::*;
    use Kind::{Anonymous, Guard, Heap, MainStack, Reserved, ThreadStack};
    use vmatlas_event::Tid;

    /// Checks that a stack pointer proves its row whatever its size, at its very ends too, and the guard below.
    #[test]
    fn a_stack_pointer_proves_a_stack() {
        let rows = parse(
            "10000-20000 ---p 0 00:00 0\n20000-23000 rw-p 0 00:00 0\n23000-24000 rw-p 0 00:00 0\n\
             30000-31000 rw-p 0 00:00 0 [heap]\n",
        );
        for (pointer, kinds) in [
            (0x20000, [Guard, ThreadStack, Anonymous, Heap]),
            (0x22fff, [Guard, ThreadStack, Anonymous, Heap]),
            (0x23000, [Guard, Anonymous, ThreadStack, Heap]),
            (0x1ffff, [Guard, Anonymous, Anonymous, Heap]),
            (0x30800, [Guard, Anonymous, Anonymous, Heap]),
            (0, [Guard, Anonymous, Anonymous, Heap]),
            (u64::MAX, [Guard, Anonymous, Anonymous, Heap]),
        ] {
            let mut evidence = Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
            evidence.threads = vec![(Tid(1), None), (Tid(2), Some(Addr(pointer)))];
            assert_eq!(kinds_of(&rows, &evidence), kinds, "{pointer:#x}");
        }
    }

    /// Checks the sizes that thread libraries make, and that others make no stack.
    #[test]
    fn sizes_of_stacks() {
        const KIB: u64 = 1 << 10;
        for (guard, size, stack) in [
            (4, 8192, true),  // glibc
            (4, 8188, true),  // glibc before 2.26
            (16, 1008, true), // HotSpot, Java thread
            (4, 1024, true),  // HotSpot, its own threads
            (4, 10240, true), // ulimit -s of RHEL
            (4, 2048, true),  // Rust
            (8, 132, true),   // musl
            (4, 32, false),   // too small to tell
            (4, 132, false),  // the first 132 KiB of an arena that lost its reserve
            (4, 1 << 20, false),
        ] {
            assert_eq!(looks_like_a_stack(guard * KIB, size * KIB), stack, "{guard} KiB below {size} KiB");
        }
    }

    /// Checks that the size alone makes no stack: malloc's block of 8 MiB has it too.
    #[test]
    fn no_guard_no_stack() {
        let block = "7f0000000000-7f0000801000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(block), [Anonymous]);
        let stack = "7effffffe000-7f0000000000 ---p 0 00:00 0\n7f0000000000-7f0000800000 rw-p 0 00:00 0\n";
        assert_eq!(kinds(stack), [Guard, ThreadStack]);
    }

    /// Checks that a large reservation below writable memory is no guard, and a small one below nothing neither.
    #[test]
    fn guards_are_small_and_below_something() {
        assert_eq!(
            kinds("100000-200000 ---p 0 00:00 0\n200000-201000 rw-p 0 00:00 0\n"),
            [Reserved, Anonymous]
        );
        assert_eq!(kinds("1000-2000 ---p 0 00:00 0\n2000-3000 rw-p 0 00:00 0\n"), [Guard, Anonymous]);
        assert_eq!(kinds("1000-2000 ---p 0 00:00 0\n3000-4000 rw-p 0 00:00 0\n"), [Reserved, Anonymous]);
        assert_eq!(kinds("1000-2000 ---p 0 00:00 0\n2000-3000 rw-p 0 00:00 0 [stack]\n"), [Guard, MainStack]);
    }
}
