//! Arithmetic with its flags.
//!
//! Always: results and flags are those of the width given. Flags the manual calls undefined are what processors leave:
//! AF is 0 after logic (APM vol. 3, the instructions' flag tables).

use super::flags::{AF, CF, OF, PF, SF, STATUS, ZF};
use crate::operand::Width;

/// Arithmetic of two operands, numbered as in opcodes 00 to 3F.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // names are the instructions'
pub enum Binary {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    /// Subtracts for the flags only.
    Cmp,
    /// ANDs for the flags only.
    Test,
}

/// Arithmetic of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // names are the instructions'
pub enum Unary {
    Inc,
    Dec,
    Not,
    Neg,
}

/// What is done to the bit copied to CF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitAction {
    /// BT.
    Keep,
    /// BTS.
    Set,
    /// BTR.
    Reset,
    /// BTC.
    Complement,
}

/// A result and the whole RFLAGS behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub value: u64,
    pub rflags: u64,
}

impl Binary {
    /// The operation with this number in opcodes 00 to 3F and 80 to 83.
    pub(crate) const fn from_number(number: u8) -> Self {
        match number & 7 {
            0 => Self::Add,
            1 => Self::Or,
            2 => Self::Adc,
            3 => Self::Sbb,
            4 => Self::And,
            5 => Self::Sub,
            6 => Self::Xor,
            _ => Self::Cmp,
        }
    }

    /// Whether the destination receives the result.
    pub(crate) const fn writes(self) -> bool {
        !matches!(self, Self::Cmp | Self::Test)
    }

    /// `left op right`, both cut to `width` already.
    pub(crate) const fn apply(self, width: Width, left: u64, right: u64, rflags: u64) -> Outcome {
        let carry = rflags & CF;
        match self {
            Self::Add => add(width, left, right, 0, rflags),
            Self::Adc => add(width, left, right, carry, rflags),
            Self::Sub | Self::Cmp => subtract(width, left, right, 0, rflags),
            Self::Sbb => subtract(width, left, right, carry, rflags),
            Self::Or => logic(width, left | right, rflags),
            Self::And | Self::Test => logic(width, left & right, rflags),
            Self::Xor => logic(width, left ^ right, rflags),
        }
    }
}

impl Unary {
    /// `op value`, cut to `width` already.
    pub(crate) const fn apply(self, width: Width, value: u64, rflags: u64) -> Outcome {
        match self {
            Self::Inc => keep_carry(add(width, value, 1, 0, rflags), rflags),
            Self::Dec => keep_carry(subtract(width, value, 1, 0, rflags), rflags),
            Self::Not => Outcome {
                value: !value & width.mask(),
                rflags,
            },
            Self::Neg => subtract(width, 0, value, 0, rflags),
        }
    }
}

impl BitAction {
    /// The bit `index`, below the width's bits, of `value`.
    pub(crate) const fn apply(self, value: u64, index: u32, rflags: u64) -> Outcome {
        let bit = 1u64 << (index & 63);
        let changed = match self {
            Self::Keep => value,
            Self::Set => value | bit,
            Self::Reset => value & !bit,
            Self::Complement => value ^ bit,
        };
        let carry = if value & bit != 0 { CF } else { 0 };
        Outcome {
            value: changed,
            rflags: rflags & !CF | carry,
        }
    }
}

/// Sum, and the carries out of every bit from which CF, AF and OF follow.
pub(crate) const fn add(width: Width, left: u64, right: u64, carry: u64, rflags: u64) -> Outcome {
    let value = left.wrapping_add(right).wrapping_add(carry) & width.mask();
    let carries = left & right | (left | right) & !value;
    outcome(
        width,
        value,
        carries,
        (left ^ value) & (right ^ value),
        rflags,
    )
}

/// Difference; the same with borrows.
pub(crate) const fn subtract(
    width: Width,
    left: u64,
    right: u64,
    borrow: u64,
    rflags: u64,
) -> Outcome {
    let value = left.wrapping_sub(right).wrapping_sub(borrow) & width.mask();
    let borrows = !left & right | (!left | right) & value;
    outcome(
        width,
        value,
        borrows,
        (left ^ right) & (left ^ value),
        rflags,
    )
}

const fn logic(width: Width, value: u64, rflags: u64) -> Outcome {
    outcome(width, value, 0, 0, rflags)
}

const fn keep_carry(outcome: Outcome, rflags: u64) -> Outcome {
    Outcome {
        value: outcome.value,
        rflags: outcome.rflags & !CF | rflags & CF,
    }
}

const fn outcome(width: Width, value: u64, carries: u64, overflow: u64, rflags: u64) -> Outcome {
    let mut status = 0;
    if carries & width.sign() != 0 {
        status |= CF;
    }
    if carries & 1 << 3 != 0 {
        status |= AF;
    }
    if overflow & width.sign() != 0 {
        status |= OF;
    }
    if value == 0 {
        status |= ZF;
    }
    if value & width.sign() != 0 {
        status |= SF;
    }
    if (value as u8).count_ones().is_multiple_of(2) {
        status |= PF;
    }
    Outcome {
        value,
        rflags: rflags & !STATUS | status,
    }
}

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests;
