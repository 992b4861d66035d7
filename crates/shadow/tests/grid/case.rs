//! One case: walked by both walkers and compared, with what is left in memory and what a shadow leaf would grant.

use super::tables::Tables;
use exit_abi::Mode;
use naive_walk as naive;
use naive_walk::{Refusal, Use, Who};
use shadow::{Access, Limits, Space, Stop, Translation, policy, walk};
use words::Gva;
use words::x86::{pf, pte};

/// All a walk depends on.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The bits of the mode.
    pub mode: u32,
    pub cr3: u64,
    pub pdptes: [u64; 4],
    pub limits: Limits,
    pub gva: u64,
    /// W, U and I of the access.
    pub access: u32,
    /// By level, from 1.
    pub entries: [u64; 5],
    /// The level of an entry that changes before the walk marks it, and the bits that do.
    pub race: Option<(u32, u64)>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            mode: 0,
            cr3: 0,
            pdptes: [0; 4],
            limits: Limits::QEMU64,
            gva: 0,
            access: 0,
            entries: [0; 5],
            race: None,
        }
    }
}

/// RFLAGS.AC and CPL of a mode, with the access that happens there. `every`: at CPL 1 and 2, too.
pub fn contexts(every: bool) -> impl Iterator<Item = (u32, u32)> {
    const fn context(ac: u32, cpl: u32) -> u32 {
        ac | cpl << Mode::CPL_SHIFT
    }
    const KINDS: [u32; 3] = [0, pf::W, pf::I];
    let cpls = 0..if every { 3 } else { 1 };
    let supervisor = cpls.flat_map(|cpl| {
        KINDS
            .into_iter()
            .flat_map(move |kind| [(context(0, cpl), kind), (context(Mode::AC, cpl), kind)])
    });
    let user = KINDS.into_iter().flat_map(|kind| {
        [
            (context(0, 3), kind | pf::U),
            (context(Mode::AC, 3), kind | pf::U),
        ]
    });
    let implicit = [0, pf::W]
        .into_iter()
        .flat_map(|kind| [(context(0, 3), kind), (context(Mode::AC, 3), kind)]);
    supervisor.chain(user).chain(implicit)
}

/// One of each kind, where the entry's bits are the point.
pub fn a_few_contexts() -> impl Iterator<Item = (u32, u32)> {
    let user = 3 << Mode::CPL_SHIFT;
    [
        (Mode::AC, 0),
        (user, pf::U | pf::W),
        (user, pf::U | pf::I),
        (0, pf::I),
    ]
    .into_iter()
}

/// The limits in the naive walker's words.
pub fn limits(limits: Limits) -> naive::Limits {
    naive::Limits {
        width: limits.width,
        gigabyte_pages: limits.gigabyte_pages,
    }
}

impl Case {
    fn mode(&self) -> Mode {
        Mode::from_bits(self.mode)
    }

    pub fn naive(&self, tables: &Tables) -> Result<naive::Grant, Refusal> {
        naive::walk(
            |at, bytes| tables.read(at, bytes),
            self.mode(),
            self.cr3,
            Some(self.pdptes),
            limits(self.limits),
            Gva::new(self.gva),
            naive::Access::of(self.mode(), self.access),
        )
    }

    pub fn walk(&self, tables: &Tables) -> Result<Translation, Stop> {
        let space = Space {
            mode: self.mode(),
            cr3: self.cr3,
            pdptes: self.pdptes,
        };
        walk(
            &tables,
            self.limits,
            &space,
            Gva::new(self.gva),
            Access::from_code(self.access),
            &mut 0,
        )
    }

    /// Runs the case.
    pub fn check(&self, tables: &Tables) -> Result<(), String> {
        tables.gva.set(self.gva);
        tables.load(self.entries);
        let expected = self.expect(tables);
        let marked = tables.image();
        tables.load(self.entries);
        tables.race.set(self.race);
        let found = self.walk(tables);
        tables.race.set(None);
        self.compare(tables, &found, &expected)
            .and_then(|()| match tables.image() {
                image if image == marked => Ok(()),
                image => Err(format!("left {image:x?} and not {marked:x?}")),
            })
            .map_err(|what| {
                format!("{what}\nin {self:x?}\nfound {found:x?}\nexpected {expected:x?}")
            })
    }

    /// The naive walk, with what it leaves in the tables.
    fn expect(&self, tables: &Tables) -> Result<naive::Grant, Refusal> {
        let first = self.naive(tables)?;
        if let Some((level, bits)) = self.race {
            // The entries above had their A set when the walk met the change; then it began again.
            for entry in first.path().take((self.top() - level) as usize) {
                tables.add(entry.at, entry.bytes, pte::A);
            }
            let victim = &tables.entries[level as usize];
            victim.set(victim.get() ^ bits);
        }
        let last = self.naive(tables)?;
        self.mark(tables, &last);
        Ok(last)
    }

