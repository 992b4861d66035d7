//! A root task that asks the kernel for each behaviour of seL4's interface, one small function a behaviour. Each is one line
//! `umbra-test NAME ok` (or `failed: …`) on the log; the machine ends by the exit port.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
