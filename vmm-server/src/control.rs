//! Exits of control and debug registers, EFER and the other MSRs.
//!
//! The order of a write that changes the paging format: registers to the kernel (which drops the root), then mmu-server
//! (which installs one for the new format), then the reply. A write that does not change it saves the first step.

use crate::memory::{Nothing, VIEW, View};
use crate::mmio::instruction;
use crate::platform::{Loaded, Platform};
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{CrInstruction, Mask, Mode, Register};
use insn::{Gpr, Kind, MemoryOperand, Place, Width};
use protocol::device::Stop;
use protocol::system::Paging;
use vcpu::control::Change;
use vcpu::debug::{self, Conditions};
use vcpu::msr::{Read, Write};
use vcpu::registers::merge_low;
use vcpu::segment::{Access, Name, Segment};
use vcpu::{Control, Registers, Resume};
use words::x86::msr;

/// A control-register exit's own fields.
#[derive(Clone, Copy)]
pub(crate) struct CrAccess {
    pub len: u8,
    pub number: u8,
    pub gpr: u8,
    pub instruction: CrInstruction,
    pub rip: u64,
    pub value: u64,
    pub mode: Mode,
}

/// A debug-register exit's own fields.
#[derive(Clone, Copy)]
pub(crate) struct DrAccess {
    pub number: u8,
    pub gpr: u8,
    pub write: bool,
    pub value: u64,
}

impl Vcpu {
    /// MOV to and from CR0, CR3, CR4; CLTS, LMSW, SMSW. The result is the length of the instruction if it was carried out
    /// here, and not left to the processor.
    pub(crate) fn control_access(
        &mut self,
        platform: &mut impl Platform,
        access: CrAccess,
        resume: &mut Resume,
    ) -> Result<Option<u8>, Trap> {
        let control = self.control;
        let change = match access.instruction {
            CrInstruction::MovFrom => {
                let value = control_register(&control, access.number)?;
                resume.set_gpr(access.gpr, value);
                return Ok(Some(access.len));
            }
            CrInstruction::Smsw => {
                self.store_machine_status(platform, access, resume);
                return Ok(Some(access.len));
            }
            CrInstruction::Other => {
                return self.machine_status_in_memory(platform, access, resume);
            }
            // The processor has a CR8 of its own for the guest; the kernel asks only where that one fails.
            CrInstruction::MovTo if access.number == 8 => {
                if access.value > 15 {
                    return Err(Trap::GENERAL_PROTECTION);
                }
                resume.set(Register::Cr8, access.value);
                return Ok(Some(access.len));
            }
            CrInstruction::MovTo => match access.number {
                0 => control.write_cr0(access.value, || long_code(platform))?,
                3 => control.write_cr3(access.value, &self.limits)?,
                4 => control.write_cr4(access.value, &self.limits)?,
                _ => return Err(Trap::UNDEFINED),
            },
            CrInstruction::Clts => control.clts(),
            CrInstruction::Lmsw => control.lmsw(access.value)?,
        };
        self.apply(platform, &change, access.mode, resume)?;
        Ok(Some(access.len))
    }

    /// SMSW to a register: 2, 4 or 8 bytes of CR0.
    fn store_machine_status(
        &self,
        platform: &mut impl Platform,
        access: CrAccess,
        resume: &mut Resume,
    ) {
        let mask = Mask(1 << Register::gpr(access.gpr));
        let old = platform.read_registers(mask).gpr(access.gpr);
        let merged = merge_low(old, self.control.cr0, access.value as u32);
        resume.set_gpr(access.gpr, merged);
    }

