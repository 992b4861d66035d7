//! Instructions performed on a small memory that can refuse.

use insn::mmio::{ExecError, Memory, Registers, execute, flags};
use insn::{CodeSize, Gpr, Segment, Width, decode};
use std::collections::BTreeMap;

/// Bytes by segment and offset; an access past `allowed` is refused.
#[derive(Clone, Default)]
struct Bytes {
    bytes: BTreeMap<(u8, u64), u8>,
    allowed: Option<u32>,
}

#[derive(PartialEq, Eq, Debug)]
struct Refused;

impl Bytes {
    fn with(segment: Segment, offset: u64, bytes: &[u8]) -> Self {
        let mut memory = Self::default();
        for (at, &byte) in bytes.iter().enumerate() {
            memory
                .bytes
                .insert((segment as u8, offset + at as u64), byte);
        }
        memory
    }

    fn number(&self, segment: Segment, offset: u64, width: Width) -> u64 {
        (0..u64::from(width.bytes())).rev().fold(0, |value, at| {
            value << 8
                | u64::from(
                    *self
                        .bytes
                        .get(&(segment as u8, offset.wrapping_add(at)))
                        .unwrap_or(&0),
                )
        })
    }

    fn permit(&mut self) -> Result<(), Refused> {
        if let Some(allowed) = &mut self.allowed {
            *allowed = allowed.checked_sub(1).ok_or(Refused)?;
        }
        Ok(())
    }
}

impl Memory for Bytes {
    type Error = Refused;

    /// With dirt above the width, as the trait allows.
    fn read(&mut self, segment: Segment, offset: u64, width: Width) -> Result<u64, Refused> {
        self.permit()?;
        Ok(self.number(segment, offset, width) | !width.mask())
    }

    fn write(
        &mut self,
        segment: Segment,
        offset: u64,
        width: Width,
        value: u64,
    ) -> Result<(), Refused> {
        self.permit()?;
        assert_eq!(value & !width.mask(), 0);
        for at in 0..width.bytes() {
            self.bytes.insert(
                (segment as u8, offset.wrapping_add(at.into())),
                (value >> (8 * at)) as u8,
            );
        }
        Ok(())
    }
}

const FULL: u64 = 0x1122_3344_5566_7788;

/// All registers `FULL` but rDI, which is 0x1000, and rSI, which is 0x2000.
fn registers() -> Registers {
    let mut registers = Registers {
        gpr: [FULL; 16],
        rflags: 0x202,
        rip: 0x8000,
        stack: Width::Qword,
    };
    registers.gpr[6] = 0x2000;
    registers.gpr[7] = 0x1000;
    registers
}

fn run_in(code_size: CodeSize, bytes: &[u8], registers: &mut Registers, memory: &mut Bytes) {
    let instruction = decode(bytes, code_size).unwrap();
    assert_eq!(usize::from(instruction.length()), bytes.len());
    execute(&instruction, registers, memory).unwrap();
}

fn run(bytes: &[u8], registers: &mut Registers, memory: &mut Bytes) {
    run_in(CodeSize::Bits64, bytes, registers, memory);
}

fn device(value: u64) -> Bytes {
    Bytes::with(Segment::Ds, 0x1000, &value.to_le_bytes())
}

fn at_device(memory: &Bytes, width: Width) -> u64 {
    memory.number(Segment::Ds, 0x1000, width)
}

#[test]
fn loads_keep_or_clear_what_is_above_their_width() {
    let cases: [(&[u8], usize, u64); 7] = [
        (&[0x8a, 0x07], 0, 0x1122_3344_5566_77ef), // mov al, [rdi]
        (&[0x8a, 0x27], 0, 0x1122_3344_5566_ef88), // mov ah, [rdi]
        (&[0x40, 0x8a, 0x27], 4, 0x1122_3344_5566_77ef), // mov spl, [rdi]
        (&[0x66, 0x8b, 0x07], 0, 0x1122_3344_5566_cdef), // mov ax, [rdi]
        (&[0x8b, 0x07], 0, 0x89ab_cdef),           // mov eax, [rdi]
        (&[0x4c, 0x8b, 0x07], 8, 0x0123_4567_89ab_cdef), // mov r8, [rdi]
        (&[0xa1, 0, 0x10, 0, 0, 0, 0, 0, 0], 0, 0x89ab_cdef), // mov eax, [0x1000]
    ];
    for (bytes, register, expected) in cases {
        let mut registers = registers();
        run(bytes, &mut registers, &mut device(0x0123_4567_89ab_cdef));
        assert_eq!(registers.gpr[register], expected, "{bytes:02x?}");
        assert_eq!(registers.rip, 0x8000 + bytes.len() as u64);
    }
}

