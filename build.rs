//! Builds the programs of the image for the bare machine, with a cargo of its own.
//!
//! The inner cargo must share nothing with the outer one that either would lock (target and build folder) or that would
//! change how it compiles (flags, wrappers, compiler); the job server it does share.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use sel4_prefix::Build;

const TARGET: &str = "x86_64-unknown-none";

/// mmu-server, and what it is called when the oracle is in it.
const MMU_SERVER: &str = "mmu-server";
const MMU_SERVER_ORACLE: &str = "mmu-server-oracle";

/// The kernel, and what it is called with the call that halts the machine, with the stopwatch of `umbra bench latency`, and
/// without debug system calls.
const KERNEL: &str = "kernel";
const KERNEL_DEBUG: &str = "kernel-debug";
const KERNEL_LATENCY: &str = "kernel-latency";
const KERNEL_RELEASE: &str = "kernel-release";

/// The folders that seL4's libraries and crates are built against, in the target folder, each with its kernel.
const PREFIXES: &[(&str, Build, &str)] = &[
    ("sel4-prefix", Build::Debug, KERNEL_DEBUG),
    ("sel4-prefix-release", Build::Release, KERNEL_RELEASE),
];

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
    "guest-modes",
    "guest-permissions",
    "guest-killers",
    "guest-platform",
    "attack-root",
    "conformance",
    "bench-root",
    "hostile-domains",
    "hello-root",
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
    "guests/modes",
    "guests/permissions",
    "guests/killers",
    "guests/platform",
    "guests/rt",
    "guests/script",
    "tests/root-kit",
    "tests/attack-root",
    "tests/conformance",
    "tests/bench-root",
    "tests/hostile-domains",
    "examples/hello-root",
    "crates/words",
    "crates/sel4-abi",
    "crates/exit-abi",
    "crates/protocol",
    "crates/insn",
    "crates/shadow",
    "crates/naive-walk",
    "crates/oracle",
    "crates/devices",
    "crates/vcpu",
    "crates/sel4",
    "crates/sel4-config",
    "crates/sel4-config-data",
    "crates/sel4-config-macros",
    "crates/sel4-root-task",
    "crates/sel4-root-task-macros",
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
    let programs = folder.join(TARGET).join("release");
    build(&folder, &programs);
    println!("cargo::rustc-env=UMBRA_IMAGE_DIR={}", programs.display());
    let target = target_folder();
    for (name, kind, kernel) in PREFIXES {
        let prefix = target.join(name);
        if let Err(error) = sel4_prefix::write(&prefix, *kind, &programs.join(kernel)) {
            fail(&format!("{}: {error}", prefix.display()));
        }
    }
    println!("cargo::rustc-env=UMBRA_TARGET_DIR={}", target.display());
}

/// Cargo's target folder, as far as the environment tells.
fn target_folder() -> PathBuf {
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let folder = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    PathBuf::from(variable("CARGO_MANIFEST_DIR")).join(folder)
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

/// All programs; mmu-server twice and the kernel in four kinds. What is not the system's own is put aside first, since all
/// of a kind come out under one name.
fn build(folder: &Path, programs: &Path) {
    cargo(
        folder,
        &["-p", MMU_SERVER, "--features", "mmu-server/oracle"],
    );
    put_aside(programs, MMU_SERVER, MMU_SERVER_ORACLE);
    cargo(folder, &["-p", KERNEL, "--no-default-features"]);
    put_aside(programs, KERNEL, KERNEL_RELEASE);
    cargo(folder, &["-p", KERNEL, "--features", "kernel/halt"]);
    put_aside(programs, KERNEL, KERNEL_DEBUG);
    cargo(folder, &["-p", KERNEL, "--features", "kernel/latency"]);
    put_aside(programs, KERNEL, KERNEL_LATENCY);
    let all: Vec<&str> = PROGRAMS.iter().flat_map(|name| ["-p", name]).collect();
    cargo(folder, &all);
}

fn put_aside(programs: &Path, program: &str, name: &str) {
    let copy = programs.join(name);
    if let Err(error) = fs::copy(programs.join(program), &copy) {
        fail(&format!("{}: {error}", copy.display()));
    }
}

fn cargo(folder: &Path, what: &[&str]) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.args(["build", "--locked", "--release", "--target", TARGET]);
    cargo.args(what);
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
