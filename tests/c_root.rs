//! A root task in C, built with the system's compiler against the install prefix alone, and booted; and root tasks that
//! cannot be booted.

#[expect(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{Run, Session, UMBRA, text};
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

/// For a run that ends by itself.
const LIMIT: Duration = Duration::from_secs(300);
/// Exit status of a root task that wrote 0 to the exit port.
const SUCCESS: i32 = 1;
/// Exit status of a file that cannot work.
const BAD_INPUT: i32 = 2;
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c-root");

/// What the C root task checks.
const CHECKS: &[&str] = &[
    "boot-information",
    "initial-capabilities",
    "untyped-list",
    "extra-chunks",
    "objects",
    "error-replies",
    "mapping",
    "start-thread",
    "calls",
    "signals",
    "unknown-syscall",
    "user-exception",
    "vm-fault",
    "clean-up",
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine at a time, whatever the number of processors.
    arguments.test_threads = Some(1);
    let compiler = Command::new("gcc").arg("--version").output().is_ok();
    let trials = vec![
        needing(
            compiler,
            "a_c_root_task_runs_on_the_prefix_alone",
            c_root_task,
        ),
        needing(
            compiler,
            "a_c_root_task_can_be_built_without_optimisation",
            unoptimised,
        ),
        needing(
            compiler,
            "a_release_kernel_has_no_debug_calls",
            release_kernel,
        ),
        needing(
            compiler,
            "the_release_prefix_has_no_debug_calls",
            release_prefix,
        ),
        needing(
            compiler,
            "a_damaged_root_task_is_refused_before_qemu_starts",
            damaged,
        ),
        needing(
            compiler,
            "a_root_task_linked_where_it_cannot_go_is_refused",
            misplaced,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that needs the C compiler: without it the test is ignored, and the reason is printed.
fn needing(compiler: bool, name: &str, body: fn()) -> Trial {
    let trial = Trial::test(name, move || {
        body();
        Ok::<(), Failed>(())
    });
    if !compiler {
        eprintln!("ignored: {name}: there is no gcc");
    }
    trial.with_ignored_flag(!compiler)
}

/// A prefix that the build has written.
fn prefix_of(name: &str) -> PathBuf {
    // The linter may be run without an image; the tests cannot.
    const TARGET: Option<&str> = option_env!("UMBRA_TARGET_DIR");
    Path::new(TARGET.expect("the image was built")).join(name)
}

/// The prefix of the kernel with debug system calls.
fn prefix() -> PathBuf {
    prefix_of("sel4-prefix")
}

/// A program, in a folder that lives as long as it.
struct Program {
    _folder: TempDir,
    path: PathBuf,
}

fn compile(sources: &[&Path], flags: &[&str]) -> Program {
    match compiled(&prefix(), sources, flags) {
        Ok(program) => program,
        Err(said) => panic!("gcc refuses:\n{said}"),
    }
}

/// The program, or what the compiler says.
fn compiled(prefix: &Path, sources: &[&Path], flags: &[&str]) -> Result<Program, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("root.elf");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-m64"]);
    gcc.args(["-ffreestanding", "-fno-stack-protector", "-fno-pie"]);
    gcc.args(["-nostdlib", "-nostdinc", "-static", "-no-pie"]);
    gcc.arg("-Wl,-z,max-page-size=4096,-z,noexecstack,--build-id=none");
    gcc.arg("-I").arg(prefix.join("libsel4/include"));
    gcc.args(flags).args(sources).arg("-o").arg(&path);
    let done = gcc.output().expect("gcc starts");
    let program = Program {
        _folder: folder,
        path,
    };
    if done.status.success() {
        Ok(program)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

fn c_root(flags: &[&str]) -> Program {
    let sources = Path::new(SOURCES);
    let library = prefix().join("libsel4/src/sel4_bootinfo.c");
    let [main, start, threads] = ["main.c", "start.S", "threads.S"].map(|name| sources.join(name));
    compile(&[&main, &start, &threads, &library], flags)
}

fn boot(root_task: &Path, more: &[&str]) -> Run {
    let limit = LIMIT.as_secs().to_string();
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--timeout", &limit])
        .args(["--root-task", text(root_task)])
        .args(more);
    Session::spawn(command).finish(LIMIT * 2)
}

fn passes(program: &Program) {
    let mut run = boot(&program.path, &[]).ends_with(SUCCESS);
    for check in CHECKS {
        run = run.says(&format!("c-root {check} ok"));
    }
    run.says("root-task wrote 0 to the exit port");
}

fn c_root_task() {
    passes(&c_root(&["-O2"]));
}

fn unoptimised() {
    passes(&c_root(&["-O0"]));
}

/// A program that writes to the exit port, with something before and after.
fn exiting(prefix: &Path, before: &str, after: &str) -> Result<Program, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("main.c");
    let content =
        format!("{RELEASE_HEAD}{before}{RELEASE_END}{after}    for (;;) {{\n    }}\n}}\n");
    fs::write(&source, content).expect("written");
    let library = prefix.join("libsel4/src/sel4_bootinfo.c");
    let start = Path::new(SOURCES).join("start.S");
    compiled(prefix, &[&source, &start, &library], &["-O2"])
}

const DEBUG_CALL: &str = "    seL4_DebugPutChar('c');\n";

/// A debug call is an unknown system call there. The root task has no fault handler, so it stops: nothing comes.
fn release_kernel() {
    // The exit port is reached before the call in one program and behind it in the other.
    let program = |before: bool| {
        let (first, second) = if before {
            ("", DEBUG_CALL)
        } else {
            (DEBUG_CALL, "")
        };
        exiting(&prefix(), first, second).expect("gcc takes it")
    };
    let release = ["--build", "release"];
    boot(&program(true).path, &release)
        .ends_with(SUCCESS)
        .says("root-task wrote 0 to the exit port");
    let silent = program(false);
    boot(&silent.path, &[]).ends_with(SUCCESS);
    let late = ["--build", "release", "--timeout", "20"];
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--root-task", text(&silent.path)])
        .args(late);
    Session::spawn(command).finish(LIMIT).ends_with(124);
}

/// Its headers lack the debug calls, and its kernel is the one that lacks them.
fn release_prefix() {
    let prefix = prefix_of("sel4-prefix-release");
    let refused = exiting(&prefix, DEBUG_CALL, "").err().expect("refused");
    assert!(refused.contains("seL4_DebugPutChar"), "{refused}");
    let program = exiting(&prefix, "", "").expect("gcc takes it");
    boot(&program.path, &["--build", "release"]).ends_with(SUCCESS);
    let kernels = [prefix_of("sel4-prefix"), prefix]
        .map(|prefix| fs::read(prefix.join("bin/kernel.elf")).expect("a kernel"));
    assert_ne!(kernels[0], kernels[1]);
}

const RELEASE_HEAD: &str = "#include <sel4/sel4.h>

static struct {
    char below[64];
    void *self;
} __attribute__((aligned(64))) tls;

void c_main(seL4_BootInfo *info);

void c_main(seL4_BootInfo *info)
{
    tls.self = &tls.self;
    seL4_SetTLSBase((seL4_Word)&tls.self);
    seL4_SetIPCBuffer(info->ipcBuffer);
";

const RELEASE_END: &str = "    seL4_CPtr port = info->empty.start;
    (void)seL4_X86_IOPortControl_Issue(seL4_CapIOPortControl, 0xf4, 0xf4, seL4_CapInitThreadCNode, port, seL4_WordBits);
    (void)seL4_X86_IOPort_Out8(port, 0xf4, 0);
";

/// One line, and no QEMU.
fn refused(path: &Path, why: &str) {
    let run = boot(path, &[]).ends_with(BAD_INPUT);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    assert!(run.err.contains(why), "{}", run.err);
}

fn damaged() {
    let good = c_root(&["-O2"]);
    let bytes = fs::read(&good.path).expect("read");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bad.elf");
    let write = |bytes: &[u8]| fs::write(&path, bytes).expect("written");
    refused(&path, "there is no such file");
    write(b"no program at all");
    refused(&path, "is not an ELF file");
    write(&[]);
    refused(&path, "is not an ELF file");
    let mut narrow = bytes.clone();
    narrow[4] = 1;
    write(&narrow);
    refused(&path, "is a 32-bit program");
    let mut foreign = bytes.clone();
    foreign[18] = 183;
    write(&foreign);
    refused(&path, "is not for x86_64");
    write(&bytes[..bytes.len().min(0x1800)]);
    refused(&path, "outside the file");
    write(&bytes[..40]);
    refused(&path, "ends within its header");
}

fn misplaced() {
    refused(
        &c_root(&[
            "-O2",
            "-mcmodel=kernel",
            "-Wl,-Ttext-segment=0xffffffff80100000",
        ])
        .path,
        "where the kernel is",
    );
    refused(
        &c_root(&["-O2", "-Wl,-Ttext-segment=0"]).path,
        "where no program can be",
    );
    // The second program's array is larger than the initial CNode has slots for its pages.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("large.c");
    fs::write(
        &source,
        "char large[300 << 20];\nvoid _start(void);\nvoid _start(void)\n{\n    large[0] = 1;\n}\n",
    )
    .expect("written");
    refused(&compile(&[&source], &["-O2"]).path, "pages, more than");
}
