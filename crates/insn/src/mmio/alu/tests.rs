//! The processor that runs the tests is the reference: the same arithmetic on it, results and flags compared.
#![allow(unsafe_code)] // the reference is inline assembly

use super::{Binary, BitAction, Outcome, Unary};
use crate::mmio::flags::{AF, CF, STATUS};
use crate::operand::Width;
use core::arch::asm;

const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Dword, Width::Qword];
const ROUNDS: u32 = 3_000;

/// Xorshift, with the numbers mixed in at which carries and signs change.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn operand(&mut self, width: Width) -> u64 {
        let near = self.bits() % 3;
        let value = match self.bits() % 5 {
            0 => near,
            1 => width.sign().wrapping_add(near).wrapping_sub(1),
            2 => width.mask().wrapping_sub(near),
            _ => self.bits(),
        };
        value & width.mask()
    }

    fn rflags(&mut self) -> u64 {
        0x202 | self.bits() & STATUS
    }
}

/// Runs one instruction on two registers.
macro_rules! run {
    ($text:expr, $class:ident, $type:ty, $left:expr, $right:expr, $rflags:expr) => {{
        let (mut left, mut right, mut rflags) = ($left as $type, $right as $type, $rflags);
        // SAFETY: arithmetic on registers the compiler gave; the stack is balanced and RFLAGS keeps DF and TF clear.
        unsafe {
            asm!("push {f}", "popfq", $text, "pushfq", "pop {f}",
                f = inout(reg) rflags, a = inout($class) left, b = inout($class) right);
        }
        (left as u64, right as u64, rflags)
    }};
}

/// A function that runs an instruction at any width: `(left, right, rflags)` before and after.
macro_rules! reference {
    ($name:ident, $mnemonic:literal, two) => {
        fn $name(width: Width, left: u64, right: u64, rflags: u64) -> (u64, u64, u64) {
            match width {
                Width::Byte => run!(concat!($mnemonic, " {a}, {b}"), reg_byte, u8, left, right, rflags),
                _ => reference!(@wide $mnemonic, two, width, left, right, rflags),
            }
        }
    };
    ($name:ident, $mnemonic:literal, one) => {
        fn $name(width: Width, left: u64, right: u64, rflags: u64) -> (u64, u64, u64) {
            match width {
                Width::Byte => run!(concat!($mnemonic, " {a} /* {b} */"), reg_byte, u8, left, right, rflags),
                Width::Word => run!(concat!($mnemonic, " {a:x} /* {b:x} */"), reg, u16, left, right, rflags),
                Width::Dword => run!(concat!($mnemonic, " {a:e} /* {b:e} */"), reg, u32, left, right, rflags),
                Width::Qword => run!(concat!($mnemonic, " {a:r} /* {b} */"), reg, u64, left, right, rflags),
            }
        }
    };
    ($name:ident, $mnemonic:literal, wide) => {
        fn $name(width: Width, left: u64, right: u64, rflags: u64) -> (u64, u64, u64) {
            reference!(@wide $mnemonic, two, width, left, right, rflags)
        }
    };
    (@wide $mnemonic:literal, two, $width:expr, $left:expr, $right:expr, $rflags:expr) => {
        match $width {
            Width::Byte | Width::Word => {
                run!(concat!($mnemonic, " {a:x}, {b:x}"), reg, u16, $left, $right, $rflags)
            }
            Width::Dword => run!(concat!($mnemonic, " {a:e}, {b:e}"), reg, u32, $left, $right, $rflags),
            Width::Qword => run!(concat!($mnemonic, " {a:r}, {b:r}"), reg, u64, $left, $right, $rflags),
        }
    };
}

reference!(add, "add", two);
reference!(or, "or", two);
reference!(adc, "adc", two);
reference!(sbb, "sbb", two);
reference!(and, "and", two);
reference!(sub, "sub", two);
reference!(xor, "xor", two);
reference!(cmp, "cmp", two);
reference!(test, "test", two);
reference!(inc, "inc", one);
reference!(dec, "dec", one);
reference!(not, "not", one);
reference!(neg, "neg", one);
reference!(bt, "bt", wide);
reference!(bts, "bts", wide);
reference!(btr, "btr", wide);
reference!(btc, "btc", wide);

type Reference = fn(Width, u64, u64, u64) -> (u64, u64, u64);

/// Compares with the processor, but for the flags in `undefined`.
fn compare(
    widths: &[Width],
    undefined: u64,
    reference: Reference,
    ours: impl Fn(Width, u64, u64, u64) -> Outcome,
) {
    let mut random = Random(0x1234_5678_9abc_def1);
    for &width in widths {
        for _ in 0..ROUNDS {
            let (left, right, before) = (
                random.operand(width),
                random.operand(width),
                random.rflags(),
            );
            let (value, _, rflags) = reference(width, left, right, before);
            let outcome = ours(width, left, right, before);
            let context = || format!("{width:?} {left:#x} {right:#x} flags {before:#x}");
            assert_eq!(outcome.value, value, "{}", context());
            assert_eq!(
                outcome.rflags & STATUS & !undefined,
                rflags & STATUS & !undefined,
                "{}",
                context()
            );
            assert_eq!(outcome.rflags & !STATUS, before & !STATUS, "{}", context());
        }
    }
}

#[test]
fn binary_arithmetic_is_that_of_the_processor() {
    let all: [(Binary, Reference, u64); 9] = [
        (Binary::Add, add, 0),
        (Binary::Or, or, AF),
        (Binary::Adc, adc, 0),
        (Binary::Sbb, sbb, 0),
        (Binary::And, and, AF),
        (Binary::Sub, sub, 0),
        (Binary::Xor, xor, AF),
        (Binary::Cmp, cmp, 0),
        (Binary::Test, test, AF),
    ];
    for (action, reference, undefined) in all {
        compare(
            &WIDTHS,
            undefined,
            reference,
            |width, left, right, rflags| {
                let outcome = action.apply(width, left, right, rflags);
                if action.writes() {
                    outcome
                } else {
                    Outcome {
                        value: left,
                        ..outcome
                    }
                }
            },
        );
    }
}

#[test]
fn unary_arithmetic_is_that_of_the_processor() {
    let all: [(Unary, Reference); 4] = [
        (Unary::Inc, inc),
        (Unary::Dec, dec),
        (Unary::Not, not),
        (Unary::Neg, neg),
    ];
    for (action, reference) in all {
        compare(&WIDTHS, 0, reference, |width, value, _, rflags| {
            action.apply(width, value, rflags)
        });
    }
}

#[test]
fn bit_instructions_are_those_of_the_processor() {
    let all: [(BitAction, Reference); 4] = [
        (BitAction::Keep, bt),
        (BitAction::Set, bts),
        (BitAction::Reset, btr),
        (BitAction::Complement, btc),
    ];
    for (action, reference) in all {
        // Only CF is defined.
        compare(
            &WIDTHS[1..],
            STATUS & !CF,
            reference,
            |width, value, index, rflags| {
                action.apply(value, index as u32 & (width.bits() - 1), rflags)
            },
        );
    }
}
