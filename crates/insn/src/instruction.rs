//! A decoded instruction: its fields, and the operands they stand for.
//!
//! Always: only [`decode`](crate::decode) makes an [`Instruction`], so its fields fit together (an SIB byte only after a
//! ModRM byte that asks for one, a length from 1 to 15).

use crate::operand::{CodeSize, Gpr, MemoryOperand, Place, Segment, Width};

/// Which of F2 and F3 stands before the opcode (the last one, if both do).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repeat {
    /// F3: REP, REPE.
    Equal,
    /// F2: REPNE; repeats like REP where no comparison is made.
    NotEqual,
}

/// The REX prefix of 64-bit code (APM vol. 3, 1.2.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rex(pub(crate) u8);

impl Rex {
    /// 64-bit operands.
    #[must_use]
    pub const fn w(self) -> bool {
        self.0 & 8 != 0
    }

    /// 8 if the ModRM reg field names an upper register, else 0.
    pub(crate) const fn r(self) -> u8 {
        (self.0 & 4) << 1
    }

    /// The same for the SIB index field.
    const fn x(self) -> u8 {
        (self.0 & 2) << 2
    }

    /// The same for ModRM r/m, SIB base or the opcode's register.
    const fn b(self) -> u8 {
        (self.0 & 1) << 3
    }
}

/// The prefixes that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prefixes {
    /// Segment override; in 64-bit code FS or GS, the others are ignored there.
    pub segment: Option<Segment>,
    /// F2 or F3, whatever it means to the opcode.
    pub repeat: Option<Repeat>,
    /// F0.
    pub lock: bool,
    /// 66.
    pub operand_size: bool,
    /// 67.
    pub address_size: bool,
    /// The byte 40 to 4F directly before the opcode in 64-bit code.
    pub rex: Option<Rex>,
}

/// Opcode map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Map {
    /// One-byte opcodes.
    Primary,
    /// Opcodes after 0F.
    Secondary,
    /// Opcodes after 0F 38.
    Escape38,
    /// Opcodes after 0F 3A.
    Escape3A,
}

/// The ModRM byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModRm(pub(crate) u8);

impl ModRm {
    /// The mod field: 3 for a register operand.
    #[must_use]
    pub const fn mode(self) -> u8 {
        self.0 >> 6
    }

    /// The reg field without its REX bit: a register or a part of the opcode.
    #[must_use]
    pub const fn reg(self) -> u8 {
        self.0 >> 3 & 7
    }

    /// The r/m field without its REX bit.
    #[must_use]
    pub const fn rm(self) -> u8 {
        self.0 & 7
    }

    /// Whether the r/m field names a register.
    #[must_use]
    pub const fn is_register(self) -> bool {
        self.mode() == 3
    }
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    pub(crate) code_size: CodeSize,
    pub(crate) prefixes: Prefixes,
    pub(crate) map: Map,
    pub(crate) opcode: u8,
    pub(crate) modrm: Option<ModRm>,
    pub(crate) sib: Option<u8>,
    pub(crate) displacement: i64,
    pub(crate) immediate: u64,
    pub(crate) immediate_bytes: u8,
    pub(crate) operand_size: Width,
    pub(crate) address_size: Width,
    pub(crate) length: u8,
}

impl Instruction {
    /// Length in bytes, prefixes included.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// The code segment size it was decoded for.
    #[must_use]
    pub const fn code_size(&self) -> CodeSize {
        self.code_size
    }

    /// Its prefixes.
    #[must_use]
    pub const fn prefixes(&self) -> Prefixes {
        self.prefixes
    }

    /// The opcode map.
    #[must_use]
    pub const fn map(&self) -> Map {
        self.map
    }

