//! The oracle: what a guest may still hold in its TLB, what the shadow and the processor's TLB grant, and whether the second
//! is allowed by the first.
//!
//! [`Watched`] stands where an [`shadow::Engine`] would: the same requests, each judged before and after. It puts a
//! [`Mirror`] between the engine and the kernel's pool, which records the shadow tables and what the processor's TLB may
//! have kept of them, and asks an [`Oracle`], which keeps the *ghost TLB*: translations the guest may still hold. What the
//! guest's tables say comes from the crate `naive-walk`, never from the engine's own walker.
//!
//! Checked: each answer to a fault; that a filled entry leads where the guest's tables lead, grants no more, lets the
//! access go on, and has A and D marked; after INVLPG and after each load that nothing stays which the guest may no longer
//! hold; now and then a sample of everything; that no fault comes back again and again; that no request touches too many
//! entries. A broken rule is a [`Finding`]; there are no panics.
//!
//! Always: no allocation. Storage comes as slices ([`Storage`]), and when it is full something is forgotten in a way that
//! can hide a finding but never make one up.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod finding;
mod ghost;
mod guest;
mod judge;
mod mirror;
mod oracle;
mod range;
mod watched;

pub use finding::{Finding, Holder, Leaf, Moment, Verdict};
pub use ghost::GhostBucket;
pub use mirror::{Found, Mirror, Remnant, TableRecord};
pub use oracle::{Expected, ExpectedLoad, Oracle, Settings};
pub use watched::{Storage, Watched};
