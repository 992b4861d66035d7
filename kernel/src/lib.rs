//! The kernel's logic: objects, capabilities, IPC, scheduling, address spaces, guests.
//!
//! Everything here runs on the host too: physical memory is a window ([`mem`]), the processor is the trait
//! [`machine::Machine`]. The processor's edge (boot, entry, interrupts, world switch) is the binary's `arch` module.
#![cfg_attr(not(test), no_std)]

pub mod boot;
pub mod cap;
pub mod context;
pub mod cspace;
pub mod elf;
mod exit;
mod fastpath;
mod fault;
mod fpu;
mod ipc;
pub mod kernel;
pub mod machine;
pub mod mem;
mod mutant;
pub mod object;
mod sched;
pub mod slot;
mod syscall;
#[cfg(test)]
mod tests;

pub use syscall::{TIMER_VECTOR, USER_VECTOR_BASE};
