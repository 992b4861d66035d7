//! The mirror: a shadow pool that remembers what was done to it, and with that what the processor's TLB may hold.
//!
//! Every leaf that was reachable from the root while the vCPU could run may be in the TLB, with the rights it had, until a
//! flush covers it. While the leaf stands the tables speak for the TLB too; when it goes without a flush a *remnant* stays.
//! The kernel gives the vCPU a fresh TLB tag for `reset`, `set_root`, `retire` and `invalidate(All)`; `clear`, `fill` and
//! `link` flush nothing. Since the vCPU is stopped during a request, a flush anywhere in it covers the whole of it.

use crate::finding::Leaf;
use crate::range::Range;
use shadow::{Flush, Rights, ShadowTables, TableError};
use words::{Gfn, Gpa, Gva, PageSize};

const ENTRIES: usize = 512;
const NONE: u32 = u32::MAX;
/// Level of a PAE root.
const PAE_ROOT: u32 = 5;
/// Single-address flushes remembered within a request.
const ADDRESSES: usize = 4;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const LINK: u64 = 1 << 4;
/// Frame or child.
const TARGET: u64 = 0x000f_ffff_ffff_f000;
/// The request that wrote the entry, modulo 4096.
const STOP_SHIFT: u32 = 52;

/// What is known of one page of the pool.
#[derive(Clone, Debug)]
pub struct TableRecord {
    epoch: u64,
    level: u32,
    /// Where it was last linked.
    parent: u32,
    parent_slot: u32,
    occupied: [u64; ENTRIES / 64],
    slots: [u64; ENTRIES],
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

    fn empty(&mut self) {
        for (word, bits) in self.occupied.iter_mut().enumerate() {
            while *bits != 0 {
                self.slots[64 * word + bits.trailing_zeros() as usize] = 0;
                *bits &= *bits - 1;
            }
        }
    }

    fn put(&mut self, slot: usize, value: u64) {
        self.slots[slot] = value;
        let bit = 1 << (slot % 64);
        if value == 0 {
            self.occupied[slot / 64] &= !bit;
        } else {
            self.occupied[slot / 64] |= bit;
        }
    }

    /// The first slot from `from` on that holds something.
    fn next(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied.get(word)? & (!0 << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(64 * word + bits.trailing_zeros() as usize)
    }
}

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

/// A shadow pool with a record of its tables.
#[derive(Debug)]
pub struct Mirror<'a, T> {
    inner: T,
    tables: &'a mut [TableRecord],
    remnants: &'a mut [Remnant],
    held: usize,
    epoch: u64,
    root: Option<u32>,
    /// Number of the current request.
    stop: u64,
    /// Everything was flushed during this request.
    flushed: bool,
    /// Addresses flushed during this request.
    addresses: [Option<Gva>; ADDRESSES],
    /// The kernel said during this request that the pool is stale.
    stale: bool,
    refused: u64,
    /// Entries and tables that operations of this request named.
    work: u64,
}

impl<'a, T> Mirror<'a, T> {
    /// A mirror of `inner`, of which nothing was used yet.
    pub fn new(inner: T, tables: &'a mut [TableRecord], remnants: &'a mut [Remnant]) -> Self {
        for record in tables.iter_mut() {
            record.epoch = 0;
        }
        Self {
            inner,
            tables,
            remnants,
            held: 0,
            epoch: 1,
            root: None,
            stop: 0,
            flushed: false,
            addresses: [None; ADDRESSES],
            stale: false,
            refused: 0,
            work: 0,
        }
    }

    /// The pool itself.
    pub const fn inner(&self) -> &T {
        &self.inner
    }

    /// The pool itself, for a test's own steps.
    pub const fn inner_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// A request begins: the vCPU may have run until now, and does not run again before the next one.
    pub fn vcpu_stopped(&mut self) {
        self.stop += 1;
        self.flushed = false;
        self.addresses = [None; ADDRESSES];
        self.stale = false;
        self.work = 0;
    }

    /// Shadow entries that operations of this request named; a table made empty counts as one.
    pub const fn work(&self) -> u64 {
        self.work
    }

    /// Operations the kernel refused so far.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether the kernel said during this request that the pool is stale.
    pub const fn was_stale(&self) -> bool {
        self.stale
    }

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

