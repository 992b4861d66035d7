//! Checks who may do what: every combination of the rights in a leaf and in one entry above it, of WP, SMEP, SMAP and NXE,
//! and of the kinds of access, in each paging format and page size; and for each the fault's error code, its address, and
//! the accessed and dirty bits afterwards (APM vol. 2, 5.6).
//!
//! Always: rights are enumerated in full; presence, reserved bits, earlier A and D bits, the level of the upper entry and
//! the way of flushing are dealt by a die with a fixed seed. The word `again` on the command line deals another time.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
