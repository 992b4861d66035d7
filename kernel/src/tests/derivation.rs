//! CNode operations against a tree: each capability has a parent, a badge and rights; revoke takes the subtree.

use super::world::{Answer, World};
use crate::cap::Cap;
use proptest::prelude::*;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{Error, Rights, label, object};
use std::collections::BTreeMap;

const SLOTS: u64 = 10;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Copy {
        from: u64,
        to: u64,
        rights: u64,
    },
    Mint {
        from: u64,
        to: u64,
        rights: u64,
        badge: u64,
    },
    Move {
        from: u64,
        to: u64,
    },
    Mutate {
        from: u64,
        to: u64,
    },
    Rotate {
        dest: u64,
        pivot: u64,
        source: u64,
    },
    Delete {
        slot: u64,
    },
    Revoke {
        slot: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let slot = 0..SLOTS;
    let two = (0..SLOTS, 0..SLOTS);
    prop_oneof![
        3 => (two.clone(), 0u64..16).prop_map(|((from, to), rights)| Operation::Copy { from, to, rights }),
        4 => (two.clone(), 8u64..16, 1u64..3)
            .prop_map(|((from, to), rights, badge)| Operation::Mint { from, to, rights, badge }),
        2 => two.clone().prop_map(|(from, to)| Operation::Move { from, to }),
        1 => two.clone().prop_map(|(from, to)| Operation::Mutate { from, to }),
        2 => (two, 0..SLOTS).prop_map(|((dest, pivot), source)| Operation::Rotate { dest, pivot, source }),
        1 => slot.clone().prop_map(|slot| Operation::Delete { slot }),
        1 => slot.prop_map(|slot| Operation::Revoke { slot }),
    ]
}

/// A capability of the model. `group` is the badged original it descends from: its own id if it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    id: u64,
    badge: u64,
    rights: u64,
    master: bool,
    group: Option<u64>,
}

struct Model {
    slots: BTreeMap<u64, Node>,
    next: u64,
}

impl Model {
    fn at(&self, slot: u64) -> Option<Node> {
        self.slots.get(&slot).copied()
    }
    /// What revoking `node` takes: the master everything else, a badged original what was copied from it.
    fn descendants(&self, node: Node) -> Vec<u64> {
        let below = |other: &Node| {
            other.id != node.id
                && (node.master || (node.group == Some(node.id) && other.group == Some(node.id)))
        };
        self.slots
            .iter()
            .filter(|(_, other)| below(other))
            .map(|(slot, _)| *slot)
            .collect()
    }
    fn remove(&mut self, slot: u64) {
        self.slots.remove(&slot);
    }
    fn copy(&mut self, from: u64, to: u64, rights: u64, badge: Option<u64>) -> Option<Error> {
        if self.at(to).is_some() {
            return Some(Error::DeleteFirst);
        }
        let Some(source) = self.at(from) else {
            return Some(Error::FailedLookup);
        };
        if badge.is_some() && source.badge != 0 {
            return Some(Error::IllegalOperation);
        }
        let id = self.next;
        self.next += 1;
        let group = if badge.is_some() {
            Some(id)
        } else {
            source.group
        };
        let badge = badge.unwrap_or(source.badge);
        self.slots.insert(
            to,
            Node {
                id,
                badge,
                rights: source.rights & rights,
                master: false,
                group,
            },
        );
        None
    }
    fn shift(&mut self, from: u64, to: u64) -> Option<Error> {
        if self.at(to).is_some() {
            return Some(Error::DeleteFirst);
        }
        let Some(source) = self.slots.remove(&from) else {
            return Some(Error::FailedLookup);
        };
        self.slots.insert(to, source);
        None
    }
    /// An endpoint's data cannot be changed in place, so what is found is never moved.
    fn rotate(&self, dest: u64, pivot: u64, source: u64) -> Option<Error> {
        if pivot == source || pivot == dest {
            return Some(Error::IllegalOperation);
        }
        if source != dest && self.at(dest).is_some() {
            return Some(Error::DeleteFirst);
        }
        match (self.at(source), self.at(pivot)) {
            (Some(_), Some(_)) => Some(Error::IllegalOperation),
            _ => Some(Error::FailedLookup),
        }
    }
}

