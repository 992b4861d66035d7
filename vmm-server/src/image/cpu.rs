//! The two instructions that are the processor's own answers.
#![allow(unsafe_code)] // RDTSC is an intrinsic.

use core::arch::x86_64::{__cpuid_count, _rdtsc};
use vcpu::cpuid::Leaf;

/// The time stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC has no operands and no effect; the kernel leaves CR4.TSD clear.
    unsafe { _rdtsc() }
}

/// CPUID.
pub fn cpuid(leaf: u32, subleaf: u32) -> Leaf {
    let result = __cpuid_count(leaf, subleaf);
    Leaf {
        eax: result.eax,
        ebx: result.ebx,
        ecx: result.ecx,
        edx: result.edx,
    }
}
