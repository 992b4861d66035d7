//! Capability slots and the derivation tree: a doubly linked list in depth-first order, in which a capability's
//! descendants follow it directly.

use crate::cap::{Cap, Untyped, Words};
use crate::mem::Ref;
use core::cell::Cell;

/// A slot: a capability and its place in the derivation list. 32 bytes; zero is an empty slot.
#[repr(C)]
#[derive(Default)]
pub struct Slot {
    cap: [Cell<u64>; 2],
    prev: Cell<u64>,
    /// Next slot's address; bit 0 revocable, bit 1 first badged.
    next: Cell<u64>,
}

const _: () = assert!(size_of::<Slot>() == 1 << sel4_abi::object::SLOT_BITS);

const REVOCABLE: u64 = 1;
const FIRST_BADGED: u64 = 2;

impl Slot {
    /// The capability.
    #[inline(always)]
    #[must_use]
    pub fn cap(&self) -> Cap {
        Cap::decode(self.cap[0].get(), self.cap[1].get())
    }
    /// Its two words.
    #[inline(always)]
    pub(crate) fn words(&self) -> Words {
        Words(self.cap[0].get(), self.cap[1].get())
    }
    /// Replaces the capability, leaving its place in the tree.
    #[inline(always)]
    pub fn set_cap(&self, cap: Cap) {
        self.set_words(cap.words());
    }
    /// Replaces them, and thereby the capability.
    #[inline(always)]
    pub(crate) fn set_words(&self, Words(first, second): Words) {
        self.cap[0].set(first);
        self.cap[1].set(second);
    }
    /// Whether there is no capability.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cap[0].get() == 0
    }
    fn flags(&self) -> u64 {
        self.next.get() & 3
    }
    fn revocable(&self) -> bool {
        self.next.get() & REVOCABLE != 0
    }
    fn first_badged(&self) -> bool {
        self.next.get() & FIRST_BADGED != 0
    }
    /// The slot after this one in derivation order.
    #[must_use]
    pub fn next(&self) -> Option<Ref<Slot>> {
        match self.next.get() & !3 {
            0 => None,
            hpa => Some(Ref::at(hpa)),
        }
    }
    /// The slot before.
    #[must_use]
    pub fn prev(&self) -> Option<Ref<Slot>> {
        match self.prev.get() {
            0 => None,
            hpa => Some(Ref::at(hpa)),
        }
    }
    fn set_next(&self, to: Option<Ref<Slot>>) {
        self.next.set(self.flags() | to.map_or(0, Ref::bits));
    }
    fn set_prev(&self, to: Option<Ref<Slot>>) {
        self.prev.set(to.map_or(0, Ref::bits));
    }
}

/// Whether `child` (which follows `parent` in the list) is derived from it (docs/objects/cnode.md).
#[must_use]
pub fn is_parent(parent: Ref<Slot>, child: Ref<Slot>) -> bool {
    if !parent.revocable() {
        return false;
    }
    let (cap, derived) = (parent.words(), child.words());
    if !cap.covers(derived) {
        return false;
    }
    // A badged copy's own children have its badge, and are not the first with it.
    cap.badge() == 0 || (cap.badge() == derived.badge() && !child.first_badged())
}

/// Whether the capability has descendants.
#[must_use]
pub fn has_children(slot: Ref<Slot>) -> bool {
    slot.next().is_some_and(|next| is_parent(slot, next))
}

/// Whether no other capability names the same object: neighbours in the list tell.
#[must_use]
pub fn is_final(slot: Ref<Slot>) -> bool {
    let words = slot.words();
    let same =
        |other: Option<Ref<Slot>>| other.is_some_and(|other| words.same_object(other.words()));
    !same(slot.prev()) && !same(slot.next())
}

/// Fills the empty slot `to`, which follows `after` in the list.
#[inline(always)]
fn fill_after(to: Ref<Slot>, words: Words, flags: u64, after: Ref<Slot>) {
    let next = after.next();
    to.set_words(words);
    to.prev.set(after.bits());
    to.next.set(next.map_or(0, Ref::bits) | flags);
    if let Some(next) = next {
        next.prev.set(to.bits());
    }
    after.set_next(Some(to));
}

/// Puts a derived capability into the empty slot `to`, directly after `source`.
/// An untyped's copy fills the source's memory: nothing may be allocated from both.
pub fn insert(cap: Cap, source: Ref<Slot>, to: Ref<Slot>) {
    let words = cap.words();
    let flags = if words.is_revocable_copy_of(source.words()) {
        REVOCABLE | FIRST_BADGED
    } else {
        0
    };
    if let Some(memory) = words.untyped() {
        let free = 1 << (memory.bits - 4);
        source.set_words(Untyped { free, ..memory }.words());
    }
    fill_after(to, words, flags, source);
}

