//! Scripts of memory accesses, and the machines that execute them in each paging mode; the guests that check the memory
//! management share them.
//!
//! Always: a script is executed as a whole, with nothing between its steps, and only then compared with what its writer
//! expected. The crate is empty on the host: a guest is nothing but its machine.
#![cfg_attr(target_os = "none", no_std)]
#![cfg(target_os = "none")]

mod legacy;
mod long;
pub mod script;
pub mod space;