#[test]
fn stores_write_their_width() {
    let cases: [(&[u8], u64); 7] = [
        (&[0x88, 0x27], 0x77),                             // mov [rdi], ah
        (&[0x40, 0x88, 0x27], 0x88),                       // mov [rdi], spl
        (&[0x66, 0x89, 0x07], 0x7788),                     // mov [rdi], ax
        (&[0x48, 0x89, 0x07], FULL),                       // mov [rdi], rax
        (&[0xc6, 0x07, 0xfe], 0xfe),                       // mov byte [rdi], -2
        (&[0x48, 0xc7, 0x07, 0xfe, 0xff, 0xff, 0xff], !1), // mov qword [rdi], -2
        (&[0x0f, 0xc3, 0x07], 0x5566_7788),                // movnti [rdi], eax
    ];
    for (bytes, expected) in cases {
        let mut memory = device(0);
        run(bytes, &mut registers(), &mut memory);
        assert_eq!(at_device(&memory, Width::Qword), expected, "{bytes:02x?}");
    }
}

#[test]
fn extensions_fill_the_destination() {
    let cases: [(&[u8], u64); 6] = [
        (&[0x0f, 0xb6, 0x07], 0xef), // movzx eax, byte [rdi]
        (&[0x66, 0x0f, 0xb6, 0x07], 0x1122_3344_5566_00ef), // movzx ax, byte [rdi]
        (&[0x0f, 0xbe, 0x07], 0xffff_ffef), // movsx eax, byte [rdi]
        (&[0x48, 0x0f, 0xbf, 0x07], 0xffff_ffff_ffff_cdef), // movsx rax, word [rdi]
        (&[0x48, 0x63, 0x07], 0xffff_ffff_89ab_cdef), // movsxd rax, dword [rdi]
        (&[0x63, 0x07], 0x89ab_cdef), // movsxd eax, dword [rdi]
    ];
    for (bytes, expected) in cases {
        let mut registers = registers();
        run(bytes, &mut registers, &mut device(0x0123_4567_89ab_cdef));
        assert_eq!(registers.gpr[0], expected, "{bytes:02x?}");
    }
}

#[test]
fn arithmetic_on_memory_leaves_result_and_flags() {
    let mut registers = registers();
    let mut memory = device(0xffff_ffff);
    run(&[0x83, 0x07, 0x01], &mut registers, &mut memory); // add dword [rdi], 1
    assert_eq!(at_device(&memory, Width::Qword), 0);
    let expected = flags::CF | flags::PF | flags::AF | flags::ZF;
    assert_eq!(registers.rflags, 0x202 | expected);
    run(&[0x48, 0x83, 0x17, 0xff], &mut registers, &mut memory); // adc qword [rdi], -1 with carry
    assert_eq!(at_device(&memory, Width::Qword), 0);
    run(&[0xfe, 0x0f], &mut registers, &mut memory); // dec byte [rdi] keeps carry
    assert_eq!(at_device(&memory, Width::Qword), 0xff);
    assert_eq!(
        registers.rflags & (flags::CF | flags::SF | flags::ZF),
        flags::CF | flags::SF
    );
    run(&[0x80, 0x3f, 0xff], &mut registers, &mut memory); // cmp byte [rdi], -1
    assert_eq!(at_device(&memory, Width::Qword), 0xff);
    assert_ne!(registers.rflags & flags::ZF, 0);
}

#[test]
fn exchanges_return_what_was_there() {
    let (mut registers, mut memory) = (registers(), device(5));
    run(&[0x87, 0x07], &mut registers, &mut memory); // xchg [rdi], eax
    assert_eq!(
        (registers.gpr[0], at_device(&memory, Width::Qword)),
        (5, 0x5566_7788)
    );
    run(&[0xf0, 0x0f, 0xc1, 0x07], &mut registers, &mut memory); // lock xadd [rdi], eax
    assert_eq!(
        (registers.gpr[0], at_device(&memory, Width::Qword)),
        (0x5566_7788, 0x5566_778d)
    );
    // The register may be the address.
    run(&[0x48, 0x0f, 0xc1, 0x3f], &mut registers, &mut memory); // xadd [rdi], rdi
    assert_eq!(
        (registers.gpr[7], at_device(&memory, Width::Qword)),
        (0x5566_778d, 0x5566_878d)
    );
}

#[test]
fn compare_exchange_stores_or_loads() {
    let (mut registers, mut memory) = (registers(), device(0x5566_7788));
    registers.gpr[1] = 9;
    run(&[0x0f, 0xb1, 0x0f], &mut registers, &mut memory); // cmpxchg [rdi], ecx
    assert_eq!(
        (registers.gpr[0], at_device(&memory, Width::Qword)),
        (FULL, 9)
    );
    assert_ne!(registers.rflags & flags::ZF, 0);
    run(&[0x0f, 0xb1, 0x0f], &mut registers, &mut memory);
    assert_eq!((registers.gpr[0], at_device(&memory, Width::Qword)), (9, 9));
    assert_eq!(registers.rflags & flags::ZF, 0);
}

