//! seL4's x86_64 MCS ABI as one table, seen by the kernel and by every program: system calls, invocation labels, error
//! codes, object types and sizes, message words, boot information. Umbra's own additions are numbered from 0x100 and its
//! object types follow the standard ones.
//!
//! Source of the numbers: seL4 x86_64, MCS configuration, without VT-x, IOMMU and the hardware debug API.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod boot_info;
pub mod fault;
pub mod label;
pub mod message;
pub mod object;
pub mod syscall;

/// A machine word.
pub type Word = u64;

/// Message words carried in registers: r10, r8, r9, r15.
pub const MSG_REGISTERS: usize = 4;
/// Message words in all; words from [`MSG_REGISTERS`] on live in the IPC buffer.
pub const MSG_MAX_LENGTH: usize = 120;
/// Extra capabilities a message may name.
pub const MSG_MAX_EXTRA_CAPS: usize = 3;
/// Size and alignment of the IPC buffer in bytes.
pub const IPC_BUFFER_SIZE: u64 = 1024;
/// First address a user mapping may not reach.
pub const USER_TOP: u64 = 0x7fff_ffff_f000;
/// Highest scheduling priority.
pub const MAX_PRIORITY: u64 = 255;
/// Most objects one retype makes.
pub const RETYPE_FAN_OUT_LIMIT: u64 = 256;
/// Words of a thread's register frame.
pub const USER_CONTEXT_WORDS: usize = 20;

/// Error codes: the label of an invocation's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Error {
    /// Argument MR0 is not allowed.
    InvalidArgument = 1,
    /// Capability MR0 (0: the invoked one, n: the nth extra) is of the wrong kind or lacks a right.
    InvalidCapability = 2,
    /// The operation is not possible on this object now.
    IllegalOperation = 3,
    /// An argument lies outside MR0..=MR1.
    RangeError = 4,
    /// An address is not aligned.
    AlignmentError = 5,
    /// A capability look-up failed: MR0 is 1 for the source, then a look-up failure description.
    FailedLookup = 6,
    /// Too few words or capabilities.
    TruncatedMessage = 7,
    /// The destination is occupied.
    DeleteFirst = 8,
    /// The capability has derived ones.
    RevokeFirst = 9,
    /// The untyped has only MR0 bytes left.
    NotEnoughMemory = 10,
}

impl Error {
    /// The error with this number, if there is one.
    #[must_use]
    pub const fn from_label(label: Word) -> Option<Self> {
        Some(match label {
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => return None,
        })
    }
    /// The error with this number, if there is one, as rust-sel4 names the function.
    #[must_use]
    pub const fn from_sys(number: u32) -> Option<Self> {
        Self::from_label(number as Word)
    }
    /// Its number.
    #[must_use]
    pub const fn into_sys(self) -> u32 {
        self as u32
    }
}

/// Why a capability address names no slot; encoded from MR1 of an error reply and MR3 of a capability fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupFailure {
    /// The root is not a CNode.
    InvalidRoot,
    /// The slot holds no suitable capability.
    MissingCapability {
        /// Address bits not yet resolved.
        bits_left: Word,
    },
    /// The tree ends too early or too late.
    DepthMismatch {
        /// Address bits not yet resolved.
        bits_left: Word,
        /// Bits the CNode would resolve.
        bits_found: Word,
    },
    /// The guard does not match the address.
    GuardMismatch {
        /// Address bits not yet resolved.
        bits_left: Word,
        /// The capability's guard.
        guard: Word,
        /// The capability's guard size.
        guard_size: Word,
    },
}

impl LookupFailure {
    /// The description's words and how many there are.
    #[must_use]
    pub const fn words(self) -> ([Word; 4], usize) {
        match self {
            Self::InvalidRoot => ([1, 0, 0, 0], 1),
            Self::MissingCapability { bits_left } => ([2, bits_left, 0, 0], 2),
            Self::DepthMismatch {
                bits_left,
                bits_found,
            } => ([3, bits_left, bits_found, 0], 3),
            Self::GuardMismatch {
                bits_left,
                guard,
                guard_size,
            } => ([4, bits_left, guard, guard_size], 4),
        }
    }
}

/// Capability rights: a word of four bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Rights(Word);

impl Rights {
    /// Send, signal, write.
    pub const WRITE: Word = 1;
    /// Receive, wait, read.
    pub const READ: Word = 2;
    /// Pass capabilities; a reply capability goes with a call.
    pub const GRANT: Word = 4;
    /// A reply capability goes with a call.
    pub const GRANT_REPLY: Word = 8;
    /// Everything.
    pub const ALL: Self = Self(15);

    /// The rights in the low four bits of `word`; the others mean nothing.
    #[must_use]
    pub const fn new(word: Word) -> Self {
        Self(word & 15)
    }
    /// The word.
    #[must_use]
    pub const fn bits(self) -> Word {
        self.0
    }
    /// Whether all of `bits` are there.
    #[must_use]
    pub const fn has(self, bits: Word) -> bool {
        self.0 & bits == bits
    }
    /// The rights both have.
    #[must_use]
    pub const fn mask(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
