//! The kinds of access to memory that the protection rules tell apart.

use exit_abi::Mode;

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches an instruction.
    Fetch,
}

/// With whose privilege it is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    /// CPL 3.
    User,
    /// An instruction of the supervisor, with this RFLAGS.AC.
    Supervisor {
        /// RFLAGS.AC.
        ac: bool,
    },
    /// The processor itself (descriptor tables, TSS) while code runs at CPL 3.
    Implicit,
}

/// One access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Access {
    /// What it does.
    pub what: Use,
    /// With whose privilege.
    pub who: Who,
}

impl Access {
    /// Every kind there is. An implicit access is never a fetch.
    pub const ALL: [Self; 11] = {
        const fn access(what: Use, who: Who) -> Access {
            Access { what, who }
        }
        const QUIET: Who = Who::Supervisor { ac: false };
        const LOUD: Who = Who::Supervisor { ac: true };
        [
            access(Use::Read, Who::User),
            access(Use::Write, Who::User),
            access(Use::Fetch, Who::User),
            access(Use::Read, QUIET),
            access(Use::Write, QUIET),
            access(Use::Fetch, QUIET),
            access(Use::Read, LOUD),
            access(Use::Write, LOUD),
            access(Use::Fetch, LOUD),
            access(Use::Read, Who::Implicit),
            access(Use::Write, Who::Implicit),
        ]
    };

    /// The access that a page-fault error code describes, with the RFLAGS.AC and the CPL of `mode`. At CPL 3 what is not a
    /// user access was implicit.
    #[must_use]
    pub const fn of(mode: Mode, code: u32) -> Self {
        let what = if code & 1 << 1 != 0 {
            Use::Write
        } else if code & 1 << 4 != 0 {
            Use::Fetch
        } else {
            Use::Read
        };
        let who = if code & 1 << 2 != 0 {
            Who::User
        } else if mode.cpl() == 3 {
            Who::Implicit
        } else {
            Who::Supervisor {
                ac: mode.has(Mode::AC),
            }
        };
        Self { what, who }
    }

    /// W (bit 1), U (bit 2) and I (bit 4) of the error code, were I always reported.
    #[must_use]
    pub const fn code(self) -> u32 {
        let what = match self.what {
            Use::Read => 0,
            Use::Write => 1 << 1,
            Use::Fetch => 1 << 4,
        };
        match self.who {
            Who::User => what | 1 << 2,
            Who::Supervisor { .. } | Who::Implicit => what,
        }
    }

    /// `mode` with the RFLAGS.AC and a CPL at which this access happens.
    #[must_use]
    pub const fn seen_from(self, mode: Mode) -> Mode {
        let (ac, cpl) = match self.who {
            Who::User | Who::Implicit => (0, 3),
            Who::Supervisor { ac: true } => (Mode::AC, 0),
            Who::Supervisor { ac: false } => (0, 0),
        };
        Mode::from_bits(mode.role() | ac | cpl << Mode::CPL_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_access_is_found_again_from_its_code_and_mode() {
        for access in Access::ALL {
            let mode = access.seen_from(Mode::from_bits(Mode::PG));
            assert_eq!(Access::of(mode, access.code()), access);
        }
    }
}
