//! CR0, CR3, CR4 and EFER as the guest sees them: what may be written, and what a write means for paging.
//!
//! The authoritative copy lives with whoever holds a [`Control`]; the kernel derives the real registers from what it is
//! told. A write yields a [`Change`] or a #GP(0); nothing is half done.

use exit_abi::Mode;
use words::x86::{cr0, cr4, efer, rflags};

/// The guest's control registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// CR0; ET reads as 1.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER; LMA is the processor's.
    pub efer: u64,
}

/// Which bits this guest may set: follows from the CPUID it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// CR4 bits that exist.
    pub cr4: u64,
    /// EFER bits that exist.
    pub efer: u64,
    /// Width of a physical address in bits.
    pub physical_width: u8,
}

/// The register whose write makes the shadow's owner reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// MOV to CR3.
    Cr3,
    /// A paging bit of CR0.
    Cr0,
    /// A paging bit of CR4.
    Cr4,
    /// A paging bit of EFER.
    Efer,
}

/// A legal write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The registers after it.
    pub control: Control,
    /// Whether, and why, the shadow's owner has to be told.
    pub load: Option<Load>,
    /// The paging mode itself changes, so that the kernel must hear of it before anyone installs a root for it.
    pub format: bool,
}

/// The write raises #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeneralProtection;

/// The low half of a register: what counts outside long mode.
const LOW: u64 = 0xffff_ffff;
/// LMSW's four bits: PE, MP, EM, TS (APM vol. 3).
const MSW: u64 = cr0::PE | cr0::MP | cr0::EM | cr0::TS;

impl Control {
    /// Whether long mode is active.
    #[must_use]
    pub const fn is_long(&self) -> bool {
        self.efer & efer::LMA != 0
    }

    /// Whether protected mode is on.
    #[must_use]
    pub const fn is_protected(&self) -> bool {
        self.cr0 & cr0::PE != 0
    }

    /// The paging mode, with AC and CPL as given.
    #[must_use]
    pub const fn mode(&self, flags: u64, cpl: u8) -> Mode {
        Mode::gather(self.cr0, self.cr4, self.efer, flags, cpl)
    }

    /// The paging mode, with AC and CPL as in `mode`.
    #[must_use]
    pub const fn mode_like(&self, mode: Mode) -> Mode {
        let flags = if mode.has(Mode::AC) { rflags::AC } else { 0 };
        self.mode(flags, mode.cpl())
    }

    /// MOV to CR0 (APM vol. 2, 3.1.1 and 14.6). `long_code` says whether CS.L is set; it is asked only when long mode
    /// is entered or left.
    ///
    /// # Errors
    /// [`GeneralProtection`] where the processor raises #GP(0).
    pub fn write_cr0(
        self,
        value: u64,
        long_code: impl FnOnce() -> bool,
    ) -> Result<Change, GeneralProtection> {
        let value = if self.is_long() { value } else { value & LOW };
        let on = |bit| value & bit != 0;
        if value > LOW || on(cr0::PG) && !on(cr0::PE) || on(cr0::NW) && !on(cr0::CD) {
            return Err(GeneralProtection);
        }
        let mut next = self;
        next.cr0 = value & cr0::DEFINED | cr0::ET;
        let paging_toggles = (self.cr0 ^ next.cr0) & cr0::PG != 0;
        if paging_toggles && self.efer & efer::LME != 0 {
            let entering = on(cr0::PG);
            if entering && self.cr4 & cr4::PAE == 0 || long_code() {
                return Err(GeneralProtection);
            }
            next.efer = if entering {
                self.efer | efer::LMA
            } else {
                self.efer & !efer::LMA
            };
        }
        Ok(self.change_to(next, Load::Cr0))
    }

    /// LMSW: the low four bits, of which PE can be set and not cleared.
    ///
    /// # Errors
    /// [`GeneralProtection`] where the processor raises #GP(0).
    pub fn lmsw(self, value: u64) -> Result<Change, GeneralProtection> {
        let kept = self.cr0 & !(MSW & !cr0::PE);
        self.write_cr0(kept | value & MSW, || false)
    }

    /// CLTS.
    #[must_use]
    pub const fn clts(self) -> Change {
        let mut next = self;
        next.cr0 &= !cr0::TS;
        self.change_to(next, Load::Cr0)
    }

