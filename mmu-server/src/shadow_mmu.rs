//! What serves the requests about the shadow: the engine, or the engine with the oracle around it.

use crate::ram::GuestRam;
use core::convert::Infallible;
use core::fmt::Display;
use exit_abi::Mode;
use shadow::{Counters, Engine, Error, Fault, Load, LoadReason, Outcome, ShadowTables, Target};
use words::Gva;

/// A shadow MMU; the methods are those of [`Engine`].
pub trait ShadowMmu {
    /// The guest's memory.
    type Memory: GuestRam;
    /// A broken rule, if somebody looks for them.
    type Finding: Display;

    /// The guest's memory.
    fn memory(&self) -> &Self::Memory;
    /// What was counted.
    fn counters(&self) -> Counters;
    /// A page fault.
    ///
    /// # Errors
    /// As [`Engine::fault`] says.
    fn fault(&mut self, fault: &Fault) -> Result<Outcome, Error>;
    /// An access on the guest's behalf.
    ///
    /// # Errors
    /// As [`Engine::translate`] says.
    fn translate(&mut self, fault: &Fault) -> Result<Target, Error>;
    /// INVLPG.
    ///
    /// # Errors
    /// As [`Engine::invlpg`] says.
    fn invlpg(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), Error>;
    /// A load of a control register.
    ///
    /// # Errors
    /// As [`Engine::load`] says.
    fn load(&mut self, mode: Mode, cr3: u64, reason: LoadReason) -> Result<Load, Error>;
    /// The vCPU has no root.
    ///
    /// # Errors
    /// As [`Engine::ensure_root`] says.
    fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Error>;
    /// Requests that were judged.
    fn judged(&self) -> u64;
    /// The first broken rule since this was last asked.
    fn take_finding(&mut self) -> Option<Self::Finding>;
}

/// The methods that the engine has itself, under the same names, whether or not it is watched.
macro_rules! requests {
    ($memory:ty) => {
        type Memory = $memory;

        fn memory(&self) -> &$memory {
            self.memory()
        }
        fn counters(&self) -> Counters {
            self.counters()
        }
        fn fault(&mut self, fault: &Fault) -> Result<Outcome, Error> {
            self.fault(fault)
        }
        fn translate(&mut self, fault: &Fault) -> Result<Target, Error> {
            self.translate(fault)
        }
        fn invlpg(&mut self, mode: Mode, cr3: u64, gva: Gva) -> Result<(), Error> {
            self.invlpg(mode, cr3, gva)
        }
        fn load(&mut self, mode: Mode, cr3: u64, reason: LoadReason) -> Result<Load, Error> {
            self.load(mode, cr3, reason)
        }
        fn ensure_root(&mut self, mode: Mode, cr3: u64) -> Result<(), Error> {
            self.ensure_root(mode, cr3)
        }
    };
}

impl<R: GuestRam, T: ShadowTables> ShadowMmu for Engine<'_, R, T> {
    type Finding = Infallible;

    requests!(R);

    fn judged(&self) -> u64 {
        0
    }
    fn take_finding(&mut self) -> Option<Infallible> {
        None
    }
}

#[cfg(feature = "oracle")]
impl<R: GuestRam, T: ShadowTables> ShadowMmu for oracle::Watched<'_, R, T> {
    type Finding = oracle::Finding;

    requests!(R);

    fn judged(&self) -> u64 {
        self.counters().requests
    }
    fn take_finding(&mut self) -> Option<oracle::Finding> {
        self.take_finding()
    }
}
