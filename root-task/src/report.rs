//! How a domain's fault is worded on the log: `umbra-fail domain=NAME cause=WORD address=HEX`.

use core::fmt;
use sel4::{Fault, UserException, VmFault, Word};

/// A fault in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cause(Fault);

impl Cause {
    /// The cause of a fault.
    #[must_use]
    pub const fn new(fault: Fault) -> Self {
        Self(fault)
    }

    /// The address that tells most: of the access for a page fault, else of the instruction.
    #[must_use]
    pub const fn address(self) -> Word {
        match self.0 {
            Fault::VmFault(fault) => fault.addr,
            Fault::UserException(fault) => fault.fault_ip,
            Fault::CapFault(fault) => fault.ip,
            Fault::UnknownSyscall(fault) => fault.fault_ip,
            Fault::NullFault(_) | Fault::Timeout(_) | Fault::Other(_) => 0,
        }
    }

    /// The instruction that caused it.
    #[must_use]
    pub const fn instruction(self) -> Word {
        match self.0 {
            Fault::VmFault(fault) => fault.ip,
            _ => self.address(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fault::NullFault(_) => f.write_str("none"),
            Fault::CapFault(fault) if fault.in_recv_phase != 0 => {
                write!(f, "no-capability-to-receive-{:#x}", fault.addr)
            }
            Fault::CapFault(fault) => write!(f, "no-capability-{:#x}", fault.addr),
            Fault::UnknownSyscall(fault) => write!(f, "unknown-system-call-{:#x}", fault.syscall),
            Fault::UserException(fault) => exception(fault, f),
            Fault::VmFault(fault) => f.write_str(access(fault)),
            Fault::Timeout(_) => f.write_str("timeout"),
            Fault::Other(label) => write!(f, "message-{label:#x}"),
        }
    }
}

/// The error code's write bit (APM vol. 2, 8.4.2).
const WRITE: Word = 2;

const fn access(fault: VmFault) -> &'static str {
    if fault.prefetch_fault != 0 {
        "page-fault-fetch"
    } else if fault.fsr & WRITE != 0 {
        "page-fault-write"
    } else {
        "page-fault-read"
    }
}

/// Vectors of APM vol. 2, table 8-1.
fn exception(fault: UserException, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match fault.number {
        0 => "divide-error",
        1 => "debug",
        3 => "breakpoint",
        4 => "overflow",
        6 => "invalid-opcode",
        7 => "no-fpu",
        12 => "stack-fault",
        13 => "general-protection",
        16 => "x87",
        17 => "alignment",
        19 => "simd",
        number => return write!(f, "exception-{number}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_s_undefined_instruction_is_named_with_its_address() {
        let cause = Cause::new(Fault::from_words(3, &[0x20_1000, 0, 0, 6, 0]));
        assert_eq!(
            (cause.to_string().as_str(), cause.address()),
            ("invalid-opcode", 0x20_1000)
        );
    }

    #[test]
    fn a_page_fault_tells_the_access_and_its_address() {
        for (fetch, code, word) in [(0, 4, "read"), (0, 6, "write"), (1, 0x14, "fetch")] {
            let cause = Cause::new(Fault::from_words(6, &[0x20_1000, 0x10, fetch, code]));
            assert_eq!(
                (cause.to_string(), cause.address()),
                (format!("page-fault-{word}"), 0x10)
            );
            assert_eq!(cause.instruction(), 0x20_1000);
        }
    }

    #[test]
    fn causes_are_single_words() {
        for label in 0..8 {
            let cause = Cause::new(Fault::from_words(label, &[0; 19])).to_string();
            assert!(!cause.is_empty() && !cause.contains(char::is_whitespace));
        }
    }
}