    /// The level of the first entry of a path.
    fn top(&self) -> u32 {
        if self.mode().has(Mode::LMA) { 4 } else { 2 }
    }

    /// What the access leaves in the tables (APM vol. 2, 5.4.2).
    fn mark(&self, tables: &Tables, grant: &naive::Grant) {
        for entry in grant.path() {
            tables.add(entry.at, entry.bytes, pte::A);
        }
        if let Some(last) = grant.path().last()
            && self.access & pf::W != 0
        {
            tables.add(last.at, last.bytes, pte::D);
        }
    }

    fn compare(
        &self,
        tables: &Tables,
        found: &Result<Translation, Stop>,
        expected: &Result<naive::Grant, Refusal>,
    ) -> Result<(), String> {
        match (found, expected) {
            (Ok(found), Ok(grant)) => {
                self.compare_page(tables, found, grant)?;
                self.compare_leaf(found, grant)
            }
            (Err(Stop::Fault(code)), Err(Refusal::PageFault(expected))) if code == expected => {
                Ok(())
            }
            (Err(Stop::NonCanonical), Err(Refusal::NonCanonical)) => Ok(()),
            _ => Err("another outcome".into()),
        }
    }

    fn compare_page(
        &self,
        tables: &Tables,
        found: &Translation,
        grant: &naive::Grant,
    ) -> Result<(), String> {
        // With paging off the walk calls the identity 1 GiB large, which serves as well.
        let size = if self.mode().has(Mode::PG) {
            found.size.bits()
        } else {
            32
        };
        let same = found.gpa == grant.gpa
            && size == grant.page
            && found.writable == grant.rights.writable
            && found.user == grant.rights.user
            && found.executable == grant.rights.executable
            && found.dirty == (grant.dirty || self.access & pf::W != 0)
            && found.path.entries().len() == grant.path().count();
        if !same {
            return Err("another page".into());
        }
        for (entry, expected) in found.path.entries().iter().zip(grant.path()) {
            // What is no memory reads as ones.
            let ones = !0 >> (64 - 8 * expected.bytes);
            let now = tables.read(entry.at, expected.bytes).unwrap_or(ones);
            if entry.at != expected.at || entry.value != now {
                return Err("another path".into());
            }
        }
        Ok(())
    }

    /// What the processor grants by the leaf of this access, now and in whatever state of RFLAGS.AC and CPL, the guest's
    /// tables must grant, and the access itself must be among it.
    fn compare_leaf(&self, found: &Translation, grant: &naive::Grant) -> Result<(), String> {
        let mode = self.mode();
        let access = naive::Access::of(mode, self.access);
        let leaf = policy::leaf_rights(mode, found, Access::from_code(self.access));
        let real = naive::grants(
            real_mode(mode),
            naive::Rights {
                writable: leaf.write,
                user: leaf.user,
                executable: leaf.execute,
            },
        );
        let guest = naive::grants(mode, grant.rights);
        if !real.has(access) {
            return Err(format!("{leaf:?} does not grant {access:?}"));
        }
        if leaf.write && !found.dirty {
            return Err(format!("{leaf:?} lets a write pass that sets no D"));
        }
        let excess = real.without(guest);
        let known = known_excess(mode, grant.rights, access);
        if excess.iter().eq(known.iter().copied()) {
            Ok(())
        } else {
            Err(format!(
                "{leaf:?} grants too much: {:?}",
                excess.iter().collect::<Vec<_>>()
            ))
        }
    }
}

/// The control bits the processor really runs with: paging, write protection and no-execute always on; SMEP and SMAP only
/// where the guest has paging and them.
fn real_mode(mode: Mode) -> Mode {
    let guards = if mode.has(Mode::PG) {
        mode.bits() & (Mode::SMEP | Mode::SMAP)
    } else {
        0
    };
    Mode::from_bits(Mode::PG | Mode::WP | Mode::PAE | Mode::NXE | guards)
}

/// The one exception, of [`policy::leaf_rights`]: after the guest's kernel wrote, with CR0.WP clear, CR4.SMAP set and
/// RFLAGS.AC set, to a page that is read-only and the user's, SMAP does not guard that page from the kernel.
fn known_excess(
    mode: Mode,
    rights: naive::Rights,
    access: naive::Access,
) -> &'static [naive::Access] {
    const QUIET: Who = Who::Supervisor { ac: false };
    const EXCESS: [naive::Access; 4] = [
        naive::Access {
            what: Use::Read,
            who: QUIET,
        },
        naive::Access {
            what: Use::Write,
            who: QUIET,
        },
        naive::Access {
            what: Use::Read,
            who: Who::Implicit,
        },
        naive::Access {
            what: Use::Write,
            who: Who::Implicit,
        },
    ];
    let is_it = mode.has(Mode::PG | Mode::SMAP)
        && !mode.has(Mode::WP)
        && rights.user
        && !rights.writable
        && access.what == Use::Write
        && access.who == (Who::Supervisor { ac: true });
    if is_it { &EXCESS } else { &[] }
}
