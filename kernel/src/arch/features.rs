//! Switching on what the kernel wants of the processor: write protection, global pages, machine checks, SSE state and the
//! instructions for segment bases for user mode, and the protections against the kernel touching user pages by mistake.
#![allow(unsafe_code)] // CR0, CR4 and EFER.

use words::x86::{cr0, cr4, efer, msr};

use super::cpu;

/// Sets CR0, CR4 and EFER for good.
pub fn enable() {
    let mut control = cr4::PAE | cr4::MCE | cr4::PGE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    if cpu::cpuid(0, 0).eax >= 7 {
        let leaf = cpu::cpuid(7, 0);
        for (word, bit, feature) in [
            (leaf.ebx, 0, cr4::FSGSBASE),
            (leaf.ebx, 7, cr4::SMEP),
            (leaf.ebx, 20, cr4::SMAP),
            (leaf.ecx, 2, cr4::UMIP),
        ] {
            if word >> bit & 1 != 0 {
                control |= feature;
            }
        }
    }
    // CR0.TS is clear to begin with; EM clear and MP set give #NM by TS alone.
    let protection = cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::WP | cr0::PG;
    // SAFETY: all long-mode processors have the basic bits, CPUID told of the others; paging stays as it is.
    unsafe {
        cpu::write_cr0(protection);
        cpu::write_cr4(control);
        cpu::write_msr(msr::EFER, cpu::read_msr(msr::EFER) | efer::SCE | efer::NXE);
    }
}
