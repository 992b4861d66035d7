//! The console: the 16550 at 0x3f8, polled, and the macros that print to it.

use core::fmt;

use crate::port::{inb, outb};

/// The data register of COM1.
pub const DATA: u16 = 0x3f8;
/// The line-status register of COM1.
pub const LINE_STATUS: u16 = 0x3fd;
/// Line status: the transmitter takes another byte.
pub const TRANSMITTER_EMPTY: u8 = 0x20;

/// Sends one byte once the transmitter is free.
pub fn put(byte: u8) {
    while inb(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {
        core::hint::spin_loop();
    }
    outb(DATA, byte);
}

/// The console as a formatter's sink; it never fails.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(put);
        Ok(())
    }
}

/// Formats to the console.
pub fn print(text: fmt::Arguments<'_>) {
    // `Console` returns no error, so only a `Display` that fails by itself could get here: its text is cut short.
    let _ = fmt::Write::write_fmt(&mut Console, text);
}

/// Prints to the guest's console.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::console::print(format_args!($($text)*)) };
}

/// Prints a line to the guest's console.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {{ $crate::print!($($text)*); $crate::print!("\n") }};
}
