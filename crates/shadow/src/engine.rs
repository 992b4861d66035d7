//! The engine: requests in, shadow operations and an outcome out. Policy `vtlb`.
//!
//! The shadow starts empty and is a cache of single walks: a fault fills one leaf, INVLPG drops one translation, a load of a
//! control register drops everything. Long-mode guests get a 4-level shadow; all others, those without paging included,
//! get the PAE format with four page directories.
//!
//! Always: every request touches at most [`MAX_TOUCHED`] entries and makes at most [`MAX_TABLES`](crate::MAX_TABLES)
//! tables, or answers that it is to be sent again; the pages a fill needs are set aside before anything is changed; the shadow belongs to one
//! [`Space`], and a request that comes from another one drops it first, so that a request may be sent again (after a
//! restart, say) without harm.

mod fill;
mod invalidate;
mod loads;

use crate::bounds::{ATTEMPT, ATTEMPTS, MAX_TOUCHED, MAX_TURNS, MIN_PAGES};
use crate::counters::Counters;
use crate::memory::GuestMemory;
use crate::mutant::{self, Mutant};
use crate::pages::{PageRecord, Pages};
use crate::request::{Error, Fault, Load, LoadReason, Outcome, Target};
use crate::space::{Format, Limits, Space};
use crate::tables::{Flush, ShadowTables, TableError};
use crate::walk::{Stop, Translation, walk};
use exit_abi::Mode;
use words::Gva;
use words::x86::pte;

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
    /// How often in a row user and supervisor took a page from each other, all at CPL 3.
    turns: u64,
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
            turns: 0,
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
        if self.turns > MAX_TURNS {
            self.turns = 0;
            return Err(Error::Endless);
        }
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
        self.turns = match self.last {
            Some(last) if !settled && last == *fault => self.turns,
            Some(last) if !settled && Self::takes_turns(&last, fault) => self.turns + 1,
            _ => 0,
        };
        self.repeats = match self.last {
            Some(last) if last == *fault && !settled => self.repeats + 1,
            _ => 0,
        };
        self.last = (!settled).then_some(*fault);
        self.counters.max_repeats = self.counters.max_repeats.max(self.repeats);
    }

    /// Whether the second fault takes a page back that the first one took (see `policy`), both at CPL 3: one was met by a
    /// program, the other by the processor itself on its behalf. A kernel's own accesses are not counted; that it ran between
    /// the two cannot be seen.
    fn takes_turns(last: &Fault, fault: &Fault) -> bool {
        let page = |fault: &Fault| Format::of(fault.mode).address(fault.gva).page();
        let at_user = |fault: &Fault| !fault.mode.has(Mode::WP) && fault.mode.cpl() == 3;
        at_user(last)
            && at_user(fault)
            && last.access.user != fault.access.user
            && page(last) == page(fault)
    }

    /// Whether a request from (`mode`, `cr3`) belongs to `space`.
    fn is_same(space: &Space, mode: Mode, cr3: u64) -> bool {
        let same_role = space.mode.role() == mode.role() || mutant::is(Mutant::AdoptIgnoresRole);
        same_role && (space.cr3 == cr3 || mutant::is(Mutant::AdoptIgnoresCr3))
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

    /// Takes a table, which has none below it, out of its parent. It stays in use.
    fn unlink(&mut self, page: u32) -> Result<(), TableError> {
        let (parent, slot) = self.pages.link(page);
        self.clear(parent, slot)?;
        self.pages.displace(page);
        Ok(())
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
}