    /// LMSW and SMSW with a memory operand: always 16 bits. What else is found there was written over the instruction that
    /// exited, and is left to the processor, a bounded number of times in a row.
    fn machine_status_in_memory(
        &mut self,
        platform: &mut impl Platform,
        access: CrAccess,
        resume: &mut Resume,
    ) -> Result<Option<u8>, Trap> {
        let mask = VIEW.iter().fold(Mask::GPRS, |mask, &r| mask.with(r));
        let registers = platform.read_registers(mask);
        let view = View::new(&self.control, &registers);
        let instruction = instruction(platform, &view, access.rip)?;
        let next = instruction.next_rip(access.rip);
        let locate = |platform: &mut _, operand: &MemoryOperand, access| {
            locate(platform, &view, &registers, operand, next, access)
        };
        match instruction.kind() {
            // SMSW, which everybody may use, may have exited. LMSW is for CPL 0 alone (APM vol. 3).
            Kind::Lmsw { .. } if view.mode.cpl() != 0 => return Err(Trap::GENERAL_PROTECTION),
            Kind::Lmsw {
                source: Place::Memory(operand),
            } => {
                let gva = locate(platform, &operand, Access::Read)?;
                let mut word = [0; 2];
                view.read(platform, &mut Nothing, gva, &mut word)?;
                let change = self.control.lmsw(u64::from(u16::from_le_bytes(word)))?;
                self.apply(platform, &change, access.mode, resume)?;
            }
            Kind::Smsw {
                destination: Place::Memory(operand),
                width: Width::Word,
            } => {
                let gva = locate(platform, &operand, Access::Write)?;
                let word = (self.control.cr0 as u16).to_le_bytes();
                view.write(platform, &mut Nothing, gva, &word)?;
            }
            _ if self.may_leave() => return Ok(None),
            _ => {
                return Err(Trap::stop(
                    Stop::Emulation,
                    access.rip,
                    "unknown control-register instruction",
                ));
            }
        }
        self.stale = 0;
        Ok(Some(instruction.length()))
    }

    /// Carries a legal write out.
    fn apply(
        &mut self,
        platform: &mut impl Platform,
        change: &Change,
        mode: Mode,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        let (old, new) = (self.control, change.control);
        self.devices.clear();
        if change.format {
            write_now(platform, &difference(&old, &new))?;
        }
        if let Some(reason) = change.load.filter(|_| self.paging == Paging::Shadow) {
            match platform.load(new.mode_like(mode), new.cr3, reason) {
                Loaded::Done => {}
                Loaded::GeneralProtection => {
                    if change.format {
                        write_now(platform, &difference(&new, &old))?;
                    }
                    return Err(Trap::GENERAL_PROTECTION);
                }
                Loaded::Refused => return Err(Trap::MMU_REFUSED),
            }
        }
        if !change.format {
            set_difference(resume, &old, &new);
        }
        self.control = new;
        Ok(())
    }

    /// RDMSR.
    pub(crate) fn read_msr(
        &mut self,
        platform: &mut impl Platform,
        number: u32,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        if number == msr::APIC_BASE {
            resume.set_edx_eax(self.board.apic_base());
            return Ok(());
        }
        let value = match self.msrs.read(number, &self.control, platform.now()) {
            Read::Value(value) => value,
            Read::Register(register) => {
                let mask = Mask::default().with(register);
                platform.read_registers(mask).get(register)
            }
            Read::GeneralProtection => return Err(Trap::GENERAL_PROTECTION),
        };
        resume.set_edx_eax(value);
        Ok(())
    }

    /// WRMSR.
    pub(crate) fn write_msr(
        &mut self,
        platform: &mut impl Platform,
        number: u32,
        value: u64,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        if number == msr::APIC_BASE {
            let width = self.limits.physical_width;
            let result = self.board.write_apic_base(value, width);
            return result.map_err(|_| Trap::GENERAL_PROTECTION);
        }
        let now = platform.now();
        let (control, limits) = (self.control, self.limits);
        match self.msrs.write(number, value, &control, &limits, now) {
            Write::Done => Ok(()),
            Write::Register(register, value) => {
                resume.set(register, value);
                Ok(())
            }
            // WRMSR is for CPL 0 alone, and AC has no part in a load.
            Write::Control(change) => self.apply(platform, &change, control.mode(0, 0), resume),
            Write::GeneralProtection => Err(Trap::GENERAL_PROTECTION),
        }
    }

