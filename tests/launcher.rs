//! The launcher without a machine: what it refuses, what it would start, and, with a stand-in for QEMU, how it ends a run.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use common::{Run, Session, UMBRA, text};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

const SYSTEM: &str = "[machine]\nmemory = \"512M\"\n\n[[vm]]\nname = \"main\"\nmemory = \"64M\"\nguest = \"hello\"\n";

/// Runs the launcher to its end, which is expected soon: it starts no machine.
fn umbra(arguments: &[&str]) -> Output {
    Command::new(UMBRA)
        .args(arguments)
        .output()
        .expect("the launcher starts")
}

/// The launcher refuses with one line and exit status 2; answers the line.
#[track_caller]
fn refusal(arguments: &[&str]) -> String {
    let output = umbra(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(
        output.status.code(),
        Some(2),
        "exit status for {arguments:?}\n{out}\n{err}"
    );
    assert_eq!(err.lines().count(), 1, "one line for {arguments:?}\n{err}");
    assert_eq!(out, "", "nothing else for {arguments:?}");
    err.trim_end().to_owned()
}

/// A folder with a file `system.toml`.
fn system(content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("system.toml");
    fs::write(&path, content).expect("written");
    (folder, path)
}

/// A file with some bytes.
fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn bad_descriptions_are_refused_with_file_line_and_remedy() {
    for (old, new, expected) in [
        (
            "guest =",
            "gest =",
            "system.toml:7: unknown key `gest`: known here: ",
        ),
        (
            "64M",
            "600M",
            "system.toml:6: more memory than the machine has",
        ),
        (
            "guest",
            "policy = \"fast\"\nguest",
            "system.toml:7: policy `fast` is not known: use vtlb",
        ),
        ("\"main\"", "main", "system.toml:5: "),
    ] {
        let (_folder, path) = system(&SYSTEM.replace(old, new));
        let line = refusal(&["--system", text(&path), "--dry-run"]);
        assert!(line.contains(expected), "{line}");
    }
    let (_folder, path) = system(&format!(
        "{SYSTEM}[[vm]]\nname = \"main\"\nmemory = \"2M\"\n"
    ));
    let line = refusal(&["--system", text(&path), "--dry-run"]);
    assert!(
        line.contains("system.toml:9: two VMs have the name `main`"),
        "{line}"
    );
}

#[test]
fn overlapping_memory_is_refused() {
    let (folder, path) = system(&format!(
        "{SYSTEM}load = [{{ file = \"extra\", at = \"1M\" }}]\n"
    ));
    file(&folder, "extra", &[0; 4096]);
    let line = refusal(&["--system", text(&path), "--dry-run"]);
    assert!(line.contains("system.toml:8: overlapping memory"), "{line}");
}

#[test]
fn a_missing_description_is_refused() {
    assert!(refusal(&["--system", "/nowhere/system.toml"]).contains("there is no such file"));
}

#[test]
fn bad_guest_files_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing");
    assert!(refusal(&["--kernel", text(&missing)]).contains("there is no such file"));
    assert!(refusal(&["--kernel", text(folder.path())]).contains("is a folder"));
    let junk = file(&folder, "junk", &[0x42; 100_000]);
    assert!(refusal(&["--kernel", text(&junk)]).contains("no known guest format"));
    let empty = file(&folder, "empty", b"");
    assert!(refusal(&["--kernel", text(&empty)]).contains("empty"));
    let packed = file(&folder, "kernel.gz", b"\x1f\x8b\x08\0");
    assert!(refusal(&["--kernel", text(&packed)]).contains("unpack it with gunzip"));
}

/// An ELF64 program of one page at 1 MiB, whose note names its first byte as PVH entry.
fn pvh() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x10_0000_u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64_u16, 56, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for (kind, at, length) in [(1_u32, 0x10_0000_u64, 24_u64), (4, 0, 20)] {
        file.extend(kind.to_le_bytes());
        file.extend(5_u32.to_le_bytes());
        for word in [176, at, at, length, length, 4] {
            file.extend(word.to_le_bytes());
        }
    }
    for word in [4_u32, 4, 18] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"Xen\0");
    file.extend(0x10_0000_u32.to_le_bytes());
    file.extend([0; 4]);
    file
}

