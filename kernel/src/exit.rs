//! From a VMCB after #VMEXIT to an exit value: what NRIP-save and DecodeAssist would tell is decoded here where the
//! processor does not (APM vol. 2, 15.7 to 15.13).

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::object::{Vcpu, nested};
use exit_abi::{CrInstruction, Exit};
use insn::{CodeSize, Instruction, Kind, Place, Segment};
use words::svm::{exit, np, vmcb};
use words::x86::{pte, vector};
use words::{Gpa, Gva, PageSize};

/// Longest instruction.
const MAX_INSTRUCTION: usize = 15;

/// `count` bytes of a page (15 at most, and none beyond its end) from `offset` on, zeroes after them.
#[inline(always)]
fn page_bytes(page: Ref<Page>, offset: usize, count: usize) -> [u8; 16] {
    let word = |n: usize| page.0.get(n).map_or(0, |word| u128::from(word.get()));
    let first = offset / 8;
    let shift = 8 * (offset % 8) as u32;
    let low = (word(first) | word(first + 1) << 64) >> shift;
    // A shift by 128 bits leaves nothing of the third word, as it should.
    let high = word(first + 2).checked_shl(128 - shift).unwrap_or(0);
    let kept = u128::MAX >> (128 - 8 * count as u32);
    ((low | high) & kept).to_le_bytes()
}

/// The length of an instruction that has one form without prefixes, which is what the exit most often finds.
fn plain_length(code: u64, bytes: &[u8]) -> Option<u8> {
    match (code, bytes) {
        (exit::CPUID, [0x0f, 0xa2, ..]) | (exit::MSR, [0x0f, 0x30 | 0x32, ..]) => Some(2),
        (exit::HLT, [0xf4, ..]) => Some(1),
        _ => None,
    }
}

impl<M: Machine> Kernel<M> {
    /// The exit of the current VMCB state.
    pub(crate) fn describe_exit(&self, vcpu: Ref<Vcpu>, code: u64) -> Exit {
        let rip = vcpu.read(vmcb::RIP);
        let (info1, info2) = (vcpu.read(vmcb::EXITINFO1), vcpu.read(vmcb::EXITINFO2));
        let event = vcpu.event.get();
        const EXCEPTION_LAST: u64 = exit::EXCEPTION + 31;
        const PAGE_FAULT: u64 = exit::EXCEPTION + vector::PF as u64;
        match code {
            PAGE_FAULT => Exit::Paging {
                code: info1 as u16,
                mode: vcpu.mode(),
                gva: Gva::new(info2),
                cr3: vcpu.cr3.get(),
                event,
            },
            exit::EXCEPTION..=EXCEPTION_LAST => Exit::Exception {
                vector: (code - exit::EXCEPTION) as u8,
                code: info1 as u32,
                rip,
                dr6: vcpu.read(vmcb::DR6),
                event,
            },
            exit::NPF => Exit::NestedPaging {
                code: info1 as u32 & 0xffff,
                walk: info1 & np::WALK != 0,
                gpa: Gpa::new(info2),
                rip,
                event,
            },
            exit::VINTR => Exit::Window { rip },
            exit::SHUTDOWN => Exit::Shutdown { rip, event },
            _ => self.describe_instruction(vcpu, code, rip, info1, info2),
        }
    }