#[test]
fn a_bit_number_in_a_register_reaches_around_the_operand() {
    let (mut registers, mut memory) = (registers(), device(0));
    registers.gpr[0] = u64::MAX; // bit -1
    run(&[0x0f, 0xab, 0x07], &mut registers, &mut memory); // bts [rdi], eax
    assert_eq!(memory.number(Segment::Ds, 0xffc, Width::Dword), 0x8000_0000);
    assert_eq!(registers.rflags & flags::CF, 0);
    registers.gpr[0] = 35;
    run(&[0x0f, 0xbb, 0x07], &mut registers, &mut memory); // btc [rdi], eax
    assert_eq!(memory.number(Segment::Ds, 0x1004, Width::Dword), 8);
    // An immediate number does not reach out.
    run(&[0x0f, 0xba, 0x37, 35], &mut registers, &mut device(8)); // btr dword [rdi], 35
    assert_ne!(registers.rflags & flags::CF, 0);
}

#[test]
fn push_and_pop_use_the_stack_segment_and_width() {
    let (mut registers, mut memory) = (registers(), device(0xabcd));
    registers.gpr[4] = 0x4000;
    run(&[0xff, 0x37], &mut registers, &mut memory); // push qword [rdi]
    assert_eq!(
        (
            registers.gpr[4],
            memory.number(Segment::Ss, 0x3ff8, Width::Qword)
        ),
        (0x3ff8, 0xabcd)
    );
    // pop [rsp]: the address is the one behind the pop.
    run(&[0x8f, 0x04, 0x24], &mut registers, &mut memory);
    assert_eq!(
        (
            registers.gpr[4],
            memory.number(Segment::Ss, 0x4000, Width::Qword)
        ),
        (0x4000, 0xabcd)
    );
    let mut memory = device(0x1234_5678);
    registers.stack = Width::Word;
    registers.gpr[4] = 0x7_0000;
    run_in(CodeSize::Bits32, &[0xff, 0x37], &mut registers, &mut memory); // push dword [edi]
    assert_eq!(
        (
            registers.gpr[4],
            memory.number(Segment::Ss, 0xfffc, Width::Dword)
        ),
        (0x7_fffc, 0x1234_5678)
    );
}

#[test]
fn a_repeated_store_goes_one_step_a_call() {
    let (mut registers, mut memory) = (registers(), Bytes::default());
    registers.gpr[1] = 2;
    let stos = [0xf3, 0x66, 0xab]; // rep stosw
    run(&stos, &mut registers, &mut memory);
    assert_eq!(
        (registers.rip, registers.gpr[1], registers.gpr[7]),
        (0x8000, 1, 0x1002)
    );
    run(&stos, &mut registers, &mut memory);
    assert_eq!(
        (registers.rip, registers.gpr[1], registers.gpr[7]),
        (0x8003, 0, 0x1004)
    );
    assert_eq!(
        memory.number(Segment::Es, 0x1000, Width::Dword),
        0x7788_7788
    );
    registers.rip = 0x8000;
    run(&stos, &mut registers, &mut memory);
    assert_eq!(
        (registers.rip, registers.gpr[1], registers.gpr[7]),
        (0x8003, 0, 0x1004)
    );
}

#[test]
fn strings_go_down_and_wrap_at_the_address_size() {
    let mut registers = registers();
    registers.rflags |= flags::DF;
    registers.gpr[6] = 0xffff_0000;
    registers.gpr[7] = 0xffff_0001;
    let mut memory = Bytes::with(Segment::Gs, 0, &[7]);
    run_in(CodeSize::Bits16, &[0x65, 0xa4], &mut registers, &mut memory); // gs movsb
    assert_eq!(memory.number(Segment::Es, 1, Width::Byte), 7);
    assert_eq!(
        (registers.gpr[6], registers.gpr[7]),
        (0xffff_ffff, 0xffff_0000)
    );
    assert_eq!(registers.gpr[1], FULL);
}

#[test]
fn repeated_comparisons_stop_at_the_answer() {
    let (mut registers, mut memory) =
        (registers(), Bytes::with(Segment::Es, 0x1000, &[1, 0x88, 2]));
    registers.gpr[1] = 10;
    let scas = [0xf2, 0xae]; // repne scasb
    run(&scas, &mut registers, &mut memory);
    assert_eq!((registers.rip, registers.gpr[1]), (0x8000, 9));
    run(&scas, &mut registers, &mut memory);
    assert_eq!(
        (registers.rip, registers.gpr[1], registers.gpr[7]),
        (0x8002, 8, 0x1002)
    );
    assert_ne!(registers.rflags & flags::ZF, 0);
    // [rsi] is 0, [rdi] is 2: repe cmpsb ends at once with a borrow.
    run(&[0xf3, 0xa6], &mut registers, &mut memory);
    assert_eq!((registers.rip, registers.gpr[1]), (0x8004, 7));
    assert_eq!(registers.rflags & (flags::ZF | flags::CF), flags::CF);
}

