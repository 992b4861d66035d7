//! Capabilities: what one can name, as a value ([`Cap`]), and its two-word form in a slot (`Words`).

mod derive;
mod encoding;
mod layout;
mod relations;
mod words;

pub use derive::frame_rights;
pub(crate) use words::{CNode, Frame, Untyped, Words, Zombie};

use crate::mem::{Page, Ref};
use crate::object::*;
use sel4_abi::Rights;

/// Which kind of address space a frame or table is mapped in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceKind {
    /// A user program's.
    Host,
    /// A guest-physical space.
    Guest,
}

/// Where a frame or paging structure is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The space's ASID, never 0.
    pub asid: u16,
    /// User address or guest-physical address.
    pub address: u64,
    /// Which kind of space.
    pub kind: SpaceKind,
}

/// What a destroyed container was: its parts go one by one, so that no interrupt waits for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZombieKind {
    /// A TCB's five slots.
    Tcb,
    /// A CNode's 2^radix slots.
    CNode {
        /// Its radix.
        radix: u8,
    },
    /// An endpoint's queue.
    Endpoint,
    /// A notification's queue.
    Notification,
    /// The names of an ASID pool's spaces.
    AsidPool {
        /// The pool's number.
        number: u8,
    },
}

/// A capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the fields are what seL4's documentation calls by these names
pub enum Cap {
    Null,
    Untyped {
        base: u64,
        bits: u8,
        device: bool,
        dirty: bool,
        free: u64,
    },
    Endpoint {
        object: Ref<Endpoint>,
        badge: u64,
        rights: Rights,
    },
    Notification {
        object: Ref<Notification>,
        badge: u64,
        rights: Rights,
    },
    Reply {
        object: Ref<Reply>,
        grant: bool,
    },
    CNode {
        object: u64,
        radix: u8,
        guard_size: u8,
        guard: u64,
    },
    Tcb {
        object: Ref<Tcb>,
    },
    SchedContext {
        object: Ref<SchedContext>,
        bits: u8,
    },
    SchedControl,
    IrqControl,
    IrqHandler {
        irq: u8,
    },
    IoPortControl,
    IoPort {
        first: u16,
        last: u16,
    },
    DomainSet,
    AsidControl,
    AsidPool {
        object: Ref<AsidPool>,
        base: u16,
    },
    /// `size`: 0 4 KiB, 1 2 MiB, 2 1 GiB. `rights`: bit 0 write, bit 1 read.
    Frame {
        base: u64,
        size: u8,
        device: bool,
        rights: u8,
        mapping: Option<Mapping>,
    },
    /// A paging structure of `level` 1..=4; for level 4 the mapping's ASID is the space's own, address 0.
    Table {
        object: Ref<Page>,
        level: u8,
        kind: SpaceKind,
        mapping: Option<Mapping>,
    },
    Vcpu {
        object: Ref<Vcpu>,
        rights: Rights,
    },
    ShadowPool {
        object: Ref<ShadowPool>,
        bits: u8,
    },
    Zombie {
        object: u64,
        kind: ZombieKind,
        count: u64,
    },
}

impl Cap {
    /// Whether the slot is free.
    #[must_use]
    pub fn is_null(self) -> bool {
        self == Self::Null
    }

    /// The type number `DebugCapIdentify` answers.
    #[must_use]
    pub fn identify(self) -> u64 {
        match self {
            Self::Null => 0,
            Self::Untyped { .. } => 2,
            Self::Endpoint { .. } => 4,
            Self::Notification { .. } => 6,
            Self::Reply { .. } => 8,
            Self::CNode { .. } => 10,
            Self::Tcb { .. } => 12,
            Self::IrqControl => 14,
            Self::IrqHandler { .. } => 16,
            Self::Zombie { .. } => 18,
            Self::DomainSet => 20,
            Self::SchedContext { .. } => 22,
            Self::SchedControl => 24,
            Self::Frame { .. } => 1,
            Self::Table { level: 1, .. } => 3,
            Self::Table { level: 2, .. } => 5,
            Self::Table { level: 3, .. } => 7,
            Self::Table { .. } => 9,
            Self::AsidControl => 11,
            Self::AsidPool { .. } => 13,
            Self::IoPort { .. } => 19,
            Self::IoPortControl => 31,
            Self::Vcpu { .. } => 33,
            Self::ShadowPool { .. } => 35,
        }
    }
}

/// log2 of the bytes of a frame of `size` 0, 1, 2.
#[inline(always)]
#[must_use]
pub const fn frame_bits(size: u8) -> u64 {
    const BITS: &[u64; 4] = &[12, 21, 30, 30];
    BITS[(size & 3) as usize]
}
