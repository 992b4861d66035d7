//! Random bytes, decoded here and by iced-x86: lengths, operands and names must be the same.
//!
//! Exempt are VIA's PadLock instructions, which are `Invalid` here, and VEX, EVEX, XOP and 3DNow!, which must be
//! `Unsupported`.

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Mnemonic, OpKind, Register};
use insn::mmio::{Binary, BitAction, Operand, Operation, StringAction, Unary};
use insn::{
    CodeSize, DecodeError, Direction, Gpr, Instruction, Kind, MemoryOperand, Place, Port, Segment,
    Width,
};

const RIP: u64 = 0x1234_5678;
const ROUNDS: u32 = if cfg!(debug_assertions) {
    150_000
} else {
    1_500_000
};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Random bytes with random prefixes before them, and every opcode map as likely as another.
    fn code(&mut self) -> [u8; 16] {
        const PREFIXES: [u8; 11] = [
            0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3,
        ];
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_le_bytes());
        bytes[8..].copy_from_slice(&self.next().to_le_bytes());
        let mut at = 0;
        let mut put = |byte: u8| {
            bytes[at] = byte;
            at += 1;
        };
        // At most 14 prefixes, or 9 with the 3 bytes that may follow.
        let prefixes = if self.below(16) == 0 {
            self.below(15)
        } else {
            self.below(3)
        };
        for _ in 0..prefixes {
            put(PREFIXES[self.below(11) as usize]);
        }
        if prefixes < 10 {
            if self.below(3) == 0 {
                put(0x40 | self.below(16) as u8);
            }
            match self.below(8) {
                0..=2 => {}
                3..=5 => put(0x0f),
                6 => [0x0f, 0x38].into_iter().for_each(&mut put),
                _ => [0x0f, 0x3a].into_iter().for_each(&mut put),
            }
        }
        bytes
    }
}

fn register(register: Register) -> Option<Gpr> {
    (register != Register::None && register != Register::RIP && register != Register::EIP)
        .then(|| Gpr::new(register.number() as u8))
}

fn segment(register: Register) -> Segment {
    match register {
        Register::ES => Segment::Es,
        Register::CS => Segment::Cs,
        Register::SS => Segment::Ss,
        Register::DS => Segment::Ds,
        Register::FS => Segment::Fs,
        Register::GS => Segment::Gs,
        other => panic!("{other:?} is no segment"),
    }
}

/// In 64-bit mode only FS and GS have a base, and iced reports overrides that are ignored there.
fn with_base(segment: Segment, theirs: &iced_x86::Instruction) -> Segment {
    match segment {
        Segment::Fs | Segment::Gs => segment,
        _ if theirs.code_size() == iced_x86::CodeSize::Code64 => Segment::Ds,
        _ => segment,
    }
}

/// VIA's PadLock, 0F A6 and 0F A7: undefined on AMD and Intel processors.
fn exempt(theirs: &iced_x86::Instruction) -> bool {
    theirs
        .cpuid_features()
        .iter()
        .any(|feature| format!("{feature:?}").starts_with("PADLOCK"))
}

#[test]
fn lengths_and_operands_agree_with_iced() {
    let mut random = Random(0x756d_6272_6100);
    let mut compared = 0;
    for _ in 0..ROUNDS / 3 {
        let bytes = random.code();
        for (bits, code_size) in [
            (16, CodeSize::Bits16),
            (32, CodeSize::Bits32),
            (64, CodeSize::Bits64),
        ] {
            let mut decoder = Decoder::with_ip(bits, &bytes[..15], RIP, DecoderOptions::AMD);
            let theirs = decoder.decode();
            let ours = insn::decode(&bytes[..15], code_size);
            if !theirs.is_invalid() {
                compare(&bytes, code_size, ours, &theirs);
                compared += 1;
            } else if let Ok(ours) = ours {
                only_we_decode(&bytes, code_size, &ours);
            }
        }
    }
    assert!(
        compared > ROUNDS / 4,
        "only {compared} instructions compared"
    );
}

