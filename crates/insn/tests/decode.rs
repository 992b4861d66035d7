//! Encodings where decoders go wrong, one by one.

use insn::{
    CodeSize, DecodeError, Direction, Gpr, Kind, MemoryOperand, Place, Port, Repeat, Segment, Width,
};
use insn::{Instruction, decode};

fn bits16(bytes: &[u8]) -> Instruction {
    decode(bytes, CodeSize::Bits16).unwrap()
}

fn bits32(bytes: &[u8]) -> Instruction {
    decode(bytes, CodeSize::Bits32).unwrap()
}

fn bits64(bytes: &[u8]) -> Instruction {
    decode(bytes, CodeSize::Bits64).unwrap()
}

#[test]
fn every_byte_string_has_an_answer_and_none_a_panic() {
    for size in [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64] {
        for first in 0..=255 {
            for second in 0..=255 {
                for third in [0x00, 0x04, 0x05, 0x38, 0x84, 0xc0, 0xf0, 0xff] {
                    let bytes = [
                        first, second, third, 0x25, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                    ];
                    if let Ok(instruction) = decode(&bytes, size) {
                        assert!((1..=15).contains(&instruction.length()));
                        let _ = (instruction.kind(), instruction.memory());
                    }
                }
            }
        }
    }
}

#[test]
fn the_sixteenth_byte_is_one_too_many() {
    let mut bytes = [0x66; 16];
    bytes[14] = 0x90;
    assert_eq!(bits64(&bytes).length(), 15);
    bytes[14] = 0x66;
    bytes[15] = 0x90;
    assert_eq!(decode(&bytes, CodeSize::Bits64), Err(DecodeError::TooLong));
    assert_eq!(
        decode(&bytes[..14], CodeSize::Bits64),
        Err(DecodeError::TooShort)
    );
    assert_eq!(decode(&[], CodeSize::Bits16), Err(DecodeError::TooShort));
}

#[test]
fn mov_of_control_registers_ignores_mod() {
    for modrm in [0x1c, 0x5c, 0x9c, 0xdc] {
        let instruction = bits64(&[0x0f, 0x22, modrm]);
        assert_eq!(instruction.length(), 3);
        assert_eq!(
            instruction.kind(),
            Kind::MovToCr {
                cr: 3,
                gpr: Gpr::RSP
            }
        );
        assert_eq!(instruction.operand_size(), Width::Qword);
    }
    assert_eq!(
        bits64(&[0x45, 0x0f, 0x20, 0xc1]).kind(),
        Kind::MovFromCr {
            cr: 8,
            gpr: Gpr::new(9)
        }
    );
    assert_eq!(
        bits16(&[0x66, 0x0f, 0x20, 0xc0]).operand_size(),
        Width::Dword
    );
}

#[test]
fn locked_mov_of_cr0_is_cr8() {
    let instruction = bits32(&[0xf0, 0x0f, 0x22, 0xc1]);
    assert!(instruction.prefixes().lock);
    assert_eq!(
        instruction.kind(),
        Kind::MovToCr {
            cr: 8,
            gpr: Gpr::RCX
        }
    );
    assert_eq!(
        decode(&[0xf0, 0x0f, 0x22, 0xd9], CodeSize::Bits32),
        Err(DecodeError::Invalid)
    );
}

#[test]
fn registers_that_do_not_exist_are_invalid() {
    for modrm in [0xc8, 0xe8, 0xf0, 0xf8] {
        assert_eq!(
            decode(&[0x0f, 0x22, modrm], CodeSize::Bits32),
            Err(DecodeError::Invalid)
        );
    }
    assert_eq!(
        decode(&[0x44, 0x0f, 0x23, 0xc0], CodeSize::Bits64),
        Err(DecodeError::Invalid)
    );
    assert_eq!(
        decode(&[0x8e, 0xc8], CodeSize::Bits32),
        Err(DecodeError::Invalid)
    );
}

