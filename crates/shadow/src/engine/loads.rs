//! Loads of control registers: which space counts, when its PDPTEs are read, and what becomes of the shadow.

use super::Engine;
use crate::memory::GuestMemory;
use crate::mutant::{self, Mutant};
use crate::request::LoadReason;
use crate::space::{Format, Space};
use crate::tables::{ShadowTables, TableError};
use exit_abi::Mode;

impl<M: GuestMemory, T: ShadowTables> Engine<'_, M, T> {
    /// Whether a deliberate fault keeps the shadow over a load.
    pub(super) fn keeps_shadow(&self, mode: Mode, reason: LoadReason) -> bool {
        let mutant = match reason {
            LoadReason::Cr3 => Mutant::NoDropOnCr3,
            LoadReason::Cr0 => Mutant::NoDropOnCr0,
            LoadReason::Cr4 => Mutant::NoDropOnCr4,
            LoadReason::Efer => Mutant::NoDropOnEfer,
            LoadReason::Reset => return false,
        };
        let fits = |space: Space| Format::of(space.mode) == Format::of(mode);
        mutant::is(mutant) && self.space.is_some_and(fits)
    }

    /// The space after a load. PDPTEs are read when CR3 is written, when PAE paging begins, and when CR4 changes in a bit
    /// that flushes; other loads keep the latched ones (APM vol. 2, 5.2.3).
    pub(super) fn loaded(&self, mode: Mode, cr3: u64, reason: LoadReason) -> Space {
        const LATCHING: u32 = Mode::PSE | Mode::PGE | Mode::SMEP;
        let fresh = Space::read(&self.memory, mode, cr3);
        let Some(old) = self.space else { return fresh };
        let was_within = Format::of(old.mode) == Format::Pae || mutant::is(Mutant::NoLatchOnEntry);
        let within = was_within && Format::of(mode) == Format::Pae;
        let keeps = match reason {
            LoadReason::Cr3 => mutant::is(Mutant::NoLatchOnCr3),
            LoadReason::Reset => false,
            LoadReason::Cr4 => {
                (old.mode.role() ^ mode.role()) & LATCHING == 0 || mutant::is(Mutant::NoLatchOnCr4)
            }
            LoadReason::Cr0 | LoadReason::Efer => !mutant::is(Mutant::LatchOnEveryLoad),
        } && (old.cr3 == cr3 || mutant::is(Mutant::NoLatchOnCr3));
        if within && keeps {
            Space {
                pdptes: old.pdptes,
                ..fresh
            }
        } else {
            fresh
        }
    }

    /// A space was read: in PAE paging, four PDPTEs.
    pub(super) fn note_space_read(&mut self, mode: Mode) {
        if Format::of(mode) == Format::Pae {
            self.touched += 4;
        }
    }

    /// Makes the shadow belong to the space of (`mode`, `cr3`). That it does not yet means that a load was missed, by a
    /// restart of this server for one.
    pub(super) fn adopt(&mut self, mode: Mode, cr3: u64) -> Result<Space, TableError> {
        match self.space {
            Some(space) if Self::is_same(&space, mode, cr3) => Ok(space.seen_by(mode)),
            _ => {
                self.drop_all()?;
                self.note_space_read(mode);
                let space = Space::read(&self.memory, mode, cr3);
                self.space = Some(space);
                Ok(space)
            }
        }
    }

    /// Builds an empty shadow in the format `mode` needs and makes it the vCPU's.
    pub(super) fn install_root(&mut self, mode: Mode) -> Result<(), TableError> {
        self.forget();
        let root = if Format::of(mode) == Format::Long {
            self.long_root()?
        } else {
            self.pae_root()?
        };
        self.tables.set_root(root)?;
        self.root = Some(root);
        Ok(())
    }

    fn long_root(&mut self) -> Result<u32, TableError> {
        let root = self.fresh_page()?;
        self.reset(root, 4)?;
        self.pages.place_root(root, 4);
        Ok(root)
    }

    fn pae_root(&mut self) -> Result<u32, TableError> {
        let mut directories = [0; 4];
        for directory in &mut directories {
            *directory = self.fresh_page()?;
            self.reset(*directory, 2)?;
        }
        let root = self.fresh_page()?;
        self.touched += 4;
        self.made += 1;
        self.tables.reset_pae_root(root, directories)?;
        self.pages.place_root(root, 3);
        for (slot, directory) in (0..).zip(directories) {
            self.pages.place(directory, root, slot, true);
        }
        Ok(root)
    }

    /// A page for the root: they were just forgotten, and there are at least [`Self::FEWEST_PAGES`].
    fn fresh_page(&mut self) -> Result<u32, TableError> {
        self.pages.take().ok_or(TableError::Refused)
    }
}