fn compare(
    bytes: &[u8],
    code_size: CodeSize,
    ours: Result<Instruction, DecodeError>,
    theirs: &iced_x86::Instruction,
) {
    let context = || {
        format!(
            "{bytes:02x?} {code_size:?}: {:?} against {ours:?}",
            theirs.code()
        )
    };
    if theirs.code().encoding() != EncodingKind::Legacy {
        assert_eq!(ours, Err(DecodeError::Unsupported), "{}", context());
        return;
    }
    let instruction = match ours {
        Ok(instruction) => instruction,
        Err(DecodeError::Invalid) if exempt(theirs) => return,
        Err(_) => panic!("{}", context()),
    };
    assert_eq!(
        usize::from(instruction.length()),
        theirs.len(),
        "{}",
        context()
    );
    if let (Some(operand), true) = (instruction.memory(), has_memory(theirs)) {
        assert_eq!(
            description(&operand, theirs),
            expected(theirs),
            "{}",
            context()
        );
        assert_eq!(
            operand.effective_address(gpr_value, theirs.next_ip()),
            effective_address(theirs),
            "{}",
            context()
        );
    }
    cut_short(bytes, code_size, &instruction);
    assert_eq!(
        instruction.kind(),
        expected_kind(theirs, &instruction),
        "{}",
        context()
    );
    match Operation::decode(&instruction) {
        Some(operation) => assert_eq!(
            Shape::ours(&operation),
            Shape::theirs(theirs),
            "{}",
            context()
        ),
        None => assert!(!should_be_emulated(theirs), "{}", context()),
    }
}

/// Fewer bytes are too few, exactly enough are enough.
fn cut_short(bytes: &[u8], code_size: CodeSize, instruction: &Instruction) {
    let length = usize::from(instruction.length());
    assert_eq!(insn::decode(&bytes[..length], code_size), Ok(*instruction));
    for fewer in 0..length {
        assert_eq!(
            insn::decode(&bytes[..fewer], code_size),
            Err(DecodeError::TooShort)
        );
    }
}

/// Something else in every register, so that sums wrap now and then.
fn gpr_value(gpr: Gpr) -> u64 {
    Random(u64::from(gpr.number())).next()
}

fn effective_address(theirs: &iced_x86::Instruction) -> u64 {
    let operand = theirs
        .op_kinds()
        .position(|kind| kind == OpKind::Memory)
        .unwrap();
    let address = theirs.virtual_address(operand as u32, 0, |of, _, _| match register(of) {
        _ if of.is_segment_register() => Some(0),
        Some(gpr) => Some(gpr_value(gpr) & width(of.size()).mask()),
        None => None,
    });
    address.unwrap()
}

fn has_memory(theirs: &iced_x86::Instruction) -> bool {
    theirs.op_kinds().any(|kind| kind == OpKind::Memory)
}

type Description = (Option<Segment>, Option<Gpr>, Option<Gpr>, u32, u64);

/// The operand in iced's terms: displacements of RIP-relative operands are absolute there, LEA has no segment.
fn description(operand: &MemoryOperand, theirs: &iced_x86::Instruction) -> Description {
    let origin = if operand.rip_relative {
        theirs.next_ip()
    } else {
        0
    };
    let displacement =
        origin.wrapping_add(operand.displacement as u64) & operand.address_size.mask();
    let segment = (theirs.mnemonic() != Mnemonic::Lea).then(|| with_base(operand.segment, theirs));
    (
        segment,
        operand.base,
        operand.index,
        u32::from(operand.scale),
        displacement,
    )
}

fn expected(theirs: &iced_x86::Instruction) -> Description {
    let segment = (theirs.mnemonic() != Mnemonic::Lea)
        .then(|| with_base(segment(theirs.memory_segment()), theirs));
    let (base, index) = (
        register(theirs.memory_base()),
        register(theirs.memory_index()),
    );
    (
        segment,
        base,
        index,
        theirs.memory_index_scale(),
        theirs.memory_displacement64(),
    )
}

fn place(theirs: &iced_x86::Instruction, ours: &Instruction) -> Place {
    match theirs.op0_kind() {
        OpKind::Register => Place::Register(register(theirs.op0_register()).unwrap()),
        // Compared on its own.
        _ => Place::Memory(ours.memory().unwrap()),
    }
}

