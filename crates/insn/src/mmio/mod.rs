//! Emulation of instructions that touch device memory.
//!
//! [`execute`] performs one instruction with registers and a [`Memory`] given by the caller; of a repeated string
//! instruction it performs one iteration. Always: when it returns an error no register has changed, so the same
//! instruction can be tried again (what memory it read or wrote before the error stays read or written).
//!
//! Left to others: segment bases and limits, privilege, alignment checks, the single-step trap of RFLAGS.TF.

mod alu;
mod operation;
mod perform;

pub use alu::{Binary, BitAction, Unary};
pub use operation::{Operand, Operation, RegisterOperand, StringAction, StringOperation};

use crate::instruction::Instruction;
use crate::operand::{Gpr, Segment, Width};

/// Flag bits of RFLAGS that instructions set (APM vol. 1, 3.1.4).
pub mod flags {
    /// Carry.
    pub const CF: u64 = 1;
    /// Parity of the low byte.
    pub const PF: u64 = 1 << 2;
    /// Carry out of bit 3.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// String instructions go down.
    pub const DF: u64 = 1 << 10;
    /// Signed overflow.
    pub const OF: u64 = 1 << 11;
    /// Resume: cleared when an instruction is done.
    pub const RF: u64 = 1 << 16;
    /// The six flags of arithmetic.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}

/// What an instruction reads and writes.
pub trait Memory {
    /// Why an access could not be made.
    type Error;

    /// The `width` bytes at `offset` in `segment`; bits above `width` are ignored.
    ///
    /// # Errors
    /// The access could not be made: the instruction has not happened.
    fn read(&mut self, segment: Segment, offset: u64, width: Width) -> Result<u64, Self::Error>;

    /// Writes the low `width` bytes of `value`; its upper bits are 0.
    ///
    /// # Errors
    /// The access could not be made: the instruction has not happened.
    fn write(
        &mut self,
        segment: Segment,
        offset: u64,
        width: Width,
        value: u64,
    ) -> Result<(), Self::Error>;
}

/// The registers an instruction works with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers {
    /// The general-purpose registers by number.
    pub gpr: [u64; 16],
    /// RFLAGS.
    pub rflags: u64,
    /// Address of the instruction, in its code segment.
    pub rip: u64,
    /// Width of the stack pointer: 8 bytes in 64-bit mode, else 4 or 2 by SS.B.
    pub stack: Width,
}

impl Registers {
    /// All 64 bits of a register.
    #[must_use]
    pub const fn get(&self, gpr: Gpr) -> u64 {
        // A Gpr is below 16; the mask shows it to the compiler.
        self.gpr[(gpr.number() & 15) as usize]
    }

    /// The low `width` of a register.
    #[must_use]
    pub const fn read(&self, gpr: Gpr, width: Width) -> u64 {
        self.get(gpr) & width.mask()
    }

    /// Writes the low `width` of a register: 32 bits clear the upper half, 16 and 8 bits leave the rest (APM vol. 1,
    /// 3.1.2).
    pub const fn write(&mut self, gpr: Gpr, width: Width, value: u64) {
        let kept = match width {
            Width::Byte | Width::Word => self.get(gpr) & !width.mask(),
            Width::Dword | Width::Qword => 0,
        };
        self.gpr[(gpr.number() & 15) as usize] = kept | value & width.mask();
    }
}

/// Why an instruction was not performed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecError<E> {
    /// The memory refused an access.
    Memory(E),
    /// Not one of [`Operation`]'s.
    Unsupported,
}

/// Performs `instruction` and moves RIP behind it; RIP stays when a repeated string instruction is not finished.
///
/// # Errors
/// See [`ExecError`]; `registers` are then as before.
pub fn execute<M: Memory>(
    instruction: &Instruction,
    registers: &mut Registers,
    memory: &mut M,
) -> Result<(), ExecError<M::Error>> {
    let operation = Operation::decode(instruction).ok_or(ExecError::Unsupported)?;
    let mut after = *registers;
    perform::Machine {
        instruction,
        registers: &mut after,
        memory,
    }
    .perform(operation)
    .map_err(ExecError::Memory)?;
    *registers = after;
    Ok(())
}
