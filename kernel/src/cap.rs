//! Capabilities: what one can name, as a value, and its two-word form in a slot.

use crate::mem::{Page, Ref};
use crate::object::*;
use sel4_abi::{Rights, object};

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

/// Untyped memory, as [`Cap::Untyped`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Untyped {
    pub base: u64,
    pub bits: u8,
    pub device: bool,
    pub dirty: bool,
    pub free: u64,
}

/// A destroyed container: what is left of it to take apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Zombie {
    pub object: u64,
    pub kind: ZombieKind,
    pub count: u64,
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

/// What a capability is: the highest bits of its first word, zero in an empty slot.
mod tag {
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

const ADDRESS: u64 = (1 << 48) - 1;
/// What a CNode's address begins with: below is its guard's size.
const CNODE_ADDRESS: u64 = ADDRESS & !63;
const DETAIL: u64 = (1 << 11) - 1;

// What a zombie's detail says beyond a CNode's radix; pools come last, with their number added.
const ZOMBIE_ENDPOINT: u64 = 64;
const ZOMBIE_NOTIFICATION: u64 = 65;
const ZOMBIE_POOLS: u64 = 66;
/// Detail of a CNode whose radix and guard take all of an address.
const WHOLE: u64 = 1 << 6;
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
const ENDPOINT_DETAILS: [u64; 16] = {
    let mut details = [0; 16];
    let mut rights = 0;
    while rights < 16 {
        details[rights] = endpoint_detail(Rights::new(rights as u64));
        rights += 1;
    }
    details
};

#[inline(always)]
fn mapping_word(mapping: Option<Mapping>) -> (u64, u64) {
    match mapping {
        None => (0, 0),
        Some(m) => (
            u64::from(m.kind == SpaceKind::Guest),
            u64::from(m.asid) << 48 | m.address,
        ),
    }
}

#[inline(always)]
fn mapping_of(guest: bool, word: u64) -> Option<Mapping> {
    let asid = (word >> 48) as u16;
    let kind = if guest {
        SpaceKind::Guest
    } else {
        SpaceKind::Host
    };
    (asid != 0).then_some(Mapping {
        asid,
        address: word & ADDRESS,
        kind,
    })
}

impl Cap {
    /// The two words kept in a slot: tag in bits 63..59 of the first, 11 bits of detail below, 48 bits of address.
    #[must_use]
    pub fn encode(self) -> (u64, u64) {
        let pack = |tag: u64, detail: u64, address: u64| tag << 59 | detail << 48 | address;
        match self {
            Self::Null => (0, 0),
            Self::Untyped {
                base,
                bits,
                device,
                dirty,
                free,
            } => {
                let Words(first, second) = Untyped {
                    base,
                    bits,
                    device,
                    dirty,
                    free,
                }
                .words();
                (first, second)
            }
            Self::Endpoint {
                object,
                badge,
                rights,
            } => (
                pack(
                    tag::ENDPOINT,
                    ENDPOINT_DETAILS[rights.bits() as usize & 15],
                    object.bits(),
                ),
                badge,
            ),
            Self::Notification {
                object,
                badge,
                rights,
            } => (pack(tag::NOTIFICATION, rights.bits(), object.bits()), badge),
            Self::Reply { object, grant } => (pack(tag::REPLY, 0, object.bits()), u64::from(grant)),
            Self::CNode {
                object,
                radix,
                guard_size,
                guard,
            } => (
                pack(
                    tag::CNODE,
                    u64::from(radix) | (WHOLE * u64::from(radix + guard_size == 64)),
                    object | u64::from(guard_size),
                ),
                guard << radix,
            ),
            Self::Tcb { object } => (pack(tag::TCB, 0, object.bits()), 0),
            Self::SchedContext { object, bits } => {
                (pack(tag::SCHED_CONTEXT, u64::from(bits), object.bits()), 0)
            }
            Self::SchedControl => (pack(tag::SCHED_CONTROL, 0, 0), 0),
            Self::IrqControl => (pack(tag::IRQ_CONTROL, 0, 0), 0),
            Self::IrqHandler { irq } => (pack(tag::IRQ_HANDLER, 0, u64::from(irq)), 0),
            Self::IoPortControl => (pack(tag::IO_PORT_CONTROL, 0, 0), 0),
            Self::IoPort { first, last } => (
                pack(tag::IO_PORT, 0, u64::from(first) | u64::from(last) << 16),
                0,
            ),
            Self::DomainSet => (pack(tag::DOMAIN_SET, 0, 0), 0),
            Self::AsidControl => (pack(tag::ASID_CONTROL, 0, 0), 0),
            Self::AsidPool { object, base } => {
                (pack(tag::ASID_POOL, 0, object.bits()), u64::from(base))
            }
            Self::Frame {
                base,
                size,
                device,
                rights,
                mapping,
            } => {
                let (guest, word) = mapping_word(mapping);
                let detail = u64::from(size)
                    | u64::from(device) << 2
                    | u64::from(rights) << 3
                    | (guest * FRAME_GUEST);
                (pack(tag::FRAME, detail, base), word)
            }
            Self::Table {
                object,
                level,
                kind,
                mapping,
            } => {
                let (_, word) = mapping_word(mapping);
                let detail = u64::from(level) | u64::from(kind == SpaceKind::Guest) << 5;
                (pack(tag::TABLE, detail, object.bits()), word)
            }
            Self::Vcpu { object, rights } => (pack(tag::VCPU, rights.bits(), object.bits()), 0),
            Self::ShadowPool { object, bits } => {
                (pack(tag::SHADOW_POOL, u64::from(bits), object.bits()), 0)
            }
            Self::Zombie {
                object,
                kind,
                count,
            } => {
                let Words(first, second) = Zombie {
                    object,
                    kind,
                    count,
                }
                .words();
                (first, second)
            }
        }
    }

