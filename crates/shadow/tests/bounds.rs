//! What a guest can make a request cost, and how few shadow pages an instruction gets along with.

mod common;

use common::dice::Dice;
use common::guest::*;
use common::{READ, Ram, Try, WRITE};
use shadow::{Load, LoadReason, MAX_TABLES, MAX_TOUCHED, MIN_PAGES, Outcome, PageRecord};

/// Every entry of every table leads to the one table below: all addresses are mapped, each with tables of its own in the
/// shadow.
fn everything_mapped() -> Ram {
    let ram = Ram::default();
    for n in 0..512 {
        for (table, below) in [
            (CR3, PDPT),
            (PDPT, DIRECTORY),
            (DIRECTORY, TABLE),
            (TABLE, 0x60_0000),
        ] {
            ram.set64(table + 8 * n, below | 7);
        }
    }
    ram
}

fn assert_bounded(guest: &Guest<'_>) {
    let counters = guest.engine.counters();
    assert!(counters.max_touched <= MAX_TOUCHED, "{counters:?}");
    assert!(counters.max_tables <= MAX_TABLES, "{counters:?}");
    guest.assert_nothing_refused();
}

/// An instruction with operands across `spans` of the boundaries that lie `2^shift` apart, in random order.
fn instruction(dice: &mut Dice, spans: usize, shift: u32, boundaries: u64) -> Vec<(u64, Try)> {
    let mut chosen: Vec<u64> = (0..boundaries).collect();
    let mut accesses = Vec::new();
    for _ in 0..spans {
        let at = chosen.swap_remove(dice.below(chosen.len() as u64) as usize);
        // Each span has two tables of its own.
        let boundary = (2 * at + 1) << shift;
        for va in [boundary - 0x10, boundary] {
            accesses.push((va, if dice.one_in(2) { READ } else { WRITE }));
        }
    }
    for n in (1..accesses.len()).rev() {
        accesses.swap(n, dice.below(n as u64 + 1) as usize);
    }
    accesses
}

/// Random instructions of the worst kind, one after the other, in a pool of `pages`.
fn all_get_done(ram: &Ram, pages: usize, mode: u32, (spans, shift): (usize, u32)) -> bool {
    let mut records = vec![PageRecord::EMPTY; pages];
    let mut guest = Guest::new(ram, &mut records, mode, CR3);
    let mut dice = Dice::new(5);
    for _ in 0..200 {
        let accesses = instruction(&mut dice, spans, shift, 20);
        // Each page faults twice at most: read first, then written.
        if guest.instruction(&accesses, 4 * spans as u64).is_none() {
            return false;
        }
    }
    assert_bounded(&guest);
    assert!(guest.engine.counters().pages_peak == pages as u64);
    true
}

#[test]
fn the_fewest_pages_are_enough_for_the_worst_instruction_and_one_less_is_not() {
    let ram = everything_mapped();
    // Operands on both sides of six boundaries of 512 GiB.
    assert!(all_get_done(&ram, MIN_PAGES, LONG, (6, 39)));
    assert!(!all_get_done(&ram, MIN_PAGES - 1, LONG, (6, 39)));
}

#[test]
fn an_instruction_that_lacks_one_page_never_ends() {
    let ram = everything_mapped();
    let mut records = [PageRecord::EMPTY; MIN_PAGES - 1];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    let accesses = instruction(&mut Dice::new(1), 6, 39, 6);
    assert_eq!(guest.instruction(&accesses, 10_000), None);
}

#[test]
fn outside_long_mode_nineteen_pages_are_enough() {
    let ram = everything_mapped();
    for n in 0..4 {
        ram.set64(CR3 + 8 * n, DIRECTORY | 1);
    }
    // Seven spans over boundaries of 2 MiB, and the root with its directories.
    assert!(all_get_done(&ram, 19, PAE, (7, 21)));
    assert!(!all_get_done(&ram, 18, PAE, (7, 21)));
    const { assert!(MIN_PAGES >= 19) };
}

#[test]
fn a_full_shadow_goes_away_in_one_operation() {
    let ram = everything_mapped();
    let mut records = vec![PageRecord::EMPTY; 2000];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    let mut dice = Dice::new(1);
    while guest.engine.counters().evictions < 500 {
        let va = dice.next() & 0x7fff_ffff_f000;
        assert_eq!(guest.fault(va, READ), Outcome::Filled);
    }
    let before = guest.engine.tables().operations;
    assert_eq!(guest.load(LoadReason::Cr3), Load::Done);
    // The retirement, an empty root, and its installation.
    assert_eq!(guest.engine.tables().operations - before, 3);
    assert_bounded(&guest);
}

