//! Registers and instructions that refuse: each illegal value is #GP or #UD and changes nothing.
#![allow(unsafe_code)] // instructions that must fault, tried under `catch`

use core::arch::asm;

use guest_rt::cpu::{self, cr, msr};
use guest_rt::trap::catch;

use super::report::{End, GP, Report, Tcg, UD};

/// MSRs that take canonical addresses only: LSTAR, CSTAR and the bases of FS and GS (APM vol. 2, 4.5.3 and 6.1.1).
const ADDRESS_MSRS: [u32; 5] = [
    0xc000_0082,
    0xc000_0083,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];
/// Numbers in the three ranges that a permission map covers, and outside them; no CPU has them.
const NO_MSRS: [u32; 4] = [0x1234, 0xc000_1f00, 0xc001_1fff, 0x4567_89ab];

/// RDMSR and WRMSR of registers that do not exist.
pub fn bad_msr(report: &mut Report) {
    for number in NO_MSRS {
        report.say(format_args!("number {number:#x}"));
        let read = catch(|| {
            cpu::rdmsr(number);
        });
        report.check("rdmsr", read.into(), GP, Tcg::Differs);
        report.check(
            "wrmsr",
            catch(|| cpu::wrmsr(number, 0)).into(),
            GP,
            Tcg::Differs,
        );
    }
    for number in ADDRESS_MSRS {
        report.say(format_args!("number {number:#x}, an address"));
        let old = cpu::rdmsr(number);
        let written = catch(|| cpu::wrmsr(number, 0xaaaa_aaaa_aaaa_aaaa));
        report.check("wrmsr, not canonical", written.into(), GP, Tcg::Differs);
        cpu::wrmsr(number, 0x1234_5678_9000);
        report.holds("it reads back", cpu::rdmsr(number) == 0x1234_5678_9000);
        cpu::wrmsr(number, old);
    }
    report.holds("EFER still reads", cpu::rdmsr(msr::EFER) & msr::LME != 0);
}

/// CR3 with bits that must be zero; it keeps its value. QEMU's own CPU, which has no intercept to take in that case, loses
/// its way (as of 7.2), so it is spared.
pub fn cr3_reserved(report: &mut Report) {
    if report.is_bare_tcg() {
        report.say(format_args!("not tried, TCG has no fault for it"));
        return;
    }
    let cr3 = cpu::cr3();
    for (what, bits) in [
        ("bit 63", 1 << 63),
        ("bit 52", 1 << 52),
        ("a bit beyond the physical width", 1 << cpu::physical_bits()),
        ("non-canonical", 1 << 62 | 1 << 47),
    ] {
        if cpu::physical_bits() >= 52 && bits < 1 << 52 {
            continue;
        }
        report.is(what, catch(|| cpu::set_cr3(cr3 | bits)).into(), GP);
        report.holds("CR3 as before", cpu::cr3() == cr3);
    }
}

/// One illegal value: the name, the write, what must come of it, and how QEMU's own CPU takes it.
struct Illegal {
    what: &'static str,
    action: fn(),
    end: End,
    tcg: Tcg,
    /// QEMU's own CPU must not try it.
    ruins_tcg: bool,
}

/// QEMU's own CPU goes on without a fault.
const fn ignored_by_tcg(what: &'static str, action: fn()) -> Illegal {
    Illegal {
        what,
        action,
        end: GP,
        tcg: Tcg::Differs,
        ruins_tcg: false,
    }
}

/// Not to be tried on QEMU's own CPU: it takes the value, or has no fault for it, and is lost.
const fn ruins_tcg(what: &'static str, action: fn()) -> Illegal {
    Illegal {
        what,
        action,
        end: GP,
        tcg: Tcg::Same,
        ruins_tcg: true,
    }
}

/// #UD, everywhere.
const fn undefined(what: &'static str, action: fn()) -> Illegal {
    Illegal {
        what,
        action,
        end: UD,
        tcg: Tcg::Same,
        ruins_tcg: false,
    }
}

