//! The debug console: the second serial port, polled.
#![allow(unsafe_code)] // Port writes to the UART.

use core::fmt::{self, Write};

use super::cpu;

const COM2: u16 = 0x2f8;
const LINE_STATUS: u16 = COM2 + 5;
/// Line status: the transmit holding register is empty.
const THRE: u8 = 1 << 5;
/// Polls before a character is written regardless: a UART that is stuck must not stop the kernel.
const PATIENCE: u32 = 100_000;

/// Sets the port to 115200 baud, eight bits, no parity, one stop bit, no interrupts.
pub fn init() {
    let settings = [
        (1, 0x00), // no interrupts
        (3, 0x80), // divisor latch
        (0, 0x01), // 115200
        (1, 0x00),
        (3, 0x03), // 8n1
        (2, 0x07), // FIFOs on and cleared
        (4, 0x03), // DTR, RTS
    ];
    for (register, value) in settings {
        // SAFETY: the UART of the PC platform does no DMA.
        unsafe { cpu::out8(COM2 + register, value) };
    }
}

/// Writes one byte.
pub fn put(byte: u8) {
    for _ in 0..PATIENCE {
        if cpu::in8(LINE_STATUS) & THRE != 0 {
            break;
        }
    }
    // SAFETY: as in `init`.
    unsafe { cpu::out8(COM2, byte) };
}

/// The console as a sink of formatted text.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(put);
        Ok(())
    }
}

/// Prints a line on the console.
macro_rules! say {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        // The console's writer never fails.
        let _ = writeln!($crate::arch::console::Console, $($arg)*);
    }};
}
pub(crate) use say;
