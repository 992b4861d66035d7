//! The loop around the logic: ask what is next, run it, tell what happened.
#![allow(unsafe_code)] // Turns the address of a context into a reference.

use kernel::context::{GuestRegisters, UserContext, entry as entered};
use kernel::machine::Next;
use kernel::object::vcpu::After;
use sel4_abi::syscall;
use words::x86::vector;
use words::{Gva, Hpa};

use super::entry::{self, Return};
use super::hardware::Hardware;
use super::segments::{FIRST_UNKNOWN, LAST_UNKNOWN, SPURIOUS};
use super::{cpu, guest, latency, layout};
use kernel::kernel::Kernel;

/// First vector of the I/O interrupts; below are the silenced 8259s', which may still send spurious ones.
const FIRST_IO: u8 = 0x30;

/// Runs the system.
pub fn run(mut kernel: Kernel<Hardware>) -> ! {
    loop {
        let mut next = Some(kernel.decide());
        // The short ways know what runs next: then there is nothing to decide.
        while let Some(now) = next {
            next = match now {
                Next::User { context } => run_user(&mut kernel, context),
                Next::Guest { vmcb } => run_guest(&mut kernel, vmcb),
                Next::Idle => {
                    latency::end();
                    let vector = entry::wait_for_interrupt();
                    latency::begin();
                    interrupt(&mut kernel, vector);
                    None
                }
            }
        }
    }
}

/// Runs a thread, and whichever the short ways lead to, until one comes back otherwise; what runs next, if that is known
/// already.
#[inline(always)]
fn run_user(kernel: &mut Kernel<Hardware>, context: Hpa) -> Option<Next> {
    // SAFETY: the logic names the context of a thread that exists; its fields are cells, and the reference is not used
    // after the logic has named another.
    let mut registers: &UserContext = unsafe { &*layout::window(context) };
    if !Gva::new(registers.rip.get()).is_canonical() {
        // IRET would fault in kernel mode where a jump in user mode gives the thread #GP.
        kernel.handle_exception(vector::GP, 0, 0);
        return None;
    }
    loop {
        latency::end();
        let back = entry::enter_user(registers);
        latency::begin();
        let next = match back {
            Return::Syscall(number) => {
                if latency::MEASURES && number == syscall::DEBUG_SNAPSHOT {
                    registers.rdi.set(latency::take());
                    continue;
                }
                let next = kernel.fast_syscall(number);
                if next.is_none() {
                    kernel.handle_syscall(number);
                }
                next
            }
            Return::Vector(vector, error) => came_back(kernel, vector, error),
        };
        match next {
            Some(Next::User { context }) => {
                // SAFETY: as above.
                let next: &UserContext = unsafe { &*layout::window(context) };
                // A processor may save a jump's target that is no address. No user page is so high that what follows
                // SYSCALL is not in the lower half.
                if next.entered_by.get() != entered::SYSCALL
                    && !Gva::new(next.rip.get()).is_canonical()
                {
                    return Some(Next::User { context });
                }
                registers = next;
            }
            next => return next,
        }
    }
}

/// Runs a guest until its next exit.
#[inline(always)]
fn run_guest(kernel: &mut Kernel<Hardware>, vmcb: Hpa) -> Option<Next> {
    latency::end();
    let registers = Hpa::new(vmcb.bits() + GuestRegisters::BEHIND_VMCB);
    guest::enter_guest(vmcb, registers);
    latency::begin();
    match kernel.handle_guest_exit() {
        After::Interrupt => {
            interrupt(kernel, entry::take_interrupt());
            None
        }
        After::Decide => None,
        After::Run(next) => Some(next),
    }
}

/// An interrupt taken in kernel mode; spurious ones want no answer.
fn interrupt(kernel: &mut Kernel<Hardware>, vector: Option<u8>) {
    if let Some(vector @ FIRST_IO..=LAST_UNKNOWN) = vector {
        kernel.handle_interrupt(vector);
    }
}

/// Sorts the vectors by which a thread came back; what runs next, if that is known already.
#[inline(always)]
fn came_back(kernel: &mut Kernel<Hardware>, number: u8, error: u64) -> Option<Next> {
    match number {
        // Nobody's fault, and nothing to be relied on after it.
        vector::MC | vector::DF => panic!("exception {number} in user mode"),
        0..32 => {
            let address = if number == vector::PF {
                cpu::read_cr2()
            } else {
                0
            };
            let next = kernel.fast_exception(number, error, address);
            if next.is_none() {
                kernel.handle_exception(number, error, address);
            }
            return next;
        }
        32..FIRST_IO | SPURIOUS => {}
        FIRST_IO..FIRST_UNKNOWN => kernel.handle_interrupt(number),
        FIRST_UNKNOWN..=LAST_UNKNOWN => kernel.handle_unknown_vector(number),
    }
    None
}
