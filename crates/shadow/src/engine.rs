//! The engine: requests in, shadow operations and an outcome out. Policy `vtlb`.
//!
//! The shadow starts empty and is a cache of single walks: a fault fills one leaf, INVLPG drops one translation, a load of a
//! control register drops everything. Long-mode guests get a 4-level shadow; all others, those without paging included,
//! get the PAE format with four page directories.
//!
//! Always: every request touches a bounded number of entries; the shadow belongs to one [`Space`], and a request that comes
//! from another one drops it first, so that a request may be sent again (after a restart, say) without harm.

use crate::access::Access;
use crate::counters::Counters;
use crate::memory::GuestMemory;
use crate::pages::{PageRecord, Pages};
use crate::policy;
use crate::space::{Format, Limits, Space};
use crate::tables::{Flush, ShadowTables, TableError};
use crate::walk::{GuestPageSize, Stop, Translation, walk};
use exit_abi::Mode;
use words::{Gfn, Gpa, Gva, PageSize};

/// Times a request is tried before the guest is sent back to try: the kernel may make the pool stale at any moment.
const ATTEMPTS: u32 = 4;
/// Entries of a table.
const ENTRIES: u32 = 512;

/// A guest's page fault, or another access of the guest to a linear address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The guest's paging mode, with the CPL and RFLAGS.AC of the access.
    pub mode: Mode,
    /// The guest's CR3.
    pub cr3: u64,
    /// The address.
    pub gva: Gva,
    /// The access.
    pub access: Access,
}

/// What becomes of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The shadow lets the access go on.
    Filled,
    /// The guest's own fault: it gets a page fault with this error code.
    Inject {
        /// The error code.
        code: u32,
    },
    /// No memory there.
    Device {
        /// Where the guest's tables lead.
        gpa: Gpa,
        /// The access.
        access: Access,
    },
    /// Nothing was settled; let the guest try again.
    Retry,
}

/// Where an access by vmm-server on the guest's behalf leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To this guest-physical address.
    At(Gpa),
    /// To the guest's own page fault, with this error code.
    Inject {
        /// The error code.
        code: u32,
    },
    /// The guest's tables keep changing: let the guest try again.
    Retry,
}

/// Why a control register was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadReason {
    /// MOV to CR3.
    Cr3,
    /// CR0 changed.
    Cr0,
    /// CR4 changed.
    Cr4,
    /// EFER changed.
    Efer,
    /// The machine was started or reset.
    Reset,
}

/// What becomes of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Load {
    /// It counts.
    Done,
    /// The processor refuses it with #GP(0); the old state still counts.
    GeneralProtection,
}

/// A request that could not be served. Nothing a guest does leads here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The pool has fewer pages than one path of tables needs.
    PoolTooSmall,
    /// The kernel refuses operations even on a fresh shadow.
    Refused,
    /// The address is not canonical; the caller must not have let that pass.
    NonCanonical,
}

/// The shadow MMU of one vCPU.
#[derive(Debug)]
pub struct Engine<'a, M, T> {
    memory: M,
    tables: T,
    limits: Limits,
    pages: Pages<'a>,
    /// The space the shadow shows.
    space: Option<Space>,
    /// The root installed for it.
    root: Option<u32>,
    counters: Counters,
    touched: u64,
}

impl<'a, M: GuestMemory, T: ShadowTables> Engine<'a, M, T> {
    /// Fewest pages: a PAE root, its four directories and one page table.
    pub const MIN_PAGES: usize = 6;

    /// An engine over as many pool pages as there are records.
    ///
    /// # Errors
    /// [`Error::PoolTooSmall`] below [`Self::MIN_PAGES`].
    pub fn new(
        memory: M,
        tables: T,
        limits: Limits,
        records: &'a mut [PageRecord],
    ) -> Result<Self, Error> {
        let pages = Pages::new(records);
        if pages.count() < Self::MIN_PAGES {
            return Err(Error::PoolTooSmall);
        }
        Ok(Self {
            memory,
            tables,
            limits,
            pages,
            space: None,
            root: None,
            counters: Counters::default(),
            touched: 0,
        })
    }

    /// The guest's memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The shadow tables.
    pub fn tables(&self) -> &T {
        &self.tables
    }