    /// MOV to CR3 (APM vol. 2, 5.2.1, 5.3.2). It flushes the TLB whatever the value, unless paging is off.
    ///
    /// # Errors
    /// [`GeneralProtection`] where the processor raises #GP(0).
    pub const fn write_cr3(self, value: u64, limits: &Limits) -> Result<Change, GeneralProtection> {
        let value = if self.is_long() { value } else { value & LOW };
        if limits.physical_width < 64 && value >> limits.physical_width != 0 {
            return Err(GeneralProtection);
        }
        let mut next = self;
        next.cr3 = value;
        let load = if self.cr0 & cr0::PG != 0 {
            Some(Load::Cr3)
        } else {
            None
        };
        Ok(Change {
            control: next,
            load,
            format: false,
        })
    }

    /// MOV to CR4 (APM vol. 2, 3.1.3).
    ///
    /// # Errors
    /// [`GeneralProtection`] where the processor raises #GP(0).
    pub const fn write_cr4(self, value: u64, limits: &Limits) -> Result<Change, GeneralProtection> {
        let value = if self.is_long() { value } else { value & LOW };
        if value & !limits.cr4 != 0 || self.is_long() && value & cr4::PAE == 0 {
            return Err(GeneralProtection);
        }
        let mut next = self;
        next.cr4 = value;
        Ok(self.change_to(next, Load::Cr4))
    }

    /// WRMSR to EFER (APM vol. 2, 3.1.7). LMA follows the processor, not the operand.
    ///
    /// # Errors
    /// [`GeneralProtection`] where the processor raises #GP(0).
    pub const fn write_efer(
        self,
        value: u64,
        limits: &Limits,
    ) -> Result<Change, GeneralProtection> {
        let value = value & !efer::LMA;
        let paging = self.cr0 & cr0::PG != 0;
        if value & !limits.efer != 0 || paging && (self.efer ^ value) & efer::LME != 0 {
            return Err(GeneralProtection);
        }
        let mut next = self;
        next.efer = value | self.efer & efer::LMA;
        Ok(self.change_to(next, Load::Efer))
    }

