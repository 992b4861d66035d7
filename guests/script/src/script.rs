//! Scripts: accesses in order, each with the outcome the manual gives it.
//!
//! A script is written first and executed then, as a whole, by the executor of its mode: between its steps the machine
//! does nothing else, so what the TLB holds is what the steps left there. An executor knows nothing of expectations.

use core::fmt;

use guest_rt::cpu::is_walked_by_tcg;
use guest_rt::tables::{self, P};
use guest_rt::trap::{GP, PF};
use guest_rt::{exit, println};

use crate::space::{Mode, Space};
use crate::{legacy, long};

/// What a step does. The numbers index the jump table in `legacy.rs`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Op {
    /// Reads a byte.
    Read8,
    /// Writes a byte.
    Write8,
    /// Reads four bytes, which may lie in two pages.
    Read32,
    /// Writes four bytes.
    Write32,
    /// Reads a table entry.
    Load,
    /// Writes a table entry.
    Store,
    /// Drops the translation of an address.
    Invlpg,
    /// Loads CR3 with what it holds.
    ReloadCr3,
    /// Loads CR3.
    SetCr3,
    /// Clears the address's bits in CR0, sets the value's.
    Cr0,
    /// The same for CR4.
    Cr4,
    /// The same for EFER.
    Efer,
    /// Calls an address where `ret` stands.
    Execute,
    /// Reads a byte at privilege level 3.
    UserRead,
    /// Writes a byte at privilege level 3.
    UserWrite,
    /// Jumps at privilege level 3 to an address where `int 0x80` stands.
    UserExecute,
    /// Reads a byte with EFLAGS.AC set, which lifts SMAP. Only on a CPU that has it.
    ReadAc,
    /// Writes a byte with EFLAGS.AC set.
    WriteAc,
    /// Reads CR0.
    GetCr0,
    /// Reads CR3.
    GetCr3,
    /// Reads CR4.
    GetCr4,
    /// Reads the low half of EFER.
    GetEfer,
}

/// One step.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Step {
    /// What.
    pub op: Op,
    /// Where.
    pub address: u64,
    /// With what.
    pub value: u64,
}

/// How one step ended.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The vector, or `NO_TRAP`.
    pub vector: u32,
    /// The error code.
    pub error: u32,
    /// CR2 at a page fault.
    pub cr2: u64,
    /// What was read.
    pub value: u64,
}

/// No trap ended the step.
pub const NO_TRAP: u32 = u32::MAX;

impl Outcome {
    /// The step read `value`.
    pub const fn done(value: u64) -> Self {
        Self {
            vector: NO_TRAP,
            error: 0,
            cr2: 0,
            value,
        }
    }

    fn is_fault(&self, error: u64, address: u64) -> bool {
        self.vector == u32::from(PF) && u64::from(self.error) == error && self.cr2 == address
    }

    fn is_done(&self) -> bool {
        self.vector == NO_TRAP
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_done() {
            write!(f, "{:#x}", self.value)
        } else if self.vector == u32::from(PF) {
            write!(f, "#PF({:#x}) at {:#x}", self.error, self.cr2)
        } else {
            write!(f, "trap {}({:#x})", self.vector, self.error)
        }
    }
}

/// What a step must give.
#[derive(Clone, Copy)]
pub enum Expect {
    /// Preparation: nothing is checked.
    Anything,
    /// No fault.
    Done,
    /// This value.
    Value(u64),
    /// One of these.
    Either(u64, u64),
    /// A page fault with this error code at this address.
    Fault(u64, u64),
    /// No fault, or this one: a cached translation may have had fewer rights.
    DoneOrFault(u64, u64),
    /// A page fault for a reserved bit. QEMU's own CPU leaves P out of the error code; only there that passes too.
    Reserved(u64, u64),
    /// A general-protection fault with error code 0.
    Protection,
}

