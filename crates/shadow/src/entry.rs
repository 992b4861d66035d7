//! Which bits of a guest's table entry are reserved, per format and level.

use crate::space::Limits;
use words::x86::pte;

/// Bits `high..=low`.
const fn bits(high: u32, low: u32) -> u64 {
    (u64::MAX >> (63 - high)) & (u64::MAX << low)
}

/// Address bits the processor does not have.
const fn beyond_width(limits: Limits) -> u64 {
    pte::ADDRESS & !((1 << limits.width) - 1)
}

/// Whether a PAE PDPTE may be loaded: not present, or without reserved bits (APM vol. 2, 5.2.3: bits 2..1, 8..5 and all
/// above the address).
pub const fn pdpte_is_valid(value: u64, limits: Limits) -> bool {
    let reserved = bits(2, 1) | bits(8, 5) | bits(63, 52) | beyond_width(limits);
    value & pte::P == 0 || value & reserved == 0
}

/// Whether an 8-byte entry at `level` is a leaf. A set PS bit where it is reserved makes no leaf; [`reserved`] has it.
pub const fn is_leaf(level: u32, value: u64, long: bool, limits: Limits) -> bool {
    match level {
        1 => true,
        2 => value & pte::PS != 0,
        3 => value & pte::PS != 0 && long && limits.gigabyte_pages,
        _ => false,
    }
}

/// The reserved bits of an 8-byte entry at `level` (APM vol. 2, 5.2.3 and 5.3.3). `long`: long mode, where bits 62..52 are
/// the software's; `nxe`: EFER.NXE, without which bit 63 is reserved (5.6.1).
pub const fn reserved(level: u32, value: u64, long: bool, nxe: bool, limits: Limits) -> u64 {
    let mut mask = beyond_width(limits);
    if !nxe {
        mask |= pte::NX;
    }
    if !long {
        mask |= bits(62, 52);
    }
    mask | match level {
        // Bit 8 of the two upper levels' non-leaf entries must be zero on this vendor's processors.
        4 => pte::PS | pte::G,
        3 if is_leaf(3, value, long, limits) => bits(29, 13),
        3 => pte::PS | pte::G,
        2 if value & pte::PS != 0 => bits(20, 13),
        _ => 0,
    }
}

/// The reserved bits of a 4 MiB page's entry (APM vol. 2, 5.2.2): the address bits from 32 on live in bits 20..13, as
/// many as the width has; what is left up to bit 21 is reserved.
pub const fn reserved_4m(limits: Limits) -> u64 {
    bits(21, 13 + high_bits_4m(limits))
}

/// Address bits above 31 that a 4 MiB page's entry can hold.
pub const fn high_bits_4m(limits: Limits) -> u32 {
    let above = limits.width - 32;
    if above < 8 { above } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_4m_entry_has_only_bit_21_reserved_at_40_bits() {
        assert_eq!(
            reserved_4m(Limits {
                width: 40,
                gigabyte_pages: false
            }),
            1 << 21
        );
        assert_eq!(
            reserved_4m(Limits {
                width: 36,
                gigabyte_pages: false
            }),
            0x3e_0000
        );
        assert_eq!(
            reserved_4m(Limits {
                width: 52,
                gigabyte_pages: false
            }),
            1 << 21
        );
    }

    #[test]
    fn an_absent_pdpte_is_valid_whatever_it_holds() {
        assert!(pdpte_is_valid(!1, Limits::QEMU64));
        assert!(pdpte_is_valid(0x7e19, Limits::QEMU64));
        assert!(!pdpte_is_valid(0x7003, Limits::QEMU64));
        assert!(!pdpte_is_valid(1 | 1 << 40, Limits::QEMU64));
    }
}
