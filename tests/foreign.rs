//! The booted system with guests that nobody here wrote, unpacked by `./setup`: Debian's kernels for 32-bit processors, Xen, and
//! memtest86+ in both widths. What was not to be had is listed as ignored, with the reason.

#[expect(
    dead_code,
    reason = "not every test program that has this module uses all of it"
)]
mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{Session, UMBRA};
use liblzma::read::XzDecoder;
use libtest_mimic::{Arguments, Failed, Trial};

/// For a guest that answers at once, on a slow machine.
const SHORT: Duration = Duration::from_secs(300);
/// For Linux to reach its shell, and for memtest86+ to get through all its tests but the last.
const LONG: Duration = Duration::from_secs(900);
/// Exit status of a guest that asked for a reset.
const RESET: i32 = 6;
const PROMPT: &str = "/root # ";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine at a time, whatever the number of processors.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("linux_686_boots_to_a_shell", "vmlinuz-686", || {
            linux("linux-686", "shadow");
        }),
        trial("linux_686_pae_boots_to_a_shell", "vmlinuz-686-pae", || {
            linux("linux-686-pae", "shadow");
        }),
        trial(
            "linux_686_pae_boots_under_nested_paging",
            "vmlinuz-686-pae",
            || linux("linux-686-pae", "nested"),
        ),
        trial_unless(
            "linux_boots_by_its_pvh_entry",
            missing("vmlinuz").or_else(packed_otherwise),
            pvh_linux,
        ),
        trial("xen_starts_linux_as_a_program_of_its_own", "xen", xen),
        trial("memtest_finds_no_error", "memtest86+x64.bin", || {
            memtest("memtest");
        }),
        trial(
            "memtest_of_32_bits_finds_no_error",
            "memtest86+ia32.bin",
            || memtest("memtest-32"),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs a file in the cache.
fn trial(name: &str, file: &str, body: fn()) -> Trial {
    trial_unless(name, missing(file), body)
}

/// A test, or the reason why it cannot be.
fn trial_unless(name: &str, reason: Option<String>, body: fn()) -> Trial {
    if let Some(reason) = &reason {
        eprintln!("ignored: {name}: {reason}");
    }
    let trial = Trial::test(name, move || {
        body();
        Ok::<(), Failed>(())
    });
    trial.with_ignored_flag(reason.is_some())
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/linux/cache")
}

fn missing(file: &str) -> Option<String> {
    let there = cache().join(file).is_file();
    (!there).then(|| format!("no guests/linux/cache/{file}: run ./setup"))
}

/// Debian's kernel of Linux 6.1 is packed with xz, that of 6.12 with zstd.
fn packed_otherwise() -> Option<String> {
    const XZ: &[u8] = b"\xfd7zXZ\0";
    let bzimage = fs::read(cache().join("vmlinuz")).expect("it is there");
    let reason = "guests/linux/cache/vmlinuz is packed with something else than xz";
    let packed_so = payload(&bzimage).is_some_and(|payload| payload.starts_with(XZ));
    (!packed_so).then(|| reason.into())
}

fn start(arguments: &[&str]) -> Session {
    let mut command = Command::new(UMBRA);
    let limit = (LONG * 2).as_secs().to_string();
    command
        .args(["run", "--quiet", "--timeout", &limit])
        .args(arguments);
    Session::spawn(command)
}

/// Boot, one command, power off.
fn linux(guest: &str, paging: &str) {
    let mut session = start(&["--guest", guest, "--paging", paging]);
    session.expect(PROMPT, LONG);
    session.send("echo sum=$((1200 + 34)); uname -m\n");
    session.expect("sum=1234", SHORT);
    session.expect("i686", SHORT);
    session.expect(PROMPT, SHORT);
    session.send("poweroff\n");
    session.finish(SHORT).ends_with(0).says("main powered off");
}

/// The kernel inside Debian's bzImage: an ELF file whose note names a PVH entry, and that says nothing of Linux's own protocol.
fn pvh_linux() {
    let bzimage = fs::read(cache().join("vmlinuz")).expect("it is there");
    let busybox = fs::read("/bin/busybox").expect("./setup installs it");
    let init = include_bytes!("../guests/linux/init");
    let folder = tempfile::tempdir().expect("a folder");
    let [kernel, initramfs] = ["vmlinux", "initramfs"].map(|name| folder.path().join(name));
    fs::write(&kernel, vmlinux(&bzimage)).expect("a file");
    fs::write(&initramfs, image::initramfs::build(&busybox, init)).expect("a file");
    let [kernel, initramfs] = [&kernel, &initramfs].map(|path| path.to_str().expect("text"));

    let mut session = start(&[
        "--kernel",
        kernel,
        "--initrd",
        initramfs,
        "--append",
        "console=ttyS0",
    ]);
    session.expect("Booting paravirtualized kernel", SHORT);
    session.expect(PROMPT, LONG);
    session.send("poweroff\n");
    session.finish(SHORT).ends_with(0).says("main powered off");
}

/// The program that a bzImage unpacks.
fn vmlinux(bzimage: &[u8]) -> Vec<u8> {
    let mut program = Vec::new();
    // Four bytes of length follow the packed stream.
    XzDecoder::new(payload(bzimage).expect("a bzImage"))
        .read_to_end(&mut program)
        .expect("an xz stream");
    program
}

/// That program as it is packed (Linux, Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`).
fn payload(bzimage: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes = bzimage.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    let protected_mode = (usize::from(*bzimage.get(0x1f1)?) + 1) * 512;
    let from = bzimage.get(protected_mode + word(0x248)?..)?;
    from.get(..word(0x24c)?)
}

/// Xen, and Debian's kernel as the paravirtualized one that it starts first: a hypervisor that edits live page tables, and a
/// kernel that runs in ring 3. Its words come by hypercalls, and once its own console stands through a ring that both share.
fn xen() {
    let [xen, linux] = ["xen", "vmlinuz"].map(|name| cache().join(name));
    let [xen, linux] = [&xen, &linux].map(|path| path.to_str().expect("text"));
    let append = "console=com1 com1=115200,8n1 dom0_mem=512M";
    let guest = ["--kernel", xen, "--initrd", linux, "--memory", "1G"];
    let mut session = start(&[&guest[..], &["--append", append]].concat());
    session.expect("Xen version", SHORT);
    session.expect("about to get started...", LONG);
    session.expect("Booting kernel on Xen", LONG);
    session.expect("console [hvc0] enabled", LONG);
}

/// Until the test that comes after the address tests and the moving inversions, without an error; then Escape, which resets
/// the machine.
fn memtest(guest: &str) {
    let mut session = start(&["--guest", guest, "--memory", "32M"]);
    session.expect("Memtest86+", SHORT);
    session.expect("Modulo 20, random pattern", LONG);
    session.expect("Errors: ", SHORT);
    session.send("\x1b");
    let run = session.finish(SHORT).ends_with(RESET);
    let counts: Vec<&str> = run
        .out
        .split("Errors:")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    assert!(
        !counts.is_empty() && counts.iter().all(|count| *count == "0"),
        "{counts:?}\n{}",
        run.out
    );
}
