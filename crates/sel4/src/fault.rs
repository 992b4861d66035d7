//! Fault messages as values.

use crate::{IpcBuffer, MessageInfo, Word, sys::fault as label};

/// No fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NullFault;

/// A capability address could not be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapFault {
    /// The system call's address.
    pub ip: Word,
    /// The capability address.
    pub addr: Word,
    /// In the receive phase.
    pub in_recv_phase: bool,
    /// Number of the look-up failure, see [`sys::LookupFailure`](crate::sys::LookupFailure).
    pub lookup_failure: Word,
}

/// A system-call number that means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownSyscall {
    /// The system call's address.
    pub fault_ip: Word,
    /// The stack pointer.
    pub sp: Word,
    /// The number.
    pub syscall: Word,
}

/// An exception other than a page fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserException {
    /// The instruction's address.
    pub fault_ip: Word,
    /// The stack pointer.
    pub stack: Word,
    /// RFLAGS.
    pub flags: Word,
    /// The vector.
    pub number: Word,
    /// The error code.
    pub code: Word,
}

/// A page fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmFault {
    /// The instruction's address.
    pub ip: Word,
    /// The address it used.
    pub addr: Word,
    /// It was fetching an instruction.
    pub prefetch_fault: bool,
    /// The processor's error code.
    pub fsr: Word,
}

/// The budget is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout {
    /// The scheduling context's badge.
    pub data: Word,
    /// Microseconds used.
    pub consumed: Word,
}

/// A fault message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No fault.
    NullFault(NullFault),
    /// Capability fault.
    CapFault(CapFault),
    /// Unknown system call.
    UnknownSyscall(UnknownSyscall),
    /// Exception.
    UserException(UserException),
    /// Page fault.
    VmFault(VmFault),
    /// Timeout.
    Timeout(Timeout),
    /// No fault of a thread: a vCPU's exit (crate `exit-abi`), or some other message with this label.
    Other(Word),
}

impl Fault {
    /// The fault in a message received through the IPC buffer.
    #[must_use]
    pub fn new(buffer: &IpcBuffer, info: &MessageInfo) -> Self {
        Self::from_words(info.label(), buffer.msg_regs())
    }

    /// The fault with a label and message words; words that are not there read as zero.
    #[must_use]
    pub fn from_words(fault: Word, words: &[Word]) -> Self {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        match fault {
            label::NULL => Self::NullFault(NullFault),
            label::CAP_FAULT => Self::CapFault(CapFault {
                ip: word(0),
                addr: word(1),
                in_recv_phase: word(2) != 0,
                lookup_failure: word(3),
            }),
            label::UNKNOWN_SYSCALL => Self::UnknownSyscall(UnknownSyscall {
                fault_ip: word(15),
                sp: word(16),
                syscall: word(18),
            }),
            label::USER_EXCEPTION => Self::UserException(UserException {
                fault_ip: word(0),
                stack: word(1),
                flags: word(2),
                number: word(3),
                code: word(4),
            }),
            label::TIMEOUT => Self::Timeout(Timeout {
                data: word(0),
                consumed: word(1),
            }),
            label::VM_FAULT => Self::VmFault(VmFault {
                ip: word(0),
                addr: word(1),
                prefetch_fault: word(2) != 0,
                fsr: word(3),
            }),
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_fault_is_read_from_its_words() {
        let fault = Fault::from_words(6, &[1, 2, 0, 7]);
        assert_eq!(
            fault,
            Fault::VmFault(VmFault {
                ip: 1,
                addr: 2,
                prefetch_fault: false,
                fsr: 7
            })
        );
    }

    #[test]
    fn an_exit_of_a_vcpu_is_no_fault_of_a_thread() {
        assert_eq!(Fault::from_words(0x100, &[]), Fault::Other(0x100));
    }
}