    /// The shadow tables, for a test's own steps.
    pub fn tables_mut(&mut self) -> &mut T {
        &mut self.tables
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            pages_peak: u64::from(self.pages.peak()),
            ..self.counters
        }
    }

    /// Resolves a page fault.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn fault(&mut self, fault: &Fault) -> Result<Outcome, Error> {
        let outcome = self.request(Ok(Outcome::Retry), |engine| engine.resolve(fault))??;
        match outcome {
            Outcome::Filled => self.counters.fills += 1,
            Outcome::Inject { .. } => self.counters.injected += 1,
            Outcome::Device { .. } => self.counters.device += 1,
            Outcome::Retry => {}
        }
        Ok(outcome)
    }

    /// Translates an access made for the guest, with the guest's rights, setting A and D. The shadow is not asked and not
    /// changed.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn translate(&mut self, fault: &Fault) -> Result<Target, Error> {
        self.touched = 0;
        let space = match self.space {
            Some(space) if Self::is_same(&space, fault.mode, fault.cr3) => space,
            _ => Space::read(&self.memory, fault.mode, fault.cr3),
        };
        let target = match self.walk(&space, fault) {
            Ok(found) => Ok(Target::At(found.gpa)),
            Err(Stop::Fault(code)) => Ok(Target::Inject { code }),
            Err(Stop::Contended) => Ok(Target::Retry),
            Err(Stop::NonCanonical) => Err(Error::NonCanonical),
        };
        self.note_touched();
        target
    }

    /// INVLPG: the translation of one address is dropped, with all pieces of the guest page it came from.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn invlpg(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), Error> {
        self.request((), |engine| engine.drop_address(mode, cr3, gva))
    }

    /// A load of a control register; `mode` and `cr3` are the new ones. The shadow is dropped and an empty one installed.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn load(&mut self, mode: Mode, cr3: u64, reason: LoadReason) -> Result<Load, Error> {
        let space = self.loaded(mode, cr3, reason);
        if !space.is_loadable(self.limits) {
            return Ok(Load::GeneralProtection);
        }
        self.request((), |engine| {
            engine.drop_all()?;
            engine.space = Some(space);
            engine.install_root(space.mode)
        })?;
        // Should the pool have gone stale in every attempt: the space counts, and the vCPU will ask for its root.
        self.space = Some(space);
        Ok(Load::Done)
    }

    /// The vCPU has no root: installs one.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Error> {
        self.request((), |engine| {
            engine.adopt(mode, cr3)?;
            match engine.root {
                // It stands as far as we know: the kernel says whether it is stale.
                Some(root) => engine.tables.set_root(root),
                None => engine.install_root(mode),
            }
        })
    }

    /// Runs a request, again on a fresh shadow when the kernel made the old one stale.
    fn request<R>(
        &mut self,
        unsettled: R,
        mut step: impl FnMut(&mut Self) -> Result<R, TableError>,
    ) -> Result<R, Error> {
        self.touched = 0;
        let mut refused = false;
        for _ in 0..ATTEMPTS {
            match step(self) {
                Ok(result) => {
                    self.note_touched();
                    return Ok(result);
                }
                Err(TableError::Stale) => self.forget(),
                // Kernel and engine disagree. Once, start over with an empty shadow; then give up.
                Err(TableError::Refused) if !refused => {
                    refused = true;
                    if self.drop_all().is_err() {
                        return Err(Error::Refused);
                    }
                }
                Err(TableError::Refused) => {
                    self.forget();
                    return Err(Error::Refused);
                }
            }
        }
        self.note_touched();
        Ok(unsettled)
    }

    fn note_touched(&mut self) {
        self.counters.max_touched = self.counters.max_touched.max(self.touched);
    }

    /// Whether a request from (`mode`, `cr3`) belongs to `space`.
    fn is_same(space: &Space, mode: Mode, cr3: u64) -> bool {
        space.mode.role() == mode.role() && space.cr3 == cr3
    }

    /// The space after a load. PDPTEs are read when CR3 is written, when PAE paging begins, and when CR4 changes in a bit
    /// that flushes; other loads keep the latched ones (APM vol. 2, 5.2.3).
    fn loaded(&self, mode: Mode, cr3: u64, reason: LoadReason) -> Space {
        const LATCHING: u32 = Mode::PSE | Mode::PGE | Mode::SMEP;
        let fresh = Space::read(&self.memory, mode, cr3);
        let Some(old) = self.space else { return fresh };
        let keeps = Format::of(old.mode) == Format::Pae
            && Format::of(mode) == Format::Pae
            && old.cr3 == cr3
            && match reason {
                LoadReason::Cr3 | LoadReason::Reset => false,
                LoadReason::Cr4 => (old.mode.role() ^ mode.role()) & LATCHING == 0,
                LoadReason::Cr0 | LoadReason::Efer => true,
            };
        if keeps {
            Space {
                pdptes: old.pdptes,
                ..fresh
            }
        } else {
            fresh
        }
    }

    /// Makes the shadow belong to the space of (`mode`, `cr3`). That it does not yet means that a load was missed, by a
    /// restart of this server for one.
    fn adopt(&mut self, mode: Mode, cr3: u64) -> Result<Space, TableError> {
        match self.space {
            Some(space) if Self::is_same(&space, mode, cr3) => Ok(space.seen_by(mode)),
            _ => {
                self.drop_all()?;
                let space = Space::read(&self.memory, mode, cr3);
                self.space = Some(space);
                Ok(space)
            }
        }
    }

    /// The shadow is gone already; the next request builds a new one.
    fn forget(&mut self) {
        self.pages.forget();
        self.root = None;
    }

    fn drop_all(&mut self) -> Result<(), TableError> {
        self.forget();
        self.counters.flush_all += 1;
        self.touched += 1;
        self.tables.retire()
    }

    fn invalidate(&mut self, what: Flush) -> Result<(), TableError> {
        match what {
            Flush::Address(_) => self.counters.flush_address += 1,
            Flush::All => self.counters.flush_all += 1,
        }
        self.tables.invalidate(what)
    }

    fn walk(&mut self, space: &Space, fault: &Fault) -> Result<Translation, Stop> {
        walk(
            &self.memory,
            self.limits,
            &space.seen_by(fault.mode),
            fault.gva,
            fault.access,
            &mut self.touched,
        )
    }

    fn resolve(&mut self, fault: &Fault) -> Result<Result<Outcome, Error>, TableError> {
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
        Ok(Ok(Outcome::Filled))
    }

    /// Builds an empty shadow in the format `mode` needs and makes it the vCPU's.
    fn install_root(&mut self, mode: Mode) -> Result<(), TableError> {
        self.forget();
        let root = if Format::of(mode) == Format::Long {
            self.pinned_table(4, Gva::new(0))?
        } else {
            let mut directories = [0; 4];
            for (gigabyte, directory) in directories.iter_mut().enumerate() {
                *directory = self.pinned_table(2, Gva::new((gigabyte as u64) << 30))?;
            }
            let root = self.pages.take().ok_or(TableError::Refused)?;
            self.touched += 4;
            self.tables.reset_pae_root(root, directories)?;
            root
        };
        self.tables.set_root(root)?;
        self.root = Some(root);
        Ok(())
    }

    fn pinned_table(&mut self, level: u32, gva: Gva) -> Result<u32, TableError> {
        // The pages were just forgotten and there are at least `MIN_PAGES`.
        let page = self.pages.take().ok_or(TableError::Refused)?;
        self.touched += 1;
        self.tables.reset(page, level)?;
        self.pages.place(page, level, gva, true);
        Ok(page)
    }

    /// Puts what the walk found into the shadow: one leaf, as large as guest page and memory allow.
    fn fill(&mut self, fault: &Fault, found: &Translation) -> Result<(), TableError> {
        let gva = Format::of(fault.mode).address(fault.gva);
        let rights = policy::leaf_rights(fault.mode, found, fault.access);
        let size = self.leaf_size(found);
        let table = self.table(gva, size.level())?;
        if size == PageSize::Size2M {
            self.drop_table_below(table, gva)?;
            self.pages.set_leaves(table);
        }
        if found.size.bits() > size.bits() && fault.mode.has(Mode::PG) {
            self.note_pieces(gva, found.size, table);
        }
        let gfn: Gfn = found.gpa.align_down(size.bits()).frame();
        self.touched += 1;
        self.tables
            .fill(table, gva.index(size.level()) as u32, gfn, size, rights)?;
        self.pages.touch(size.level(), gva);
        Ok(())
    }

    /// A large guest page is kept large, in pieces of 2 MiB, where that much is memory.
    fn leaf_size(&self, found: &Translation) -> PageSize {
        let large = PageSize::Size2M;
        let fits = found.size >= GuestPageSize::Size2M
            && self
                .memory
                .is_memory(found.gpa.align_down(large.bits()), large.bytes());
        if fits { large } else { PageSize::Size4K }
    }

    /// Remembers for INVLPG that a guest page stands in pieces in `table`; the directory knows of what is larger than one
    /// of its slots.
    fn note_pieces(&mut self, gva: Gva, size: GuestPageSize, table: u32) {
        self.pages.add_pieces(table, size.bits());
        if size > GuestPageSize::Size2M
            && let Some(directory) = self.pages.find(2, gva)
        {
            self.pages.add_pieces(directory, size.bits());
        }
    }

    /// The table of `level` on the way of `gva`, built with what is missing above it.
    fn table(&mut self, gva: Gva, level: u32) -> Result<u32, TableError> {
        let mut at = level;
        let mut table = loop {
            match self.pages.find(at, gva) {
                Some(page) => break page,
                None if at < 4 => at += 1,
                // A root stands and is found at level 4, or at level 2 for each gigabyte below 4.
                None => return Err(TableError::Refused),
            }
        };
        while at > level {
            let child = self.new_table(gva, at - 1)?;
            let slot = gva.index(at) as u32;
            if at == 2 && self.pages.has_leaves(table) {
                self.touched += 1;
                self.tables.clear(table, slot, 1)?;
            }
            self.touched += 1;
            self.tables.link(table, slot, child)?;
            self.pages.place(child, at - 1, gva, false);
            table = child;
            at -= 1;
        }
        Ok(table)
    }

    /// A page, reset to an empty table; when none is left, the one filled longest ago and not on the way of `gva`.
    fn new_table(&mut self, gva: Gva, level: u32) -> Result<u32, TableError> {
        let page = match self.pages.take() {
            Some(page) => page,
            None => self.evict(gva)?,
        };
        self.touched += 1;
        self.tables.reset(page, level)?;
        Ok(page)
    }

    /// Unlinks a table. The caller resets it, which flushes what the vCPU may have cached of it (I3).
    fn evict(&mut self, gva: Gva) -> Result<u32, TableError> {
        let (page, level, covered) = self.pages.victim(gva).ok_or(TableError::Refused)?;
        let parent = self
            .pages
            .find(level + 1, covered)
            .ok_or(TableError::Refused)?;
        self.touched += 1;
        self.tables
            .clear(parent, covered.index(level + 1) as u32, 1)?;
        self.pages.displace(page);
        self.counters.evictions += 1;
        Ok(page)
    }

    /// Drops the page table in `gva`'s slot of `directory`, if there is one, to make room for a large leaf.
    fn drop_table_below(&mut self, directory: u32, gva: Gva) -> Result<(), TableError> {
        let Some(table) = self.pages.find(1, gva) else {
            return Ok(());
        };
        self.touched += 1;
        self.tables.clear(directory, gva.index(2) as u32, 1)?;
        self.pages.displace(table);
        self.pages.give_back(table);
        self.invalidate(Flush::All)
    }

    fn drop_address(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), TableError> {
        let format = Format::of(mode);
        let gva = format.address(gva);
        self.adopt(mode, cr3)?;
        // The identity never changes, and INVLPG of an address no page can have does nothing.
        if format == Format::Off || (format == Format::Long && !gva.is_canonical()) {
            return Ok(());
        }
        let Some(directory) = self.pages.find(2, gva) else {
            return Ok(());
        };
        let pieces = self.pages.pieces(directory);
        if pieces == GuestPageSize::Size1G.bits() {
            self.drop_directory(directory, gva)
        } else if pieces == GuestPageSize::Size4M.bits() {
            let first = gva.align_down(GuestPageSize::Size4M.bits()).bits();
            self.drop_slot(directory, Gva::new(first))?;
            self.drop_slot(directory, Gva::new(first + PageSize::Size2M.bytes()))?;
            self.invalidate(Flush::All)
        } else {
            self.drop_page(directory, gva)
        }
    }

    /// Drops the leaf of one address; all leaves of its table if they are pieces of one guest page.
    fn drop_page(&mut self, directory: u32, gva: Gva) -> Result<(), TableError> {
        match self.pages.find(1, gva) {
            Some(table) if self.pages.pieces(table) != 0 => {
                self.drop_slot(directory, gva)?;
                self.invalidate(Flush::All)
            }
            Some(table) => {
                self.touched += 1;
                self.tables.clear(table, gva.index(1) as u32, 1)?;
                self.invalidate(Flush::Address(gva))
            }
            None if self.pages.has_leaves(directory) => {
                self.drop_slot(directory, gva)?;
                self.invalidate(Flush::Address(gva))
            }
            None => Ok(()),
        }
    }

    /// Empties the 2 MiB that `gva` lies in: the leaf in the directory, or every leaf of the table below.
    fn drop_slot(&mut self, directory: u32, gva: Gva) -> Result<(), TableError> {
        if let Some(table) = self.pages.find(1, gva) {
            self.touched += u64::from(ENTRIES);
            self.tables.clear(table, 0, ENTRIES)
        } else {
            self.touched += 1;
            self.tables.clear(directory, gva.index(2) as u32, 1)
        }
    }

    /// Empties the gigabyte that `gva` lies in.
    fn drop_directory(&mut self, directory: u32, gva: Gva) -> Result<(), TableError> {
        let first = gva.align_down(GuestPageSize::Size1G.bits());
        self.touched += u64::from(ENTRIES);
        self.tables.clear(directory, 0, ENTRIES)?;
        for slot in 0..u64::from(ENTRIES) {
            let covered = first.wrapping_add(slot << PageSize::Size2M.bits());
            if let Some(table) = self.pages.find(1, covered) {
                self.pages.displace(table);
                self.pages.give_back(table);
            }
        }
        self.invalidate(Flush::All)
    }
}
