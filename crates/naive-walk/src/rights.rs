//! Who may do what with a page: APM vol. 2, 5.6, one rule after the other.

use crate::access::{Access, Use, Who};
use exit_abi::Mode;

/// What the entries on the way to a page say, taken together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rights {
    /// R/W is set in each (5.6.2).
    pub writable: bool,
    /// U/S is set in each (5.6.3).
    pub user: bool,
    /// NX is set in none (5.6.1).
    pub executable: bool,
}

/// Whether a page with these rights may be accessed like that. Of `mode` only CR0.PG, CR0.WP, CR4.SMEP and CR4.SMAP
/// count: RFLAGS.AC and the CPL are part of the access.
#[must_use]
pub const fn allows(mode: Mode, rights: Rights, access: Access) -> bool {
    if !mode.has(Mode::PG) {
        return true;
    }
    match access.who {
        Who::User => user_may(rights, access.what),
        Who::Supervisor { ac } => supervisor_may(mode, rights, access.what, ac),
        Who::Implicit => supervisor_may(mode, rights, access.what, false),
    }
}

const fn user_may(rights: Rights, what: Use) -> bool {
    // 5.6.3: with U/S clear at any level the page is the supervisor's.
    if !rights.user {
        return false;
    }
    match what {
        Use::Read => true,
        // 5.6.2: a user never writes to a read-only page.
        Use::Write => rights.writable,
        // 5.6.1.
        Use::Fetch => rights.executable,
    }
}

const fn supervisor_may(mode: Mode, rights: Rights, what: Use, ac: bool) -> bool {
    match what {
        Use::Fetch => {
            // 5.6.1.
            if !rights.executable {
                return false;
            }
            // 5.6.5, SMEP: no instruction from a user page.
            !(mode.has(Mode::SMEP) && rights.user)
        }
        Use::Read | Use::Write => {
            // 5.6.6, SMAP: no data of a user page, unless by an instruction with AC set.
            if mode.has(Mode::SMAP) && rights.user && !ac {
                return false;
            }
            // 5.6.4, CR0.WP: without it the supervisor writes to any page.
            match what {
                Use::Write => rights.writable || !mode.has(Mode::WP),
                Use::Read | Use::Fetch => true,
            }
        }
    }
}

/// A set of kinds of access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Grants(u16);

impl Grants {
    /// Whether nothing is in here that is not in `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
    /// What is in here and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether there is nothing in here.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Whether `access` is in here.
    #[must_use]
    pub fn has(self, access: Access) -> bool {
        self.iter().any(|each| each == access)
    }
    /// The kinds in here.
    pub fn iter(self) -> impl Iterator<Item = Access> {
        Access::ALL
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 >> index & 1 != 0)
            .map(|(_, access)| access)
    }
}

/// Every kind of access that a page with these rights allows. For what hardware grants by a shadow leaf: the leaf's rights,
/// and `mode` with WP set.
#[must_use]
pub fn grants(mode: Mode, rights: Rights) -> Grants {
    let mut all = 0;
    for (index, access) in Access::ALL.into_iter().enumerate() {
        if allows(mode, rights, access) {
            all |= 1 << index;
        }
    }
    Grants(all)
}
