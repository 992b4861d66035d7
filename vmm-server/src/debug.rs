//! Debug exceptions that an instruction carried out here owes the guest: the processor, which saw no instruction, raises
//! none (APM vol. 2, 13.1).

use crate::platform::Platform;
use crate::vcpu::Vcpu;
use exit_abi::{Mask, Register, Status};
use vcpu::debug::{self, Breakpoints, Conditions, Touch};
use vcpu::{Event, Resume};
use words::x86::{cr4, rflags, vector};

impl Vcpu {
    /// An instruction touches `length` bytes at `address`.
    pub(crate) fn meet(&mut self, touch: Touch, address: u64, length: u64) {
        if debug::is_armed(self.breakpoints.control) {
            let breakpoints = Breakpoints {
                extensions: self.control.cr4 & cr4::DE != 0,
                ..self.breakpoints
            };
            self.met |= breakpoints.met(touch, address, length);
        }
    }

    /// After an instruction, or an iteration of one: the traps of stepping and of breakpoints, and the end of RFLAGS.RF.
    pub(crate) fn end_instruction(
        &mut self,
        platform: &mut impl Platform,
        status: Status,
        resume: &mut Resume,
    ) {
        if !resume.skips() && !self.iterated {
            return;
        }
        if resume.skips() && status.resume_flag {
            let flags = self.flags(platform, resume);
            resume.set(Register::Rflags, flags & !rflags::RF);
        }
        let conditions = Conditions {
            matches: self.met,
            access: false,
            step: status.single_step,
        };
        if conditions.any() && !resume.injects() {
            self.debug_trap(platform, conditions, resume);
        }
    }

    /// Injects #DB; DR6 and DR7 are as its handler finds them.
    pub(crate) fn debug_trap(
        &self,
        platform: &mut impl Platform,
        conditions: Conditions,
        resume: &mut Resume,
    ) {
        let mask = Mask::default().with(Register::Dr6).with(Register::Dr7);
        let registers = platform.read_registers(mask);
        let now = |register| {
            if resume.registers().has(register) {
                resume.registers().get(register)
            } else {
                registers.get(register)
            }
        };
        let (status, control) = (now(Register::Dr6), now(Register::Dr7));
        resume.set(Register::Dr6, conditions.status(status));
        if debug::is_guarded(control) {
            resume.set(Register::Dr7, debug::entering(control));
        }
        resume.inject(Event::exception(vector::DB, 0, self.codes()));
    }

    /// RFLAGS as the guest goes on with them.
    fn flags(&self, platform: &mut impl Platform, resume: &Resume) -> u64 {
        if resume.registers().has(Register::Rflags) {
            return resume.registers().get(Register::Rflags);
        }
        let mask = Mask::default().with(Register::Rflags);
        platform.read_registers(mask).get(Register::Rflags)
    }
}
