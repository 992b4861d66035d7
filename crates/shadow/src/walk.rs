//! The architectural page walk: what the guest's own tables say about an access, and the marks the access leaves in them.
//!
//! Follows APM vol. 2, chapter 5. Not found or not allowed: the page-fault code the processor would push, and no bit of the
//! guest's memory changed. Allowed: A is set at every level and, for a write, D in the leaf, each by compare-exchange; when
//! an entry changed meanwhile the walk starts again. PAE PDPTEs carry no rights and no A.
//!
//! A table outside memory reads as all ones, as on hardware: in the 8-byte formats that is a present entry with reserved
//! bits, so the access ends in a reserved-bit fault.

use crate::access::{Access, Kind};
use crate::entry;
use crate::memory::GuestMemory;
use crate::mutant::{Mutant, is};
use crate::space::{Format, Limits, Space};
use exit_abi::Mode;
use words::x86::{pf, pte};
use words::{Gpa, Gva};

/// Most times a walk is started again because an entry changed under it. A walk alone needs five at most, when one
/// entry serves at several levels (a self-mapped root).
const MAX_RESTARTS: u32 = 16;

/// Size of a guest's page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GuestPageSize {
    /// 4 KiB.
    Size4K,
    /// 2 MiB (8-byte entries).
    Size2M,
    /// 4 MiB (4-byte entries).
    Size4M,
    /// 1 GiB.
    Size1G,
}

impl GuestPageSize {
    /// log2 of the bytes.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size2M => 21,
            Self::Size4M => 22,
            Self::Size1G => 30,
        }
    }
}

/// A guest entry on the way of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Where it stands.
    pub at: Gpa,
    /// Its value, with the bits the walk set.
    pub value: u64,
}

/// The entries of a walk, from the top.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Path {
    entries: [Entry; 4],
    length: usize,
}

impl Path {
    fn push(&mut self, at: Gpa, value: u64) {
        if let Some(entry) = self.entries.get_mut(self.length) {
            *entry = Entry { at, value };
            self.length += 1;
        }
    }
    /// The entries; the last one is the leaf. Empty with paging off. PAE PDPTEs are not among them.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries[..self.length]
    }
}

/// What the guest's tables say about an address that an access may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// Where the address leads.
    pub gpa: Gpa,
    /// Size of the guest's page; with paging off 1 GiB, since the identity is as good at any size.
    pub size: GuestPageSize,
    /// R/W at every level.
    pub writable: bool,
    /// U/S at every level.
    pub user: bool,
    /// NX at no level.
    pub executable: bool,
    /// The leaf's D bit after this access.
    pub dirty: bool,
    /// The guest's entries it came from.
    pub path: Path,
}

/// Why there is no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The guest's own page fault, with this error code.
    Fault(u32),
    /// The address is not canonical: no page fault, the segment's #GP or #SS.
    NonCanonical,
    /// The tables kept changing; the access is to be tried again.
    Contended,
}

/// Walks the guest's tables for one access. `touched` counts the entries read and written.
///
/// # Errors
/// As [`Stop`] says.
pub fn walk<M: GuestMemory>(
    memory: &M,
    limits: Limits,
    space: &Space,
    gva: Gva,
    access: Access,
    touched: &mut u64,
) -> Result<Translation, Stop> {
    let format = Format::of(space.mode);
    let gva = format.address(gva);
    if format == Format::Off {
        return Ok(identity(gva));
    }
    if format == Format::Long && !gva.is_canonical() && !is(Mutant::CanonicalNotChecked) {
        return Err(Stop::NonCanonical);
    }
    let fault = |reason| Stop::Fault(error_code(space.mode, access, reason));
    for _ in 0..MAX_RESTARTS {
        let mut found = descend(memory, limits, space, gva, format, touched).map_err(fault)?;
        let allowed = permit(space.mode, &found, access);
        if !allowed && !is(Mutant::MarksBeforeRights) {
            return Err(fault(pf::P));
        }
        if mark(memory, format, &mut found, access.is_write(), touched) {
            return if allowed {
                Ok(found)
            } else {
                Err(fault(pf::P))
            };
        }
    }
    Err(Stop::Contended)
}

/// P and RSVD of the error code: what the tables contribute.
type Reason = u32;