    /// The capability in a slot's two words.
    #[must_use]
    pub fn decode(first: u64, second: u64) -> Self {
        let detail = first >> 48 & DETAIL;
        let address = first & ADDRESS;
        let rights = Rights::new(detail);
        match first >> 59 {
            tag::UNTYPED => {
                let Untyped {
                    base,
                    bits,
                    device,
                    dirty,
                    free,
                } = Words(first, second).any_untyped();
                Self::Untyped {
                    base,
                    bits,
                    device,
                    dirty,
                    free,
                }
            }
            tag::ENDPOINT => Self::Endpoint {
                object: Ref::at(address),
                badge: second,
                rights,
            },
            tag::NOTIFICATION => Self::Notification {
                object: Ref::at(address),
                badge: second,
                rights,
            },
            tag::REPLY => Self::Reply {
                object: Ref::at(address),
                grant: second != 0,
            },
            tag::CNODE => Self::CNode {
                object: address & CNODE_ADDRESS,
                radix: detail as u8 & 63,
                guard_size: (address & 63) as u8,
                guard: second >> (detail & 63),
            },
            tag::TCB => Self::Tcb {
                object: Ref::at(address),
            },
            tag::SCHED_CONTEXT => Self::SchedContext {
                object: Ref::at(address),
                bits: detail as u8,
            },
            tag::SCHED_CONTROL => Self::SchedControl,
            tag::IRQ_CONTROL => Self::IrqControl,
            tag::IRQ_HANDLER => Self::IrqHandler { irq: address as u8 },
            tag::IO_PORT_CONTROL => Self::IoPortControl,
            tag::IO_PORT => Self::IoPort {
                first: address as u16,
                last: (address >> 16) as u16,
            },
            tag::DOMAIN_SET => Self::DomainSet,
            tag::ASID_CONTROL => Self::AsidControl,
            tag::ASID_POOL => Self::AsidPool {
                object: Ref::at(address),
                base: second as u16,
            },
            tag::FRAME => Self::Frame {
                base: address,
                size: (detail & 3) as u8,
                device: detail & 4 != 0,
                rights: (detail >> 3 & 3) as u8,
                mapping: mapping_of(detail & 32 != 0, second),
            },
            tag::TABLE => Self::Table {
                object: Ref::at(address),
                level: (detail & 7) as u8,
                kind: if detail & 32 != 0 {
                    SpaceKind::Guest
                } else {
                    SpaceKind::Host
                },
                mapping: mapping_of(detail & 32 != 0, second),
            },
            tag::VCPU => Self::Vcpu {
                object: Ref::at(address),
                rights,
            },
            tag::SHADOW_POOL => Self::ShadowPool {
                object: Ref::at(address),
                bits: detail as u8,
            },
            _ => match Words(first, second).zombie() {
                Some(zombie) => Self::Zombie {
                    object: zombie.object,
                    kind: zombie.kind,
                    count: zombie.count,
                },
                None => Self::Null,
            },
        }
    }

