//! The mirror: a shadow pool that remembers what was done to it, and with that what the processor's TLB may hold.
//!
//! Every leaf that was reachable from the root while the vCPU could run may be in the TLB, with the rights it had, until a
//! flush covers it. While the leaf stands the tables speak for the TLB too; when it goes without a flush a *remnant* stays.
//! The kernel gives the vCPU a fresh TLB tag for `reset`, `set_root`, `retire` and `invalidate(All)`; `clear`, `fill` and
//! `link` flush nothing. Since the vCPU is stopped during a request, a flush anywhere in it covers the whole of it.

mod lookup;
mod record;
mod remnants;

pub use lookup::Found;
pub use record::TableRecord;
pub use remnants::Remnant;

use record::{NONE, PAE_ROOT, leaf_entry, link_entry};
use shadow::{Flush, Rights, ShadowTables, TableError};
use words::{Gfn, Gva, PageSize};

/// Single-address flushes remembered within a request.
const ADDRESSES: usize = 4;

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

    /// Every page is stale, there is no root.
    fn forget(&mut self) {
        self.epoch += 1;
        self.root = None;
        self.flush();
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
        self.replace(parent, slot, link_entry(page, self.stop));
        if let Some(table) = self.live_mut(page) {
            table.parent = parent;
            table.parent_slot = slot;
        }
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
            let value = leaf_entry(gfn.gpa(), rights, self.stop);
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
    use crate::finding::Leaf;
    use crate::range::Range;
    use words::Gpa;

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
