//! Instructions that touch addresses without memory: carried out by the emulator of crate `insn` on the devices there.
//!
//! Always: an instruction that was written over between the exit and its decoding, so that it touches no memory now, is
//! left to the processor, a bounded number of times in a row.

use crate::bus::Bus;
use crate::memory::{VIEW, View};
use crate::platform::Platform;
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Mask, Register};
use insn::mmio::{self, ExecError, Memory};
use insn::{CodeSize, DecodeError, Instruction, MAX_LENGTH, Width};
use protocol::device::Stop;
use vcpu::debug::{Breakpoints, Touch};
use vcpu::segment::{Access, Addressing, Name, Segment};
use vcpu::{Registers, Resume};
use words::addr::PAGE_SIZE;
use words::x86::{cr4, rflags};

/// Most iterations of a repeated string instruction at one exit.
const MOST_ITERATIONS: u32 = 32;
/// Most exits in a row whose instruction is another when it is looked at.
const MOST_STALE: u32 = 16;

const SEGMENTS: [Name; 6] = [Name::Es, Name::Cs, Name::Ss, Name::Ds, Name::Fs, Name::Gs];

/// Every register an instruction can depend on.
fn all_registers() -> Mask {
    let start = VIEW.iter().fold(
        Mask::GPRS.with(Register::Rip).with(Register::Cr8),
        |mask, &r| mask.with(r),
    );
    SEGMENTS.iter().fold(start, |mask, name| {
        let (base, rest) = name.registers();
        mask.with(base).with(rest)
    })
}

/// The guest's memory for the emulator.
struct GuestMemory<'a, P> {
    platform: &'a mut P,
    bus: Bus<'a>,
    view: View,
    registers: &'a Registers,
    breakpoints: Breakpoints,
    /// Breakpoints met.
    met: u8,
}

impl<P: Platform> GuestMemory<'_, P> {
    fn linear(
        &mut self,
        segment: insn::Segment,
        offset: u64,
        width: Width,
        access: Access,
    ) -> Result<words::Gva, Trap> {
        let name = Name::from_number(segment as u8);
        let segment = Segment::of(name, self.registers);
        let length = u64::from(width.bytes());
        let gva = self.view.linear(name, segment, offset, length, access)?;
        let touch = match access {
            Access::Read => Touch::Read,
            Access::Write => Touch::Write,
        };
        self.met |= self.breakpoints.met(touch, gva.bits(), length);
        Ok(gva)
    }
}

impl<P: Platform> Memory for GuestMemory<'_, P> {
    type Error = Trap;

    fn read(&mut self, segment: insn::Segment, offset: u64, width: Width) -> Result<u64, Trap> {
        let gva = self.linear(segment, offset, width, Access::Read)?;
        let mut bytes = [0; 8];
        let part = &mut bytes[..usize::from(width.bytes())];
        self.view.read(self.platform, &mut self.bus, gva, part)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(
        &mut self,
        segment: insn::Segment,
        offset: u64,
        width: Width,
        value: u64,
    ) -> Result<(), Trap> {
        let gva = self.linear(segment, offset, width, Access::Write)?;
        let bytes = value.to_le_bytes();
        let part = &bytes[..usize::from(width.bytes())];
        self.view.write(self.platform, &mut self.bus, gva, part)
    }
}

impl Vcpu {
    /// Carries out the instruction at RIP, one of whose operands has no memory behind it.
    pub(crate) fn emulate_access(
        &mut self,
        platform: &mut impl Platform,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        let before = platform.read_registers(all_registers());
        let cr8 = before.get(Register::Cr8) as u8;
        self.board.set_task_priority(cr8);
        let hole = self.hole.take();
        let view = View::new(&self.control, &before);
        let rip = before.get(Register::Rip);
        let instruction = instruction(platform, &view, rip)?;
        let mut registers = mmio::Registers {
            gpr: core::array::from_fn(|number| before.gpr(number as u8)),
            rflags: before.get(Register::Rflags),
            rip,
            stack: stack_width(&view, &before),
        };
        let now = platform.now();
        let mut memory = GuestMemory {
            platform,
            bus: Bus::new(&mut self.board, hole, now),
            view,
            registers: &before,
            breakpoints: Breakpoints {
                extensions: self.control.cr4 & cr4::DE != 0,
                ..self.breakpoints
            },
            met: 0,
        };
        let outcome = iterations(&instruction, &mut registers, &mut memory);
        let (done, met) = (outcome.done, memory.met);
        write_back(resume, &before, &registers);
        if self.board.task_priority() != cr8 {
            let cr8 = self.board.task_priority();
            resume.set(Register::Cr8, u64::from(cr8));
        }
        if done != 0 {
            self.met |= met;
            self.iterated = true;
            self.stale = 0;
        }
        match outcome.end {
            Ok(()) => {}
            Err(ExecError::Memory(trap)) => return Err(trap),
            Err(ExecError::Unsupported) if instruction.memory().is_none() && self.may_leave() => {
                return Ok(());
            }
            Err(ExecError::Unsupported) => return Err(unsupported(rip)),
        }
        if registers.rip != rip {
            resume.skip(rip, instruction.length(), self.width());
        }
        Ok(())
    }

