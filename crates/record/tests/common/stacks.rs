//! Call stacks that a number tells.

use vmatlas_event::*;

pub(crate) fn module(n: u32) -> Module {
    let is_file = n != 1;
    Module {
        name: is_file.then(|| Name::new(format!("/lib/{n}\u{1b}").as_bytes())),
        build_id: vec![n as u8; (n as usize * 20) % 64],
        dev: is_file.then_some(Dev { major: n, minor: u32::MAX }),
        inode: if is_file { u64::MAX - u64::from(n) } else { 0 },
    }
}

pub(crate) fn frame(n: u32) -> Frame {
    let addr = Addr(0xffff_ffff_0000_0000 | u64::from(n) << 4);
    let place = if n % 5 == 4 { Place::Unknown(addr) } else { Place::Module(ModuleId(n % 3), addr) };
    Frame { place, is_return: n % 2 == 1 }
}

pub(crate) fn step(n: u32) -> StackStep {
    const ENDS: [StackEnd; 6] = [
        StackEnd::Start,
        StackEnd::Bound,
        StackEnd::Depth,
        StackEnd::NoRule,
        StackEnd::Unreadable,
        StackEnd::Code32,
    ];
    const FOUND: [Option<FoundBy>; 4] =
        [None, Some(FoundBy::Tables), Some(FoundBy::Code), Some(FoundBy::FramePointer)];
    let outer = match n {
        0..6 => Outer::End(ENDS[n as usize]),
        _ => Outer::Caller(StackId(n / 2), FOUND[n as usize % 4]),
    };
    StackStep { frame: FrameId(n % 20), outer }
}

pub(crate) fn symbols(n: u32) -> Vec<Symbol> {
    let symbol = |i: u32| Symbol {
        function: (i != 1).then(|| Name::new(format!("f{n}::<{i}>").as_bytes())),
        file: n.is_multiple_of(2).then(|| Name::new(b"src/a.rs")),
        line: n.is_multiple_of(3).then_some(i + 1),
        is_inlined: i + 1 < n % 4,
    };
    (0..n % 4).map(symbol).collect()
}

/// All that there is of stacks, in as many pieces as there are events.
pub(crate) fn news(piece: u32, pieces: u32) -> NewStacks {
    let part = |all: u32| (all * piece / pieces)..(all * (piece + 1) / pieces);
    NewStacks {
        modules: part(3).map(module).collect(),
        frames: part(20).map(frame).collect(),
        stacks: part(200).map(step).collect(),
    }
}
