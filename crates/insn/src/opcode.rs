//! What each opcode is followed by, and which opcodes do not exist.
//!
//! APM vol. 3, appendix A, as sets of opcodes: 32 bytes each. Matches over so many ranges would become jump tables of
//! kilobytes.

use crate::decode::DecodeError;
use crate::instruction::{Map, ModRm, Prefixes, Repeat, Rex};
use crate::operand::{CodeSize, Width};

/// A set of opcodes of one map.
struct Opcodes([u64; 4]);

impl Opcodes {
    /// All opcodes from the first to the last of each range.
    const fn of(ranges: &[(u8, u8)]) -> Self {
        let mut words = [0; 4];
        let mut at = 0;
        while at < ranges.len() {
            let (mut opcode, last) = (ranges[at].0 as usize, ranges[at].1 as usize);
            while opcode <= last {
                words[opcode / 64] |= 1 << (opcode % 64);
                opcode += 1;
            }
            at += 1;
        }
        Self(words)
    }

    const fn contains(&self, opcode: u8) -> bool {
        self.0[(opcode >> 6) as usize] >> (opcode & 63) & 1 != 0
    }
}

/// A [`Opcodes`] written like a pattern, built when compiling.
macro_rules! opcodes {
    ($($first:literal $(..= $last:literal)?),* $(,)?) => {{
        static SET: Opcodes = Opcodes::of(&[$(opcodes!(@range $first $($last)?)),*]);
        &SET
    }};
    (@range $first:literal) => { ($first, $first) };
    (@range $first:literal $last:literal) => { ($first, $last) };
}

/// Immediate bytes after the operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Immediate {
    /// None.
    Nothing,
    /// A fixed number of bytes.
    Bytes(u8),
    /// Operand size, but no more than 4 bytes.
    Operand,
    /// Operand size, 8 bytes too: MOV to a register.
    FullOperand,
    /// A far pointer: offset of operand size, selector.
    FarPointer,
    /// Not an immediate but an absolute offset of address size.
    AbsoluteOffset,
}

/// An opcode with the circumstances that change its meaning.
#[derive(Clone, Copy)]
pub(crate) struct Opcode {
    pub map: Map,
    pub byte: u8,
    pub code_size: CodeSize,
    pub prefixes: Prefixes,
}

impl Opcode {
    /// Whether a ModRM byte follows, or an error if there is no such opcode.
    pub(crate) fn has_modrm(self) -> Result<bool, DecodeError> {
        match self.map {
            Map::Primary => self.primary_has_modrm(),
            Map::Secondary => self.secondary_has_modrm(),
            Map::Escape38 | Map::Escape3A => Ok(true),
        }
    }

    fn primary_has_modrm(self) -> Result<bool, DecodeError> {
        // PUSH and POP of segments, DAA and its kind, PUSHA, POPA, far CALL and JMP, INTO, AAM, AAD, SALC and the second
        // encoding of 80 are gone in 64-bit mode.
        let gone = opcodes![
            0x06,
            0x07,
            0x0e,
            0x16,
            0x17,
            0x1e,
            0x1f,
            0x27,
            0x2f,
            0x37,
            0x3f,
            0x60,
            0x61,
            0x82,
            0x9a,
            0xce,
            0xd4..=0xd6,
            0xea,
        ];
        if self.code_size == CodeSize::Bits64 && gone.contains(self.byte) {
            return Err(DecodeError::Invalid);
        }
        let with_modrm = opcodes![
            0x00..=0x03,
            0x08..=0x0b,
            0x10..=0x13,
            0x18..=0x1b,
            0x20..=0x23,
            0x28..=0x2b,
            0x30..=0x33,
            0x38..=0x3b,
            0x62,
            0x63,
            0x69,
            0x6b,
            0x80..=0x8f,
            0xc0,
            0xc1,
            0xc4..=0xc7,
            0xd0..=0xd3,
            0xd8..=0xdf,
            0xf6,
            0xf7,
            0xfe,
            0xff,
        ];
        Ok(with_modrm.contains(self.byte))
    }

