//! Hands the linker script to the linker when the program is built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    let bare = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none");
    if bare && let Ok(directory) = std::env::var("CARGO_MANIFEST_DIR") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/kernel.ld");
    }
}