fn perform(w: &mut World, first: u64, operation: Operation) -> Answer {
    let at = |slot: u64| first + slot;
    let root = [fixed::CNODE; 2];
    match operation {
        Operation::Copy { from, to, rights } => w.cnode(
            label::CNODE_COPY,
            at(to),
            &[at(from), 64, rights],
            &root[..1],
        ),
        Operation::Mint {
            from,
            to,
            rights,
            badge,
        } => w.cnode(
            label::CNODE_MINT,
            at(to),
            &[at(from), 64, rights, badge],
            &root[..1],
        ),
        Operation::Move { from, to } => {
            w.cnode(label::CNODE_MOVE, at(to), &[at(from), 64], &root[..1])
        }
        Operation::Mutate { from, to } => {
            w.cnode(label::CNODE_MUTATE, at(to), &[at(from), 64, 5], &root[..1])
        }
        Operation::Rotate {
            dest,
            pivot,
            source,
        } => w.cnode(
            label::CNODE_ROTATE,
            at(dest),
            &[0, at(pivot), 64, 0, at(source), 64],
            &root,
        ),
        Operation::Delete { slot } => w.cnode(label::CNODE_DELETE, at(slot), &[], &[]),
        Operation::Revoke { slot } => w.cnode(label::CNODE_REVOKE, at(slot), &[], &[]),
    }
}

proptest! {
    #![proptest_config(super::cases(96))]

    #[test]
    fn cnode_operations_do_what_a_tree_says(operations in prop::collection::vec(operation(), 1..80)) {
        let mut w = World::new();
        let first = w.make(object::ENDPOINT, 0);
        w.next_slot = first + SLOTS;
        let mut model = Model { slots: BTreeMap::new(), next: 1 };
        model.slots.insert(0, Node { id: 0, badge: 0, rights: 15, master: true, group: None });
        for operation in operations {
            let expected = match operation {
                Operation::Copy { from, to, rights } => model.copy(from, to, rights, None),
                Operation::Mint { from, to, rights, badge } => model.copy(from, to, rights, Some(badge)),
                Operation::Move { from, to } => model.shift(from, to),
                // An endpoint's data cannot be changed in place.
                Operation::Mutate { from, to } => match (model.at(to), model.at(from)) {
                    (Some(_), _) => Some(Error::DeleteFirst),
                    (None, None) => Some(Error::FailedLookup),
                    (None, Some(_)) => Some(Error::IllegalOperation),
                },
                Operation::Rotate { dest, pivot, source } => model.rotate(dest, pivot, source),
                Operation::Delete { slot } => {
                    model.remove(slot);
                    None
                }
                Operation::Revoke { slot } => {
                    if let Some(node) = model.at(slot) {
                        model.descendants(node).into_iter().for_each(|slot| model.remove(slot));
                    }
                    None
                }
            };
            let answer = perform(&mut w, first, operation);
            prop_assert_eq!(answer.label, expected.map_or(0, |error| error as u64), "{:?}", operation);
            for slot in 0..SLOTS {
                let found = match w.cap(first + slot) {
                    Cap::Endpoint { badge, rights, .. } => Some((badge, rights)),
                    _ => None,
                };
                let wanted = model.at(slot).map(|node| (node.badge, Rights::new(node.rights)));
                prop_assert_eq!(found, wanted, "slot {} after {:?}", slot, operation);
            }
            if model.slots.is_empty() {
                break;
            }
        }
        w.check();
    }
}

