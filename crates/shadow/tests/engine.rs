//! The engine against a model: whatever the shadow or a TLB that forgets nothing by itself grants, the guest's own tables
//! grant, after every step of long random lives of a guest that changes its tables, its mode and its mind.

mod common;

use common::dice::Dice;
use common::naive::{Tables, Verdict, mark};
use common::pool::{Cached, Pool};
use common::{Ram, Try};
use exit_abi::Mode;
use naive_walk::Refusal;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use shadow::{
    Access, Engine, Error, Fault, Limits, Load, LoadReason, MAX_TOUCHED, Outcome, PageRecord,
};
use words::Gva;

/// Where each format's tables begin.
const TREES: [u64; 3] = [0x40_0000, 0x48_0000, 0x50_0000];
/// A guest changes only tables that stand once in its tree, so that it knows which address an entry is for.
const TOP: [u64; 2] = [0, 511];
const LIMITS: Limits = Limits {
    width: 40,
    gigabyte_pages: true,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Off,
    TwoLevel,
    Pae,
    Long,
}

/// An entry of a guest's tree: where it is, the first address it maps, and log2 of what it maps.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    va: u64,
    shift: u32,
    /// Table below it, if it has a level below.
    below: Option<u64>,
}

fn format_of(mode: u32) -> Format {
    if mode & Mode::PG == 0 {
        Format::Off
    } else if mode & Mode::LMA != 0 {
        Format::Long
    } else if mode & Mode::PAE != 0 {
        Format::Pae
    } else {
        Format::TwoLevel
    }
}

fn root_of(format: Format) -> u64 {
    match format {
        Format::Off | Format::TwoLevel => TREES[0],
        Format::Pae => TREES[1],
        Format::Long => TREES[2],
    }
}

/// Every entry the guest plays with in one format: two a level, the last level four.
fn places(format: Format) -> Vec<Place> {
    fn grow(
        table: u64,
        va: u64,
        shifts: &[(u32, &[u64])],
        width: u64,
        next: &mut u64,
        found: &mut Vec<Place>,
    ) {
        let Some((&(shift, indices), rest)) = shifts.split_first() else {
            return;
        };
        for &index in indices {
            let sign = if shift == 39 && index >= 256 {
                0xffff << 48
            } else {
                0
            };
            let va = va | index << shift | sign;
            let below = (!rest.is_empty()).then(|| {
                *next += 0x1000;
                *next
            });
            found.push(Place {
                at: table + width * index,
                va,
                shift,
                below,
            });
            if let Some(below) = below {
                grow(below, va, rest, width, next, found);
            }
        }
    }
    let pages: &[u64] = &[0, 1, 2, 511];
    let (shifts, width): (&[(u32, &[u64])], u64) = match format {
        Format::Off => (&[], 8),
        Format::TwoLevel => (&[(22, &[0, 1, 1023]), (12, pages)], 4),
        Format::Pae => (&[(30, &[0, 3]), (21, &[0, 1]), (12, pages)], 8),
        Format::Long => (
            &[(39, &TOP), (30, &[0, 1]), (21, &[0, 1, 2]), (12, pages)],
            8,
        ),
    };
    let mut found = Vec::new();
    let mut next = root_of(format);
    grow(root_of(format), 0, shifts, width, &mut next, &mut found);
    found
}

type Shadow<'a> = Engine<'a, &'a Ram, Pool>;

struct World<'a> {
    ram: &'a Ram,
    engine: Shadow<'a>,
    guest: Tables,
    places: [Vec<Place>; 4],
}

impl<'a> World<'a> {
    fn new(ram: &'a Ram, records: &'a mut [PageRecord]) -> Self {
        let pool = Pool::new(records.len());
        let formats = [Format::Off, Format::TwoLevel, Format::Pae, Format::Long];
        let world = Self {
            ram,
            engine: Engine::cramped(ram, pool, LIMITS, records).unwrap(),
            guest: Tables {
                mode: 0,
                cr3: 0,
                pdptes: [0; 4],
                limits: naive_walk::Limits {
                    width: LIMITS.width,
                    gigabyte_pages: LIMITS.gigabyte_pages,
                },
            },
            places: formats.map(places),
        };
        let mut dice = Dice::new(7);
        for format in formats {
            for place in world.places[format as usize].clone() {
                world.store(format, place, world.sane_entry(format, place, &mut dice));
            }
        }
        world
    }

