//! Exit classes and their message words.
//!
//! Word 0 of every message has the same upper part: bits 63..48 are [`Status`]. Instruction exits keep the instruction's
//! length in bits 47..40. No message is longer than four words, so all of them travel in registers.

use crate::Mode;
use words::{Gpa, Gva};

/// Label of an exit message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum ExitClass {
    /// #PF in shadow mode.
    Paging = 0x100,
    /// IN, OUT, INS, OUTS.
    Io = 0x101,
    /// RDMSR, WRMSR of an MSR the kernel does not leave to the guest.
    Msr = 0x102,
    /// CPUID.
    Cpuid = 0x103,
    /// Access to CR0, CR3, CR4; a write of CR8 only where the processor's own virtual one fails.
    Cr = 0x104,
    /// INVLPG.
    Invlpg = 0x105,
    /// HLT.
    Hlt = 0x106,
    /// The guest can take an interrupt now.
    Window = 0x107,
    /// An intercepted exception other than #PF.
    Exception = 0x108,
    /// Triple fault.
    Shutdown = 0x109,
    /// Another intercepted instruction or event, named by its SVM exit code.
    Instruction = 0x10a,
    /// The vCPU has no shadow root that fits its mode.
    NoRoot = 0x10b,
    /// The processor refused the guest state (VMEXIT_INVALID), or the kernel refused it first.
    Invalid = 0x10c,
    /// The root the vCPU ran with is not the one installed: the VM must not go on.
    FormatBroken = 0x10d,
    /// Access to a debug register.
    Dr = 0x10e,
    /// A guest-physical address that the guest-physical space does not grant (nested paging).
    NestedPaging = 0x10f,
}

impl ExitClass {
    /// The class with this label.
    #[must_use]
    pub const fn from_label(label: u64) -> Option<Self> {
        Some(match label {
            0x100 => Self::Paging,
            0x101 => Self::Io,
            0x102 => Self::Msr,
            0x103 => Self::Cpuid,
            0x104 => Self::Cr,
            0x105 => Self::Invlpg,
            0x106 => Self::Hlt,
            0x107 => Self::Window,
            0x108 => Self::Exception,
            0x109 => Self::Shutdown,
            0x10a => Self::Instruction,
            0x10b => Self::NoRoot,
            0x10c => Self::Invalid,
            0x10d => Self::FormatBroken,
            0x10e => Self::Dr,
            0x10f => Self::NestedPaging,
            _ => return None,
        })
    }
}

/// What every exit tells about the vCPU's readiness for events: bits 63..48 of word 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// RFLAGS.IF.
    pub interrupts_enabled: bool,
    /// In the shadow of STI or MOV SS.
    pub interrupt_shadow: bool,
    /// An event was being delivered when the exit happened; read it as [`Register::Event`](crate::Register::Event).
    pub event_in_delivery: bool,
    /// RFLAGS.TF: whoever carries an instruction out in the guest's stead owes it a debug trap.
    pub single_step: bool,
    /// RFLAGS.RF: whoever carries an instruction out in the guest's stead clears it.
    pub resume_flag: bool,
}

impl Status {
    const fn word(self) -> u64 {
        (self.interrupts_enabled as u64) << 48
            | (self.interrupt_shadow as u64) << 49
            | (self.event_in_delivery as u64) << 50
            | (self.single_step as u64) << 51
            | (self.resume_flag as u64) << 52
    }
    const fn from_word(word: u64) -> Self {
        Self {
            interrupts_enabled: word >> 48 & 1 != 0,
            interrupt_shadow: word >> 49 & 1 != 0,
            event_in_delivery: word >> 50 & 1 != 0,
            single_step: word >> 51 & 1 != 0,
            resume_flag: word >> 52 & 1 != 0,
        }
    }
}

/// Which instruction accessed a control register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CrInstruction {
    /// MOV to the control register; `value` is the operand.
    MovTo = 0,
    /// MOV from it to the general-purpose register `gpr`.
    MovFrom = 1,
    /// CLTS.
    Clts = 2,
    /// LMSW with a register operand; `value` is its low 16 bits.
    Lmsw = 3,
    /// SMSW to the general-purpose register `gpr` (operand size as the instruction says; `value` is that size in bytes).
    Smsw = 4,
    /// LMSW or SMSW with a memory operand, or bytes the kernel could not read: decode it with the instruction's bytes.
    Other = 5,
}

