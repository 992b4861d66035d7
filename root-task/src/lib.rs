//! The part of root-task that needs no kernel: where objects fit in untyped memory, which bytes go to which page, what a
//! domain is told, how a fault is worded. The program around it is `main.rs`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod inform;
pub mod memory;
pub mod pages;
pub mod report;
