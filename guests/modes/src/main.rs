//! Every mode of the CPU, every switch between two of them, and what the switches refuse; or, of all that, what concerns the
//! modes named on the command line.
//!
//! Always: which mode comes next is dealt by a die with a fixed seed, after a round that has every pair once. What one mode
//! writes the next one reads through its own tables, which change under way.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
