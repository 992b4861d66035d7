//! What hostile programs say: random system calls, and the states a hostile vmm-server asks for.
//!
//! Everything is a function of a seed or of a number, so that a failure can be run again.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod calls;
pub mod rng;
pub mod states;
