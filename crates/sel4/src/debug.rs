//! The debug console and the debug system calls.

use crate::{CPtr, Word, arch::syscall, sys::syscall as number};
use core::fmt;

/// One character to the debug console.
#[inline]
pub fn debug_put_char(c: u8) {
    syscall(number::DEBUG_PUT_CHAR, Word::from(c), 0, [0; 4]);
}

/// Stops the machine, on kernels built with the call (`run --root-task`); elsewhere an unknown-syscall fault.
pub fn debug_halt() {
    syscall(number::DEBUG_HALT, 0, 0, [0; 4]);
}

/// The kernel's state to the debug console.
pub fn debug_snapshot() {
    syscall(number::DEBUG_SNAPSHOT, 0, 0, [0; 4]);
}

/// The scheduler's state to the debug console.
pub fn debug_dump_scheduler() {
    syscall(number::DEBUG_DUMP_SCHEDULER, 0, 0, [0; 4]);
}

/// The kernel's number for the kind of a capability; 0 if there is none.
#[must_use]
pub fn debug_cap_identify(cptr: CPtr) -> Word {
    syscall(number::DEBUG_CAP_IDENTIFY, cptr.bits(), 0, [0; 4]).0
}

/// The debug console as a place to write to.
#[derive(Clone, Copy, Debug, Default)]
pub struct DebugWrite;

impl fmt::Write for DebugWrite {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(debug_put_char);
        Ok(())
    }
}

/// Used by the macros.
#[doc(hidden)]
pub fn debug_print_helper(arguments: fmt::Arguments<'_>) {
    // Writing to the console cannot fail; an implementation of `Display` that fails only cuts its own text short.
    let _ = fmt::Write::write_fmt(&mut DebugWrite, arguments);
}

/// Prints to the debug console.
#[macro_export]
macro_rules! debug_print {
    ($($arg:tt)*) => { $crate::__debug_print_helper(::core::format_args!($($arg)*)) };
}

/// Prints a line to the debug console.
#[macro_export]
macro_rules! debug_println {
    () => { $crate::debug_print!("\n") };
    ($($arg:tt)*) => { $crate::debug_print!("{}\n", ::core::format_args!($($arg)*)) };
}
