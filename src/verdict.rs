//! The machine-readable lines of Umbra's log, and how a run ended.
//!
//! | line | says |
//! | --- | --- |
//! | `umbra-end vm=NAME reason=WORD value=N status=N` | a VM has stopped |
//! | `umbra-stats {…}` | counters of the VM whose end comes next, or of the one it names in `vm` |
//! | `umbra-fail domain=NAME cause=WORD address=HEX` | a domain has failed |
//! | `umbra-finding vm=NAME …` | the oracle objects to the VM's shadow |
//! | `umbra-panic …` | the kernel has stopped |
//! | `umbra-bench NAME n=N mean=N min=N max=N` | an operation was measured |
//! | `umbra kernel …` | the kernel has begun |
//! | `halted by a thread` | a thread called the kernel's `DebugHalt`, and the machine stands still |

use std::fmt;

use serde_json::{Map, Value};

/// A line of the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// For people.
    Text,
    /// A VM has stopped.
    End(End),
    /// Counters.
    Stats(Map<String, Value>),
    /// A domain has failed.
    Fail(Fail),
    /// The oracle objects.
    Finding(Finding),
    /// The kernel has stopped.
    Panic(String),
    /// An operation was measured.
    Bench(Row),
    /// The kernel has begun.
    Begun,
    /// A thread has stopped the machine.
    Halted,
}

/// The first line that is the kernel's own, up to its version.
const BEGUN: &str = "umbra kernel ";
/// The kernel's last word before it stops the machine for a thread.
const HALTED: &str = "halted by a thread";

/// What an operation costs, in instructions.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The operation.
    pub name: String,
    /// How often it was measured.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

/// What the oracle has found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The VM.
    pub vm: String,
    /// What is wrong with its shadow.
    pub what: String,
}

/// Why a VM stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// Its name.
    pub vm: String,
    /// The reason's word, as `protocol::device::Stop` has it.
    pub reason: String,
    /// What belongs to the reason.
    pub value: u64,
    /// Exit status.
    pub status: u8,
}

/// A failed domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fail {
    /// Its name.
    pub domain: String,
    /// What happened.
    pub cause: String,
    /// Where.
    pub address: String,
}

impl Line {
    /// Reads a line of the log. A damaged line is for people.
    pub fn read(line: &str) -> Self {
        let line = line.trim();
        let read = match line.split_once(' ') {
            Some(("umbra-end", rest)) => end(rest).map(Self::End),
            Some(("umbra-stats", rest)) => serde_json::from_str(rest).ok().map(Self::Stats),
            Some(("umbra-fail", rest)) => fail(rest).map(Self::Fail),
            Some(("umbra-finding", rest)) => Some(Self::Finding(finding(rest))),
            Some(("umbra-panic", rest)) => Some(Self::Panic(rest.into())),
            Some(("umbra-bench", rest)) => row(rest).map(Self::Bench),
            _ if line.starts_with(BEGUN) => Some(Self::Begun),
            _ if line == HALTED => Some(Self::Halted),
            _ => None,
        };
        read.unwrap_or(Self::Text)
    }
}

fn end(rest: &str) -> Option<End> {
    Some(End {
        vm: word(rest, "vm")?.into(),
        reason: word(rest, "reason")?.into(),
        value: number(word(rest, "value")?)?,
        status: word(rest, "status")?.parse().ok()?,
    })
}

fn fail(rest: &str) -> Option<Fail> {
    Some(Fail {
        domain: word(rest, "domain")?.into(),
        cause: word(rest, "cause")?.into(),
        address: word(rest, "address").unwrap_or("unknown").into(),
    })
}

fn row(rest: &str) -> Option<Row> {
    Some(Row {
        name: rest.split_whitespace().next()?.into(),
        count: word(rest, "n")?.parse().ok()?,
        mean: word(rest, "mean")?.parse().ok()?,
        min: word(rest, "min")?.parse().ok()?,
        max: word(rest, "max")?.parse().ok()?,
    })
}

/// A finding counts however it is worded.
fn finding(rest: &str) -> Finding {
    let named = rest
        .strip_prefix("vm=")
        .map(|rest| rest.split_once(' ').unwrap_or((rest, "")));
    let (vm, what) = named.unwrap_or(("unknown", rest));
    Finding {
        vm: vm.into(),
        what: what.trim().into(),
    }
}

/// The value of `key=value`.
fn word<'a>(rest: &'a str, key: &str) -> Option<&'a str> {
    rest.split_whitespace()
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// By itself; the VM with the console counts.
    Vm(End),
    /// A domain that serves every VM failed.
    Fail(Fail),
    /// The oracle objected.
    Finding(Finding),
    /// The kernel stopped.
    Panic(String),
    /// The time was over.
    Timeout(u64),
    /// Someone pressed Ctrl-A x.
    Keyboard,
    /// Nobody reads the console any more.
    Unread,
    /// A signal came.
    Signal(u8),
    /// QEMU ended and nobody said why.
    Silent(String),
}

