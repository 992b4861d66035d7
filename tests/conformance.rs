//! seL4's interface, behaviour by behaviour, in the booted kernel: a root task looks at all of them in one boot, twice, and
//! each is a test here. Those of a device's interrupts have a boot of their own, on a machine with that device.

#[expect(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::{Run, Session, UMBRA, program, text};
use libtest_mimic::{Arguments, Failed, Trial};

include!("conformance/src/names.rs");

/// A behaviour, after the module that looks at it.
type Name = (&'static str, &'static str);

macro_rules! names {
    ($($module:ident: $($name:ident)*;)*) => {
        &[$($((stringify!($module), stringify!($name)),)*)*]
    };
}
const NAMES: &[Name] = behaviours!(names);
const OF_A_DEVICE: &[Name] = device_behaviours!(names);

/// For the whole run. The clock counts instructions, so that a busy host does not change what a thread can do in its time.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine, whatever the number of processors.
    arguments.test_threads = Some(1);
    let mut trials = trials(NAMES, run);
    trials.extend(self::trials(OF_A_DEVICE, run_with_device));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The tests of one boot.
fn trials(names: &'static [Name], run: fn() -> String) -> Vec<Trial> {
    let boot = Arc::new(OnceLock::new());
    let trials = names.iter().map(|&(module, name)| {
        let boot = Arc::clone(&boot);
        Trial::test(format!("{module}::{name}"), move || {
            behaves(boot.get_or_init(run), name)
        })
    });
    trials.collect()
}

/// The launcher, told to boot the root task.
fn launcher() -> Command {
    let program = program("conformance");
    let limit = LIMIT.as_secs().to_string();
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--icount", "--timeout", &limit])
        .args(["--root-task", text(&program)]);
    command
}

/// Everything the root task said.
fn run() -> String {
    said(launcher(), LIMIT * 2)
}

/// The same on a machine that has a device more: by the command that the launcher shows.
fn run_with_device() -> String {
    let shown = launcher().arg("--dry-run").output();
    let shown = shown.expect("the launcher starts").stdout;
    let shown = String::from_utf8(shown).expect("a command is text");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {} -device edu", shown.trim())]);
    said(command, LIMIT)
}

fn said(command: Command, within: Duration) -> String {
    let Run { out, err, .. } = Session::spawn(command).finish(within);
    out + &err
}

/// What the lines of the two times begin with: with a thread that waits for its time throughout, and without.
const TURNS: [&str; 2] = ["umbra-test", "umbra-test-alone"];

fn behaves(out: &str, name: &str) -> Result<(), Failed> {
    for turn in TURNS {
        let prefix = format!("{turn} {name} ");
        // One that never ends has begun and not more.
        let last = out
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .next_back();
        match last {
            Some("ok") => {}
            Some(why) => return Err(format!("{turn}: {why}\n").into()),
            None => return Err(format!("{turn}: nothing was said about it:\n{out}").into()),
        }
    }
    Ok(())
}
