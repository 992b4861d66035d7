//! The walk against the reference walker, in every mode, over tables full of surprises.

mod common;

use common::reference::{Guest, Try, Verdict};
use common::{Dice, Ram};
use exit_abi::Mode;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use shadow::{Access, Limits, Space, Stop, walk};
use words::Gva;

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

fn compare(seed: u64) -> Result<(), TestCaseError> {
    let mut dice = Dice::new(seed);
    let ram = Ram::default();
    for _ in 0..20 {
        let mode = mode(&mut dice);
        let wide = mode & Mode::PAE != 0;
        for table in 0..TABLE_COUNT {
            for index in INDICES {
                if dice.one_in(2) {
                    let width = if wide { 8 } else { 4 };
                    let index = if !wide && dice.one_in(4) {
                        index + 512
                    } else {
                        index
                    };
                    let at = TABLES + 0x1000 * table + width * index;
                    let value = entry(&mut dice, wide);
                    if wide {
                        ram.set64(at, value)
                    } else {
                        ram.set32(at, value as u32)
                    }
                }
            }
        }
        let cr3 = if dice.one_in(30) {
            Ram::END + 0x1000
        } else {
            table(&mut dice)
        };
        let limits = Limits {
            width: dice.pick(&[36, 40, 48, 52]),
            gigabyte_pages: dice.one_in(2),
        };
        let pdptes = [0; 4].map(|_| {
            if dice.one_in(4) {
                0
            } else {
                table(&mut dice) | 1
            }
        });
        let is_pae = mode & (Mode::PG | Mode::PAE | Mode::LMA) == Mode::PG | Mode::PAE;
        let space = Space {
            mode: Mode::from_bits(mode),
            cr3,
            pdptes: if is_pae { pdptes } else { [0; 4] },
        };
        let guest = Guest {
            mode,
            cr3,
            pdptes,
            width: limits.width,
            giant: limits.gigabyte_pages,
        };
        for _ in 0..12 {
            let va = address(&mut dice, mode & Mode::LMA != 0);
            let kind = dice.below(3);
            let access = Try {
                write: kind == 1,
                fetch: kind == 2,
                user: dice.one_in(2),
            };
            let before = ram.clone();
            let expected = guest.walk(&before, va, access);
            ram.contention.set(if dice.one_in(10) { 1 } else { 0 });
            let found = walk(
                &&ram,
                limits,
                &space,
                Gva::new(va),
                Access::from_code(access.code()),
                &mut 0,
            );
            ram.contention.set(0);
            guest.mark(&before, &expected);
            prop_assert_eq!(ram.image(), before.image(), "what the walk left in memory");
            match (found, expected) {
                (
                    Ok(found),
                    Verdict::Page {
                        gpa,
                        dirty,
                        bits,
                        user,
                        ..
                    },
                ) => {
                    prop_assert_eq!(found.gpa.bits(), gpa);
                    prop_assert_eq!(found.user, user);
                    prop_assert_eq!(found.dirty, dirty || access.write);
                    if mode & Mode::PG != 0 {
                        prop_assert_eq!(found.size.bits(), bits);
                    }
                }
                (Err(Stop::Fault(code)), Verdict::Fault(expected)) => {
                    prop_assert_eq!(code, expected)
                }
                (Err(Stop::NonCanonical), Verdict::NonCanonical) => {}
                (found, expected) => prop_assert!(false, "{found:?} but {expected:?}"),
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_answers_and_marks_as_the_reference_does(seed in any::<u64>()) {
        compare(seed)?;
    }
}

#[test]
fn a_self_mapped_root_is_walked_and_marked() {
    let ram = Ram::default();
    ram.set64(TABLES + 8 * 511, TABLES | 3);
    let mode = Mode::from_bits(Mode::PG | Mode::PE | Mode::PAE | Mode::LMA | Mode::WP);
    let space = Space {
        mode,
        cr3: TABLES,
        pdptes: [0; 4],
    };
    let found = walk(
        &&ram,
        Limits::QEMU64,
        &space,
        Gva::new(!0xfff),
        Access::from_code(2),
        &mut 0,
    )
    .unwrap();
    assert_eq!(found.gpa.bits(), TABLES);
    assert!(found.dirty);
    assert_eq!(ram.get64(TABLES + 8 * 511), Some(TABLES | 0x63));
}

#[test]
fn a_walk_gives_up_when_an_entry_never_stands_still() {
    let ram = Ram::default();
    ram.set32(TABLES, 0x83);
    ram.contention.set(1000);
    let space = Space {
        mode: Mode::from_bits(Mode::PG | Mode::PSE),
        cr3: TABLES,
        pdptes: [0; 4],
    };
    let found = walk(
        &&ram,
        Limits::QEMU64,
        &space,
        Gva::new(0),
        Access::from_code(0),
        &mut 0,
    );
    assert_eq!(found, Err(Stop::Contended));
    assert_eq!(ram.get32(TABLES), Some(0x83));
}

#[test]
fn a_root_outside_memory_reads_as_ones() {
    let ram = Ram::default();
    let at = |bits| {
        let space = Space {
            mode: Mode::from_bits(bits),
            cr3: Ram::END,
            pdptes: [0; 4],
        };
        walk(
            &&ram,
            Limits::QEMU64,
            &space,
            Gva::new(0x5000),
            Access::from_code(0),
            &mut 0,
        )
    };
    assert_eq!(
        at(Mode::PG | Mode::PAE | Mode::LMA | Mode::NXE),
        Err(Stop::Fault(0b1001))
    );
    assert_eq!(at(Mode::PG | Mode::PSE), Err(Stop::Fault(0b1001)));
    // Without PSE a 4-byte entry has no reserved bits: two levels of ones lead to the last page below 4 GiB.
    assert_eq!(at(Mode::PG).map(|found| found.gpa.bits()), Ok(0xffff_f000));
}
