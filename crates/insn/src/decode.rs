//! From bytes to an [`Instruction`].
//!
//! Always: never looks behind the instruction's last byte, and reports [`DecodeError::TooShort`] only if the answer
//! depends on bytes that were not given.

use crate::instruction::{Instruction, Map, ModRm, Prefixes, Repeat, Rex};
use crate::opcode::{Immediate, Opcode};
use crate::operand::{CodeSize, Segment, Width};

/// No instruction is longer (APM vol. 3, 1.1); a longer one raises #GP.
pub const MAX_LENGTH: usize = 15;

/// Why there is no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end before the instruction does: try again with more.
    TooShort,
    /// It is longer than [`MAX_LENGTH`].
    TooLong,
    /// The encoding is undefined and raises #UD.
    Invalid,
    /// VEX, EVEX, XOP or 3DNow!, which this decoder does not know.
    Unsupported,
}

/// Takes the first instruction of `bytes` apart.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8], code_size: CodeSize) -> Result<Instruction, DecodeError> {
    let mut cursor = Cursor { bytes, at: 0 };
    let (prefixes, first) = read_prefixes(&mut cursor, code_size)?;
    let (map, byte) = read_opcode(&mut cursor, first)?;
    let opcode = Opcode {
        map,
        byte,
        code_size,
        prefixes,
    };
    refuse_vector_prefix(&cursor, opcode)?;
    let modrm = if opcode.has_modrm()? {
        Some(ModRm(cursor.byte()?))
    } else {
        None
    };
    if !modrm.is_none_or(|modrm| opcode.accepts(modrm))
        || prefixes.lock && !opcode.accepts_lock(modrm)
    {
        return Err(DecodeError::Invalid);
    }
    let reg = modrm.map_or(0, ModRm::reg);
    let operand_size = opcode.operand_size(reg);
    let address_size = address_size(code_size, prefixes);
    let (sib, displacement) = match modrm {
        Some(modrm) if !opcode.ignores_mod() => read_address(&mut cursor, modrm, address_size)?,
        _ => (None, 0),
    };
    let mut instruction = Instruction {
        code_size,
        prefixes,
        map,
        opcode: byte,
        modrm,
        sib,
        displacement,
        immediate: 0,
        immediate_bytes: 0,
        operand_size,
        address_size,
        length: 0,
    };
    read_immediate(&mut cursor, opcode.immediate(reg), &mut instruction)?;
    // At most MAX_LENGTH: the cursor goes no further.
    instruction.length = cursor.at as u8;
    Ok(instruction)
}

/// The bytes and how many of them are used.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Result<u8, DecodeError> {
        if self.at >= MAX_LENGTH {
            return Err(DecodeError::TooLong);
        }
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(DecodeError::TooShort)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    /// `count` bytes, at most 8, as a little-endian number.
    fn number(&mut self, count: u8) -> Result<u64, DecodeError> {
        let mut value = 0;
        for place in 0..count {
            value |= u64::from(self.byte()?) << (8 * place);
        }
        Ok(value)
    }

    fn signed(&mut self, width: Width) -> Result<i64, DecodeError> {
        Ok(width.sign_extend(self.number(width.bytes())?) as i64)
    }
}

/// The prefixes, and the byte behind them.
fn read_prefixes(
    cursor: &mut Cursor<'_>,
    code_size: CodeSize,
) -> Result<(Prefixes, u8), DecodeError> {
    let long = code_size == CodeSize::Bits64;
    let mut prefixes = Prefixes::default();
    loop {
        let byte = cursor.byte()?;
        // A REX prefix counts only directly before the opcode.
        let rex = prefixes.rex.take();
        if let Some(segment) = segment_of(byte) {
            // Null prefixes in 64-bit mode (APM vol. 3, 1.2.4): they do not even undo FS or GS.
            if !long || matches!(segment, Segment::Fs | Segment::Gs) {
                prefixes.segment = Some(segment);
            }
        } else if long && byte & 0xf0 == 0x40 {
            prefixes.rex = Some(Rex(byte));
        } else if byte & 0xfe == 0x66 {
            prefixes.operand_size |= byte == 0x66;
            prefixes.address_size |= byte == 0x67;
        } else if byte & 0xfe == 0xf2 {
            prefixes.repeat = Some(if byte == 0xf2 {
                Repeat::NotEqual
            } else {
                Repeat::Equal
            });
        } else if byte == 0xf0 {
            prefixes.lock = true;
        } else {
            prefixes.rex = rex;
            return Ok((prefixes, byte));
        }
    }
}