/// Looks at P and at the `reserved` bits of an entry.
fn check(value: u64, reserved: u64) -> Result<(), Reason> {
    if value & pte::P == 0 && !is(Mutant::PresentIgnored) {
        Err(0)
    } else if value & reserved == 0 {
        Ok(())
    } else if is(Mutant::ReservedWithoutPresent) {
        Err(pf::RSVD)
    } else {
        Err(pf::P | pf::RSVD)
    }
}

const fn identity(gva: Gva) -> Translation {
    Translation {
        gpa: Gpa::new(gva.bits()),
        size: GuestPageSize::Size1G,
        writable: true,
        user: true,
        executable: true,
        dirty: true,
        path: Path {
            entries: [Entry {
                at: Gpa::new(0),
                value: 0,
            }; 4],
            length: 0,
        },
    }
}

fn descend<M: GuestMemory>(
    memory: &M,
    limits: Limits,
    space: &Space,
    gva: Gva,
    format: Format,
    touched: &mut u64,
) -> Result<Translation, Reason> {
    match format {
        Format::Off => Ok(identity(gva)),
        Format::TwoLevel => descend_narrow(memory, limits, space, gva, touched),
        Format::Pae => {
            let pdpte = space.pdptes[(gva.bits() >> 30 & 3) as usize];
            // Only a load that did not go through `Space::is_loadable` can have left an entry with reserved bits here.
            let is_valid = entry::pdpte_is_valid(pdpte, limits);
            check(pdpte, if is_valid { 0 } else { !0 })?;
            descend_wide(
                memory,
                limits,
                space,
                gva,
                (pdpte & pte::ADDRESS, 2),
                touched,
            )
        }
        Format::Long => descend_wide(
            memory,
            limits,
            space,
            gva,
            (space.cr3 & pte::ADDRESS, 4),
            touched,
        ),
    }
}

/// The 8-byte formats, from the table at `top.0`, of level `top.1`, down.
fn descend_wide<M: GuestMemory>(
    memory: &M,
    limits: Limits,
    space: &Space,
    gva: Gva,
    top: (u64, u32),
    touched: &mut u64,
) -> Result<Translation, Reason> {
    let long = space.mode.has(Mode::LMA);
    let nxe = space.mode.has(Mode::NXE);
    let (mut table, mut level) = top;
    let mut path = Path::default();
    loop {
        let at = Gpa::new(table).wrapping_add(8 * gva.index(level) as u64);
        let value = memory.read64(at).unwrap_or(!0);
        *touched += 1;
        check(value, entry::reserved(level, value, long, nxe, limits))?;
        path.push(at, value);
        if entry::is_leaf(level, value, limits) {
            let size = match level {
                1 => GuestPageSize::Size4K,
                2 => GuestPageSize::Size2M,
                _ => GuestPageSize::Size1G,
            };
            let base = Gpa::new(value & pte::ADDRESS).align_down(size.bits());
            return Ok(leaf(base, gva, size, path));
        }
        table = value & pte::ADDRESS;
        level -= 1;
    }
}

/// The 4-byte format.
fn descend_narrow<M: GuestMemory>(
    memory: &M,
    limits: Limits,
    space: &Space,
    gva: Gva,
    touched: &mut u64,
) -> Result<Translation, Reason> {
    const TABLE: u64 = 0xffff_f000;
    let mut path = Path::default();
    let at = Gpa::new((space.cr3 & TABLE) + 4 * (gva.bits() >> 22));
    let directory = u64::from(memory.read32(at).unwrap_or(!0));
    *touched += 1;
    let large =
        directory & pte::PS != 0 && (space.mode.has(Mode::PSE) || is(Mutant::PageSizeWithoutPse));
    check(
        directory,
        if large { entry::reserved_4m(limits) } else { 0 },
    )?;
    path.push(at, directory);
    if large {
        let base = Gpa::new(entry::address_4m(directory, limits));
        return Ok(leaf(base, gva, GuestPageSize::Size4M, path));
    }
    let at = Gpa::new((directory & TABLE) + 4 * (gva.bits() >> 12 & 0x3ff));
    let page = u64::from(memory.read32(at).unwrap_or(!0));
    *touched += 1;
    check(page, 0)?;
    path.push(at, page);
    let base = Gpa::new(page & TABLE);
    Ok(leaf(base, gva, GuestPageSize::Size4K, path))
}

