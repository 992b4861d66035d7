//! From an [`Instruction`] to what it does.
//!
//! Always: holding an [`Operation`], only memory can refuse. It is not asked whether an operand is memory: the
//! same encodings with registers work too.

use super::alu::{Binary, BitAction, Unary};
use crate::instruction::{Instruction, Map, Repeat};
use crate::operand::{CodeSize, Gpr, MemoryOperand, Place, Segment, Width};

/// A general-purpose register, or bits 15 to 8 of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterOperand {
    /// The register.
    pub gpr: Gpr,
    /// AH, CH, DH or BH.
    pub high: bool,
}

impl RegisterOperand {
    const ACCUMULATOR: Operand = Operand::Register(Self {
        gpr: Gpr::RAX,
        high: false,
    });

    /// Numbers 4 to 7 of byte registers mean AH to BH unless there is a REX prefix (APM vol. 1, 3.1.1).
    fn new(instruction: &Instruction, number: u8, width: Width) -> Self {
        let high =
            width == Width::Byte && instruction.prefixes().rex.is_none() && matches!(number, 4..=7);
        Self {
            gpr: Gpr::new(if high { number - 4 } else { number }),
            high,
        }
    }
}

/// An operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A register.
    Register(RegisterOperand),
    /// Memory.
    Memory(MemoryOperand),
    /// A constant, sign-extended to 64 bits.
    Immediate(u64),
}

/// What a string instruction does in one iteration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StringAction {
    /// MOVS: `[rDI] = [rSI]`.
    Move,
    /// CMPS: flags of `[rSI] - [rDI]`.
    Compare,
    /// STOS: `[rDI] = rAX`.
    Store,
    /// LODS: `rAX = [rSI]`.
    Load,
    /// SCAS: flags of `rAX - [rDI]`.
    Scan,
}

/// A string instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StringOperation {
    /// What is done.
    pub action: StringAction,
    /// Bytes of one element.
    pub width: Width,
    /// Width of rSI, rDI and rCX.
    pub address_size: Width,
    /// Segment of `[rSI]`; that of `[rDI]` is ES.
    pub source: Segment,
    /// Whether and how it is repeated.
    pub repeat: Option<Repeat>,
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the fields are operands and widths
pub enum Operation {
    /// MOV, MOVNTI.
    Move {
        to: Operand,
        from: Operand,
        width: Width,
    },
    /// MOVZX, MOVSX, MOVSXD.
    Extend {
        to: Operand,
        width: Width,
        from: Operand,
        from_width: Width,
        signed: bool,
    },
    /// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST.
    Binary {
        action: Binary,
        to: Operand,
        from: Operand,
        width: Width,
    },
    /// INC, DEC, NOT, NEG.
    Unary {
        action: Unary,
        at: Operand,
        width: Width,
    },
    /// XCHG.
    Exchange {
        at: Operand,
        with: Operand,
        width: Width,
    },
    /// XADD.
    ExchangeAdd {
        at: Operand,
        with: Operand,
        width: Width,
    },
    /// CMPXCHG.
    CompareExchange {
        at: Operand,
        with: Operand,
        width: Width,
    },
    /// BT, BTS, BTR, BTC.
    Bit {
        action: BitAction,
        at: Operand,
        index: Operand,
        width: Width,
    },
    /// PUSH.
    Push { from: Operand, width: Width },
    /// POP.
    Pop { to: Operand, width: Width },
    /// MOVS, CMPS, STOS, LODS, SCAS.
    String(StringOperation),
}

impl Operation {
    /// What `instruction` does, if it is one of these.
    #[must_use]
    pub fn decode(instruction: &Instruction) -> Option<Self> {
        match instruction.map() {
            Map::Primary => primary(instruction),
            Map::Secondary => secondary(instruction),
            Map::Escape38 | Map::Escape3A => None,
        }
    }
}

