//! An independent guest page-table walker, written from the manual for checking the real one: slow, literal, and sharing
//! no code with it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
