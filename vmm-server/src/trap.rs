//! Why handling an exit did not end with the guest's next instruction.

use crate::platform::Refused;
use crate::vcpu::Stopped;
use protocol::device::Stop;
use vcpu::control::GeneralProtection;
use vcpu::debug::Conditions;
use words::x86::vector;

/// The guest gets an exception, or no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trap {
    /// An exception; the code counts where the vector has one.
    Exception { vector: u8, code: u32 },
    /// A page fault.
    PageFault { code: u32, address: u64 },
    /// A debug exception that comes before the instruction.
    Debug(Conditions),
    /// The VM stops.
    Stop(Stopped),
}

impl Trap {
    /// #GP(0).
    pub(crate) const GENERAL_PROTECTION: Self = Self::Exception {
        vector: vector::GP,
        code: 0,
    };
    /// #UD.
    pub(crate) const UNDEFINED: Self = Self::Exception {
        vector: vector::UD,
        code: 0,
    };

    /// The VM stops for `reason`; `what` names it in the log.
    pub(crate) const fn stop(reason: Stop, value: u64, what: &'static str) -> Self {
        Self::Stop(Stopped {
            reason,
            value,
            what,
        })
    }

    /// mmu-server refused, or answered something that is no answer.
    pub(crate) const MMU_REFUSED: Self =
        Self::stop(Stop::DomainFailed, 0, "mmu-server refused a request");
}

impl From<GeneralProtection> for Trap {
    fn from(_: GeneralProtection) -> Self {
        Self::GENERAL_PROTECTION
    }
}

/// A request mmu-server owes an answer to.
impl From<Refused> for Trap {
    fn from(_: Refused) -> Self {
        Self::MMU_REFUSED
    }
}
