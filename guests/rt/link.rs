//! The build script of every guest: links it at 1 MiB by the run-time's linker script; on the host there is nothing to do.

fn main() {
    println!("cargo::rerun-if-changed=../rt/guest.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let package =
            std::env::var("CARGO_MANIFEST_DIR").expect("cargo names the package's directory");
        println!("cargo::rustc-link-arg-bins=-T{package}/../rt/guest.ld");
    }
}