/// An exit as a value. `rip` is the instruction's own address, `len` its length in bytes (0: not known).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the fields are what the module says
pub enum Exit {
    /// `code`: the #PF error code against the *shadow* (trust W, U and I only).
    /// `event`: normalised EXITINTINFO, 0 for none.
    Paging {
        code: u16,
        mode: Mode,
        gva: Gva,
        cr3: u64,
        event: u64,
    },
    /// `info`: low 32 bits of EXITINFO1, completed with address size (bits 9..7) and segment (12..10: ES CS SS DS FS GS)
    /// for string instructions.
    Io {
        len: u8,
        info: u32,
        rip: u64,
        rax: u64,
    },
    /// `value`: EDX:EAX of a WRMSR.
    Msr {
        len: u8,
        write: bool,
        rip: u64,
        number: u32,
        value: u64,
    },
    Cpuid {
        len: u8,
        rip: u64,
        leaf: u32,
        subleaf: u32,
    },
    Cr {
        len: u8,
        number: u8,
        gpr: u8,
        instruction: CrInstruction,
        rip: u64,
        value: u64,
        mode: Mode,
    },
    /// `gva`: the linear address, segment base included.
    Invlpg {
        len: u8,
        rip: u64,
        gva: Gva,
        mode: Mode,
    },
    Hlt {
        len: u8,
        rip: u64,
    },
    Window {
        rip: u64,
    },
    /// `dr6` for #DB.
    Exception {
        vector: u8,
        code: u32,
        rip: u64,
        dr6: u64,
        event: u64,
    },
    Shutdown {
        rip: u64,
        event: u64,
    },
    /// `code` is the SVM exit code.
    Instruction {
        len: u8,
        code: u32,
        rip: u64,
        info1: u64,
        info2: u64,
    },
    NoRoot {
        mode: Mode,
        rip: u64,
        cr3: u64,
    },
    Invalid {
        code: u32,
        rip: u64,
    },
    FormatBroken {
        found: u64,
        installed_page: u64,
    },
    /// `number` of the debug register; `value` the operand of a write.
    Dr {
        len: u8,
        number: u8,
        gpr: u8,
        write: bool,
        rip: u64,
        value: u64,
    },
    /// `code`: the low 16 bits of EXITINFO1, a page-fault error code of the nested walk; `walk`: met while the guest's own
    /// tables were read, not by the access itself. `event`: normalised EXITINTINFO, 0 for none.
    NestedPaging {
        code: u32,
        walk: bool,
        gpa: Gpa,
        rip: u64,
        event: u64,
    },
}

/// Number of words of every exit message.
pub const EXIT_WORDS: usize = 4;

impl Exit {
    /// The class.
    #[must_use]
    pub const fn class(&self) -> ExitClass {
        match self {
            Self::Paging { .. } => ExitClass::Paging,
            Self::Io { .. } => ExitClass::Io,
            Self::Msr { .. } => ExitClass::Msr,
            Self::Cpuid { .. } => ExitClass::Cpuid,
            Self::Cr { .. } => ExitClass::Cr,
            Self::Invlpg { .. } => ExitClass::Invlpg,
            Self::Hlt { .. } => ExitClass::Hlt,
            Self::Window { .. } => ExitClass::Window,
            Self::Exception { .. } => ExitClass::Exception,
            Self::Shutdown { .. } => ExitClass::Shutdown,
            Self::Instruction { .. } => ExitClass::Instruction,
            Self::NoRoot { .. } => ExitClass::NoRoot,
            Self::Invalid { .. } => ExitClass::Invalid,
            Self::FormatBroken { .. } => ExitClass::FormatBroken,
            Self::Dr { .. } => ExitClass::Dr,
            Self::NestedPaging { .. } => ExitClass::NestedPaging,
        }
    }

