//! x87 and SSE state survives timer ticks: exits, other programs and other guests use these registers too.
#![allow(unsafe_code)] // FXRSTOR and FXSAVE; the guest's own code is soft-float and leaves the registers alone

use core::arch::asm;

use guest_rt::cpu::{self, cr};

use super::report::Report;
use super::time::{start_ticks, stop_ticks, ticks};

/// The FXSAVE image (APM vol. 2, 11.4.4).
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Image([u8; 512]);

/// Where the image holds what; x87 pointers are left out, since CPUs differ in when they save them.
const CONTROL: core::ops::Range<usize> = 0..5;
const MXCSR: core::ops::Range<usize> = 24..28;
const ST: usize = 32;
const XMM: core::ops::Range<usize> = 160..416;

impl Image {
    /// A state that differs in every register: eight x87 values, sixteen XMM registers, other rounding modes.
    fn pattern(seed: u8) -> Self {
        let mut image = Self([0; 512]);
        image.0[0..2].copy_from_slice(&0x0f7fu16.to_le_bytes());
        image.0[2..4].copy_from_slice(&0x3800u16.to_le_bytes());
        image.0[4] = 0xff;
        image.0[MXCSR].copy_from_slice(&0x7f80u32.to_le_bytes());
        for register in 0..8 {
            let at = ST + 16 * register;
            // A normal number: its integer bit is set.
            image.0[at..at + 10].copy_from_slice(&[
                seed,
                register as u8,
                3,
                4,
                5,
                6,
                7,
                0x80,
                0x12,
                0x40,
            ]);
        }
        for (i, byte) in image.0[XMM].iter_mut().enumerate() {
            *byte = seed ^ (i as u8).wrapping_mul(7);
        }
        image
    }

    fn load(&self) {
        // SAFETY: a valid image, aligned to 16 bytes.
        unsafe { asm!("fxrstor64 [{}]", in(reg) self, options(nostack)) };
    }

    fn save() -> Self {
        let mut image = Self([0; 512]);
        // SAFETY: 512 bytes, aligned to 16.
        unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut image, options(nostack)) };
        image
    }

    fn differing(&self, other: &Self) -> usize {
        let x87 = (0..8).flat_map(|register| ST + 16 * register..ST + 16 * register + 10);
        CONTROL
            .chain(MXCSR)
            .chain(x87)
            .chain(XMM)
            .filter(|&i| self.0[i] != other.0[i])
            .count()
    }
}

/// Loads a state, waits for ticks, halting and busy, and compares. CR0.TS afterwards gives #NM, as hardware does.
pub fn fpu(report: &mut Report) {
    const TS: u64 = 1 << 3;
    const EM: u64 = 1 << 2;
    cpu::set_cr0(cpu::cr0() & !EM & !TS | cr::MP | cr::NE);
    cpu::set_cr4(cpu::cr4() | cr::OSFXSR | cr::OSXMMEXCPT);
    start_ticks();
    for (what, seed, busy) in [
        ("bytes changed over ticks in halts", 0x5a, false),
        ("bytes changed over ticks in a loop", 0xc3, true),
    ] {
        let image = Image::pattern(seed);
        let until = ticks() + 10;
        image.load();
        while ticks() < until {
            if busy {
                cpu::set_interrupts(true);
                core::hint::spin_loop();
            } else {
                cpu::wait_for_interrupt();
            }
        }
        cpu::set_interrupts(false);
        let after = Image::save();
        report.is(what, image.differing(&after), 0);
    }
    stop_ticks();
    let image = Image::pattern(0x11);
    image.load();
    cpu::set_cr0(cpu::cr0() | TS);
    let outcome = guest_rt::trap::catch(|| {
        // SAFETY: an x87 instruction without operands.
        unsafe { asm!("fnop", options(nostack)) }
    });
    report.is(
        "an FPU instruction with CR0.TS",
        outcome.map_or_else(|trap| trap.vector, |()| 0),
        7,
    );
    // SAFETY: clears CR0.TS.
    unsafe { asm!("clts", options(nostack)) };
    report.is("bytes changed over #NM", image.differing(&Image::save()), 0);
}