    fn describe_instruction(
        &self,
        vcpu: Ref<Vcpu>,
        code: u64,
        rip: u64,
        info1: u64,
        info2: u64,
    ) -> Exit {
        let (bytes, count) = self.fetch_instruction(vcpu);
        let bytes = &bytes[..count];
        let (instruction, len) = match plain_length(code, bytes) {
            Some(len) => (None, len),
            None => {
                let instruction = insn::decode(bytes, self.code_size(vcpu)).ok();
                let len = self.instruction_length(vcpu, instruction.as_ref(), rip);
                (instruction, len)
            }
        };
        let kind = instruction.as_ref().map_or(Kind::Other, Instruction::kind);
        match code {
            exit::READ_CR0..0x20 => self.describe_cr(vcpu, code, rip, info1, len, kind),
            exit::READ_DR0..0x40 => {
                let (number, gpr) = match kind {
                    Kind::MovToDr { dr, gpr } | Kind::MovFromDr { dr, gpr } => (dr, gpr.number()),
                    _ => (code as u8 & 15, info1 as u8 & 15),
                };
                let write = code >= exit::WRITE_DR0;
                Exit::Dr {
                    len,
                    number,
                    gpr,
                    write,
                    rip,
                    value: vcpu.gpr(gpr).get(),
                }
            }
            exit::CPUID => Exit::Cpuid {
                len,
                rip,
                leaf: vcpu.gpr(0).get() as u32,
                subleaf: vcpu.gpr(1).get() as u32,
            },
            exit::HLT => Exit::Hlt { len, rip },
            exit::MSR => {
                let value = vcpu.gpr(0).get() & 0xffff_ffff | vcpu.gpr(2).get() << 32;
                Exit::Msr {
                    len,
                    write: info1 & 1 != 0,
                    rip,
                    number: vcpu.gpr(1).get() as u32,
                    value,
                }
            }
            exit::IOIO => {
                let decoded = match kind {
                    Kind::Io(io) => io.exit_info(),
                    _ => 0,
                };
                // EXITINFO2 is the next RIP on every processor.
                let len = if len != 0 {
                    len
                } else {
                    info2.wrapping_sub(rip).min(15) as u8
                };
                let strings = 0x1f80;
                Exit::Io {
                    len,
                    info: info1 as u32 | decoded & strings,
                    rip,
                    rax: vcpu.gpr(0).get(),
                }
            }
            exit::INVLPG => {
                let gva = match kind {
                    Kind::Invlpg { address } => {
                        self.linear_address(vcpu, &address, rip.wrapping_add(u64::from(len)))
                    }
                    _ => info1,
                };
                Exit::Invlpg {
                    len,
                    rip,
                    gva: Gva::new(gva),
                    mode: vcpu.mode(),
                }
            }
            _ => Exit::Instruction {
                len,
                code: code as u32,
                rip,
                info1,
                info2,
            },
        }
    }

    fn describe_cr(
        &self,
        vcpu: Ref<Vcpu>,
        code: u64,
        rip: u64,
        info1: u64,
        len: u8,
        kind: Kind,
    ) -> Exit {
        let value_of = |gpr: u8| vcpu.gpr(gpr).get();
        let write = code >= exit::WRITE_CR0;
        let (instruction, gpr, value) = match kind {
            Kind::MovToCr { gpr, .. } => {
                (CrInstruction::MovTo, gpr.number(), value_of(gpr.number()))
            }
            Kind::MovFromCr { gpr, .. } => (CrInstruction::MovFrom, gpr.number(), 0),
            Kind::Clts => (CrInstruction::Clts, 0, 0),
            Kind::Lmsw {
                source: Place::Register(gpr),
            } => (
                CrInstruction::Lmsw,
                gpr.number(),
                value_of(gpr.number()) & 0xffff,
            ),
            Kind::Smsw {
                destination: Place::Register(gpr),
                width,
            } => (CrInstruction::Smsw, gpr.number(), u64::from(width.bytes())),
            // Without the bytes DecodeAssists still tell of a MOV (bit 63).
            _ if self.machine.svm().decode_assists && info1 >> 63 != 0 => {
                let gpr = info1 as u8 & 15;
                let instruction = if write {
                    CrInstruction::MovTo
                } else {
                    CrInstruction::MovFrom
                };
                (instruction, gpr, value_of(gpr))
            }
            _ => (CrInstruction::Other, 0, 0),
        };
        let wide = self.code_size(vcpu) == CodeSize::Bits64;
        let value = if wide { value } else { value & 0xffff_ffff };
        Exit::Cr {
            len,
            number: code as u8 & 15,
            gpr,
            instruction,
            rip,
            value,
            mode: vcpu.mode(),
        }
    }

    fn instruction_length(
        &self,
        vcpu: Ref<Vcpu>,
        instruction: Option<&Instruction>,
        rip: u64,
    ) -> u8 {
        match instruction {
            Some(instruction) => instruction.length(),
            None if self.machine.svm().nrips => {
                let length = vcpu.read(vmcb::NRIP).wrapping_sub(rip);
                if length <= MAX_INSTRUCTION as u64 {
                    length as u8
                } else {
                    0
                }
            }
            None => 0,
        }
    }