fn expected_kind(theirs: &iced_x86::Instruction, ours: &Instruction) -> Kind {
    let (first, second) = (theirs.op0_register(), theirs.op1_register());
    let number = |register: Register| register.number() as u8;
    let gpr = |of: Register| register(of).unwrap();
    match theirs.mnemonic() {
        Mnemonic::Mov if first.is_cr() => Kind::MovToCr {
            cr: number(first),
            gpr: gpr(second),
        },
        Mnemonic::Mov if first.is_dr() => Kind::MovToDr {
            dr: number(first),
            gpr: gpr(second),
        },
        Mnemonic::Mov if second.is_cr() => Kind::MovFromCr {
            cr: number(second),
            gpr: gpr(first),
        },
        Mnemonic::Mov if second.is_dr() => Kind::MovFromDr {
            dr: number(second),
            gpr: gpr(first),
        },
        Mnemonic::Clts => Kind::Clts,
        Mnemonic::Lmsw => Kind::Lmsw {
            source: place(theirs, ours),
        },
        Mnemonic::Smsw => Kind::Smsw {
            destination: place(theirs, ours),
            width: if has_memory(theirs) {
                Width::Word
            } else {
                width(first.size())
            },
        },
        Mnemonic::Invlpg => Kind::Invlpg {
            address: ours.memory().unwrap(),
        },
        Mnemonic::Rdmsr => Kind::Rdmsr,
        Mnemonic::Wrmsr => Kind::Wrmsr,
        Mnemonic::Cpuid => Kind::Cpuid,
        Mnemonic::Hlt => Kind::Hlt,
        Mnemonic::Int => Kind::Int {
            vector: theirs.immediate8(),
        },
        Mnemonic::In | Mnemonic::Out | Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => {
            expected_io(theirs, ours)
        }
        Mnemonic::Outsb | Mnemonic::Outsw if theirs.op0_register() == Register::DX => {
            expected_io(theirs, ours)
        }
        Mnemonic::Outsd if theirs.code() == Code::Outsd_DX_m32 => expected_io(theirs, ours),
        _ => Kind::Other,
    }
}

fn width(bytes: usize) -> Width {
    [Width::Byte, Width::Word, Width::Dword, Width::Qword]
        .into_iter()
        .find(|width| usize::from(width.bytes()) == bytes)
        .unwrap_or_else(|| panic!("{bytes} bytes"))
}

fn expected_io(theirs: &iced_x86::Instruction, ours: &Instruction) -> Kind {
    let is_in = matches!(
        theirs.mnemonic(),
        Mnemonic::In | Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd
    );
    let string = !matches!(theirs.mnemonic(), Mnemonic::In | Mnemonic::Out);
    let register = if is_in {
        theirs.op0_register()
    } else {
        theirs.op1_register()
    };
    Kind::Io(insn::Io {
        direction: if is_in { Direction::In } else { Direction::Out },
        string,
        repeat: string && (theirs.has_rep_prefix() || theirs.has_repne_prefix()),
        width: width(if string {
            theirs.memory_size().size()
        } else {
            register.size()
        }),
        port: match (0..2).any(|operand| theirs.op_kind(operand) == OpKind::Immediate8) {
            true => Port::Immediate(theirs.immediate8()),
            false => Port::Dx,
        },
        address_size: if string {
            string_address_size(theirs)
        } else {
            ours.address_size()
        },
        segment: match (string, is_in) {
            (false, _) => Segment::Ds,
            (true, true) => Segment::Es,
            (true, false) => with_base(segment(theirs.memory_segment()), theirs),
        },
    })
}

fn string_address_size(theirs: &iced_x86::Instruction) -> Width {
    match (theirs.op0_kind(), theirs.op1_kind()) {
        (OpKind::MemoryESDI, _) | (_, OpKind::MemorySegSI) => Width::Word,
        (OpKind::MemoryESEDI, _) | (_, OpKind::MemorySegESI) => Width::Dword,
        _ => Width::Qword,
    }
}

/// An emulated instruction in words both decoders can say.
#[derive(PartialEq, Eq, Debug)]
struct Shape {
    mnemonic: Mnemonic,
    operands: Vec<Part>,
}

