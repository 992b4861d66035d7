//! Checks the devices of a PC from inside, and the instructions that reach them: one test for each device, chosen by words
//! on the command line; without one, all run in turn.
//!
//! Always: a test checks what the device's manual fixes; what a machine may have or lack it asks first.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
