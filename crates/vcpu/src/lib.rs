//! What a virtual CPU does at an exit, as pure logic: exits come in as values, answers go out as values.
//!
//! Nothing here talks to anybody: no kernel object, no memory, no device. vmm-server brings what an answer depends on
//! (the host's CPUID, the TSC, the interrupt controller's wish) and carries the answers out. One place moves RIP:
//! [`Resume::skip`]. What a guest can cause is a value of a type here, never a panic.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod control;
pub mod cpuid;
pub mod debug;
pub mod event;
pub mod hypercall;
pub mod injection;
pub mod instruction;
pub mod msr;
pub mod mtrr;
pub mod nmi;
pub mod registers;
pub mod resume;
pub mod segment;
pub mod start;

pub use control::Control;
pub use event::Event;
pub use registers::Registers;
pub use resume::Resume;
