//! Single instructions as functions. No policy here.
//!
//! Functions whose effect cannot break memory safety are safe; the others are `unsafe` and say what they ask for.
#![allow(unsafe_code)] // Each function is one privileged instruction.

use core::arch::asm;
pub use core::arch::x86_64::CpuidResult;

/// CPUID of a leaf and subleaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// The time stamp counter.
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a model-specific register that exists.
pub fn read_msr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR has no effect on memory; callers name registers whose presence CPUID or the architecture tells.
    unsafe {
        asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists and the value keeps the kernel's code, stack and mappings as they are.
pub unsafe fn write_msr(number: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// RDFSBASE and RDGSBASE. Without CR4.FSGSBASE they raise #UD.
#[inline(always)]
pub fn read_bases() -> (u64, u64) {
    let (fs, gs);
    // SAFETY: reads registers.
    unsafe {
        asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
    }
    (fs, gs)
}

/// WRFSBASE and WRGSBASE.
///
/// # Safety
/// CR4.FSGSBASE is set, both addresses are canonical, and nothing is reached through FS or GS that lies elsewhere then.
#[inline(always)]
pub unsafe fn write_bases(fs: u64, gs: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nostack, preserves_flags));
    }
}

/// Reads CR0.
pub fn read_cr0() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR0.
///
/// # Safety
/// Paging, protection and write protection stay on.
pub unsafe fn write_cr0(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr0, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Reads CR3.
pub fn read_cr3() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads CR2, the address of the last page fault.
pub fn read_cr2() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR3.
///
/// # Safety
/// The tables map the kernel as it is mapped now.
pub unsafe fn write_cr3(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// Reads CR4.
pub fn read_cr4() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes CR4.
///
/// # Safety
/// Only bits the processor has are set, and the paging mode stays.
pub unsafe fn write_cr4(value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// INVLPG. Safe: it only forgets.
pub fn invlpg(address: u64) {
    // SAFETY: dropping a translation makes the processor walk the tables again.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) };
}

/// Clears CR0.TS.
pub fn clts() {
    // SAFETY: allows FPU instructions; kernel code has none but FXSAVE and FXRSTOR.
    unsafe { asm!("clts", options(nomem, nostack, preserves_flags)) };
}

/// Stops until the next non-maskable event, with interrupts off: for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: stops the processor.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// IN of a byte.
pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: reading a port does not touch memory; devices that do DMA are not programmed by reads.
    unsafe {
        asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// IN of a word.
pub fn in16(port: u16) -> u16 {
    let value;
    // SAFETY: as for `in8`.
    unsafe {
        asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// IN of a doubleword.
pub fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: as for `in8`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags))
    };
    value
}

/// OUT of a byte.
///
/// # Safety
/// The write does not make a device overwrite the kernel's memory.
pub unsafe fn out8(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    };
}

/// OUT of a word.
///
/// # Safety
/// As for [`out8`].
pub unsafe fn out16(port: u16, value: u16) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags))
    };
}

/// OUT of a doubleword.
///
/// # Safety
/// As for [`out8`].
pub unsafe fn out32(port: u16, value: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags))
    };
}
