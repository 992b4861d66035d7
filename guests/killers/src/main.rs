//! What shadow page tables have been seen to get wrong: one test each, named for what it checks. Words on the command line
//! choose; without one, all that do not end the machine run in turn.
//!
//! Always: a test checks what the manual fixes, and nothing where a TLB may hold either of two translations.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