#[test]
fn a_pvh_program_is_packed_with_modules_and_command_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kernel = file(&folder, "kernel", &pvh());
    let module = file(&folder, "module", b"data");
    let arguments = [
        "--kernel",
        text(&kernel),
        "--initrd",
        text(&module),
        "--initrd",
        text(&module),
        "--append",
        "a b",
        "--dry-run",
    ];
    let output = umbra(&arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A program with a multiboot header that loads all of the file at 1 MiB and needs memory up to `end`.
fn multiboot(end: u32) -> Vec<u8> {
    let (magic, flags) = (0x1bad_b002_u32, 1 << 16);
    let start = 0x10_0000;
    let fields = [
        magic,
        flags,
        0_u32.wrapping_sub(magic + flags),
        start,
        start,
        start + 4096,
        end,
        start + 32,
    ];
    let mut bytes: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect();
    bytes.resize(4096, 0xf4);
    bytes
}

#[test]
fn a_truncated_guest_or_one_larger_than_memory_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = multiboot(0x20_0000);
    let good = file(&folder, "good", &whole);
    assert!(
        umbra(&["--kernel", text(&good), "--dry-run"])
            .status
            .success()
    );
    let short = file(&folder, "short", &whole[..2000]);
    assert!(refusal(&["--kernel", text(&short)]).contains("truncated"));
    let large = file(&folder, "large", &multiboot(0x2000_0000));
    let line = refusal(&["--kernel", text(&large)]);
    assert!(
        line.contains(
            "does not fit into guest memory of 256M: give the guest more, from --memory 512M"
        ),
        "{line}"
    );
    let fits = umbra(&["--kernel", text(&large), "--memory", "600M", "--dry-run"]);
    assert!(fits.status.success(), "the machine grows with the guest");
}

/// A root task of one segment with this many bytes of memory, linked and entered at `at`.
fn root_task(at: u64, memory: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [at, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for word in [120, at, at, 2, memory, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0xeb, 0xfe]);
    file
}

#[test]
fn bad_root_tasks_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = root_task(0x40_0000, 4096);
    let path = file(&folder, "good", &good);
    let output = umbra(&["--root-task", text(&path), "--dry-run"]);
    assert!(output.status.success());
    let change = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    for (bytes, why) in [
        (Vec::new(), "is not an ELF file"),
        (b"#!/bin/sh\n".to_vec(), "is not an ELF file"),
        (good[..40].to_vec(), "ends within its header"),
        (good[..100].to_vec(), "program headers outside the file"),
        (good[..121].to_vec(), "segment outside the file"),
        (change(4, 1), "is a 32-bit program"),
        (change(18, 183), "is not for x86_64"),
        (change(16, 3), "has no fixed addresses"),
        (root_task(0, 4096), "where no program can be"),
        (
            root_task(0xffff_ffff_8010_0000, 4096),
            "where the kernel is",
        ),
        (root_task(0x40_0000, 300 << 20), "pages, more than"),
        (root_task(0x40_0000, u64::MAX), "where no program can be"),
    ] {
        let path = file(&folder, "bad", &bytes);
        let line = refusal(&["run", "--root-task", text(&path)]);
        assert!(line.contains(why), "{why}: {line}");
    }
    let missing = folder.path().join("missing");
    assert!(refusal(&["--root-task", text(&missing)]).contains("there is no such file"));
    assert!(refusal(&["--root-task", text(folder.path())]).contains("is a folder"));
    assert!(refusal(&["--root-task", "/dev/zero"]).contains("is a device"));
    let endless = folder.path().join("endless");
    let made = fs::File::create(&endless).and_then(|made| made.set_len(5 << 30));
    made.expect("a file with a hole");
    assert!(refusal(&["--root-task", text(&endless)]).contains("is larger than 4 GiB"));
    refusal(&["--build", "release"]);
    refusal(&["--root-task", text(&path), "--build", "fast"]);
    refusal(&["--root-task", text(&path), "--guest", "hello"]);
    for guests in [
        ["--append", "x"],
        ["--paging", "nested"],
        ["--shadow", "64"],
    ] {
        refusal(&[&["--root-task", text(&path)], &guests[..]].concat());
    }
}

#[test]
fn every_other_command_refuses_what_it_cannot_do_in_one_line() {
    for arguments in [
        &["soak", "--minutes", "0"][..],
        &["soak", "--runs", "many"],
        &["soak", "--runs", "1", "--minutes", "1"],
        &["soak", "--steps", "0"],
        &["bench"],
        &["bench", "everything"],
        &["bench", "ipc", "--timeout", "0"],
        &["loc", "more"],
        &["--guest", "hello", "soak"],
        &["--append"],
        &["--timeout", "-1"],
        &["--icount", "--accel", "tcg"],
        &["--memory", "\u{feff}64M"],
        &["--guest", "a\nb"],
        &["--guest", ""],
        &["--kernel", ""],
        &["--system", ""],
    ] {
        refusal(arguments);
    }
}

