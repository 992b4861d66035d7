//! INVLPG: one guest page goes from the shadow and from the processor's TLB, in however many pieces it stands.

use super::Engine;
use crate::memory::GuestMemory;
use crate::mutant::{self, Mutant};
use crate::pages::Way;
use crate::space::Format;
use crate::tables::{Flush, ShadowTables, TableError};
use crate::walk::GuestPageSize;
use exit_abi::Mode;
use words::{Gva, PageSize};

impl<M: GuestMemory, T: ShadowTables> Engine<'_, M, T> {
    pub(super) fn drop_address(
        &mut self,
        mode: Mode,
        cr3: u64,
        gva: Gva,
    ) -> Result<(), TableError> {
        let format = Format::of(mode);
        let gva = format.address(gva);
        self.adopt(mode, cr3)?;
        // The identity never changes, and INVLPG of an address no page can have does nothing.
        if format == Format::Off || (format == Format::Long && !gva.is_canonical()) {
            return Ok(());
        }
        let way = self.pages.way(gva);
        let Some(directory) = way.table(2) else {
            return Ok(());
        };
        let is_gigabyte = self.pages.pieces(directory) == GuestPageSize::Size1G.bits();
        if is_gigabyte && !mutant::is(Mutant::InvlpgDropsOnePieceOfGigabyte) {
            // Up to 512 tables and leaves: a fresh shadow costs less than their end.
            self.drop_all()?;
            self.install_root(mode)
        } else if self.pages.is_pair(directory, gva) {
            self.drop_pair(directory, gva)
        } else {
            self.drop_page(directory, gva, &way)
        }
    }

    /// Drops the two slots of `directory` that hold pieces of a 4 MiB page.
    fn drop_pair(&mut self, directory: u32, gva: Gva) -> Result<(), TableError> {
        let first = gva.align_down(GuestPageSize::Size4M.bits()).bits();
        for half in [first, first + PageSize::Size2M.bytes()] {
            let half = Gva::new(half);
            let holds = half == gva.align_down(PageSize::Size2M.bits());
            if holds || !mutant::is(Mutant::InvlpgDropsOneHalf) {
                let way = self.pages.way(half);
                self.drop_slot(directory, half, &way)?;
            }
        }
        self.flush_pieces()
    }

    /// Drops the leaf of one address; all leaves of its table if they are pieces of one guest page.
    fn drop_page(&mut self, directory: u32, gva: Gva, way: &Way) -> Result<(), TableError> {
        match way.table(1) {
            Some(table) if self.pages.pieces(table) != 0 => {
                self.drop_slot(directory, gva, way)?;
                self.flush_pieces()
            }
            Some(table) => {
                if !mutant::is(Mutant::NoClearOnInvlpg) {
                    self.clear(table, gva.index(1) as u32)?;
                }
                self.flush_address(gva)
            }
            None if self.pages.has_leaves(directory) => {
                self.drop_slot(directory, gva, way)?;
                self.flush_address(gva)
            }
            None => Ok(()),
        }
    }

    /// Empties the 2 MiB that `gva` lies in: takes the leaf out of the directory, or the table below it.
    fn drop_slot(&mut self, directory: u32, gva: Gva, way: &Way) -> Result<(), TableError> {
        match way.table(1) {
            Some(table) => {
                self.unlink(table)?;
                self.pages.give_back(table);
                Ok(())
            }
            None => self.clear(directory, gva.index(2) as u32),
        }
    }

    /// After INVLPG took one leaf away.
    fn flush_address(&mut self, gva: Gva) -> Result<(), TableError> {
        if mutant::is(Mutant::NoFlushOnInvlpg) {
            return Ok(());
        }
        self.invalidate(Flush::Address(gva))
    }

    /// After INVLPG took pieces of a larger page away. An address of the guest's is not enough: each piece has its own place
    /// in the TLB, and the unlinked table may be cached itself (APM vol. 2, 5.5).
    fn flush_pieces(&mut self) -> Result<(), TableError> {
        if mutant::is(Mutant::NoFlushOnInvlpgOfPieces) {
            return Ok(());
        }
        self.invalidate(Flush::All)
    }
}
