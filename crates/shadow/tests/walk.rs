//! The walk against the naive walker, in every mode, over tables full of surprises.

mod common;

use common::Ram;
use common::dice::Dice;
use common::naive::{mark, read};
use exit_abi::Mode;
use naive_walk::Refusal;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use shadow::{Access, Limits, Space, Stop, Translation, walk};
use words::Gva;
use words::x86::pf;

const TABLES: u64 = 0x1_0000;
const TABLE_COUNT: u64 = 5;

/// Indices that the tests use: few, so that walks meet what was written.
const INDICES: [u64; 4] = [0, 1, 7, 511];

fn table(dice: &mut Dice) -> u64 {
    TABLES + 0x1000 * dice.below(TABLE_COUNT)
}

/// An entry that mostly leads somewhere, with now and then any other bit set.
fn entry(dice: &mut Dice, wide: bool) -> u64 {
    let target = match dice.below(10) {
        0..=5 => table(dice),
        6 => dice.below(16) << 21,
        7 => dice.below(4) << 30,
        8 => 0x30_0000 + (dice.below(0x100) << 12),
        _ => dice.next() & 0xf_ffff_f000,
    };
    let mut value = target | 0x7 | dice.next() & 0x60;
    for (bit, chance) in [(0, 20), (1, 4), (2, 4), (7, 3), (8, 20), (63, 6)] {
        if dice.one_in(chance) {
            value ^= 1 << bit;
        }
    }
    if dice.one_in(12) {
        value ^= 1 << dice.below(64);
    }
    if wide { value } else { value & 0xffff_ffff }
}

fn mode(dice: &mut Dice) -> u32 {
    let format = dice.pick(&[
        0,
        Mode::PG,
        Mode::PG | Mode::PAE,
        Mode::PG | Mode::PAE | Mode::LMA,
    ]);
    let others = [
        Mode::WP,
        Mode::PSE,
        Mode::PGE,
        Mode::SMEP,
        Mode::SMAP,
        Mode::NXE,
        Mode::AC,
    ];
    let some = others
        .into_iter()
        .filter(|_| dice.one_in(2))
        .fold(0, |all, bit| all | bit);
    format | Mode::PE | some | (dice.below(4) as u32) << Mode::CPL_SHIFT
}

fn address(dice: &mut Dice, long: bool) -> u64 {
    let mut va = dice.below(0x1000);
    for shift in [12, 21, 30, 39] {
        va |= dice.pick(&INDICES) << shift;
    }
    if dice.one_in(2) {
        // An index of the 4-byte format.
        va = va & !(0x3ff << 22) | dice.pick(&INDICES) << 22;
    }
    if long && va >> 47 & 1 != 0 && !dice.one_in(16) {
        va | 0xffff << 48
    } else {
        va
    }
}

/// Writes entries over the tables.
fn scatter(dice: &mut Dice, ram: &Ram, wide: bool) {
    for table in 0..TABLE_COUNT {
        for index in INDICES {
            if dice.one_in(2) {
                continue;
            }
            let table = TABLES + 0x1000 * table;
            let value = entry(dice, wide);
            if wide {
                ram.set64(table + 8 * index, value);
            } else {
                let upper_half = if dice.one_in(4) { 512 } else { 0 };
                ram.set32(table + 4 * (index + upper_half), value as u32);
            }
        }
    }
}

fn space(dice: &mut Dice) -> Space {
    let mode = Mode::from_bits(mode(dice));
    let cr3 = if dice.one_in(30) {
        Ram::END + 0x1000
    } else {
        table(dice)
    };
    let mut pdptes = [0; 4];
    if mode.has(Mode::PG | Mode::PAE) && !mode.has(Mode::LMA) {
        for pdpte in &mut pdptes {
            if !dice.one_in(4) {
                *pdpte = table(dice) | 1;
            }
        }
    }
    Space { mode, cr3, pdptes }
}

fn compare_one(
    dice: &mut Dice,
    ram: &Ram,
    limits: Limits,
    space: &Space,
) -> Result<(), TestCaseError> {
    let gva = Gva::new(address(dice, space.mode.has(Mode::LMA)));
    let code = dice.pick(&[0, pf::W, pf::I]) | dice.pick(&[0, pf::U]);
    let before = ram.clone();
    let expected = naive_walk::walk(
        |at, bytes| read(&before, at, bytes),
        space.mode,
        space.cr3,
        Some(space.pdptes),
        naive_walk::Limits {
            width: limits.width,
            gigabyte_pages: limits.gigabyte_pages,
        },
        gva,
        naive_walk::Access::of(space.mode, code),
    );
    ram.contention.set(if dice.one_in(10) { 1 } else { 0 });
    let found = walk(&ram, limits, space, gva, Access::from_code(code), &mut 0);
    ram.contention.set(0);
    if let Ok(grant) = &expected {
        mark(&before, grant, code & pf::W != 0);
    }
    prop_assert_eq!(ram.image(), before.image(), "what the walk left in memory");
    match (found, expected) {
        (Ok(found), Ok(grant)) => {
            prop_assert_eq!(found.gpa, grant.gpa);
            prop_assert_eq!(found.writable, grant.rights.writable);
            prop_assert_eq!(found.user, grant.rights.user);
            prop_assert_eq!(found.executable, grant.rights.executable);
            prop_assert_eq!(found.dirty, grant.dirty || code & pf::W != 0);
            if space.mode.has(Mode::PG) {
                prop_assert_eq!(found.size.bits(), grant.page);
            }
        }
        (Err(Stop::Fault(code)), Err(Refusal::PageFault(expected))) => {
            prop_assert_eq!(code, expected);
        }
        (Err(Stop::NonCanonical), Err(Refusal::NonCanonical)) => {}
        (found, expected) => prop_assert!(false, "{found:?} but {expected:?}"),
    }
    Ok(())
}

