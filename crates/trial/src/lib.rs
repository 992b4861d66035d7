//! Random guest programs against engine, ghost TLB and oracle, on the host: runs, shrinking, deliberate faults.
//!
//! A simulated guest ([`World`]) accesses memory, edits its page tables, flushes or does not, loads control registers and
//! changes its paging mode; its accesses go through a processor whose TLB forgets nothing by itself, then the shadow tables,
//! then the engine under an `oracle::Watched`. Programs are lists of [`Op`]s: [`run`] makes them up from a seed, [`shrink`]
//! makes a failing one short, [`replay`] runs one again, as a regression test. [`mutants`] shows that each deliberate fault
//! of `shadow::mutant` is seen, and [`soak`] does all that at length.
//!
//! Always: what happens follows from seed, steps and configuration alone.
#![forbid(unsafe_code)]

mod dice;
mod failure;
mod generate;
mod mutants;
mod op;
mod pool;
mod ram;
mod run;
mod shrink;
mod soak;
mod world;

pub use failure::{Complaint, Failure};
pub use mutants::{Caught, Hunt, hunt, mutants};
pub use op::Op;
pub use run::{Config, Report, Setup, replay, run};
pub use shrink::shrink;
pub use soak::{Options, Progress, SoakReport, soak};
pub use world::World;
