//! Tables in which each value has a number, in the order in which values came.

use std::collections::HashMap;
use std::hash::Hash;

/// Values and their numbers, from 0.
#[derive(Debug)]
pub(super) struct Table<T> {
    numbers: HashMap<T, usize>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Table<T> {
    /// An empty one.
    pub(super) fn new() -> Table<T> {
        Table { numbers: HashMap::new(), values: Vec::new() }
    }

    /// The number of a value, a new one where it is new.
    pub(super) fn number(&mut self, value: T) -> usize {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = self.values.len();
        self.numbers.insert(value.clone(), number);
        self.values.push(value);
        number
    }

    /// The values by their numbers.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}
