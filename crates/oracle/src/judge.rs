//! Which kinds of access rights amount to, in one paging mode: for the guest's own translations and for the shadow's.

use exit_abi::Mode;
use naive_walk::{Grants, Rights};

/// The sets of accesses for every combination of rights, in one paging mode.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    role: u32,
    /// What the guest's translation grants, by rights, without and with D.
    guest: [[Grants; 2]; 8],
    /// What the shadow's leaf grants.
    hardware: [Grants; 8],
    /// Accesses that SMAP forbids.
    smap: Grants,
}

const fn index(rights: Rights) -> usize {
    rights.writable as usize | (rights.user as usize) << 1 | (rights.executable as usize) << 2
}

const fn rights(index: usize) -> Rights {
    Rights {
        writable: index & 1 != 0,
        user: index & 2 != 0,
        executable: index & 4 != 0,
    }
}

impl Judge {
    /// The sets for `mode`.
    pub fn new(mode: Mode) -> Self {
        let role = mode.role();
        let protected = Mode::from_bits(Mode::PG | Mode::WP);
        let writes = naive_walk::grants(protected, rights(7))
            .without(naive_walk::grants(protected, rights(6)));
        let smap = naive_walk::grants(protected, rights(7)).without(naive_walk::grants(
            Mode::from_bits(Mode::PG | Mode::WP | Mode::SMAP),
            rights(7),
        ));
        // The real CR0.PG and WP are always set; SMEP and SMAP are the guest's while it has paging on.
        let checks = if mode.has(Mode::PG) {
            role & (Mode::SMEP | Mode::SMAP)
        } else {
            0
        };
        let real = Mode::from_bits(Mode::PG | Mode::WP | checks);
        let seen = Mode::from_bits(role);
        let mut judge = Self {
            role,
            guest: [[Grants::default(); 2]; 8],
            hardware: [Grants::default(); 8],
            smap,
        };
        for (index, (guest, hardware)) in
            judge.guest.iter_mut().zip(&mut judge.hardware).enumerate()
        {
            let all = naive_walk::grants(seen, rights(index));
            *guest = [all.without(writes), all];
            *hardware = naive_walk::grants(real, rights(index));
        }
        judge
    }

    /// Whether this is for `mode`.
    pub const fn is_for(&self, mode: Mode) -> bool {
        self.role == mode.role()
    }

    /// What a translation of the guest grants without a new walk: writing needs D.
    pub const fn guest(&self, rights: Rights, dirty: bool) -> Grants {
        self.guest[index(rights)][dirty as usize]
    }

    /// What a leaf of the shadow grants.
    pub const fn hardware(&self, rights: shadow::Rights) -> Grants {
        self.hardware[index(Rights {
            writable: rights.write,
            user: rights.user,
            executable: rights.execute,
        })]
    }

    /// What a leaf may grant beyond the guest's translations. With CR0.WP clear and SMAP set a read-only user page that the
    /// supervisor writes to has to stand as a supervisor's page, which SMAP does not look at (see `shadow`'s policy).
    pub fn beyond(&self, leaf: shadow::Rights) -> Grants {
        let mode = Mode::from_bits(self.role);
        let excused = mode.has(Mode::PG | Mode::SMAP) && !mode.has(Mode::WP);
        if excused && leaf.write && !leaf.user {
            self.smap
        } else {
            Grants::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use naive_walk::{Access, Use, Who};

    #[test]
    fn a_clean_page_grants_no_write_and_a_write_protected_one_none_but_without_wp() {
        let write = Access {
            what: Use::Write,
            who: Who::Supervisor { ac: false },
        };
        let strict = Judge::new(Mode::from_bits(Mode::PG | Mode::WP));
        let lax = Judge::new(Mode::from_bits(Mode::PG));
        assert!(!strict.guest(rights(7), false).has(write));
        assert!(strict.guest(rights(7), true).has(write));
        assert!(!strict.guest(rights(6), true).has(write));
        assert!(lax.guest(rights(6), true).has(write));
    }

    #[test]
    fn hardware_looks_at_write_protection_always_and_at_smep_with_paging() {
        let leaf = |write, user| shadow::Rights {
            write,
            user,
            execute: true,
        };
        let fetch = Access {
            what: Use::Fetch,
            who: Who::Supervisor { ac: false },
        };
        let write = Access {
            what: Use::Write,
            ..fetch
        };
        let judge = Judge::new(Mode::from_bits(Mode::PG | Mode::SMEP));
        assert!(!judge.hardware(leaf(false, false)).has(write));
        assert!(!judge.hardware(leaf(true, true)).has(fetch));
        let off = Judge::new(Mode::from_bits(Mode::SMEP));
        assert!(off.hardware(leaf(true, true)).has(fetch));
    }
}