#[test]
fn rotating_neighbours_of_the_tree_moves_each_capability_and_its_children() {
    for (dest, pivot, source) in [
        (0, 1, 0),
        (1, 0, 1),
        (3, 0, 1),
        (3, 1, 0),
        (3, 2, 0),
        (2, 1, 2),
    ] {
        let mut w = World::new();
        let first = w.make(object::UNTYPED, 12);
        let frame = w.retype(first, object::X86_4K, 0);
        let other = w.make(object::TCB, 0);
        let before = [first, frame, other].map(|slot| w.cap(slot));
        let empty = w.empty();
        let at = |n: u64| [first, frame, other, empty][n as usize];
        let words = [0, at(pivot), 64, 0, at(source), 64];
        w.cnode(label::CNODE_ROTATE, at(dest), &words, &[fixed::CNODE; 2])
            .ok();
        assert_eq!(w.cap(at(dest)), before[pivot as usize]);
        assert_eq!(w.cap(at(pivot)), before[source as usize]);
        w.check();
        let memory = [first, frame, other, empty]
            .into_iter()
            .find(|&slot| matches!(w.cap(slot), Cap::Untyped { .. }))
            .expect("the memory is somewhere");
        w.revoke(memory);
        let frames = [first, frame, other, empty]
            .into_iter()
            .filter(|&slot| matches!(w.cap(slot), Cap::Frame { .. }));
        assert_eq!(
            frames.count(),
            0,
            "the frame is still derived from its memory"
        );
        w.check();
    }
}

#[test]
fn a_copy_of_untouched_memory_has_nothing_to_zero() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 16);
    let copy = w.copy(memory, 15);
    assert!(matches!(w.cap(copy), Cap::Untyped { free: 0, .. }));
    assert!(matches!(w.cap(memory), Cap::Untyped { free: 4096, .. }));
    w.check();
}

#[test]
fn deleting_a_tree_of_nested_cnodes_is_preemptible_and_leaves_nothing() {
    let mut w = World::new();
    let outer = w.make(object::CAP_TABLE, 5);
    let inner = w.make(object::CAP_TABLE, 5);
    let endpoint = w.make(object::ENDPOINT, 0);
    for slot in 0..31 {
        w.call(
            outer,
            label::CNODE_COPY,
            &[slot, 5, endpoint, 64, 15],
            &[fixed::CNODE],
        )
        .ok();
        w.call(
            inner,
            label::CNODE_COPY,
            &[slot, 5, endpoint, 64, 15],
            &[fixed::CNODE],
        )
        .ok();
    }
    // Each holds the other's last capability: a circle, once the root task lets go of one.
    w.call(
        outer,
        label::CNODE_COPY,
        &[31, 5, outer, 64, 15],
        &[fixed::CNODE],
    )
    .ok();
    w.call(
        inner,
        label::CNODE_MOVE,
        &[31, 5, outer, 64],
        &[fixed::CNODE],
    )
    .ok();
    w.kernel.work_units = 90;
    w.kernel.machine.pending = true;
    w.delete(inner);
    w.check();
    assert!(w.cap(inner).is_null());
    w.revoke(w.memory);
    w.check();
}

#[test]
fn revoking_memory_takes_everything_made_of_it() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 18);
    let keep = w.next_slot;
    for (ty, bits) in [
        (object::TCB, 0),
        (object::ENDPOINT, 0),
        (object::NOTIFICATION, 0),
        (object::REPLY, 0),
        (object::SCHED_CONTEXT, 8),
        (object::CAP_TABLE, 3),
        (object::VCPU, 0),
        (object::X86_4K, 0),
        (object::SHADOW_POOL, 5),
    ] {
        let slot = w.retype(memory, ty, bits);
        w.copy(slot, 15);
    }
    w.check();
    w.revoke(memory);
    assert!((keep..w.next_slot).all(|slot| w.cap(slot).is_null()));
    w.check();
    w.delete(memory);
    w.check();
}

#[test]
fn an_untyped_with_children_is_not_copied_and_a_copied_one_gives_nothing_out() {
    let mut w = World::new();
    let memory = w.make(object::UNTYPED, 12);
    let copy = w.copy(memory, 15);
    let slot = w.empty();
    let words = [object::ENDPOINT, 0, 0, 0, slot, 1];
    let answer = w.call(memory, label::UNTYPED_RETYPE, &words, &[fixed::CNODE]);
    assert_eq!(answer, Answer::error(Error::NotEnoughMemory, &[0]));
    w.call(copy, label::UNTYPED_RETYPE, &words, &[fixed::CNODE])
        .ok();
    let another = w.empty();
    for source in [memory, copy] {
        let answer = w.cnode(
            label::CNODE_COPY,
            another,
            &[source, 64, 15],
            &[fixed::CNODE],
        );
        assert_eq!(answer, Answer::error(Error::RevokeFirst, &[]));
    }
    w.check();
}
