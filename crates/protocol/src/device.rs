//! vmm-server → device server, by one endpoint a VM. All requests are calls in plain words.
//!
//! | label | words | reply label | reply words |
//! | --- | --- | --- | --- |
//! | [`PORT_IN`] | port, size (1, 2, 4) | [`reply`] | value, lines |
//! | [`PORT_OUT`] | port, size, value | [`reply`] | argument, lines |
//! | [`LINES`] | | 0 | 0, lines |
//! | [`DEADLINE`] | absolute host TSC; all ones: none | 0 | |
//! | [`STOP`] | [`stop`] reason, value, then up to 10 words of detail | 0 | |
//! | [`LOG`] | text bytes packed in words: length, bytes | 0 | |
//!
//! `lines` is the level of the VM's legacy interrupt lines, bit n = IRQ n. When a line rises or a deadline passes without
//! a call, the device server signals the VM's notification with the bits of [`signal`].

/// Read a port.
pub const PORT_IN: u64 = 1;
/// Write a port.
pub const PORT_OUT: u64 = 2;
/// Ask for the interrupt lines, letting the models take pending input first.
pub const LINES: u64 = 3;
/// Arm the deadline.
pub const DEADLINE: u64 = 4;
/// The VM has stopped: says why, for the console and the exit status.
pub const STOP: u64 = 5;
/// A line for the system's log.
pub const LOG: u64 = 6;

/// Reply labels of port accesses.
pub mod reply {
    /// Done.
    pub const OK: u64 = 0;
    /// No model has this port: reads are all ones, writes vanish.
    pub const NO_PORT: u64 = 1;
    /// The guest wrote MR0 to the exit port.
    pub const EXIT: u64 = 2;
    /// The guest asked for a reset.
    pub const RESET: u64 = 3;
    /// The request made no sense (to any request).
    pub const REFUSED: u64 = 4;
}

/// Badge bits of the notification.
pub mod signal {
    /// An interrupt line rose.
    pub const LINE: u64 = 1;
    /// The deadline passed.
    pub const DEADLINE: u64 = 2;
}

/// Why a VM stopped, with the launcher's exit status for it. Odd statuses belong to the guest (exit port), so ours are even.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Stop {
    /// HLT with interrupts off and nothing that could wake it: powered off. Status 0.
    Halted = 0,
    /// The guest wrote `value` to port 0xf4. Status (value << 1) | 1.
    ExitPort = 1,
    /// Triple fault. Status 4.
    TripleFault = 2,
    /// Reset asked for (keyboard controller). Status 6.
    Reset = 3,
    /// An exit vmm-server has no answer for; `value` is the SVM exit code. Status 8.
    UnknownExit = 4,
    /// The processor or the kernel refused the guest state. Status 10.
    InvalidState = 5,
    /// A domain of the VM failed. Status 12.
    DomainFailed = 6,
    /// The real root was not the installed one (I6 of docs/isolation.md). Status 14.
    FormatBroken = 7,
    /// An instruction that touches device memory could not be emulated; `value` is its RIP. Status 16.
    Emulation = 8,
}

impl Stop {
    /// The reason with this number.
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        Some(match word {
            0 => Self::Halted,
            1 => Self::ExitPort,
            2 => Self::TripleFault,
            3 => Self::Reset,
            4 => Self::UnknownExit,
            5 => Self::InvalidState,
            6 => Self::DomainFailed,
            7 => Self::FormatBroken,
            8 => Self::Emulation,
            _ => return None,
        })
    }
    /// A word that names the reason in the log line `umbra-end vm=NAME reason=WORD value=N status=N`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::ExitPort => "exit-port",
            Self::TripleFault => "triple-fault",
            Self::Reset => "reset",
            Self::UnknownExit => "unknown-exit",
            Self::InvalidState => "invalid-state",
            Self::DomainFailed => "domain-failed",
            Self::FormatBroken => "format-broken",
            Self::Emulation => "emulation",
        }
    }
    /// The launcher's exit status.
    #[must_use]
    pub const fn status(self, value: u64) -> u8 {
        match self {
            Self::Halted => 0,
            Self::ExitPort => (value << 1) as u8 | 1,
            Self::TripleFault => 4,
            Self::Reset => 6,
            Self::UnknownExit => 8,
            Self::InvalidState => 10,
            Self::DomainFailed => 12,
            Self::FormatBroken => 14,
            Self::Emulation => 16,
        }
    }
}
