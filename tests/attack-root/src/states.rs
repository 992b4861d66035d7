//! The states a hostile vmm-server asks for: control registers, segments and events, by number.
//!
//! Every combination of CR0's bits, every pair of CR4's, every combination of EFER's, attribute words of every segment bit
//! by bit, and every event word's type and vector, each with the other registers drawn from the number.

use crate::rng::Rng;
use exit_abi::{Mask, Register};
use words::svm::event;
use words::x86::cr0;

/// CR0's bits, all that there are.
const CR0_BITS: [u64; 11] = [
    cr0::PE,
    cr0::MP,
    cr0::EM,
    cr0::TS,
    cr0::ET,
    cr0::NE,
    cr0::WP,
    cr0::AM,
    cr0::NW,
    cr0::CD,
    cr0::PG,
];
/// Bits of CR4 that any processor has given a meaning, and two that none has.
const CR4_BITS: u64 = 26;
/// Bits of EFER with a meaning: SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE.
const EFER_BITS: [u32; 8] = [0, 8, 10, 11, 12, 13, 14, 15];
const SEGMENTS: [Register; 8] = [
    Register::Es,
    Register::Cs,
    Register::Ss,
    Register::Ds,
    Register::Fs,
    Register::Gs,
    Register::Ldtr,
    Register::Tr,
];

const CR0_STATES: u64 = 1 << CR0_BITS.len();
const CR4_STATES: u64 = CR4_BITS * CR4_BITS;
const EFER_STATES: u64 = 1 << EFER_BITS.len();
const SEGMENT_STATES: u64 = SEGMENTS.len() as u64 * 16 * 8;
const EVENT_STATES: u64 = 8 * 2 * 64;

/// How many states there are.
pub const COUNT: u64 = CR0_STATES + CR4_STATES + EFER_STATES + SEGMENT_STATES + EVENT_STATES;

/// Registers to write, and their values, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Which.
    pub mask: Mask,
    values: [u64; 8],
}

impl State {
    fn new(pairs: &mut [(Register, u64)]) -> Self {
        pairs.sort_unstable_by_key(|pair| pair.0);
        let mut state = Self {
            mask: Mask::default(),
            values: [0; 8],
        };
        for (value, (register, new)) in state.values.iter_mut().zip(pairs.iter()) {
            state.mask = state.mask.with(*register);
            *value = *new;
        }
        state
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[u64] {
        &self.values[..self.mask.len()]
    }

    /// The value of one register, if it is written.
    #[must_use]
    pub fn value(&self, register: Register) -> Option<u64> {
        let at = self.mask.iter().position(|bit| bit == register as u8)?;
        Some(self.values[at])
    }

    /// State number `n` of [`COUNT`].
    #[must_use]
    pub fn number(n: u64) -> Self {
        let mut rng = Rng::new(n);
        let mut drawn = [
            (Register::Cr0, cr0_of(rng.next())),
            (Register::Cr4, rng.next() & rng.next() & 0x3ff_ffff),
            (Register::Efer, efer_of(rng.next())),
        ];
        let Some(n) = n.checked_sub(CR0_STATES) else {
            drawn[0].1 = cr0_of(n);
            return Self::new(&mut drawn);
        };
        let Some(n) = n.checked_sub(CR4_STATES) else {
            drawn[1].1 = (1 << (n / CR4_BITS)) | (1 << (n % CR4_BITS));
            return Self::new(&mut drawn);
        };
        let Some(n) = n.checked_sub(EFER_STATES) else {
            drawn[2].1 = efer_of(n);
            return Self::new(&mut drawn);
        };
        match n.checked_sub(SEGMENT_STATES) {
            None => Self::segments(n, &mut rng),
            Some(n) => Self::event(n, &mut rng),
        }
    }

    /// One segment with every type and 8 samples of the bits above it; CS and SS drawn, and half the time long mode.
    fn segments(n: u64, rng: &mut Rng) -> Self {
        let segment = SEGMENTS[(n / 128) as usize];
        let attributes = (n % 16) | (rng.below(1 << 12) << 4);
        let limit = rng.pick(&[0, 0xffff, 0xf_ffff, 0xffff_ffff]);
        let word = |attributes: u64, rng: &mut Rng| {
            rng.below(1 << 16) | ((attributes & 0xffff) << 16) | (limit << 32)
        };
        let other = if segment == Register::Cs {
            Register::Ss
        } else {
            Register::Cs
        };
        let drawn = rng.next();
        let mut pairs = [
            (segment, word(attributes, rng)),
            (other, word(drawn, rng)),
            (Register::Cpl, rng.next()),
            (Register::Efer, efer_of(rng.next())),
            (Register::Cr0, cr0_of(rng.next()) | cr0::PE),
            (Register::Rflags, rng.next()),
        ];
        Self::new(&mut pairs)
    }

    /// Every type, with and without error code, vectors from both ends and the middle.
    fn event(n: u64, rng: &mut Rng) -> Self {
        let (kind, code, vector) = (n / 128, n / 64 % 2, n % 64);
        let vector = if vector < 40 { vector } else { vector * 4 };
        let word = vector
            | (kind << 8)
            | (code * event::ERROR_VALID)
            | event::VALID
            | (rng.next() << 32)
            | (rng.next() & 0x7fff_f000);
        let mut pairs = [
            (Register::Event, word),
            (Register::Window, rng.next() & 1),
            (Register::InterruptShadow, rng.next()),
            (Register::Rflags, rng.next()),
            (Register::Efer, if rng.once_in(2) { 0x500 } else { 0 }),
        ];
        Self::new(&mut pairs)
    }
}

fn cr0_of(n: u64) -> u64 {
    bits(n, CR0_BITS.iter().copied())
}

fn efer_of(n: u64) -> u64 {
    bits(n, EFER_BITS.iter().map(|bit| 1 << bit))
}

/// Bit n of the number chooses the nth value.
fn bits(number: u64, of: impl Iterator<Item = u64>) -> u64 {
    of.enumerate()
        .filter(|(n, _)| number >> n & 1 != 0)
        .fold(0, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_enough_states_and_each_names_its_values_in_order() {
        const { assert!(COUNT >= 5000) };
        for n in 0..COUNT {
            let state = State::number(n);
            assert_eq!(state.values().len(), state.mask.len());
        }
    }

    #[test]
    fn every_cr0_and_every_efer_is_asked_for() {
        let states: Vec<State> = (0..COUNT).map(State::number).collect();
        let all = |register| -> HashSet<u64> {
            states.iter().filter_map(|s| s.value(register)).collect()
        };
        assert_eq!(all(Register::Cr0).len() as u64, CR0_STATES);
        assert_eq!(all(Register::Efer).len() as u64, EFER_STATES);
    }
}