    /// The message words.
    #[must_use]
    pub const fn encode(&self, status: Status) -> [u64; EXIT_WORDS] {
        const fn length(len: u8) -> u64 {
            (len as u64) << 40
        }
        let (w0, w1, w2, w3) = match *self {
            Self::Paging {
                code,
                mode,
                gva,
                cr3,
                event,
            } => (
                (code & 0xff) as u64 | (mode.bits() as u64) << 8,
                gva.bits(),
                cr3,
                event,
            ),
            Self::Io {
                len,
                info,
                rip,
                rax,
            } => (length(len) | info as u64, rip, rax, 0),
            Self::Msr {
                len,
                write,
                rip,
                number,
                value,
            } => (length(len) | write as u64, rip, number as u64, value),
            Self::Cpuid {
                len,
                rip,
                leaf,
                subleaf,
            } => (length(len), rip, leaf as u64 | (subleaf as u64) << 32, 0),
            Self::Cr {
                len,
                number,
                gpr,
                instruction,
                rip,
                value,
                mode,
            } => (
                length(len) | number as u64 | (gpr as u64) << 8 | (instruction as u64) << 16,
                rip,
                value,
                mode.bits() as u64,
            ),
            Self::Invlpg {
                len,
                rip,
                gva,
                mode,
            } => (length(len), rip, gva.bits(), mode.bits() as u64),
            Self::Hlt { len, rip } => (length(len), rip, 0, 0),
            Self::Window { rip } => (0, rip, 0, 0),
            Self::Exception {
                vector,
                code,
                rip,
                dr6,
                event,
            } => (vector as u64 | (code as u64) << 8, rip, dr6, event),
            Self::Shutdown { rip, event } => (0, rip, 0, event),
            Self::Instruction {
                len,
                code,
                rip,
                info1,
                info2,
            } => (length(len) | code as u64, rip, info1, info2),
            Self::NoRoot { mode, rip, cr3 } => ((mode.bits() as u64) << 8, rip, cr3, 0),
            Self::Invalid { code, rip } => (code as u64, rip, 0, 0),
            Self::FormatBroken {
                found,
                installed_page,
            } => (0, found, installed_page, 0),
            Self::Dr {
                len,
                number,
                gpr,
                write,
                rip,
                value,
            } => (
                length(len) | number as u64 | (gpr as u64) << 8 | (write as u64) << 16,
                rip,
                value,
                0,
            ),
            Self::NestedPaging {
                code,
                walk,
                gpa,
                rip,
                event,
            } => (
                (code & 0xffff) as u64 | (walk as u64) << 16,
                gpa.bits(),
                rip,
                event,
            ),
        };
        [w0 | status.word(), w1, w2, w3]
    }

