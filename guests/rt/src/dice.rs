//! Pseudo-random numbers that are the same on every machine.

/// A die: xorshift64*, whose high bits are good enough to choose by.
pub struct Dice(u64);

impl Dice {
    /// The die of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    /// The next 32 bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A number below `bound`.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }

    /// Each bit of `bits` with even chance.
    pub const fn some_of(&mut self, bits: u64) -> u64 {
        bits & (self.roll() | self.roll() << 32)
    }
}
