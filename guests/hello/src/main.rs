//! The smallest guest: one line on the console, then success.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest {
    guest_rt::entry!(main);

    fn main() {
        guest_rt::println!("hello from a guest");
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
