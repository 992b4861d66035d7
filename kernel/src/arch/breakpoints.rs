//! A guest's breakpoint registers.
//!
//! DR0 to DR3 are the host's to load; DR7 comes with VMRUN, and #VMEXIT takes it away (APM vol. 2, 15.6). QEMU's software
//! CPU arms breakpoints only when a MOV to DR7 is executed, and VMRUN leaves armed what is: so there the host executes one
//! for the guest, and another after its exit. Between the two the kernel runs with a guest's breakpoints on, so those
//! that the kernel itself could meet stay off.
#![allow(unsafe_code)] // Debug registers.

use core::arch::asm;

use words::x86::dr7;

use super::layout;

/// Loads DR0 to DR3.
///
/// # Safety
///
/// The host's DR7 enables none of them.
pub unsafe fn load([dr0, dr1, dr2, dr3]: [u64; 4]) {
    // SAFETY: as the caller says, nothing is armed by this.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
             in(reg) dr0, in(reg) dr1, in(reg) dr2, in(reg) dr3, options(nomem, nostack, preserves_flags));
    }
}

/// Arms a guest's breakpoints, but for those on the kernel's own code and data. Whether any is armed.
pub fn arm(dr: [u64; 4], guest: u64) -> bool {
    let mut armed = guest & !dr7::GENERAL_DETECT & u64::from(u32::MAX);
    for (n, address) in dr.into_iter().enumerate() {
        if is_kernels(address) {
            armed &= !(3 << (2 * n));
        }
    }
    let any = armed & dr7::ENABLED != 0;
    if any {
        write_dr7(armed);
    }
    any
}

/// Takes back what [`arm`] did.
pub fn disarm() {
    write_dr7(dr7::NOTHING);
}

/// Whether one of the eight bytes a breakpoint can watch is the kernel's: in the window, or in the image.
fn is_kernels(address: u64) -> bool {
    const LONGEST: u64 = 8;
    let last = address.saturating_add(LONGEST - 1);
    let window = last >= layout::WINDOW && address < layout::IMAGE;
    window || (last >= layout::IMAGE && address < layout::image().end)
}

fn write_dr7(value: u64) {
    // SAFETY: no enabled breakpoint is on an address the kernel uses, and general detection is off.
    unsafe { asm!("mov dr7, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}