    fn secondary_has_modrm(self) -> Result<bool, DecodeError> {
        let undefined = opcodes![
            0x04,
            0x0a,
            0x0c,
            0x24..=0x27,
            0x36,
            0x39,
            0x3b..=0x3f,
            0x7a,
            0x7b,
            0xa6,
            0xa7,
        ];
        // F3 makes B8 POPCNT; without, it belonged to Itanium.
        let jmpe = self.byte == 0xb8 && self.prefixes.repeat != Some(Repeat::Equal);
        if undefined.contains(self.byte) || jmpe {
            return Err(DecodeError::Invalid);
        }
        if self.byte == 0x0f {
            return Err(DecodeError::Unsupported);
        }
        // FF among them: UD0 has no operands on AMD processors.
        let without_modrm = opcodes![
            0x05..=0x0b,
            0x0e,
            0x30..=0x37,
            0x77,
            0x80..=0x8f,
            0xa0..=0xa2,
            0xa8..=0xaa,
            0xc8..=0xcf,
            0xff,
        ];
        Ok(!without_modrm.contains(self.byte))
    }

    /// MOV to and from control and debug registers treats mod as 3 whatever it is.
    pub(crate) const fn ignores_mod(self) -> bool {
        matches!(self.map, Map::Secondary) && matches!(self.byte, 0x20..=0x23)
    }

    /// The immediate that follows. `reg` is the ModRM reg field, 0 if there is none.
    pub(crate) fn immediate(self, reg: u8) -> Immediate {
        match self.map {
            Map::Primary => primary_immediate(self.byte, reg),
            Map::Secondary => self.secondary_immediate(),
            Map::Escape38 => Immediate::Nothing,
            Map::Escape3A => Immediate::Bytes(1),
        }
    }

    fn secondary_immediate(self) -> Immediate {
        let repeat_not_equal = self.prefixes.repeat == Some(Repeat::NotEqual);
        if opcodes![0x70..=0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4..=0xc6].contains(self.byte) {
            Immediate::Bytes(1)
        } else if opcodes![0x80..=0x8f].contains(self.byte) {
            Immediate::Operand
        } else if self.byte == 0x78 && (self.prefixes.operand_size || repeat_not_equal) {
            // EXTRQ and INSERTQ of SSE4a; VMREAD without prefix has none.
            Immediate::Bytes(2)
        } else {
            Immediate::Nothing
        }
    }

    /// Operand size (APM vol. 3, 1.2.2 and appendix B).
    pub(crate) fn operand_size(self, reg: u8) -> Width {
        let wide = self.prefixes.rex.is_some_and(Rex::w);
        let narrow = self.prefixes.operand_size;
        match self.code_size {
            _ if self.ignores_mod() => match self.code_size {
                CodeSize::Bits64 => Width::Qword,
                CodeSize::Bits16 | CodeSize::Bits32 => Width::Dword,
            },
            CodeSize::Bits64 if wide => Width::Qword,
            CodeSize::Bits64 if narrow => Width::Word,
            CodeSize::Bits64 if self.is_wide_by_default(reg) => Width::Qword,
            CodeSize::Bits64 => Width::Dword,
            CodeSize::Bits32 => {
                if narrow {
                    Width::Word
                } else {
                    Width::Dword
                }
            }
            CodeSize::Bits16 => {
                if narrow {
                    Width::Dword
                } else {
                    Width::Word
                }
            }
        }
    }

    /// Near branches and stack instructions have 64-bit operands in 64-bit mode (APM vol. 3, appendix B.3).
    fn is_wide_by_default(self, reg: u8) -> bool {
        let primary = opcodes![
            0x50..=0x5f,
            0x68,
            0x6a,
            0x70..=0x7f,
            0x8f,
            0x9c,
            0x9d,
            0xc2,
            0xc3,
            0xc8,
            0xc9,
            0xe0..=0xe3,
            0xe8,
            0xe9,
            0xeb,
        ];
        match self.map {
            Map::Primary if self.byte == 0xff => matches!(reg, 2 | 4 | 6),
            Map::Primary => primary.contains(self.byte),
            Map::Secondary => opcodes![0x80..=0x8f, 0xa0, 0xa1, 0xa8, 0xa9].contains(self.byte),
            Map::Escape38 | Map::Escape3A => false,
        }
    }

    /// The ModRM reg field with its REX bit.
    fn register(self, modrm: ModRm) -> u8 {
        modrm.reg() | self.prefixes.rex.map_or(0, Rex::r)
    }

