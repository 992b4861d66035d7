//! The device server: device models facing the guests, drivers facing the machine.
//!
//! root-task starts thread 0, which stays active and serves the machine's interrupts, and thread 1 + n for VM n, which
//! becomes passive and serves that VM's requests on its caller's time. Thread 0 must run above every VM's priorities:
//! what the others hand it is to be on the wire before they go on.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