impl Expect {
    fn accepts(self, got: &Outcome) -> bool {
        match self {
            Expect::Anything => true,
            Expect::Done => got.is_done(),
            Expect::Value(value) => *got == Outcome::done(value),
            Expect::Either(a, b) => *got == Outcome::done(a) || *got == Outcome::done(b),
            Expect::Fault(error, address) => got.is_fault(error, address),
            Expect::DoneOrFault(error, address) => got.is_done() || got.is_fault(error, address),
            Expect::Reserved(error, address) => {
                got.is_fault(error, address)
                    || (is_walked_by_tcg() && got.is_fault(error & !P, address))
            }
            Expect::Protection => got.vector == u32::from(GP) && got.error == 0,
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Anything => write!(f, "anything"),
            Expect::Done => write!(f, "no fault"),
            Expect::Value(value) => write!(f, "{value:#x}"),
            Expect::Either(a, b) => write!(f, "{a:#x} or {b:#x}"),
            Expect::Fault(error, address) | Expect::Reserved(error, address) => {
                write!(f, "#PF({error:#x}) at {address:#x}")
            }
            Expect::DoneOrFault(error, address) => {
                write!(f, "no fault or #PF({error:#x}) at {address:#x}")
            }
            Expect::Protection => write!(f, "#GP(0x0)"),
        }
    }
}

/// What all scripts gave.
pub struct Report {
    /// The guest's name, with which every line begins.
    pub guest: &'static str,
    /// Whether groups without a mistake are told of, too.
    pub verbose: bool,
    /// Expectations looked at.
    pub checks: usize,
    /// Expectations not met.
    pub wrong: usize,
}

impl Report {
    /// Nothing looked at yet.
    pub const fn new(guest: &'static str) -> Self {
        Self {
            guest,
            verbose: true,
            checks: 0,
            wrong: 0,
        }
    }

    /// A fact that is no step's outcome.
    pub fn holds(&mut self, what: &str, fact: bool) {
        self.checks += 1;
        if !fact {
            self.wrong += 1;
            println!("{}: {what}: WRONG", self.guest);
        }
    }

    /// Does a test and prints how many of its checks failed.
    pub fn test(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        let before = (self.checks, self.wrong);
        body(self);
        let (checks, wrong) = (self.checks - before.0, self.wrong - before.1);
        println!("{}: {name}: {checks} checks, {wrong} wrong", self.guest);
    }

    /// Prints the result and ends the guest.
    pub fn finish(self) -> ! {
        let Self {
            guest,
            checks,
            wrong,
            ..
        } = self;
        if wrong == 0 {
            println!("{guest}: all {checks} checks passed");
            exit::exit(exit::SUCCESS);
        }
        println!("{guest}: {wrong} of {checks} checks failed");
        exit::exit(exit::MISMATCH);
    }
}

/// Steps a script may have.
const LONGEST: usize = 512;