#[derive(PartialEq, Eq, Debug)]
enum Part {
    Register {
        number: u8,
        high: bool,
        width: Width,
    },
    Memory(Width),
    Immediate(u64),
}

impl Part {
    fn ours(operand: Operand, width: Width) -> Self {
        match operand {
            Operand::Register(register) => Self::Register {
                number: register.gpr.number(),
                high: register.high,
                width,
            },
            Operand::Memory(_) => Self::Memory(width),
            Operand::Immediate(value) => Self::Immediate(value & width.mask()),
        }
    }

    fn theirs(theirs: &iced_x86::Instruction, operand: u32, immediate_width: Width) -> Self {
        match theirs.op_kind(operand) {
            OpKind::Register => {
                let register = theirs.op_register(operand);
                let high = matches!(
                    register,
                    Register::AH | Register::CH | Register::DH | Register::BH
                );
                // iced counts AH to BH in, before SPL.
                let shifted = high || register.is_gpr8() && register.number() > 7;
                let number = (register.number() - if shifted { 4 } else { 0 }) as u8;
                Self::Register {
                    number,
                    high,
                    width: width(register.size()),
                }
            }
            kind if is_immediate(kind) => {
                Self::Immediate(theirs.immediate(operand) & immediate_width.mask())
            }
            _ => Self::Memory(width(theirs.memory_size().size())),
        }
    }
}

fn is_immediate(kind: OpKind) -> bool {
    use OpKind::*;
    matches!(
        kind,
        Immediate8
            | Immediate16
            | Immediate32
            | Immediate8to16
            | Immediate8to32
            | Immediate8to64
            | Immediate32to64
    )
}

impl Shape {
    fn ours(operation: &Operation) -> Self {
        let part = Part::ours;
        let (mnemonic, operands) = match *operation {
            // The caller knows MOV from MOVNTI by nothing but the opcode.
            Operation::Move { to, from, width } => {
                (Mnemonic::Mov, vec![part(to, width), part(from, width)])
            }
            Operation::Extend {
                to,
                width,
                from,
                from_width,
                signed,
            } => {
                let mnemonic = match (signed, from_width) {
                    (false, _) => Mnemonic::Movzx,
                    (true, Width::Byte) => Mnemonic::Movsx,
                    (true, _) => Mnemonic::Movsxd,
                };
                (mnemonic, vec![part(to, width), part(from, from_width)])
            }
            Operation::Binary {
                action,
                to,
                from,
                width,
            } => (
                binary_mnemonic(action),
                vec![part(to, width), part(from, width)],
            ),
            Operation::Unary { action, at, width } => {
                (unary_mnemonic(action), vec![part(at, width)])
            }
            Operation::Exchange { at, with, width } => {
                (Mnemonic::Xchg, vec![part(at, width), part(with, width)])
            }
            Operation::ExchangeAdd { at, with, width } => {
                (Mnemonic::Xadd, vec![part(at, width), part(with, width)])
            }
            Operation::CompareExchange { at, with, width } => {
                (Mnemonic::Cmpxchg, vec![part(at, width), part(with, width)])
            }
            Operation::Bit {
                action,
                at,
                index,
                width,
            } => {
                let index_width = if matches!(index, Operand::Immediate(_)) {
                    Width::Byte
                } else {
                    width
                };
                (
                    bit_mnemonic(action),
                    vec![part(at, width), part(index, index_width)],
                )
            }
            Operation::Push { from, width } => (Mnemonic::Push, vec![part(from, width)]),
            Operation::Pop { to, width } => (Mnemonic::Pop, vec![part(to, width)]),
            Operation::String(string) => (string_mnemonic(string.action, string.width), vec![]),
        };
        Self { mnemonic, operands }
    }