    /// Whether the slot is free.
    #[must_use]
    pub fn is_null(self) -> bool {
        self == Self::Null
    }

    /// Its two words.
    #[inline(always)]
    pub(crate) fn words(self) -> Words {
        let (first, second) = self.encode();
        Words(first, second)
    }

    /// The physical memory the capability's object occupies, `None` for objects without memory.
    #[must_use]
    pub fn extent(self) -> Option<(u64, u64)> {
        self.words().extent()
    }

    /// Whether `other` lies in the region this capability covers: the parent test's first half (docs/objects/cnode.md).
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.words().covers(other.words())
    }

    /// Whether both name the same object, rights, badges and mappings aside.
    #[must_use]
    pub fn same_object(self, other: Self) -> bool {
        self.words().same_object(other.words())
    }

    /// The capability with its rights cut down to `mask`; kinds without rights are unchanged.
    #[must_use]
    pub fn masked(self, mask: Rights) -> Self {
        match self {
            Self::Endpoint {
                object,
                badge,
                rights,
            } => Self::Endpoint {
                object,
                badge,
                rights: rights.mask(mask),
            },
            Self::Notification {
                object,
                badge,
                rights,
            } => Self::Notification {
                object,
                badge,
                rights: rights.mask(mask),
            },
            Self::Reply { object, grant } => Self::Reply {
                object,
                grant: grant && mask.has(Rights::GRANT),
            },
            Self::Frame {
                base,
                size,
                device,
                rights,
                mapping,
            } => {
                let rights = frame_rights(rights & mask.bits() as u8);
                Self::Frame {
                    base,
                    size,
                    device,
                    rights,
                    mapping,
                }
            }
            Self::Vcpu { object, rights } => Self::Vcpu {
                object,
                rights: rights.mask(mask),
            },
            other => other,
        }
    }

