//! Looks into made-up memory: sound, changed, and hostile.

mod hostile;
mod made_up;

use super::layout::{HEAP_INFOS, Layout, STATES};
use super::lists::Links;
use super::*;
use made_up::{BRK, Chunk, DATA, MAIN, MadeUp};
use std::time::Duration;
use vmatlas_event::{Addr, Bytes};

/// Every glibc whose layout is known, as made-up memory.
fn glibcs() -> impl Iterator<Item = MadeUp> {
    let both = [Links::Plain, Links::Protected];
    STATES.into_iter().flat_map(move |state| {
        HEAP_INFOS.into_iter().flat_map(move |size| {
            both.into_iter().filter_map(move |links| {
                let layout = Layout { heap_info: Some(size), ..state };
                let known = layout.may_be_plain() || links == Links::Protected;
                (known && (layout.fast.is_some() || size == 48)).then(|| MadeUp::new(layout, links))
            })
        })
    })
}

fn look_at(memory: &mut MadeUp) -> GlibcReport {
    let rows = memory.rows.clone();
    inspect(
        memory,
        &rows,
        PageSize::FOUR_KIB,
        Limits { deadline: Duration::from_secs(60), ..Limits::default() },
    )
}

fn of(count: u64, bytes: u64, largest: u64) -> FreeChunks {
    FreeChunks { count, bytes: Bytes(bytes), largest: Bytes(largest) }
}

/// Checks each known layout: both arenas, all lists, and the whole pages that are free.
#[test]
fn every_layout_is_read() {
    for mut memory in glibcs() {
        let fast =
            |size: u64| if memory.layout.fast.is_some() { Chunk::Fast(size) } else { Chunk::Used(size) };
        let free = Chunk::Free;
        let main =
            [Chunk::Used(0x50), free(0x90, false), fast(0x20), fast(0x20), fast(0xb0), free(0x3000, false)];
        let more =
            [Chunk::Used(0x20), free(0x5010, true), Chunk::Used(0x40), free(0x3f0, true), Chunk::Used(0x30)];
        let other = [free(0x430, true), Chunk::Used(0x20), free(0x430, true), fast(0x30)];
        memory.main(&[&main[..], &more].concat(), 0x20ee0);
        let at = memory.arena(&other);
        let report = look_at(&mut memory);
        let name = format!("{:?} {:?}", memory.layout, memory.links);
        assert_eq!((report.presence, report.missing_arenas), (Presence::Found, None), "{name}");
        assert_eq!(report.layout, Some(memory.layout), "{name}");
        let [first, second] = &report.arenas[..] else { panic!("{name}: {report:?}") };
        assert_eq!((first.at, first.main, second.at, second.main), (Addr(MAIN), true, Addr(at), false));
        assert!(first.steady && second.steady);
        assert_eq!(first.bins, Ok(of(4, 0x90 + 0x3000 + 0x5010 + 0x3f0, 0x5010)), "{name}");
        assert_eq!(second.bins, Ok(of(2, 0x860, 0x430)), "{name}");
        let fasts = if memory.layout.fast.is_some() {
            (of(3, 0xf0, 0xb0), of(1, 0x30, 0x30))
        } else {
            Default::default()
        };
        assert_eq!((first.fast, second.fast), (Ok(fasts.0), Ok(fasts.1)), "{name}");
        assert_eq!(first.top, Ok(Bytes(0x20ee0)));
        assert_eq!(first.largest_free(), Ok(Bytes(0x20ee0)));
        assert_eq!(report.system(), first.system.and_then(|one| Ok(one + second.system?)));
        let used: u64 = first.used().unwrap().0 + first.free().unwrap().0;
        assert_eq!(Ok(Bytes(used)), first.system);
        let pages = first.free_ranges.clone().unwrap();
        assert_eq!(pages.len(), 3, "{pages:?}");
        assert!(pages.iter().all(|range| range.start().0 % 4096 == 0 && range.end().0 % 4096 == 0));
    }
}

/// Checks that a libc which nobody asked for memory is told from one that is not there.
#[test]
fn an_unused_malloc_is_no_missing_one() {
    for mut memory in glibcs() {
        assert_eq!(look_at(&mut memory).presence, Presence::Unused);
        assert_eq!(look_at(&mut memory).used(), Ok(Bytes(0)));
        // Initialised, as malloc_info(3) and malloc_trim(3) do, but never asked for memory.
        let mut initial = memory.clone();
        for bin in 1..128 {
            let own = memory.layout.bin_at(MAIN, bin);
            initial.put(own + 16, own);
            initial.put(own + 24, own);
        }
        initial.put(MAIN + memory.layout.bins - 16, memory.layout.bin_at(MAIN, 1));
        assert_eq!(look_at(&mut initial).presence, Presence::Unused);
        memory.put(MAIN + memory.layout.next(), 0);
        assert_eq!(look_at(&mut memory).presence, Presence::NotFound(Unknown::NotFound));
        assert_eq!(look_at(&mut memory).used(), Err(Unknown::NotFound));
        memory.rows.clear();
        assert_eq!(look_at(&mut memory).presence, Presence::NotFound(Unknown::NotFound));
    }
}

