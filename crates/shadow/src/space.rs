//! What a guest's linear addresses mean at the moment: paging mode, CR3 and, in PAE paging, the latched PDPTEs.

use crate::GuestMemory;
use crate::entry;
use crate::mutant::{Mutant, is};
use exit_abi::Mode;
use words::{Gpa, Gva};

/// What the guest's CPUID promises about page tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Physical address width in bits, 32 to 52: higher address bits of an entry are reserved.
    pub width: u32,
    /// Whether 1 GiB pages exist.
    pub gigabyte_pages: bool,
}

impl Limits {
    /// A `qemu64` processor: 40 bits, no 1 GiB pages.
    pub const QEMU64: Self = Self {
        width: 40,
        gigabyte_pages: false,
    };
}

/// The four formats of a guest's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Paging off, real mode included: an address is its own translation.
    Off,
    /// 4-byte entries, two levels, with 4 MiB pages if CR4.PSE is set (APM vol. 2, 5.2.1 to 5.2.2).
    TwoLevel,
    /// 8-byte entries, two levels below four latched PDPTEs (APM vol. 2, 5.2.3).
    Pae,
    /// 8-byte entries, four levels (APM vol. 2, 5.3).
    Long,
}

impl Format {
    /// The format a mode uses.
    #[must_use]
    pub const fn of(mode: Mode) -> Self {
        if !mode.has(Mode::PG) {
            Self::Off
        } else if mode.has(Mode::LMA) {
            Self::Long
        } else if mode.has(Mode::PAE) {
            Self::Pae
        } else {
            Self::TwoLevel
        }
    }

    /// The linear address as the processor uses it: outside long mode the upper half does not exist.
    #[must_use]
    pub fn address(self, gva: Gva) -> Gva {
        match self {
            Self::Long => gva,
            _ if is(Mutant::AddressNotTruncated) => gva,
            _ => Gva::new(gva.bits() & 0xffff_ffff),
        }
    }
}

/// A linear address space of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Paging mode. AC and CPL are those of the access being looked at.
    pub mode: Mode,
    /// CR3 as the guest wrote it.
    pub cr3: u64,
    /// The PDPTEs as they were when they were latched; zero outside PAE paging.
    pub pdptes: [u64; 4],
}

impl Space {
    /// The space after a load of CR3 (or of another register that enters PAE paging): reads the PDPTEs, where there are any.
    #[must_use]
    pub fn read<M: GuestMemory>(memory: &M, mode: Mode, cr3: u64) -> Self {
        let mut space = Self {
            mode,
            cr3,
            pdptes: [0; 4],
        };
        if Format::of(mode) == Format::Pae {
            // APM vol. 2, 5.2.3: CR3 points to a 32-byte aligned table below 4 GiB.
            let alignment = if is(Mutant::PdptesFromPageStart) {
                0xfff
            } else {
                0x1f
            };
            let table = Gpa::new(cr3 & 0xffff_ffff & !alignment);
            for (index, pdpte) in space.pdptes.iter_mut().enumerate() {
                *pdpte = memory
                    .read64(table.wrapping_add(8 * index as u64))
                    .unwrap_or(!0);
            }
        }
        space
    }

    /// Whether the processor would accept the load; if not it raises #GP(0) and keeps what it had.
    #[must_use]
    pub fn is_loadable(&self, limits: Limits) -> bool {
        match Format::of(self.mode) {
            Format::Off | Format::TwoLevel => true,
            Format::Pae => self
                .pdptes
                .iter()
                .all(|&pdpte| entry::pdpte_is_valid(pdpte, limits)),
            Format::Long => self.cr3 >> limits.width == 0 || is(Mutant::Cr3NotChecked),
        }
    }

    /// The same space seen by an access in `mode`, which has the same role.
    #[must_use]
    pub const fn seen_by(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;
    impl GuestMemory for Nothing {
        fn read32(&self, _: Gpa) -> Option<u32> {
            None
        }
        fn read64(&self, _: Gpa) -> Option<u64> {
            None
        }
        fn exchange32(&self, _: Gpa, _: u32, _: u32) -> bool {
            false
        }
        fn exchange64(&self, _: Gpa, _: u64, _: u64) -> bool {
            false
        }
        fn is_memory(&self, _: Gpa, _: u64) -> bool {
            false
        }
    }

    #[test]
    fn pdptes_outside_memory_read_as_ones_and_are_refused() {
        let space = Space::read(&Nothing, Mode::from_bits(Mode::PG | Mode::PAE), 0x5020);
        assert_eq!(space.pdptes, [!0; 4]);
        assert!(!space.is_loadable(Limits::QEMU64));
    }

    #[test]
    fn a_long_mode_cr3_beyond_the_physical_width_is_refused() {
        let mode = Mode::from_bits(Mode::PG | Mode::PAE | Mode::LMA);
        assert!(Space::read(&Nothing, mode, (1 << 40) - 0x1000).is_loadable(Limits::QEMU64));
        assert!(!Space::read(&Nothing, mode, 1 << 40).is_loadable(Limits::QEMU64));
    }

    #[test]
    fn addresses_outside_long_mode_have_32_bits() {
        let gva = Gva::new(0x1_2345_6789);
        assert_eq!(Format::Pae.address(gva), Gva::new(0x2345_6789));
        assert_eq!(Format::Long.address(gva), gva);
    }
}
