//! The loop around the logic: ask what is next, run it, tell what happened.
#![allow(unsafe_code)] // Turns the address of a context into a reference.

use kernel::context::{UserContext, entry as entered};
use kernel::machine::Next;
use words::x86::vector;
use words::{Gva, Hpa};

use super::entry::{self, Return};
use super::hardware::Hardware;
use super::segments::{FIRST_UNKNOWN, LAST_UNKNOWN, SPURIOUS};
use super::{cpu, guest, layout};
use kernel::kernel::Kernel;

/// First vector of the I/O interrupts; below are the silenced 8259s', which may still send spurious ones.
const FIRST_IO: u8 = 0x30;

/// Runs the system.
pub fn run(mut kernel: Kernel<Hardware>) -> ! {
    loop {
        match kernel.decide() {
            Next::User { context } => run_user(&mut kernel, context),
            Next::Guest { vmcb, registers } => {
                guest::enter_guest(vmcb, registers);
                if kernel.handle_guest_exit() {
                    interrupt(&mut kernel, entry::take_interrupt());
                }
            }
            Next::Idle => interrupt(&mut kernel, entry::wait_for_interrupt()),
        }
    }
}

/// An interrupt taken in kernel mode; spurious ones want no answer.
fn interrupt(kernel: &mut Kernel<Hardware>, vector: Option<u8>) {
    if let Some(vector @ FIRST_IO..FIRST_UNKNOWN) = vector {
        kernel.handle_interrupt(vector);
    }
}

fn run_user(kernel: &mut Kernel<Hardware>, context: Hpa) {
    // SAFETY: the logic names the context of a thread that exists; its fields are cells, and the reference is not used
    // after the logic is called again.
    let registers: &UserContext = unsafe { &*layout::window(context) };
    let rip = registers.rip.get();
    if rip >> 47 != 0 {
        if !Gva::new(rip).is_canonical() {
            // IRET would fault in kernel mode where a jump in user mode gives the thread #GP.
            kernel.handle_exception(vector::GP, 0, 0);
            return;
        }
        // SYSRET is for the lower half only.
        registers.entered_by.set(entered::FULL);
    }
    match entry::enter_user(registers) {
        Return::Syscall => kernel.handle_syscall(registers.rdx.get() as i64),
        Return::Vector(vector, error) => came_back(kernel, vector, error),
    }
}

/// Sorts the vectors by which a thread came back.
fn came_back(kernel: &mut Kernel<Hardware>, number: u8, error: u64) {
    match number {
        // Nobody's fault, and nothing to be relied on after it.
        vector::MC | vector::DF => panic!("exception {number} in user mode"),
        vector::PF => kernel.handle_exception(number, error, cpu::read_cr2()),
        0..32 => kernel.handle_exception(number, error, 0),
        32..FIRST_IO | SPURIOUS => {}
        FIRST_IO..FIRST_UNKNOWN => kernel.handle_interrupt(number),
        FIRST_UNKNOWN..=LAST_UNKNOWN => kernel.handle_unknown_vector(number),
    }
}