    /// The capability with badge or CNode guard data applied, or `Null` where that is not possible.
    /// `preserve`: Mutate semantics, which never give a badge.
    #[must_use]
    pub fn with_data(self, data: u64, preserve: bool) -> Self {
        match self {
            Self::Endpoint {
                object,
                badge: 0,
                rights,
            } if !preserve => Self::Endpoint {
                object,
                badge: data,
                rights,
            },
            Self::Notification {
                object,
                badge: 0,
                rights,
            } if !preserve => Self::Notification {
                object,
                badge: data,
                rights,
            },
            Self::Endpoint { .. } | Self::Notification { .. } => Self::Null,
            Self::CNode { object, radix, .. } => {
                let guard_size = (data & 63) as u8;
                if u32::from(guard_size) + u32::from(radix) > 64 {
                    return Self::Null;
                }
                let guard = if guard_size == 0 {
                    0
                } else {
                    (data >> 6) & (u64::MAX >> (64 - guard_size))
                };
                Self::CNode {
                    object,
                    radix,
                    guard_size,
                    guard,
                }
            }
            other => other,
        }
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

/// A slot's two words, for the kinds that every system call looks at: nothing is decoded that is not asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Words(pub u64, pub u64);

/// A CNode, as [`Cap::CNode`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CNode {
    pub object: u64,
    pub radix: u32,
    pub guard_size: u32,
    pub guard: u64,
}

/// A frame: the two words of a [`Cap::Frame`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame(Words);

/// Detail of a frame that is mapped in a guest-physical space.
const FRAME_GUEST: u64 = 1 << 5;

impl Frame {
    #[inline(always)]
    pub(crate) const fn base(self) -> u64 {
        self.0.address()
    }
    #[inline(always)]
    pub(crate) const fn size(self) -> u8 {
        self.0.kind() as u8 & 3
    }
    #[inline(always)]
    pub(crate) const fn is_device(self) -> bool {
        self.0.kind() & 4 != 0
    }
    #[inline(always)]
    pub(crate) const fn rights(self) -> u8 {
        (self.0.kind() >> 3) as u8 & 3
    }
    #[inline(always)]
    pub(crate) fn mapping(self) -> Option<Mapping> {
        mapping_of(u64::from(self.0.kind()) & FRAME_GUEST != 0, self.0.1)
    }
    /// The same memory, mapped so.
    #[inline(always)]
    pub(crate) fn with_mapping(self, mapping: Option<Mapping>) -> Words {
        let (guest, word) = mapping_word(mapping);
        let first = self.0.0 & !(FRAME_GUEST << 48) | (guest * FRAME_GUEST) << 48;
        Words(first, word)
    }
}

impl Untyped {
    /// Its two words in a slot.
    #[inline(always)]
    pub(crate) const fn words(self) -> Words {
        let detail = self.bits as u64 | (self.device as u64) << 6 | (self.dirty as u64) << 7;
        Words(tag::UNTYPED << 59 | detail << 48 | self.base, self.free)
    }
}

impl Zombie {
    /// Its two words in a slot.
    #[inline(always)]
    pub(crate) fn words(self) -> Words {
        let detail = match self.kind {
            ZombieKind::Tcb => 0,
            ZombieKind::CNode { radix } => u64::from(radix),
            ZombieKind::Endpoint => ZOMBIE_ENDPOINT,
            ZombieKind::Notification => ZOMBIE_NOTIFICATION,
            ZombieKind::AsidPool { number } => ZOMBIE_POOLS + u64::from(number),
        };
        Words(tag::ZOMBIE << 59 | detail << 48 | self.object, self.count)
    }
}

impl Words {
    /// Tag and detail.
    #[inline(always)]
    const fn kind(self) -> u32 {
        (self.0 >> 48) as u32
    }
    #[inline(always)]
    const fn address(self) -> u64 {
        self.0 & ADDRESS
    }
    #[inline(always)]
    const fn tag(self) -> u64 {
        self.0 >> 59
    }
    #[inline(always)]
    const fn detail(self) -> u64 {
        self.0 >> 48 & DETAIL
    }
    /// As [`Cap::extent`].
    pub(crate) const fn extent(self) -> Option<(u64, u64)> {
        let detail = self.detail();
        let bits = match self.tag() {
            tag::UNTYPED => detail & 63,
            tag::ENDPOINT => object::ENDPOINT_BITS,
            tag::NOTIFICATION => object::NOTIFICATION_BITS,
            tag::REPLY => object::REPLY_BITS,
            tag::CNODE => (detail & 63) + object::SLOT_BITS,
            tag::TCB => object::TCB_BITS,
            tag::SCHED_CONTEXT => detail,
            tag::ASID_POOL | tag::TABLE => 12,
            tag::FRAME => frame_bits(detail as u8),
            tag::VCPU => object::VCPU_BITS,
            tag::SHADOW_POOL => detail + 12,
            tag::ZOMBIE => match detail {
                0 => object::TCB_BITS,
                ZOMBIE_ENDPOINT => object::ENDPOINT_BITS,
                ZOMBIE_NOTIFICATION => object::NOTIFICATION_BITS,
                ZOMBIE_POOLS.. => 12,
                radix => radix + object::SLOT_BITS,
            },
            _ => return None,
        };
        let start = match self.tag() {
            tag::CNODE => self.0 & CNODE_ADDRESS,
            _ => self.address(),
        };
        Some((start, start + (1 << bits)))
    }
    /// What all capabilities of one object have in common and no other has; 0 for those that name no object which others
    /// could name, too. A zombie stands for the container it was made of.
    const fn identity(self) -> u64 {
        match self.tag() {
            0 | tag::UNTYPED | tag::IRQ_CONTROL | tag::IO_PORT_CONTROL => 0,
            tag::CNODE => tag::CNODE << 59 | self.0 & CNODE_ADDRESS,
            tag::FRAME => self.0 & !((DETAIL & !3) << 48),
            tag::TABLE => self.0 & !((DETAIL & !7) << 48),
            tag::ZOMBIE => match self.detail() {
                0 => tag::TCB << 59 | self.address(),
                ZOMBIE_ENDPOINT.. => self.0,
                _radix => tag::CNODE << 59 | self.address(),
            },
            _ => self.0 & !(DETAIL << 48),
        }
    }
    /// As [`Cap::same_object`].
    pub(crate) const fn same_object(self, other: Self) -> bool {
        let identity = self.identity();
        identity != 0 && identity == other.identity()
    }
    /// As [`Cap::covers`].
    pub(crate) const fn covers(self, other: Self) -> bool {
        match (self.tag(), other.tag()) {
            (tag::UNTYPED, _) | (tag::FRAME, tag::FRAME) => match (self.extent(), other.extent()) {
                (Some((start, end)), Some((low, high))) => start <= low && high <= end,
                _ => false,
            },
            (tag::IRQ_CONTROL, tag::IRQ_CONTROL | tag::IRQ_HANDLER)
            | (tag::IO_PORT_CONTROL, tag::IO_PORT_CONTROL | tag::IO_PORT) => true,
            _ => self.same_object(other),
        }
    }
    /// Whether a copy `self` of `source` is itself revocable.
    pub(crate) const fn is_revocable_copy_of(self, source: Self) -> bool {
        match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION => self.1 != source.1,
            tag::IRQ_HANDLER => source.tag() == tag::IRQ_CONTROL,
            tag::IO_PORT => source.tag() == tag::IO_PORT_CONTROL,
            tag => tag == tag::UNTYPED,
        }
    }
    /// The badge of an endpoint or a notification, 0 for none, and of what has no badges.
    pub(crate) const fn badge(self) -> u64 {
        match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION => self.1,
            _ => 0,
        }
    }
    /// The address, if tag and detail are those.
    #[inline(always)]
    const fn address_of(self, tag: u64, detail: u64) -> Option<u64> {
        match self.0 ^ (tag << 59 | detail << 48) {
            address @ ..=ADDRESS => Some(address),
            _ => None,
        }
    }
    #[inline(always)]
    const fn any_untyped(self) -> Untyped {
        let detail = self.detail();
        Untyped {
            base: self.address(),
            bits: (detail & 63) as u8,
            device: detail & 64 != 0,
            dirty: detail & 128 != 0,
            free: self.1,
        }
    }
    /// Untyped memory.
    #[inline(always)]
    pub(crate) fn untyped(self) -> Option<Untyped> {
        (self.tag() == tag::UNTYPED).then(|| self.any_untyped())
    }
    /// A destroyed container.
    #[inline(always)]
    pub(crate) fn zombie(self) -> Option<Zombie> {
        let kind = match self.detail() {
            _ if self.tag() != tag::ZOMBIE => return None,
            0 => ZombieKind::Tcb,
            ZOMBIE_ENDPOINT => ZombieKind::Endpoint,
            ZOMBIE_NOTIFICATION => ZombieKind::Notification,
            pool @ ZOMBIE_POOLS.. => ZombieKind::AsidPool {
                number: (pool - ZOMBIE_POOLS) as u8,
            },
            radix => ZombieKind::CNode { radix: radix as u8 },
        };
        Some(Zombie {
            object: self.address(),
            kind,
            count: self.1,
        })
    }
    /// An endpoint one can call, and the badge.
    #[inline(always)]
    pub(crate) fn callable(self) -> Option<(Ref<Endpoint>, u64)> {
        // The tag, then `RECEIVES`, then `CALLS`.
        (self.0 >> 57 & !2 == tag::ENDPOINT << 2 | 1).then(|| (Ref::at(self.address()), self.1))
    }
    /// An endpoint one can receive from, and the rights.
    #[inline(always)]
    pub(crate) fn receivable(self) -> Option<(Ref<Endpoint>, Rights)> {
        // The tag, then `RECEIVES`.
        (self.0 >> 58 == tag::ENDPOINT << 1 | 1)
            .then(|| (Ref::at(self.address()), Rights::new(self.kind().into())))
    }
    /// A reply object.
    #[inline(always)]
    pub(crate) fn reply(self) -> Option<Ref<Reply>> {
        self.address_of(tag::REPLY, 0).map(Ref::at)
    }
    /// A CNode; one has at least two slots.
    #[inline(always)]
    pub(crate) fn cnode(self) -> Option<CNode> {
        let radix = self.kind().wrapping_sub((tag::CNODE as u32) << 11);
        (radix < 2 << 6).then(|| CNode {
            object: self.address() & !63,
            radix: radix & 63,
            guard_size: self.0 as u32 & 63,
            guard: self.1 >> (radix & 63),
        })
    }
    /// A CNode whose radix and guard take all of an address: where it is, its radix, and what the addresses of its slots
    /// begin with.
    #[inline(always)]
    pub(crate) fn whole_cnode(self) -> Option<(u64, u32, u64)> {
        let radix = self
            .kind()
            .wrapping_sub((tag::CNODE as u32) << 11 | WHOLE as u32);
        (radix < 64).then(|| (self.address() & !63, radix, self.1))
    }
    /// A user address space: the root table, and its number, 0 if it has none.
    #[inline(always)]
    pub(crate) fn space(self) -> Option<(Ref<Page>, u16)> {
        self.address_of(tag::TABLE, 4)
            .map(|root| (Ref::at(root), (self.1 >> 48) as u16))
    }
    /// A frame, as [`Cap::Frame`] has it.
    #[inline(always)]
    pub(crate) fn frame(self) -> Option<Frame> {
        (self.tag() == tag::FRAME).then_some(Frame(self))
    }
    /// Memory that an IPC buffer can be in: the frame's base, size and rights.
    #[inline(always)]
    pub(crate) fn buffer(self) -> Option<(u64, u8, u8)> {
        let detail = self.kind().wrapping_sub((tag::FRAME as u32) << 11);
        (detail < 1 << 11 && detail & 4 == 0)
            .then(|| (self.address(), detail as u8 & 3, (detail >> 3) as u8 & 3))
    }
}