fn compare(seed: u64) -> Result<(), TestCaseError> {
    let mut dice = Dice::new(seed);
    let ram = Ram::default();
    for _ in 0..20 {
        let space = space(&mut dice);
        scatter(&mut dice, &ram, space.mode.has(Mode::PAE));
        let limits = Limits {
            width: dice.pick(&[32, 36, 40, 48, 52]),
            gigabyte_pages: dice.one_in(2),
        };
        for _ in 0..12 {
            compare_one(&mut dice, &ram, limits, &space)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_answers_and_marks_as_the_naive_walker_does(seed in any::<u64>()) {
        compare(seed)?;
    }
}

/// A walk over one memory in one mode, for an access of a supervisor.
fn walk_from(cr3: u64, ram: &Ram, bits: u32, gva: u64, code: u32) -> Result<Translation, Stop> {
    let space = Space {
        mode: Mode::from_bits(bits),
        cr3,
        pdptes: [0; 4],
    };
    let access = Access::from_code(code);
    walk(&ram, Limits::QEMU64, &space, Gva::new(gva), access, &mut 0)
}

/// Where a read leads.
fn look(ram: &Ram, bits: u32, gva: u64) -> Result<u64, Stop> {
    walk_from(TABLES, ram, bits, gva, 0).map(|found| found.gpa.bits())
}

#[test]
fn real_mode_does_not_wrap_at_one_megabyte() {
    // FFFF:FFFF, the last byte of the high memory area: the A20 gate is open for good.
    assert_eq!(look(&Ram::default(), 0, 0x10_ffef), Ok(0x10_ffef));
}

#[test]
fn without_paging_an_address_wraps_at_four_gigabytes() {
    assert_eq!(look(&Ram::default(), Mode::PE, 0x1_0000_1234), Ok(0x1234));
}

#[test]
fn without_paging_other_control_bits_guard_nothing() {
    let bits = Mode::PE | Mode::WP | Mode::SMEP | Mode::SMAP | Mode::PAE | Mode::NXE;
    assert_eq!(look(&Ram::default(), bits, 0x5000), Ok(0x5000));
}

#[test]
fn legacy_paging_uses_32_bits_of_an_address() {
    let ram = Ram::default();
    ram.set32(TABLES, 0x83);
    let bits = Mode::PG | Mode::PE | Mode::PSE;
    assert_eq!(look(&ram, bits, 0xffff_ffff_0000_1234), Ok(0x1234));
}

#[test]
fn compatibility_mode_walks_four_levels_below_4_gib() {
    let ram = Ram::default();
    ram.set64(TABLES, (TABLES + 0x1000) | 1);
    ram.set64(TABLES + 0x1000 + 8 * 3, (TABLES + 0x2000) | 1);
    ram.set64(TABLES + 0x2000 + 8 * 511, 0x20_0081);
    let bits = Mode::PG | Mode::PE | Mode::PAE | Mode::LMA;
    assert_eq!(look(&ram, bits, 0xffff_fff8), Ok(0x3f_fff8));
}

#[test]
fn the_first_and_last_canonical_addresses_are_walked_and_no_others() {
    let ram = Ram::default();
    let bits = Mode::PG | Mode::PE | Mode::PAE | Mode::LMA;
    for gva in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, !0] {
        assert_eq!(look(&ram, bits, gva), Err(Stop::Fault(0)), "{gva:#x}");
    }
    for gva in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert_eq!(look(&ram, bits, gva), Err(Stop::NonCanonical), "{gva:#x}");
    }
}

#[test]
fn a_self_mapped_root_is_walked_and_marked() {
    let ram = Ram::default();
    ram.set64(TABLES + 8 * 511, TABLES | 3);
    let bits = Mode::PG | Mode::PE | Mode::PAE | Mode::LMA | Mode::WP;
    let found = walk_from(TABLES, &ram, bits, !0xfff, 2).unwrap();
    assert_eq!(found.gpa.bits(), TABLES);
    assert!(found.dirty);
    assert_eq!(ram.get64(TABLES + 8 * 511), Some(TABLES | 0x63));
}

#[test]
fn a_walk_gives_up_when_an_entry_never_stands_still() {
    let ram = Ram::default();
    ram.set32(TABLES, 0x83);
    ram.contention.set(1000);
    let found = look(&ram, Mode::PG | Mode::PSE, 0);
    assert_eq!(found, Err(Stop::Contended));
    assert_eq!(ram.get32(TABLES), Some(0x83));
}

#[test]
fn a_root_outside_memory_reads_as_ones() {
    let ram = Ram::default();
    let at = |bits| walk_from(Ram::END, &ram, bits, 0x5000, 0);
    assert_eq!(
        at(Mode::PG | Mode::PAE | Mode::LMA | Mode::NXE),
        Err(Stop::Fault(0b1001))
    );
    assert_eq!(at(Mode::PG | Mode::PSE), Err(Stop::Fault(0b1001)));
    // Without PSE a 4-byte entry has no reserved bits: two levels of ones lead to the last page below 4 GiB.
    assert_eq!(at(Mode::PG).map(|found| found.gpa.bits()), Ok(0xffff_f000));
}
