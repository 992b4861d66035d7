//! Hostile programs in the booted system: a root task that attacks the kernel, domains that try to reach what they were not
//! given, domains that fail.

#[expect(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use common::{Run, Session, UMBRA, program, text};
use libtest_mimic::{Arguments, Failed, Trial};

/// For a run that ends by itself.
const LIMIT: Duration = Duration::from_secs(600);
/// Exit status of a run whose last word was 0 to the exit port.
const SUCCESS: i32 = 1;
/// Exit status of a VM that ended because a domain failed.
const DOMAIN_FAILED: i32 = 12;

/// Checks of the attacking root task.
const ATTACKS: &[&str] = &[
    "links-across-levels",
    "link-to-the-same-level",
    "relink-of-a-running-root",
    "reset-of-a-linked-page",
    "links-are-counted",
    "fill-beyond-the-frames",
    "fill-beyond-the-rights",
    "fill-of-misaligned-large-pages",
    "fill-at-the-wrong-level",
    "pae-root-with-wrong-directories",
    "pae-root-is-written-by-reset-alone",
    "root-of-the-wrong-format",
    "use-of-stale-pages-after-unmapping",
    "use-of-stale-pages-after-revoking",
    "use-of-stale-pages-after-retiring",
    "set-root-with-a-foreign-vcpu",
    "set-root-without-the-paging-right",
    "ranges-out-of-bounds",
    "pages-out-of-bounds",
    "bindings-are-for-good",
    "malformed-answers",
    "vcpu-states",
    "random-syscalls",
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine at a time, whatever the number of processors.
    arguments.test_threads = Some(1);
    let mut trials = vec![
        test("the_kernel_withstands_a_hostile_root_task", attacks),
        test(
            "no_interrupt_waits_longer_than_the_bound_whatever_is_asked_of_the_kernel",
            latency,
        ),
        test(
            "vmm_server_can_reach_no_guest_frame_and_learn_no_address",
            hostile_vmm,
        ),
        test(
            "the_device_server_can_reach_no_guest_frame_and_learn_no_address",
            hostile_drivers,
        ),
        test("a_domain_that_fails_leaves_the_other_vm_alone", one_fails),
    ];
    for place in ["guest-ram", "guest-files", "kernel", "physical"] {
        let name = format!("vmm_server_is_stopped_when_it_reads_{}", underscored(place));
        trials.push(test(&name, move || vmm_peeks(place)));
    }
    let peek = "the_device_server_is_stopped_when_it_reads_guest_ram";
    trials.push(test(peek, drivers_peek));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn test(name: &str, body: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        body();
        Ok::<(), Failed>(())
    })
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

fn run(arguments: &[&str]) -> Run {
    let limit = LIMIT.as_secs().to_string();
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--timeout", &limit])
        .args(arguments);
    Session::spawn(command).finish(LIMIT * 2)
}

/// Runs a `system.toml`.
fn run_system(content: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("system.toml");
    let machine = "[machine]\nmemory = \"512M\"\n";
    fs::write(&path, format!("{machine}{content}")).expect("written");
    run(&["--system", text(&path)])
}

fn attacks() {
    let attacker = program("attack-root");
    // Less memory is used up sooner.
    let mut run = run(&["--root-task", text(&attacker), "--memory", "512M"]).ends_with(SUCCESS);
    for name in ATTACKS {
        run = run.says(&format!("umbra-test {name} ok"));
    }
    run.says("umbra-test random-syscalls ok calls=1000000");
}

/// The longest stretch without a look for interrupts, in instructions: docs/performance.md.
const BOUND: u64 = 30_000;

fn latency() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("latency.json");
    let mut command = Command::new(UMBRA);
    command.args(["bench", "latency", "--json", text(&path)]);
    Session::spawn(command).finish(LIMIT).ends_with(0);
    let rows = fs::read_to_string(path).expect("the rows are written");
    let rows: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
    let rows = rows.as_object().expect("rows by name");
    assert!(rows.len() >= 50, "only {} operations", rows.len());
    for (name, row) in rows {
        let stretch = row["stretch"].as_u64().expect("a number");
        assert!(
            (1..=BOUND).contains(&stretch),
            "{name}: {stretch} instructions without a look"
        );
    }
}

fn vm(name: &str, more: &str) -> String {
    format!("\n[[vm]]\nname = \"{name}\"\nmemory = \"64M\"\nguest = \"hello\"\n{more}\n")
}

/// A VM with a vmm-server of its own.
fn with_vmm(name: &str, program_name: &str) -> String {
    let program = program(program_name);
    vm(name, &format!("vmm-server = \"{}\"", text(&program)))
}

fn hostile_vmm() {
    run_system(&with_vmm("main", "hostile-vmm"))
        .ends_with(SUCCESS)
        .says("umbra-test vmm-cannot-reach-guest ok");
}

fn with_drivers(vm_name: &str) -> String {
    let drivers = program("hostile-drivers");
    let domains = format!("\n[domains]\ndrivers = \"{}\"\n", text(&drivers));
    domains + &vm(vm_name, "")
}

fn hostile_drivers() {
    run_system(&with_drivers("main"))
        .ends_with(SUCCESS)
        .says("umbra-test drivers-cannot-reach-guest ok");
}

/// Names the domain, the address and what happened.
fn vmm_peeks(place: &str) {
    let name = format!("peek-{place}");
    let run = run_system(&with_vmm(&name, "hostile-vmm")).ends_with(DOMAIN_FAILED);
    let address = match place {
        "guest-ram" => "0x1000000000",
        "guest-files" => "0x2000000000",
        "kernel" => "0xffffffff80000000",
        _ => "0xffff800000000000",
    };
    run.says(&format!(
        "domain vmm-server.{name} failed: page-fault-read at {address}"
    ))
    .says(&format!("{name} stopped: one of its domains failed"));
}

fn drivers_peek() {
    run_system(&with_drivers("peek-guest-ram"))
        .ends_with(DOMAIN_FAILED)
        .says("domain drivers failed: page-fault-read at 0x1000000000");
}

fn one_fails() {
    let good = vm("good", "console = true");
    let bad = with_vmm("peek-guest-ram", "hostile-vmm");
    run_system(&(bad + &good))
        .ends_with(SUCCESS)
        .shows("hello from a guest")
        .says("domain vmm-server.peek-guest-ram failed: page-fault-read")
        .says("peek-guest-ram stopped: one of its domains failed")
        .says("good wrote 0 to the exit port");
}
