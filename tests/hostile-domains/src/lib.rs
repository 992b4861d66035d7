//! What a hostile domain tries with the capabilities it was given: every label on every slot, and addresses it was not
//! given.
//!
//! No word a domain sends lies between 1 MiB and the end of the machine's memory, so such a word in a reply is an address
//! that leaked.
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)] // reads where nothing is mapped

pub mod peek;
pub mod report;
pub mod sweep;