#[test]
fn a_root_task_has_three_gib_unless_told_otherwise() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = file(&folder, "root.elf", &pvh());
    let command = |more: &[&str]| {
        let arguments = ["--root-task", text(&program), "--dry-run"];
        let output = umbra(&[&arguments, more].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(command(&[]).contains(" -m 3072M "));
    assert!(command(&["--memory", "512M"]).contains(" -m 512M "));
    // What it needs it gets.
    let small = command(&["--memory", "2M"]);
    assert!(small.contains(" -m 65M "), "{small}");
    let line = refusal(&["--root-task", text(&program), "--memory", "3M"]);
    assert!(line.contains("no multiple of 2M"), "{line}");
}

#[test]
fn bad_options_are_refused() {
    for arguments in [
        &["--memory", "lots"][..],
        &["--memory", "3M", "--dry-run"],
        &["--memory", "1T", "--dry-run"],
        &["--policy", "none"],
        &["--timeout", "0"],
        &["--guest", "hello", "--kernel", "x"],
        &["--guest", "nobody"],
        &["--guest", "../kernel"],
        &["--nonsense"],
        &["fly"],
    ] {
        refusal(arguments);
    }
}

#[test]
fn paging_shadow_and_oracle_are_checked_together() {
    let lines = [
        (&["--paging", "soft"][..], "possible values: shadow, nested"),
        (&["--shadow", "36"], "give it 37 to"),
        (&["--oracle", "--paging", "nested"], "use --paging shadow"),
        (
            &["--paging", "nested", "--cpu", "qemu64"],
            "--cpu qemu64: has no nested paging: use --cpu max, or --paging shadow",
        ),
        (
            &["--paging", "nested", "--cpu", "max,npt=off"],
            "has no nested paging",
        ),
    ];
    for (arguments, expected) in lines {
        let line = refusal(&[arguments, &["--guest", "hello", "--dry-run"]].concat());
        assert!(line.contains(expected), "{line}");
    }
}

/// What a dry run with these arguments would start.
#[track_caller]
fn dry_run(arguments: &[&str]) -> String {
    let output = umbra(&[&["run", "--guest", "hello", "--dry-run"], arguments].concat());
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}\n{err}");
    out.into_owned()
}

#[test]
fn nested_paging_gets_a_processor_that_has_it() {
    assert!(dry_run(&["--paging", "nested"]).contains(" -cpu max,+svm "));
    assert!(dry_run(&["--paging", "nested", "--cpu", "EPYC"]).contains(" -cpu EPYC,+svm "));
    assert!(dry_run(&["--paging", "shadow"]).contains(" -cpu qemu64,+svm "));
    let nested = SYSTEM.replace("guest =", "paging = \"nested\"\nguest =");
    let (_folder, path) = system(&nested);
    assert!(dry_run(&["--system", text(&path)]).contains(" -cpu max,+svm "));
    assert!(
        dry_run(&[
            "--system",
            text(&path),
            "--paging",
            "shadow",
            "--cpu",
            "qemu64"
        ])
        .contains("qemu64")
    );
}

#[test]
fn the_oracle_and_a_small_shadow_are_packed() {
    dry_run(&["--oracle"]);
    dry_run(&["--shadow", "37"]);
    dry_run(&["--shadow", "1M", "--policy", "vtlb"]);
}

#[test]
fn what_this_host_cannot_accelerate_is_refused_in_one_line() {
    let nested = fs::read_to_string("/sys/module/kvm_amd/parameters/nested");
    let can = nested.is_ok_and(|nested| ["1", "Y"].contains(&nested.trim()))
        && Path::new("/dev/kvm").exists();
    if !can {
        assert!(refusal(&["--accel", "kvm", "--guest", "hello"]).contains("use --accel tcg"));
    }
}

