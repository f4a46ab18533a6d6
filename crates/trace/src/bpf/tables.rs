//! Which calls the BPF programs tell of: those that the seccomp filter marks.

use crate::decode::{Number, Only, forks, looks, numbers_i386, numbers_x86_64};
use vmatlas_event::Advice;
use vmatlas_sys::bpf::{Condition, Numbered, Shape, Tables};

/// Makes the tables; `None` when they do not hold all calls, which a test excludes.
pub(super) fn tables() -> Option<Tables> {
    let mut calls: Vec<Numbered> = Vec::new();
    for is_32 in [false, true] {
        let numbers: Vec<Number> = match is_32 {
            false => numbers_x86_64().collect(),
            true => numbers_i386().collect(),
        };
        for Number { nr, only } in numbers {
            calls.push(Numbered { nr, is_32, shape: looks(is_32, nr), condition: only.map(condition) });
        }
        for nr in forks(is_32) {
            calls.push(Numbered { nr: *nr, is_32, shape: Shape::Fork, condition: None });
        }
    }
    let advice = (0..64).filter(|n| Advice(*n).changes_vmas()).fold(0, |bits, n| bits | 1 << n);
    Tables::new(&calls, advice)
}

fn condition(only: Only) -> Condition {
    match only {
        Only::When { arg, mask, values } => Condition { arg, mask, unless: false, values },
        Only::Unless { arg, value: crate::decode::PERSONALITY_ASKS } => {
            Condition { arg, mask: u32::MAX, unless: true, values: &[crate::decode::PERSONALITY_ASKS] }
        }
        // There is no other one; a condition that no call meets would hide calls, this one takes all.
        Only::Unless { .. } => Condition { arg: 0, mask: 0, unless: false, values: &[0] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that all calls fit into the tables.
    #[test]
    fn all_calls_fit() {
        assert!(tables().is_some());
    }
}
