//! Builds the programs of the image for the bare machine, with a cargo of its own.
//!
//! The inner cargo must share nothing with the outer one that either would lock (target and build folder) or that would
//! change how it compiles (flags, wrappers, compiler); the job server it does share.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "x86_64-unknown-none";

/// The programs.
const PROGRAMS: &[&str] = &[
    "kernel",
    "root-task",
    "vmm-server",
    "mmu-server",
    "drivers",
    "guest-hello",
    "guest-paging",
    "guest-misbehave",
    "attack-root",
    "hostile-domains",
];

/// What they are made from.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "kernel",
    "root-task",
    "vmm-server",
    "mmu-server",
    "drivers",
    "guests/hello",
    "guests/paging",
    "guests/misbehave",
    "guests/rt",
    "tests/attack-root",
    "tests/hostile-domains",
    "crates/words",
    "crates/sel4-abi",
    "crates/exit-abi",
    "crates/protocol",
    "crates/insn",
    "crates/shadow",
    "crates/devices",
    "crates/vcpu",
    "crates/sel4",
    "crates/sel4-config",
    "crates/sel4-root-task",
    "crates/sel4-domain",
];

/// What the outer cargo says about its own compiler and flags.
const OUTER: &[&str] = &[
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
];

fn main() {
    println!("cargo::rerun-if-env-changed=UMBRA_SKIP_IMAGE");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    if env::var_os("UMBRA_SKIP_IMAGE").is_some_and(|value| value == "1") {
        return;
    }
    require_target();
    let folder = PathBuf::from(variable("OUT_DIR")).join("image");
    build(&folder);
    let programs = folder.join(TARGET).join("release");
    println!("cargo::rustc-env=UMBRA_IMAGE_DIR={}", programs.display());
}

/// Without the target's `core` the inner build would fail with pages of messages.
fn require_target() {
    let answer = Command::new(variable("RUSTC"))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let folder = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned());
    if !folder.is_ok_and(|folder| Path::new(&folder).is_dir()) {
        fail(&format!(
            "the Rust target {TARGET} is not installed: run ./setup, or `rustup target add {TARGET}`"
        ));
    }
}

fn build(folder: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.args(["build", "--locked", "--release", "--target", TARGET]);
    for program in PROGRAMS {
        cargo.args(["-p", program]);
    }
    for name in OUTER {
        cargo.env_remove(name);
    }
    cargo
        .env("CARGO_TARGET_DIR", folder)
        .env("CARGO_BUILD_BUILD_DIR", folder);
    match cargo.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => fail(&format!(
            "the image does not build:\n{}",
            String::from_utf8_lossy(&done.stderr)
        )),
        Err(error) => fail(&format!("cargo does not start: {error}")),
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set: call this through cargo")))
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    exit(1)
}