    /// The exit in a message, or `None` for a label that is no exit class.
    #[must_use]
    pub const fn decode(label: u64, words: [u64; EXIT_WORDS]) -> Option<(Self, Status)> {
        let [w0, w1, w2, w3] = words;
        let len = (w0 >> 40) as u8;
        let Some(class) = ExitClass::from_label(label) else {
            return None;
        };
        let exit = match class {
            ExitClass::Paging => Self::Paging {
                code: (w0 & 0xff) as u16,
                mode: Mode::from_bits((w0 >> 8) as u32),
                gva: Gva::new(w1),
                cr3: w2,
                event: w3,
            },
            ExitClass::Io => Self::Io {
                len,
                info: w0 as u32,
                rip: w1,
                rax: w2,
            },
            ExitClass::Msr => Self::Msr {
                len,
                write: w0 & 1 != 0,
                rip: w1,
                number: w2 as u32,
                value: w3,
            },
            ExitClass::Cpuid => Self::Cpuid {
                len,
                rip: w1,
                leaf: w2 as u32,
                subleaf: (w2 >> 32) as u32,
            },
            ExitClass::Cr => Self::Cr {
                len,
                number: w0 as u8,
                gpr: (w0 >> 8) as u8,
                instruction: match (w0 >> 16) as u8 {
                    0 => CrInstruction::MovTo,
                    1 => CrInstruction::MovFrom,
                    2 => CrInstruction::Clts,
                    3 => CrInstruction::Lmsw,
                    4 => CrInstruction::Smsw,
                    _ => CrInstruction::Other,
                },
                rip: w1,
                value: w2,
                mode: Mode::from_bits(w3 as u32),
            },
            ExitClass::Invlpg => Self::Invlpg {
                len,
                rip: w1,
                gva: Gva::new(w2),
                mode: Mode::from_bits(w3 as u32),
            },
            ExitClass::Hlt => Self::Hlt { len, rip: w1 },
            ExitClass::Window => Self::Window { rip: w1 },
            ExitClass::Exception => Self::Exception {
                vector: w0 as u8,
                code: (w0 >> 8) as u32,
                rip: w1,
                dr6: w2,
                event: w3,
            },
            ExitClass::Shutdown => Self::Shutdown { rip: w1, event: w3 },
            ExitClass::Instruction => Self::Instruction {
                len,
                code: w0 as u32,
                rip: w1,
                info1: w2,
                info2: w3,
            },
            ExitClass::NoRoot => Self::NoRoot {
                mode: Mode::from_bits((w0 >> 8) as u32),
                rip: w1,
                cr3: w2,
            },
            ExitClass::Invalid => Self::Invalid {
                code: w0 as u32,
                rip: w1,
            },
            ExitClass::FormatBroken => Self::FormatBroken {
                found: w1,
                installed_page: w2,
            },
            ExitClass::Dr => Self::Dr {
                len,
                number: w0 as u8,
                gpr: (w0 >> 8) as u8,
                write: w0 >> 16 & 1 != 0,
                rip: w1,
                value: w2,
            },
            ExitClass::NestedPaging => Self::NestedPaging {
                code: (w0 & 0xffff) as u32,
                walk: w0 >> 16 & 1 != 0,
                gpa: Gpa::new(w1),
                rip: w2,
                event: w3,
            },
        };
        Some((exit, Status::from_word(w0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_survives_its_message() {
        let mode = Mode::from_bits(0x3fff);
        let exits = [
            Exit::Paging {
                code: 0x1f,
                mode,
                gva: Gva::new(!0),
                cr3: 0x1000,
                event: 0x8000_0b0e,
            },
            Exit::Io {
                len: 2,
                info: 0xffff_1fff,
                rip: 7,
                rax: !0,
            },
            Exit::Msr {
                len: 2,
                write: true,
                rip: !0,
                number: 0xc000_0080,
                value: !0,
            },
            Exit::Cpuid {
                len: 2,
                rip: 1,
                leaf: !0,
                subleaf: !0,
            },
            Exit::Cr {
                len: 3,
                number: 4,
                gpr: 15,
                instruction: CrInstruction::Smsw,
                rip: 9,
                value: 4,
                mode,
            },
            Exit::Invlpg {
                len: 15,
                rip: 1,
                gva: Gva::new(3),
                mode,
            },
            Exit::Hlt { len: 1, rip: 2 },
            Exit::Window { rip: 3 },
            Exit::Exception {
                vector: 17,
                code: !0,
                rip: 4,
                dr6: 5,
                event: 6,
            },
            Exit::Shutdown { rip: 1, event: 2 },
            Exit::Instruction {
                len: 3,
                code: 0x8d,
                rip: 1,
                info1: 2,
                info2: 3,
            },
            Exit::NoRoot {
                mode,
                rip: 1,
                cr3: 2,
            },
            Exit::Invalid { code: !0, rip: 1 },
            Exit::FormatBroken {
                found: 1,
                installed_page: 2,
            },
            Exit::Dr {
                len: 3,
                number: 7,
                gpr: 15,
                write: true,
                rip: 1,
                value: 2,
            },
            Exit::NestedPaging {
                code: 0xffff,
                walk: true,
                gpa: Gpa::new(!0),
                rip: 1,
                event: 2,
            },
        ];
        for status in 0..32u64 {
            let status = Status::from_word(status << 48);
            for exit in exits {
                let words = exit.encode(status);
                assert_eq!(
                    Exit::decode(exit.class() as u64, words),
                    Some((exit, status))
                );
            }
        }
    }
}