    fn load_entry(&self, format: Format, at: u64) -> u64 {
        if format == Format::TwoLevel {
            u64::from(self.ram.get32(at).unwrap())
        } else {
            self.ram.get64(at).unwrap()
        }
    }

    fn store(&self, format: Format, place: Place, value: u64) {
        if format == Format::TwoLevel {
            self.ram.set32(place.at, value as u32);
        } else {
            self.ram.set64(place.at, value);
        }
    }

    /// An entry the guest might write: a link or a leaf, present mostly, with random rights.
    fn sane_entry(&self, format: Format, place: Place, dice: &mut Dice) -> u64 {
        let target = |dice: &mut Dice, shift: u32| {
            let far = if dice.one_in(10) { 1 << 38 } else { 0 };
            (dice.pick(&[0, 0x20_0000, 0x40_0000, 0x60_0000, 0x2f_f000, 0x80_0000]) | far) >> shift
                << shift
        };
        if format == Format::Pae && place.shift == 30 {
            let bad = if dice.one_in(20) { 2 } else { 0 };
            return place.below.unwrap() | u64::from(!dice.one_in(8)) | bad;
        }
        let mut value = dice.next() & 0x66 | 1;
        if !dice.one_in(4) {
            value |= 6;
        }
        if dice.one_in(12) {
            value &= !1;
        }
        if format != Format::TwoLevel && dice.one_in(6) {
            value |= 1 << 63;
        }
        let may_be_large =
            place.shift == 21 || place.shift == 22 || (place.shift == 30 && format == Format::Long);
        match place.below {
            Some(_) if may_be_large && dice.one_in(3) => value | 0x80 | target(dice, place.shift),
            Some(below) => value | below,
            None => value | target(dice, 12) | dice.below(3) << 12,
        }
    }