#[test]
fn lock_needs_a_memory_destination_that_is_changed() {
    assert!(decode(&[0xf0, 0x01, 0x00], CodeSize::Bits32).is_ok());
    for bytes in [
        [0xf0, 0x01, 0xc0],
        [0xf0, 0x39, 0x00],
        [0xf0, 0x03, 0x00],
        [0xf0, 0x90, 0x90],
    ] {
        assert_eq!(
            decode(&bytes, CodeSize::Bits32),
            Err(DecodeError::Invalid),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn operand_size_shortens_near_branches_in_64_bit_code_too() {
    assert_eq!(bits64(&[0xe8, 1, 2, 3, 4]).length(), 5);
    assert_eq!(bits64(&[0x66, 0xe8, 1, 2, 3, 4]).length(), 4);
    assert_eq!(bits64(&[0x66, 0xe9, 1, 2, 3, 4]).length(), 4);
    assert_eq!(bits64(&[0x66, 0x0f, 0x84, 1, 2, 3, 4]).length(), 5);
    assert_eq!(bits64(&[0x66, 0x48, 0xe9, 1, 2, 3, 4]).length(), 7);
}

#[test]
fn machine_status_word_instructions_name_their_operand() {
    let memory = |instruction: &Instruction| Place::Memory(instruction.memory().unwrap());
    assert_eq!(
        bits32(&[0x0f, 0x01, 0xf1]).kind(),
        Kind::Lmsw {
            source: Place::Register(Gpr::RCX)
        }
    );
    let loaded = bits32(&[0x0f, 0x01, 0x30]);
    assert_eq!(
        loaded.kind(),
        Kind::Lmsw {
            source: memory(&loaded)
        }
    );
    let in_register = Kind::Smsw {
        destination: Place::Register(Gpr::RBX),
        width: Width::Qword,
    };
    assert_eq!(bits64(&[0x48, 0x0f, 0x01, 0xe3]).kind(), in_register);
    let stored = bits64(&[0x48, 0x0f, 0x01, 0x20]);
    assert_eq!(
        stored.kind(),
        Kind::Smsw {
            destination: memory(&stored),
            width: Width::Word
        }
    );
}

#[test]
fn invlpg_describes_its_address() {
    // invlpg gs:[r12 + r13*4 - 8]
    let instruction = bits64(&[0x65, 0x43, 0x0f, 0x01, 0x7c, 0xac, 0xf8]);
    let address = MemoryOperand {
        segment: Segment::Gs,
        base: Some(Gpr::new(12)),
        index: Some(Gpr::new(13)),
        scale: 4,
        displacement: -8,
        rip_relative: false,
        address_size: Width::Qword,
    };
    assert_eq!(instruction.kind(), Kind::Invlpg { address });
    assert_eq!(
        address.effective_address(|gpr| u64::from(gpr.number()), 0),
        12 + 4 * 13 - 8
    );
    // The register forms are SWAPGS and others.
    assert_eq!(bits64(&[0x0f, 0x01, 0xf8]).kind(), Kind::Other);
}

#[test]
fn io_instructions_tell_what_decode_assists_would() {
    let Kind::Io(io) = bits16(&[0x26, 0xf3, 0x67, 0x6f]).kind() else {
        panic!()
    };
    assert_eq!(
        (io.direction, io.port, io.width),
        (Direction::Out, Port::Dx, Width::Word)
    );
    assert!(io.string && io.repeat);
    assert_eq!((io.segment, io.address_size), (Segment::Es, Width::Dword));
    assert_eq!(io.exit_info(), 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8);
    let Kind::Io(io) = bits64(&[0xe5, 0x70]).kind() else {
        panic!()
    };
    assert_eq!(
        (io.port, io.exit_info()),
        (Port::Immediate(0x70), 1 | 1 << 6)
    );
    let Kind::Io(io) = bits64(&[0x64, 0x48, 0x6d]).kind() else {
        panic!()
    };
    assert_eq!((io.segment, io.width), (Segment::Es, Width::Dword));
    assert_eq!(io.exit_info(), 1 | 1 << 2 | 1 << 6 | 1 << 9);
}

#[test]
fn a_rex_prefix_counts_only_before_the_opcode() {
    let instruction = bits64(&[0x48, 0x66, 0x89, 0x00]);
    assert_eq!(
        (instruction.prefixes().rex, instruction.operand_size()),
        (None, Width::Word)
    );
    assert_eq!(instruction.length(), 4);
}

#[test]
fn null_segment_prefixes_do_not_undo_fs() {
    assert_eq!(
        bits64(&[0x64, 0x3e, 0x8b, 0x00]).memory().unwrap().segment,
        Segment::Fs
    );
    assert_eq!(
        bits64(&[0x3e, 0x8b, 0x00]).memory().unwrap().segment,
        Segment::Ds
    );
    assert_eq!(
        bits32(&[0x64, 0x3e, 0x8b, 0x00]).memory().unwrap().segment,
        Segment::Ds
    );
    assert_eq!(
        bits32(&[0x8b, 0x45, 0x00]).memory().unwrap().segment,
        Segment::Ss
    );
}

#[test]
fn the_last_repeat_prefix_counts() {
    assert_eq!(
        bits32(&[0xf2, 0xf3, 0xa4]).prefixes().repeat,
        Some(Repeat::Equal)
    );
    assert_eq!(
        bits32(&[0xf3, 0xf2, 0xa4]).prefixes().repeat,
        Some(Repeat::NotEqual)
    );
}

#[test]
fn addresses_wrap_at_the_address_size() {
    let gpr = |_| 0xffff_ffff_ffff_fff0;
    let address = |instruction: Instruction| {
        instruction
            .memory()
            .unwrap()
            .effective_address(gpr, 0x1_0000_0010)
    };
    assert_eq!(address(bits16(&[0x8b, 0x40, 0x20])), 0);
    assert_eq!(address(bits16(&[0x8b, 0x44, 0x20])), 0x10);
    assert_eq!(address(bits32(&[0x8b, 0x40, 0x20])), 0x10);
    assert_eq!(
        address(bits64(&[0x8b, 0x05, 0xf0, 0xff, 0xff, 0xff])),
        0x1_0000_0000
    );
    assert_eq!(
        address(bits64(&[0x67, 0x8b, 0x05, 0xf0, 0xff, 0xff, 0xff])),
        0
    );
    assert_eq!(
        address(bits32(&[0x8b, 0x05, 0xf0, 0xff, 0xff, 0xff])),
        0xffff_fff0
    );
}

#[test]
fn vector_prefixes_are_told_from_what_they_replace() {
    assert_eq!(
        decode(&[0xc5, 0xf8, 0x77], CodeSize::Bits32),
        Err(DecodeError::Unsupported)
    );
    assert!(decode(&[0xc5, 0x38], CodeSize::Bits32).is_ok());
    assert_eq!(
        decode(&[0xc5, 0x38], CodeSize::Bits64),
        Err(DecodeError::Unsupported)
    );
    assert_eq!(
        decode(&[0x62, 0xf1], CodeSize::Bits16),
        Err(DecodeError::Unsupported)
    );
    assert_eq!(
        decode(&[0x8f, 0xe8], CodeSize::Bits64),
        Err(DecodeError::Unsupported)
    );
    assert!(decode(&[0x8f, 0xc0], CodeSize::Bits64).is_ok());
    assert_eq!(
        decode(&[0x0f, 0x0f, 0xc0, 0xbf], CodeSize::Bits32),
        Err(DecodeError::Unsupported)
    );
}

#[test]
fn instructions_gone_in_64_bit_mode_are_invalid_there() {
    for byte in [0x06, 0x27, 0x60, 0x9a, 0xce, 0xd4, 0xd6, 0xea] {
        let bytes = [byte, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            decode(&bytes, CodeSize::Bits64),
            Err(DecodeError::Invalid),
            "{byte:02x}"
        );
        assert!(decode(&bytes, CodeSize::Bits32).is_ok(), "{byte:02x}");
    }
}
