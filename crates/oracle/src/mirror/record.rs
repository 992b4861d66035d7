//! The record of one table, and how it holds an entry: what stands in a slot, and since which request.

use crate::finding::Leaf;
use shadow::Rights;
use words::{Gpa, Gva, PageSize};

pub(super) const ENTRIES: usize = 512;
pub(super) const NONE: u32 = u32::MAX;
/// Level of a PAE root.
pub(super) const PAE_ROOT: u32 = 5;

pub(super) const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
pub(super) const LINK: u64 = 1 << 4;
/// Frame or child.
const TARGET: u64 = 0x000f_ffff_ffff_f000;
/// The request that wrote the entry, modulo 4096.
const STOP_SHIFT: u32 = 52;

/// What is known of one page of the pool.
#[derive(Clone, Debug)]
pub struct TableRecord {
    pub(super) epoch: u64,
    pub(super) level: u32,
    /// Where it was last linked.
    pub(super) parent: u32,
    pub(super) parent_slot: u32,
    occupied: [u64; ENTRIES / 64],
    pub(super) slots: [u64; ENTRIES],
}

impl TableRecord {
    /// A page of which nothing is known.
    pub const EMPTY: Self = Self {
        epoch: 0,
        level: 0,
        parent: NONE,
        parent_slot: 0,
        occupied: [0; ENTRIES / 64],
        slots: [0; ENTRIES],
    };

    pub(super) fn empty(&mut self) {
        for (word, bits) in self.occupied.iter_mut().enumerate() {
            while *bits != 0 {
                self.slots[64 * word + bits.trailing_zeros() as usize] = 0;
                *bits &= *bits - 1;
            }
        }
    }

    pub(super) fn put(&mut self, slot: usize, value: u64) {
        self.slots[slot] = value;
        let bit = 1 << (slot % 64);
        if value == 0 {
            self.occupied[slot / 64] &= !bit;
        } else {
            self.occupied[slot / 64] |= bit;
        }
    }

    /// The first slot from `from` on that holds something.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(64 * word + bits.trailing_zeros() as usize)
    }
}

/// log2 of the bytes that an entry of a table of `level` maps.
pub(super) const fn shift(level: u32) -> u32 {
    if level == PAE_ROOT { 30 } else { 3 + 9 * level }
}

pub(super) const fn is_below(level: u32, parent: u32) -> bool {
    if parent == PAE_ROOT {
        level == 2
    } else {
        level + 1 == parent
    }
}

pub(super) const fn child(value: u64) -> u32 {
    ((value & TARGET) >> 12) as u32
}

/// The first address of `slot` in a table that covers addresses from `gva`.
pub(super) const fn reached(gva: u64, slot: usize, level: u32) -> u64 {
    let sign = if level == 4 && slot >= 256 {
        0xffff << 48
    } else {
        0
    };
    gva | (slot as u64) << shift(level) | sign
}

/// Whether the entry was made while the vCPU was stopped, as it still is.
pub(super) const fn is_fresh(value: u64, stop: u64) -> bool {
    value >> STOP_SHIFT == stop & 0xfff
}

pub(super) fn leaf(value: u64, gva: Gva, level: u32) -> Leaf {
    Leaf {
        gva,
        gpa: Gpa::new(value & TARGET),
        size: PageSize::from_level(level).unwrap_or(PageSize::Size4K),
        rights: Rights {
            write: value & WRITE != 0,
            user: value & USER != 0,
            execute: value & EXECUTE != 0,
        },
    }
}

/// The entry that `stop` made for a leaf.
pub(super) fn leaf_entry(gpa: Gpa, rights: Rights, stop: u64) -> u64 {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    gpa.bits() & TARGET
        | PRESENT
        | flag(rights.write, WRITE)
        | flag(rights.user, USER)
        | flag(rights.execute, EXECUTE)
        | stop << STOP_SHIFT
}

/// The entry that `stop` made for a link to `page`.
pub(super) const fn link_entry(page: u32, stop: u64) -> u64 {
    (page as u64) << 12 | PRESENT | LINK | stop << STOP_SHIFT
}