/// Puts a new object's capability into the empty slot `to` as a child of `parent`.
pub(crate) fn insert_new(words: Words, parent: Ref<Slot>, to: Ref<Slot>) {
    fill_after(to, words, REVOCABLE | FIRST_BADGED, parent);
}

/// Puts a capability without parent into the empty slot `to` (boot).
pub fn insert_root(cap: Cap, to: Ref<Slot>) {
    to.set_cap(cap);
    to.prev.set(0);
    to.next.set(REVOCABLE | FIRST_BADGED);
}

/// Moves `cap` (the content of `from`, perhaps with new data) to the empty slot `to`, keeping its place in the tree.
pub fn move_cap(cap: Cap, from: Ref<Slot>, to: Ref<Slot>) {
    to.set_cap(cap);
    to.prev.set(from.prev.get());
    to.next.set(from.next.get());
    from.set_words(Words(0, 0));
    from.prev.set(0);
    from.next.set(0);
    if let Some(prev) = to.prev() {
        prev.set_next(Some(to));
    }
    if let Some(next) = to.next() {
        next.set_prev(Some(to));
    }
}

/// Exchanges two slots' contents and places; `a` gets `cap_b`, `b` gets `cap_a`.
pub fn swap(cap_a: Cap, a: Ref<Slot>, cap_b: Cap, b: Ref<Slot>) {
    if a == b {
        return;
    }
    a.set_cap(cap_b);
    b.set_cap(cap_a);
    let (a_prev, a_next) = (a.prev.get(), a.next.get());
    let (b_prev, b_next) = (b.prev.get(), b.next.get());
    // A neighbour that is the other slot becomes oneself's other side.
    let follow = |hpa: u64, from: Ref<Slot>, to: Ref<Slot>| {
        if hpa & !3 == from.bits() {
            to.bits() | hpa & 3
        } else {
            hpa
        }
    };
    a.prev.set(follow(b_prev, a, b));
    a.next.set(follow(b_next, a, b));
    b.prev.set(follow(a_prev, b, a));
    b.next.set(follow(a_next, b, a));
    for slot in [a, b] {
        if let Some(prev) = slot.prev() {
            prev.set_next(Some(slot));
        }
        if let Some(next) = slot.next() {
            next.set_prev(Some(slot));
        }
    }
}

/// Takes the slot out of the tree and empties it. Descendants of a first-badged capability pass that mark on.
pub fn unlink(slot: Ref<Slot>) {
    let (prev, next) = (slot.prev(), slot.next());
    if let Some(prev) = prev {
        prev.set_next(next);
    }
    if let Some(next) = next {
        next.set_prev(prev);
        next.next
            .set(next.next.get() | slot.next.get() & FIRST_BADGED);
    }
    slot.set_words(Words(0, 0));
    slot.prev.set(0);
    slot.next.set(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use sel4_abi::Rights;

    fn slot(n: u64) -> Ref<Slot> {
        Ref::at(0x1000 + 32 * n)
    }

    #[test]
    fn swapping_neighbours_keeps_the_list_whole() {
        crate::mem::install_test_memory(1 << 21);
        let ep = Cap::Endpoint {
            object: Ref::at(0x40),
            badge: 0,
            rights: Rights::ALL,
        };
        insert_root(ep, slot(0));
        insert(ep, slot(0), slot(1));
        insert(ep, slot(1), slot(2));
        swap(slot(0).cap(), slot(0), slot(1).cap(), slot(1));
        assert_eq!(slot(1).next(), Some(slot(0)));
        assert_eq!(slot(0).next(), Some(slot(2)));
        assert_eq!(slot(0).prev(), Some(slot(1)));
        assert_eq!(slot(2).prev(), Some(slot(0)));
        assert_eq!(slot(1).prev(), None);
    }

    #[test]
    fn badged_copies_are_children_and_plain_copies_siblings() {
        crate::mem::install_test_memory(1 << 21);
        let ep = |badge| Cap::Endpoint {
            object: Ref::at(0x40),
            badge,
            rights: Rights::ALL,
        };
        insert_root(ep(0), slot(0));
        insert(ep(7), slot(0), slot(1));
        insert(ep(7), slot(1), slot(2));
        assert!(is_parent(slot(0), slot(1)));
        assert!(is_parent(slot(1), slot(2)));
        assert!(!is_parent(slot(2), slot(1)));
        assert!(!has_children(slot(2)));
    }
}
