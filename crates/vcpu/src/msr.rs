//! What RDMSR and WRMSR do: a table, deny by default. An MSR that is not in it raises #GP(0), as on a processor that
//! does not have it.
//!
//! The features behind most MSRs are hidden in CPUID (machine checks, SVM), and a guest that looks first never asks.
//! APIC_BASE is the local APIC's. What stands here besides the architectural ones is what unmodified Linux 6.1, Xen 4.17 and
//! memtest86+ 5.01 touch without looking on AMD processors of family 0Fh and later; the values are those of a processor on
//! which the workaround in question is not needed. Numbers: APM vol. 2, appendix A, and the families' BKDGs.

use crate::control::{Change, Control, Limits};
use crate::mtrr::Mtrrs;
use exit_abi::Register;
use words::Gva;
use words::x86::msr;

/// The guest's PAT after reset (APM vol. 2, 7.8.2).
const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// MSRs that are only stored here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Msrs {
    pat: u64,
    /// What was added to the host's TSC at the start, and is now.
    tsc_start: u64,
    tsc_offset: u64,
    misc_enable: u64,
    mtrrs: Mtrrs,
}

/// What RDMSR gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// This value.
    Value(u64),
    /// The value of this vCPU register.
    Register(Register),
    /// #GP(0).
    GeneralProtection,
}

/// What WRMSR does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// Nothing further.
    Done,
    /// Set this vCPU register.
    Register(Register, u64),
    /// EFER changes.
    Control(Change),
    /// #GP(0).
    GeneralProtection,
}

/// MSRs a guest touches for a processor's sake, not its own.
mod quirk {
    /// Debug control: no bit of it is offered.
    pub const DEBUGCTL: u32 = 0x1d9;
    /// Microcode level.
    pub const PATCH_LEVEL: u32 = 0x8b;
    /// Miscellaneous enables of Intel processors, read by Linux before its exception handlers stand.
    pub const MISC_ENABLE: u32 = 0x1a0;
    /// Machine-check capabilities and status: kernels that do not look at CPUID ask how many banks there are.
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    /// Which of those banks report: memtest86+ 5.01 switches one on that every AMD processor has. Without banks a write is kept
    /// nowhere.
    pub const MCG_CTL: u32 = 0x17b;
    /// Performance event selects and counters: every AMD processor since family 6 has the four, and no CPUID bit hides them. They
    /// stand still at 0 here, and nothing else can be written: Linux's probe finds so that there is nothing that counts, and takes
    /// events of software instead.
    pub const PERF_EVT_SEL0: u32 = 0xc001_0000;
    pub const PERF_CTR3: u32 = 0xc001_0007;
    /// System configuration.
    pub const SYSCFG: u32 = 0xc001_0010;
    /// Hardware configuration.
    pub const HWCR: u32 = 0xc001_0015;
    /// Interrupt pending message: says whether C1E is on.
    pub const INT_PENDING: u32 = 0xc001_0055;
    /// Load-store, data-cache, decode and bus-unit configuration.
    pub const LS_CFG: u32 = 0xc001_1020;
    pub const DC_CFG: u32 = 0xc001_1022;
    pub const BU_CFG: u32 = 0xc001_1023;
    pub const DE_CFG: u32 = 0xc001_1029;
    pub const BU_CFG2: u32 = 0xc001_102a;

    /// HWCR bits a guest may write without effect: the cache-flush filter, the TLB cache and IGNNE emulation.
    pub const HWCR_IGNORED: u64 = 1 << 3 | 1 << 6 | 1 << 8;
    /// MISC_ENABLE after reset: fast strings.
    pub const MISC_ENABLE_RESET: u64 = 1;
    /// MISC_ENABLE bits that can be written; they are kept and mean nothing.
    pub const MISC_ENABLE_WRITABLE: u64 =
        1 | 1 << 3 | 1 << 11 | 1 << 12 | 1 << 16 | 1 << 18 | 1 << 22 | 1 << 23 | 1 << 34;
}