    const fn change_to(self, next: Self, reason: Load) -> Change {
        let format = self.mode(0, 0).role() != next.mode(0, 0).role();
        Change {
            control: next,
            load: if format { Some(reason) } else { None },
            format,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        cr4: cr4::PSE | cr4::PAE | cr4::PGE | cr4::DE | cr4::OSFXSR,
        efer: efer::SCE | efer::LME | efer::NXE,
        physical_width: 40,
    };
    const PROTECTED: Control = Control {
        cr0: cr0::PE | cr0::ET,
        cr3: 0x1000,
        cr4: 0,
        efer: 0,
    };
    const LONG: Control = Control {
        cr0: cr0::PE | cr0::PG | cr0::ET,
        cr3: 0x1000,
        cr4: cr4::PAE,
        efer: efer::LME | efer::LMA,
    };
    const GP: Result<Change, GeneralProtection> = Err(GeneralProtection);

    #[test]
    fn cr0_combinations_the_manual_forbids_are_refused() {
        for value in [
            cr0::PG,
            cr0::PE | cr0::NW,
            cr0::PE | cr0::PG | cr0::NW,
            1 << 32 | LONG.cr0,
        ] {
            assert_eq!(LONG.write_cr0(value, || false), GP, "{value:#x}");
        }
    }

    #[test]
    fn outside_long_mode_only_the_low_half_of_an_operand_counts() {
        let change = PROTECTED
            .write_cr0(1 << 32 | cr0::PE | cr0::TS, || false)
            .unwrap();
        assert_eq!(change.control.cr0, cr0::PE | cr0::TS | cr0::ET);
        assert_eq!(
            PROTECTED.write_cr3(!0, &LIMITS).unwrap().control.cr3,
            0xffff_ffff
        );
    }

    #[test]
    fn long_mode_becomes_active_when_paging_does() {
        let ready = Control {
            cr4: cr4::PAE,
            efer: efer::LME,
            ..PROTECTED
        };
        let change = ready.write_cr0(cr0::PE | cr0::PG, || false).unwrap();
        assert!(change.control.is_long() && change.format);
        assert_eq!(change.load, Some(Load::Cr0));
        assert_eq!(ready.write_cr0(cr0::PE | cr0::PG, || true), GP);
        let without_pae = Control { cr4: 0, ..ready };
        assert_eq!(without_pae.write_cr0(cr0::PE | cr0::PG, || false), GP);
    }

    #[test]
    fn long_mode_is_left_only_from_compatibility_mode() {
        assert_eq!(LONG.write_cr0(cr0::PE, || true), GP);
        let change = LONG.write_cr0(cr0::PE, || false).unwrap();
        assert!(!change.control.is_long());
        assert_eq!(change.control.efer, efer::LME);
    }

    #[test]
    fn cr3_is_checked_against_the_physical_width_in_long_mode() {
        assert_eq!(LONG.write_cr3(1 << 40, &LIMITS), GP);
        assert_eq!(LONG.write_cr3(1 << 63, &LIMITS), GP);
        let change = LONG.write_cr3(0xff_ffff_f018, &LIMITS).unwrap();
        assert_eq!((change.load, change.format), (Some(Load::Cr3), false));
    }

    #[test]
    fn cr3_means_nothing_to_the_shadow_while_paging_is_off() {
        assert_eq!(PROTECTED.write_cr3(0x2000, &LIMITS).unwrap().load, None);
    }

    #[test]
    fn cr4_refuses_unknown_bits_and_losing_pae_in_long_mode() {
        assert_eq!(LONG.write_cr4(cr4::PAE | cr4::SMEP, &LIMITS), GP);
        assert_eq!(LONG.write_cr4(cr4::PAE | 1 << 40, &LIMITS), GP);
        assert_eq!(LONG.write_cr4(cr4::PGE, &LIMITS), GP);
        let change = LONG.write_cr4(cr4::PAE | cr4::PGE, &LIMITS).unwrap();
        assert_eq!(change.load, Some(Load::Cr4));
        let change = LONG.write_cr4(cr4::PAE | cr4::DE, &LIMITS).unwrap();
        assert_eq!(change.load, None);
    }

    #[test]
    fn efer_hides_svm_and_keeps_lma_and_lme_under_paging() {
        assert_eq!(LONG.write_efer(efer::LME | efer::SVME, &LIMITS), GP);
        assert_eq!(LONG.write_efer(0, &LIMITS), GP);
        assert_eq!(PROTECTED.write_efer(1 << 13, &LIMITS), GP);
        let change = LONG.write_efer(efer::LME | efer::NXE, &LIMITS).unwrap();
        assert_eq!(change.control.efer, efer::LME | efer::LMA | efer::NXE);
        assert_eq!(change.load, Some(Load::Efer));
        let change = PROTECTED
            .write_efer(efer::LMA | efer::SCE, &LIMITS)
            .unwrap();
        assert_eq!(change.control.efer, efer::SCE);
        assert_eq!(change.load, None);
    }

    #[test]
    fn lmsw_sets_pe_and_cannot_clear_it() {
        let real = Control {
            cr0: cr0::ET,
            ..Control::default()
        };
        let change = real.lmsw(cr0::PE | cr0::PG).unwrap();
        assert_eq!(change.control.cr0, cr0::PE | cr0::ET);
        let change = LONG.lmsw(cr0::TS).unwrap();
        assert_eq!(change.control.cr0, LONG.cr0 | cr0::TS);
        let change = change.control.lmsw(0).unwrap();
        assert_eq!(change.control.cr0, LONG.cr0);
    }

    #[test]
    fn clts_tells_nobody() {
        let set = Control {
            cr0: LONG.cr0 | cr0::TS,
            ..LONG
        };
        let change = set.clts();
        assert_eq!((change.control, change.load), (LONG, None));
    }

    proptest::proptest! {
        #[test]
        fn no_sequence_of_writes_leaves_an_inconsistent_mode(writes: Vec<(u8, u64, bool)>) {
            let mut control = PROTECTED;
            for (which, value, long_code) in writes {
                let change = match which % 5 {
                    0 => control.write_cr0(value, || long_code),
                    1 => control.write_cr3(value, &LIMITS),
                    2 => control.write_cr4(value & LIMITS.cr4, &LIMITS),
                    3 => control.write_efer(value & LIMITS.efer, &LIMITS),
                    _ => control.lmsw(value),
                };
                let Ok(change) = change else { continue };
                control = change.control;
                let paging = control.cr0 & cr0::PG != 0;
                assert!(!paging || control.is_protected());
                assert_eq!(control.is_long(), paging && control.efer & efer::LME != 0);
                assert!(!control.is_long() || control.cr4 & cr4::PAE != 0);
                assert_eq!(control.efer & efer::SVME, 0);
            }
        }
    }
}
