//! The kernel's own faults: one line on the log, then the machine stops. Neither users nor guests can get here.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use super::console::say;
use super::cpu;

/// What a stub and the processor pushed for an exception in kernel mode.
#[repr(C)]
pub struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Set by the first fault; a fault while its line is written stops at once.
static STOPPING: AtomicBool = AtomicBool::new(false);

fn stop_if_second() {
    if STOPPING.swap(true, Ordering::Relaxed) {
        cpu::halt_forever();
    }
}

/// An exception in kernel mode, or one that is nobody's (machine check, double fault).
pub extern "C" fn kernel_exception(frame: &Frame) -> ! {
    stop_if_second();
    say!(
        "\numbra-panic exception {} error {:#x} rip {:#x} cs {:#x} rflags {:#x} rsp {:#x} ss {:#x} cr2 {:#x}",
        frame.vector,
        frame.error,
        frame.rip,
        frame.cs,
        frame.rflags,
        frame.rsp,
        frame.ss,
        cpu::read_cr2(),
    );
    cpu::halt_forever();
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    stop_if_second();
    match info.location() {
        Some(at) => say!(
            "\numbra-panic {} at {}:{}",
            info.message(),
            at.file(),
            at.line()
        ),
        None => say!("\numbra-panic {}", info.message()),
    }
    cpu::halt_forever();
}
