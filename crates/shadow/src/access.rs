//! How the guest touches memory: what a page-fault error code says of the access itself.

use words::x86::pf;

/// What the access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Reads data.
    Read,
    /// Writes data (a locked read-modify-write counts as a write).
    Write,
    /// Fetches an instruction.
    Fetch,
}

/// One access, as the processor classifies it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What it does.
    pub kind: Kind,
    /// Made with user privilege. At CPL 3 an access without it is an implicit one (descriptor tables, TSS).
    pub user: bool,
}

impl Access {
    /// The access an error code describes. Only W, U and I are read: P and RSVD speak of the shadow's own tables.
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        let kind = if code & pf::W != 0 {
            Kind::Write
        } else if code & pf::I != 0 {
            Kind::Fetch
        } else {
            Kind::Read
        };
        Self {
            kind,
            user: code & pf::U != 0,
        }
    }

    /// The W, U and I bits.
    #[must_use]
    pub const fn code(self) -> u32 {
        let kind = match self.kind {
            Kind::Read => 0,
            Kind::Write => pf::W,
            Kind::Fetch => pf::I,
        };
        if self.user { kind | pf::U } else { kind }
    }

    /// Whether it writes.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self.kind, Kind::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_survives_its_code_bits() {
        for kind in [Kind::Read, Kind::Write, Kind::Fetch] {
            for user in [false, true] {
                let access = Access { kind, user };
                assert_eq!(Access::from_code(access.code() | pf::P | pf::RSVD), access);
            }
        }
    }
}
