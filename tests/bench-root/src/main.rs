//! A root task that measures the kernel: instructions for each operation, as the TSC counts them under `-icount shift=0`.
//! Each row is one line `umbra-bench NAME n=… mean=… min=… max=…` on the log; the machine ends by the exit port.
//!
//! `src/lib.rs` has the arithmetic.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
