//! From a segment and an offset to a linear address, with the checks the processor makes (APM vol. 2, 4.7, 4.8, 4.12).

use crate::registers::Registers;
use exit_abi::Register;
use words::Gva;
use words::x86::vector;

/// A segment register in the VMCB's form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Type 3..0, S 4, DPL 6..5, P 7, AVL 8, L 9, D/B 10, G 11 (APM vol. 2, 15.5.1).
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base.
    pub base: u64,
}

/// Attribute bits.
mod attribute {
    pub const WRITABLE_OR_READABLE: u16 = 1 << 1;
    pub const EXPAND_DOWN: u16 = 1 << 2;
    pub const CODE: u16 = 1 << 3;
    pub const PRESENT: u16 = 1 << 7;
    pub const LONG: u16 = 1 << 9;
    pub const BIG: u16 = 1 << 10;
}

/// The six segment registers an instruction can name, in the hardware's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the registers'
pub enum Name {
    Es = 0,
    Cs = 1,
    Ss = 2,
    Ds = 3,
    Fs = 4,
    Gs = 5,
}

impl Name {
    /// The segment with the hardware's number; 6 and 7, which exist nowhere, read as DS.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Es,
            1 => Self::Cs,
            2 => Self::Ss,
            4 => Self::Fs,
            5 => Self::Gs,
            _ => Self::Ds,
        }
    }

    /// Its two registers: the base, and the rest.
    #[must_use]
    pub const fn registers(self) -> (Register, Register) {
        match self {
            Self::Es => (Register::EsBase, Register::Es),
            Self::Cs => (Register::CsBase, Register::Cs),
            Self::Ss => (Register::SsBase, Register::Ss),
            Self::Ds => (Register::DsBase, Register::Ds),
            Self::Fs => (Register::FsBase, Register::Fs),
            Self::Gs => (Register::GsBase, Register::Gs),
        }
    }
}

/// How the guest's code addresses memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addressing {
    /// 64-bit code: bases of FS and GS alone, canonical addresses.
    Flat,
    /// Protected mode or compatibility mode: type, limit and presence are checked.
    Protected,
    /// Real and virtual-8086 mode: the limit is checked.
    Real,
}

/// The way memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read.
    Read,
    /// Write.
    Write,
}

/// The exception a refused access raises; its error code is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// #GP, or #SS through SS.
    pub vector: u8,
}

impl Segment {
    /// A segment from its two register values.
    #[must_use]
    pub const fn from_words(base: u64, rest: u64) -> Self {
        Self {
            selector: rest as u16,
            attributes: (rest >> 16) as u16,
            limit: (rest >> 32) as u32,
            base,
        }
    }

    /// The segment `name` of a set that holds its two registers.
    #[must_use]
    pub const fn of(name: Name, registers: &Registers) -> Self {
        let (base, rest) = name.registers();
        Self::from_words(registers.get(base), registers.get(rest))
    }

    /// Selector, attributes and limit in one register value.
    #[must_use]
    pub const fn rest(self) -> u64 {
        self.selector as u64 | (self.attributes as u64) << 16 | (self.limit as u64) << 32
    }

    /// CS.L: 64-bit code, when long mode is active.
    #[must_use]
    pub const fn is_long_code(self) -> bool {
        self.attributes & attribute::LONG != 0
    }

    /// CS.D: 32-bit code by default.
    #[must_use]
    pub const fn is_big(self) -> bool {
        self.attributes & attribute::BIG != 0
    }

    const fn has(self, bit: u16) -> bool {
        self.attributes & bit != 0
    }

    const fn permits(self, access: Access) -> bool {
        let second = self.has(attribute::WRITABLE_OR_READABLE);
        self.has(attribute::PRESENT)
            && match (access, self.has(attribute::CODE)) {
                (Access::Read, true) | (Access::Write, false) => second,
                (Access::Read, false) => true,
                (Access::Write, true) => false,
            }
    }

    const fn within_limit(self, first: u64, last: u64) -> bool {
        let limit = self.limit as u64;
        let expand_down = self.has(attribute::EXPAND_DOWN) && !self.has(attribute::CODE);
        if expand_down {
            let top = if self.is_big() { 0xffff_ffff } else { 0xffff };
            first > limit && last <= top
        } else {
            last <= limit
        }
    }

