//! The initial program: builds every domain and VM of the system from the archive, hands out exactly the capabilities of
//! `protocol::slots`, gives up what it must not keep, and then supervises.
//!
//! The archive lies in this program's own image; `src/lib.rs` has what needs no kernel.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
