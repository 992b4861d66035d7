//! What ends the machine, or never ends.
#![allow(unsafe_code)] // loops and halts with interrupts off

use core::arch::asm;

use guest_rt::cpu::{physical_bits, set_cr3};
use guest_rt::exit;
use guest_rt::trap::{TablePointer, load_idt};

use super::report::Report;

/// An address that nothing maps: the boot tables end at 1 GiB.
const UNMAPPED: u64 = 0x5000_0000;

/// A root beyond memory: the next fetch finds no translation, nor does the way to any handler.
pub fn cr3_outside(report: &mut Report) {
    report.say(format_args!(
        "loading CR3 with an address beyond memory: a triple fault follows"
    ));
    set_cr3(1 << (physical_bits() - 1));
    report.survived();
}

/// An exception without an interrupt table.
pub fn triple_fault(report: &mut Report) {
    report.say(format_args!(
        "an exception with an empty interrupt table: a triple fault follows"
    ));
    load_idt(&TablePointer { limit: 0, base: 0 });
    // SAFETY: ends the machine.
    unsafe { asm!("ud2", options(nostack)) };
    report.survived();
}

/// A page fault whose gate lies in no page: #PF, #DF, shutdown.
pub fn idt_gone(report: &mut Report) {
    report.say(format_args!(
        "a page fault with the interrupt table and the stack unmapped: a triple fault follows"
    ));
    load_idt(&TablePointer {
        limit: 0xfff,
        base: UNMAPPED,
    });
    // SAFETY: ends the machine; nothing after it would find its stack.
    unsafe {
        asm!("mov rsp, {0}", "mov al, byte ptr [{0}]", "ud2", in(reg) UNMAPPED + 0x1000, options(noreturn))
    }
}

/// An endless loop with interrupts off.
pub fn spin(report: &mut Report) {
    report.say(format_args!("looping with interrupts off, for ever"));
    // SAFETY: touches nothing.
    unsafe { asm!("cli", "2: jmp 2b", options(noreturn)) }
}

/// A halt with interrupts off.
pub fn hlt_off(report: &mut Report) {
    report.say(format_args!("halting with interrupts off, for ever"));
    exit::halt()
}
