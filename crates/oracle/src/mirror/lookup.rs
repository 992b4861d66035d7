//! What the mirror shows: the leaves of the shadow, by address, by range or by chance.

use super::Mirror;
use super::record::{ENTRIES, LINK, PRESENT, child, is_below, leaf, reached, shift};
use crate::finding::Leaf;
use crate::range::Range;
use words::Gva;

/// What the shadow has at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// A leaf.
    Leaf(Leaf),
    /// Nothing.
    Nothing,
    /// The way leads through a page that has no record.
    Unknown,
}

impl<T> Mirror<'_, T> {
    /// Level of the vCPU's root, 5 for a PAE root. `None`: there is none, or nothing is known of it.
    #[must_use]
    pub fn root_level(&self) -> Option<u32> {
        Some(self.live(self.root?)?.level)
    }

    /// Whether the vCPU has a root.
    #[must_use]
    pub const fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// What the shadow has at `gva`.
    #[must_use]
    pub fn find(&self, gva: Gva) -> Found {
        let Some(mut page) = self.root else {
            return Found::Nothing;
        };
        // At most root, page-directory-pointer table, directory and page table.
        for _ in 0..4 {
            let Some(table) = self.live(page) else {
                return Found::Unknown;
            };
            let shift = shift(table.level);
            let slot = (gva.bits() >> shift) as usize % ENTRIES;
            let value = table.slots[slot];
            if value & LINK != 0 {
                page = child(value);
            } else if value & PRESENT != 0 {
                return Found::Leaf(leaf(value, gva.align_down(shift), table.level));
            } else {
                return Found::Nothing;
            }
        }
        Found::Unknown
    }

    /// Calls `each` with the leaves that meet `range`, until it answers false. `turn` says with which slots to begin.
    pub fn visit(&self, range: Range, turn: usize, mut each: impl FnMut(Leaf) -> bool) {
        if let Some(root) = self.root {
            self.descend(root, 0, range, turn, &mut |_, leaf| each(leaf));
        }
    }

    /// A leaf picked by `luck`, if the root leads to any.
    #[must_use]
    pub fn pick(&self, mut luck: u64) -> Option<Leaf> {
        let mut page = self.root?;
        let mut gva = 0;
        for _ in 0..4 {
            let table = self.live(page)?;
            let start = luck as usize % ENTRIES;
            luck >>= 9;
            let slot = table.next(start).or_else(|| table.next(0))?;
            gva = reached(gva, slot, table.level);
            let value = table.slots[slot];
            if value & LINK == 0 {
                return Some(leaf(value, Gva::new(gva), table.level));
            }
            page = child(value);
        }
        None
    }

    /// The leaves below `page`, which covers addresses from `gva`, with their entries.
    pub(super) fn descend(
        &self,
        page: u32,
        gva: u64,
        range: Range,
        turn: usize,
        each: &mut dyn FnMut(u64, Leaf) -> bool,
    ) -> bool {
        let Some(table) = self.live(page) else {
            return true;
        };
        let start = turn % ENTRIES;
        let mut at = start;
        let mut wrapped = start == 0;
        loop {
            let slot = match table.next(at) {
                Some(slot) if !wrapped || start == 0 || slot < start => slot,
                None if !wrapped => {
                    (wrapped, at) = (true, 0);
                    continue;
                }
                _ => return true,
            };
            at = slot + 1;
            let first = reached(gva, slot, table.level);
            let bits = shift(table.level);
            if !range.meets(Gva::new(first), bits) {
                continue;
            }
            let value = table.slots[slot];
            let go_on = if value & LINK == 0 {
                each(value, leaf(value, Gva::new(first), table.level))
            } else if self
                .live(child(value))
                .is_some_and(|below| is_below(below.level, table.level))
            {
                self.descend(child(value), first, range, turn >> 9, each)
            } else {
                true
            };
            if !go_on {
                return false;
            }
        }
    }

    /// The first address that `page` covers, if the root leads to it.
    pub(super) fn reach(&self, page: u32) -> Option<u64> {
        let root = self.root?;
        let (mut at, mut gva) = (page, 0);
        for _ in 0..4 {
            if at == root {
                return Some(gva);
            }
            let table = self.live(at)?;
            let above = self.live(table.parent)?;
            let slot = table.parent_slot as usize;
            let value = *above.slots.get(slot)?;
            if value & LINK == 0 || child(value) != at {
                return None;
            }
            // From the bottom up the parts of the address add up; the sign is the top's.
            gva |= reached(0, slot, above.level);
            at = table.parent;
        }
        None
    }
}
