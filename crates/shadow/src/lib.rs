//! The shadow MMU: a guest's page fault goes in, one of four outcomes comes out.
//!
//! A pure state machine over two traits: [`GuestMemory`], where the guest keeps its page tables, and [`ShadowTables`], the
//! kernel's shadow pool. [`walk`](mod@walk) reads the guest's tables exactly as the processor would; [`Engine`] keeps the
//! shadow as a cache of what the walks found (the `vtlb` policy). Nothing here allocates, blocks or panics on what a guest
//! writes: every request touches a bounded number of entries, and running out of shadow pages evicts.
//!
//! Always: an entry of the shadow grants no more than the guest's tables granted when it was filled, and a page is writable
//! in the shadow only if its guest entry is dirty. Left to others: whether a guest frame exists and with which rights (the
//! kernel checks each entry), and everything about registers and events (vmm-server).
#![cfg_attr(not(any(test, feature = "mutants")), no_std)]
#![forbid(unsafe_code)]

pub mod access;
pub mod bounds;
pub mod counters;
pub mod engine;
mod entry;
pub mod memory;
pub mod mutant;
pub mod pages;
pub mod policy;
pub mod request;
pub mod space;
pub mod tables;
pub mod walk;

pub use access::{Access, Kind};
pub use bounds::{MAX_TABLES, MAX_TOUCHED, MIN_PAGES};
pub use counters::Counters;
pub use engine::Engine;
pub use memory::GuestMemory;
pub use pages::PageRecord;
pub use request::{Error, Fault, Load, LoadReason, Outcome, Target};
pub use space::{Limits, Space};
pub use tables::{Flush, Rights, ShadowTables, TableError};
pub use walk::{GuestPageSize, Stop, Translation, walk};