/// Checks that a heap leads to the arenas where libc's data is not known by name.
#[test]
fn a_heap_leads_to_the_circle() {
    let mut memory = glibcs().last().unwrap();
    memory.main(&[Chunk::Free(0x90, true), Chunk::Used(0x50)], 0x1000 - 0xe0);
    memory.arena(&[Chunk::Used(0x20)]);
    memory.arena(&[Chunk::Used(0x20)]);
    memory.rows.iter_mut().filter(|row| row.has_file()).for_each(|row| row.prot = vmatlas_event::Prot::READ);
    let report = look_at(&mut memory);
    assert_eq!((report.presence, report.arenas.len()), (Presence::Found, 3));
    assert!(report.used().is_ok(), "{report:?}");
}

/// Checks that pages which are not in memory are left alone and make only that figure unknown.
#[test]
fn what_is_not_resident_is_unknown() {
    let mut memory = glibcs().next().unwrap();
    memory.main(&[Chunk::Used(0x3000), Chunk::Free(0x90, true), Chunk::Used(0x2000)], 0x1000 - 0x90);
    memory.resident.remove(&((BRK + 0x3000) / 4096));
    let arena = &look_at(&mut memory).arenas[0];
    assert_eq!(arena.bins.unwrap_err().id(), "not-resident");
    assert_eq!(arena.free_ranges.clone().unwrap_err().at(), Some(Addr(BRK + 0x3000)));
    assert_eq!((arena.system, arena.top, arena.fast), (Ok(Bytes(0x6000)), Ok(Bytes(0xf70)), Ok(of(0, 0, 0))));
    memory.resident.remove(&(DATA / 4096));
    assert_eq!(look_at(&mut memory).presence.id(), "not-found");
}

/// Checks that each thing which cannot be makes the bins unknown: size, flags, footer, links, circles, overlap.
#[test]
fn what_cannot_be_is_unknown() {
    let chunk = BRK + 0x100;
    let second = chunk + 0x90 + 0x20;
    for (at, word) in [
        (chunk + 8, 0x91 | 2),
        (chunk + 8, 0x90),
        (chunk + 8, 0xa1),
        (chunk + 8, 0x99),
        (chunk + 8, u64::MAX),
        (chunk + 8, 0),
        (chunk + 0x90, 0xa0),
        (chunk + 0x98, 0x21),
        (chunk + 16, chunk),
        (chunk + 16, 0),
        (chunk + 16, 8),
        (chunk + 16, u64::MAX - 15),
        (chunk + 24, second),
        (second + 16, chunk),
        (second + 16, DATA),
    ] {
        let mut memory = glibcs().next().unwrap();
        let chunks =
            [Chunk::Used(0x100), Chunk::Free(0x90, true), Chunk::Used(0x20), Chunk::Free(0x90, true)];
        memory.main(&[&chunks[..], &[Chunk::Used(0x20)]].concat(), 0x1000 - 0x260);
        assert_eq!(look_at(&mut memory).arenas[0].bins, Ok(of(2, 0x120, 0x90)));
        memory.put(at, word);
        let arena = &look_at(&mut memory).arenas[0];
        assert_eq!(arena.bins.map_err(Unknown::id), Err("inconsistent"), "{at:#x} {word:#x}");
        assert!(arena.used().is_err() && arena.free_ranges.is_err() && arena.system.is_ok());
    }
}

/// Checks that a circle in a fastbin ends, however the links are stored.
#[test]
fn a_circle_of_fast_chunks_ends() {
    for links in [Links::Plain, Links::Protected] {
        let layout = Layout { heap_info: Some(32), ..STATES[0] };
        let mut memory = MadeUp::new(layout, links);
        memory.main(&[Chunk::Used(0x100), Chunk::Fast(0x20), Chunk::Fast(0x20)], 0x1000 - 0x140);
        let first = BRK + 0x100;
        memory.put(first + 16, links.reveal(first + 16, first + 0x20));
        let arena = &look_at(&mut memory).arenas[0];
        assert_eq!(arena.fast.map_err(Unknown::id), Err("inconsistent"));
        assert_eq!(arena.bins, Ok(of(0, 0, 0)));
    }
}

