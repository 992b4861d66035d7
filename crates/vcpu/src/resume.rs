//! The answer to an exit: registers to set before the guest goes on.

use crate::event::Event;
use crate::registers::{Registers, merge_low};
use exit_abi::{Register, Status};
use words::x86::vector;

/// How far an instruction pointer counts before it wraps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// Real and protected mode: 32 bits.
    Legacy,
    /// Long mode: 64 bits.
    Long,
}

/// When the guest is to exit so that an interrupt can be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Window {
    /// Not for that.
    #[default]
    Closed,
    /// As soon as interrupts are enabled.
    Open,
    /// As soon as they are enabled and CR8 is below this class (1 to 15).
    Above(u8),
}

impl Window {
    /// The value of [`Register::Window`].
    #[must_use]
    pub const fn word(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::Above(class) => 1 | (class as u64 & 15) << 4,
        }
    }
}

/// What a reply sets. Built step by step while an exit is handled; empty means "go on unchanged".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resume {
    registers: Registers,
    shadow: bool,
}

impl Resume {
    /// The answer to an exit that came with `status`, changing nothing yet.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self {
            registers: Registers::new(),
            shadow: status.interrupt_shadow,
        }
    }

    /// Starts over for an exit that came with `status`.
    pub const fn reset(&mut self, status: Status) {
        self.registers.clear();
        self.shadow = status.interrupt_shadow;
    }

    /// Sets a register.
    pub const fn set(&mut self, register: Register, value: u64) {
        self.registers.set(register, value);
    }

    /// Sets a general-purpose register by the hardware's number.
    pub fn set_gpr(&mut self, number: u8, value: u64) {
        self.registers.set_gpr(number, value);
    }

    /// Sets the low `size` bytes of RAX, whose value was `old`.
    pub const fn set_rax(&mut self, old: u64, value: u64, size: u32) {
        self.registers
            .set(Register::Rax, merge_low(old, value, size));
    }

    /// Sets EDX:EAX to the halves of `value`, as RDMSR leaves them.
    pub const fn set_edx_eax(&mut self, value: u64) {
        self.registers.set(Register::Rax, value & 0xffff_ffff);
        self.registers.set(Register::Rdx, value >> 32);
    }

    /// Moves past an instruction of `len` bytes at `rip` that was carried out here: the one place that moves RIP. The
    /// interrupt shadow lasts one instruction and this was it (APM vol. 2, 15.21.5).
    pub const fn skip(&mut self, rip: u64, len: u8, width: Width) {
        let next = rip.wrapping_add(len as u64);
        let next = match width {
            Width::Legacy => next & 0xffff_ffff,
            Width::Long => next,
        };
        self.registers.set(Register::Rip, next);
        if self.shadow {
            self.registers.set(Register::InterruptShadow, 0);
            self.shadow = false;
        }
    }

    /// Injects `event` before the next guest instruction.
    pub const fn inject(&mut self, event: Event) {
        self.registers.set(Register::Event, event.word());
    }

    /// Injects a page fault at `address`: CR2 is written with it and nowhere else (APM vol. 2, 15.20).
    pub const fn inject_page_fault(&mut self, event: Event, address: u64) {
        if event.vector() == vector::PF && event.is_exception() {
            self.registers.set(Register::Cr2, address);
        }
        self.inject(event);
    }

    /// Says when the guest is to exit for an interrupt.
    pub const fn set_window(&mut self, window: Window) {
        self.registers.set(Register::Window, window.word());
    }

    /// Whether an event is to be injected already.
    #[must_use]
    pub const fn injects(&self) -> bool {
        self.registers.has(Register::Event)
    }

    /// Whether an instruction was carried out here.
    #[must_use]
    pub const fn skips(&self) -> bool {
        self.registers.has(Register::Rip)
    }

    /// Whether the guest will still be in an interrupt shadow when it goes on.
    #[must_use]
    pub const fn shadow(&self) -> bool {
        self.shadow
    }

    /// The registers to set.
    #[must_use]
    pub const fn registers(&self) -> &Registers {
        &self.registers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Codes;

    fn in_shadow() -> Resume {
        Resume::new(Status {
            interrupt_shadow: true,
            ..Status::default()
        })
    }

    #[test]
    fn skipping_ends_the_interrupt_shadow() {
        let mut resume = in_shadow();
        resume.skip(0x1000, 2, Width::Long);
        assert_eq!(resume.registers().get(Register::Rip), 0x1002);
        assert!(resume.registers().mask().0 & Register::InterruptShadow.bit() != 0);
        assert!(!resume.shadow());
    }

    #[test]
    fn skipping_outside_a_shadow_writes_only_rip() {
        let mut resume = Resume::new(Status::default());
        resume.skip(0xffff_ffff, 1, Width::Legacy);
        assert_eq!(resume.registers().mask().0, Register::Rip.bit());
        assert_eq!(resume.registers().get(Register::Rip), 0);
    }

    #[test]
    fn a_window_says_whether_and_for_which_class() {
        let words = [Window::Closed, Window::Open, Window::Above(0xe)].map(Window::word);
        assert_eq!(words, [0, 1, 0xe1]);
    }

    #[test]
    fn cr2_is_written_with_a_page_fault_and_not_with_what_it_merged_into() {
        let mut resume = in_shadow();
        resume.inject_page_fault(Event::exception(vector::DF, 0, Codes::Pushed), 0x5000);
        assert_eq!(resume.registers().mask().0 & Register::Cr2.bit(), 0);
        resume.inject_page_fault(Event::exception(vector::PF, 2, Codes::Pushed), 0x5000);
        assert_eq!(resume.registers().get(Register::Cr2), 0x5000);
        assert!(resume.injects());
    }
}
