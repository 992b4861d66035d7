//! Which bits of a guest's table entry are reserved, per format and level.

use crate::mutant::{Mutant, is, unless};
use crate::space::Limits;
use words::x86::pte;

/// Bits `high..=low`.
const fn bits(high: u32, low: u32) -> u64 {
    (u64::MAX >> (63 - high)) & (u64::MAX << low)
}

/// Address bits the processor does not have.
fn beyond_width(limits: Limits) -> u64 {
    unless(
        Mutant::WidthNotReserved,
        pte::ADDRESS & !((1 << limits.width) - 1),
    )
}

/// Whether a PAE PDPTE may be loaded: not present, or without reserved bits (APM vol. 2, 5.2.3: bits 2..1, 8..5 and all
/// above the address).
pub fn pdpte_is_valid(value: u64, limits: Limits) -> bool {
    let reserved = bits(2, 1) | bits(8, 5) | bits(63, 52) | beyond_width(limits);
    value & pte::P == 0 || value & unless(Mutant::PdpteNotChecked, reserved) == 0
}

/// Whether an 8-byte entry at `level` is a leaf. A set PS bit where it is reserved makes no leaf; [`reserved`] has it.
pub const fn is_leaf(level: u32, value: u64, limits: Limits) -> bool {
    match level {
        1 => true,
        2 => value & pte::PS != 0,
        3 => value & pte::PS != 0 && limits.gigabyte_pages,
        _ => false,
    }
}

/// The reserved bits of an 8-byte entry at `level` (APM vol. 2, 5.2.3 and 5.3.3). `long`: long mode, where bits 62..52 are
/// the software's; `nxe`: EFER.NXE, without which bit 63 is reserved (5.6.1).
pub fn reserved(level: u32, value: u64, long: bool, nxe: bool, limits: Limits) -> u64 {
    let mut mask = beyond_width(limits);
    if !nxe {
        mask |= unless(Mutant::NxNotReserved, pte::NX);
    }
    if !long {
        mask |= unless(Mutant::HighBitsNotReserved, bits(62, 52));
    }
    mask | match level {
        4 => unless(Mutant::Pml4eBitsNotReserved, pte::PS | pte::G),
        3 if is_leaf(3, value, limits) => unless(Mutant::LowBitsOf1gNotReserved, bits(29, 13)),
        // The figures have bit 8 reserved in PML4 entries and ignored in these.
        3 if is(Mutant::PdpeGlobalReserved) => pte::PS | pte::G,
        3 => unless(Mutant::PdpeSizeNotReserved, pte::PS),
        2 if value & pte::PS != 0 => unless(Mutant::LowBitsOf2mNotReserved, bits(20, 13)),
        _ => 0,
    }
}

/// The reserved bits of a 4 MiB page's entry (APM vol. 2, 5.2.2): the address bits from 32 on live in bits 20..13, as
/// many as the width has; what is left up to bit 21 is reserved.
pub fn reserved_4m(limits: Limits) -> u64 {
    unless(
        Mutant::LowBitsOf4mNotReserved,
        bits(21, 13 + high_bits_4m(limits)),
    )
}

/// The address in a 4 MiB page's entry.
pub fn address_4m(value: u64, limits: Limits) -> u64 {
    let high = value >> 13 & ((1 << high_bits_4m(limits)) - 1);
    value & bits(31, 22) | unless(Mutant::HighAddressOf4mDropped, high << 32)
}

/// Address bits above 31 that a 4 MiB page's entry can hold.
const fn high_bits_4m(limits: Limits) -> u32 {
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