#[test]
fn a_dry_run_prints_the_command_and_starts_nothing() {
    let output = umbra(&[
        "run",
        "--dry-run",
        "--guest",
        "hello",
        "--memory",
        "1G",
        "--icount",
        "--cpu",
        "max",
    ]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert_eq!(out.lines().count(), 1);
    for part in [
        "qemu-system-x86_64 ",
        " -icount shift=0,sleep=off -rtc base=2026-01-01T00:00:00,clock=vm",
        " -cpu max,+svm,-rdrand,-rdseed",
        " -machine pc,accel=tcg",
    ] {
        assert!(out.contains(part), "`{part}` is missing: {out}");
    }
}

#[test]
fn help_names_every_option_and_the_exit_statuses() {
    let output = umbra(&["run", "--help"]);
    let out = String::from_utf8_lossy(&output.stdout);
    for word in [
        "--guest",
        "--kernel",
        "--initrd",
        "--append",
        "--memory",
        "--policy",
        "--paging",
        "--shadow",
        "--oracle",
        "--accel",
        "--cpu",
        "--icount",
        "--timeout",
        "--stats",
        "--quiet",
        "--dry-run",
        "--system",
        "124",
        "Ctrl-A x",
    ] {
        assert!(out.contains(word), "{word} is missing");
    }
}

#[test]
fn loc_names_the_packages_and_what_they_are_trusted_with() {
    let output = umbra(&["loc"]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for word in [
        "kernel",
        "mmu-server",
        "unsafe",
        "the whole machine",
        "the memory of its own VM",
    ] {
        assert!(out.contains(word), "{word} is missing: {out}");
    }
}

/// Runs the launcher with a shell script in QEMU's place: its stdout is the guest's console, its stderr the log.
struct Stand {
    folder: TempDir,
}

impl Stand {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = file(
            &folder,
            "qemu-system-x86_64",
            format!("#!/bin/sh\n{script}\n").as_bytes(),
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        Self { folder }
    }

    fn start(&self, arguments: &[&str]) -> Session {
        self.start_with(&[&["--guest", "hello"], arguments].concat())
    }

    fn start_with(&self, arguments: &[&str]) -> Session {
        let path = format!(
            "{}:{}",
            self.folder.path().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut command = Command::new(UMBRA);
        command.env("PATH", path).arg("run").args(arguments);
        Session::spawn(command)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).finish(SOON)
    }
}

const END: &str = "echo 'umbra-end vm=main reason=exit-port value=16 status=33' >&2";

#[test]
fn the_verdict_on_the_log_is_the_exit_status() {
    for (line, status, sentence) in [
        (
            "reason=halted value=0 status=0",
            0,
            "umbra: main powered off (exit status 0)",
        ),
        (
            "reason=exit-port value=16 status=33",
            33,
            "main wrote 16 to the exit port",
        ),
        (
            "reason=triple-fault value=0 status=4",
            4,
            "main stopped: triple fault",
        ),
        (
            "reason=domain-failed value=0 status=12",
            12,
            "main stopped: one of its domains failed",
        ),
    ] {
        let stand = Stand::new(&format!("echo 'umbra-end vm=main {line}' >&2; exit 7"));
        stand.run(&["--quiet"]).ends_with(status).says(sentence);
    }
}

#[test]
fn quiet_leaves_the_console_alone_on_stdout() {
    let stand = Stand::new(&format!("echo line; echo log >&2; {END}"));
    let run = stand.run(&["--quiet"]).ends_with(33);
    assert_eq!(run.out, "line\n");
    assert!(run.err.starts_with("log\n"));
    let run = stand.run(&[]).ends_with(33);
    assert!(
        run.out.contains("line\n")
            && run.out.contains("log\n")
            && run.out.contains("exit status 33")
    );
    assert_eq!(run.err, "");
}

#[test]
fn the_time_limit_ends_the_run() {
    let stand = Stand::new("echo started; exec sleep 1000");
    stand
        .run(&["--quiet", "--timeout", "1"])
        .ends_with(124)
        .shows("started")
        .says("as --timeout says");
}

#[test]
fn a_kernel_panic_ends_the_run() {
    let stand = Stand::new("echo 'umbra-panic no memory at x.rs:1' >&2; exec sleep 1000");
    stand
        .run(&["--quiet"])
        .ends_with(18)
        .says("the kernel stopped: no memory at x.rs:1");
}

#[test]
fn a_finding_of_the_oracle_ends_the_run() {
    let finding = "echo 'umbra-finding vm=main permission 0x1000' >&2";
    for script in [
        format!("{finding}; exec sleep 1000"),
        format!("{finding}; {END}"),
    ] {
        Stand::new(&script)
            .run(&["--quiet"])
            .ends_with(12)
            .says("the oracle objects to main: permission 0x1000 (exit status 12)");
    }
}

#[test]
fn a_machine_that_ends_without_a_verdict_is_a_failure() {
    let stand = Stand::new("echo 'qemu: no such machine' >&2; exit 1");
    stand
        .run(&["--quiet"])
        .ends_with(20)
        .says("its last line: qemu: no such machine");
}

/// QEMU that fails ends with an odd status, as after a write to the exit port. It is no success of the root task.
#[test]
fn a_machine_that_does_not_start_is_no_verdict_of_a_root_task() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = file(&folder, "root.elf", &root_task(0x40_0000, 4096));
    let run = |script: &str| {
        let stand = Stand::new(script);
        let session = stand.start_with(&["--quiet", "--root-task", text(&path)]);
        session.finish(SOON)
    };
    let failed = "echo 'qemu-system-x86_64: -cpu none: unable to find CPU model' >&2; exit 1";
    run(failed).ends_with(20).says("unable to find CPU model");
    // The loader of programs has statuses of its own.
    run("echo 'error while loading shared libraries' >&2; exit 127").ends_with(20);
    run("exit 1").ends_with(20);
    let begun = "echo 'umbra kernel 0.1.0' >&2";
    run(&format!("{begun}; {failed}")).ends_with(20);
    run(&format!("{begun}; exit 33"))
        .ends_with(33)
        .says("root-task wrote 16 to the exit port");
    run(&format!("{begun}; exit 2")).ends_with(20);
}

#[test]
fn a_root_task_that_halts_the_machine_ends_the_run_and_a_guest_that_says_so_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = file(&folder, "root.elf", &root_task(0x40_0000, 4096));
    // What the thread printed last may have had no end.
    let halted = "printf 'umbra kernel 0.1.0\\ndone\\nhalted by a thread\\n' >&2";
    let script = format!("{halted}; exec sleep 1000");
    let stand = Stand::new(&script);
    let session = stand.start_with(&["--quiet", "--root-task", text(&path)]);
    session
        .finish(SOON)
        .ends_with(0)
        .says("root-task powered off");
    Stand::new(&format!("{halted}; {END}"))
        .run(&["--quiet"])
        .ends_with(33);
}