    /// A request. When the kernel refuses operations for no reason the engine may give up; sent again, the request works.
    fn request<R>(
        &mut self,
        ask: impl Fn(&mut Shadow<'a>) -> Result<R, Error>,
    ) -> Result<R, TestCaseError> {
        loop {
            match ask(&mut self.engine) {
                Err(Error::Refused) if self.engine.tables_mut().has_failed() => {}
                answer => return answer.map_err(|error| self.broken(format!("{error:?}"))),
            }
        }
    }

    fn pure(&self, va: u64, access: Try) -> Verdict {
        self.guest.walk(self.ram, va, access)
    }

    /// The guest's access, with the shadow's faults resolved until it is done or is the guest's own fault.
    fn access(&mut self, va: u64, access: Try) -> Result<(), TestCaseError> {
        for round in 0..8 {
            if let Some(gpa) = self.engine.tables_mut().access(self.guest.mode, va, access) {
                let kept = self.guest.mode;
                self.guest.mode = self.beyond_smap();
                self.expect_granted(Some((va, gpa)), va, access)?;
                self.guest.mode = kept;
                return Ok(());
            }
            let before = self.ram.clone();
            let expected = self.pure(va, access);
            let fault = Fault {
                mode: Mode::from_bits(self.guest.mode),
                cr3: self.guest.cr3,
                gva: Gva::new(va),
                access: Access::from_code(access.code()),
            };
            let outcome = self.request(|engine| engine.fault(&fault))?;
            if let Ok(grant) = &expected {
                mark(&before, grant, access.write);
            }
            prop_assert_eq!(
                self.ram.image(),
                before.image(),
                "what the fault left in memory"
            );
            match (outcome, expected) {
                (Outcome::Filled, Ok(grant)) => {
                    let page = grant.gpa.page().bits();
                    prop_assert!(self.ram.has(page, 0x1000), "filled without memory");
                    let now = self.engine.tables_mut().access(self.guest.mode, va, access);
                    prop_assert_eq!(
                        now,
                        Some(grant.gpa.bits()),
                        "no progress at {:#x} {:?} {:#x}",
                        va,
                        access,
                        self.guest.mode
                    );
                }
                (Outcome::Inject { code }, Err(Refusal::PageFault(expected))) => {
                    prop_assert_eq!(code, expected);
                    return Ok(());
                }
                (Outcome::Device { gpa, access: found }, Ok(grant)) => {
                    prop_assert_eq!(gpa, grant.gpa);
                    prop_assert_eq!(found.code(), access.code());
                    prop_assert!(!self.ram.has(gpa.page().bits(), 0x1000));
                    return Ok(());
                }
                (outcome, expected) => {
                    prop_assert!(false, "round {round}: {outcome:?} but {expected:?}")
                }
            }
        }
        Err(self.broken("the access never ends".into()))
    }

    /// The mode to judge by: with WP off a user page made supervisor-only is beyond SMAP's reach (see `policy`).
    fn beyond_smap(&self) -> u32 {
        if self.guest.mode & Mode::WP == 0 {
            self.guest.mode & !Mode::SMAP
        } else {
            self.guest.mode
        }
    }

    fn broken(&self, what: String) -> TestCaseError {
        TestCaseError::fail(format!(
            "{what}; refused: {:?}",
            self.engine.tables().refused
        ))
    }

    /// The guest's tables grant `access` at `va`, leading to the same place, and a write only where D is set.
    fn expect_granted(
        &self,
        from: Option<(u64, u64)>,
        va: u64,
        access: Try,
    ) -> Result<(), TestCaseError> {
        match self.pure(va, access) {
            Ok(grant) => {
                if let Some((base, to)) = from {
                    let gpa = grant.gpa.bits();
                    prop_assert_eq!(to + (va - base), gpa, "{:#x} leads elsewhere", va);
                }
                prop_assert!(
                    grant.dirty || !access.write,
                    "{va:#x} is writable but not dirty"
                );
                Ok(())
            }
            Err(refusal) => {
                prop_assert!(
                    false,
                    "the shadow grants {access:?} at {va:#x}, the guest's tables say {refusal:?}"
                );
                Ok(())
            }
        }
    }

    /// What the shadow or the TLB grants, the guest's tables grant.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let pool = self.engine.tables();
        prop_assert!(pool.refused.is_empty(), "{:?}", pool.refused);
        let entries: Vec<Cached> = pool
            .leaves()
            .into_iter()
            .chain(pool.tlb.iter().copied())
            .collect();
        for entry in entries {
            let pages = 1u64 << (entry.bits - 12);
            for page in [0, 1, 2, pages / 2, pages - 1]
                .into_iter()
                .filter(|page| *page < pages)
            {
                self.check_page(entry, entry.va + (page << 12))?;
            }
        }
        Ok(())
    }

    fn check_page(&mut self, entry: Cached, va: u64) -> Result<(), TestCaseError> {
        for kind in 0..6 {
            let access = Try {
                write: kind % 3 == 1,
                fetch: kind % 3 == 2,
                user: kind >= 3,
            };
            let cpl = if access.user { 3 << Mode::CPL_SHIFT } else { 0 };
            let kept = self.guest.mode;
            for alignment in [0, Mode::AC] {
                self.guest.mode = kept & !(Mode::AC | 3 << Mode::CPL_SHIFT) | alignment | cpl;
                if entry.grants(self.guest.mode, access) {
                    if !entry.rights.user {
                        self.guest.mode = self.beyond_smap();
                    }
                    self.expect_granted(Some((entry.va, entry.gpa)), va, access)?;
                }
            }
            self.guest.mode = kept;
        }
        Ok(())
    }

