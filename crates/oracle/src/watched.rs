//! An engine under observation: the same requests, each judged.

use crate::finding::{Finding, Moment};
use crate::ghost::GhostBucket;
use crate::mirror::{Mirror, Remnant, TableRecord};
use crate::oracle::{Oracle, Settings};
use exit_abi::Mode;
use shadow::{
    Counters, Engine, Error, Fault, GuestMemory, Limits, Load, LoadReason, Outcome, PageRecord,
    ShadowTables, Target,
};
use words::Gva;

/// The memory an oracle works in.
#[derive(Debug)]
pub struct Storage<'a> {
    /// One for each page of the pool: 4.2 KiB each. Leaves in pages that have none are not judged.
    pub tables: &'a mut [TableRecord],
    /// What the processor's TLB may hold of entries that are gone: 32 bytes each; a thousand are plenty.
    pub remnants: &'a mut [Remnant],
    /// The ghost TLB: 8 translations in 208 bytes each. Where a bucket overflows everything counts as granted until the
    /// guest's next flush.
    pub ghosts: &'a mut [GhostBucket],
}

/// An engine with the oracle around it.
#[derive(Debug)]
pub struct Watched<'a, M, T> {
    engine: Engine<'a, M, Mirror<'a, T>>,
    oracle: Oracle<'a>,
}

impl<'a, M: GuestMemory, T: ShadowTables> Watched<'a, M, T> {
    /// An engine as [`Engine::new`] makes it, watched.
    ///
    /// # Errors
    /// As [`Engine::new`] says.
    pub fn new(
        memory: M,
        tables: T,
        limits: Limits,
        records: &'a mut [PageRecord],
        settings: Settings,
        storage: Storage<'a>,
    ) -> Result<Self, Error> {
        let mirror = Mirror::new(tables, storage.tables, storage.remnants);
        Ok(Self {
            engine: Engine::new(memory, mirror, limits, records)?,
            oracle: Oracle::new(limits, settings, storage.ghosts),
        })
    }

    /// An engine as [`Engine::cramped`] makes it, watched.
    ///
    /// # Errors
    /// As [`Engine::cramped`] says.
    pub fn cramped(
        memory: M,
        tables: T,
        limits: Limits,
        records: &'a mut [PageRecord],
        settings: Settings,
        storage: Storage<'a>,
    ) -> Result<Self, Error> {
        let mirror = Mirror::new(tables, storage.tables, storage.remnants);
        Ok(Self {
            engine: Engine::cramped(memory, mirror, limits, records)?,
            oracle: Oracle::new(limits, settings, storage.ghosts),
        })
    }

    /// The guest's memory.
    pub fn memory(&self) -> &M {
        self.engine.memory()
    }

    /// The shadow tables, with what was recorded of them.
    pub fn tables(&self) -> &Mirror<'a, T> {
        self.engine.tables()
    }

    /// The shadow tables, for a test's own steps.
    pub fn tables_mut(&mut self) -> &mut Mirror<'a, T> {
        self.engine.tables_mut()
    }

    /// The oracle, with the ghost TLB.
    pub fn oracle(&self) -> &Oracle<'a> {
        &self.oracle
    }

    /// What the engine counted.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// The first broken rule since this was last asked.
    pub fn take_finding(&mut self) -> Option<Finding> {
        self.oracle.take_finding()
    }

    /// As [`Engine::fault`].
    ///
    /// # Errors
    /// As [`Engine::fault`] says.
    pub fn fault(&mut self, fault: &Fault) -> Result<Outcome, Error> {
        self.engine.tables_mut().vcpu_stopped();
        let expected = self.oracle.before_fault(self.engine.memory(), fault);
        let outcome = self.engine.fault(fault);
        self.oracle.after_fault(
            self.engine.memory(),
            self.engine.tables(),
            fault,
            &expected,
            outcome,
        );
        self.finish();
        outcome
    }

    /// As [`Engine::translate`].
    ///
    /// # Errors
    /// As [`Engine::translate`] says.
    pub fn translate(&mut self, fault: &Fault) -> Result<Target, Error> {
        self.engine.tables_mut().vcpu_stopped();
        let expected = self.oracle.before_translate(self.engine.memory(), fault);
        let target = self.engine.translate(fault);
        self.oracle
            .after_translate(self.engine.memory(), fault, &expected, target);
        self.finish();
        target
    }

    /// As [`Engine::invlpg`].
    ///
    /// # Errors
    /// As [`Engine::invlpg`] says.
    pub fn invlpg(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), Error> {
        self.engine.tables_mut().vcpu_stopped();
        self.oracle.adopt(self.engine.memory(), mode, cr3);
        let done = self.engine.invlpg(mode, cr3, gva);
        self.oracle
            .after_invlpg(self.engine.memory(), self.engine.tables(), gva, done);
        self.finish();
        done
    }

    /// As [`Engine::load`].
    ///
    /// # Errors
    /// As [`Engine::load`] says.
    pub fn load(&mut self, mode: Mode, cr3: u64, reason: LoadReason) -> Result<Load, Error> {
        self.engine.tables_mut().vcpu_stopped();
        let expected = self
            .oracle
            .before_load(self.engine.memory(), mode, cr3, reason);
        let loaded = self.engine.load(mode, cr3, reason);
        self.oracle.after_load(
            self.engine.memory(),
            self.engine.tables(),
            &expected,
            reason,
            loaded,
        );
        self.finish();
        loaded
    }

    /// As [`Engine::ensure_root`].
    ///
    /// # Errors
    /// As [`Engine::ensure_root`] says.
    pub fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Error> {
        self.engine.tables_mut().vcpu_stopped();
        self.oracle.adopt(self.engine.memory(), mode, cr3);
        let done = self.engine.ensure_root(mode, cr3);
        self.oracle.after_ensure_root(self.engine.tables(), done);
        self.finish();
        done
    }

    /// Judges everything there is, whatever the settings say about samples.
    pub fn check_all(&mut self) {
        self.oracle
            .check_all(self.engine.memory(), self.engine.tables(), Moment::Sample);
    }

    fn finish(&mut self) {
        self.oracle.finish(
            self.engine.memory(),
            self.engine.tables(),
            self.engine.counters(),
        );
    }
}
