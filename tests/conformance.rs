//! seL4's interface, behaviour by behaviour, in the booted kernel: a root task looks at all of them in one boot, twice, and
//! each is a test here.

#[allow(dead_code)] // each test program uses a part of it
mod common;

use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::{Run, Session, UMBRA, program, text};
use libtest_mimic::{Arguments, Failed, Trial};

include!("conformance/src/names.rs");

macro_rules! names {
    ($($module:ident: $($name:ident)*;)*) => {
        const NAMES: &[(&str, &str)] = &[$($((stringify!($module), stringify!($name)),)*)*];
    };
}
behaviours!(names);

/// For the whole run. The clock counts instructions, so that a busy host does not change what a thread can do in its time.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One machine, whatever the number of processors.
    arguments.test_threads = Some(1);
    let boot = Arc::new(OnceLock::new());
    let trials = NAMES.iter().map(|&(module, name)| {
        let boot = Arc::clone(&boot);
        Trial::test(format!("{module}::{name}"), move || {
            behaves(boot.get_or_init(run), name)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Everything the root task said.
fn run() -> String {
    let program = program("conformance");
    let limit = LIMIT.as_secs().to_string();
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--icount", "--timeout", &limit])
        .args(["--root-task", text(&program)]);
    let Run { out, err, .. } = Session::spawn(command).finish(LIMIT * 2);
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
