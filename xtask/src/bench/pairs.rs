//! Measuring in pairs: A B A B, so that whatever the machine does meanwhile meets both sides alike.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How often each side runs before it is measured, for caches and the clock of the CPU.
const WARM_UP: usize = 2;

/// One thing that is measured.
pub(super) struct Row {
    /// What the work is.
    pub(super) name: String,
    /// What both sides count in; less is better.
    pub(super) unit: &'static str,
    /// What must hold.
    pub(super) asked: Asked,
    /// Our way to do it.
    pub(super) ours: Side,
    /// The other way.
    pub(super) peer: Side,
}

/// What is asked of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "each row chooses the one that fits")]
pub(super) enum Asked {
    /// Ours takes at most this many times what the peer takes.
    RatioAtMost(f64),
    /// Ours takes at most this, in the row's unit, whatever the peer does.
    ValueAtMost(f64),
    /// Nothing: the row is there to be known.
    Nothing,
}

/// One side of a row: a name for the table, and a way to measure once.
pub(super) struct Side {
    name: String,
    once: Box<dyn FnMut() -> Result<f64>>,
}

impl Side {
    /// A side that measures itself: each call does the work once and returns its cost in the row's unit.
    pub(super) fn new(name: impl Into<String>, once: impl FnMut() -> Result<f64> + 'static) -> Side {
        Side { name: name.into(), once: Box::new(once) }
    }

    /// A side that is a command: its wall time in milliseconds, its output thrown away; it must succeed.
    pub(super) fn command(name: impl Into<String>, make: impl Fn() -> Command + 'static) -> Side {
        Side::new(name, move || {
            let mut command = make();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let start = Instant::now();
            let status = command.status().with_context(|| format!("{command:?}"))?;
            let took = start.elapsed();
            if !status.success() {
                bail!("{command:?} ended with {status}");
            }
            Ok(took.as_secs_f64() * 1e3)
        })
    }
}

/// What was measured for one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) asked: Asked,
    pub(super) ours_name: String,
    pub(super) peer_name: String,
    /// The median of our side.
    pub(super) ours: f64,
    /// The median of the peer's.
    pub(super) peer: f64,
    /// Ours divided by the peer's, pair by pair.
    pub(super) ratio: Spread,
    pub(super) rounds: usize,
}

impl Measured {
    /// Whether it is as asked.
    pub(super) fn holds(&self) -> bool {
        match self.asked {
            Asked::RatioAtMost(limit) => self.ratio.median <= limit,
            Asked::ValueAtMost(limit) => self.ours <= limit,
            Asked::Nothing => true,
        }
    }
}

/// The middle and both ends of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

/// Measures a row: some rounds to warm up, then `rounds` pairs.
pub(super) fn measure(row: &mut Row, rounds: usize) -> Result<Measured> {
    let Row { ours, peer, .. } = row;
    let mut pair = || -> Result<(f64, f64)> {
        let ours = (ours.once)().with_context(|| ours.name.clone())?;
        let peer = (peer.once)().with_context(|| peer.name.clone())?;
        Ok((ours, peer))
    };
    for _ in 0..WARM_UP {
        pair()?;
    }
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| pair()).collect::<Result<_>>()?;
    let side = |which: fn(&(f64, f64)) -> f64| pairs.iter().map(which).collect::<Vec<f64>>();
    Ok(Measured {
        name: row.name.clone(),
        unit: row.unit,
        asked: row.asked,
        ours_name: row.ours.name.clone(),
        peer_name: row.peer.name.clone(),
        ours: median(&side(|pair| pair.0)).context("no rounds")?,
        peer: median(&side(|pair| pair.1)).context("no rounds")?,
        ratio: ratio(&pairs).context("the peer took no time at all")?,
        rounds,
    })
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The ratios pair by pair; `None` of nothing, or when a ratio is no number.
///
/// Not the ratio of the medians: when the machine slows down halfway, both sides of a pair slow down together.
pub(super) fn ratio(pairs: &[(f64, f64)]) -> Option<Spread> {
    let ratios: Vec<f64> = pairs.iter().map(|(ours, peer)| ours / peer).collect();
    if !ratios.iter().all(|r| r.is_finite()) {
        return None;
    }
    let least = ratios.iter().copied().min_by(f64::total_cmp)?;
    let most = ratios.iter().copied().max_by(f64::total_cmp)?;
    Some(Spread { least, median: median(&ratios)?, most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Checks the middle of odd, even, single and no values, in any order.
    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    /// Checks that ratios are taken within each pair: a machine that slows down fourfold halfway changes nothing.
    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let pairs = [(1.0, 2.0), (1.0, 2.0), (4.0, 8.0), (4.0, 8.0), (4.0, 10.0)];
        let spread = ratio(&pairs).unwrap();
        assert_eq!(spread, Spread { least: 0.4, median: 0.5, most: 0.5 });
        assert_eq!(ratio(&[(1.0, 0.0)]), None);
        assert_eq!(ratio(&[]), None);
    }

    /// Checks that the sides take turns, that warm-up rounds do not count, and that the limit is kept.
    #[test]
    fn sides_take_turns_after_warming_up() {
        let turns = Rc::new(RefCell::new(String::new()));
        let side = |letter: char, cold: f64, warm: f64| {
            let turns = turns.clone();
            let mut done = 0;
            Side::new(letter, move || {
                turns.borrow_mut().push(letter);
                done += 1;
                Ok(if done <= WARM_UP { cold } else { warm })
            })
        };
        let mut row = Row {
            name: "n".to_owned(),
            unit: "ms",
            asked: Asked::RatioAtMost(0.5),
            ours: side('A', 100.0, 1.0),
            peer: side('B', 1.0, 2.0),
        };
        let measured = measure(&mut row, 3).unwrap();
        assert_eq!(*turns.borrow(), "ABABABABAB");
        assert_eq!((measured.ours, measured.peer, measured.ratio.median), (1.0, 2.0, 0.5));
        assert!(measured.holds());
        assert!(!Measured { asked: Asked::RatioAtMost(0.49), ..measured.clone() }.holds());
        assert!(!Measured { asked: Asked::ValueAtMost(0.9), ..measured.clone() }.holds());
        assert!(Measured { asked: Asked::Nothing, ..measured }.holds());
    }

    /// Checks that a command which fails is no measurement.
    #[test]
    fn a_failed_command_is_no_measurement() {
        assert!((Side::command("true", || Command::new("true")).once)().unwrap() > 0.0);
        assert!((Side::command("false", || Command::new("false")).once)().is_err());
    }
}
