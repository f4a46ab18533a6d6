//! Two maps whose differences are known.

use super::open;
use super::play::Play;
use super::told::{HONEST, map, protect};
use crate::kind::Kind;
use crate::space::tests::{anon, r};
use crate::timeline::{Delta, Moment, Side, Whose, compare, compare_runs, compare_spaces};
use vmatlas_event::{MmId, Name, Op, Outcome, Prot, VmaRow};

/// Checks two moments of one address space: what came, went, moved, grew and was made anew is told, and nothing else.
#[test]
fn moments_are_compared() {
    let mut play = Play::new();
    map(&mut play, 0, r(20, 24));
    map(&mut play, 0, r(50, 52));
    let from = play.memory.events.last().unwrap().seq;
    protect(&mut play, 0, r(7, 9));
    protect(&mut play, 0, r(3, 5));
    let op = Op::Mremap {
        old: r(50, 52).start(),
        old_len: r(50, 52).len(),
        new_len: r(50, 52).len(),
        flags: 3,
        new: r(60, 62).start(),
    };
    play.call(0, op, Outcome::Done(r(60, 62).start().0), HONEST);
    map(&mut play, 0, r(20, 22));
    let mut timeline = open(&play.memory);
    timeline.seek_event(from).unwrap();
    let before = timeline.space(MmId(1)).unwrap().clone();
    timeline.seek(&Moment::End, Whose::First).unwrap();
    let after = timeline.space(MmId(1)).unwrap();
    assert_eq!(compare_spaces(after, after), []);
    assert_eq!(
        compare_spaces(&before, after),
        [
            Delta::Altered { from: anon(3, 5, Prot::RW), to: anon(3, 5, Prot::READ) },
            Delta::Added(anon(20, 22, Prot::RW)),
            Delta::Resized { from: anon(20, 24, Prot::RW), to: anon(22, 24, Prot::RW) },
            Delta::Moved { from: anon(50, 52, Prot::RW), to: anon(60, 62, Prot::RW) },
        ]
    );
    let (short, long) = ([anon(1, 3, Prot::RW)], [anon(1, 5, Prot::RW)]);
    let [short_row, long_row] = [&short[0], &long[0]].map(Clone::clone);
    assert_eq!(compare(&short, &long), [Delta::Resized { from: short_row.clone(), to: long_row.clone() }]);
    assert_eq!(compare(&long, &short), [Delta::Resized { from: long_row.clone(), to: short_row.clone() }]);
    // A neighbour that looks alike is told apart from what grew, and it is told as what it is.
    let two = [long_row.clone(), anon(5, 9, Prot::RW)];
    let grown = Delta::Resized { from: short_row, to: long_row };
    assert_eq!(compare(&short, &two), [grown, Delta::Added(anon(5, 9, Prot::RW))]);
}

/// Checks that a program that ran twice is equal to itself wherever it was put, and that what it did otherwise is told.
#[test]
fn runs_are_compared() {
    let name = |name: &str, row| VmaRow { name: Some(Name::new(name.as_bytes())), ..row };
    let run = |at: u64, inode: u64, heap: u64| {
        let file = |row: VmaRow, offset| VmaRow { inode, offset, ..name("/bin/x", row) };
        vec![
            file(anon(at, at + 2, Prot::READ), 0),
            file(anon(at + 2, at + 4, Prot::EXEC), 0x2000),
            name("[heap]", anon(at + 9, at + heap, Prot::RW)),
            anon(at * 2, at * 2 + 8, Prot::RW),
            anon(at * 2 + 9, at * 2 + 10, Prot::RW),
        ]
    };
    let kinds = [Kind::Image, Kind::Image, Kind::Heap, Kind::Anonymous, Kind::Anonymous];
    let (a, mut b) = (run(100, 7, 30), run(731, 9, 30));
    let compared = |a: &[VmaRow], b: &[VmaRow]| {
        compare_runs(Side { rows: a, kinds: &kinds }, Side { rows: b, kinds: &kinds })
    };
    assert_eq!(compared(&a, &b), []);
    // As much memory, of which other parts lie next to each other.
    let other = |low: VmaRow, high: VmaRow| [&b[..3], &[low, high]].concat();
    let cut = other(anon(1462, 1469, Prot::RW), anon(1471, 1473, Prot::RW));
    assert_eq!(compared(&a, &cut), []);
    let grown = other(anon(1462, 1469, Prot::RW), anon(1471, 1474, Prot::RW));
    assert_eq!(compared(&a, &grown).len(), 2);
    b[2] = name("[heap]", anon(740, 790, Prot::RW));
    b.insert(3, anon(900, 903, Prot::RW));
    b[1].prot = Prot::READ;
    let found = compared(&a, &b);
    assert_eq!(
        found,
        [
            Delta::Altered { from: a[1].clone(), to: b[1].clone() },
            Delta::Resized { from: a[2].clone(), to: b[2].clone() },
            Delta::Added(b[3].clone()),
        ]
    );
}
