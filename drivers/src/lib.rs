//! The device server's logic: everything but capabilities and memory-mapped registers, which traits stand for.
//!
//! One active thread serves the machine's interrupts ([`com1`], [`pit`], deadlines), one passive thread a VM
//! serves that VM's requests ([`server`], with the models of [`board`]). They share [`shared::Shared`] and nothing else:
//! atomics and single-producer single-consumer rings, because on one processor any of them may preempt any other.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod board;
pub mod com1;
pub mod lines;
pub mod pit;
pub mod ring;
pub mod server;
pub mod shared;

/// Byte registers behind an I/O-port capability, by offset from the first.
pub trait Ports {
    /// Reads a register.
    fn read(&mut self, offset: u8) -> u8;
    /// Writes a register.
    fn write(&mut self, offset: u8, value: u8);
}
