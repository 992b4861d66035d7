//! How capabilities relate: what memory one's object occupies, whether two name one object, whether one covers another.

use super::layout::{DETAIL, tag};
use super::{Cap, Words, ZombieKind, frame_bits};
use sel4_abi::object;

impl Cap {
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
}

impl Words {
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
            tag::ZOMBIE => match ZombieKind::of_detail(detail) {
                ZombieKind::Tcb => object::TCB_BITS,
                ZombieKind::CNode { radix } => radix as u64 + object::SLOT_BITS,
                ZombieKind::Endpoint => object::ENDPOINT_BITS,
                ZombieKind::Notification => object::NOTIFICATION_BITS,
                ZombieKind::AsidPool { .. } => 12,
            },
            _ => return None,
        };
        let start = match self.tag() {
            tag::CNODE => self.cnode_address(),
            _ => self.address(),
        };
        Some((start, start + (1 << bits)))
    }
    /// What all capabilities of one object have in common and no other has; 0 for those that name no object which others
    /// could name, too. A zombie stands for the container it was made of.
    const fn identity(self) -> u64 {
        match self.tag() {
            0 | tag::UNTYPED | tag::IRQ_CONTROL | tag::IO_PORT_CONTROL => 0,
            tag::CNODE => tag::CNODE << 59 | self.cnode_address(),
            tag::FRAME => self.0 & !((DETAIL & !3) << 48),
            tag::TABLE => self.0 & !((DETAIL & !7) << 48),
            tag::ZOMBIE => match ZombieKind::of_detail(self.detail()) {
                ZombieKind::Tcb => tag::TCB << 59 | self.address(),
                ZombieKind::CNode { .. } => tag::CNODE << 59 | self.address(),
                _ => self.0,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::{Mapping, SpaceKind};
    use crate::mem::Ref;
    use sel4_abi::Rights;

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