    fn theirs(theirs: &iced_x86::Instruction) -> Self {
        let mnemonic = match theirs.mnemonic() {
            Mnemonic::Movnti => Mnemonic::Mov,
            // Words extend by both names.
            Mnemonic::Movsx if theirs.op0_register().size() > 1 && is_word_source(theirs) => {
                Mnemonic::Movsxd
            }
            other => other,
        };
        if theirs.is_string_instruction() {
            return Self {
                mnemonic,
                operands: vec![],
            };
        }
        let immediate_width = match mnemonic {
            Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc => Width::Byte,
            _ if theirs.op0_kind() == OpKind::Register => width(theirs.op0_register().size()),
            _ => width(theirs.memory_size().size()),
        };
        let operands = (0..theirs.op_count())
            .map(|operand| Part::theirs(theirs, operand, immediate_width))
            .collect();
        Self { mnemonic, operands }
    }
}

fn is_word_source(theirs: &iced_x86::Instruction) -> bool {
    match theirs.op1_kind() {
        OpKind::Register => theirs.op1_register().size() == 2,
        _ => theirs.memory_size().size() == 2,
    }
}

const fn binary_mnemonic(action: Binary) -> Mnemonic {
    match action {
        Binary::Add => Mnemonic::Add,
        Binary::Or => Mnemonic::Or,
        Binary::Adc => Mnemonic::Adc,
        Binary::Sbb => Mnemonic::Sbb,
        Binary::And => Mnemonic::And,
        Binary::Sub => Mnemonic::Sub,
        Binary::Xor => Mnemonic::Xor,
        Binary::Cmp => Mnemonic::Cmp,
        Binary::Test => Mnemonic::Test,
    }
}

const fn unary_mnemonic(action: Unary) -> Mnemonic {
    match action {
        Unary::Inc => Mnemonic::Inc,
        Unary::Dec => Mnemonic::Dec,
        Unary::Not => Mnemonic::Not,
        Unary::Neg => Mnemonic::Neg,
    }
}

const fn bit_mnemonic(action: BitAction) -> Mnemonic {
    match action {
        BitAction::Keep => Mnemonic::Bt,
        BitAction::Set => Mnemonic::Bts,
        BitAction::Reset => Mnemonic::Btr,
        BitAction::Complement => Mnemonic::Btc,
    }
}

const fn string_mnemonic(action: StringAction, width: Width) -> Mnemonic {
    use Mnemonic::*;
    let of_width = match action {
        StringAction::Move => [Movsb, Movsw, Movsd, Movsq],
        StringAction::Compare => [Cmpsb, Cmpsw, Cmpsd, Cmpsq],
        StringAction::Store => [Stosb, Stosw, Stosd, Stosq],
        StringAction::Load => [Lodsb, Lodsw, Lodsd, Lodsq],
        StringAction::Scan => [Scasb, Scasw, Scasd, Scasq],
    };
    of_width[width.bytes().trailing_zeros() as usize]
}

/// Whether an instruction that touches memory is one the emulator promises.
fn should_be_emulated(theirs: &iced_x86::Instruction) -> bool {
    use Mnemonic::*;
    let promised = match theirs.mnemonic() {
        Mov | Movnti | Movzx | Movsx | Movsxd | Add | Or | Adc | Sbb | And | Sub | Xor | Cmp
        | Test => true,
        Inc | Dec | Not | Neg | Xchg | Xadd | Cmpxchg | Bt | Bts | Btr | Btc | Push | Pop => true,
        Movsb | Movsw | Movsq | Cmpsb | Cmpsw | Cmpsq | Stosb | Stosw | Stosd | Stosq => {
            return true;
        }
        Lodsb | Lodsw | Lodsd | Lodsq | Scasb | Scasw | Scasd | Scasq => return true,
        // The same names belong to SSE2.
        Movsd | Cmpsd => return theirs.is_string_instruction(),
        _ => false,
    };
    // Loading and storing segment registers needs descriptors.
    let segment =
        theirs.op0_register().is_segment_register() || theirs.op1_register().is_segment_register();
    promised && has_memory(theirs) && !segment
}

/// What only this crate decodes must be nothing it has a name for, and nothing it would emulate.
fn only_we_decode(bytes: &[u8], code_size: CodeSize, ours: &Instruction) {
    assert_eq!(ours.kind(), Kind::Other, "{bytes:02x?} {code_size:?}");
    assert_eq!(Operation::decode(ours), None, "{bytes:02x?} {code_size:?}");
}
