//! The booted system with real guests, one machine at a time.
//!
//! What cannot run here (no Linux kernel at hand, no compiler for the benchmark) is listed as ignored, with the reason;
//! everything else must pass. Time limits are generous: a software CPU on a shared machine is slow at times.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{Run, Session, UMBRA, text};
use libtest_mimic::{Arguments, Failed, Trial};

/// For a guest that is done in seconds.
const SHORT: Duration = Duration::from_secs(300);
/// For Linux to reach its shell.
const LONG: Duration = Duration::from_secs(900);
/// Exit status of a guest that wrote 0 to the exit port.
const SUCCESS: i32 = 1;
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine at a time, whatever the number of processors.
    arguments.test_threads = Some(1);
    let mut trials = Vec::new();
    guests(&mut trials);
    architecture(&mut trials);
    processors(&mut trials);
    misbehaviour(&mut trials);
    benchmark(&mut trials);
    linux(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn test(name: &str, body: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body();
        Ok::<(), Failed>(())
    })
}

/// A test that needs something: without it the test is ignored, and the reason is printed.
fn needing(missing: Option<&str>, trial: Trial) -> Trial {
    match missing {
        None => trial,
        Some(reason) => {
            eprintln!("ignored: {}: {reason}", trial.name());
            trial.with_ignored_flag(true)
        }
    }
}

/// Starts the launcher with console and log apart.
fn start(arguments: &[&str]) -> Session {
    let mut command = Command::new(UMBRA);
    command.args(["run", "--quiet"]).args(arguments);
    Session::spawn(command)
}

/// Runs a guest that ends by itself.
fn run(arguments: &[&str]) -> Run {
    let limit = SHORT.as_secs().to_string();
    start(&[arguments, &["--timeout", &limit]].concat()).finish(SHORT * 2)
}

/// Our guests, when all is well.
fn guests(trials: &mut Vec<Trial>) {
    trials.push(test("hello_says_hello", || {
        run(&["--guest", "hello"])
            .ends_with(SUCCESS)
            .shows("hello from a guest");
    }));
    trials.push(test("paging_finds_every_rule_kept", || {
        run(&["--guest", "paging"])
            .ends_with(SUCCESS)
            .shows("checks passed");
    }));
    trials.push(test(
        "paging_finds_every_rule_kept_with_a_fresh_tag_per_flush",
        || {
            let system = system(&[
                "name = \"main\"\nmemory = \"256M\"\nflush = \"tag\"\nguest = \"paging\"",
            ]);
            run(&["--system", text(&system.path().join("system.toml"))])
                .ends_with(SUCCESS)
                .shows("checks passed");
        },
    ));
    trials.push(test(
        "paging_finds_every_rule_kept_with_the_smallest_shadow_pool",
        || {
            let system = system(&[
                "name = \"main\"\nmemory = \"256M\"\nshadow = \"256K\"\nguest = \"paging\"",
            ]);
            run(&["--system", text(&system.path().join("system.toml"))])
                .ends_with(SUCCESS)
                .shows("checks passed");
        },
    ));
    trials.push(test("two_vms_run_side_by_side", || {
        let system = system(&[
            "name = \"one\"\nmemory = \"64M\"\nconsole = true\nguest = \"hello\"",
            "name = \"two\"\nmemory = \"256M\"\nguest = \"paging\"",
        ]);
        run(&["--system", text(&system.path().join("system.toml"))])
            .ends_with(SUCCESS)
            .shows("hello from a guest")
            .says("one wrote 0 to the exit port")
            .says("two wrote 0 to the exit port");
    }));
    trials.push(test(
        "counters_of_a_deterministic_run_are_the_same_twice",
        || {
            let (first, second) = (
                counters(&["--guest", "hello"]),
                counters(&["--guest", "hello"]),
            );
            assert_eq!(first, second);
            assert!(first.contains("\"main\""), "{first}");
        },
    ));
}

/// Nested paging, and a processor that has it.
const NESTED: &[&str] = &["--paging", "nested", "--cpu", "max"];

/// The machines that guests check the architecture on: shadow paging with and without SMEP and SMAP, and nested paging.
const MACHINES: &[(&str, &[&str])] = &[
    ("", &[]),
    ("_with_smap", &["--cpu", "max,npt=off"]),
    ("_with_nested_paging", NESTED),
];

