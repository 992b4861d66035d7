//! An independent guest page-table walker, written from the manual for checking the real one: slow, literal, and sharing
//! no code with it.
//!
//! Everything follows APM vol. 2, chapter 5: the entries' figures ([`figure`]), the walk ([`walk`](mod@walk)), the rights
//! ([`rights`]), the error code of 8.4.2. Nothing is written, allocated or panicked about. Where the real walker folds
//! formats and levels into one loop, this one spells each out, but for the two lowest of 8-byte entries.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod access;
pub mod figure;
pub mod rights;
pub mod walk;

pub use access::{Access, Use, Who};
pub use rights::{Grants, Rights, allows, grants};
pub use walk::{Entry, Grant, Limits, Refusal, identity, is_loadable, latch, translate, walk};
