//! The debug console and the debug system calls.

use crate::{CPtr, Cap, CapType, Word, arch::syscall, sys::syscall as number};
use core::fmt;

/// One character to the debug console. libsel4: `seL4_DebugPutChar`.
#[inline]
pub fn debug_put_char(c: u8) {
    syscall(number::DEBUG_PUT_CHAR, Word::from(c), 0, [0; 4]);
}

/// Stops the machine. libsel4: `seL4_DebugHalt`. The kernels of `run --root-task` have the call; elsewhere it is an
/// unknown-syscall fault.
pub fn debug_halt() {
    syscall(number::DEBUG_HALT, 0, 0, [0; 4]);
}

/// The kernel's state to the debug console. libsel4: `seL4_DebugSnapshot`.
pub fn debug_snapshot() {
    syscall(number::DEBUG_SNAPSHOT, 0, 0, [0; 4]);
}

/// The scheduler's state to the debug console. libsel4: `seL4_DebugDumpScheduler`.
pub fn debug_dump_scheduler() {
    syscall(number::DEBUG_DUMP_SCHEDULER, 0, 0, [0; 4]);
}

/// The kernel's number for the kind of a capability; 0 if there is none. libsel4: `seL4_DebugCapIdentify`.
#[must_use]
pub fn debug_cap_identify(cptr: CPtr) -> Word {
    syscall(number::DEBUG_CAP_IDENTIFY, cptr.bits(), 0, [0; 4]).0
}

impl<T: CapType, C> Cap<T, C> {
    /// The kernel's number for the kind of this capability; 0 if there is none. libsel4: `seL4_DebugCapIdentify`.
    #[must_use]
    pub fn debug_identify(self) -> u32 {
        debug_cap_identify(self.cptr()) as u32
    }
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
