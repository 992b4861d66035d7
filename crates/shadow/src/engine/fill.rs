//! A fault answered from the guest's tables, and the leaf that a fill puts into the shadow.

use super::Engine;
use crate::bounds::TABLES_BELOW_ROOT;
use crate::memory::GuestMemory;
use crate::mutant::{self, Mutant};
use crate::pages::Way;
use crate::policy;
use crate::request::{Error, Fault, Outcome};
use crate::space::Format;
use crate::tables::{Flush, ShadowTables, TableError};
use crate::walk::{GuestPageSize, Stop, Translation};
use exit_abi::Mode;
use words::{Gfn, Gva, PageSize};

impl<M: GuestMemory, T: ShadowTables> Engine<'_, M, T> {
    pub(super) fn resolve(&mut self, fault: &Fault) -> Result<Result<Outcome, Error>, TableError> {
        let space = self.adopt(fault.mode, fault.cr3)?;
        let found = match self.walk(&space, fault) {
            Ok(found) => found,
            Err(Stop::Fault(code)) => return Ok(Ok(Outcome::Inject { code })),
            Err(Stop::Contended) => return Ok(Ok(Outcome::Retry)),
            Err(Stop::NonCanonical) => return Ok(Err(Error::NonCanonical)),
        };
        if !self
            .memory
            .is_memory(found.gpa.page(), PageSize::Size4K.bytes())
        {
            return Ok(Ok(Outcome::Device {
                gpa: found.gpa,
                access: fault.access,
            }));
        }
        if self.root.is_none() {
            self.install_root(fault.mode)?;
        }
        self.fill(fault, &found)?;
        if self.last == Some(*fault) && !mutant::is(Mutant::NoFlushOnRepeat) {
            // Filled a moment ago, and yet it faults: should the processor hold an entry from before, it goes now.
            let gva = Format::of(fault.mode).address(fault.gva);
            self.invalidate(Flush::Address(gva))?;
        }
        Ok(Ok(Outcome::Filled))
    }

    /// Puts what the walk found into the shadow: one leaf, as large as guest page and memory allow.
    fn fill(&mut self, fault: &Fault, found: &Translation) -> Result<(), TableError> {
        let gva = Format::of(fault.mode).address(fault.gva);
        let rights = policy::leaf_rights(fault.mode, found, fault.access);
        let size = self.leaf_size(fault.mode, found);
        let mut way = self.pages.way(gva);
        let table = self.table(gva, size.level(), &mut way)?;
        if size == PageSize::Size2M {
            self.drop_table_below(table, gva, &way)?;
            self.pages.set_leaves(table);
        }
        if found.size.bits() > size.bits() && fault.mode.has(Mode::PG) {
            self.note_pieces(gva, found.size, size, &way);
        }
        let gfn: Gfn = found.gpa.align_down(size.bits()).frame();
        self.touched += 1;
        self.tables
            .fill(table, gva.index(size.level()) as u32, gfn, size, rights)?;
        self.pages.touch(size.level(), &way);
        Ok(())
    }

    /// A large guest page is kept large, in pieces of 2 MiB, where that much is memory and one leaf serves everybody.
    fn leaf_size(&self, mode: Mode, found: &Translation) -> PageSize {
        let large = PageSize::Size2M;
        let is_large =
            found.size >= GuestPageSize::Size2M || mutant::is(Mutant::LeafLargerThanGuestPage);
        let is_memory = self
            .memory
            .is_memory(found.gpa.align_down(large.bits()), large.bytes())
            || mutant::is(Mutant::LargeLeafOverHole);
        let in_turns =
            policy::is_taken_in_turns(mode, found) && !mutant::is(Mutant::TurnsStayLarge);
        if is_large && is_memory && !in_turns {
            large
        } else {
            PageSize::Size4K
        }
    }

    /// Remembers for INVLPG that a guest page of `size` stands in leaves of `leaf`: its page table knows, and for what is
    /// larger than a slot of the directory, the directory.
    fn note_pieces(&mut self, gva: Gva, size: GuestPageSize, leaf: PageSize, way: &Way) {
        if let Some(table) = way.table(1)
            && leaf == PageSize::Size4K
            && !mutant::is(Mutant::NoPiecesInTable)
        {
            self.pages.add_pieces(table, size.bits());
        }
        let Some(directory) = way.table(2) else {
            return;
        };
        match size {
            GuestPageSize::Size4M if !mutant::is(Mutant::NoPairsInDirectory) => {
                self.pages.set_pair(directory, gva);
            }
            GuestPageSize::Size1G if !mutant::is(Mutant::NoPiecesInDirectory) => {
                self.pages.add_pieces(directory, size.bits());
            }
            _ => {}
        }
    }

    /// The table of `level` on the way of `gva`, built with what is missing above it.
    fn table(&mut self, gva: Gva, level: u32, way: &mut Way) -> Result<u32, TableError> {
        // A root stands and is on every way.
        let (mut at, mut table) = way.lowest(level).ok_or(TableError::Refused)?;
        let mut pages = self.reserve((at - level) as usize, way)?.into_iter();
        while at > level {
            let child = pages.next().flatten().ok_or(TableError::Refused)?;
            let slot = gva.index(at) as u32;
            self.reset(child, at - 1)?;
            if at == 2 && self.pages.has_leaves(table) {
                // A large leaf may stand there. Resetting the new table has flushed it with all the rest.
                self.clear(table, slot)?;
            }
            self.touched += 1;
            self.tables.link(table, slot, child)?;
            self.pages.place(child, table, slot, false);
            way.set(at - 1, child);
            (at, table) = (at - 1, child);
        }
        Ok(table)
    }

    /// Sets as many pages aside as `count` tables need, before anything on the way is changed. Where too few are unused,
    /// tables are evicted: those filled longest ago and not on the way.
    fn reserve(
        &mut self,
        count: usize,
        way: &Way,
    ) -> Result<[Option<u32>; TABLES_BELOW_ROOT], TableError> {
        let mut pages = [None; TABLES_BELOW_ROOT];
        for page in pages.iter_mut().take(count) {
            *page = match self.pages.take() {
                Some(page) => Some(page),
                None => Some(self.evict(way)?),
            };
        }
        Ok(pages)
    }

    /// Unlinks a table. The caller resets it, which flushes what the vCPU may have cached of it (I3).
    fn evict(&mut self, way: &Way) -> Result<u32, TableError> {
        // There are at least `FEWEST_PAGES`, more than root and way take.
        let page = self.pages.victim(way).ok_or(TableError::Refused)?;
        self.unlink(page)?;
        self.counters.evictions += 1;
        Ok(page)
    }

    /// Drops the page table in `gva`'s slot of `directory`, if there is one, to make room for a large leaf.
    fn drop_table_below(&mut self, directory: u32, gva: Gva, way: &Way) -> Result<(), TableError> {
        let Some(table) = way.table(1) else {
            return Ok(());
        };
        if mutant::is(Mutant::MergeKeepsTableInBooks) {
            self.clear(directory, gva.index(2) as u32)?;
        } else {
            self.unlink(table)?;
            self.pages.give_back(table);
        }
        if mutant::is(Mutant::NoFlushOnMerge) {
            return Ok(());
        }
        self.invalidate(Flush::All)
    }
}