/// log2 of the bytes of a frame of `size` 0, 1, 2.
#[inline(always)]
#[must_use]
pub const fn frame_bits(size: u8) -> u64 {
    const BITS: &[u64; 4] = &[12, 21, 30, 30];
    BITS[(size & 3) as usize]
}

/// Frame rights that exist: read-write, read-only, or neither; write alone is not available.
#[must_use]
pub fn frame_rights(bits: u8) -> u8 {
    match bits & 3 {
        3 => 3,
        2 => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cap_survives_its_slot_form() {
        let mapping = Some(Mapping {
            asid: 4095,
            address: 0x7fff_ffff_f000,
            kind: SpaceKind::Guest,
        });
        let host = Some(Mapping {
            asid: 1,
            address: 0x20_0000,
            kind: SpaceKind::Host,
        });
        let all = [
            Cap::Null,
            Cap::Untyped {
                base: 0x1000,
                bits: 47,
                device: true,
                dirty: true,
                free: 1 << 43,
            },
            Cap::Endpoint {
                object: Ref::at(0x10),
                badge: !0,
                rights: Rights::ALL,
            },
            Cap::Notification {
                object: Ref::at(0x40),
                badge: 5,
                rights: Rights::new(3),
            },
            Cap::Reply {
                object: Ref::at(0x20),
                grant: true,
            },
            Cap::CNode {
                object: 0x40,
                radix: 16,
                guard_size: 48,
                guard: (1 << 48) - 1,
            },
            Cap::Tcb {
                object: Ref::at(0x800),
            },
            Cap::SchedContext {
                object: Ref::at(0x80),
                bits: 9,
            },
            Cap::SchedControl,
            Cap::IrqControl,
            Cap::IrqHandler { irq: 107 },
            Cap::IoPortControl,
            Cap::IoPort {
                first: 0x3f8,
                last: 0xffff,
            },
            Cap::DomainSet,
            Cap::AsidControl,
            Cap::AsidPool {
                object: Ref::at(0x1000),
                base: 512,
            },
            Cap::Frame {
                base: 0x20_0000,
                size: 1,
                device: true,
                rights: 3,
                mapping,
            },
            Cap::Frame {
                base: 0x20_0000,
                size: 0,
                device: false,
                rights: 2,
                mapping: None,
            },
            Cap::Table {
                object: Ref::at(0x3000),
                level: 4,
                kind: SpaceKind::Host,
                mapping: host,
            },
            Cap::Table {
                object: Ref::at(0x3000),
                level: 1,
                kind: SpaceKind::Guest,
                mapping: None,
            },
            Cap::Vcpu {
                object: Ref::at(0x2000),
                rights: Rights::new(4),
            },
            Cap::ShadowPool {
                object: Ref::at(0x8000),
                bits: 10,
            },
            Cap::Zombie {
                object: 0x800,
                kind: ZombieKind::Tcb,
                count: 5,
            },
            Cap::Zombie {
                object: 0x800,
                kind: ZombieKind::CNode { radix: 3 },
                count: 8,
            },
        ];
        for cap in all {
            let (first, second) = cap.encode();
            assert_eq!(Cap::decode(first, second), cap);
        }
    }

    #[test]
    fn guards_that_do_not_fit_give_no_cap() {
        let cap = Cap::CNode {
            object: 0x40,
            radix: 16,
            guard_size: 0,
            guard: 0,
        };
        assert!(cap.with_data(49, false).is_null());
        assert!(!cap.with_data(48, false).is_null());
    }

    fn words(cap: Cap) -> Words {
        let (first, second) = cap.encode();
        Words(first, second)
    }

    #[test]
    fn an_endpoints_words_tell_what_its_rights_do() {
        for rights in (0..16).map(Rights::new) {
            let (object, badge) = (Ref::at(0xffff_ffff_fff0), 7);
            let words = words(Cap::Endpoint {
                object,
                badge,
                rights,
            });
            let answers = rights.has(Rights::GRANT) || rights.has(Rights::GRANT_REPLY);
            let calls = rights.has(Rights::WRITE) && answers;
            assert_eq!(words.callable(), calls.then_some((object, badge)));
            let receives = rights.has(Rights::READ);
            assert_eq!(words.receivable(), receives.then_some((object, rights)));
            let other = super::tests::words(Cap::Notification {
                object: Ref::at(0x40),
                badge,
                rights,
            });
            assert_eq!((other.callable(), other.receivable()), (None, None));
        }
    }

    #[test]
    fn a_frames_words_are_mapped_as_its_cap_is() {
        let at = |kind| {
            Some(Mapping {
                asid: 4095,
                address: 0x7fff_ffff_f000,
                kind,
            })
        };
        let all = [None, at(SpaceKind::Host), at(SpaceKind::Guest)];
        for (size, rights, device) in [(0, 3, false), (1, 2, true), (2, 0, true)] {
            let cap = |mapping| Cap::Frame {
                base: 0xffff_c000_0000,
                size,
                device,
                rights,
                mapping,
            };
            for (before, after) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
                let frame = words(cap(before)).frame().expect("a frame");
                assert_eq!(frame.mapping(), before);
                assert_eq!(
                    (frame.size(), frame.rights(), frame.is_device()),
                    (size, rights, device)
                );
                assert_eq!(frame.with_mapping(after), words(cap(after)));
            }
        }
    }

    fn endpoint(at: u64, badge: u64, rights: u64) -> Cap {
        Cap::Endpoint {
            object: Ref::at(at),
            badge,
            rights: Rights::new(rights),
        }
    }

    fn frame(base: u64, size: u8, mapping: Option<Mapping>) -> Cap {
        Cap::Frame {
            base,
            size,
            device: mapping.is_some(),
            rights: 2,
            mapping,
        }
    }

    fn untyped(base: u64, bits: u8) -> Cap {
        Cap::Untyped {
            base,
            bits,
            device: false,
            dirty: true,
            free: 0,
        }
    }

    #[test]
    fn capabilities_of_one_object_are_told_from_those_of_others() {
        let mapping = |kind| {
            Some(Mapping {
                asid: 7,
                address: 0x1000,
                kind,
            })
        };
        let cnode = |guard_size, guard| Cap::CNode {
            object: 0x1000,
            radix: 4,
            guard_size,
            guard,
        };
        let zombie = |kind, count| Cap::Zombie {
            object: 0x1000,
            kind,
            count,
        };
        let table = |level, kind, mapping| Cap::Table {
            object: Ref::at(0x1000),
            level,
            kind,
            mapping,
        };
        let (host, guest) = (SpaceKind::Host, SpaceKind::Guest);
        let notification = |badge, rights| Cap::Notification {
            object: Ref::at(0x1000),
            badge,
            rights: Rights::new(rights),
        };
        let reply = |grant| Cap::Reply {
            object: Ref::at(0x1000),
            grant,
        };
        let vcpu = |rights| Cap::Vcpu {
            object: Ref::at(0x1000),
            rights: Rights::new(rights),
        };
        let tcb = Cap::Tcb {
            object: Ref::at(0x1000),
        };
        let port = |first, last| Cap::IoPort { first, last };
        // One object a line.
        let objects: &[&[Cap]] = &[
            &[endpoint(0x1000, 0, 15), endpoint(0x1000, 5, 1)],
            &[endpoint(0x1010, 0, 15)],
            &[notification(0, 3), notification(!0, 1)],
            &[reply(true), reply(false)],
            &[
                cnode(0, 0),
                cnode(60, 3),
                zombie(ZombieKind::CNode { radix: 4 }, 3),
            ],
            &[tcb, zombie(ZombieKind::Tcb, 5), zombie(ZombieKind::Tcb, 1)],
            &[zombie(ZombieKind::Endpoint, 1)],
            &[zombie(ZombieKind::Notification, 1)],
            &[zombie(ZombieKind::AsidPool { number: 0 }, 512)],
            &[zombie(ZombieKind::AsidPool { number: 1 }, 512)],
            &[Cap::SchedContext {
                object: Ref::at(0x1000),
                bits: 8,
            }],
            &[Cap::SchedControl],
            &[Cap::DomainSet],
            &[Cap::AsidControl],
            &[Cap::IrqHandler { irq: 0 }],
            &[Cap::IrqHandler { irq: 63 }],
            &[port(0x1000, 0x1000)],
            &[port(0x1000, 0x1001)],
            &[Cap::AsidPool {
                object: Ref::at(0x1000),
                base: 512,
            }],
            &[
                frame(0, 0, None),
                frame(0, 0, mapping(host)),
                frame(0, 0, mapping(guest)),
            ],
            &[frame(0, 1, None), frame(0, 1, mapping(host))],
            &[frame(0x1000, 0, None)],
            &[table(1, host, None), table(1, host, mapping(host))],
            &[table(2, guest, None), table(2, guest, mapping(guest))],
            &[vcpu(7), vcpu(1)],
            &[Cap::ShadowPool {
                object: Ref::at(0x1000),
                bits: 5,
            }],
        ];
        for (n, these) in objects.iter().enumerate() {
            for (m, those) in objects.iter().enumerate() {
                for (a, b) in these.iter().flat_map(|a| those.iter().map(move |b| (a, b))) {
                    assert_eq!(a.same_object(*b), n == m, "{a:?} and {b:?}");
                }
            }
        }
        for nothing in [
            Cap::Null,
            untyped(0x1000, 12),
            Cap::IrqControl,
            Cap::IoPortControl,
        ] {
            assert!(!nothing.same_object(nothing), "{nothing:?}");
        }
    }

    #[test]
    fn a_capability_covers_what_lies_in_its_region() {
        let memory = untyped(0x1000, 12);
        for inside in [endpoint(0x1000, 5, 1), endpoint(0x1ff0, 0, 15), memory] {
            assert!(memory.covers(inside), "{inside:?}");
        }
        for outside in [
            endpoint(0xff0, 0, 15),
            endpoint(0x2000, 0, 15),
            untyped(0x1000, 13),
            untyped(0, 13),
            Cap::SchedControl,
            Cap::Null,
        ] {
            assert!(!memory.covers(outside), "{outside:?}");
        }
        let large = frame(0x20_0000, 1, None);
        assert!(large.covers(frame(0x3f_f000, 0, None)) && large.covers(large));
        assert!(
            !large.covers(frame(0x40_0000, 0, None)) && !large.covers(endpoint(0x20_0000, 0, 1))
        );
        assert!(!frame(0x20_0000, 0, None).covers(large));
        let (handler, port) = (
            Cap::IrqHandler { irq: 3 },
            Cap::IoPort { first: 1, last: 2 },
        );
        assert!(Cap::IrqControl.covers(handler) && Cap::IrqControl.covers(Cap::IrqControl));
        assert!(Cap::IoPortControl.covers(port) && Cap::IoPortControl.covers(Cap::IoPortControl));
        assert!(!Cap::IrqControl.covers(port) && !Cap::IoPortControl.covers(handler));
        assert!(!handler.covers(Cap::IrqControl) && handler.covers(handler));
    }
}
