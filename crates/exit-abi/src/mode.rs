//! The guest's paging mode in 32 bits: all a page walk depends on besides CR3.

use words::x86::{cr0, cr4, efer, rflags};

/// The paging-relevant bits of CR0, CR4, EFER, RFLAGS and the CPL, as the *guest* sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Mode(u32);

impl Mode {
    /// CR0.PG.
    pub const PG: u32 = 1;
    /// CR0.WP.
    pub const WP: u32 = 1 << 1;
    /// CR4.PAE.
    pub const PAE: u32 = 1 << 2;
    /// CR4.PSE.
    pub const PSE: u32 = 1 << 3;
    /// CR4.PGE.
    pub const PGE: u32 = 1 << 4;
    /// CR4.SMEP.
    pub const SMEP: u32 = 1 << 5;
    /// CR4.SMAP.
    pub const SMAP: u32 = 1 << 6;
    /// EFER.NXE.
    pub const NXE: u32 = 1 << 7;
    /// EFER.LMA.
    pub const LMA: u32 = 1 << 8;
    /// RFLAGS.AC.
    pub const AC: u32 = 1 << 9;
    /// CR0.PE.
    pub const PE: u32 = 1 << 10;
    /// CPL, two bits.
    pub const CPL_SHIFT: u32 = 12;

    /// Gathers the bits from full registers.
    #[must_use]
    pub const fn gather(cr0v: u64, cr4v: u64, eferv: u64, flags: u64, cpl: u8) -> Self {
        const fn bit(value: u64, mask: u64, to: u32) -> u32 {
            if value & mask != 0 { to } else { 0 }
        }
        Self(
            bit(cr0v, cr0::PG, Self::PG)
                | bit(cr0v, cr0::WP, Self::WP)
                | bit(cr0v, cr0::PE, Self::PE)
                | bit(cr4v, cr4::PAE, Self::PAE)
                | bit(cr4v, cr4::PSE, Self::PSE)
                | bit(cr4v, cr4::PGE, Self::PGE)
                | bit(cr4v, cr4::SMEP, Self::SMEP)
                | bit(cr4v, cr4::SMAP, Self::SMAP)
                | bit(eferv, efer::NXE, Self::NXE)
                | bit(eferv, efer::LMA, Self::LMA)
                | bit(flags, rflags::AC, Self::AC)
                | (cpl as u32 & 3) << Self::CPL_SHIFT,
        )
    }
    /// A mode from its word.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
    /// The word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// Whether all of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
    /// Current privilege level.
    #[must_use]
    pub const fn cpl(self) -> u8 {
        ((self.0 >> Self::CPL_SHIFT) & 3) as u8
    }
    /// The bits on which the shadow depends, without AC and CPL: equal roles may share a shadow.
    #[must_use]
    pub const fn role(self) -> u32 {
        self.0 & !(Self::AC | 3 << Self::CPL_SHIFT)
    }
}
