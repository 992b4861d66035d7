//! Everything that a system's capabilities reach.

use super::addresses::Addresses;
use crate::cap::{Cap, Mapping, SpaceKind, ZombieKind};
use crate::cspace::slot_at;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::tcb::slots;
use crate::object::{AsidPool, Endpoint, Notification, Reply, SchedContext, ShadowPool, Tcb, Vcpu};
use crate::slot::Slot;
use core::cell::Cell;
use std::collections::BTreeSet;

/// A slot's four words: the capability, and its place with the marks.
fn content(at: u64) -> [u64; 4] {
    let words: Ref<[Cell<u64>; 4]> = Ref::at(at);
    [0, 1, 2, 3].map(|n: usize| words[n].get())
}

/// All slots there are, and the objects that their capabilities name.
#[derive(Default)]
pub struct Found {
    /// Addresses that were looked at, and what was there.
    read: Vec<(u64, [u64; 4])>,
    seen: Addresses,
    /// Those that hold something, in no order.
    pub slots: Vec<(Ref<Slot>, Cap)>,
    pub empty: Vec<Ref<Slot>>,
    pub tcbs: Vec<Ref<Tcb>>,
    pub endpoints: Vec<Ref<Endpoint>>,
    pub notifications: Vec<Ref<Notification>>,
    pub replies: Vec<Ref<Reply>>,
    pub contexts: Vec<Ref<SchedContext>>,
    pub asid_pools: Vec<Ref<AsidPool>>,
    pub vcpus: Vec<Ref<Vcpu>>,
    pub pools: Vec<Ref<ShadowPool>>,
    /// Base, size, ASID, address, whether a guest's: frames that capabilities say are mapped.
    pub frames: BTreeSet<(u64, u8, u16, u64, bool)>,
    /// Tables and their levels.
    pub tables: BTreeSet<(u64, u8)>,
}

/// Puts references in order, each once.
fn sort<T>(all: &mut Vec<Ref<T>>) {
    all.sort_unstable_by_key(|object| object.bits());
    all.dedup();
}

/// Whether the object is one of those that [`Found`] has, in order.
pub fn is_among<T>(all: &[Ref<T>], object: Ref<T>) -> bool {
    all.binary_search_by_key(&object.bits(), |other| other.bits())
        .is_ok()
}

impl Found {
    /// Everything reached from the first `limit` slots of the CNode at `root`.
    pub fn collect<M: Machine>(&mut self, kernel: &Kernel<M>, root: Ref<Slot>, limit: u64) {
        let mut work: Vec<u64> = (0..limit).map(|n| slot_at(root.bits(), n).bits()).collect();
        work.extend((0..crate::kernel::IRQS as u64).map(|n| slot_at(kernel.irq_slots, n).bits()));
        for tcb in [kernel.current, kernel.idle] {
            work.extend((0..slots::COUNT).map(|n| tcb.slot(n).bits()));
        }
        let mut containers = Addresses::default();
        containers.insert(root.bits());
        self.clear();
        while let Some(at) = work.pop() {
            if !self.seen.insert(at) {
                continue;
            }
            self.read.push((at, content(at)));
            let slot: Ref<Slot> = Ref::at(at);
            let cap = slot.cap();
            if slot.is_empty() {
                self.empty.push(slot);
                continue;
            }
            self.slots.push((slot, cap));
            self.name(cap);
            work.extend(
                [slot.next(), slot.prev()]
                    .into_iter()
                    .flatten()
                    .map(Ref::bits),
            );
            let (base, count) = match cap {
                Cap::CNode { object, radix, .. } => (object, 1 << radix),
                Cap::Tcb { object } => (object.bits(), slots::COUNT as u64),
                Cap::Zombie {
                    object,
                    kind: ZombieKind::Tcb | ZombieKind::CNode { .. },
                    count,
                } => (object, count),
                _ => continue,
            };
            if containers.insert(base) {
                work.extend((0..count).map(|n| slot_at(base, n).bits()));
            }
        }
        self.tcbs.push(kernel.idle);
        sort(&mut self.tcbs);
        sort(&mut self.endpoints);
        sort(&mut self.notifications);
        sort(&mut self.replies);
        sort(&mut self.contexts);
        sort(&mut self.asid_pools);
        sort(&mut self.vcpus);
        sort(&mut self.pools);
    }

    pub fn clear(&mut self) {
        self.read.clear();
        self.seen.clear();
        self.slots.clear();
        self.empty.clear();
        self.tcbs.clear();
        self.endpoints.clear();
        self.notifications.clear();
        self.replies.clear();
        self.contexts.clear();
        self.asid_pools.clear();
        self.vcpus.clear();
        self.pools.clear();
        self.frames.clear();
        self.tables.clear();
    }

    /// Notes the object that a capability names.
    fn name(&mut self, cap: Cap) {
        match cap {
            Cap::Tcb { object } => self.tcbs.push(object),
            Cap::Endpoint { object, .. } => self.endpoints.push(object),
            Cap::Notification { object, .. } => self.notifications.push(object),
            Cap::Reply { object, .. } => self.replies.push(object),
            Cap::SchedContext { object, .. } => self.contexts.push(object),
            Cap::AsidPool { object, .. } => self.asid_pools.push(object),
            Cap::Vcpu { object, .. } => self.vcpus.push(object),
            Cap::ShadowPool { object, .. } => self.pools.push(object),
            Cap::Zombie { object, kind, .. } => match kind {
                ZombieKind::Tcb => self.tcbs.push(Ref::at(object)),
                ZombieKind::Endpoint => self.endpoints.push(Ref::at(object)),
                ZombieKind::Notification => self.notifications.push(Ref::at(object)),
                ZombieKind::AsidPool { .. } => self.asid_pools.push(Ref::at(object)),
                ZombieKind::CNode { .. } => {}
            },
            Cap::Frame {
                base,
                size,
                mapping:
                    Some(Mapping {
                        asid,
                        address,
                        kind,
                    }),
                ..
            } => {
                let guest = kind == SpaceKind::Guest;
                self.frames.insert((base, size, asid, address, guest));
            }
            Cap::Table { object, level, .. } => {
                self.tables.insert((object.bits(), level));
            }
            _ => {}
        }
    }

    /// Whether a search would come to the same slots and find the same in them.
    pub fn is_current<M: Machine>(&self, kernel: &Kernel<M>) -> bool {
        let begins = |tcb: Ref<Tcb>| self.seen.contains(&tcb.slot(0).bits());
        !self.read.is_empty()
            && begins(kernel.current)
            && self.read.iter().all(|&(at, words)| content(at) == words)
    }
}
