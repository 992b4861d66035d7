//! Registers and instructions of the CPU.
//!
//! These functions are safe to call in the sense a guest needs: whatever they break is the guest's own machine, which is
//! the subject of the test. A fault in one of them is caught by `trap::catch` around it.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// CR0 and CR4 bits (APM vol. 2, 3.1).
pub mod cr {
    /// CR0: protection enable.
    pub const PE: u64 = 1;
    /// CR0: monitor coprocessor.
    pub const MP: u64 = 1 << 1;
    /// CR0: numeric error.
    pub const NE: u64 = 1 << 5;
    /// CR0: write protect.
    pub const WP: u64 = 1 << 16;
    /// CR0: not write-through.
    pub const NW: u64 = 1 << 29;
    /// CR0: cache disable.
    pub const CD: u64 = 1 << 30;
    /// CR0: paging.
    pub const PG: u64 = 1 << 31;
    /// CR4: debugging extensions.
    pub const DE: u64 = 1 << 3;
    /// CR4: page-size extensions.
    pub const PSE: u64 = 1 << 4;
    /// CR4: physical-address extension.
    pub const PAE: u64 = 1 << 5;
    /// CR4: page-global enable.
    pub const PGE: u64 = 1 << 7;
    /// CR4: linear addresses of 57 bits.
    pub const LA57: u64 = 1 << 12;
    /// CR4: process-context identifiers.
    pub const PCIDE: u64 = 1 << 17;
    /// CR4: no supervisor fetch from user pages.
    pub const SMEP: u64 = 1 << 20;
    /// CR4: no supervisor access to user pages.
    pub const SMAP: u64 = 1 << 21;
    /// CR4: FXSAVE and SSE.
    pub const OSFXSR: u64 = 1 << 9;
    /// CR4: unmasked SIMD exceptions.
    pub const OSXMMEXCPT: u64 = 1 << 10;
}

/// Model-specific registers (APM vol. 2, appendix A).
pub mod msr {
    /// Extended features.
    pub const EFER: u32 = 0xc000_0080;
    /// EFER: long mode enable.
    pub const LME: u64 = 1 << 8;
    /// EFER: no-execute enable.
    pub const NXE: u64 = 1 << 11;
    /// EFER: secure virtual machine enable.
    pub const SVME: u64 = 1 << 12;
}

/// Reads and writes one control or debug register.
macro_rules! register {
    ($read:ident, $write:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, ".")]
        #[inline(always)]
        pub fn $read() -> u64 {
            let value: u64;
            // SAFETY: reading changes nothing.
            unsafe { asm!(concat!("mov {}, ", $name), out(reg) value, options(nostack, preserves_flags)) };
            value
        }
        #[doc = concat!("Writes ", $name, ".")]
        #[inline(always)]
        pub fn $write(value: u64) {
            // SAFETY: the caller means to change its own machine (see above); memory is taken to have changed.
            unsafe { asm!(concat!("mov ", $name, ", {}"), in(reg) value, options(nostack, preserves_flags)) };
        }
    };
}

register!(cr0, set_cr0, "cr0");
register!(cr2, set_cr2, "cr2");
register!(cr3, set_cr3, "cr3");
register!(cr4, set_cr4, "cr4");
register!(cr8, set_cr8, "cr8");
register!(dr0, set_dr0, "dr0");
register!(dr6, set_dr6, "dr6");
register!(dr7, set_dr7, "dr7");

/// Drops the translation of one address.
#[inline(always)]
pub fn invlpg(address: u64) {
    // SAFETY: drops a cached translation; memory accesses stay on their side of it.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Reads a model-specific register.
#[inline(always)]
pub fn rdmsr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading changes nothing that Rust knows of.
    unsafe {
        asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
#[inline(always)]
pub fn wrmsr(number: u32, value: u64) {
    // SAFETY: as for the control registers.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags));
    }
}

/// The time-stamp counter.
#[inline(always)]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Turns interrupts on or off.
#[inline(always)]
pub fn set_interrupts(on: bool) {
    // SAFETY: every vector has a gate; a handler restores all registers.
    unsafe {
        if on {
            asm!("sti", options(nostack));
        } else {
            asm!("cli", options(nostack));
        }
    }
}

/// Waits for an interrupt: enables them in STI's shadow, halts, disables them again.
#[inline(always)]
pub fn wait_for_interrupt() {
    // SAFETY: as for `set_interrupts`.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// One CPUID leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Physical address bits (CPUID 8000_0008).
pub fn physical_bits() -> u32 {
    if cpuid(0x8000_0000, 0).eax >= 0x8000_0008 {
        cpuid(0x8000_0008, 0).eax & 0xff
    } else {
        36
    }
}

/// Whether page tables are walked by QEMU's software CPU itself: on the bare machine, or when whoever started a guest under
/// nested paging says so by the word `tcg-walks`. Only hardware's answers count everywhere else.
pub fn is_walked_by_tcg() -> bool {
    is_bare_tcg() || crate::multiboot::has_word("tcg-walks")
}

/// Whether this is QEMU's software CPU itself, with no hypervisor of its own in between. It departs from hardware in
/// known points, which the guests then accept and name.
pub fn is_bare_tcg() -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    let leaf = cpuid(0x4000_0000, 0);
    let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    cpuid(1, 0).ecx & HYPERVISOR != 0
        && [leaf.ebx, leaf.ecx, leaf.edx] == [word(b"TCGT"), word(b"CGTC"), word(b"GTCG")]
}
