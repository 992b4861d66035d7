//! What is asked of the engine, and what it answers.

use crate::access::Access;
use exit_abi::Mode;
use words::{Gpa, Gva};

/// A guest's page fault, or another access of the guest to a linear address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The guest's paging mode, with the CPL and RFLAGS.AC of the access.
    pub mode: Mode,
    /// The guest's CR3.
    pub cr3: u64,
    /// The address.
    pub gva: Gva,
    /// The access.
    pub access: Access,
}

/// What becomes of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The shadow lets the access go on.
    Filled,
    /// The guest's own fault: it gets a page fault with this error code.
    Inject {
        /// The error code.
        code: u32,
    },
    /// No memory there.
    Device {
        /// Where the guest's tables lead.
        gpa: Gpa,
        /// The access.
        access: Access,
    },
    /// Nothing was settled; let the guest try again.
    Retry,
}

/// Where an access by vmm-server on the guest's behalf leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To this guest-physical address.
    At(Gpa),
    /// To the guest's own page fault, with this error code.
    Inject {
        /// The error code.
        code: u32,
    },
    /// The guest's tables keep changing: let the guest try again.
    Retry,
}

/// Why a control register was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadReason {
    /// MOV to CR3.
    Cr3,
    /// CR0 changed.
    Cr0,
    /// CR4 changed.
    Cr4,
    /// EFER changed.
    Efer,
    /// The machine was started or reset.
    Reset,
}

/// What becomes of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// It counts.
    Done,
    /// The processor refuses it with #GP(0); the old state still counts.
    GeneralProtection,
}

/// A request that could not be served. Of what a guest does only [`Error::Endless`] comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The pool has fewer than [`MIN_PAGES`](crate::MIN_PAGES).
    PoolTooSmall,
    /// The kernel refuses operations even on a fresh shadow.
    Refused,
    /// The address is not canonical; the caller must not have let that pass.
    NonCanonical,
    /// The guest's instruction would fault for ever, as [`MAX_TURNS`](crate::bounds::MAX_TURNS) says.
    Endless,
}
