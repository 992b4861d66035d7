//! One match over the exits.

use crate::control::{CrAccess, DrAccess};
use crate::platform::Platform;
use crate::string_io;
use crate::trap::Trap;
use crate::vcpu::Vcpu;
use exit_abi::{Exit, Register, Status};
use protocol::device::Stop;
use vcpu::debug::Conditions;
use vcpu::instruction::{self, Answer};
use vcpu::resume::Window;
use vcpu::{Resume, cpuid};
use words::Gva;
use words::svm::ioio;
use words::x86::{cr0, vector};

/// Most exits in a row that ask mmu-server for the same again.
const MOST_REPEATS: u32 = 16;

/// What follows an exit that was handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// The guest goes on.
    Go,
    /// The guest waits for an interrupt.
    Halt,
}

/// The instruction an exit was caused by, when its length is not known: its bytes were not in the shadow.
fn unread_instruction(exit: &Exit) -> Option<u64> {
    match *exit {
        Exit::Io { len: 0, rip, .. }
        | Exit::Msr { len: 0, rip, .. }
        | Exit::Cpuid { len: 0, rip, .. }
        | Exit::Cr { len: 0, rip, .. }
        | Exit::Invlpg { len: 0, rip, .. }
        | Exit::Hlt { len: 0, rip }
        | Exit::Dr { len: 0, rip, .. } => Some(rip),
        // The length is known without the bytes, the operand is not.
        Exit::Io { info, rip, .. } if string_io::is_unread(info) => Some(rip),
        Exit::Instruction {
            len: 0, code, rip, ..
        } => match instruction::answer(code) {
            Answer::Skip | Answer::DebugTrap | Answer::Hypercall => Some(rip),
            Answer::Undefined
            | Answer::GeneralProtection
            | Answer::InterruptReturn
            | Answer::Stop(_) => None,
        },
        _ => None,
    }
}

impl Vcpu {
    /// Handles `exit`, putting what the reply sets into `resume`.
    pub(crate) fn dispatch(
        &mut self,
        platform: &mut impl Platform,
        exit: &Exit,
        status: Status,
        resume: &mut Resume,
    ) -> Result<Flow, Trap> {
        if let Some(rip) = unread_instruction(exit) {
            self.again()?;
            self.refetch(platform, rip)?;
            return Ok(Flow::Go);
        }
        if let Exit::NoRoot { mode, cr3, .. } = *exit {
            self.again()?;
            platform.ensure_root(mode, cr3)?;
            return Ok(Flow::Go);
        }
        self.repeats = 0;
        let (rip, len) = match *exit {
            Exit::Paging { event, .. } => {
                self.paging(platform, exit, status, event, resume)?;
                return Ok(Flow::Go);
            }
            Exit::NestedPaging { code, event, .. } => {
                self.no_memory(platform, code, event, resume)?;
                return Ok(Flow::Go);
            }
            Exit::Window { .. } => {
                self.window = Window::Closed;
                return Ok(Flow::Go);
            }
            // Answered above.
            Exit::NoRoot { .. } => return Ok(Flow::Go),
            Exit::Hlt { len, rip } => {
                resume.skip(rip, len, self.width());
                return self.halt(status);
            }
            // While an event is delivered no instruction is carried out.
            Exit::Exception {
                vector: vector::UD,
                rip,
                event: 0,
                ..
            } => (rip, self.undefined(platform, rip, resume)?),
            Exit::Exception {
                vector, code, rip, ..
            } => return Err(reflect(vector, code, rip)),
            Exit::Shutdown { rip, .. } => {
                return Err(Trap::stop(Stop::TripleFault, rip, "triple fault"));
            }
            Exit::Invalid { code, .. } => {
                return Err(Trap::stop(
                    Stop::InvalidState,
                    u64::from(code),
                    "guest state refused",
                ));
            }
            Exit::FormatBroken { found, .. } => {
                return Err(Trap::stop(Stop::FormatBroken, found, "real root replaced"));
            }
            Exit::Instruction { len, code, rip, .. } => {
                if instruction::answer(code) == Answer::InterruptReturn {
                    self.interrupt_return(platform, rip, status, resume);
                    return Ok(Flow::Go);
                }
                self.instruction(platform, code, resume)?;
                (rip, len)
            }
            Exit::Io {
                len,
                info,
                rip,
                rax,
            } => {
                if !self.port_access(platform, info, rax, resume)? {
                    return Ok(Flow::Go);
                }
                (rip, len)
            }
            Exit::Msr {
                len,
                write: false,
                rip,
                number,
                ..
            } => {
                self.read_msr(platform, number, resume)?;
                (rip, len)
            }
            Exit::Msr {
                len,
                write: true,
                rip,
                number,
                value,
            } => {
                self.write_msr(platform, number, value, resume)?;
                (rip, len)
            }
            Exit::Cpuid {
                len,
                rip,
                leaf,
                subleaf,
            } => {
                self.answer_cpuid(platform, leaf, subleaf, resume);
                (rip, len)
            }
            Exit::Cr {
                len,
                number,
                gpr,
                instruction,
                rip,
                value,
                mode,
            } => {
                let access = CrAccess {
                    len,
                    number,
                    gpr,
                    instruction,
                    rip,
                    value,
                    mode,
                };
                let Some(len) = self.control_access(platform, access, resume)? else {
                    return Ok(Flow::Go);
                };
                (rip, len)
            }
            Exit::Dr {
                len,
                number,
                gpr,
                write,
                rip,
                value,
            } => {
                let access = DrAccess {
                    number,
                    gpr,
                    write,
                    value,
                };
                self.debug_access(platform, access, resume)?;
                (rip, len)
            }
            Exit::Invlpg {
                len,
                rip,
                gva,
                mode,
            } => {
                self.devices.clear();
                if self.control.cr0 & cr0::PG != 0 && self.is_translatable(gva) {
                    platform.invlpg(mode, gva, self.control.cr3)?;
                }
                (rip, len)
            }
        };
        resume.skip(rip, len, self.width());
        Ok(Flow::Go)
    }