    fn load(&mut self, mode: u32, cr3: u64, reason: LoadReason) -> Result<(), TestCaseError> {
        // The PDPTEs, as the manual wants them: read at a load of CR3 and when PAE paging begins or its flushing bits of
        // CR4 change, else kept.
        let old = self.guest;
        let mut new = Tables {
            mode,
            cr3,
            pdptes: [0; 4],
            ..old
        };
        if format_of(mode) == Format::Pae {
            let flushing = Mode::PSE | Mode::PGE | Mode::SMEP;
            let keeps = format_of(old.mode) == Format::Pae
                && old.cr3 == cr3
                && match reason {
                    LoadReason::Cr4 => (old.mode ^ mode) & flushing == 0,
                    LoadReason::Cr0 | LoadReason::Efer => true,
                    LoadReason::Cr3 | LoadReason::Reset => false,
                };
            new.pdptes = if keeps {
                old.pdptes
            } else {
                [0, 1, 2, 3].map(|n| self.ram.get64(cr3 + 8 * n).unwrap())
            };
        }
        let bad = new
            .pdptes
            .iter()
            .any(|pdpte| pdpte & 1 == 1 && pdpte & !0xff_ffff_fe19 != 0);
        let answer = self.request(|engine| engine.load(Mode::from_bits(mode), cr3, reason))?;
        prop_assert_eq!(
            answer,
            if bad {
                Load::GeneralProtection
            } else {
                Load::Done
            }
        );
        if !bad {
            self.guest = new;
            let pool = self.engine.tables();
            prop_assert!(pool.root.is_some() && pool.tlb.is_empty() && pool.leaves().is_empty());
        }
        Ok(())
    }

    fn invlpg(&mut self, va: u64) -> Result<(), TestCaseError> {
        let (mode, cr3) = (Mode::from_bits(self.guest.mode), self.guest.cr3);
        self.request(|engine| engine.invlpg(mode, cr3, Gva::new(va)))
    }

    fn any_address(&self, dice: &mut Dice) -> u64 {
        let format = format_of(self.guest.mode);
        match self.places[format as usize].as_slice() {
            [] => dice.pick(&[
                0,
                0x1000,
                0x20_0000,
                0x2f_f000,
                0x30_0000,
                0x60_0123,
                0xffff_fff0,
            ]),
            places => {
                let place = dice.pick(places);
                let inside = dice.pick(&[0, 0x1000, 0x1f_f000, 0x20_0000, 0x3f_f008])
                    & ((1 << place.shift) - 1);
                place.va | inside
            }
        }
    }

    /// Changes an entry, as a guest that knows when to flush would.
    fn change(&mut self, dice: &mut Dice) -> Result<(), TestCaseError> {
        let format = format_of(self.guest.mode);
        if self.places[format as usize].is_empty() {
            return Ok(());
        }
        let place = dice.pick(&self.places[format as usize]);
        let old = self.load_entry(format, place.at);
        self.store(format, place, self.sane_entry(format, place, dice));
        if format == Format::Pae && place.shift == 30 {
            // Latched: means nothing until the next load.
            return Ok(());
        }
        let was_leaf = match format {
            _ if old & 1 == 0 => true,
            _ if place.shift == 12 => true,
            Format::TwoLevel => old & 0x80 != 0 && self.guest.mode & Mode::PSE != 0,
            _ => old & 0x80 != 0,
        };
        if was_leaf {
            // Any address of the old page drops all of it.
            let inside = dice.next() & ((1 << place.shift) - 1);
            self.invlpg(place.va | inside)
        } else {
            self.load(self.guest.mode, self.guest.cr3, LoadReason::Cr3)
        }
    }

    fn change_mode(&mut self, dice: &mut Dice) -> Result<(), TestCaseError> {
        let old = self.guest.mode;
        let toggled = dice.pick(&[
            Mode::WP,
            Mode::PSE,
            Mode::PGE,
            Mode::SMEP,
            Mode::SMAP,
            Mode::NXE,
        ]);
        if dice.one_in(2) && format_of(old) != Format::Off {
            let reason = match toggled {
                Mode::WP => LoadReason::Cr0,
                Mode::NXE => LoadReason::Efer,
                _ => LoadReason::Cr4,
            };
            return self.load(old ^ toggled, self.guest.cr3, reason);
        }
        let format = dice.pick(&[
            0,
            Mode::PG,
            Mode::PG,
            Mode::PG | Mode::PAE,
            Mode::PG | Mode::PAE | Mode::LMA,
        ]);
        let mode = old & !(Mode::PG | Mode::PAE | Mode::LMA) | Mode::PE | format;
        self.load(mode, root_of(format_of(mode)), LoadReason::Cr3)
    }