#[test]
fn thousands_of_roots_cost_the_same_each() {
    let ram = everything_mapped();
    let mut records = [PageRecord::EMPTY; MIN_PAGES];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    for n in 0..5000u64 {
        // Any page will do as a root: the answer is the guest's own fault where it is none.
        guest.cr3 = if n % 3 == 0 { CR3 } else { n << 12 };
        let before = guest.engine.tables().operations;
        assert_eq!(guest.load(LoadReason::Cr3), Load::Done);
        let outcome = guest.fault(n << 30, READ);
        assert!(n % 3 != 0 || outcome == Outcome::Filled);
        assert!(guest.engine.tables().operations - before <= 10);
    }
    assert_bounded(&guest);
}

#[test]
fn addresses_chosen_for_deep_searches_stay_within_the_bound() {
    let ram = everything_mapped();
    let mut records = vec![PageRecord::EMPTY; 600];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    // Indices in the order that makes the search trees deepest, at every level, then in any.
    let deep: Vec<u64> = (0..9)
        .map(|n| 1 << n)
        .chain([0])
        .chain((0..9).map(|n| 0x1ff >> n))
        .collect();
    for &level4 in &deep[..10] {
        for &level3 in &deep {
            for &level2 in &deep {
                let va = (level4 & 255) << 39 | level3 << 30 | level2 << 21;
                assert_eq!(guest.fault(va, WRITE), Outcome::Filled);
            }
        }
    }
    assert!(guest.engine.counters().evictions > 1000);
    assert_bounded(&guest);
}

#[test]
fn tables_that_keep_changing_end_in_another_try() {
    let ram = everything_mapped();
    let mut records = [PageRecord::EMPTY; MIN_PAGES];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    ram.contention.set(u32::MAX);
    assert_eq!(guest.fault(0x1000, WRITE), Outcome::Retry);
    assert_bounded(&guest);
    ram.contention.set(0);
    assert_eq!(guest.fault(0x1000, WRITE), Outcome::Filled);
}

#[test]
fn a_pool_that_is_always_stale_ends_in_another_try() {
    let ram = everything_mapped();
    let mut records = [PageRecord::EMPTY; MIN_PAGES];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    guest.engine.tables_mut().stale_for = 1000;
    assert_eq!(guest.fault(0x1000, WRITE), Outcome::Retry);
    guest.invlpg(0x1000);
    assert_bounded(&guest);
    guest.engine.tables_mut().stale_for = 0;
    assert_eq!(guest.fault(0x1000, WRITE), Outcome::Filled);
}

#[test]
fn invlpg_of_a_gigabyte_page_costs_as_little_as_a_load() {
    let ram = everything_mapped();
    ram.set64(PDPT, 0x87);
    let mut records = vec![PageRecord::EMPTY; 64];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    // 2 MiB pieces, and 4 KiB pieces beside the hole.
    for va in (0..Ram::END).step_by(0x4000) {
        guest.fault(va, READ);
    }
    assert!(guest.engine.tables().leaves().len() > 60);
    let before = guest.engine.tables().operations;
    guest.invlpg(0x3fff_f000);
    assert!(guest.engine.tables().operations - before <= 3);
    assert_eq!(guest.engine.tables().leaves(), []);
    assert_bounded(&guest);
}

#[test]
fn invlpg_of_a_4m_page_in_4k_pieces_takes_two_tables_away() {
    let ram = Ram::default();
    // The 4 MiB page at 0 has the hole in its upper half; so have pieces of 4 KiB there, and one of 2 MiB below.
    ram.set32(CR3, 0x87);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, TWO_LEVEL, CR3);
    for va in (0..0x30_0000).step_by(0x1000) {
        assert_eq!(guest.fault(va, READ), Outcome::Filled);
    }
    assert_eq!(guest.engine.tables().leaves().len(), 257);
    let before = guest.engine.tables().operations;
    guest.invlpg(0x1000);
    assert_eq!(guest.engine.tables().leaves(), []);
    assert_eq!(guest.engine.tables().operations - before, 3);
    assert_bounded(&guest);
}

#[test]
fn an_access_that_comes_again_and_again_is_counted() {
    let ram = everything_mapped();
    let mut records = [PageRecord::EMPTY; MIN_PAGES];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    for va in [0x1000, 0x2000, 0x1000, 0x1000, 0x1000] {
        guest.fault(va, READ);
    }
    assert_eq!(guest.engine.counters().max_repeats, 2);
}