/// What the whole path grants: R/W and U/S count if set, NX if clear, in every entry. A 4-byte entry has no NX.
fn leaf(base: Gpa, gva: Gva, size: GuestPageSize, path: Path) -> Translation {
    let offset = gva.bits() & ((1 << size.bits()) - 1);
    let (mut last, mut all, mut any) = (0, !0, 0);
    for entry in path.entries() {
        last = entry.value;
        all &= entry.value;
        any |= entry.value;
    }
    let along = |path: u64, leaf_alone: Mutant| if is(leaf_alone) { last } else { path };
    Translation {
        gpa: base.wrapping_add(offset),
        size,
        writable: along(all, Mutant::WritableByLeafAlone) & pte::RW != 0,
        user: along(all, Mutant::UserByLeafAlone) & pte::US != 0,
        executable: along(any, Mutant::ExecutableByLeafAlone) & pte::NX == 0,
        dirty: last & pte::D != 0,
        path,
    }
}

/// Whether the access may use what was found (APM vol. 2, 5.6).
fn permit(mode: Mode, found: &Translation, access: Access) -> bool {
    let rule = |holds: bool, without: Mutant| holds || is(without);
    if access.user {
        return rule(found.user, Mutant::UserNotChecked)
            && match access.kind {
                Kind::Read => true,
                Kind::Write => rule(found.writable, Mutant::ReadOnlyNotChecked),
                Kind::Fetch => rule(found.executable, Mutant::NxNotCheckedForUser),
            };
    }
    let past_read_only = rule(!mode.has(Mode::WP), Mutant::WpIgnored) && !is(Mutant::WpAssumed);
    let smep = found.user && mode.has(Mode::SMEP);
    match access.kind {
        Kind::Read => smap_allows(mode, found),
        Kind::Write => smap_allows(mode, found) && (found.writable || past_read_only),
        Kind::Fetch => {
            rule(found.executable, Mutant::NxNotCheckedForSupervisor)
                && rule(!smep, Mutant::SmepIgnored)
        }
    }
}

/// APM vol. 2, 5.6.6: with SMAP a supervisor's data access to a user page needs RFLAGS.AC, and an implicit one, made for
/// code at CPL 3, is never allowed.
fn smap_allows(mode: Mode, found: &Translation) -> bool {
    let applies = found.user && mode.has(Mode::SMAP) && !is(Mutant::SmapIgnored);
    let explicit = mode.cpl() != 3 || is(Mutant::ImplicitHonoursAc);
    let lifted = mode.has(Mode::AC) && explicit && !is(Mutant::SmapIgnoresAc);
    !applies || lifted
}

/// APM vol. 2, 8.4.2: I is reported only where fetches have rights of their own.
fn error_code(mode: Mode, access: Access, reason: Reason) -> u32 {
    let smep = mode.has(Mode::SMEP) && !is(Mutant::FetchNotReportedForSmep);
    let reports_fetch = mode.has(Mode::PAE | Mode::NXE) || smep || is(Mutant::FetchAlwaysReported);
    let code = access.code() | reason;
    if reports_fetch { code } else { code & !pf::I }
}

/// Sets A and D (APM vol. 2, 5.4.2). False: an entry changed meanwhile.
fn mark<M: GuestMemory>(
    memory: &M,
    format: Format,
    found: &mut Translation,
    write: bool,
    touched: &mut u64,
) -> bool {
    let length = found.path.length;
    for (index, entry) in found.path.entries[..length].iter_mut().enumerate() {
        let new = entry.value | marks(write, index + 1 == length);
        if new == entry.value {
            continue;
        }
        *touched += 1;
        let done = if format == Format::TwoLevel {
            memory.exchange32(entry.at, entry.value as u32, new as u32)
        } else {
            memory.exchange64(entry.at, entry.value, new)
        };
        if !done && !is(Mutant::ExchangeNotChecked) {
            return false;
        }
        entry.value = new;
    }
    found.dirty |= write;
    true
}

/// The bits an access sets in an entry.
fn marks(write: bool, is_leaf: bool) -> u64 {
    let accessed = !is(Mutant::NoAccessed) && (is_leaf || !is(Mutant::AccessedInLeafAlone));
    let dirty = is_leaf && (write || is(Mutant::DirtyOnRead)) && !is(Mutant::NoDirty);
    (if accessed { pte::A } else { 0 }) | (if dirty { pte::D } else { 0 })
}