fn primary(instruction: &Instruction) -> Option<Operation> {
    let width = opcode_width(instruction);
    let opcode = instruction.opcode();
    Some(match opcode {
        0x00..=0x3f => return arithmetic(instruction),
        0x63 if instruction.code_size() == CodeSize::Bits64 => {
            extend(instruction, true, movsxd_source(instruction))?
        }
        0x80..=0x83 => Operation::Binary {
            action: Binary::from_number(instruction.modrm()?.reg()),
            to: rm(instruction, width)?,
            from: immediate(instruction),
            width,
        },
        0x84 | 0x85 => Operation::Binary {
            action: Binary::Test,
            to: rm(instruction, width)?,
            from: reg(instruction, width),
            width,
        },
        0x86 | 0x87 => Operation::Exchange {
            at: rm(instruction, width)?,
            with: reg(instruction, width),
            width,
        },
        0x88 | 0x89 => Operation::Move {
            to: rm(instruction, width)?,
            from: reg(instruction, width),
            width,
        },
        0x8a | 0x8b => Operation::Move {
            to: reg(instruction, width),
            from: rm(instruction, width)?,
            width,
        },
        0x8f => Operation::Pop {
            to: rm(instruction, instruction.operand_size())?,
            width: instruction.operand_size(),
        },
        0xa0 | 0xa1 => Operation::Move {
            to: RegisterOperand::ACCUMULATOR,
            from: absolute(instruction),
            width,
        },
        0xa2 | 0xa3 => Operation::Move {
            to: absolute(instruction),
            from: RegisterOperand::ACCUMULATOR,
            width,
        },
        0xa4 | 0xa5 => string(instruction, StringAction::Move),
        0xa6 | 0xa7 => string(instruction, StringAction::Compare),
        0xaa | 0xab => string(instruction, StringAction::Store),
        0xac | 0xad => string(instruction, StringAction::Load),
        0xae | 0xaf => string(instruction, StringAction::Scan),
        0xc6 | 0xc7 if instruction.modrm()?.reg() == 0 => Operation::Move {
            to: rm(instruction, width)?,
            from: immediate(instruction),
            width,
        },
        0xf6 | 0xf7 => return group_3(instruction),
        0xfe | 0xff => return group_5(instruction),
        _ => return None,
    })
}

/// Opcodes 00 to 3F: two bits of form below three of operation. The forms with the accumulator have no memory operand.
fn arithmetic(instruction: &Instruction) -> Option<Operation> {
    let width = opcode_width(instruction);
    let action = Binary::from_number(instruction.opcode() >> 3);
    let (place, register) = (rm(instruction, width)?, reg(instruction, width));
    Some(match instruction.opcode() & 6 {
        0 => Operation::Binary {
            action,
            to: place,
            from: register,
            width,
        },
        2 => Operation::Binary {
            action,
            to: register,
            from: place,
            width,
        },
        _ => return None,
    })
}

fn group_3(instruction: &Instruction) -> Option<Operation> {
    let width = opcode_width(instruction);
    let at = rm(instruction, width)?;
    Some(match instruction.modrm()?.reg() {
        0 | 1 => Operation::Binary {
            action: Binary::Test,
            to: at,
            from: immediate(instruction),
            width,
        },
        2 => Operation::Unary {
            action: Unary::Not,
            at,
            width,
        },
        3 => Operation::Unary {
            action: Unary::Neg,
            at,
            width,
        },
        _ => return None,
    })
}

fn group_5(instruction: &Instruction) -> Option<Operation> {
    let width = opcode_width(instruction);
    let at = rm(instruction, width)?;
    Some(match instruction.modrm()?.reg() {
        0 => Operation::Unary {
            action: Unary::Inc,
            at,
            width,
        },
        1 => Operation::Unary {
            action: Unary::Dec,
            at,
            width,
        },
        6 => Operation::Push { from: at, width },
        _ => return None,
    })
}