    /// What the TLB may hold of entries that are gone.
    pub fn remnants(&self) -> impl Iterator<Item = Leaf> {
        self.remnants[..self.held].iter().map(|remnant| remnant.0)
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

    fn live(&self, page: u32) -> Option<&TableRecord> {
        self.tables
            .get(page as usize)
            .filter(|table| table.epoch == self.epoch)
    }

    fn live_mut(&mut self, page: u32) -> Option<&mut TableRecord> {
        let epoch = self.epoch;
        self.tables
            .get_mut(page as usize)
            .filter(|table| table.epoch == epoch)
    }

    /// The leaves below `page`, which covers addresses from `gva`, with their entries.
    fn descend(
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
    fn reach(&self, page: u32) -> Option<u64> {
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

    /// The vCPU gets a fresh tag before it runs again.
    fn flush(&mut self) {
        self.held = 0;
        self.flushed = true;
    }

    /// Every page is stale, there is no root.
    fn forget(&mut self) {
        self.epoch += 1;
        self.root = None;
        self.flush();
    }

    /// Entry `slot` of `page` becomes `new`; what was there may stay in the TLB.
    fn replace(&mut self, page: u32, slot: u32, new: u64) {
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
    fn flush_address(&mut self, gva: Gva) {
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

    /// Takes note of how an operation ended.
    fn ended(&mut self, result: Result<(), TableError>) -> Result<(), TableError> {
        match result {
            Ok(()) => {}
            Err(TableError::Stale) => {
                self.stale = true;
                self.forget();
            }
            Err(TableError::Refused) => self.refused += 1,
        }
        result
    }

    fn reset_record(&mut self, page: u32, level: u32) {
        let epoch = self.epoch;
        if let Some(table) = self.tables.get_mut(page as usize) {
            table.empty();
            table.epoch = epoch;
            table.level = level;
            table.parent = NONE;
        }
        self.flush();
    }

    fn link_record(&mut self, parent: u32, slot: u32, page: u32) {
        let stop = self.stop << STOP_SHIFT;
        self.replace(parent, slot, u64::from(page) << 12 | PRESENT | LINK | stop);
        if let Some(table) = self.live_mut(page) {
            table.parent = parent;
            table.parent_slot = slot;
        }
    }
}

/// log2 of the bytes that an entry of a table of `level` maps.
const fn shift(level: u32) -> u32 {
    if level == PAE_ROOT { 30 } else { 3 + 9 * level }
}

const fn is_below(level: u32, parent: u32) -> bool {
    if parent == PAE_ROOT {
        level == 2
    } else {
        level + 1 == parent
    }
}

const fn child(value: u64) -> u32 {
    ((value & TARGET) >> 12) as u32
}

/// The first address of `slot` in a table that covers addresses from `gva`.
const fn reached(gva: u64, slot: usize, level: u32) -> u64 {
    let sign = if level == 4 && slot >= 256 {
        0xffff << 48
    } else {
        0
    };
    gva | (slot as u64) << shift(level) | sign
}

/// Whether the entry was made while the vCPU was stopped, as it still is.
const fn is_fresh(value: u64, stop: u64) -> bool {
    value >> STOP_SHIFT == stop & 0xfff
}

fn leaf(value: u64, gva: Gva, level: u32) -> Leaf {
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

impl<T: ShadowTables> ShadowTables for Mirror<'_, T> {
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.reset(page, level);
        if result.is_ok() {
            self.reset_record(page, level);
        }
        self.ended(result)
    }

    fn reset_pae_root(&mut self, page: u32, directories: [u32; 4]) -> Result<(), TableError> {
        self.work += 5;
        let result = self.inner.reset_pae_root(page, directories);
        if result.is_ok() {
            self.reset_record(page, PAE_ROOT);
            for (slot, directory) in (0..).zip(directories) {
                self.link_record(page, slot, directory);
            }
        }
        self.ended(result)
    }

    fn link(&mut self, parent: u32, slot: u32, child: u32) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.link(parent, slot, child);
        if result.is_ok() {
            self.link_record(parent, slot, child);
        }
        self.ended(result)
    }

    fn fill(
        &mut self,
        page: u32,
        slot: u32,
        gfn: Gfn,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.fill(page, slot, gfn, size, rights);
        if result.is_ok() {
            let flag = |set: bool, flag: u64| if set { flag } else { 0 };
            let value = gfn.gpa().bits() & TARGET
                | PRESENT
                | flag(rights.write, WRITE)
                | flag(rights.user, USER)
                | flag(rights.execute, EXECUTE)
                | self.stop << STOP_SHIFT;
            self.replace(page, slot, value);
        }
        self.ended(result)
    }

    fn clear(&mut self, page: u32, slot: u32, count: u32) -> Result<(), TableError> {
        self.work += u64::from(count);
        let result = self.inner.clear(page, slot, count);
        if result.is_ok() {
            let end = slot.saturating_add(count);
            let mut next = slot;
            while let Some(slot) = self
                .live(page)
                .and_then(|table| table.next(next as usize))
                .map(|slot| slot as u32)
                .filter(|slot| *slot < end)
            {
                self.replace(page, slot, 0);
                next = slot + 1;
            }
        }
        self.ended(result)
    }

    fn set_root(&mut self, page: u32) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.set_root(page);
        if result.is_ok() {
            self.root = Some(page);
            self.flush();
        }
        self.ended(result)
    }

    fn invalidate(&mut self, what: Flush) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.invalidate(what);
        if result.is_ok() {
            match what {
                Flush::Address(gva) => self.flush_address(gva),
                Flush::All => self.flush(),
            }
        }
        self.ended(result)
    }

    fn retire(&mut self) -> Result<(), TableError> {
        self.work += 1;
        let result = self.inner.retire();
        if result.is_ok() {
            self.forget();
        }
        self.ended(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool that agrees to everything, until told to be stale.
    #[derive(Default)]
    struct Agreeable {
        stale: bool,
    }

    impl Agreeable {
        fn answer(&mut self) -> Result<(), TableError> {
            if core::mem::take(&mut self.stale) {
                Err(TableError::Stale)
            } else {
                Ok(())
            }
        }
    }

    impl ShadowTables for Agreeable {
        fn reset(&mut self, _: u32, _: u32) -> Result<(), TableError> {
            self.answer()
        }
        fn reset_pae_root(&mut self, _: u32, _: [u32; 4]) -> Result<(), TableError> {
            self.answer()
        }
        fn link(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
            self.answer()
        }
        fn fill(
            &mut self,
            _: u32,
            _: u32,
            _: Gfn,
            _: PageSize,
            _: Rights,
        ) -> Result<(), TableError> {
            self.answer()
        }
        fn clear(&mut self, _: u32, _: u32, _: u32) -> Result<(), TableError> {
            self.answer()
        }
        fn set_root(&mut self, _: u32) -> Result<(), TableError> {
            self.answer()
        }
        fn invalidate(&mut self, _: Flush) -> Result<(), TableError> {
            self.answer()
        }
        fn retire(&mut self) -> Result<(), TableError> {
            self.answer()
        }
    }

    const READ: Rights = Rights {
        write: false,
        user: true,
        execute: true,
    };
    const TOP: Gva = Gva::new(0xffff_ff80_0000_3000);

    struct Room {
        tables: Vec<TableRecord>,
        remnants: Vec<Remnant>,
    }

    impl Room {
        fn new(remnants: usize) -> Self {
            Self {
                tables: vec![TableRecord::EMPTY; 6],
                remnants: vec![Remnant::EMPTY; remnants],
            }
        }

        /// Root 0 with tables 1 to 3 below it on the way of [`TOP`], and slot 3 of table 3 filled, before the vCPU ran.
        fn mirror(&mut self) -> Mirror<'_, Agreeable> {
            let mut mirror =
                Mirror::new(Agreeable::default(), &mut self.tables, &mut self.remnants);
            mirror.vcpu_stopped();
            for (page, level) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 1)] {
                mirror.reset(page, level).unwrap();
            }
            mirror.link(0, 511, 1).unwrap();
            mirror.link(1, 0, 2).unwrap();
            mirror.link(2, 0, 3).unwrap();
            fill(&mut mirror, 3, READ);
            mirror.set_root(0).unwrap();
            mirror.vcpu_stopped();
            mirror
        }
    }