    /// The linear address of `size` bytes at `offset`.
    ///
    /// # Errors
    /// [`Refused`] with the exception the processor raises.
    pub const fn linear(
        self,
        name: Name,
        offset: u64,
        size: u64,
        access: Access,
        addressing: Addressing,
    ) -> Result<Gva, Refused> {
        let refused = Err(Refused {
            vector: if matches!(name, Name::Ss) {
                vector::SS
            } else {
                vector::GP
            },
        });
        let extent = size.saturating_sub(1);
        if matches!(addressing, Addressing::Flat) {
            let base = if matches!(name, Name::Fs | Name::Gs) {
                self.base
            } else {
                0
            };
            let first = Gva::new(base.wrapping_add(offset));
            let last = first.wrapping_add(extent);
            return if first.is_canonical() && last.is_canonical() {
                Ok(first)
            } else {
                refused
            };
        }
        let Some(last) = offset.checked_add(extent) else {
            return refused;
        };
        if matches!(addressing, Addressing::Protected) && !self.permits(access)
            || !self.within_limit(offset, last)
        {
            return refused;
        }
        Ok(Gva::new(self.base.wrapping_add(offset) & 0xffff_ffff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Segment = Segment {
        selector: 0x10,
        attributes: 0xc93,
        limit: 0xfff,
        base: 0x1000,
    };
    const GP: Result<Gva, Refused> = Err(Refused { vector: vector::GP });

    fn linear(segment: Segment, offset: u64, access: Access) -> Result<Gva, Refused> {
        segment.linear(Name::Ds, offset, 4, access, Addressing::Protected)
    }

    #[test]
    fn a_segment_survives_its_register_values() {
        assert_eq!(Segment::from_words(DATA.base, DATA.rest()), DATA);
    }

    #[test]
    fn the_last_byte_must_be_within_the_limit() {
        assert_eq!(linear(DATA, 0xffc, Access::Read), Ok(Gva::new(0x1ffc)));
        assert_eq!(linear(DATA, 0xffd, Access::Read), GP);
        assert_eq!(linear(DATA, !0, Access::Read), GP);
    }

    #[test]
    fn an_expand_down_segment_holds_what_lies_above_its_limit() {
        let down = Segment {
            attributes: 0xc97,
            ..DATA
        };
        assert_eq!(linear(down, 0xfff, Access::Read), GP);
        assert_eq!(linear(down, 0x1000, Access::Read), Ok(Gva::new(0x2000)));
        let small = Segment {
            attributes: 0x097,
            ..DATA
        };
        assert_eq!(linear(small, 0xfffd, Access::Read), GP);
    }

    #[test]
    fn types_are_checked_in_protected_mode_only() {
        let read_only = Segment {
            attributes: 0xc91,
            ..DATA
        };
        let execute_only = Segment {
            attributes: 0xc99,
            ..DATA
        };
        let null = Segment {
            attributes: 0,
            ..DATA
        };
        assert!(linear(read_only, 0, Access::Read).is_ok());
        assert_eq!(linear(read_only, 0, Access::Write), GP);
        assert_eq!(linear(execute_only, 0, Access::Read), GP);
        assert_eq!(linear(null, 0, Access::Read), GP);
        let real = null.linear(Name::Es, 0, 1, Access::Write, Addressing::Real);
        assert_eq!(real, Ok(Gva::new(0x1000)));
    }

    #[test]
    fn flat_addressing_knows_two_bases_and_canonical_addresses() {
        let flat =
            |name, offset, size| DATA.linear(name, offset, size, Access::Write, Addressing::Flat);
        assert_eq!(flat(Name::Ds, 5, 1), Ok(Gva::new(5)));
        assert_eq!(flat(Name::Gs, 5, 1), Ok(Gva::new(0x1005)));
        assert_eq!(flat(Name::Ds, 0x7fff_ffff_ffff, 2), GP);
        assert_eq!(
            flat(Name::Ss, 1 << 47, 1),
            Err(Refused { vector: vector::SS })
        );
    }

    #[test]
    fn legacy_addresses_wrap_at_four_gibibytes() {
        let high = Segment {
            base: 0xffff_f000,
            limit: 0xffff_ffff,
            ..DATA
        };
        assert_eq!(linear(high, 0x2000, Access::Read), Ok(Gva::new(0x1000)));
    }
}
