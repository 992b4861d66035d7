//! The shadow tables as the engine uses them: the operations of the kernel's shadow pool.

use words::{Gfn, Gva, PageSize};

/// Why an operation was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// The pool's epoch moved on by itself (a frame left the guest-physical space): every page is stale, no root stands.
    Stale,
    /// The kernel refuses it: engine and kernel disagree about the tables or about guest memory.
    Refused,
}

/// What a leaf allows, before the kernel intersects it with the frame's rights. Reading is always allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Writable.
    pub write: bool,
    /// Reachable at CPL 3.
    pub user: bool,
    /// Executable.
    pub execute: bool,
}

impl Rights {
    /// Everything: what a guest without paging has everywhere.
    pub const ALL: Self = Self {
        write: true,
        user: true,
        execute: true,
    };
}

/// What a flush covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Translations of this address.
    Address(Gva),
    /// Every translation and cached paging structure.
    All,
}

/// The shadow pool. Pages are named by index, from 0; levels are 1 (page table) to 4 (PML4).
pub trait ShadowTables {
    /// Makes `page` an empty table of `level`. The page must be unlinked and no current root. No cached translation of the
    /// vCPU survives this past its next entry (I3).
    ///
    /// # Errors
    /// As [`TableError`] says; [`TableError::Stale`] never, since resetting is what ends staleness.
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError>;
    /// Makes `page` a PAE root with these four level-2 tables, which must not be stale.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn reset_pae_root(&mut self, page: u32, directories: [u32; 4]) -> Result<(), TableError>;
    /// Puts `child`, a table one level below `parent`, into the empty `slot` of `parent`.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn link(&mut self, parent: u32, slot: u32, child: u32) -> Result<(), TableError>;
    /// Puts a leaf into `slot`, which is empty or holds a leaf. `gfn` is the page's first frame.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn fill(
        &mut self,
        page: u32,
        slot: u32,
        gfn: Gfn,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), TableError>;
    /// Empties `count` slots from `slot`. Flushes nothing.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn clear(&mut self, page: u32, slot: u32, count: u32) -> Result<(), TableError>;
    /// Makes `page` the vCPU's root.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn set_root(&mut self, page: u32) -> Result<(), TableError>;
    /// Flushes cached translations.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn invalidate(&mut self, what: Flush) -> Result<(), TableError>;
    /// Starts a new epoch: every page is stale, the vCPU has no root and no cached translation.
    ///
    /// # Errors
    /// As [`TableError`] says.
    fn retire(&mut self) -> Result<(), TableError>;
}
