//! Invocations for random runs: made blindly for whatever a slot holds, or from knowledge of what the system is like, so
//! that they can succeed.
//!
//! Who knows picks a label, a capability that it fits, and arguments that its checks should pass; where nothing fits, the
//! call makes what is missing. Both kinds fail often enough, for the state is not looked at in every respect.

use super::fake::FakeMachine;
use super::random::Random;
use super::world::{SYSCALL_AT, World};
use crate::cap::{Cap, SpaceKind};
use crate::kernel::Kernel;
use crate::mem::{Page, Ref};
use crate::object::table::Entry;
use crate::object::{ShadowPool, Tcb, untyped};
use crate::slot;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::label::{self, LEVEL_PAE_ROOT, fill, vcpu_right};
use sel4_abi::{Rights, object};
use words::x86::pte;

/// Slots that a run works with.
pub(super) const LIMIT: u64 = 320;
/// Slots below hold what the run stands on: they are taken away only now and then.
const STANDS_ON: u64 = 16;
/// Pages of a pool that are used: few, so that they meet.
const PAGES: u64 = 7;
/// Guard of the root CNode, as a TCB's data has it.
const GUARD: u64 = 64 - sel4_abi::boot_info::ROOT_CNODE_BITS;

/// An invocation.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Slot of what is invoked.
    pub target: u64,
    pub label: u64,
    pub words: Vec<u64>,
    pub caps: Vec<u64>,
}

/// A kind of capability.
pub(super) type Kind = fn(Cap) -> bool;

/// Kinds of capabilities to invoke.
pub(super) const KINDS: &[Kind] = &[
    |cap| matches!(cap, Cap::ShadowPool { .. }),
    |cap| matches!(cap, Cap::ShadowPool { .. }),
    |cap| matches!(cap, Cap::Vcpu { .. }),
    |cap| matches!(cap, Cap::Frame { .. }),
    |cap| matches!(cap, Cap::Table { .. }),
    |cap| matches!(cap, Cap::Untyped { device: false, .. }),
    |cap| matches!(cap, Cap::Untyped { .. }),
    |cap| matches!(cap, Cap::CNode { .. }),
    |cap| matches!(cap, Cap::CNode { .. }),
    |cap| matches!(cap, Cap::Tcb { .. }),
    |cap| matches!(cap, Cap::Endpoint { .. }),
    |cap| matches!(cap, Cap::Endpoint { .. }),
    |cap| matches!(cap, Cap::Notification { .. }),
    |cap| matches!(cap, Cap::Reply { .. }),
    |cap| matches!(cap, Cap::SchedContext { .. }),
    |cap| matches!(cap, Cap::SchedControl),
    |cap| matches!(cap, Cap::DomainSet),
    |cap| matches!(cap, Cap::IrqControl | Cap::IrqHandler { .. }),
    |cap| matches!(cap, Cap::IoPortControl | Cap::IoPort { .. }),
    |cap| matches!(cap, Cap::AsidControl | Cap::AsidPool { .. }),
    |cap| !cap.is_null(),
];

/// Labels of a table's map, each followed by that of its unmap; kind, level and type of the table.
const TABLES: [(u64, SpaceKind, u8, u64); 6] = [
    (label::X86_PDPT_MAP, SpaceKind::Host, 3, object::X86_PDPT),
    (
        label::X86_PAGE_DIRECTORY_MAP,
        SpaceKind::Host,
        2,
        object::X86_PAGE_DIRECTORY,
    ),
    (
        label::X86_PAGE_TABLE_MAP,
        SpaceKind::Host,
        1,
        object::X86_PAGE_TABLE,
    ),
    (
        label::GUEST_PDPT_MAP,
        SpaceKind::Guest,
        3,
        object::GUEST_PDPT,
    ),
    (
        label::GUEST_PAGE_DIRECTORY_MAP,
        SpaceKind::Guest,
        2,
        object::GUEST_PAGE_DIRECTORY,
    ),
    (
        label::GUEST_PAGE_TABLE_MAP,
        SpaceKind::Guest,
        1,
        object::GUEST_PAGE_TABLE,
    ),
];