/// APM vol. 2: 3.1.1 (CR0), 3.1.3 (CR4), 3.1.7 (EFER), 13.1.1 (debug registers), 14.6.2 (consistency checks).
const ILLEGAL: &[Illegal] = &[
    ruins_tcg("CR0: PG without PE", || cpu::set_cr0(cpu::cr0() & !cr::PE)),
    ignored_by_tcg("CR0: NW without CD", || {
        cpu::set_cr0(cpu::cr0() & !cr::CD | cr::NW)
    }),
    ignored_by_tcg("CR0: bit 32", || cpu::set_cr0(cpu::cr0() | 1 << 32)),
    ignored_by_tcg("CR0: bit 63", || cpu::set_cr0(cpu::cr0() | 1 << 63)),
    ruins_tcg("CR0: PG cleared in 64-bit code", || {
        cpu::set_cr0(cpu::cr0() & !cr::PG)
    }),
    ruins_tcg("CR4: PAE cleared in long mode", || {
        cpu::set_cr4(cpu::cr4() & !cr::PAE)
    }),
    ruins_tcg("CR4: bit 13", || cpu::set_cr4(cpu::cr4() | 1 << 13)),
    ruins_tcg("CR4: bit 31", || cpu::set_cr4(cpu::cr4() | 1 << 31)),
    ruins_tcg("CR4: bit 32", || cpu::set_cr4(cpu::cr4() | 1 << 32)),
    ruins_tcg("CR4: bit 63", || cpu::set_cr4(cpu::cr4() | 1 << 63)),
    ruins_tcg("EFER: LME cleared with paging on", || {
        set_efer(cpu::rdmsr(msr::EFER) & !msr::LME)
    }),
    ignored_by_tcg("EFER: bit 1", || set_efer(cpu::rdmsr(msr::EFER) | 1 << 1)),
    ignored_by_tcg("EFER: bit 9", || set_efer(cpu::rdmsr(msr::EFER) | 1 << 9)),
    ignored_by_tcg("EFER: bit 63", || set_efer(cpu::rdmsr(msr::EFER) | 1 << 63)),
    ignored_by_tcg("DR7: bit 32", || cpu::set_dr7(1 << 32 | 0x400)),
    ignored_by_tcg("DR6: bit 32", || cpu::set_dr6(1 << 32)),
    undefined("MOV from CR1", || {
        // SAFETY: has no such register; must fault.
        unsafe { asm!("mov {}, cr1", out(reg) _, options(nostack)) }
    }),
    undefined("MOV to CR5", || {
        // SAFETY: as above.
        unsafe { asm!("mov cr5, {}", in(reg) 0u64, options(nostack)) }
    }),
    undefined("MOV from CR15", || {
        // SAFETY: as above.
        unsafe { asm!("mov {}, cr15", out(reg) _, options(nostack)) }
    }),
    undefined("XSETBV without OSXSAVE", || {
        // SAFETY: refused while CR4.OSXSAVE is clear, as it is from the start.
        unsafe { asm!("xsetbv", in("ecx") 0, in("eax") 1, in("edx") 0, options(nostack)) }
    }),
];

/// CR4 bits by the CPUID bit without which they are reserved: leaf, register (0 EBX, 1 ECX), bit.
const FEATURES: [(&str, u64, u32, u32, u32); 7] = [
    ("CR4: SMEP, which CPUID does not offer", 20, 7, 0, 7),
    ("CR4: SMAP, which CPUID does not offer", 21, 7, 0, 20),
    ("CR4: FSGSBASE, which CPUID does not offer", 16, 7, 0, 0),
    ("CR4: PCIDE, which CPUID does not offer", 17, 1, 1, 17),
    ("CR4: OSXSAVE, which CPUID does not offer", 18, 1, 1, 26),
    ("CR4: PKE, which CPUID does not offer", 22, 7, 1, 3),
    ("CR4: UMIP, which CPUID does not offer", 11, 7, 1, 2),
];

fn set_efer(value: u64) {
    cpu::wrmsr(msr::EFER, value);
}