    /// The opcode byte within its map.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.opcode
    }

    /// The ModRM byte.
    #[must_use]
    pub const fn modrm(&self) -> Option<ModRm> {
        self.modrm
    }

    /// The SIB byte.
    #[must_use]
    pub const fn sib(&self) -> Option<u8> {
        self.sib
    }

    /// The displacement, sign-extended; of `MOV` with an absolute offset (A0 to A3) that offset.
    #[must_use]
    pub const fn displacement(&self) -> i64 {
        self.displacement
    }

    /// All immediate bytes as one little-endian number (a far pointer's offset is below its selector).
    #[must_use]
    pub const fn immediate(&self) -> u64 {
        self.immediate
    }

    /// The immediate, sign-extended from its own size.
    #[must_use]
    pub const fn signed_immediate(&self) -> i64 {
        match self.immediate_bytes {
            0 => 0,
            bytes => {
                let unused = 64 - 8 * bytes as u32;
                (self.immediate << unused) as i64 >> unused
            }
        }
    }

    /// Operand size of 16, 32 or 64 bits, from the code segment, 66 and REX.W; opcodes with byte operands do not heed it.
    #[must_use]
    pub const fn operand_size(&self) -> Width {
        self.operand_size
    }

    /// Address size.
    #[must_use]
    pub const fn address_size(&self) -> Width {
        self.address_size
    }

    /// Address of the instruction behind this one, if this one is at `rip`.
    #[must_use]
    pub const fn next_rip(&self, rip: u64) -> u64 {
        let next = rip.wrapping_add(self.length as u64);
        match self.code_size {
            CodeSize::Bits64 => next,
            CodeSize::Bits16 | CodeSize::Bits32 => next & Width::Dword.mask(),
        }
    }

    /// The ModRM reg field with its REX bit; 0 without a ModRM byte.
    #[must_use]
    pub fn reg(&self) -> u8 {
        self.modrm.map_or(0, ModRm::reg) | self.prefixes.rex.map_or(0, Rex::r)
    }

    /// The ModRM r/m field with its REX bit; 0 without a ModRM byte.
    #[must_use]
    pub fn rm(&self) -> u8 {
        self.modrm.map_or(0, ModRm::rm) | self.prefixes.rex.map_or(0, Rex::b)
    }

    /// What the r/m field names, if there is a ModRM byte. Not for MOV of control and debug registers: they ignore mod.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let modrm = self.modrm?;
        Some(if modrm.is_register() {
            Place::Register(Gpr::new(self.rm()))
        } else {
            Place::Memory(self.modrm_memory(modrm))
        })
    }

    /// The memory operand of a ModRM byte.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryOperand> {
        match self.place()? {
            Place::Memory(operand) => Some(operand),
            Place::Register(_) => None,
        }
    }

    /// The segment of an operand that is in `default` unless a prefix says otherwise.
    pub(crate) fn segment_or(&self, default: Segment) -> Segment {
        self.prefixes.segment.unwrap_or(default)
    }

    fn modrm_memory(&self, modrm: ModRm) -> MemoryOperand {
        let form = match (self.address_size, self.sib) {
            (Width::Word, _) => Form::of_16_bits(modrm),
            (_, Some(sib)) => Form::of_sib(modrm, sib, self.prefixes.rex.unwrap_or(Rex(0))),
            (_, None) => Form::of_modrm(modrm, self.rm(), self.code_size),
        };
        // The stack registers themselves, not R12 and R13 (APM vol. 3, 1.4).
        let on_stack = matches!(form.base, Some(Gpr::RSP | Gpr::RBP));
        MemoryOperand {
            segment: self.segment_or(if on_stack { Segment::Ss } else { Segment::Ds }),
            base: form.base,
            index: form.index,
            scale: form.scale,
            displacement: self.displacement,
            rip_relative: form.rip_relative,
            address_size: self.address_size,
        }
    }
}

/// The registers of an addressing form.
struct Form {
    base: Option<Gpr>,
    index: Option<Gpr>,
    scale: u8,
    rip_relative: bool,
}

impl Form {
    const fn of(base: Option<Gpr>, index: Option<Gpr>) -> Self {
        Self {
            base,
            index,
            scale: 1,
            rip_relative: false,
        }
    }

    /// APM vol. 3, table A-33: 16-bit addressing.
    const fn of_16_bits(modrm: ModRm) -> Self {
        match modrm.rm() {
            0 => Self::of(Some(Gpr::RBX), Some(Gpr::RSI)),
            1 => Self::of(Some(Gpr::RBX), Some(Gpr::RDI)),
            2 => Self::of(Some(Gpr::RBP), Some(Gpr::RSI)),
            3 => Self::of(Some(Gpr::RBP), Some(Gpr::RDI)),
            4 => Self::of(Some(Gpr::RSI), None),
            5 => Self::of(Some(Gpr::RDI), None),
            6 if modrm.mode() == 0 => Self::of(None, None),
            6 => Self::of(Some(Gpr::RBP), None),
            _ => Self::of(Some(Gpr::RBX), None),
        }
    }

    /// ModRM without SIB; mod 0 with r/m 5 is a bare displacement, from RIP in 64-bit mode (APM vol. 3, 1.7).
    fn of_modrm(modrm: ModRm, rm: u8, code_size: CodeSize) -> Self {
        if modrm.mode() == 0 && modrm.rm() == 5 {
            Self {
                rip_relative: code_size == CodeSize::Bits64,
                ..Self::of(None, None)
            }
        } else {
            Self::of(Some(Gpr::new(rm)), None)
        }
    }

    /// SIB; index 4 is none (REX.X makes it R12), base 5 with mod 0 is none whatever REX.B says.
    const fn of_sib(modrm: ModRm, sib: u8, rex: Rex) -> Self {
        let index = sib >> 3 & 7 | rex.x();
        let base = sib & 7;
        Self {
            base: if modrm.mode() == 0 && base == 5 {
                None
            } else {
                Some(Gpr::new(base | rex.b()))
            },
            index: if index == 4 {
                None
            } else {
                Some(Gpr::new(index))
            },
            scale: 1 << (sib >> 6),
            rip_relative: false,
        }
    }
}
