//! A set of register values: what is read from a vCPU and what is written to it.

use exit_abi::{Mask, Register};

/// Number of registers there are.
const COUNT: usize = Register::COUNT as usize;
/// Most words a set needs in a message: the mask and one value for each register.
pub const MAX_WORDS: usize = 1 + COUNT;

/// Values for the registers of a mask. A register outside the mask reads as 0.
#[derive(Clone, Debug)]
pub struct Registers {
    mask: Mask,
    values: [u64; COUNT],
}

impl PartialEq for Registers {
    fn eq(&self, other: &Self) -> bool {
        self.mask == other.mask
            && self
                .mask
                .iter()
                .all(|bit| self.values[usize::from(bit)] == other.values[usize::from(bit)])
    }
}

impl Eq for Registers {}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl Registers {
    /// No register.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            mask: Mask(0),
            values: [0; COUNT],
        }
    }

    /// The registers of `mask` with `values` in ascending bit order; values that are missing read as 0.
    #[must_use]
    pub fn from_message(mask: Mask, values: &[u64]) -> Self {
        let mut set = Self::new();
        let known = Mask(mask.0 & Mask::ALL.0);
        for (bit, value) in known.iter().zip(values.iter().copied()) {
            set.values[usize::from(bit)] = value;
        }
        set.mask = known;
        set
    }

    /// Which registers are in the set.
    #[must_use]
    pub const fn mask(&self) -> Mask {
        self.mask
    }

    /// Whether `register` is in the set.
    #[must_use]
    pub const fn has(&self, register: Register) -> bool {
        self.mask.0 & register.bit() != 0
    }

    /// The value of `register`.
    #[must_use]
    pub const fn get(&self, register: Register) -> u64 {
        if self.has(register) {
            self.values[register as usize]
        } else {
            0
        }
    }

    /// The value of the general-purpose register with the hardware's `number`.
    #[must_use]
    pub fn gpr(&self, number: u8) -> u64 {
        let bit = Register::gpr(number);
        if self.mask.0 >> bit & 1 != 0 {
            self.values[usize::from(bit)]
        } else {
            0
        }
    }

    /// Empties the set: cheaper than a new one, because old values may stay where no mask bit shows them.
    pub const fn clear(&mut self) {
        self.mask = Mask(0);
    }

    /// Puts `register` into the set.
    pub const fn set(&mut self, register: Register, value: u64) {
        self.mask = self.mask.with(register);
        self.values[register as usize] = value;
    }

    /// Puts the general-purpose register with the hardware's `number` into the set.
    pub fn set_gpr(&mut self, number: u8, value: u64) {
        let bit = Register::gpr(number);
        self.mask = Mask(self.mask.0 | 1 << bit);
        self.values[usize::from(bit)] = value;
    }

    /// The set with `register` added.
    #[must_use]
    pub const fn with(mut self, register: Register, value: u64) -> Self {
        self.set(register, value);
        self
    }

    /// Writes the message form (mask, then values in ascending order) and says how many words it has. An empty set
    /// has none. `words` holds at least [`MAX_WORDS`]; what does not fit is left out.
    pub fn encode(&self, words: &mut [u64]) -> usize {
        if self.mask.is_empty() {
            return 0;
        }
        let values = self.mask.iter().map(|bit| self.values[usize::from(bit)]);
        let all = core::iter::once(self.mask.0).chain(values);
        words
            .iter_mut()
            .zip(all)
            .map(|(word, value)| *word = value)
            .count()
    }
}

/// `old` with its low `size` bytes replaced by `value`, as a write of that operand size leaves a general-purpose
/// register: 4 bytes clear the upper half, 1 and 2 bytes keep the rest (APM vol. 1, 3.1.2).
#[must_use]
pub const fn merge_low(old: u64, value: u64, size: u32) -> u64 {
    match size {
        1 => old & !0xff | value & 0xff,
        2 => old & !0xffff | value & 0xffff,
        4 => value & 0xffff_ffff,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_its_message() {
        let set = Registers::new()
            .with(Register::Rip, 7)
            .with(Register::Rax, 1)
            .with(Register::Dr3, 9);
        let mut words = [0; MAX_WORDS];
        let length = set.encode(&mut words);
        assert_eq!(length, 4);
        assert_eq!(&words[1..4], &[1, 7, 9]);
        assert_eq!(
            Registers::from_message(Mask(words[0]), &words[1..length]),
            set
        );
    }

    #[test]
    fn a_cleared_set_shows_nothing_of_its_past() {
        let mut set = Registers::new()
            .with(Register::Rip, 7)
            .with(Register::Rax, 8);
        set.clear();
        assert_eq!((set.get(Register::Rip), set.gpr(0)), (0, 0));
        assert_eq!(set, Registers::new());
    }

    #[test]
    fn an_empty_set_has_no_words() {
        assert_eq!(Registers::new().encode(&mut [0; MAX_WORDS]), 0);
    }

    #[test]
    fn unknown_mask_bits_and_missing_values_are_harmless() {
        let set = Registers::from_message(Mask(!0), &[1, 2]);
        assert_eq!(set.mask(), Mask::ALL);
        assert_eq!((set.gpr(0), set.gpr(1), set.gpr(2)), (1, 2, 0));
    }

    #[test]
    fn narrow_results_keep_what_the_processor_keeps() {
        assert_eq!(merge_low(!0, 0x12, 1), 0xffff_ffff_ffff_ff12);
        assert_eq!(merge_low(!0, 0x1234, 2), 0xffff_ffff_ffff_1234);
        assert_eq!(merge_low(!0, 0x1234, 4), 0x1234);
        assert_eq!(merge_low(!0, 0x1234, 8), 0x1234);
    }
}