/// The segment an override prefix names: 26, 2E, 36, 3E have its number in bits 4..3, 64 and 65 in bits 2..0.
fn segment_of(byte: u8) -> Option<Segment> {
    if byte & 0xfe == 0x64 {
        return Some(if byte == 0x64 {
            Segment::Fs
        } else {
            Segment::Gs
        });
    }
    if byte & 0xe7 != 0x26 {
        return None;
    }
    Some(match byte >> 3 & 3 {
        0 => Segment::Es,
        1 => Segment::Cs,
        2 => Segment::Ss,
        _ => Segment::Ds,
    })
}

fn read_opcode(cursor: &mut Cursor<'_>, first: u8) -> Result<(Map, u8), DecodeError> {
    if first != 0x0f {
        return Ok((Map::Primary, first));
    }
    match cursor.byte()? {
        0x38 => Ok((Map::Escape38, cursor.byte()?)),
        0x3a => Ok((Map::Escape3A, cursor.byte()?)),
        second => Ok((Map::Secondary, second)),
    }
}

/// C4, C5 and 62 are VEX and EVEX in 64-bit mode, and elsewhere if the next byte would make LES, LDS or BOUND name a
/// register; 8F is XOP if the next byte names a map from 8 up (APM vol. 3, 1.8, 1.9).
fn refuse_vector_prefix(cursor: &Cursor<'_>, opcode: Opcode) -> Result<(), DecodeError> {
    if opcode.map != Map::Primary {
        return Ok(());
    }
    let vector = match opcode.byte {
        0x62 | 0xc4 | 0xc5 => opcode.code_size == CodeSize::Bits64 || cursor.peek()? >= 0xc0,
        0x8f => cursor.peek()? & 0x1f >= 8,
        _ => false,
    };
    if vector {
        Err(DecodeError::Unsupported)
    } else {
        Ok(())
    }
}

const fn address_size(code_size: CodeSize, prefixes: Prefixes) -> Width {
    match (code_size, prefixes.address_size) {
        (CodeSize::Bits64, false) => Width::Qword,
        (CodeSize::Bits64, true) | (CodeSize::Bits32, false) | (CodeSize::Bits16, true) => {
            Width::Dword
        }
        (CodeSize::Bits32, true) | (CodeSize::Bits16, false) => Width::Word,
    }
}

/// SIB byte and displacement (APM vol. 3, 1.4.3).
fn read_address(
    cursor: &mut Cursor<'_>,
    modrm: ModRm,
    address_size: Width,
) -> Result<(Option<u8>, i64), DecodeError> {
    if modrm.is_register() {
        return Ok((None, 0));
    }
    if address_size == Width::Word {
        let displacement = match (modrm.mode(), modrm.rm()) {
            (0, 6) | (2, _) => cursor.signed(Width::Word)?,
            (1, _) => cursor.signed(Width::Byte)?,
            _ => 0,
        };
        return Ok((None, displacement));
    }
    let sib = if modrm.rm() == 4 {
        Some(cursor.byte()?)
    } else {
        None
    };
    let base = sib.map_or(modrm.rm(), |sib| sib & 7);
    let displacement = match (modrm.mode(), base) {
        (0, 5) | (2, _) => cursor.signed(Width::Dword)?,
        (1, _) => cursor.signed(Width::Byte)?,
        _ => 0,
    };
    Ok((sib, displacement))
}

fn read_immediate(
    cursor: &mut Cursor<'_>,
    immediate: Immediate,
    instruction: &mut Instruction,
) -> Result<(), DecodeError> {
    let operand = instruction.operand_size.bytes();
    let bytes = match immediate {
        Immediate::Nothing => 0,
        Immediate::Bytes(bytes) => bytes,
        Immediate::Operand => operand.min(4),
        Immediate::FullOperand => operand,
        Immediate::FarPointer => operand.min(4) + 2,
        Immediate::AbsoluteOffset => {
            instruction.displacement = cursor.number(instruction.address_size.bytes())? as i64;
            0
        }
    };
    instruction.immediate = cursor.number(bytes)?;
    instruction.immediate_bytes = bytes;
    Ok(())
}