    fn code_size(&self, vcpu: Ref<Vcpu>) -> CodeSize {
        let attributes = vcpu.cs_attributes();
        if vcpu.is_long() && attributes & 1 << 9 != 0 {
            CodeSize::Bits64
        } else if attributes & 1 << 10 != 0 {
            CodeSize::Bits32
        } else {
            CodeSize::Bits16
        }
    }

    /// The linear address of a memory operand.
    fn linear_address(&self, vcpu: Ref<Vcpu>, operand: &insn::MemoryOperand, next_rip: u64) -> u64 {
        let offset = operand.effective_address(|gpr| vcpu.gpr(gpr.number()).get(), next_rip);
        let wide = self.code_size(vcpu) == CodeSize::Bits64;
        let base = match operand.segment {
            Segment::Fs => vcpu.read(vmcb::FS + 8),
            Segment::Gs => vcpu.read(vmcb::GS + 8),
            _ if wide => 0,
            Segment::Es => vcpu.read(vmcb::ES + 8),
            Segment::Cs => vcpu.read(vmcb::CS + 8),
            Segment::Ss => vcpu.read(vmcb::SS + 8),
            Segment::Ds => vcpu.read(vmcb::DS + 8),
        };
        let linear = base.wrapping_add(offset);
        if wide { linear } else { linear & 0xffff_ffff }
    }

    /// Up to 15 bytes at CS:RIP through the shadow the guest ran on, or through its own tables under nested paging; fewer
    /// where a page is not in them.
    pub(crate) fn fetch_instruction(&self, vcpu: Ref<Vcpu>) -> ([u8; 16], usize) {
        let wide = self.code_size(vcpu) == CodeSize::Bits64;
        let base = if wide { 0 } else { vcpu.read(vmcb::CS + 8) };
        let start = base.wrapping_add(vcpu.read(vmcb::RIP));
        let linear = |n: usize| {
            let linear = start.wrapping_add(n as u64);
            if wide { linear } else { linear & 0xffff_ffff }
        };
        let first = linear(0);
        let Some(frame) = Self::code_frame(vcpu, Gva::new(first)) else {
            return ([0; 16], 0);
        };
        let offset = first as usize & 4095;
        let count = MAX_INSTRUCTION.min(4096 - offset);
        let mut bytes = page_bytes(Ref::at(frame), offset, count);
        if count == MAX_INSTRUCTION {
            return (bytes, count);
        }
        // The rest lies at the beginning of another page.
        let Some(frame) = Self::code_frame(vcpu, Gva::new(linear(count))) else {
            return (bytes, count);
        };
        let rest = page_bytes(Ref::at(frame), 0, MAX_INSTRUCTION - count);
        bytes[count..MAX_INSTRUCTION].copy_from_slice(&rest[..MAX_INSTRUCTION - count]);
        (bytes, MAX_INSTRUCTION)
    }

    fn code_frame(vcpu: Ref<Vcpu>, gva: Gva) -> Option<u64> {
        if vcpu.nested.get() {
            nested::frame(vcpu, gva)
        } else {
            Self::shadow_frame(vcpu, gva)
        }
    }

    /// The host frame the shadow maps at `gva`: a walk of the kernel's own format.
    fn shadow_frame(vcpu: Ref<Vcpu>, gva: Gva) -> Option<u64> {
        let root = vcpu.root.get()?;
        let pool = vcpu.pool.get()?;
        let mut table = pool.root_table(root, vcpu.is_long())?;
        let top = if vcpu.is_long() { 4 } else { 3 };
        for level in (1..=top).rev() {
            let index = if level == 3 && top == 3 {
                gva.index(3) & 3
            } else {
                gva.index(level)
            };
            let entry = table.0[index].get();
            if entry & pte::P == 0 {
                return None;
            }
            let leaf = level == 1 || (entry & pte::PS != 0 && !(level == 3 && top == 3));
            if leaf {
                let size = PageSize::from_level(level)?;
                let base = entry & pte::ADDRESS & !(size.bytes() - 1);
                return Some(base | gva.bits() & (size.bytes() - 1) & !4095);
            }
            table = Ref::at(entry & pte::ADDRESS);
        }
        None
    }
}
