//! The engine: requests in, shadow operations and an outcome out. Policy `vtlb`.
//!
//! The shadow starts empty and is a cache of single walks: a fault fills one leaf, INVLPG drops one translation, a load of a
//! control register drops everything. Long-mode guests get a 4-level shadow; all others, those without paging included,
//! get the PAE format with four page directories.
//!
//! Always: every request touches at most [`MAX_TOUCHED`] entries and makes at most [`MAX_TABLES`] tables, or answers that it
//! is to be sent again; the pages a fill needs are set aside before anything is changed; the shadow belongs to one
//! [`Space`], and a request that comes from another one drops it first, so that a request may be sent again (after a
//! restart, say) without harm.

use crate::access::Access;
use crate::counters::Counters;
use crate::memory::GuestMemory;
use crate::mutant::{self, Mutant};
use crate::pages::{PageRecord, Pages, Way};
use crate::policy;
use crate::space::{Format, Limits, Space};
use crate::tables::{Flush, ShadowTables, TableError};
use crate::walk::{GuestPageSize, Stop, Translation, walk};
use exit_abi::Mode;
use words::x86::pte;
use words::{Gfn, Gpa, Gva, PageSize};

/// Most entries of the guest's tables, entries of the shadow and records of its pages that a request looks at or changes.
/// A table made empty counts once here; how many of these a request makes is bounded by [`MAX_TABLES`].
pub const MAX_TOUCHED: u64 = 512;
/// Most tables that one attempt at a request makes: the four directories and the root of a PAE shadow, and a page table.
pub const MAX_TABLES: u64 = 6;
/// More than one attempt at a request touches: a walk that starts again as often as it may (16 times, four entries read and
/// four marked), one search for the way (31 records), three tables made, each in the place of an evicted one (40 records
/// and entries), a root with its directories (30), one table taken away (35), and one leaf.
const ATTEMPT: u64 = 360;
/// Tables below the root that one address needs.
const TABLES_BELOW_ROOT: usize = 3;
/// Times a request is tried before the guest is sent back to try: the kernel may make the pool stale at any moment.
const ATTEMPTS: u32 = 4;

/// Fewest pages with which every instruction and every delivery of an event gets done.
///
/// The processor makes no progress unless all that one instruction, or one event on its way to its handler, touches is
/// mapped at once. What it touches falls into a few spans of less than 2 MiB each; a span crosses at most one boundary of
/// any level, so it lies under at most two tables of levels 1, 2 and 3 each, and below the shared root nothing else is
/// shared in the worst case: both sides of a 512 GiB boundary. So a span costs six pages.
///
/// | in long mode | spans | |
/// | --- | --: | --- |
/// | far CALL through memory and a call gate to an inner ring | 6 | code, operand, LDT (the gate), GDT (the code segment), TSS, new stack |
/// | INT n, or an exception, to an inner ring | 5 | code, IDT, GDT or LDT, TSS, new stack |
/// | an external event | 4 | IDT, GDT or LDT, TSS, new stack |
/// | IRET, RETF to an outer ring | 4 | code, stack, GDT, LDT |
/// | MOVS, CMPS; PUSH, POP, CALL with an operand in memory | 3 | code, two operands |
/// | ENTER with nesting | 3 | code, old frame, new frame with its far end |
/// | INS, OUTS with the I/O permission map | 3 | code, operand, TSS |
/// | load of a segment register, LTR, LLDT | 3 | code, operand, GDT or LDT |
/// | XSAVE and its like, gathers (done an element at a time) | 2 | code, operand |
///
/// (APM vol. 2, 4.6 for descriptors, 8.9 for delivery; an event that meets a page fault is delivered again from the start.)
/// Outside long mode only page tables are made on demand, and tables of 64 KiB, stacks and operands need at most two each:
/// code, operand, GDT, LDT, TSS, old and new stack make 14 with the root's five pages, 19.
///
/// That this is enough: of the tables outside the way in use, eviction takes the one filled longest ago, so those filled since
/// the instruction was tried first go last; were one of them taken, the pool would hold nothing but such tables, and the
/// one to be made, more than the instruction needs. So each of its tables is made at most once, each page filled at most
/// once for each kind of access, and then it runs.
pub const MIN_PAGES: usize = 1 + 6 * 2 * TABLES_BELOW_ROOT;

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
    /// The pool has fewer than [`MIN_PAGES`].
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
    /// The kernel may hold tables that the records know nothing of, since it refused to drop them.
    unknown: bool,
    /// The request before this one ended in the kernel's refusal.
    refused: bool,
    /// The fault answered last, and how often in a row.
    last: Option<Fault>,
    repeats: u64,
    counters: Counters,
    touched: u64,
    made: u64,
}

impl<'a, M: GuestMemory, T: ShadowTables> Engine<'a, M, T> {
    /// Fewest pages that hold the way of one address: a PAE root, its four directories and one page table.
    pub const FEWEST_PAGES: usize = 6;