/// Every value of `ILLEGAL`, and CR4 bits that this CPU does not have (not on QEMU's own, see above).
pub fn cr_garbage(report: &mut Report) {
    for illegal in ILLEGAL {
        if illegal.ruins_tcg && report.is_bare_tcg() {
            report.say(format_args!(
                "{}: not tried, TCG does not check it",
                illegal.what
            ));
        } else {
            try_and_restore(
                report,
                illegal.what,
                illegal.action,
                illegal.end,
                illegal.tcg,
            );
        }
    }
    for (what, bit, leaf, register, feature) in FEATURES {
        let answer = cpu::cpuid(leaf, 0);
        let offered = if register == 0 {
            answer.ebx
        } else {
            answer.ecx
        } & 1 << feature
            != 0;
        if !offered && !report.is_bare_tcg() {
            try_and_restore(
                report,
                what,
                || cpu::set_cr4(cpu::cr4() | 1 << bit),
                GP,
                Tcg::Same,
            );
        }
    }
    const SVM: u32 = 1 << 2;
    if cpu::cpuid(0x8000_0001, 0).ecx & SVM == 0 {
        let set = || set_efer(cpu::rdmsr(msr::EFER) | msr::SVME);
        try_and_restore(
            report,
            "EFER: SVME, which CPUID does not offer",
            set,
            GP,
            Tcg::Differs,
        );
    }
}

/// Tries one write; whatever came of it, the registers are then as before, and where it was refused they never changed.
fn try_and_restore(report: &mut Report, what: &str, action: impl FnMut(), end: End, tcg: Tcg) {
    let registers = || {
        [
            cpu::cr0(),
            cpu::cr4(),
            cpu::rdmsr(msr::EFER),
            cpu::cr8(),
            cpu::dr7(),
        ]
    };
    let before = registers();
    let got = End::from(catch(action));
    report.check(what, got, end, tcg);
    if got != End::NoFault && registers() != before {
        report.holds("the registers are as before", false);
    }
    let [cr0, cr4, efer, cr8, dr7] = before;
    cpu::set_cr0(cr0);
    cpu::set_cr4(cr4);
    set_efer(efer);
    cpu::set_cr8(cr8);
    cpu::set_dr7(dr7);
}

/// The SVM instructions with EFER.SVME clear: undefined (APM vol. 2, 15.4). Hypercalls with nobody to answer are so, too;
/// a hypervisor answers both makers' with "no such call".
pub fn svm_instructions(report: &mut Report) {
    /// One instruction that must not execute.
    macro_rules! instruction {
        ($name:literal) => {
            ($name, || {
                // SAFETY: with SVME clear the instruction does nothing but fault; RAX is 0 for those that take an address.
                unsafe { asm!($name, inout("rax") 0u64 => _, in("ecx") 0, options(nostack)) }
            })
        };
    }
    let instructions: [(&str, fn()); 7] = [
        instruction!("vmrun rax"),
        instruction!("vmload rax"),
        instruction!("vmsave rax"),
        instruction!("stgi"),
        instruction!("clgi"),
        instruction!("skinit eax"),
        instruction!("invlpga rax, ecx"),
    ];
    report.is("EFER.SVME", cpu::rdmsr(msr::EFER) & msr::SVME, 0);
    for (name, action) in instructions {
        report.check(name, catch(action).into(), UD, Tcg::Differs);
    }
    hypercalls(report);
}

/// A hypercall: its name, and what gives its end and RAX after it.
type Call = (&'static str, fn() -> (End, u64));

/// VMMCALL and VMCALL, as hypervisors answer a call they do not have.
fn hypercalls(report: &mut Report) {
    /// One hypercall: what RAX is afterwards.
    macro_rules! call {
        ($name:literal) => {
            ($name, || {
                let mut result = 5u64;
                let outcome = catch(|| {
                    // SAFETY: changes RAX at most.
                    unsafe { asm!($name, inout("rax") result, options(nostack)) }
                });
                (End::from(outcome), result)
            })
        };
    }
    let calls: [Call; 2] = [call!("vmmcall"), call!("vmcall")];
    for (name, call) in calls {
        let (end, result) = call();
        report.check(name, end, End::NoFault, Tcg::Differs);
        if end == End::NoFault {
            report.is("its result", result as i64, -1000);
        }
    }
}
