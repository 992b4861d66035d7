//! Names for the instructions whose intercepts leave decoding to software.
//!
//! What the processor would store in EXITINFO1 with DecodeAssists (APM vol. 2, 15.7.1, 15.8.1, 15.10.2, 15.13), from the
//! bytes.

use crate::instruction::{Instruction, Map};
use crate::operand::{Gpr, MemoryOperand, Place, Segment, Width};

/// An instruction by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// MOV to a control register (0, 2, 3, 4 or 8; LOCK MOV of CR0 is reported as CR8).
    MovToCr {
        /// Number of the control register.
        cr: u8,
        /// The operand, 64 bits in 64-bit mode, else 32.
        gpr: Gpr,
    },
    /// MOV from a control register.
    MovFromCr {
        /// Number of the control register.
        cr: u8,
        /// The destination, 64 bits in 64-bit mode, else 32.
        gpr: Gpr,
    },
    /// CLTS.
    Clts,
    /// LMSW: 16 bits whatever the operand size.
    Lmsw {
        /// The operand.
        source: Place,
    },
    /// SMSW.
    Smsw {
        /// The destination.
        destination: Place,
        /// Bytes written: the operand size in a register, 16 bits in memory.
        width: Width,
    },
    /// MOV to a debug register.
    MovToDr {
        /// Number of the debug register, 0 to 7.
        dr: u8,
        /// The operand.
        gpr: Gpr,
    },
    /// MOV from a debug register.
    MovFromDr {
        /// Number of the debug register, 0 to 7.
        dr: u8,
        /// The destination.
        gpr: Gpr,
    },
    /// INVLPG.
    Invlpg {
        /// The operand, never accessed.
        address: MemoryOperand,
    },
    /// IN, OUT, INS, OUTS.
    Io(Io),
    /// RDMSR.
    Rdmsr,
    /// WRMSR.
    Wrmsr,
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
    /// INT with a vector byte.
    Int {
        /// The vector.
        vector: u8,
    },
    /// Any other.
    Other,
}

/// Which way an I/O instruction moves data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the port.
    In,
    /// To the port.
    Out,
}

/// Port of an I/O instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// The byte in the instruction.
    Immediate(u8),
    /// DX.
    Dx,
}

/// An I/O instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Io {
    /// IN or OUT.
    pub direction: Direction,
    /// INS or OUTS.
    pub string: bool,
    /// Repeated while rCX is not 0 (strings only; F2 repeats like F3).
    pub repeat: bool,
    /// Bytes of one transfer.
    pub width: Width,
    /// The port.
    pub port: Port,
    /// Width of rCX, rSI and rDI of a string instruction.
    pub address_size: Width,
    /// Segment of the memory side of a string instruction: ES for INS, DS or an override for OUTS.
    pub segment: Segment,
}

impl Io {
    /// The instruction's part of EXITINFO1 (APM vol. 2, figure 15-2); the port number belongs in bits 31..16. Address size
    /// and segment are those DecodeAssists would store, and 0 unless it is a string instruction.
    #[must_use]
    pub const fn exit_info(&self) -> u32 {
        let info =
            matches!(self.direction, Direction::In) as u32 | (self.width.bytes() as u32) << 4;
        if !self.string {
            return info;
        }
        // 16 bits are bit 7, 32 bit 8, 64 bit 9.
        let address = (self.address_size.bytes() as u32) << 6;
        info | 1 << 2 | (self.repeat as u32) << 3 | address | (self.segment as u32) << 10
    }
}

impl Instruction {
    /// Its name, if it is one of [`Kind`]'s.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.map {
            Map::Primary => self.primary_kind(),
            Map::Secondary => self.secondary_kind(),
            Map::Escape38 | Map::Escape3A => Kind::Other,
        }
    }

    fn primary_kind(&self) -> Kind {
        match self.opcode {
            0x6c | 0x6d => Kind::Io(self.string_io(Direction::In)),
            0x6e | 0x6f => Kind::Io(self.string_io(Direction::Out)),
            0xe4 | 0xe5 => Kind::Io(self.io(Direction::In, Port::Immediate(self.immediate as u8))),
            0xe6 | 0xe7 => Kind::Io(self.io(Direction::Out, Port::Immediate(self.immediate as u8))),
            0xec | 0xed => Kind::Io(self.io(Direction::In, Port::Dx)),
            0xee | 0xef => Kind::Io(self.io(Direction::Out, Port::Dx)),
            0xcd => Kind::Int {
                vector: self.immediate as u8,
            },
            0xf4 => Kind::Hlt,
            _ => Kind::Other,
        }
    }

    fn secondary_kind(&self) -> Kind {
        let gpr = Gpr::new(self.rm());
        match self.opcode {
            0x01 => self.group_7_kind(),
            0x06 => Kind::Clts,
            0x20 => Kind::MovFromCr {
                cr: self.control_register(),
                gpr,
            },
            0x21 => Kind::MovFromDr {
                dr: self.reg(),
                gpr,
            },
            0x22 => Kind::MovToCr {
                cr: self.control_register(),
                gpr,
            },
            0x23 => Kind::MovToDr {
                dr: self.reg(),
                gpr,
            },
            0x30 => Kind::Wrmsr,
            0x32 => Kind::Rdmsr,
            0xa2 => Kind::Cpuid,
            _ => Kind::Other,
        }
    }

    fn group_7_kind(&self) -> Kind {
        let (Some(modrm), Some(place)) = (self.modrm, self.place()) else {
            return Kind::Other;
        };
        match (modrm.reg(), place) {
            (4, Place::Register(_)) => Kind::Smsw {
                destination: place,
                width: self.operand_size,
            },
            (4, Place::Memory(_)) => Kind::Smsw {
                destination: place,
                width: Width::Word,
            },
            (6, _) => Kind::Lmsw { source: place },
            (7, Place::Memory(address)) => Kind::Invlpg { address },
            _ => Kind::Other,
        }
    }

    /// The decoder accepts LOCK before MOV of CR0 only.
    fn control_register(&self) -> u8 {
        if self.prefixes.lock { 8 } else { self.reg() }
    }

    fn io(&self, direction: Direction, port: Port) -> Io {
        Io {
            direction,
            string: false,
            repeat: false,
            width: match (self.opcode & 1, self.operand_size) {
                (0, _) => Width::Byte,
                (_, Width::Word) => Width::Word,
                // REX.W changes nothing: no port is wider than 32 bits.
                _ => Width::Dword,
            },
            port,
            address_size: self.address_size,
            segment: Segment::Ds,
        }
    }

    fn string_io(&self, direction: Direction) -> Io {
        Io {
            string: true,
            repeat: self.prefixes.repeat.is_some(),
            segment: match direction {
                Direction::In => Segment::Es,
                Direction::Out => self.segment_or(Segment::Ds),
            },
            ..self.io(direction, Port::Dx)
        }
    }
}