/// The label that maps a table; 0 for a root, which is not mapped.
pub(super) fn map_label(cap: Cap) -> u64 {
    let Cap::Table {
        level: of, kind, ..
    } = cap
    else {
        return 0;
    };
    TABLES
        .iter()
        .find(|&&(_, space, level, _)| (space, level) == (kind, of))
        .map_or(0, |&(label, ..)| label)
}

fn is_root(cap: Cap, space: SpaceKind) -> bool {
    matches!(cap, Cap::Table { level: 4, kind, mapping: Some(_), .. } if kind == space)
}

fn is_live(pool: Ref<ShadowPool>, index: u64) -> bool {
    pool.state(index).epoch.get() == pool.epoch.get()
}

/// Makes calls for the system as it is.
pub(super) struct Caller<'a> {
    pub world: &'a World,
    pub random: &'a mut Random,
    /// What the first slots hold.
    pub caps: &'a [Cap],
}

impl Caller<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }
    /// Any slot, or no slot at all.
    fn any_slot(&mut self) -> u64 {
        if self.random.chance(5) {
            self.random.word()
        } else {
            self.below(LIMIT)
        }
    }

    /// A slot for which this holds, if there is one.
    fn find(&mut self, wanted: impl Fn(u64, Cap) -> bool) -> Option<u64> {
        let fits = |&(n, cap): &(usize, &Cap)| wanted(n as u64, *cap);
        let all = self.caps.iter().enumerate().filter(fits);
        let count = all.clone().count() as u64;
        if count == 0 {
            return None;
        }
        let chosen = self.random.below(count) as usize;
        all.map(|(n, _)| n as u64).nth(chosen)
    }
    fn find_cap(&mut self, wanted: impl Fn(Cap) -> bool) -> Option<u64> {
        self.find(|_, cap| wanted(cap))
    }
    /// A slot that holds something of the kind, or any.
    pub fn slot_of(&mut self, wanted: impl Fn(Cap) -> bool) -> u64 {
        match self.find_cap(wanted) {
            Some(slot) => slot,
            None => self.below(LIMIT),
        }
    }
    fn empty(&mut self) -> u64 {
        self.slot_of(Cap::is_null)
    }

    /// A word that may mean something.
    pub fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => self.random.word(),
            1 => self.random.pick(&[
                0,
                1,
                2,
                3,
                4,
                5,
                12,
                14,
                16,
                64,
                512,
                4096,
                u64::MAX,
                1 << 47,
                0x1000,
                0x20_0000,
            ]),
            2 => self.below(4) * 4096,
            3 | 4 => self.below(24),
            _ => self.below(LIMIT),
        }
    }

    /// Anything whatever, on `target`.
    pub fn wild(&mut self, target: u64) -> Call {
        Call {
            target,
            label: self.random.pick(label::ALL).1,
            words: (0..self.below(9)).map(|_| self.value()).collect(),
            caps: (0..self.below(4)).map(|_| self.any_slot()).collect(),
        }
    }

    /// A call that fits the kind of capability in `target`.
    pub fn blind(&mut self, target: u64) -> Call {
        let cap = self.caps.get(target as usize).map_or(Cap::Null, |&cap| cap);
        let label = self.label_for(cap);
        self.call(target, cap, label)
    }

    /// A call that should succeed, or one that makes what such a call lacks.
    pub fn informed(&mut self) -> Call {
        let label = self.random.pick(label::ALL).1;
        match self.target_for(label) {
            Some(target) => {
                let cap = self.caps[target as usize];
                self.call(target, cap, label)
            }
            None => self.make(label),
        }
    }

    /// Some label that the capability answers to.
    fn label_for(&mut self, cap: Cap) -> u64 {
        match cap {
            Cap::Untyped { .. } => label::UNTYPED_RETYPE,
            Cap::CNode { .. } => label::CNODE_REVOKE + self.below(8),
            Cap::Tcb { .. } => label::TCB_READ_REGISTERS + self.below(16),
            Cap::SchedControl => label::SCHED_CONTROL_CONFIGURE_FLAGS,
            Cap::SchedContext { .. } => label::SCHED_CONTEXT_BIND + self.below(5),
            Cap::DomainSet => label::DOMAIN_SET_SET + self.below(3),
            Cap::IrqControl => label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC + self.below(2),
            Cap::IrqHandler { .. } => label::IRQ_ACK + self.below(3),
            Cap::IoPortControl => label::X86_IO_PORT_CONTROL_ISSUE,
            Cap::IoPort { .. } => label::X86_IO_PORT_IN8 + self.below(6),
            Cap::AsidControl => label::X86_ASID_CONTROL_MAKE_POOL,
            Cap::AsidPool { .. } => label::X86_ASID_POOL_ASSIGN,
            Cap::Frame { .. } => self.random.pick(&[
                label::X86_PAGE_MAP,
                label::PAGE_MAP_GUEST,
                label::X86_PAGE_UNMAP,
                label::X86_PAGE_GET_ADDRESS,
            ]),
            Cap::Table { mapping, .. } => {
                map_label(cap) + u64::from(mapping.is_some() && self.random.chance(40))
            }
            Cap::Vcpu { .. } => label::VCPU_BIND_TCB + self.below(8),
            Cap::ShadowPool { .. } => label::POOL_BIND_SPACE + self.below(11),
            _ => self.below(8),
        }
    }

    /// A slot whose capability takes this label, as far as can be seen from it and its object.
    fn target_for(&mut self, label: u64) -> Option<u64> {
        let world = self.world;
        let table = TABLES
            .iter()
            .find(|table| [0, 1].contains(&label.wrapping_sub(table.0)));
        if let Some(&(map, space, of, _)) = table {
            return self.find(|n, cap| match cap {
                Cap::Table {
                    level,
                    kind,
                    mapping,
                    ..
                } if (kind, level) == (space, of) => {
                    mapping.is_some() != (label == map) && slot::is_final(world.slot(n))
                }
                _ => false,
            });
        }
        let current = world.current();
        self.find(|n, cap| match (label, cap) {
            (label::UNTYPED_RETYPE, Cap::Untyped { device, .. }) => !device,
            (label::TCB_BIND_NOTIFICATION, Cap::Tcb { object }) => {
                object.notification.get().is_none()
            }
            (label::TCB_UNBIND_NOTIFICATION, Cap::Tcb { object }) => {
                object.notification.get().is_some()
            }
            (label::TCB_SUSPEND | label::TCB_READ_REGISTERS, Cap::Tcb { object }) => {
                object != current
            }
            (label::TCB_READ_REGISTERS..=label::TCB_SET_FLAGS, Cap::Tcb { .. }) => !matches!(
                label,
                label::TCB_BIND_NOTIFICATION
                    | label::TCB_UNBIND_NOTIFICATION
                    | label::TCB_SUSPEND
                    | label::TCB_READ_REGISTERS
            ),
            (label::CNODE_REVOKE..=label::CNODE_ROTATE, Cap::CNode { .. }) => n == fixed::CNODE,
            (label::IRQ_ACK..=label::IRQ_CLEAR_HANDLER, Cap::IrqHandler { .. }) => true,
            (label::DOMAIN_SET_SET..=label::DOMAIN_SCHEDULE_SET_START, Cap::DomainSet) => true,
            (label::SCHED_CONTROL_CONFIGURE_FLAGS, Cap::SchedControl) => true,
            (label::SCHED_CONTEXT_BIND, Cap::SchedContext { object, .. }) => {
                object.tcb.get().is_none() || object.notification.get().is_none()
            }
            (label::SCHED_CONTEXT_UNBIND, Cap::SchedContext { object, .. }) => {
                !object.tcb.is(current)
            }
            (label::SCHED_CONTEXT_UNBIND_OBJECT, Cap::SchedContext { object, .. }) => {
                object.notification.get().is_some()
                    || object.tcb.get().is_some_and(|tcb| tcb != current)
            }
            (label::SCHED_CONTEXT_CONSUMED, Cap::SchedContext { .. }) => true,
            (label::SCHED_CONTEXT_YIELD_TO, Cap::SchedContext { object, .. }) => {
                object.tcb.get().is_some_and(|tcb| tcb != current)
            }
            (
                label::X86_PAGE_MAP,
                Cap::Frame {
                    mapping: None,
                    size: 0,
                    ..
                },
            ) => true,
            (
                label::PAGE_MAP_GUEST,
                Cap::Frame {
                    mapping: None,
                    device: false,
                    ..
                },
            ) => true,
            (
                label::X86_PAGE_UNMAP,
                Cap::Frame {
                    mapping: Some(_), ..
                },
            ) => true,
            (label::X86_PAGE_GET_ADDRESS, Cap::Frame { .. }) => true,
            (label::X86_ASID_CONTROL_MAKE_POOL, Cap::AsidControl) => true,
            (label::X86_ASID_POOL_ASSIGN, Cap::AsidPool { .. }) => true,
            (label::X86_IO_PORT_CONTROL_ISSUE, Cap::IoPortControl) => true,
            (label::X86_IO_PORT_IN8..=label::X86_IO_PORT_OUT32, Cap::IoPort { first, last }) => {
                last - first >= 3
            }
            (
                label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC | label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI,
                Cap::IrqControl,
            ) => true,
            (label::VCPU_BIND_TCB, Cap::Vcpu { object, rights }) => {
                object.tcb.get().is_none() && rights.has(vcpu_right::RUN)
            }
            (label::VCPU_RUN, Cap::Vcpu { object, rights }) => {
                object.tcb.get().is_some() && rights.has(vcpu_right::RUN)
            }
            (label::VCPU_SET_NESTED, Cap::Vcpu { object, rights }) => {
                object.pool.get().is_none()
                    && !object.nested.get()
                    && rights.has(vcpu_right::PAGING)
            }
            (label::VCPU_READ_REGISTERS..=label::VCPU_READ_COUNTERS, Cap::Vcpu { .. }) => true,
            (label::POOL_BIND_SPACE, Cap::ShadowPool { object, .. }) => {
                object.space.get().is_none()
            }
            (label::POOL_FILL, Cap::ShadowPool { object, .. }) => object.space.get().is_some(),
            (label::POOL_SET_ROOT, Cap::ShadowPool { object, .. }) => {
                object.space.get().is_some() && object.vcpus.get().is_some()
            }
            (label::POOL_BIND_VCPU..=label::POOL_INFO, Cap::ShadowPool { .. }) => {
                !matches!(label, label::POOL_FILL | label::POOL_SET_ROOT)
            }
            _ => false,
        })
    }

    /// Makes an object that the label needs, or undoes what keeps it from being used.
    fn make(&mut self, label: u64) -> Call {
        let table = TABLES.iter().find(|table| label == table.0);
        let ty = match label {
            _ if table.is_some() => table.map_or(0, |&(_, _, _, ty)| ty),
            label::TCB_READ_REGISTERS..=label::TCB_SET_FLAGS => object::TCB,
            label::SCHED_CONTEXT_BIND..=label::SCHED_CONTEXT_YIELD_TO => object::SCHED_CONTEXT,
            label::X86_PAGE_MAP..=label::X86_PAGE_GET_ADDRESS | label::PAGE_MAP_GUEST => {
                object::X86_4K
            }
            label::VCPU_BIND_TCB..=label::VCPU_SET_NESTED => object::VCPU,
            label::POOL_BIND_SPACE..=label::POOL_INFO => object::SHADOW_POOL,
            _ => self.below(object::COUNT),
        };
        self.retype(ty)
    }

    /// Bits that the user says, for an object of this type.
    fn user_bits(&mut self, ty: u64) -> u64 {
        match ty {
            object::UNTYPED => self.random.pick(&[12, 12, 13, 14, 16, 18, 4, 9]),
            object::SCHED_CONTEXT => 7 + self.below(3),
            object::SHADOW_POOL => 5 + self.below(2),
            _ => 1 + self.below(5),
        }
    }

    /// Makes one object, where there is room for it; or revokes what takes the room.
    fn retype(&mut self, ty: u64) -> Call {
        let user_bits = self.user_bits(ty);
        let bits = object::size_bits(ty, user_bits).unwrap_or(12);
        let world = self.world;
        let room = |n: u64, cap: Cap| match cap {
            Cap::Untyped {
                base,
                bits: size,
                device: false,
                free,
                ..
            } => {
                let free = if slot::has_children(world.slot(n)) {
                    free
                } else {
                    0
                };
                untyped::aligned_start(base, free, bits) + (1 << bits) <= base + (1 << size)
            }
            _ => false,
        };
        match self.find(room) {
            Some(target) => Call {
                target,
                label: label::UNTYPED_RETYPE,
                words: vec![ty, user_bits, 0, 0, self.empty(), 1],
                caps: vec![fixed::CNODE],
            },
            None => {
                let full = self.slot_of(|cap| matches!(cap, Cap::Untyped { device: false, .. }));
                self.cnode(label::CNODE_REVOKE, full)
            }
        }
    }

    /// An operation on a slot of the root CNode.
    fn cnode(&mut self, label: u64, dest: u64) -> Call {
        Call {
            target: fixed::CNODE,
            label,
            words: vec![dest, 64],
            caps: vec![],
        }
    }

    /// The call with this label on `target`, which holds `cap`.
    fn call(&mut self, target: u64, cap: Cap, label: u64) -> Call {
        let (words, caps) = match cap {
            Cap::Untyped { .. } => {
                let ty = self.below(object::COUNT);
                if self.random.chance(50) {
                    return self.retype(ty);
                }
                let words = vec![
                    ty,
                    self.user_bits(ty),
                    0,
                    0,
                    self.empty(),
                    1 + self.below(2),
                ];
                (words, vec![fixed::CNODE])
            }
            Cap::CNode { radix, .. } => self.cnode_arguments(label, radix),
            Cap::Tcb { object } => return self.tcb_call(target, object, label),
            Cap::SchedControl => {
                let period = self.random.pick(&[40, 100, 1000]);
                let budget = if self.random.chance(30) {
                    period
                } else {
                    20 + self.below(20)
                };
                let (extra, badge, flags) = (self.below(3), self.below(9), self.below(2));
                let sc = self.slot_of(|cap| matches!(cap, Cap::SchedContext { .. }));
                (vec![budget, period, extra, badge, flags], vec![sc])
            }
            Cap::SchedContext { object: sc, .. } => {
                let unbind = label == label::SCHED_CONTEXT_UNBIND_OBJECT;
                let other = self.slot_of(|cap| match cap {
                    Cap::Tcb { object } if unbind => sc.tcb.is(object),
                    Cap::Notification { object, .. } if unbind => sc.notification.is(object),
                    Cap::Tcb { object } => object.sc.get().is_none(),
                    Cap::Notification { object, .. } => object.sc.get().is_none(),
                    _ => false,
                });
                (vec![], vec![other])
            }
            Cap::DomainSet => {
                let words = vec![self.below(8) / 7, self.below(8) / 7, self.below(3)];
                let tcb = self.slot_of(|cap| matches!(cap, Cap::Tcb { .. }));
                (words, vec![tcb])
            }
            Cap::IrqControl => {
                let mut words = vec![self.empty(), 64, 0];
                words.extend([24, 2, 2, 8].map(|bound| self.below(bound)));
                (words, vec![fixed::CNODE])
            }
            Cap::IrqHandler { .. } => {
                let bound = self.slot_of(|cap| matches!(cap, Cap::Notification { .. }));
                (vec![], vec![bound])
            }
            Cap::IoPortControl => {
                let first = self.below(32);
                let words = vec![first, first + self.below(6), self.empty(), 64];
                (words, vec![fixed::CNODE])
            }
            Cap::IoPort { first, .. } => (vec![u64::from(first) + self.below(3), 7], vec![]),
            Cap::AsidControl => {
                let world = self.world;
                let whole = |n, cap| {
                    matches!(
                        cap,
                        Cap::Untyped {
                            bits: 12,
                            device: false,
                            ..
                        }
                    ) && !slot::has_children(world.slot(n))
                };
                match self.find(whole) {
                    Some(untyped) => (vec![self.empty(), 64], vec![untyped, fixed::CNODE]),
                    None => return self.retype(object::UNTYPED),
                }
            }
            Cap::AsidPool { .. } => {
                let fresh = |cap| {
                    matches!(
                        cap,
                        Cap::Table {
                            level: 4,
                            mapping: None,
                            ..
                        }
                    )
                };
                match self.find_cap(fresh) {
                    Some(root) => (vec![], vec![root]),
                    None => {
                        let ty = self.random.pick(&[object::X64_PML4, object::GUEST_PML4]);
                        return self.retype(ty);
                    }
                }
            }
            Cap::Frame { size, .. } => return self.frame_call(target, size, label),
            Cap::Table { level, kind, .. } => return self.table_call(target, kind, level, label),
            Cap::Vcpu { .. } => self.vcpu_arguments(label),
            Cap::ShadowPool { object, .. } => self.pool_arguments(object, label),
            _ => {
                let words = (0..self.below(8)).collect();
                (words, vec![self.slot_of(|_| true)])
            }
        };
        Call {
            target,
            label,
            words,
            caps,
        }
    }

    fn cnode_arguments(&mut self, label: u64, radix: u8) -> (Vec<u64>, Vec<u64>) {
        let depth = if radix == 16 { 64 } else { u64::from(radix) };
        let spared = |slot: u64, this: &mut Self| slot < STANDS_ON && this.random.chance(95);
        let to_empty = (label::CNODE_COPY..=label::CNODE_ROTATE).contains(&label);
        let dest = match label {
            label::CNODE_CANCEL_BADGED_SENDS => self.slot_of(
                |cap| matches!(cap, Cap::Endpoint { rights, .. } if rights == Rights::ALL),
            ),
            _ if to_empty && self.random.chance(90) => self.empty(),
            _ => self.slot_of(|cap| !cap.is_null()),
        };
        let dest = if label <= label::CNODE_DELETE && spared(dest, self) {
            self.below(LIMIT - STANDS_ON) + STANDS_ON
        } else {
            dest
        };
        let source = self.slot_of(|cap| !cap.is_null());
        let taken = matches!(
            label,
            label::CNODE_MOVE | label::CNODE_MUTATE | label::CNODE_ROTATE
        );
        let source = if taken && spared(source, self) {
            self.below(LIMIT - STANDS_ON) + STANDS_ON
        } else {
            source
        };
        if label == label::CNODE_ROTATE {
            let pivot = self.slot_of(|cap| !cap.is_null()).max(STANDS_ON);
            let words = vec![dest, depth, 0, pivot, 64, 0, source, 64];
            return (words, vec![fixed::CNODE; 2]);
        }
        // Mutate's fifth word is data, the others' rights.
        let words = vec![dest, depth, source, 64, self.below(16), self.below(4)];
        (words, vec![fixed::CNODE])
    }

    fn tcb_call(&mut self, target: u64, tcb: Ref<Tcb>, label: u64) -> Call {
        let authority = self.slot_of(|cap| matches!(cap, Cap::Tcb { .. }));
        let frame =
            |this: &mut Self| this.slot_of(|cap| matches!(cap, Cap::Frame { device: false, .. }));
        let handler =
            |this: &mut Self| this.slot_of(|cap| matches!(cap, Cap::Endpoint { .. } | Cap::Null));
        let (words, caps) = match label {
            label::TCB_CONFIGURE => (
                vec![GUARD, 0, 0x1000],
                vec![fixed::CNODE, fixed::VSPACE, frame(self)],
            ),
            label::TCB_SET_SPACE => (
                vec![GUARD, 0],
                vec![handler(self), fixed::CNODE, fixed::VSPACE],
            ),
            label::TCB_SET_IPC_BUFFER => (vec![0x1000], vec![frame(self)]),
            label::TCB_SET_SCHED_PARAMS => {
                let context = self.slot_of(|cap| match cap {
                    Cap::SchedContext { object, .. } => match tcb.sc.get() {
                        Some(sc) => object == sc,
                        None => object.tcb.get().is_none(),
                    },
                    _ => false,
                });
                let words = vec![255, 90 + self.below(60)];
                (words, vec![authority, context, handler(self)])
            }
            label::TCB_SET_PRIORITY => (vec![90 + self.below(60)], vec![authority]),
            label::TCB_SET_MC_PRIORITY => (vec![255], vec![authority]),
            label::TCB_SET_TIMEOUT_ENDPOINT => (vec![], vec![handler(self)]),
            label::TCB_BIND_NOTIFICATION => {
                let free = |cap| match cap {
                    Cap::Notification { object, rights, .. } => {
                        object.tcb.get().is_none() && rights.has(Rights::READ)
                    }
                    _ => false,
                };
                match self.find_cap(free) {
                    Some(notification) => (vec![], vec![notification]),
                    None => return self.retype(object::NOTIFICATION),
                }
            }
            label::TCB_WRITE_REGISTERS => (vec![self.below(2), 1, SYSCALL_AT + 2], vec![]),
            label::TCB_SET_FLAGS => (vec![1, self.below(2)], vec![]),
            _ => (
                vec![self.below(4), 1 + self.below(4), self.value()],
                vec![authority],
            ),
        };
        Call {
            target,
            label,
            words,
            caps,
        }
    }

    /// A root of this kind and an address under it whose entry of `level` can be written and is not.
    fn place(&mut self, kind: SpaceKind, level: u32) -> Option<(u64, u64)> {
        let root = self.find_cap(|cap| is_root(cap, kind))?;
        let Cap::Table { object, .. } = self.caps[root as usize] else {
            return None;
        };
        let free = |address: &u64| Self::is_free(object, *address, level);
        let step = 1 << (12 + 9 * (level - 1));
        let first = self.random.pick(&[0, 1 << 21, 1 << 30, 1 << 39]);
        let near = (0..6).map(|n| n * step);
        let address = near.chain([first]).find(free)?;
        Some((root, address))
    }

    fn is_free(root: Ref<Page>, address: u64, level: u32) -> bool {
        match Kernel::<FakeMachine>::table_entry(root, address, level) {
            Entry::Found(entry) => entry.get() & pte::P == 0,
            Entry::Missing(_) => false,
        }
    }

    /// Maps a table where one is missing, from the top down; makes a space if there is none.
    fn table_call(&mut self, target: u64, kind: SpaceKind, level: u8, label: u64) -> Call {
        let unmap = TABLES.iter().any(|table| label == table.0 + 1);
        if unmap || level == 4 || self.random.chance(20) {
            let address = self.random.pick(&[0, 1 << 21, 1 << 30, 1 << 39]);
            let root = self.slot_of(|cap| is_root(cap, kind));
            return Call {
                target,
                label,
                words: vec![address, 0],
                caps: vec![root],
            };
        }
        match self.place(kind, u32::from(level) + 1) {
            Some((root, address)) => Call {
                target,
                label,
                words: vec![address, 0],
                caps: vec![root],
            },
            None => self.upper(kind, level + 1),
        }
    }

    /// Maps what has to be there before anything of a lower level.
    fn upper(&mut self, kind: SpaceKind, level: u8) -> Call {
        if level == 4 {
            let pool = self.slot_of(|cap| matches!(cap, Cap::AsidPool { .. }));
            let cap = self.caps[pool as usize];
            if matches!(cap, Cap::AsidPool { .. }) {
                return self.call(pool, cap, label::X86_ASID_POOL_ASSIGN);
            }
            return self.retype(object::GUEST_PML4);
        }
        let table = TABLES
            .iter()
            .find(|&&(_, space, of, _)| (space, of) == (kind, level));
        let Some(&(map, _, _, ty)) = table else {
            return self.retype(object::X86_PAGE_TABLE);
        };
        match self.target_for(map) {
            Some(target) => self.table_call(target, kind, level, map),
            None => self.retype(ty),
        }
    }

    fn frame_call(&mut self, target: u64, size: u8, label: u64) -> Call {
        let kind = match label {
            label::PAGE_MAP_GUEST => SpaceKind::Guest,
            _ => SpaceKind::Host,
        };
        let maps = matches!(label, label::X86_PAGE_MAP | label::PAGE_MAP_GUEST);
        let rights = self.random.pick(&[3, 3, 2, 1, 0]);
        let place = if maps && self.random.chance(80) {
            self.place(kind, u32::from(size) + 1)
        } else {
            None
        };
        let (root, address) = match place {
            Some(place) => place,
            None if maps && self.random.chance(30) => return self.upper(kind, size + 1),
            None => {
                let root = self.slot_of(|cap| is_root(cap, kind));
                (root, self.below(6) * 4096)
            }
        };
        Call {
            target,
            label,
            words: vec![address, rights, 0],
            caps: vec![root],
        }
    }

    fn vcpu_arguments(&mut self, label: u64) -> (Vec<u64>, Vec<u64>) {
        let mask =
            1 << self.below(64) | 1 << self.below(64) | u64::from(self.random.chance(30)) << 22;
        let mut words = vec![mask];
        for _ in 0..mask.count_ones() {
            let values = [0, 1, 0x500, 0x8000_0021, u64::MAX, 0x1000];
            words.push(self.random.pick(&values));
        }
        let other = match label {
            label::VCPU_SET_NESTED => self.slot_of(|cap| is_root(cap, SpaceKind::Guest)),
            _ => {
                let current = self.world.current();
                self.slot_of(|cap| match cap {
                    Cap::Tcb { object } => object.vcpu.get().is_none() && object != current,
                    _ => false,
                })
            }
        };
        (words, vec![other])
    }

    /// A page of the pool of which this is true, or any.
    fn page(&mut self, pool: Ref<ShadowPool>, wanted: impl Fn(u64) -> bool) -> u64 {
        let first = self.below(PAGES);
        (0..PAGES)
            .map(|n| (first + n) % PAGES)
            .find(|&n| n < pool.usable() && wanted(n))
            .unwrap_or(first)
    }

    fn pool_arguments(&mut self, pool: Ref<ShadowPool>, label: u64) -> (Vec<u64>, Vec<u64>) {
        let level = |n: u64| u64::from(pool.state(n).level.get());
        let live = |n: u64| is_live(pool, n);
        let entry = |this: &mut Self| this.below(4) << 32;
        let words = match label {
            label::POOL_RESET => self.reset_arguments(pool),
            label::POOL_LINK => {
                let parent = self.page(pool, |n| live(n) && (2..=4).contains(&level(n)));
                let down = level(parent).wrapping_sub(1);
                let child = self.page(pool, |n| live(n) && level(n) == down);
                let mut words = vec![parent | entry(self), child];
                if self.random.chance(20) {
                    words.extend([child | entry(self), self.below(PAGES)]);
                }
                words
            }
            label::POOL_FILL => {
                let large = self.random.chance(10);
                let page = self.page(pool, |n| live(n) && level(n) == 1 + u64::from(large));
                let rights = self.below(16) << 2;
                let frame = self.below(6);
                if large {
                    vec![page | entry(self), frame << 9, rights | 1]
                } else {
                    vec![page | entry(self), frame, rights & !(fill::SIZE_MASK)]
                }
            }
            label::POOL_CLEAR | label::POOL_HARVEST => {
                let page = self.page(pool, live);
                vec![page | entry(self), 1 + self.below(4)]
            }
            label::POOL_SET_ROOT => {
                vec![self.page(pool, |n| live(n) && level(n) >= 4)]
            }
            _ => vec![self.below(3), self.value()],
        };
        let other = match label {
            label::POOL_BIND_SPACE => self.slot_of(|cap| is_root(cap, SpaceKind::Guest)),
            label::POOL_BIND_VCPU => {
                let free = |cap| match cap {
                    Cap::Vcpu { object, rights } => {
                        object.pool.get().is_none()
                            && !object.nested.get()
                            && rights.has(vcpu_right::PAGING)
                    }
                    _ => false,
                };
                self.slot_of(free)
            }
            _ => {
                self.slot_of(|cap| matches!(cap, Cap::Vcpu { object, .. } if object.pool.is(pool)))
            }
        };
        (words, vec![other])
    }

    /// A page that nothing names, and a level; now and then the root of PAE paging.
    fn reset_arguments(&mut self, pool: Ref<ShadowPool>) -> Vec<u64> {
        let state = |n: u64| pool.state(n);
        let index = self.page(pool, |n| {
            !is_live(pool, n) || (state(n).links.get() == 0 && state(n).roots.get() == 0)
        });
        if self.random.chance(80) {
            return vec![index, 1 + self.below(4)];
        }
        let directory = |n: u64| n != index && is_live(pool, n) && state(n).level.get() == 2;
        let mut words = vec![index, LEVEL_PAE_ROOT];
        words.extend((0..4).map(|_| self.page(pool, directory)));
        words
    }
}
