//! The APIC base address register, MSR 0x1b (APM vol. 2, 16.3.1).

/// The processor that started first; read-only.
const BOOTSTRAP: u64 = 1 << 8;
/// The local APIC is there.
const ENABLE: u64 = 1 << 11;
/// Bits that must be written as zero below the address: x2APIC mode, which this APIC has not, among them.
const RESERVED: u64 = 0xfff & !(BOOTSTRAP | ENABLE);
/// The address after reset.
const RESET: u64 = 0xfee0_0000;

/// A write that set a reserved bit; the processor answers it with #GP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservedBits;

/// The register of the bootstrap processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Base {
    address: u64,
    enabled: bool,
}

impl Base {
    pub(super) const fn new() -> Self {
        Self {
            address: RESET,
            enabled: true,
        }
    }

    pub(super) const fn enabled(self) -> bool {
        self.enabled
    }

    pub(super) const fn address(self) -> u64 {
        self.address
    }

    pub(super) const fn read(self) -> u64 {
        self.address | BOOTSTRAP | if self.enabled { ENABLE } else { 0 }
    }

    /// The register after a write by a processor with `physical_bits` address lines.
    pub(super) const fn written(value: u64, physical_bits: u32) -> Result<Self, ReservedBits> {
        let beyond = match 1u64.checked_shl(physical_bits) {
            Some(limit) => !(limit - 1),
            None => 0,
        };
        if value & (RESERVED | beyond) != 0 {
            return Err(ReservedBits);
        }
        Ok(Self {
            address: value & !0xfff,
            enabled: value & ENABLE != 0,
        })
    }
}
