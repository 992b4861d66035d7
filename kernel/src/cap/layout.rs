//! Where a capability's parts are in its slot's two words: tag in bits 63..59 of the first, 11 bits of detail below,
//! 48 bits of address; the second is what the kind needs beside.

use super::{Mapping, SpaceKind, ZombieKind};
use sel4_abi::Rights;

/// What a capability is: the highest bits of its first word, zero in an empty slot.
pub(super) mod tag {
    pub const UNTYPED: u64 = 1;
    pub const ENDPOINT: u64 = 2;
    pub const NOTIFICATION: u64 = 3;
    pub const REPLY: u64 = 4;
    pub const CNODE: u64 = 5;
    pub const TCB: u64 = 6;
    pub const SCHED_CONTEXT: u64 = 7;
    pub const SCHED_CONTROL: u64 = 8;
    pub const IRQ_CONTROL: u64 = 9;
    pub const IRQ_HANDLER: u64 = 10;
    pub const IO_PORT_CONTROL: u64 = 11;
    pub const IO_PORT: u64 = 12;
    pub const DOMAIN_SET: u64 = 13;
    pub const ASID_CONTROL: u64 = 14;
    pub const ASID_POOL: u64 = 15;
    pub const FRAME: u64 = 16;
    pub const TABLE: u64 = 17;
    pub const VCPU: u64 = 18;
    pub const SHADOW_POOL: u64 = 19;
    pub const ZOMBIE: u64 = 20;
}

pub(super) const ADDRESS: u64 = (1 << 48) - 1;
/// What a CNode's address begins with: below is its guard's size.
pub(super) const CNODE_ADDRESS: u64 = ADDRESS & !63;
pub(super) const DETAIL: u64 = (1 << 11) - 1;

// What a zombie's detail says beyond a CNode's radix; pools come last, with their number added.
const ZOMBIE_ENDPOINT: u64 = 64;
const ZOMBIE_NOTIFICATION: u64 = 65;
const ZOMBIE_POOLS: u64 = 66;
/// Detail of a CNode whose radix and guard take all of an address.
pub(super) const WHOLE: u64 = 1 << 6;
/// Detail of what is mapped in, or makes up, a guest-physical space.
pub(super) const GUEST: u64 = 1 << 5;
/// Detail of an endpoint, beside its rights in the low bits, so that what a system call needs is next to the tag: one can
/// receive; one can call, that is, send so that the receiver can answer.
const RECEIVES: u64 = 1 << 10;
const CALLS: u64 = 1 << 9;

const fn endpoint_detail(rights: Rights) -> u64 {
    let answers = rights.has(Rights::GRANT) || rights.has(Rights::GRANT_REPLY);
    rights.bits()
        | (RECEIVES * rights.has(Rights::READ) as u64)
        | (CALLS * (rights.has(Rights::WRITE) && answers) as u64)
}

/// An endpoint's detail by its rights.
pub(super) const ENDPOINT_DETAILS: [u64; 16] = {
    let mut details = [0; 16];
    let mut rights = 0;
    while rights < 16 {
        details[rights] = endpoint_detail(Rights::new(rights as u64));
        rights += 1;
    }
    details
};

impl SpaceKind {
    /// What it adds to the detail of a frame or table.
    #[inline(always)]
    pub(super) const fn detail(self) -> u64 {
        GUEST * matches!(self, Self::Guest) as u64
    }
    #[inline(always)]
    pub(super) const fn of_detail(detail: u64) -> Self {
        if detail & GUEST != 0 {
            Self::Guest
        } else {
            Self::Host
        }
    }
}

impl Mapping {
    /// What it adds to a frame's detail, and the second word; zeros if there is none.
    #[inline(always)]
    pub(super) fn words(mapping: Option<Self>) -> (u64, u64) {
        mapping.map_or((0, 0), |m| {
            (m.kind.detail(), u64::from(m.asid) << 48 | m.address)
        })
    }
}

impl ZombieKind {
    /// What it makes the detail of a zombie.
    pub(super) const fn detail(self) -> u64 {
        match self {
            Self::Tcb => 0,
            Self::CNode { radix } => radix as u64,
            Self::Endpoint => ZOMBIE_ENDPOINT,
            Self::Notification => ZOMBIE_NOTIFICATION,
            Self::AsidPool { number } => ZOMBIE_POOLS + number as u64,
        }
    }
    #[inline(always)]
    pub(super) const fn of_detail(detail: u64) -> Self {
        match detail {
            0 => Self::Tcb,
            ZOMBIE_ENDPOINT => Self::Endpoint,
            ZOMBIE_NOTIFICATION => Self::Notification,
            pool @ ZOMBIE_POOLS.. => Self::AsidPool {
                number: (pool - ZOMBIE_POOLS) as u8,
            },
            radix => Self::CNode { radix: radix as u8 },
        }
    }
}
