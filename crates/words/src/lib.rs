//! The words of the trade: addresses that say whose they are, x86 register bits, SVM structures.
//!
//! Types and constants only; no behaviour beyond checked arithmetic, no `unsafe`, no allocation. Every other crate may
//! name this one and it names none.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod addr;
pub mod svm;
pub mod x86;

pub use addr::{Gfn, Gpa, Gva, Hpa, PageSize};
