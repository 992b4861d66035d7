//! The rules, from APM vol. 2: rights along the path (5.6), SMEP and SMAP (5.6.4, 5.6.5), the error code (8.4.2).
//!
//! Always: `judge` knows entries as sets of rights, not where they stand nor how they are encoded.

use guest_rt::cpu::cpuid;
use guest_rt::dice::Dice;
use guest_rt::trap::page_fault::{FETCH, PRESENT, RESERVED, USER, WRITE};
use guest_script::script::Op;

/// A kind of access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Supervisor read.
    Read,
    /// Supervisor write.
    Write,
    /// Supervisor fetch.
    Execute,
    /// Supervisor read with AC.
    ReadAc,
    /// Supervisor write with AC.
    WriteAc,
    /// User read.
    UserRead,
    /// User write.
    UserWrite,
    /// User fetch.
    UserExecute,
}

/// All of them.
pub const ACCESSES: &[Access] = &[
    Access::Read,
    Access::Write,
    Access::Execute,
    Access::ReadAc,
    Access::WriteAc,
    Access::UserRead,
    Access::UserWrite,
    Access::UserExecute,
];

impl Access {
    /// What a script calls it.
    pub const fn op(self) -> Op {
        match self {
            Self::Read => Op::Read8,
            Self::Write => Op::Write8,
            Self::Execute => Op::Execute,
            Self::ReadAc => Op::ReadAc,
            Self::WriteAc => Op::WriteAc,
            Self::UserRead => Op::UserRead,
            Self::UserWrite => Op::UserWrite,
            Self::UserExecute => Op::UserExecute,
        }
    }

    /// What a message calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "fetch",
            Self::ReadAc => "read with AC",
            Self::WriteAc => "write with AC",
            Self::UserRead => "user read",
            Self::UserWrite => "user write",
            Self::UserExecute => "user fetch",
        }
    }

    /// Whether it sets EFLAGS.AC, which needs a CPU with SMAP.
    pub const fn lifts_smap(self) -> bool {
        matches!(self, Self::ReadAc | Self::WriteAc)
    }

    /// Whether it writes.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteAc | Self::UserWrite)
    }

    /// Whether it fetches.
    pub const fn fetches(self) -> bool {
        matches!(self, Self::Execute | Self::UserExecute)
    }

    const fn is_user(self) -> bool {
        matches!(self, Self::UserRead | Self::UserWrite | Self::UserExecute)
    }
}

/// The bits of control registers that change rights.
#[derive(Clone, Copy)]
pub struct Controls {
    /// CR0.WP.
    pub wp: bool,
    /// CR4.SMEP.
    pub smep: bool,
    /// CR4.SMAP.
    pub smap: bool,
    /// EFER.NXE.
    pub nxe: bool,
}

impl Controls {
    /// Every combination that this CPU can have.
    pub fn possible() -> impl Iterator<Item = Self> {
        (0..16u32)
            .map(|bits| Self {
                wp: bits & 1 != 0,
                nxe: bits & 2 != 0,
                smep: bits & 4 != 0,
                smap: bits & 8 != 0,
            })
            .filter(|controls| {
                (Self::has_smep() || !controls.smep) && (Self::has_smap() || !controls.smap)
            })
    }

    fn has_smep() -> bool {
        structured_features() & 1 << 7 != 0
    }

    /// Whether the CPU has SMAP, and with it STAC and CLAC.
    pub fn has_smap() -> bool {
        structured_features() & 1 << 20 != 0
    }
}

/// CPUID 7, EBX; 0 on a CPU that does not go so far.
fn structured_features() -> u32 {
    if cpuid(0, 0).eax >= 7 {
        cpuid(7, 0).ebx
    } else {
        0
    }
}

/// What an entry says, whatever its format.
#[derive(Clone, Copy)]
pub struct Entry {
    /// It leads on.
    pub present: bool,
    /// Writes are allowed.
    pub writable: bool,
    /// User mode is allowed.
    pub user: bool,
    /// Bit 63, which forbids fetches, or is reserved while NXE is clear.
    pub no_execute: bool,
    /// Another reserved bit is set.
    pub reserved: bool,
    /// It was accessed before.
    pub accessed: bool,
    /// It was written before.
    pub dirty: bool,
}

impl Entry {
    /// These rights (bits: writable, user, no execute); the rest as the die falls.
    pub fn dealt(rights: u64, dice: &mut Dice) -> Self {
        Self {
            present: dice.below(8) != 0,
            writable: rights & 1 != 0,
            user: rights & 2 != 0,
            no_execute: rights & 4 != 0,
            reserved: dice.below(12) == 0,
            accessed: dice.below(2) == 0,
            dirty: dice.below(2) == 0,
        }
    }

    /// Whether the walk goes on behind it.
    pub const fn leads_on(&self, controls: Controls) -> bool {
        self.present && !self.is_malformed(controls)
    }

    const fn is_malformed(&self, controls: Controls) -> bool {
        self.reserved || (self.no_execute && !controls.nxe)
    }
}

/// What comes of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No fault.
    Done,
    /// A page fault with this error code.
    Fault(u64),
    /// A page fault for a reserved bit, with this error code.
    Reserved(u64),
}

/// What comes of `access` by way of the entries of `path`, from the root down; entries left out allow all.
pub fn judge(
    path: [Option<Entry>; 2],
    controls: Controls,
    fetch_bit: bool,
    access: Access,
) -> Outcome {
    let mut kind = 0;
    for (applies, bit) in [
        (access.writes(), WRITE),
        (access.is_user(), USER),
        (access.fetches() && fetch_bit, FETCH),
    ] {
        if applies {
            kind |= bit;
        }
    }
    let (mut writable, mut user, mut executable) = (true, true, true);
    for entry in path.into_iter().flatten() {
        if !entry.present {
            return Outcome::Fault(kind);
        }
        if entry.is_malformed(controls) {
            return Outcome::Reserved(kind | PRESENT | RESERVED);
        }
        writable &= entry.writable;
        user &= entry.user;
        executable &= !entry.no_execute;
    }
    let allowed = if access.is_user() {
        user && (writable || !access.writes()) && (executable || !access.fetches())
    } else if access.fetches() {
        let shielded = controls.smep && user;
        executable && !shielded
    } else {
        let shielded = controls.smap && user && !access.lifts_smap();
        (writable || !access.writes() || !controls.wp) && !shielded
    };
    if allowed {
        Outcome::Done
    } else {
        Outcome::Fault(kind | PRESENT)
    }
}
