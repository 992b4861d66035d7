//! How a guest ends: a value to port 0xf4, then a halt that nothing wakes.

use core::arch::asm;
use core::panic::PanicInfo;

use crate::port::outb;

/// All went as expected.
pub const SUCCESS: u8 = 0;
/// The command line asks for nothing the guest knows.
pub const USAGE: u8 = 1;
/// An exception nobody expected.
pub const FATAL: u8 = 2;
/// A check found something else than hardware would do.
pub const MISMATCH: u8 = 3;
/// The guest's own program is wrong.
pub const PANIC: u8 = 4;

/// Ends the machine with `value`: isa-debug-exit makes it the exit status `(value << 1) | 1`.
pub fn exit(value: u8) -> ! {
    outb(0xf4, value);
    halt()
}

/// Halts with interrupts off: nothing but an NMI or a reset continues from here.
pub fn halt() -> ! {
    loop {
        // SAFETY: stops this CPU; the loop stands against an NMI.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::println!("guest: {info}");
    exit(PANIC)
}
