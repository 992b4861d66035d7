//! Hypercalls: none is offered, and a guest that tries one learns so (docs/decisions/0013-hypercalls.md).
//!
//! Guests that find themselves on a hypervisor they do not know try the interface that most of them have: a number in RAX,
//! the result there, too, negative for an error.

/// There is no such hypercall.
const NO_SUCH_CALL: i32 = -1000;
/// Hypercalls are for the guest's kernel.
const NOT_PERMITTED: i32 = -1;

/// What RAX is after a hypercall made at `cpl`, in 64-bit code (`wide`) or not: there the upper half is zero.
#[must_use]
pub const fn answer(cpl: u8, wide: bool) -> u64 {
    let error = if cpl == 0 {
        NO_SUCH_CALL
    } else {
        NOT_PERMITTED
    };
    if wide {
        error as i64 as u64
    } else {
        error as u32 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_refused_in_the_width_of_its_code() {
        assert_eq!(answer(0, true), -1000i64 as u64);
        assert_eq!(answer(0, false), 0xffff_fc18);
    }

    #[test]
    fn a_guests_programs_may_not_even_ask() {
        for cpl in 1..4 {
            assert_eq!(answer(cpl, true), u64::MAX);
            assert_eq!(answer(cpl, false), 0xffff_ffff);
        }
    }
}