    fn step(&mut self, dice: &mut Dice) -> Result<(), TestCaseError> {
        match dice.below(20) {
            0..=11 => {
                let kind = dice.below(3);
                let access = Try {
                    write: kind == 1,
                    fetch: kind == 2,
                    user: dice.one_in(2),
                };
                // Mostly at the level that fits; at CPL 3 without U it is an implicit access.
                let cpl: u32 = if access.user || dice.one_in(10) { 3 } else { 0 };
                let seen = Mode::AC | 3 << Mode::CPL_SHIFT;
                let alignment = if dice.one_in(3) { Mode::AC } else { 0 };
                self.guest.mode = self.guest.mode & !seen | alignment | cpl << Mode::CPL_SHIFT;
                let va = self.any_address(dice);
                self.access(va, access)?;
            }
            12..=15 => self.change(dice)?,
            16 => {
                let va = self.any_address(dice);
                self.invlpg(va)?;
            }
            17 => self.change_mode(dice)?,
            18 => self.engine.tables_mut().revoke_before_next = true,
            _ => {
                let (mode, cr3) = (Mode::from_bits(self.guest.mode), self.guest.cr3);
                if dice.one_in(2) {
                    self.engine.tables_mut().revoke();
                }
                self.request(|engine| engine.ensure_root(mode, cr3))?;
                prop_assert!(self.engine.tables().root.is_some());
            }
        }
        self.check()
    }
}

fn live(pages: usize, steps: &[u64]) -> Result<(), TestCaseError> {
    let ram = Ram::default();
    let mut records = vec![PageRecord::EMPTY; pages];
    let mut world = World::new(&ram, &mut records);
    world.load(0, 0, LoadReason::Reset)?;
    for &seed in steps {
        world.step(&mut Dice::new(seed))?;
    }
    let counters = world.engine.counters();
    prop_assert!(counters.pages_peak <= pages as u64);
    prop_assert!(counters.max_touched <= MAX_TOUCHED, "{counters:?}");
    prop_assert!(counters.max_repeats <= 1, "{counters:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_shadow_never_grants_what_the_guests_tables_do_not(steps in prop::collection::vec(any::<u64>(), 100..250)) {
        live(48, &steps)?;
    }

    #[test]
    fn a_pool_of_the_fewest_pages_still_makes_progress(
        pages in 6..12usize,
        steps in prop::collection::vec(any::<u64>(), 100..250),
    ) {
        live(pages, &steps)?;
    }
}

/// A short life that begins in `format`, with whatever `fault` makes the kernel do; answers the number of operations.
fn short_life(
    (format, pages): (u32, usize),
    fault: impl FnOnce(&mut Pool),
) -> Result<u64, TestCaseError> {
    let ram = Ram::default();
    let mut records = vec![PageRecord::EMPTY; pages];
    let mut world = World::new(&ram, &mut records);
    fault(world.engine.tables_mut());
    let mode = Mode::PE | Mode::WP | format;
    world.load(mode, root_of(format_of(mode)), LoadReason::Reset)?;
    let mut dice = Dice::new(u64::from(format));
    for _ in 0..80 {
        world.step(&mut Dice::new(dice.next()))?;
    }
    Ok(world.engine.tables().operations)
}

const LIVES: [(u32, usize); 3] = [
    (Mode::PG | Mode::PSE, 6),
    (Mode::PG | Mode::PAE, 9),
    (Mode::PG | Mode::PAE | Mode::LMA, 8),
];

#[test]
fn an_operation_that_fails_at_any_point_costs_nothing_but_work() {
    for life in LIVES {
        let operations = short_life(life, |_| ()).unwrap();
        assert!(operations > 80, "{operations}");
        for at in 0..operations {
            // One refusal; two, the second of which meets the drop of everything; more than one request gets over.
            for refusals in 1..=3 {
                let lived = short_life(life, |pool| pool.failing = Some((at, refusals)));
                assert!(
                    lived.is_ok(),
                    "{refusals} from {at} on, {life:?}: {lived:?}"
                );
            }
        }
    }
}

#[test]
fn a_pool_that_goes_stale_at_any_point_costs_nothing_but_work() {
    for life in LIVES {
        let operations = short_life(life, |_| ()).unwrap();
        for at in 0..operations {
            let lived = short_life(life, |pool| pool.revoke_at = Some(at));
            assert!(lived.is_ok(), "stale at {at}, {life:?}: {lived:?}");
        }
    }
}
