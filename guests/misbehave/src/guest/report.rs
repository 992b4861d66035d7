//! What one mode saw: lines on the console, and the exit value.

use core::fmt;

use guest_rt::cpu::is_bare_tcg;
use guest_rt::trap::{PF, Trap};
use guest_rt::{exit, println};

/// The mode's outcomes so far.
pub struct Report {
    mode: &'static str,
    wrong: u32,
    bare_tcg: bool,
}

/// What QEMU's own CPU may do where hardware does something else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tcg {
    /// The same as hardware.
    Same,
    /// Something else, known and harmless.
    Differs,
}

impl Report {
    /// Nothing seen yet.
    pub fn new(mode: &'static str) -> Self {
        Self {
            mode,
            wrong: 0,
            bare_tcg: is_bare_tcg(),
        }
    }

    /// Whether the machine is QEMU's own CPU.
    pub fn is_bare_tcg(&self) -> bool {
        self.bare_tcg
    }

    /// A line of the mode.
    pub fn say(&self, text: fmt::Arguments<'_>) {
        println!("misbehave {}: {text}", self.mode);
    }

    /// One outcome: is it `hardware`'s?
    pub fn check<T: PartialEq + fmt::Display>(
        &mut self,
        what: &str,
        got: T,
        hardware: T,
        tcg: Tcg,
    ) {
        if got == hardware {
            self.say(format_args!("{what}: {got}"));
        } else if self.bare_tcg && tcg == Tcg::Differs {
            self.say(format_args!(
                "{what}: {got} (TCG's answer; hardware's is {hardware})"
            ));
        } else {
            self.wrong += 1;
            self.say(format_args!("{what}: {got}, WRONG, expected {hardware}"));
        }
    }

    /// A number of steps, or another fact that has but one right value.
    pub fn is<T: PartialEq + fmt::Display>(&mut self, what: &str, got: T, expected: T) {
        self.check(what, got, expected, Tcg::Same);
    }

    /// A fact that must hold.
    pub fn holds(&mut self, what: &str, fact: bool) {
        self.check(what, if fact { "yes" } else { "no" }, "yes", Tcg::Same);
    }

    /// The mode came back from where nothing comes back.
    pub fn survived(&mut self) {
        self.wrong += 1;
        self.say(format_args!("still running, WRONG"));
    }

    /// Ends the guest.
    pub fn finish(self) -> ! {
        if self.wrong == 0 {
            self.say(format_args!("done"));
            exit::exit(exit::SUCCESS);
        }
        self.say(format_args!("{} outcomes are wrong", self.wrong));
        exit::exit(exit::MISMATCH);
    }
}

/// How an instruction ended, as far as modes compare it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// No fault.
    NoFault,
    /// This vector with this error code.
    Fault(u8, u64),
}

/// The invalid-opcode exception.
pub const UD: End = End::Fault(guest_rt::trap::UD, 0);
/// The general-protection exception with error code 0.
pub const GP: End = End::Fault(guest_rt::trap::GP, 0);

impl From<Result<(), Trap>> for End {
    fn from(outcome: Result<(), Trap>) -> Self {
        outcome.map_or_else(
            |trap| Self::Fault(trap.vector, trap.error),
            |()| Self::NoFault,
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoFault => f.write_str("no fault"),
            // Without the address, which modes that care compare by themselves.
            Self::Fault(PF, error) => write!(f, "#PF({error:#x})"),
            Self::Fault(vector, error) => Trap {
                vector,
                error,
                cr2: 0,
                rip: 0,
                rax: 0,
                rflags: 0,
            }
            .fmt(f),
        }
    }
}

/// A number that reads better in hexadecimal.
#[derive(PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
