//! The kernel's invariants, over everything a system's capabilities reach.
//!
//! A [`Checker`] looks at all of it each time. What follows from the slots alone (which objects there are, the derivation
//! lists, what lies where) it works out again only when a slot it came to has changed: otherwise it would find the same.

mod addresses;
mod complaint;
mod contexts;
mod derivation;
mod found;
mod memory;
mod pages;
mod pools;
mod replies;
mod scheduler;
mod spaces;
mod tables;
mod threads;
mod vcpus;
mod waiters;

pub use complaint::{Check, Complaint};
pub use tables::granted;

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::SchedContext;
use crate::slot::Slot;
use found::Found;

/// Looks at one system, as often as asked.
pub struct Checker {
    root: Ref<Slot>,
    limit: u64,
    found: Found,
    /// How often a slot had changed.
    version: u64,
}

impl Checker {
    /// For the system whose first CNode has slot 0 at `root`; its first `limit` slots are looked at.
    pub fn new(root: Ref<Slot>, limit: u64) -> Self {
        Self {
            root,
            limit,
            found: Found::default(),
            version: 0,
        }
    }

    /// Grows when any slot has changed since the last look.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The scheduling contexts found by the last look.
    pub fn contexts(&self) -> &[Ref<SchedContext>] {
        &self.found.contexts
    }

    /// Checks every invariant; `Err` says which does not hold, and where.
    pub fn check<M: Machine>(&mut self, kernel: &Kernel<M>) -> Check {
        if !self.found.is_current(kernel) {
            self.version += 1;
            self.found.collect(kernel, self.root, self.limit);
            let sound = slots_and_memory(&self.found);
            if sound.is_err() {
                self.found.clear();
            }
            sound?;
        }
        let found = &self.found;
        scheduler::check(kernel, found)?;
        threads::check(found)?;
        waiters::check(found)?;
        contexts::check(kernel, found)?;
        replies::check(found)?;
        let lists = spaces::check(kernel, found)?;
        vcpus::check(found, &lists)?;
        pools::check(found, &lists)
    }
}

/// What follows from the slots alone: the derivation lists, and which memory is what.
fn slots_and_memory(found: &Found) -> Check {
    derivation::check(found)?;
    memory::check(found)
}
