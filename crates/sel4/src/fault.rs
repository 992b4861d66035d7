//! Fault messages as values: structures with the message's words by name. libsel4: `seL4_Fault_t`, with the accessors
//! `seL4_Fault_*_get_*`.

use crate::{IpcBuffer, MessageInfo, Word, sys::fault as label};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident, $get:ident = $word:literal;)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: Word,)*
        }

        #[allow(non_snake_case)] // the names are libsel4's
        impl $name {
            /// From the message's words.
            fn read(_word: impl Fn(usize) -> Word) -> Self {
                Self { $($field: _word($word),)* }
            }
            /// The words, as the accessors below name them.
            #[must_use]
            pub const fn inner(&self) -> &Self {
                self
            }
            $($(#[$field_doc])*
            #[must_use]
            pub const fn $get(&self) -> Word {
                self.$field
            })*
        }
    )* };
}

faults! {
    /// No fault.
    NullFault {}
    /// A capability address could not be resolved.
    CapFault {
        /// The system call's address.
        ip, get_IP = 0;
        /// The capability address.
        addr, get_Addr = 1;
        /// 1 in the receive phase.
        in_recv_phase, get_InRecvPhase = 2;
        /// Number of the look-up failure, see [`sys::LookupFailure`](crate::sys::LookupFailure).
        lookup_failure, get_LookupFailureType = 3;
        /// The failure's first word.
        mr4, get_MR4 = 4;
        /// The failure's second word.
        mr5, get_MR5 = 5;
        /// The failure's third word.
        mr6, get_MR6 = 6;
    }
    /// A system-call number that means nothing.
    UnknownSyscall {
        /// The register.
        rax, get_RAX = 0;
        /// The register.
        rbx, get_RBX = 1;
        /// The register.
        rcx, get_RCX = 2;
        /// The register.
        rdx, get_RDX = 3;
        /// The register.
        rsi, get_RSI = 4;
        /// The register.
        rdi, get_RDI = 5;
        /// The register.
        rbp, get_RBP = 6;
        /// The register.
        r8, get_R8 = 7;
        /// The register.
        r9, get_R9 = 8;
        /// The register.
        r10, get_R10 = 9;
        /// The register.
        r11, get_R11 = 10;
        /// The register.
        r12, get_R12 = 11;
        /// The register.
        r13, get_R13 = 12;
        /// The register.
        r14, get_R14 = 13;
        /// The register.
        r15, get_R15 = 14;
        /// The system call's address.
        fault_ip, get_FaultIP = 15;
        /// The stack pointer.
        sp, get_RSP = 16;
        /// RFLAGS.
        flags, get_FLAGS = 17;
        /// The number.
        syscall, get_Syscall = 18;
    }
    /// An exception other than a page fault.
    UserException {
        /// The instruction's address.
        fault_ip, get_FaultIP = 0;
        /// The stack pointer.
        stack, get_Stack = 1;
        /// RFLAGS.
        flags, get_FLAGS = 2;
        /// The vector.
        number, get_Number = 3;
        /// The error code.
        code, get_Code = 4;
    }
    /// A page fault.
    VmFault {
        /// The instruction's address.
        ip, get_IP = 0;
        /// The address it used.
        addr, get_Addr = 1;
        /// 1 if it was fetching an instruction.
        prefetch_fault, get_PrefetchFault = 2;
        /// The processor's error code.
        fsr, get_FSR = 3;
    }
    /// The budget is used up.
    Timeout {
        /// The scheduling context's badge.
        data, get_data = 0;
        /// Microseconds used.
        consumed, get_consumed = 1;
    }
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
    /// The fault in a message received through the IPC buffer. libsel4: `seL4_getFault`.
    #[must_use]
    pub fn new(buffer: &IpcBuffer, info: &MessageInfo) -> Self {
        Self::from_words(info.label(), buffer.msg_regs())
    }

    /// The fault with a label and message words; words that are not there read as zero.
    #[must_use]
    pub fn from_words(fault: Word, words: &[Word]) -> Self {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        match fault {
            label::NULL => Self::NullFault(NullFault::read(word)),
            label::CAP_FAULT => Self::CapFault(CapFault::read(word)),
            label::UNKNOWN_SYSCALL => Self::UnknownSyscall(UnknownSyscall::read(word)),
            label::USER_EXCEPTION => Self::UserException(UserException::read(word)),
            label::TIMEOUT => Self::Timeout(Timeout::read(word)),
            label::VM_FAULT => Self::VmFault(VmFault::read(word)),
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
                prefetch_fault: 0,
                fsr: 7
            })
        );
    }

    #[test]
    fn an_unknown_system_call_has_every_register_of_its_thread() {
        let words: Vec<Word> = (1..=19).collect();
        let Fault::UnknownSyscall(fault) = Fault::from_words(label::UNKNOWN_SYSCALL, &words) else {
            panic!("an unknown system call")
        };
        assert_eq!((fault.rax, fault.r15, fault.fault_ip), (1, 15, 16));
        let inner = fault.inner();
        assert_eq!(
            (inner.get_RSP(), inner.get_FLAGS(), inner.get_Syscall()),
            (17, 18, 19)
        );
    }

    #[test]
    fn an_exit_of_a_vcpu_is_no_fault_of_a_thread() {
        assert_eq!(Fault::from_words(0x100, &[]), Fault::Other(0x100));
    }
}
