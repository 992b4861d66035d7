//! What the processor's TLB may hold though its entry is gone.

use super::Mirror;
use super::record::{LINK, PRESENT, child, is_fresh, leaf, reached};
use crate::finding::Leaf;
use crate::range::Range;
use shadow::Rights;
use words::{Gpa, Gva, PageSize};

/// A translation the processor's TLB may hold though its entry is gone.
#[derive(Clone, Copy, Debug)]
pub struct Remnant(Leaf);

impl Remnant {
    /// None yet.
    pub const EMPTY: Self = Self(Leaf {
        gva: Gva::new(0),
        gpa: Gpa::new(0),
        size: PageSize::Size4K,
        rights: Rights {
            write: false,
            user: false,
            execute: false,
        },
    });
}

impl<T> Mirror<'_, T> {
    /// What the TLB may hold of entries that are gone.
    pub fn remnants(&self) -> impl Iterator<Item = Leaf> {
        self.remnants[..self.held].iter().map(|remnant| remnant.0)
    }

    /// The vCPU gets a fresh tag before it runs again.
    pub(super) fn flush(&mut self) {
        self.held = 0;
        self.flushed = true;
    }

    /// Entry `slot` of `page` becomes `new`; what was there may stay in the TLB.
    pub(super) fn replace(&mut self, page: u32, slot: u32, new: u64) {
        let Some(table) = self.live_mut(page) else {
            return;
        };
        let (slot, level) = (slot as usize, table.level);
        let Some(&old) = table.slots.get(slot) else {
            return;
        };
        if old & PRESENT != 0
            && !self.flushed
            && let Some(base) = self.reach(page)
        {
            let gva = reached(base, slot, level);
            if old & LINK == 0 {
                let old_leaf = leaf(old, Gva::new(gva), level);
                let kept = new & (PRESENT | LINK) == PRESENT
                    && old_leaf.is_within(&leaf(new, Gva::new(gva), level));
                if !kept {
                    self.leave(old, old_leaf);
                }
            } else {
                self.leave_below(child(old), gva);
            }
        }
        if let Some(table) = self.live_mut(page) {
            table.put(slot, new);
        }
    }

    /// What hangs below a table that is being unlinked.
    fn leave_below(&mut self, page: u32, gva: u64) {
        let mut room = [Remnant::EMPTY; 64];
        let mut from = 0;
        // In portions: the tables cannot be read while remnants are added.
        loop {
            let (mut seen, mut count) = (0, 0);
            let (stop, limit) = (self.stop, room.len());
            self.descend(page, gva, Range::ALL, 0, &mut |value, leaf| {
                seen += 1;
                if seen > from && !is_fresh(value, stop) {
                    room[count] = Remnant(leaf);
                    count += 1;
                }
                count < limit
            });
            for remnant in &room[..count] {
                self.hold(remnant.0);
            }
            if count < limit || self.held == self.remnants.len() {
                return;
            }
            from = seen;
        }
    }

    /// An entry goes.
    fn leave(&mut self, value: u64, leaf: Leaf) {
        if !is_fresh(value, self.stop) {
            self.hold(leaf);
        }
    }

    /// The TLB may hold `leaf`, unless it was flushed since the vCPU ran. Without room it is forgotten.
    fn hold(&mut self, leaf: Leaf) {
        let covered = self
            .addresses
            .iter()
            .flatten()
            .any(|&address| leaf.covers(address));
        if self.flushed || covered || self.remnants().any(|held| leaf.is_within(&held)) {
            return;
        }
        if let Some(free) = self.remnants.get_mut(self.held) {
            *free = Remnant(leaf);
            self.held += 1;
        }
    }

    /// The address is flushed.
    pub(super) fn flush_address(&mut self, gva: Gva) {
        let mut kept = 0;
        for index in 0..self.held {
            if !self.remnants[index].0.covers(gva) {
                self.remnants[kept] = self.remnants[index];
                kept += 1;
            }
        }
        self.held = kept;
        if let Some(free) = self.addresses.iter_mut().find(|free| free.is_none()) {
            *free = Some(gva);
        }
    }
}