/// The words by which the guest `modes` knows the CPU's modes, each by itself with every switch into and out of it.
const MODES: [(&str, &str); 8] = [
    ("real", "real_mode"),
    ("protected", "protected_mode_without_paging"),
    ("two-level", "two_level_paging_without_pse"),
    ("two-level-pse", "two_level_paging_with_pse"),
    ("pse36", "two_level_paging_with_pse36"),
    ("pae", "pae_paging"),
    ("four-level", "four_level_paging"),
    ("compatibility", "compatibility_mode"),
];

/// Guests that check the architecture from inside, and what to give them. QEMU's software CPU walks the tables itself under
/// nested paging; `tcg-walks` tells the guest where that CPU departs from hardware.
fn architecture(trials: &mut Vec<Trial>) {
    for (guest, name) in [
        ("modes", "every_mode_and_switch_is_right"),
        ("permissions", "every_combination_of_rights_is_right"),
        ("killers", "nothing_known_to_break_shadow_tables_does"),
        ("platform", "the_devices_are_those_of_a_pc"),
    ] {
        for &(suffix, machine) in MACHINES {
            let words = if machine.contains(&"nested") {
                "tcg-walks"
            } else {
                ""
            };
            trials.push(test(&format!("{name}{suffix}"), move || {
                run(&[machine, &["--guest", guest, "--append", words]].concat())
                    .ends_with(SUCCESS)
                    .shows(&format!("{guest}: all "));
            }));
        }
    }
    for (word, name) in MODES {
        trials.push(test(&format!("{name}_is_right"), move || {
            run(&["--guest", "modes", "--append", word])
                .ends_with(SUCCESS)
                .shows(&format!("modes: {word} among "))
                .shows("modes: all ");
        }));
    }
    trials.push(test(
        "paging_finds_every_rule_kept_with_two_levels_and_smap",
        || {
            run(&[
                "--guest",
                "paging",
                "--append",
                "two-level",
                "--cpu",
                "max,npt=off",
            ])
            .ends_with(SUCCESS)
            .shows("checks passed");
        },
    ));
    trials.push(test(
        "paging_finds_every_rule_kept_by_nested_paging",
        || {
            let guest = ["--guest", "paging", "--append", "two-level tcg-walks"];
            run(&[NESTED, &guest].concat())
                .ends_with(SUCCESS)
                .shows("checks passed");
        },
    ));
    trials.push(test("a_root_in_a_device_hole_is_a_triple_fault", || {
        run(&["--guest", "killers", "--append", "cr3-hole"])
            .ends_with(4)
            .shows("a triple fault follows")
            .says("triple fault");
    }));
    trials.push(test("killers_pass_with_the_smallest_shadow_pool", || {
        let system = system(&[&format!(
            "name = \"main\"\nmemory = \"256M\"\nshadow = {}\nguest = \"killers\"",
            protocol::mmu::MIN_POOL_PAGES
        )]);
        run(&["--system", text(&system.path().join("system.toml"))])
            .ends_with(SUCCESS)
            .shows("killers: worst-instruction");
    }));
    trials.push(test("two_level_guests_use_1_gib", || {
        run(&[
            "--guest",
            "killers",
            "--append",
            "two-level-memory",
            "--memory",
            "1G",
        ])
        .ends_with(SUCCESS)
        .shows("killers: two-level-memory");
    }));
    for guest in ["paging", "modes", "killers"] {
        trials.push(test(
            &format!("the_oracle_finds_nothing_in_{guest}"),
            move || {
                run(&["--guest", guest, "--oracle"])
                    .ends_with(SUCCESS)
                    .shows(&format!("{guest}: all "));
            },
        ));
    }
}

/// Any processor with SVM will do; one without gives one clear line.
fn processors(trials: &mut Vec<Trial>) {
    for cpu in ["max", "max,npt=off", "EPYC", "phenom", "kvm64"] {
        let name = cpu.replace([',', '='], "_").to_lowercase();
        trials.push(test(&format!("hello_says_hello_on_{name}"), move || {
            run(&["--guest", "hello", "--cpu", cpu])
                .ends_with(SUCCESS)
                .shows("hello from a guest");
        }));
    }
    trials.push(test("hello_says_hello_under_nested_paging", || {
        run(&[NESTED, &["--guest", "hello"]].concat())
            .ends_with(SUCCESS)
            .shows("hello from a guest");
    }));
    trials.push(test("a_processor_without_svm_gives_one_line", || {
        run(&["--guest", "hello", "--cpu", "kvm64,-svm"])
            .ends_with(18)
            .says("this CPU has no AMD SVM");
    }));
}