fn secondary(instruction: &Instruction) -> Option<Operation> {
    let width = instruction.operand_size();
    Some(match instruction.opcode() {
        0xa3 | 0xab | 0xb3 | 0xbb => bit(
            instruction,
            instruction.opcode() >> 3,
            rm(instruction, width)?,
            reg(instruction, width),
        ),
        0xba => bit(
            instruction,
            instruction.modrm()?.reg(),
            rm(instruction, width)?,
            immediate(instruction),
        ),
        0xb0 | 0xb1 => {
            let width = opcode_width(instruction);
            Operation::CompareExchange {
                at: rm(instruction, width)?,
                with: reg(instruction, width),
                width,
            }
        }
        0xb6 | 0xbe => extend(instruction, instruction.opcode() == 0xbe, Width::Byte)?,
        0xb7 | 0xbf => extend(instruction, instruction.opcode() == 0xbf, Width::Word)?,
        0xc0 | 0xc1 => {
            let width = opcode_width(instruction);
            Operation::ExchangeAdd {
                at: rm(instruction, width)?,
                with: reg(instruction, width),
                width,
            }
        }
        0xc3 => return non_temporal_move(instruction),
        _ => return None,
    })
}

/// MOVNTI: to memory only, 32 bits whatever the code segment says, and another instruction with 66, F2 or F3.
fn non_temporal_move(instruction: &Instruction) -> Option<Operation> {
    let prefixes = instruction.prefixes();
    if prefixes.operand_size || prefixes.repeat.is_some() {
        return None;
    }
    let width = instruction.operand_size().max(Width::Dword);
    let to = Operand::Memory(instruction.memory()?);
    Some(Operation::Move {
        to,
        from: reg(instruction, width),
        width,
    })
}

/// Of most opcodes bit 0 tells byte operands from the operand size.
fn opcode_width(instruction: &Instruction) -> Width {
    if instruction.opcode() & 1 == 0 {
        Width::Byte
    } else {
        instruction.operand_size()
    }
}

/// MOVSXD extends 32 bits; with 16-bit operands there is nothing to extend.
fn movsxd_source(instruction: &Instruction) -> Width {
    instruction.operand_size().min(Width::Dword)
}

fn rm(instruction: &Instruction, width: Width) -> Option<Operand> {
    Some(match instruction.place()? {
        Place::Memory(operand) => Operand::Memory(operand),
        Place::Register(gpr) => {
            Operand::Register(RegisterOperand::new(instruction, gpr.number(), width))
        }
    })
}

fn reg(instruction: &Instruction, width: Width) -> Operand {
    Operand::Register(RegisterOperand::new(instruction, instruction.reg(), width))
}

fn immediate(instruction: &Instruction) -> Operand {
    Operand::Immediate(instruction.signed_immediate() as u64)
}

/// The memory operand of A0 to A3.
fn absolute(instruction: &Instruction) -> Operand {
    Operand::Memory(MemoryOperand {
        segment: instruction.segment_or(Segment::Ds),
        base: None,
        index: None,
        scale: 1,
        displacement: instruction.displacement(),
        rip_relative: false,
        address_size: instruction.address_size(),
    })
}

fn extend(instruction: &Instruction, signed: bool, from_width: Width) -> Option<Operation> {
    let width = instruction.operand_size();
    Some(Operation::Extend {
        to: reg(instruction, width),
        width,
        from: rm(instruction, from_width)?,
        from_width,
        signed,
    })
}

/// BT, BTS, BTR, BTC have numbers 4 to 7.
fn bit(instruction: &Instruction, number: u8, at: Operand, index: Operand) -> Operation {
    let action = match number & 3 {
        0 => BitAction::Keep,
        1 => BitAction::Set,
        2 => BitAction::Reset,
        _ => BitAction::Complement,
    };
    Operation::Bit {
        action,
        at,
        index,
        width: instruction.operand_size(),
    }
}

fn string(instruction: &Instruction, action: StringAction) -> Operation {
    Operation::String(StringOperation {
        action,
        width: opcode_width(instruction),
        address_size: instruction.address_size(),
        source: instruction.segment_or(Segment::Ds),
        repeat: instruction.prefixes().repeat,
    })
}