    /// Another exit after which the guest does the same again; a few in a row are normal, many are somebody's failure.
    fn again(&mut self) -> Result<(), Trap> {
        self.repeats += 1;
        if self.repeats > MOST_REPEATS {
            return Err(Trap::stop(
                Stop::DomainFailed,
                0,
                "the shadow never shows what mmu-server put there",
            ));
        }
        Ok(())
    }

    /// A port access. The result says whether the instruction is finished.
    fn port_access(
        &mut self,
        platform: &mut impl Platform,
        info: u32,
        rax: u64,
        resume: &mut Resume,
    ) -> Result<bool, Trap> {
        let word = u64::from(info);
        let (port, size) = (ioio::port(word), ioio::size(word));
        if !matches!(size, 1 | 2 | 4) {
            return Err(Trap::stop(
                Stop::UnknownExit,
                word,
                "port access of no size",
            ));
        }
        if word & ioio::STRING != 0 {
            return self.string_io(platform, info, resume);
        }
        if word & ioio::IN != 0 {
            let value = self.port_in(platform, port, size as u8)?;
            resume.set_rax(rax, u64::from(value), size);
        } else {
            self.port_out(platform, port, size as u8, rax as u32)?;
        }
        Ok(true)
    }

    fn instruction(
        &mut self,
        platform: &mut impl Platform,
        code: u32,
        resume: &mut Resume,
    ) -> Result<(), Trap> {
        match instruction::answer(code) {
            Answer::Undefined => Err(Trap::UNDEFINED),
            Answer::GeneralProtection => Err(Trap::GENERAL_PROTECTION),
            Answer::Skip | Answer::InterruptReturn => Ok(()),
            Answer::Hypercall => {
                self.hypercall(platform, resume);
                Ok(())
            }
            Answer::DebugTrap => {
                // No condition of DR6 stands for it.
                self.debug_trap(platform, Conditions::default(), resume);
                Ok(())
            }
            Answer::Stop(what) => Err(Trap::stop(Stop::UnknownExit, u64::from(code), what)),
        }
    }

    /// With interrupts off only an NMI wakes the guest, and no device makes one later.
    fn halt(&self, status: Status) -> Result<Flow, Trap> {
        let nmi = self.nmi.is_open() && self.board.nmi_waits();
        if status.interrupts_enabled || status.single_step || nmi {
            Ok(Flow::Halt)
        } else {
            Err(Trap::stop(Stop::Halted, 0, "halted with interrupts off"))
        }
    }

    fn answer_cpuid(
        &self,
        platform: &mut impl Platform,
        leaf: u32,
        subleaf: u32,
        resume: &mut Resume,
    ) {
        let host = |leaf, subleaf| platform.cpuid(leaf, subleaf);
        let answer = cpuid::answer(leaf, subleaf, self.board.has_local_apic(), &host);
        resume.set(Register::Rax, u64::from(answer.eax));
        resume.set(Register::Rbx, u64::from(answer.ebx));
        resume.set(Register::Rcx, u64::from(answer.ecx));
        resume.set(Register::Rdx, u64::from(answer.edx));
    }

    /// INVLPG of an address that is not canonical does nothing (APM vol. 3).
    const fn is_translatable(&self, gva: Gva) -> bool {
        !self.control.is_long() || gva.is_canonical()
    }
}

/// An intercepted exception goes back to the guest. #BP and #OF are traps that exit before they are over; nobody asked
/// for those intercepts.
const fn reflect(vector: u8, code: u32, rip: u64) -> Trap {
    match vector {
        vector::BP | vector::OF | vector::NMI | 32.. => Trap::stop(
            Stop::UnknownExit,
            rip,
            "exception intercept nobody asked for",
        ),
        _ => Trap::Exception { vector, code },
    }
}
