//! mmu-server's logic: one VM's requests about memory, answered with the shadow engine.
//!
//! Always: a request comes in as message words and leaves as message words; the guest's memory and the shadow pool are
//! behind traits, so that everything here runs in host tests. Each request is idempotent and bounded. With the feature
//! `oracle` every answer is judged, and a broken rule stops the VM.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | page tables, control registers and faults of its choice | the engine walks as the processor does; every path is bounded |
//! | guest | tables that need more shadow than its quota | eviction, never a failure |
//! | vmm-server | senseless or hostile words | answered with REFUSED; addresses are checked against the VM's memory |
//! | this server, wrong | a shadow entry for what the VM does not own | the kernel checks each entry (I1) |
//! | this server, wrong | a shadow entry that the guest's tables do not grant | found by the oracle, in tests and where it is built in |
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod dispatch;
pub mod message;
pub mod pieces;
pub mod ram;
pub mod shadow_mmu;

pub use dispatch::Server;
pub use message::Message;
pub use ram::GuestRam;
pub use shadow_mmu::ShadowMmu;

#[cfg(test)]
mod tests;