/// Checks that a broken circle of arenas is told, and that no sum is given then.
#[test]
fn a_broken_circle_of_arenas_is_told() {
    let mut memory = glibcs().next().unwrap();
    memory.main(&[Chunk::Used(0x100)], 0xf00);
    let one = memory.arena(&[]);
    let two = memory.arena(&[]);
    for next in [one, two, 0, 8, BRK, u64::MAX] {
        memory.put(two + memory.layout.next(), next);
        let report = look_at(&mut memory);
        assert_eq!(report.missing_arenas.map(Unknown::id), Some("inconsistent"), "{next:#x}");
        assert!(report.used().is_err() && report.free_ranges().is_err());
    }
}

/// Memory that changes when it is read for the `left`th time.
struct Changing(MadeUp, u32);

impl TargetMemory for Changing {
    fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread> {
        self.1 = self.1.saturating_sub(1);
        if self.1 == 0 {
            let top = MAIN + self.0.layout.next() + 32;
            self.0.put(top, self.0.get(top) + 4096);
        }
        self.0.read(addr, buf)
    }
}

/// Checks that an arena that changed while it was read is told as such, and that time and bytes have an end.
#[test]
fn change_and_limits_are_told() {
    let mut memory = glibcs().next().unwrap();
    memory.main(&[Chunk::Used(0x100), Chunk::Free(0x90, true), Chunk::Used(0x20)], 0x1000 - 0x1b0);
    let rows = memory.rows.clone();
    let page = PageSize::FOUR_KIB;
    let steady = inspect(&mut Changing(memory.clone(), u32::MAX), &rows, page, Limits::default());
    assert!(steady.steady() && !steady.may_improve());
    let changed = inspect(&mut Changing(memory.clone(), 6), &rows, page, Limits::default());
    assert!(!changed.steady() && changed.may_improve(), "{changed:?}");
    let late = Limits { deadline: Duration::ZERO, ..Limits::default() };
    assert_eq!(inspect(&mut memory, &rows, page, late).presence, Presence::NotFound(Unknown::Deadline));
    let little = Limits { bytes: 4096, ..Limits::default() };
    assert_eq!(inspect(&mut memory, &rows, page, little).presence, Presence::NotFound(Unknown::TooMuch));
}

/// Checks that a thread's cache of each shape is found at the start of a heap and its chunks are counted.
#[test]
fn thread_caches_of_each_shape_are_read() {
    for (chunk, bins, width) in [(0x250, 64, 1), (0x290, 64, 2), (0x300, 76, 2)] {
        let mut memory = MadeUp::new(Layout { heap_info: Some(48), ..STATES[0] }, Links::Protected);
        memory.main(&[Chunk::Used(chunk), Chunk::Used(0x40), Chunk::Used(0x40)], 0x1000 - chunk - 0x80);
        let (first, second) = (BRK + chunk + 16, BRK + chunk + 0x50);
        let counters = BRK + 16;
        let entries = counters + bins * width;
        memory.put(entries + 2 * 8, first);
        memory.put(first, Links::Protected.reveal(first, second));
        memory.put(second, Links::Protected.reveal(second, 0));
        if chunk == 0x300 {
            // Room for 16 chunks of each size, but for the two that are there.
            (0..bins * width / 8).for_each(|word| memory.put(counters + word * 8, 0x0010_0010_0010_0010));
            memory.put(counters, 0x0010_000e_0010_0010);
        } else {
            memory.put(counters, 2 << (2 * width * 8));
        }
        let caches = look_at(&mut memory).thread_caches;
        let expected = ThreadCaches { found: 1, of: Ok(1), chunks: Ok(of(2, 0x80, 0x40)) };
        assert_eq!(caches, expected, "{chunk:#x}");
        memory.put(counters, 3 << (2 * width * 8));
        assert_eq!(look_at(&mut memory).thread_caches.found, 0, "{chunk:#x}");
    }
}

/// Checks that malloc's own statistics are found by the start of the heap, in each of their shapes.
#[test]
fn mapped_chunks_are_read() {
    for (threshold, ints) in [(10, [9, 8, 7]), (11, [9, 8, 7]), (7, [8, 7, 6])] {
        let mut memory = glibcs().next().unwrap();
        memory.main(&[Chunk::Used(0x100)], 0xf00);
        assert_eq!(look_at(&mut memory).mapped, Err(Unknown::NotFound));
        let base = DATA + 0x200;
        memory.put(base, BRK);
        memory.put(base - 8, 0x9000);
        memory.put(base - 16, 0x5000);
        memory.put(base - threshold * 8, 0x20000);
        for (ints_back, value) in ints.into_iter().zip([2u64, 65536, 3]) {
            let word = base - u64::div_ceil(ints_back, 2) * 8;
            memory.put(word, memory.get(word) | value << if ints_back % 2 == 0 { 0 } else { 32 });
        }
        let expected = MappedChunks { count: 2, bytes: Bytes(0x5000), threshold: Bytes(0x20000) };
        assert_eq!(look_at(&mut memory).mapped, Ok(expected), "{threshold}");
    }
}
