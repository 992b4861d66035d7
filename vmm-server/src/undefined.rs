//! Hypercalls, and #UD of instructions that the processor at hand does not know and another has.

use crate::memory::{VIEW, View};
use crate::mmio::instruction;
use crate::platform::Platform;
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Mask, Register};
use insn::{Instruction, Map};
use vcpu::debug::Conditions;
use vcpu::segment::Addressing;
use vcpu::{Resume, hypercall};

/// What an instruction that raised #UD is elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    /// VMCALL, Intel's VMMCALL: 0F 01 C1.
    Vmcall,
    /// ICEBP, F1. Every processor has it; QEMU's software CPU does not.
    Icebp,
    /// Undefined there, too.
    Undefined,
}

impl Elsewhere {
    fn of(instruction: &Instruction) -> Self {
        match (instruction.map(), instruction.opcode(), instruction.modrm()) {
            (Map::Secondary, 0x01, Some(modrm))
                if (modrm.mode(), modrm.reg(), modrm.rm()) == (3, 0, 1) =>
            {
                Self::Vmcall
            }
            (Map::Primary, 0xf1, _) => Self::Icebp,
            _ => Self::Undefined,
        }
    }
}

impl Vcpu {
    /// #UD at `rip`. The result is the length of the instruction if it was carried out here. What cannot be read a second
    /// time, or taken apart, is what the processor said it is.
    pub(crate) fn undefined(
        &mut self,
        platform: &mut impl Platform,
        rip: u64,
        resume: &mut Resume,
    ) -> Result<u8, Trap> {
        let view = self.view(platform);
        let Ok(instruction) = instruction(platform, &view, rip) else {
            return Err(Trap::UNDEFINED);
        };
        match Elsewhere::of(&instruction) {
            Elsewhere::Vmcall => answer(&view, resume),
            Elsewhere::Icebp => self.debug_trap(platform, Conditions::default(), resume),
            Elsewhere::Undefined => return Err(Trap::UNDEFINED),
        }
        Ok(instruction.length())
    }

    /// VMMCALL.
    pub(crate) fn hypercall(&self, platform: &mut impl Platform, resume: &mut Resume) {
        answer(&self.view(platform), resume);
    }

    fn view(&self, platform: &mut impl Platform) -> View {
        let mask = VIEW.iter().fold(Mask::default(), |mask, &r| mask.with(r));
        View::new(&self.control, &platform.read_registers(mask))
    }
}

fn answer(view: &View, resume: &mut Resume) {
    let wide = view.addressing == Addressing::Flat;
    resume.set(Register::Rax, hypercall::answer(view.mode.cpl(), wide));
}
