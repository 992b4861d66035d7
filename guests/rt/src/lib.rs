//! The run-time under Umbra's own guests: multiboot 1 programs that run on a bare machine and under Umbra alike.
//!
//! Always: a guest starts in long mode with the first GiB mapped to itself, prints to COM1, catches its exceptions, and
//! ends by writing a value to port 0xf4. It needs no other device, no firmware and no interrupt controller.
//!
//! The crate is empty on the host: a guest is nothing but its machine.
#![cfg_attr(target_os = "none", no_std)]
#![cfg(target_os = "none")]
// A guest is machine code on its own machine: entry, traps, mode switches and tables are what it is about. Each block
// argues for itself.
#![allow(unsafe_code)]

mod boot;
pub mod console;
pub mod cpu;
pub mod dice;
pub mod exit;
pub mod gdt;
pub mod legacy;
pub mod multiboot;
pub mod port;
pub mod real;
pub mod tables;
pub mod trap;
pub mod user;
