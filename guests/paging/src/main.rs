//! Checks the memory management of the machine it runs on, in long mode, in PAE paging and with paging off, against the
//! rules of APM vol. 2 chapter 5. Every result is checked here; whoever runs it needs only the last line or the exit value.
//! The word `two-level` on the command line adds 32-bit paging without PAE.
//!
//! Always: a check is an access, or a look at a table entry, whose outcome the manual fixes. Where the manual leaves a
//! choice (a global page after a CR3 load), every permitted outcome passes.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
