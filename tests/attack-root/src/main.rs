//! A root task that attacks the kernel instead of building a system: as a hostile mmu-server, as a hostile vmm-server, and
//! as a thread that makes random system calls. Each check is one line `umbra-test NAME ok` (or `failed: …`) on the log; the
//! machine ends by the exit port.
//!
//! `src/lib.rs` has what needs no kernel.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