/// A folder with a `system.toml` of these VMs.
fn system(vms: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let vms: String = vms.iter().map(|vm| format!("\n[[vm]]\n{vm}\n")).collect();
    let content = format!("[machine]\nmemory = \"1G\"\n{vms}");
    fs::write(folder.path().join("system.toml"), content).expect("written");
    folder
}

/// The counters that a deterministic run writes.
fn counters(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("stats.json");
    let limit = LONG.as_secs().to_string();
    let common = ["--icount", "--timeout", &limit, "--stats", text(&path)];
    let run = start(&[arguments, &common].concat()).finish(LONG * 2);
    assert!(run.status < 2, "a good end\n{run:?}");
    fs::read_to_string(&path).expect("counters are written")
}

/// The guest `misbehave`: what hardware does must happen, and the rest of the system go on.
fn misbehaviour(trials: &mut Vec<Trial>) {
    for mode in [
        "bad-msr",
        "bad-port",
        "breakpoint",
        "cr-garbage",
        "cr3-reserved",
        "debug-trap",
        "fpu",
        "irq-tick",
        "jump-nowhere",
        "linux-like-calibrate",
        "read-nowhere",
        "real-mode",
        "resume-flag",
        "string-io",
        "svm-insn",
    ] {
        trials.push(test(
            &format!("misbehave_{}_gets_what_hardware_gives", underscored(mode)),
            move || {
                run(&["--guest", "misbehave", "--append", mode])
                    .ends_with(SUCCESS)
                    .shows(&format!("misbehave {mode}: done"));
            },
        ));
    }
    for mode in ["triple-fault", "idt-gone", "cr3-outside"] {
        trials.push(test(
            &format!("misbehave_{}_is_a_triple_fault", underscored(mode)),
            move || {
                run(&["--guest", "misbehave", "--append", mode])
                    .ends_with(4)
                    .says("triple fault");
            },
        ));
    }
    trials.push(test("a_halt_with_interrupts_off_powers_off", || {
        run(&["--guest", "misbehave", "--append", "hlt-off"])
            .ends_with(0)
            .says("main powered off");
    }));
    trials.push(test(
        "an_endless_loop_with_interrupts_off_is_ended_by_the_time_limit",
        || {
            let arguments = [
                "--guest",
                "misbehave",
                "--append",
                "spin",
                "--timeout",
                "20",
            ];
            start(&arguments)
                .finish(SHORT)
                .ends_with(124)
                .shows("looping");
        },
    ));
    trials.push(test(
        "an_endless_loop_with_interrupts_off_leaves_the_other_vm_its_time",
        || {
            let system = system(&[
                "name = \"good\"\nmemory = \"256M\"\nconsole = true\nguest = \"paging\"",
                "name = \"bad\"\nmemory = \"64M\"\nguest = \"misbehave\"\nappend = \"spin\"",
            ]);
            let mut session = start(&["--system", text(&system.path().join("system.toml"))]);
            session.expect("checks passed", SHORT);
            session.expect_said("good wrote 0 to the exit port", SHORT);
            session.signal("TERM");
            session.finish(SHORT).ends_with(143);
        },
    ));
    trials.push(test("a_triple_fault_leaves_the_other_vm_alone", || {
        let system = system(&[
            "name = \"good\"\nmemory = \"256M\"\nconsole = true\nguest = \"paging\"",
            "name = \"bad\"\nmemory = \"64M\"\nguest = \"misbehave\"\nappend = \"triple-fault\"",
        ]);
        run(&["--system", text(&system.path().join("system.toml"))])
            .ends_with(SUCCESS)
            .shows("checks passed")
            .says("bad stopped: triple fault");
    }));
}

fn underscored(mode: &str) -> String {
    mode.replace('-', "_")
}