#[test]
fn a_machine_that_does_not_end_after_its_vm_is_ended() {
    let stand = Stand::new(&format!("{END}; exec sleep 1000"));
    stand.run(&["--quiet"]).ends_with(33);
}

#[test]
fn a_missing_qemu_is_named_with_the_remedy() {
    let mut command = Command::new(UMBRA);
    command
        .env("PATH", "/nowhere")
        .args(["run", "--guest", "hello"]);
    Session::spawn(command)
        .finish(SOON)
        .ends_with(20)
        .says("qemu-system-x86_64 is not installed: run ./setup");
}

#[test]
fn what_is_typed_reaches_the_guest_whole() {
    let stand = Stand::new(&format!("head -c 300001 | wc -c; {END}"));
    let mut session = stand.start(&["--quiet"]);
    session.send(&"x".repeat(300_000));
    session.send("\x01x");
    session.finish(SOON).ends_with(33).shows("300001");
}

/// Whether a process with this id is alive, that is, neither gone nor waiting to be collected.
fn lives(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn no_machine_outlives_the_launcher() {
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("KILL", -1)] {
        let stand = Stand::new("echo pid=$$.; exec sleep 1000");
        let mut session = stand.start(&["--quiet"]);
        session.expect(".", SOON);
        session.signal(signal);
        let run = session.finish(SOON).ends_with(status);
        let id = run
            .out
            .trim()
            .trim_start_matches("pid=")
            .trim_end_matches('.')
            .to_owned();
        let gone = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !lives(&id)
        });
        assert!(gone, "QEMU {id} lives on after SIG{signal}");
    }
}

#[test]
fn counters_are_written_for_each_vm() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("s.json");
    let stand = Stand::new(&format!(
        "echo 'umbra-stats {{\"vm\":\"main\",\"fills\":3}}' >&2; {END}"
    ));
    stand
        .run(&["--quiet", "--stats", text(&path)])
        .ends_with(33);
    let written: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("written")).expect("JSON");
    assert_eq!(
        written,
        serde_json::json!({
            "end": "exit-port",
            "status": 33,
            "vms": { "main": { "fills": 3, "reason": "exit-port", "value": 16, "status": 33 } }
        })
    );
}

#[test]
fn a_failed_domain_is_named() {
    let script = "echo 'umbra-fail domain=main-mmu cause=page-fault address=0x10' >&2
                  echo 'umbra-end vm=main reason=domain-failed value=0 status=12' >&2";
    let stand = Stand::new(script);
    stand
        .run(&["--quiet"])
        .ends_with(12)
        .says("domain main-mmu failed: page-fault at 0x10");
    let stand = Stand::new(
        "echo 'umbra-fail domain=drivers cause=page-fault address=0x10' >&2; exec sleep 1000",
    );
    stand
        .run(&["--quiet"])
        .ends_with(12)
        .says("domain drivers failed");
}