    /// MOV to and from debug registers.
    pub(crate) fn debug_access(
        &mut self,
        platform: &mut impl Platform,
        access: DrAccess,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        let register = debug::register(access.number, &self.control).map_err(debug_trap)?;
        if debug::is_guarded(self.breakpoints.control) {
            // The processor clears the bit as it delivers a debug exception.
            let mask = Mask::default().with(Register::Dr7);
            self.breakpoints.control = platform.read_registers(mask).get(Register::Dr7);
            if debug::is_guarded(self.breakpoints.control) {
                return Err(Trap::Debug(Conditions {
                    access: true,
                    ..Conditions::default()
                }));
            }
        }
        if access.write {
            let value =
                debug::written(register, access.value, &self.control).map_err(debug_trap)?;
            resume.set(register, value);
            match register {
                Register::Dr0 => self.breakpoints.addresses[0] = value,
                Register::Dr1 => self.breakpoints.addresses[1] = value,
                Register::Dr2 => self.breakpoints.addresses[2] = value,
                Register::Dr3 => self.breakpoints.addresses[3] = value,
                Register::Dr7 => self.breakpoints.control = value,
                _ => {}
            }
        } else {
            let mask = Mask::default().with(register);
            resume.set_gpr(access.gpr, platform.read_registers(mask).get(register));
        }
        Ok(())
    }
}

const fn debug_trap(fault: debug::Fault) -> Trap {
    match fault {
        debug::Fault::Undefined => Trap::UNDEFINED,
        debug::Fault::GeneralProtection => Trap::GENERAL_PROTECTION,
    }
}

const fn control_register(control: &Control, number: u8) -> Result<u64, Trap> {
    Ok(match number {
        0 => control.cr0,
        3 => control.cr3,
        4 => control.cr4,
        _ => return Err(Trap::UNDEFINED),
    })
}

fn long_code(platform: &mut impl Platform) -> bool {
    let mask = Mask::default().with(Register::Cs).with(Register::CsBase);
    Segment::of(Name::Cs, &platform.read_registers(mask)).is_long_code()
}

/// The registers in which two states differ, with the new values.
fn difference(old: &Control, new: &Control) -> Registers {
    let mut registers = Registers::new();
    for (register, old, new) in pairs(old, new) {
        if old != new {
            registers.set(register, new);
        }
    }
    registers
}

fn set_difference(resume: &mut Resume, old: &Control, new: &Control) {
    for (register, old, new) in pairs(old, new) {
        if old != new {
            resume.set(register, new);
        }
    }
}

const fn pairs(old: &Control, new: &Control) -> [(Register, u64, u64); 4] {
    [
        (Register::Cr0, old.cr0, new.cr0),
        (Register::Cr3, old.cr3, new.cr3),
        (Register::Cr4, old.cr4, new.cr4),
        (Register::Efer, old.efer, new.efer),
    ]
}

fn write_now(platform: &mut impl Platform, registers: &Registers) -> Result<(), Trap> {
    platform.write_registers(registers).map_err(|_| {
        Trap::stop(
            Stop::InvalidState,
            0,
            "the kernel refused control registers",
        )
    })
}

/// The linear address of the two bytes of a memory operand.
fn locate(
    platform: &mut impl Platform,
    view: &View,
    registers: &Registers,
    operand: &MemoryOperand,
    next_rip: u64,
    access: Access,
) -> Result<words::Gva, Trap> {
    let name = Name::from_number(operand.segment as u8);
    let (base, rest) = name.registers();
    let mask = Mask::default().with(base).with(rest);
    let segment = Segment::of(name, &platform.read_registers(mask));
    let gpr = |gpr: Gpr| registers.gpr(gpr.number());
    let offset = operand.effective_address(gpr, next_rip);
    view.linear(name, segment, offset, 2, access)
}