/// The benchmark that the baseline in KVM was measured with.
fn benchmark(trials: &mut Vec<Trial>) {
    let source = Path::new(ROOT).join("../shared/bench/payload/build.sh");
    let compiler = Command::new("gcc").arg("--version").output().is_ok();
    let missing = match (source.is_file(), compiler) {
        (false, _) => Some("no ../shared/bench/payload"),
        (true, false) => Some("no gcc"),
        (true, true) => None,
    };
    let trial = test("the_benchmark_payload_completes", move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let built = Command::new("sh")
            .arg(&source)
            .arg(folder.path())
            .output()
            .expect("sh starts");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let payload: PathBuf = folder.path().join("payload.elf");
        run(&["--kernel", text(&payload)])
            .ends_with(SUCCESS)
            .shows("PAYLOAD core end")
            .shows("PAYLOAD end");
    });
    trials.push(needing(missing, trial));
}

const PROMPT: &str = "/root # ";

/// Debian's kernel with our initramfs.
fn linux(trials: &mut Vec<Trial>) {
    let kernel = Path::new(ROOT).join("guests/linux/cache/vmlinuz");
    let missing = (!kernel.is_file()).then_some("no Linux kernel: run ./setup");
    trials.push(needing(
        missing,
        test("linux_boots_to_a_shell_that_works_and_powers_off", || {
            shell("256M")
        }),
    ));
    trials.push(needing(
        missing,
        test("linux_boots_with_the_oracle_watching", || {
            briefly_with(&["--memory", "128M", "--oracle"])
        }),
    ));
    trials.push(needing(
        missing,
        test("linux_boots_with_128_mib", || briefly("128M")),
    ));
    trials.push(needing(
        missing,
        test("linux_boots_with_the_smallest_shadow", || {
            briefly_with(&["--memory", "128M", "--shadow", "37"])
        }),
    ));
    trials.push(needing(
        missing,
        test("linux_boots_under_nested_paging", || {
            briefly_with(&[NESTED, &["--memory", "128M"]].concat())
        }),
    ));
    trials.push(needing(
        missing,
        test("linux_boots_with_1_gib", || briefly("1G")),
    ));
    trials.push(needing(
        missing,
        test("linux_counts_the_same_twice_in_deterministic_runs", || {
            let once = || counters(&["--guest", "linux", "--append", "quiet run=true"]);
            assert_eq!(once(), once());
        }),
    ));
}

/// A session as a user would have it.
fn shell(memory: &str) {
    let limit = (LONG * 2).as_secs().to_string();
    let mut session = start(&["--guest", "linux", "--memory", memory, "--timeout", &limit]);
    session.expect("Linux version ", LONG);
    session.expect(PROMPT, LONG);
    for (command, expected) in [
        ("cat /proc/cpuinfo", "AuthenticAMD"),
        ("ls -d /bin/busybox", "\n/bin/busybox"),
        ("ps", "init"),
        // The shell computes the answer: what is typed and echoed does not contain it.
        ("echo sum=$((1200 + 34))", "sum=1234"),
        ("sleep 1; echo slept=$((1 + 1))", "slept=2"),
        ("sleep 100 & jobs; kill %1", "Running"),
    ] {
        session.send(&format!("{command}\n"));
        session.expect(expected, SHORT);
        session.expect(PROMPT, SHORT);
    }
    long_lines(&mut session);
    session.send("poweroff\n");
    session.finish(SHORT).ends_with(0).says("main powered off");
}

/// Lines longer than any FIFO arrive whole.
fn long_lines(session: &mut Session) {
    for length in [100, 500, 900] {
        let long: String = ('a'..='z').cycle().take(length).collect();
        session.send(&format!(
            "x={long}; echo length=${{#x}}=$((0 + {length}))\n"
        ));
        session.expect(&format!("length={length}={length}"), SHORT);
        session.expect(PROMPT, SHORT);
    }
}

/// Boot, one command, power off.
fn briefly(memory: &str) {
    briefly_with(&["--memory", memory]);
}

fn briefly_with(arguments: &[&str]) {
    let limit = (LONG * 2).as_secs().to_string();
    let common = ["--guest", "linux", "--timeout", &limit];
    let mut session = start(&[&common, arguments].concat());
    session.expect(PROMPT, LONG);
    session.send("echo free=$((10 * 10)); cat /proc/meminfo\n");
    session.expect("free=100", SHORT);
    session.expect("MemTotal", SHORT);
    session.send("poweroff\n");
    session.finish(SHORT).ends_with(0);
}