/// A script under construction.
pub struct Script {
    length: usize,
    steps: [Step; LONGEST],
    expected: [Expect; LONGEST],
    labels: [&'static str; LONGEST],
    outcomes: [Outcome; LONGEST],
}

impl Script {
    /// An empty script.
    #[expect(
        clippy::new_without_default,
        reason = "too big to be made without a thought"
    )]
    pub const fn new() -> Self {
        Self {
            length: 0,
            steps: [Step {
                op: Op::Read8,
                address: 0,
                value: 0,
            }; LONGEST],
            expected: [Expect::Anything; LONGEST],
            labels: [""; LONGEST],
            outcomes: [Outcome::done(0); LONGEST],
        }
    }

    /// Whether there is room for `steps` more.
    pub const fn has_room(&self, steps: usize) -> bool {
        self.length + steps <= LONGEST
    }

    fn push(&mut self, op: Op, address: u64, value: u64, label: &'static str, expect: Expect) {
        assert!(
            self.length < LONGEST,
            "a script has at most {LONGEST} steps"
        );
        self.steps[self.length] = Step { op, address, value };
        self.expected[self.length] = expect;
        self.labels[self.length] = label;
        self.length += 1;
    }

    /// An access: `op` at `address` with `value` must give `expect`.
    pub fn check(&mut self, label: &'static str, op: Op, address: u64, value: u64, expect: Expect) {
        self.push(op, address, value, label, expect);
    }

    /// Reading a byte gives `value`.
    pub fn reads(&mut self, label: &'static str, address: u64, value: u8) {
        self.push(Op::Read8, address, 0, label, Expect::Value(value.into()));
    }

    /// Writing a byte succeeds.
    pub fn writes(&mut self, label: &'static str, address: u64, value: u8) {
        self.push(Op::Write8, address, value.into(), label, Expect::Done);
    }

    /// `op` at `address` gives a page fault there.
    pub fn faults(&mut self, label: &'static str, op: Op, address: u64, error: u64) {
        self.push(op, address, 0xee, label, Expect::Fault(error, address));
    }

    /// `op` at `address` succeeds.
    pub fn works(&mut self, label: &'static str, op: Op, address: u64) {
        self.push(op, address, 0x55, label, Expect::Done);
    }

    /// The table entry at `address` holds `value`.
    pub fn entry(&mut self, label: &'static str, address: u64, value: u64) {
        self.push(Op::Load, address, 0, label, Expect::Value(value));
    }

    /// Preparation: `op` unchecked.
    pub fn step(&mut self, op: Op, address: u64, value: u64) {
        self.push(op, address, value, "", Expect::Anything);
    }

    /// Writes a table entry.
    pub fn store(&mut self, address: u64, value: u64) {
        self.step(Op::Store, address, value);
    }

    /// Writes a four-byte table entry.
    pub fn put(&mut self, at: u64, value: u64) {
        self.step(Op::Write32, at, value);
    }

    /// The four-byte table entry at `at` holds `value`.
    pub fn holds(&mut self, label: &'static str, at: u64, value: u64) {
        self.check(label, Op::Read32, at, 0, Expect::Value(value));
    }

    /// Drops the translation of one address.
    pub fn invlpg(&mut self, address: u64) {
        self.step(Op::Invlpg, address, 0);
    }

    /// Loads CR3 with what it holds.
    pub fn reload_cr3(&mut self) {
        self.step(Op::ReloadCr3, 0, 0);
    }

    /// Executes the script in `space`, looks at the outcomes, prints what is wrong and the group's line, and leaves the
    /// script empty.
    pub fn run(&mut self, space: &Space, group: &str, report: &mut Report) {
        let steps = &self.steps[..self.length];
        let outcomes = &mut self.outcomes[..self.length];
        match space.mode {
            Mode::Long => long::execute(space, steps, outcomes),
            Mode::Pae | Mode::TwoLevel | Mode::Flat => legacy::execute(space, steps, outcomes),
        }
        let mut checks = 0;
        let mut wrong = 0;
        let mut without_present = 0;
        for (i, got) in outcomes.iter().enumerate() {
            let expected = self.expected[i];
            if matches!(expected, Expect::Anything) {
                continue;
            }
            checks += 1;
            if !expected.accepts(got) {
                wrong += 1;
                println!(
                    "{}: {}: {group}: {}: expected {expected}, got {got}",
                    report.guest, space.mode, self.labels[i]
                );
            } else if matches!(expected, Expect::Reserved(..))
                && u64::from(got.error) & tables::P == 0
            {
                without_present += 1;
            }
        }
        self.length = 0;
        report.checks += checks;
        report.wrong += wrong;
        if report.verbose || wrong != 0 {
            print_line(
                report.guest,
                space.mode,
                group,
                checks,
                [wrong, without_present],
            );
        }
    }
}

fn print_line(
    guest: &str,
    mode: Mode,
    group: &str,
    checks: usize,
    [wrong, without_present]: [usize; 2],
) {
    match (wrong, without_present) {
        (0, 0) => println!("{guest}: {mode}: {group}: {checks} checks"),
        (0, n) => println!(
            "{guest}: {mode}: {group}: {checks} checks ({n} reserved-bit faults without P, as TCG has them)"
        ),
        _ => println!("{guest}: {mode}: {group}: {checks} checks, {wrong} WRONG"),
    }
}
