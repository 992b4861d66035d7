//! The kernel's program: the processor's edge around the logic of the library.
//!
//! Everything that only a bare machine can do is in [`arch`]; on the host this is a program that says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod arch;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
