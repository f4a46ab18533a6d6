//! Numbers for tests that try many things, the same ones in each run.

/// Numbers that look random and are the same in each run (xorshift64); it begins with one that is not 0.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next one, below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}