impl Msrs {
    /// The MSRs of a machine with physical addresses of `physical_width` bits, whose TSC starts at 0 when the host's reads
    /// `host_tsc`.
    #[must_use]
    pub const fn starting_at(host_tsc: u64, physical_width: u8) -> Self {
        Self {
            pat: PAT_RESET,
            tsc_start: host_tsc.wrapping_neg(),
            tsc_offset: host_tsc.wrapping_neg(),
            misc_enable: quirk::MISC_ENABLE_RESET,
            mtrrs: Mtrrs::after_firmware(physical_width),
        }
    }

    /// What is added to the host's TSC.
    #[must_use]
    pub const fn tsc_offset(&self) -> u64 {
        self.tsc_offset
    }

    /// RDMSR of `number` while the host's TSC reads `host_tsc`.
    #[must_use]
    pub const fn read(&self, number: u32, control: &Control, host_tsc: u64) -> Read {
        if let Some(register) = register(number) {
            return Read::Register(register);
        }
        match number {
            msr::TSC => Read::Value(host_tsc.wrapping_add(self.tsc_offset)),
            msr::TSC_ADJUST => Read::Value(self.tsc_offset.wrapping_sub(self.tsc_start)),
            msr::EFER => Read::Value(control.efer),
            msr::PAT => Read::Value(self.pat),
            quirk::MISC_ENABLE => Read::Value(self.misc_enable),
            quirk::DEBUGCTL
            | quirk::PATCH_LEVEL
            | quirk::MCG_CAP
            | quirk::MCG_STATUS
            | quirk::MCG_CTL
            | quirk::PERF_EVT_SEL0..=quirk::PERF_CTR3
            | quirk::SYSCFG
            | quirk::HWCR
            | quirk::INT_PENDING
            | quirk::LS_CFG
            | quirk::DC_CFG
            | quirk::BU_CFG
            | quirk::DE_CFG
            | quirk::BU_CFG2 => Read::Value(0),
            _ => match self.mtrrs.read(number) {
                Some(value) => Read::Value(value),
                None => Read::GeneralProtection,
            },
        }
    }

    /// WRMSR of `value` to `number` while the host's TSC reads `host_tsc`.
    #[must_use]
    pub fn write(
        &mut self,
        number: u32,
        value: u64,
        control: &Control,
        limits: &Limits,
        host_tsc: u64,
    ) -> Write {
        if let Some(register) = register(number) {
            return if is_address(register) && !Gva::new(value).is_canonical() {
                Write::GeneralProtection
            } else {
                Write::Register(register, value)
            };
        }
        let allowed = match number {
            msr::EFER => {
                return match control.write_efer(value, limits) {
                    Ok(change) => Write::Control(change),
                    Err(_) => Write::GeneralProtection,
                };
            }
            msr::TSC => return self.set_tsc_offset(value.wrapping_sub(host_tsc)),
            msr::TSC_ADJUST => return self.set_tsc_offset(self.tsc_start.wrapping_add(value)),
            msr::PAT if is_pat(value) => {
                self.pat = value;
                true
            }
            quirk::MISC_ENABLE if value & !quirk::MISC_ENABLE_WRITABLE == 0 => {
                self.misc_enable = value;
                true
            }
            quirk::HWCR => value & !quirk::HWCR_IGNORED == 0,
            quirk::PATCH_LEVEL | quirk::MCG_CTL => true,
            quirk::DEBUGCTL
            | quirk::MCG_STATUS
            | quirk::PERF_EVT_SEL0..=quirk::PERF_CTR3
            | quirk::SYSCFG
            | quirk::INT_PENDING
            | quirk::LS_CFG
            | quirk::DC_CFG
            | quirk::BU_CFG
            | quirk::DE_CFG
            | quirk::BU_CFG2 => value == 0,
            _ => self.mtrrs.write(number, value, limits.physical_width),
        };
        if allowed {
            Write::Done
        } else {
            Write::GeneralProtection
        }
    }