#[test]
fn lods_loads_and_completion_clears_rf() {
    let (mut registers, mut memory) =
        (registers(), Bytes::with(Segment::Ds, 0x2000, &[1, 2, 3, 4]));
    registers.rflags |= flags::RF;
    run(&[0xad], &mut registers, &mut memory);
    assert_eq!((registers.gpr[0], registers.gpr[6]), (0x0403_0201, 0x2004));
    assert_eq!(registers.rflags & flags::RF, 0);
}

#[test]
fn rip_wraps_at_32_bits_outside_64_bit_mode() {
    let (mut registers, mut memory) = (registers(), device(0));
    registers.rip = 0xffff_ffff;
    run_in(CodeSize::Bits32, &[0x89, 0x07], &mut registers, &mut memory);
    assert_eq!(registers.rip, 1);
}

#[test]
fn what_is_not_emulated_is_refused_and_changes_nothing() {
    for bytes in [
        &[0x90][..],
        &[0x0f, 0x6f, 0x07],
        &[0xf6, 0x27],
        &[0x8e, 0x1f],
        &[0xff, 0x27],
    ] {
        let mut registers = registers();
        let instruction = decode(bytes, CodeSize::Bits64).unwrap();
        let result = execute(&instruction, &mut registers, &mut Bytes::default());
        assert_eq!(result, Err(ExecError::Unsupported), "{bytes:02x?}");
        assert_eq!(registers, self::registers());
    }
}

#[test]
fn a_refused_access_changes_no_register() {
    let mut refused = 0;
    for opcode in 0..=0xff {
        for escape in [&[][..], &[0x0f], &[0xf3]] {
            for modrm in [0x07, 0x0f, 0x17, 0x1f, 0x37, 0x3f] {
                let bytes = [escape, &[opcode, modrm, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
                let Ok(instruction) = decode(&bytes, CodeSize::Bits64) else {
                    continue;
                };
                for allowed in 0..2 {
                    let mut registers = registers();
                    let mut memory = Bytes {
                        allowed: Some(allowed),
                        ..device(0x5566_7700)
                    };
                    if execute(&instruction, &mut registers, &mut memory)
                        == Err(ExecError::Memory(Refused))
                    {
                        assert_eq!(registers, self::registers(), "{bytes:02x?}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 300, "only {refused} refusals");
}

#[test]
fn the_same_instruction_on_a_register_has_the_same_result() {
    let mut compared = 0;
    for opcode in 0..=0xff {
        for prefix in [&[][..], &[0x48], &[0x66], &[0x0f], &[0x48, 0x0f]] {
            for reg in 0..8 {
                compared += u32::from(agrees(prefix, opcode, reg));
            }
        }
    }
    assert!(compared > 500, "only {compared} compared");
}

/// `[rdi]` against rBX, both with the same content. Only register numbers that are no high bytes and none of the two.
fn agrees(prefix: &[u8], opcode: u8, reg: u8) -> bool {
    let encode = |modrm: u8| [prefix, &[opcode, reg << 3 | modrm, 5, 0, 0, 0, 0, 0, 0, 0]].concat();
    let (Ok(on_memory), Ok(on_register)) = (
        decode(&encode(0x07), CodeSize::Bits64),
        decode(&encode(0xc3), CodeSize::Bits64),
    ) else {
        return false;
    };
    // A bit number in a register means something else on memory; strings and stack have no register form.
    let bits = prefix.ends_with(&[0x0f]) && matches!(opcode, 0xa3 | 0xab | 0xb3 | 0xbb);
    if on_memory.modrm().is_none() || bits || reg == 3 || reg == 7 {
        return false;
    }
    let content = 0x8899_aabb_ccdd_eeff;
    let (mut with_memory, mut with_register) = (registers(), registers());
    with_register.gpr[3] = content;
    let mut memory = device(content);
    let first = execute(&on_memory, &mut with_memory, &mut memory);
    if first != execute(&on_register, &mut with_register, &mut memory.clone()) || first.is_err() {
        return false;
    }
    let width = on_memory.operand_size();
    if width != Width::Dword {
        let left = with_register.read(Gpr::RBX, Width::Qword);
        assert_eq!(
            at_device(&memory, Width::Qword),
            left,
            "{prefix:02x?} {opcode:02x} {reg}"
        );
    }
    with_memory.gpr[3] = with_register.gpr[3];
    assert_eq!(
        with_memory, with_register,
        "{prefix:02x?} {opcode:02x} {reg}"
    );
    true
}