impl Verdict {
    /// The launcher's exit status.
    pub fn status(&self) -> u8 {
        match self {
            Self::Vm(end) => end.status,
            Self::Fail(_) => 12,
            Self::Finding(_) => crate::error::FINDING,
            Self::Panic(_) => 18,
            Self::Timeout(_) => 124,
            Self::Keyboard => 0,
            Self::Unread => 128 + 13,
            Self::Signal(n) => 128 + n,
            Self::Silent(_) => crate::error::MACHINE,
        }
    }

    /// A word for the statistics.
    pub fn word(&self) -> &str {
        match self {
            Self::Vm(end) => &end.reason,
            Self::Fail(_) => "domain-failed",
            Self::Finding(_) => "finding",
            Self::Panic(_) => "kernel-panic",
            Self::Timeout(_) => "timeout",
            Self::Keyboard | Self::Unread | Self::Signal(_) => "interrupted",
            Self::Silent(_) => "machine-failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(end) => write!(f, "{end}")?,
            Self::Fail(fail) => write!(f, "{fail}")?,
            Self::Finding(finding) => write!(f, "{finding}")?,
            Self::Panic(text) => write!(f, "the kernel stopped: {text}")?,
            Self::Timeout(1) => write!(f, "ended after one second, as --timeout says")?,
            Self::Timeout(seconds) => {
                write!(f, "ended after {seconds} seconds, as --timeout says")?
            }
            Self::Keyboard => write!(f, "ended from the keyboard")?,
            Self::Unread => write!(f, "ended: nobody reads the console any more")?,
            Self::Signal(n) => write!(f, "ended by signal {n}")?,
            Self::Silent(how) => write!(f, "{how}")?,
        }
        write!(f, " (exit status {})", self.status())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vm, value, .. } = self;
        match self.reason.as_str() {
            "halted" => write!(f, "{vm} powered off"),
            "exit-port" => write!(f, "{vm} wrote {value} to the exit port"),
            "triple-fault" => write!(f, "{vm} stopped: triple fault"),
            "reset" => write!(f, "{vm} stopped: it asked for a reset"),
            "unknown-exit" => write!(f, "{vm} stopped: nobody has an answer for exit {value:#x}"),
            "invalid-state" => write!(f, "{vm} stopped: the processor refuses the guest's state"),
            "domain-failed" => write!(f, "{vm} stopped: one of its domains failed"),
            "format-broken" => write!(f, "{vm} stopped: it ran on a root that is not its own"),
            "emulation" => write!(
                f,
                "{vm} stopped: the device access at {value:#x} cannot be emulated"
            ),
            other => write!(f, "{vm} stopped: {other} {value}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the oracle objects to {}: {}", self.vm, self.what)
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "domain {} failed: {} at {}",
            self.domain, self.cause, self.address
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::device::Stop;

    #[test]
    fn the_machines_lines_are_understood() {
        let end = End {
            vm: "main".into(),
            reason: "exit-port".into(),
            value: 16,
            status: 33,
        };
        assert_eq!(
            Line::read("umbra-end vm=main reason=exit-port value=16 status=33\r"),
            Line::End(end)
        );
        let Line::Fail(fail) =
            Line::read("umbra-fail domain=mmu-server cause=vm-fault address=0x10")
        else {
            panic!("a failed domain")
        };
        assert_eq!(
            fail.to_string(),
            "domain mmu-server failed: vm-fault at 0x10"
        );
        let Line::Stats(stats) = Line::read(r#"umbra-stats {"vm":"main","fills":3}"#) else {
            panic!("counters")
        };
        assert_eq!(stats["fills"], 3);
        let Line::Finding(finding) = Line::read("umbra-finding vm=main stale entry at 0x1000")
        else {
            panic!("a finding")
        };
        assert_eq!(
            Verdict::Finding(finding).to_string(),
            "the oracle objects to main: stale entry at 0x1000 (exit status 12)"
        );
        let row = Row {
            name: "poll".into(),
            count: 64,
            mean: 12.5,
            min: 12,
            max: 13,
        };
        assert_eq!(
            Line::read("umbra-bench poll n=64 mean=12.5 min=12 max=13"),
            Line::Bench(row)
        );
        assert_eq!(Line::read("umbra kernel 0.1.0\r"), Line::Begun);
        assert_eq!(Line::read("halted by a thread\r"), Line::Halted);
        assert_eq!(
            Line::read("umbra-panic at x.rs:1: y"),
            Line::Panic("at x.rs:1: y".into())
        );
    }

    #[test]
    fn damaged_lines_are_for_people() {
        for line in [
            "umbra-end",
            "umbra-end vm=x",
            "umbra-bench poll n=64",
            "umbra-stats {",
            "umbra-end vm=x reason=y value=z status=999",
            "",
        ] {
            assert_eq!(Line::read(line), Line::Text, "{line}");
        }
    }

    #[test]
    fn every_way_to_stop_has_a_sentence_and_its_status() {
        for stop in (0..).map_while(Stop::from_word) {
            let end = End {
                vm: "main".into(),
                reason: stop.name().into(),
                value: 3,
                status: stop.status(3),
            };
            let shown = Verdict::Vm(end.clone()).to_string();
            assert!(
                !shown.contains(&format!("{} 3", end.reason)),
                "has no sentence: {shown}"
            );
            assert!(
                shown.ends_with(&format!("(exit status {})", end.status)),
                "{shown}"
            );
        }
    }
}