    fn fill(mirror: &mut Mirror<'_, Agreeable>, slot: u32, rights: Rights) {
        let gfn = Gfn::new(0x600 + u64::from(slot));
        mirror.fill(3, slot, gfn, PageSize::Size4K, rights).unwrap();
    }

    fn held(mirror: &Mirror<'_, Agreeable>) -> Vec<u64> {
        mirror.remnants().map(|leaf| leaf.gva.bits()).collect()
    }

    #[test]
    fn a_leaf_is_found_by_its_address() {
        let mut room = Room::new(8);
        let mirror = room.mirror();
        let leaf = Leaf {
            gva: TOP,
            gpa: Gpa::new(0x60_3000),
            size: PageSize::Size4K,
            rights: READ,
        };
        assert_eq!(mirror.find(TOP.wrapping_add(0xfff)), Found::Leaf(leaf));
        assert_eq!(mirror.find(Gva::new(0x3000)), Found::Nothing);
        let mut seen = Vec::new();
        mirror.visit(Range::ALL, 0x1234, |leaf| {
            seen.push(leaf);
            true
        });
        assert_eq!(seen, [leaf]);
        assert_eq!(mirror.pick(77), Some(leaf));
    }

    #[test]
    fn a_cleared_leaf_stays_in_the_tlb_until_its_address_is_flushed() {
        let mut room = Room::new(8);
        let mut mirror = room.mirror();
        mirror.clear(3, 0, 512).unwrap();
        assert_eq!(held(&mirror), [TOP.bits()]);
        mirror.invalidate(Flush::Address(Gva::new(0x3000))).unwrap();
        assert_eq!(held(&mirror), [TOP.bits()]);
        mirror.invalidate(Flush::Address(TOP)).unwrap();
        assert_eq!(held(&mirror), []);
    }

