//! Guests that misbehave, one for each word of the command line, and a few that merely use what a kernel uses at boot.
//!
//! Each prints `misbehave MODE: WHAT: OUTCOME` lines and ends with success when it saw what hardware does. Modes that
//! hardware ends (a triple fault) or never ends (an endless loop) print one line that says so, and then do it.
//! QEMU's own software CPU departs from hardware in some points; there, and only there, its answer passes too and is named.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
