//! The lines that say how a test went.

use core::fmt;
use sel4::logging::PLAIN;

/// One test's line; what went well was counted.
pub fn line(name: &str, how: Result<u64, Found>) {
    match how {
        Ok(attempts) => log::info!(target: PLAIN, "umbra-test {name} ok attempts={attempts}"),
        Err(found) => log::info!(target: PLAIN, "umbra-test {name} failed: {found}"),
    }
}

/// What a domain should not have found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A slot holds something else than it should.
    Capability {
        /// Where.
        slot: u64,
        /// What the kernel calls it.
        kind: u64,
    },
    /// An invocation that gives or uses addresses succeeded.
    Done {
        /// Of what.
        slot: u64,
        /// Which.
        label: u64,
    },
    /// A reply contained what may be an address of the machine's memory.
    Address {
        /// Of what.
        slot: u64,
        /// Which.
        label: u64,
        /// The word.
        word: u64,
    },
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability { slot, kind } => {
                write!(f, "slot {slot} holds a capability of kind {kind}")
            }
            Self::Done { slot, label } => write!(f, "label {label:#x} on slot {slot} was done"),
            Self::Address { slot, label, word } => {
                write!(f, "label {label:#x} on slot {slot} answered {word:#x}")
            }
        }
    }
}