    #[test]
    fn an_unlinked_table_leaves_its_leaves_behind() {
        let mut room = Room::new(200);
        let mut mirror = room.mirror();
        for slot in 4..130 {
            fill(&mut mirror, slot, READ);
        }
        mirror.vcpu_stopped();
        mirror.clear(0, 511, 1).unwrap();
        assert_eq!(held(&mirror).len(), 127);
        mirror.reset(4, 1).unwrap();
        assert_eq!(held(&mirror), []);
    }

    #[test]
    fn a_flush_covers_the_whole_request_in_either_order() {
        let mut room = Room::new(8);
        let mut mirror = room.mirror();
        mirror.invalidate(Flush::Address(TOP)).unwrap();
        mirror.clear(3, 3, 1).unwrap();
        assert_eq!(held(&mirror), []);
        fill(&mut mirror, 3, READ);
        mirror.vcpu_stopped();
        mirror.invalidate(Flush::All).unwrap();
        mirror.clear(3, 3, 1).unwrap();
        assert_eq!(held(&mirror), []);
    }

    #[test]
    fn what_the_vcpu_never_ran_with_is_in_no_tlb() {
        let mut room = Room::new(8);
        let mut mirror = room.mirror();
        fill(&mut mirror, 5, READ);
        mirror.clear(3, 5, 1).unwrap();
        assert_eq!(held(&mirror), []);
    }

    #[test]
    fn a_leaf_with_fewer_rights_leaves_the_old_one_and_one_with_more_does_not() {
        let mut room = Room::new(8);
        let mut mirror = room.mirror();
        let more = Rights {
            write: true,
            ..READ
        };
        fill(&mut mirror, 3, more);
        assert_eq!(held(&mirror), []);
        mirror.vcpu_stopped();
        fill(&mut mirror, 3, READ);
        assert_eq!(held(&mirror), [TOP.bits()]);
    }

    #[test]
    fn a_new_root_an_end_of_the_epoch_and_a_stale_pool_flush_everything() {
        let mut room = Room::new(8);
        let mut mirror = room.mirror();
        mirror.clear(3, 3, 1).unwrap();
        mirror.set_root(0).unwrap();
        assert_eq!(held(&mirror), []);
        mirror.retire().unwrap();
        assert_eq!(
            (mirror.has_root(), mirror.find(TOP)),
            (false, Found::Nothing)
        );

        let mut mirror = room.mirror();
        mirror.clear(3, 3, 1).unwrap();
        mirror.inner_mut().stale = true;
        assert_eq!(mirror.clear(3, 3, 1), Err(TableError::Stale));
        assert_eq!(
            (held(&mirror), mirror.has_root(), mirror.was_stale()),
            (vec![], false, true)
        );
    }

    #[test]
    fn without_room_something_is_forgotten_and_nothing_made_up() {
        let mut room = Room::new(1);
        let mut mirror = room.mirror();
        fill(&mut mirror, 5, READ);
        mirror.vcpu_stopped();
        mirror.clear(3, 0, 512).unwrap();
        assert_eq!(held(&mirror), [TOP.bits()]);

        let mut tables = vec![TableRecord::EMPTY; 2];
        let mut mirror = Mirror::new(Agreeable::default(), &mut tables, &mut []);
        mirror.reset(0, 4).unwrap();
        mirror.reset(7, 3).unwrap();
        mirror.link(0, 0, 7).unwrap();
        mirror.set_root(0).unwrap();
        assert_eq!(mirror.find(Gva::new(0)), Found::Unknown);
        assert_eq!(mirror.pick(1), None);
    }
}
