//! vmm-server's logic: one VM's virtual CPU and the devices that are functions of time.
//!
//! Always: an exit comes in as a value and leaves as a [`Verdict`]; whoever else is needed (the kernel's vCPU object,
//! mmu-server, the device server, the clock) is behind the trait [`Platform`], so that everything here runs in host
//! tests. What a guest does ends in its own exception, in a device's answer or in its own stop, never in a panic.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | instructions, events and addresses of its choice | each exit is one bounded handling; unknown ones stop the VM |
//! | guest | long string instructions | a bounded number of elements an exit, then the guest goes on |
//! | mmu-server | nonsense in a reply | an outcome this server does not know stops the VM |
//! | device server | nonsense in a reply | likewise; interrupt lines are sixteen bits, values are cut to the access |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod board;
mod bus;
mod control;
mod debug;
mod device_tlb;
mod dispatch;
mod injection;
mod memory;
mod mmio;
mod paging;
pub mod platform;
mod ports;
pub mod stats;
mod string_io;
mod time;
mod trap;
mod undefined;
pub mod vcpu;

pub use platform::Platform;
pub use vcpu::{Stopped, Vcpu, Verdict};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