    /// Whether an instruction that is not the one that exited is left to the processor once more.
    pub(crate) const fn may_leave(&mut self) -> bool {
        self.stale += 1;
        self.stale <= MOST_STALE
    }
}

/// How iterations of an instruction went.
struct Iterations {
    done: u32,
    end: Result<(), ExecError<Trap>>,
}

/// Iterations until the instruction is finished, a breakpoint is met, or it is enough for one exit; a guest that steps
/// sees each.
fn iterations<P: Platform>(
    instruction: &Instruction,
    registers: &mut mmio::Registers,
    memory: &mut GuestMemory<'_, P>,
) -> Iterations {
    let rip = registers.rip;
    let most = if registers.rflags & rflags::TF == 0 {
        MOST_ITERATIONS
    } else {
        1
    };
    let mut done = 0;
    while done < most && registers.rip == rip && memory.met == 0 {
        if let Err(error) = mmio::execute(instruction, registers, memory) {
            return Iterations {
                done,
                end: Err(error),
            };
        }
        done += 1;
    }
    Iterations { done, end: Ok(()) }
}

fn write_back(resume: &mut Resume, before: &Registers, after: &mmio::Registers) {
    for (number, &value) in (0u8..).zip(&after.gpr) {
        if value != before.gpr(number) {
            resume.set_gpr(number, value);
        }
    }
    if after.rflags != before.get(Register::Rflags) {
        resume.set(Register::Rflags, after.rflags);
    }
}

/// The instruction at `rip`: through the shadow where it shows enough of it, else through mmu-server.
pub(crate) fn instruction(
    platform: &mut impl Platform,
    view: &View,
    rip: u64,
) -> Result<Instruction, Trap> {
    let size = code_size(view);
    let (bytes, count) = platform.fetch_instruction();
    let shown = bytes.get(..count).unwrap_or(&bytes);
    match insn::decode(shown, size) {
        Ok(instruction) => Ok(instruction),
        Err(DecodeError::TooShort) => walked_instruction(platform, view, rip, size),
        Err(error) => Err(undecodable(error, rip)),
    }
}

/// The instruction at `rip`, its bytes read by a walk of the guest's tables; its second page only if it has one.
fn walked_instruction(
    platform: &mut impl Platform,
    view: &View,
    rip: u64,
    size: CodeSize,
) -> Result<Instruction, Trap> {
    let gva = view.code_address(rip);
    let first = ((PAGE_SIZE - gva.page_offset()) as usize).min(MAX_LENGTH);
    let mut bytes = [0; MAX_LENGTH];
    view.fetch(platform, gva, &mut bytes[..first])?;
    match insn::decode(&bytes[..first], size) {
        Ok(instruction) => return Ok(instruction),
        Err(DecodeError::TooShort) if first < MAX_LENGTH => {}
        Err(error) => return Err(undecodable(error, rip)),
    }
    let second = gva.page().wrapping_add(PAGE_SIZE);
    view.fetch(platform, second, &mut bytes[first..])?;
    insn::decode(&bytes, size).map_err(|error| undecodable(error, rip))
}

const fn code_size(view: &View) -> CodeSize {
    match view.addressing {
        Addressing::Flat => CodeSize::Bits64,
        Addressing::Protected if view.code.is_big() => CodeSize::Bits32,
        // Big real mode may have a 32-bit code segment, too.
        Addressing::Real if view.code.is_big() => CodeSize::Bits32,
        Addressing::Protected | Addressing::Real => CodeSize::Bits16,
    }
}

const fn stack_width(view: &View, registers: &Registers) -> Width {
    match view.addressing {
        Addressing::Flat => Width::Qword,
        _ if Segment::of(Name::Ss, registers).is_big() => Width::Dword,
        _ => Width::Word,
    }
}

const fn undecodable(error: DecodeError, rip: u64) -> Trap {
    match error {
        DecodeError::Invalid => Trap::UNDEFINED,
        DecodeError::TooLong => Trap::GENERAL_PROTECTION,
        DecodeError::TooShort | DecodeError::Unsupported => unsupported(rip),
    }
}

const fn unsupported(rip: u64) -> Trap {
    Trap::stop(
        Stop::Emulation,
        rip,
        "an instruction that touches no memory cannot be emulated",
    )
}
