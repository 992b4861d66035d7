//! The root task in ten lines of Rust (`examples/hello-root`), booted.

#[expect(dead_code, reason = "each test program uses a part of it")]
mod common;

use std::process::Command;
use std::time::Duration;

use common::{Run, Session, UMBRA, program, text};

const LIMIT: Duration = Duration::from_secs(120);
const SOURCE: &str = include_str!("../examples/hello-root/src/main.rs");

fn boot(more: &[&str]) -> Run {
    let program = program("hello-root");
    let mut command = Command::new(UMBRA);
    command
        .args(["run", "--quiet", "--root-task", text(&program)])
        .args(more);
    Session::spawn(command).finish(LIMIT * 2)
}

#[test]
fn a_root_task_in_ten_lines_boots_speaks_and_halts_the_machine() {
    let code = SOURCE.lines().filter(|line| !line.starts_with("//"));
    assert!(code.count() <= 10, "{SOURCE}");
    let limit = LIMIT.as_secs().to_string();
    let run = boot(&["--timeout", &limit]).ends_with(0);
    let said = run
        .err
        .lines()
        .find_map(|line| line.strip_prefix("hello, "));
    let count = said.and_then(|said| said.strip_suffix(" untyped capabilities"));
    let count: u32 = count
        .and_then(|count| count.parse().ok())
        .expect("the line");
    assert!(count > 0, "{}", run.err);
    run.says("root-task powered off");
}

#[test]
fn on_the_release_kernel_it_says_nothing_and_stands_still() {
    let run = boot(&["--build", "release", "--timeout", "10"]).ends_with(124);
    assert!(!run.err.contains("hello"), "{}", run.err);
}