    /// Whether the ModRM byte completes a defined instruction.
    pub(crate) fn accepts(self, modrm: ModRm) -> bool {
        let reg = modrm.reg();
        let register = modrm.is_register();
        match (self.map, self.byte) {
            (Map::Primary, 0x8c) => reg < 6,
            (Map::Primary, 0x8d) => !register,
            // CS cannot be loaded.
            (Map::Primary, 0x8e) => reg < 6 && reg != 1,
            (Map::Primary, 0x8f) => reg == 0,
            // F8 is XABORT or XBEGIN.
            (Map::Primary, 0xc6 | 0xc7) => reg == 0 || modrm.0 == 0xf8,
            (Map::Primary, 0xfe) => reg < 2,
            // Far CALL and JMP take their pointer from memory.
            (Map::Primary, 0xff) => reg < 7 && !(register && matches!(reg, 3 | 5)),
            // F2 makes number 6 LKGS.
            (Map::Secondary, 0x00) => {
                reg < 6 || reg == 6 && self.prefixes.repeat == Some(Repeat::NotEqual)
            }
            (Map::Secondary, 0x20 | 0x22) => matches!(self.register(modrm), 0 | 2 | 3 | 4 | 8),
            // DR8 to DR15 raise #UD.
            (Map::Secondary, 0x21 | 0x23) => self.register(modrm) < 8,
            (Map::Secondary, 0xba) => reg >= 4,
            _ => true,
        }
    }

    /// Whether LOCK may stand before it (APM vol. 3, 1.2.5); else it raises #UD.
    pub(crate) fn accepts_lock(self, modrm: Option<ModRm>) -> bool {
        let Some(modrm) = modrm else { return false };
        let reg = modrm.reg();
        // CR0 with LOCK is CR8 (AltMovCr8, APM vol. 3, MOV CRn).
        if self.map == Map::Secondary && matches!(self.byte, 0x20 | 0x22) {
            return reg == 0;
        }
        let lockable = match (self.map, self.byte) {
            // The arithmetic with a memory destination, but for CMP.
            (Map::Primary, byte @ 0x00..=0x37) => byte & 6 == 0,
            (Map::Primary, 0x80..=0x83) => reg != 7,
            (Map::Primary, 0x86 | 0x87) => true,
            (Map::Primary, 0xf6 | 0xf7) => matches!(reg, 2 | 3),
            (Map::Primary, 0xfe | 0xff) => reg < 2,
            (Map::Secondary, 0xab | 0xb0 | 0xb1 | 0xb3 | 0xbb | 0xc0 | 0xc1) => true,
            (Map::Secondary, 0xba) => reg > 4,
            (Map::Secondary, 0xc7) => reg == 1,
            _ => false,
        };
        lockable && !modrm.is_register()
    }
}

fn primary_immediate(byte: u8, reg: u8) -> Immediate {
    let one = opcodes![
        0x04,
        0x0c,
        0x14,
        0x1c,
        0x24,
        0x2c,
        0x34,
        0x3c,
        0x6a,
        0x6b,
        0x70..=0x80,
        0x82,
        0x83,
        0xa8,
        0xb0..=0xb7,
        0xc0,
        0xc1,
        0xc6,
        0xcd,
        0xd4,
        0xd5,
        0xe0..=0xe7,
        0xeb,
    ];
    let operand = opcodes![
        0x05, 0x0d, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x68, 0x69, 0x81, 0xa9, 0xc7, 0xe8, 0xe9,
    ];
    // Of groups F6 and F7 only TEST has an immediate.
    if one.contains(byte) || byte == 0xf6 && reg < 2 {
        Immediate::Bytes(1)
    } else if operand.contains(byte) || byte == 0xf7 && reg < 2 {
        Immediate::Operand
    } else if opcodes![0xa0..=0xa3].contains(byte) {
        Immediate::AbsoluteOffset
    } else if opcodes![0xb8..=0xbf].contains(byte) {
        Immediate::FullOperand
    } else if opcodes![0x9a, 0xea].contains(byte) {
        Immediate::FarPointer
    } else if opcodes![0xc2, 0xca].contains(byte) {
        Immediate::Bytes(2)
    } else if byte == 0xc8 {
        Immediate::Bytes(3)
    } else {
        Immediate::Nothing
    }
}