    /// An engine over as many pool pages as there are records.
    ///
    /// # Errors
    /// [`Error::PoolTooSmall`] below [`MIN_PAGES`].
    pub fn new(
        memory: M,
        tables: T,
        limits: Limits,
        records: &'a mut [PageRecord],
    ) -> Result<Self, Error> {
        if records.len() < MIN_PAGES {
            return Err(Error::PoolTooSmall);
        }
        Self::cramped(memory, tables, limits, records)
    }

    /// An engine over fewer pages than [`MIN_PAGES`], for tests that want eviction at every step: each fault is filled, but
    /// an instruction that needs several pages may never have them all.
    ///
    /// # Errors
    /// [`Error::PoolTooSmall`] below [`Self::FEWEST_PAGES`].
    pub fn cramped(
        memory: M,
        tables: T,
        limits: Limits,
        records: &'a mut [PageRecord],
    ) -> Result<Self, Error> {
        let pages = Pages::new(records);
        if pages.count() < Self::FEWEST_PAGES {
            return Err(Error::PoolTooSmall);
        }
        Ok(Self {
            memory,
            tables,
            limits,
            pages,
            space: None,
            root: None,
            unknown: false,
            refused: false,
            last: None,
            repeats: 0,
            counters: Counters::default(),
            touched: 0,
            made: 0,
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
        self.note_repeat(fault, outcome);
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
        self.begin();
        let space = match self.space {
            Some(space) if Self::is_same(&space, fault.mode, fault.cr3) => space,
            // Under nested paging no space is ever loaded. There QEMU's software CPU sets A in PAE directory pointers, where
            // it is reserved.
            _ => {
                let mut space = Space::read(&self.memory, fault.mode, fault.cr3);
                space.pdptes = space.pdptes.map(|pointer| pointer & !pte::A);
                space
            }
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
        self.last = None;
        self.request((), |engine| engine.drop_address(mode, cr3, gva))
    }

    /// A load of a control register; `mode` and `cr3` are the new ones. The shadow is dropped and an empty one installed.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn load(&mut self, mode: Mode, cr3: u64, reason: LoadReason) -> Result<Load, Error> {
        self.last = None;
        let space = self.loaded(mode, cr3, reason);
        if !space.is_loadable(self.limits) && !mutant::is(Mutant::LoadNotChecked) {
            return Ok(Load::GeneralProtection);
        }
        self.request((), |engine| {
            if engine.keeps_shadow(mode, reason) {
                engine.space = Some(space);
                return Ok(());
            }
            engine.note_space_read(mode);
            engine.drop_all()?;
            engine.space = Some(space);
            engine.install_root(space.mode)
        })?;
        // Should the pool have gone stale in every attempt: the space counts, and the vCPU will ask for its root.
        self.space = Some(space);
        Ok(Load::Done)
    }

    /// Whether a deliberate fault keeps the shadow over a load.
    fn keeps_shadow(&self, mode: Mode, reason: LoadReason) -> bool {
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
        step: impl FnMut(&mut Self) -> Result<R, TableError>,
    ) -> Result<R, Error> {
        self.begin();
        let result = self.attempts(unsettled, step);
        self.note_touched();
        result
    }

    fn attempts<R>(
        &mut self,
        unsettled: R,
        mut step: impl FnMut(&mut Self) -> Result<R, TableError>,
    ) -> Result<R, Error> {
        for _ in 0..ATTEMPTS {
            match self.attempt(&mut step) {
                Ok(result) => {
                    self.refused = false;
                    return Ok(result);
                }
                Err(TableError::Stale) => {
                    if !mutant::is(Mutant::NoForgetOnStale) {
                        self.forget();
                    }
                }
                // Kernel and engine disagree. Once, start over with an empty shadow; then give up.
                Err(TableError::Refused) => {
                    let again = core::mem::replace(&mut self.refused, true);
                    if self.drop_all().is_err() || again {
                        return Err(Error::Refused);
                    }
                }
            }
            self.collect_steps();
            if self.touched + ATTEMPT > MAX_TOUCHED {
                break;
            }
        }
        Ok(unsettled)
    }

    fn attempt<R>(
        &mut self,
        step: &mut impl FnMut(&mut Self) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        self.made = 0;
        let result = if self.unknown {
            self.drop_all().and_then(|()| step(self))
        } else {
            step(self)
        };
        self.counters.max_tables = self.counters.max_tables.max(self.made);
        result
    }

    fn begin(&mut self) {
        self.collect_steps();
        self.touched = 0;
        self.counters.requests += 1;
    }

    fn collect_steps(&mut self) {
        self.touched += self.pages.take_steps();
    }

    fn note_touched(&mut self) {
        self.collect_steps();
        self.counters.max_touched = self.counters.max_touched.max(self.touched);
    }

    /// Counts how often the same fault comes in a row although it was filled: an access that makes no progress.
    fn note_repeat(&mut self, fault: &Fault, outcome: Outcome) {
        let settled = matches!(outcome, Outcome::Inject { .. } | Outcome::Device { .. });
        self.repeats = match self.last {
            Some(last) if last == *fault && !settled => self.repeats + 1,
            _ => 0,
        };
        self.last = (!settled).then_some(*fault);
        self.counters.max_repeats = self.counters.max_repeats.max(self.repeats);
    }

    /// Whether a request from (`mode`, `cr3`) belongs to `space`.
    fn is_same(space: &Space, mode: Mode, cr3: u64) -> bool {
        let same_role = space.mode.role() == mode.role() || mutant::is(Mutant::AdoptIgnoresRole);
        same_role && (space.cr3 == cr3 || mutant::is(Mutant::AdoptIgnoresCr3))
    }

    /// The space after a load. PDPTEs are read when CR3 is written, when PAE paging begins, and when CR4 changes in a bit
    /// that flushes; other loads keep the latched ones (APM vol. 2, 5.2.3).
    fn loaded(&self, mode: Mode, cr3: u64, reason: LoadReason) -> Space {
        const LATCHING: u32 = Mode::PSE | Mode::PGE | Mode::SMEP;
        let fresh = Space::read(&self.memory, mode, cr3);
        let Some(old) = self.space else { return fresh };
        let within = Format::of(old.mode) == Format::Pae && Format::of(mode) == Format::Pae;
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
    fn note_space_read(&mut self, mode: Mode) {
        if Format::of(mode) == Format::Pae {
            self.touched += 4;
        }
    }

    /// Makes the shadow belong to the space of (`mode`, `cr3`). That it does not yet means that a load was missed, by a
    /// restart of this server for one.
    fn adopt(&mut self, mode: Mode, cr3: u64) -> Result<Space, TableError> {
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

    /// The shadow is gone already; the next request builds a new one.
    fn forget(&mut self) {
        self.pages.forget();
        self.root = None;
    }

    fn drop_all(&mut self) -> Result<(), TableError> {
        self.forget();
        self.counters.flush_all += 1;
        self.touched += 1;
        // Until the kernel has dropped the shadow too, nothing here says what the vCPU can reach.
        self.unknown = true;
        self.tables.retire()?;
        self.unknown = false;
        Ok(())
    }

    fn invalidate(&mut self, what: Flush) -> Result<(), TableError> {
        match what {
            Flush::Address(_) => self.counters.flush_address += 1,
            Flush::All => self.counters.flush_all += 1,
        }
        self.tables.invalidate(what)
    }

    /// Empties one slot of a table, and flushes nothing.
    fn clear(&mut self, table: u32, slot: u32) -> Result<(), TableError> {
        self.touched += 1;
        self.tables.clear(table, slot, 1)
    }

    /// Makes the page an empty table, unlinked; the kernel flushes whatever was cached of it before (I3).
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError> {
        self.touched += 1;
        self.made += 1;
        self.tables.reset(page, level)
    }

    fn walk(&mut self, space: &Space, fault: &Fault) -> Result<Translation, Stop> {
        let mut space = space.seen_by(fault.mode);
        if mutant::is(Mutant::PdptesNotLatched) {
            space = Space::read(&self.memory, fault.mode, fault.cr3);
        }
        walk(
            &self.memory,
            self.limits,
            &space,
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
        if self.last == Some(*fault) {
            // Filled a moment ago, and yet it faults: should the processor hold an entry from before, it goes now.
            let gva = Format::of(fault.mode).address(fault.gva);
            self.invalidate(Flush::Address(gva))?;
        }
        Ok(Ok(Outcome::Filled))
    }

    /// Builds an empty shadow in the format `mode` needs and makes it the vCPU's.
    fn install_root(&mut self, mode: Mode) -> Result<(), TableError> {
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

    /// Puts what the walk found into the shadow: one leaf, as large as guest page and memory allow.
    fn fill(&mut self, fault: &Fault, found: &Translation) -> Result<(), TableError> {
        let gva = Format::of(fault.mode).address(fault.gva);
        let rights = policy::leaf_rights(fault.mode, found, fault.access);
        let size = self.leaf_size(found);
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

    /// A large guest page is kept large, in pieces of 2 MiB, where that much is memory.
    fn leaf_size(&self, found: &Translation) -> PageSize {
        let large = PageSize::Size2M;
        let is_large =
            found.size >= GuestPageSize::Size2M || mutant::is(Mutant::LeafLargerThanGuestPage);
        let is_memory = self
            .memory
            .is_memory(found.gpa.align_down(large.bits()), large.bytes())
            || mutant::is(Mutant::LargeLeafOverHole);
        if is_large && is_memory {
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

    /// Takes a table, which has none below it, out of its parent. It stays in use.
    fn unlink(&mut self, page: u32) -> Result<(), TableError> {
        let (parent, slot) = self.pages.link(page);
        self.clear(parent, slot)?;
        self.pages.displace(page);
        Ok(())
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

    fn drop_address(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), TableError> {
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
