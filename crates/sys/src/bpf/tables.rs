//! Which calls the programs tell of, and what of the map they look at: `bpf/calls.h` has the same.

/// What is looked at when a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    /// Nothing.
    Nothing = 1,
    /// The range of the first two arguments.
    Range,
    /// The same, where the call failed.
    RangeFailed,
    /// The same, unless the third argument is advice on pages alone.
    Advice,
    /// The result, and as many bytes as the second argument says.
    Result,
    /// The same with the third argument.
    Moved,
    /// What ends at the result.
    Break,
    /// What begins at the result.
    Attached,
    /// No call of memory, but one that makes tasks.
    Fork,
}

/// Which calls of a number are told of, by the lower half of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0.
    pub arg: u32,
    /// The bits that count.
    pub mask: u32,
    /// Whether calls with the first of the values are left out, instead of taking those with one of them.
    pub unless: bool,
    /// At most [`Condition::VALUES`].
    pub values: &'static [u32],
}

impl Condition {
    /// So many values fit.
    pub const VALUES: usize = 6;
}

/// A call to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its number.
    pub nr: u32,
    /// Whether it is one of 32 bits.
    pub is_32: bool,
    /// What is looked at.
    pub shape: Shape,
    /// Which of them.
    pub condition: Option<Condition>,
}

const NUMBERS: usize = 512;
const CONDITIONS: usize = 8;
/// arg, mask, unless, count, values.
const WORDS: usize = 4 + Condition::VALUES;

/// The tables as the programs have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    pub(super) shapes: Vec<u8>,
    pub(super) conditions: Vec<u32>,
    pub(super) advice: u64,
}

impl Tables {
    /// Makes them; `advice` has bit N for each advice N of madvise(2) below 64 that can change VMAs.
    ///
    /// `None` when a number, the conditions or their values are too many.
    pub fn new(calls: &[Numbered], advice: u64) -> Option<Tables> {
        let mut shapes = vec![0u8; 2 * NUMBERS];
        // 0 is none.
        let mut known: Vec<Condition> = Vec::new();
        for call in calls {
            let which = match call.condition {
                None => 0,
                Some(condition) => match known.iter().position(|k| *k == condition) {
                    Some(at) => at + 1,
                    None => {
                        known.push(condition);
                        known.len()
                    }
                },
            };
            let at = usize::try_from(call.nr).ok().filter(|nr| *nr < NUMBERS)?;
            let place = shapes.get_mut(usize::from(call.is_32) * NUMBERS + at)?;
            *place = call.shape as u8 | u8::try_from(which).ok().filter(|which| *which < 8)? << 4;
        }
        let mut conditions = vec![0u32; WORDS];
        for Condition { arg, mask, unless, values } in &known {
            let mut words = vec![*arg, *mask, u32::from(*unless), u32::try_from(values.len()).ok()?];
            words.extend(*values);
            if words.len() > WORDS {
                return None;
            }
            words.resize(WORDS, 0);
            conditions.extend(words);
        }
        conditions.resize(CONDITIONS * WORDS, 0);
        Some(Tables { shapes, conditions, advice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that calls come to their places, equal conditions are one, and what does not fit is refused.
    #[test]
    fn tables_are_laid_out() {
        let condition = Condition { arg: 1, mask: 0xff, unless: false, values: &[7, 9] };
        let call = |nr, is_32, condition| Numbered { nr, is_32, shape: Shape::Range, condition };
        let tables = Tables::new(
            &[call(9, false, None), call(9, true, Some(condition)), call(3, true, Some(condition))],
            5,
        )
        .unwrap();
        assert_eq!((tables.shapes[9], tables.shapes[512 + 9], tables.shapes[512 + 3]), (2, 0x12, 0x12));
        assert_eq!(tables.conditions[10..20], [1, 0xff, 0, 2, 7, 9, 0, 0, 0, 0]);
        assert_eq!(tables.conditions.len(), 80);
        assert_eq!(Tables::new(&[call(512, false, None)], 0), None);
        let many = Condition { values: &[1, 2, 3, 4, 5, 6, 7], ..condition };
        assert_eq!(Tables::new(&[call(1, false, Some(many))], 0), None);
    }
}
