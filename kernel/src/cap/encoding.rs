//! From a capability to its slot's two words and back.

use super::layout::{ENDPOINT_DETAILS, WHOLE, tag};
use super::{Cap, Mapping, SpaceKind, Untyped, Words, Zombie};
use crate::mem::Ref;
use sel4_abi::Rights;

impl Cap {
    /// Its two words.
    pub(crate) fn words(self) -> Words {
        let plain = |tag| Words::new(tag, 0, 0, 0);
        match self {
            Self::Null => Words(0, 0),
            Self::Untyped {
                base,
                bits,
                device,
                dirty,
                free,
            } => Untyped {
                base,
                bits,
                device,
                dirty,
                free,
            }
            .words(),
            Self::Endpoint {
                object,
                badge,
                rights,
            } => {
                let detail = ENDPOINT_DETAILS[rights.bits() as usize & 15];
                Words::new(tag::ENDPOINT, detail, object.bits(), badge)
            }
            Self::Notification {
                object,
                badge,
                rights,
            } => Words::new(tag::NOTIFICATION, rights.bits(), object.bits(), badge),
            Self::Reply { object, grant } => {
                Words::new(tag::REPLY, 0, object.bits(), u64::from(grant))
            }
            Self::CNode {
                object,
                radix,
                guard_size,
                guard,
            } => Words::new(
                tag::CNODE,
                u64::from(radix) | (WHOLE * u64::from(radix + guard_size == 64)),
                object | u64::from(guard_size),
                guard << radix,
            ),
            Self::Tcb { object } => Words::new(tag::TCB, 0, object.bits(), 0),
            Self::SchedContext { object, bits } => {
                Words::new(tag::SCHED_CONTEXT, u64::from(bits), object.bits(), 0)
            }
            Self::SchedControl => plain(tag::SCHED_CONTROL),
            Self::IrqControl => plain(tag::IRQ_CONTROL),
            Self::IrqHandler { irq } => Words::new(tag::IRQ_HANDLER, 0, u64::from(irq), 0),
            Self::IoPortControl => plain(tag::IO_PORT_CONTROL),
            Self::IoPort { first, last } => {
                let range = u64::from(first) | u64::from(last) << 16;
                Words::new(tag::IO_PORT, 0, range, 0)
            }
            Self::DomainSet => plain(tag::DOMAIN_SET),
            Self::AsidControl => plain(tag::ASID_CONTROL),
            Self::AsidPool { object, base } => {
                Words::new(tag::ASID_POOL, 0, object.bits(), u64::from(base))
            }
            Self::Frame {
                base,
                size,
                device,
                rights,
                mapping,
            } => {
                let (space, word) = Mapping::words(mapping);
                let detail =
                    u64::from(size) | u64::from(device) << 2 | u64::from(rights) << 3 | space;
                Words::new(tag::FRAME, detail, base, word)
            }
            Self::Table {
                object,
                level,
                kind,
                mapping,
            } => {
                let (_, word) = Mapping::words(mapping);
                let detail = u64::from(level) | kind.detail();
                Words::new(tag::TABLE, detail, object.bits(), word)
            }
            Self::Vcpu { object, rights } => Words::new(tag::VCPU, rights.bits(), object.bits(), 0),
            Self::ShadowPool { object, bits } => {
                Words::new(tag::SHADOW_POOL, u64::from(bits), object.bits(), 0)
            }
            Self::Zombie {
                object,
                kind,
                count,
            } => Zombie {
                object,
                kind,
                count,
            }
            .words(),
        }
    }

    /// The capability in a slot's two words.
    #[must_use]
    pub fn decode(first: u64, second: u64) -> Self {
        let words = Words(first, second);
        let (detail, address) = (words.detail(), words.address());
        let rights = Rights::new(detail);
        match words.tag() {
            tag::UNTYPED => {
                let Untyped {
                    base,
                    bits,
                    device,
                    dirty,
                    free,
                } = words.any_untyped();
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
            tag::CNODE => {
                let node = words.any_cnode();
                Self::CNode {
                    object: node.object,
                    radix: node.radix as u8,
                    guard_size: node.guard_size as u8,
                    guard: node.guard,
                }
            }
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
            tag::FRAME => {
                let frame = words.any_frame();
                Self::Frame {
                    base: frame.base(),
                    size: frame.size(),
                    device: frame.is_device(),
                    rights: frame.rights(),
                    mapping: frame.mapping(),
                }
            }
            tag::TABLE => Self::Table {
                object: Ref::at(address),
                level: (detail & 7) as u8,
                kind: SpaceKind::of_detail(detail),
                mapping: words.mapping(),
            },
            tag::VCPU => Self::Vcpu {
                object: Ref::at(address),
                rights,
            },
            tag::SHADOW_POOL => Self::ShadowPool {
                object: Ref::at(address),
                bits: detail as u8,
            },
            _ => match words.zombie() {
                Some(zombie) => Self::Zombie {
                    object: zombie.object,
                    kind: zombie.kind,
                    count: zombie.count,
                },
                None => Self::Null,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::{Mapping, ZombieKind};

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
            Cap::Zombie {
                object: 0x10,
                kind: ZombieKind::Endpoint,
                count: 1,
            },
            Cap::Zombie {
                object: 0x40,
                kind: ZombieKind::Notification,
                count: 1,
            },
            Cap::Zombie {
                object: 0x1000,
                kind: ZombieKind::AsidPool { number: 7 },
                count: 512,
            },
        ];
        for cap in all {
            let Words(first, second) = cap.words();
            assert_eq!(Cap::decode(first, second), cap);
        }
    }
}