    const fn set_tsc_offset(&mut self, offset: u64) -> Write {
        self.tsc_offset = offset;
        Write::Register(Register::TscOffset, offset)
    }
}

/// MSRs that are vCPU registers. The kernel leaves most of them to the guest, so that they never get here.
const fn register(number: u32) -> Option<Register> {
    Some(match number {
        msr::STAR => Register::Star,
        msr::LSTAR => Register::Lstar,
        msr::CSTAR => Register::Cstar,
        msr::SFMASK => Register::Sfmask,
        msr::FS_BASE => Register::FsBase,
        msr::GS_BASE => Register::GsBase,
        msr::KERNEL_GS_BASE => Register::KernelGsBase,
        msr::SYSENTER_CS => Register::SysenterCs,
        msr::SYSENTER_ESP => Register::SysenterEsp,
        msr::SYSENTER_EIP => Register::SysenterEip,
        _ => return None,
    })
}

const fn is_address(register: Register) -> bool {
    matches!(
        register,
        Register::Lstar
            | Register::Cstar
            | Register::FsBase
            | Register::GsBase
            | Register::KernelGsBase
            | Register::SysenterEsp
            | Register::SysenterEip
    )
}

/// Whether each of the eight fields holds a memory type: UC, WC, WT, WP, WB or UC- (APM vol. 2, table 7-9).
fn is_pat(value: u64) -> bool {
    value
        .to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4 | 5 | 6 | 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::x86::efer;

    const LIMITS: Limits = Limits {
        cr4: 0,
        efer: efer::SCE | efer::LME | efer::NXE,
        physical_width: 40,
    };

    fn fresh() -> Msrs {
        Msrs::starting_at(0, LIMITS.physical_width)
    }

    fn write(number: u32, value: u64) -> Write {
        fresh().write(number, value, &Control::default(), &LIMITS, 0)
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        let denied = [
            msr::APIC_BASE,
            msr::VM_CR,
            msr::VM_HSAVE_PA,
            0x400,
            0x802,
            0xc000_0103,
            0xc000_0104,
            0x4b56_4d00,
        ];
        for number in denied {
            let read = fresh().read(number, &Control::default(), 0);
            assert_eq!(read, Read::GeneralProtection, "{number:#x}");
            assert_eq!(write(number, 0), Write::GeneralProtection, "{number:#x}");
        }
    }

    #[test]
    fn the_tsc_is_the_hosts_plus_an_offset() {
        let mut msrs = Msrs::starting_at(1000, 40);
        let control = Control::default();
        assert_eq!(msrs.read(msr::TSC, &control, 1500), Read::Value(500));
        let answer = msrs.write(msr::TSC, 7, &control, &LIMITS, 2000);
        assert_eq!(
            answer,
            Write::Register(Register::TscOffset, 7u64.wrapping_sub(2000))
        );
        assert_eq!(msrs.read(msr::TSC, &control, 2003), Read::Value(10));
    }

    #[test]
    fn the_adjustment_of_the_tsc_is_what_it_was_moved_by() {
        let mut msrs = Msrs::starting_at(1000, 40);
        let control = Control::default();
        assert_eq!(msrs.read(msr::TSC_ADJUST, &control, 1200), Read::Value(0));
        let answer = msrs.write(msr::TSC_ADJUST, 500, &control, &LIMITS, 1300);
        assert_eq!(
            answer,
            Write::Register(Register::TscOffset, 500u64.wrapping_sub(1000))
        );
        assert_eq!(msrs.read(msr::TSC, &control, 1400), Read::Value(900));
        // A write of the TSC moves it from 1000, and so the adjustment by as much.
        let _ = msrs.write(msr::TSC, 5000, &control, &LIMITS, 1500);
        assert_eq!(
            msrs.read(msr::TSC_ADJUST, &control, 1600),
            Read::Value(4500)
        );
    }

    #[test]
    fn the_pat_takes_memory_types_and_nothing_else() {
        let mut msrs = fresh();
        let control = Control::default();
        let linux = 0x0407_0506_0007_0106;
        assert_eq!(
            msrs.write(msr::PAT, linux, &control, &LIMITS, 0),
            Write::Done
        );
        assert_eq!(msrs.read(msr::PAT, &control, 0), Read::Value(linux));
        for wrong in [2, 3, 8, 0xff] {
            assert_eq!(
                write(msr::PAT, wrong << 56),
                Write::GeneralProtection,
                "type {wrong}"
            );
        }
    }

    #[test]
    fn efer_goes_by_the_control_rules() {
        assert!(matches!(write(msr::EFER, efer::NXE), Write::Control(_)));
        assert_eq!(write(msr::EFER, efer::SVME), Write::GeneralProtection);
    }

    #[test]
    fn system_call_targets_are_canonical() {
        assert_eq!(
            write(msr::LSTAR, 0xffff_8000_0000_0000),
            Write::Register(Register::Lstar, 0xffff_8000_0000_0000)
        );
        assert_eq!(write(msr::LSTAR, 1 << 47), Write::GeneralProtection);
        assert_eq!(
            write(msr::STAR, 1 << 63),
            Write::Register(Register::Star, 1 << 63)
        );
    }

    #[test]
    fn processor_workarounds_find_nothing_to_work_around() {
        for number in [0x8b, 0x179, 0x17a, 0xc001_0015, 0xc001_0055, 0xc001_1029] {
            let read = fresh().read(number, &Control::default(), 0);
            assert_eq!(read, Read::Value(0), "{number:#x}");
        }
        assert_eq!(write(0xc001_0015, 1 << 6), Write::Done);
        assert_eq!(write(0xc001_0015, 1), Write::GeneralProtection);
        assert_eq!(write(0xc001_1029, 2), Write::GeneralProtection);
    }

    #[test]
    fn a_machine_check_bank_that_a_guest_switches_on_unasked_is_not_there() {
        let mut msrs = fresh();
        let control = Control::default();
        assert_eq!(msrs.write(0x17b, 0x10, &control, &LIMITS, 0), Write::Done);
        assert_eq!(msrs.read(0x17b, &control, 0), Read::Value(0));
    }

    #[test]
    fn performance_counters_are_there_and_stand_still() {
        for number in 0xc001_0000..0xc001_0008 {
            let read = fresh().read(number, &Control::default(), 0);
            assert_eq!(read, Read::Value(0), "{number:#x}");
            assert_eq!(write(number, 0), Write::Done, "{number:#x}");
            assert_eq!(write(number, 1), Write::GeneralProtection, "{number:#x}");
        }
    }

    #[test]
    fn miscellaneous_enables_are_kept_and_reserved_ones_refused() {
        let mut msrs = fresh();
        let control = Control::default();
        assert_eq!(msrs.read(0x1a0, &control, 0), Read::Value(1));
        let value = 0x4_00c5_0809;
        assert_eq!(msrs.write(0x1a0, value, &control, &LIMITS, 0), Write::Done);
        assert_eq!(msrs.read(0x1a0, &control, 0), Read::Value(value));
        for reserved in [1 << 1, 1 << 24, 1 << 35] {
            assert_eq!(write(0x1a0, reserved), Write::GeneralProtection);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_sequence_of_accesses_panics(accesses: Vec<(u32, u64, u64)>) {
            let mut msrs = fresh();
            let mut control = Control::default();
            for (number, value, now) in accesses {
                let _ = msrs.read(number, &control, now);
                if let Write::Control(change) =
                    msrs.write(number, value, &control, &LIMITS, now)
                {
                    control = change.control;
                }
            }
        }
    }
}
