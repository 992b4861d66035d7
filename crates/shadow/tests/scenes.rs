//! Single scenes of the engine, each with its own small guest.

mod common;

use common::dice::Dice;
use common::guest::*;
use common::pool::Pool;
use common::{FETCH, READ, Ram, Try, USER, USER_WRITE, WRITE};
use exit_abi::Mode;
use shadow::bounds::MAX_TURNS;
use shadow::{
    Access, Engine, Error, Fault, Limits, Load, LoadReason, MIN_PAGES, Outcome, PageRecord, Target,
};
use words::{Gpa, Gva};

#[test]
fn a_page_is_read_only_until_it_is_dirty() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.fault(0x10, READ), Outcome::Filled);
    assert_eq!(
        (guest.granted(0x10, READ), guest.granted(0x10, WRITE)),
        (Some(0x60_0010), None)
    );
    assert_eq!(ram.get64(TABLE), Some(0x60_0027));
    assert_eq!(guest.fault(0x10, WRITE), Outcome::Filled);
    assert_eq!(guest.granted(0x10, WRITE), Some(0x60_0010));
    assert_eq!(ram.get64(TABLE), Some(0x60_0067));
}

#[test]
fn the_first_fault_after_a_restart_needs_no_load() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.fault(0, READ), Outcome::Filled);
    assert_eq!(
        guest.fault(0, READ),
        Outcome::Filled,
        "and may be asked again"
    );
    assert!(guest.engine.tables().root.is_some());
}

#[test]
fn a_large_page_takes_the_place_of_the_pieces_before_it() {
    let ram = long_guest();
    // The upper half of this page is a hole.
    ram.set64(DIRECTORY, 0x20_0000 | 0x87);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.fault(0x5000, READ), Outcome::Filled);
    let access = Access::from_code(0);
    assert_eq!(
        guest.fault(0x10_0000, READ),
        Outcome::Device {
            gpa: Gpa::new(0x30_0000),
            access
        }
    );
    ram.set64(DIRECTORY, 0x60_0000 | 0x87);
    guest.invlpg(0x1f_f000);
    assert_eq!(guest.granted(0x5000, READ), None);
    assert_eq!(guest.fault(0x5000, READ), Outcome::Filled);
    assert_eq!(guest.granted(0x5000, READ), Some(0x60_5000));
    assert_eq!(guest.granted(0x1f_f000, READ), Some(0x7f_f000));
    // And back.
    ram.set64(DIRECTORY, TABLE | 7);
    ram.set64(TABLE, 0x80_0000 | 7);
    assert_eq!(guest.fault(0, WRITE), Outcome::Filled);
    assert_eq!(guest.granted(0, WRITE), Some(0x80_0000));
    assert!(guest.engine.tables().refused.is_empty());
}

#[test]
fn invlpg_of_a_gigabyte_page_drops_all_its_pieces() {
    let ram = long_guest();
    ram.set64(PDPT, 0x87);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    let pieces = [0x20_0000, 0x60_0000, 0xe0_0000];
    for va in pieces {
        assert_eq!(guest.fault(va, READ), Outcome::Filled);
        assert_eq!(guest.granted(va, READ), Some(va));
    }
    guest.invlpg(0x3fff_f000);
    assert_eq!(pieces.map(|va| guest.granted(va, READ)), [None; 3]);
}

#[test]
fn a_pool_that_is_too_small_is_refused_at_the_start() {
    let ram = Ram::default();
    let mut records = [PageRecord::EMPTY; MIN_PAGES];
    let mut start = |pages: usize| {
        Engine::new(
            &ram,
            Pool::new(pages),
            Limits::QEMU64,
            &mut records[..pages],
        )
        .err()
    };
    assert_eq!(start(MIN_PAGES), None);
    assert_eq!(start(MIN_PAGES - 1), Some(Error::PoolTooSmall));
    let mut records = [PageRecord::EMPTY; 5];
    let engine = Engine::cramped(&ram, Pool::new(5), Limits::QEMU64, &mut records);
    assert_eq!(engine.err(), Some(Error::PoolTooSmall));
}

#[test]
fn eviction_takes_the_table_filled_longest_ago() {
    let ram = long_guest();
    for n in 0..4 {
        ram.set64(DIRECTORY + 8 * n, TABLE | 7);
    }
    ram.set64(TABLE, 0x60_0000 | 7);
    // Root, two tables on the way, three page tables.
    let mut records = [PageRecord::EMPTY; 6];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    for n in [0, 1, 2, 0, 3] {
        assert_eq!(guest.fault(n << 21, READ), Outcome::Filled);
    }
    assert_eq!(
        [0, 1, 2, 3].map(|n| guest.granted(n << 21, READ).is_some()),
        [true, false, true, true]
    );
    assert_eq!(guest.engine.counters().evictions, 1);
}

#[test]
fn pdptes_count_as_they_were_when_they_were_loaded() {
    let ram = Ram::default();
    let (cr3, directory) = (0x40_0020, 0x40_1000);
    ram.set64(cr3, directory | 1);
    ram.set64(directory, 0x60_0000 | 0xe7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, PAE, cr3);
    assert_eq!(guest.load(LoadReason::Cr3), Load::Done);
    ram.set64(cr3, 0);
    guest.invlpg(0);
    assert_eq!(guest.fault(0, WRITE), Outcome::Filled);
    ram.set64(cr3 + 8, directory | 3);
    assert_eq!(guest.load(LoadReason::Cr3), Load::GeneralProtection);
    assert_eq!(
        guest.granted(0, WRITE),
        Some(0x60_0000),
        "a refused load changes nothing"
    );
    ram.set64(cr3 + 8, directory | 1);
    assert_eq!(guest.load(LoadReason::Cr3), Load::Done);
    assert_eq!(guest.fault(0, WRITE), Outcome::Inject { code: 2 });
    assert_eq!(guest.fault(0x4000_0000, WRITE), Outcome::Filled);
}

#[test]
fn without_paging_every_address_is_itself() {
    let ram = Ram::default();
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, 0, 0);
    let all = Try {
        write: true,
        fetch: false,
        user: true,
    };
    assert_eq!(guest.load(LoadReason::Reset), Load::Done);
    assert_eq!(guest.fault(0xf_fff0, all), Outcome::Filled);
    assert_eq!(guest.granted(0x1234, all), Some(0x1234));
    guest.invlpg(0x1000);
    assert_eq!(
        guest.granted(
            0x1234,
            Try {
                write: false,
                fetch: true,
                user: true
            }
        ),
        Some(0x1234)
    );
    let access = Access::from_code(all.code());
    assert_eq!(
        guest.fault(0xfee0_0000, all),
        Outcome::Device {
            gpa: Gpa::new(0xfee0_0000),
            access
        }
    );
}

#[test]
fn an_access_on_the_guests_behalf_has_the_guests_rights_and_marks() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 5);
    ram.set64(TABLE + 8, 0x60_1000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    let mut ask = |va, access| {
        let fault = guest.fault_at(va, access);
        guest.engine.translate(&fault)
    };
    assert_eq!(ask(0x8, WRITE), Ok(Target::Inject { code: 3 }));
    assert_eq!(ask(0x1008, WRITE), Ok(Target::At(Gpa::new(0x60_1008))));
    assert_eq!(ram.get64(TABLE + 8), Some(0x60_1067));
    assert_eq!(ask(1 << 47, READ), Err(Error::NonCanonical));
}

#[test]
fn hostile_words_are_answered_and_never_panic() {
    let ram = long_guest();
    let mut records = [PageRecord::EMPTY; 6];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    let mut dice = Dice::new(3);
    for _ in 0..20_000 {
        let mode = Mode::from_bits(dice.next() as u32);
        let cr3 = if dice.one_in(2) { CR3 } else { dice.next() };
        let fault = Fault {
            mode,
            cr3,
            gva: Gva::new(dice.next()),
            access: Access::from_code(dice.next() as u32),
        };
        let _ = guest.engine.fault(&fault);
        let _ = guest.engine.translate(&fault);
        let _ = guest.engine.invlpg(mode, cr3, fault.gva);
        if dice.one_in(4) {
            let _ = guest.engine.load(mode, cr3, LoadReason::Cr4);
            let _ = guest.engine.ensure_root(mode, cr3);
        }
    }
    assert!(
        guest.engine.tables().refused.is_empty(),
        "{:?}",
        guest.engine.tables().refused
    );
}

#[test]
fn tables_that_make_room_for_large_pages_are_used_again() {
    let ram = long_guest();
    ram.set64(TABLE, 0x80_0000 | 7);
    let mut records = [PageRecord::EMPTY; 6];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    for _ in 0..10 {
        for entry in [0x60_0000 | 0x87, TABLE | 7] {
            ram.set64(DIRECTORY, entry);
            guest.invlpg(0);
            assert_eq!(guest.fault(0, READ), Outcome::Filled);
        }
    }
    let counters = guest.engine.counters();
    assert_eq!((counters.evictions, counters.pages_peak), (0, 4));
    assert!(guest.engine.tables().refused.is_empty());
}

#[test]
fn a_fault_that_comes_again_although_it_was_filled_flushes_its_address() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    ram.set64(TABLE + 8, 0x60_1000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    let mut flushes = |va| {
        assert_eq!(guest.fault(va, READ), Outcome::Filled);
        guest.engine.counters().flush_address
    };
    assert_eq!([0, 0x1000, 0].map(&mut flushes), [0, 0, 0]);
    assert_eq!([0, 0, 0x1000].map(&mut flushes), [1, 2, 2]);
}

/// What the page at `va`, of 2^`bits` bytes from guest-physical 0, becomes: 2 MiB pieces where all is memory, 4 KiB pieces
/// beside the hole, and a device in it.
fn assert_split_at_the_hole(guest: &mut Guest, va: u64, bits: u32) {
    let end = (1 << bits).min(Ram::END);
    for offset in (0..end).step_by(0x1_7000) {
        let is_memory = (&Ram::default() as &Ram).has(offset & !0xfff, 0x1000);
        match guest.fault(va + offset, READ) {
            Outcome::Filled => assert!(is_memory, "{offset:#x}"),
            Outcome::Device { gpa, .. } => assert!(!is_memory && gpa.bits() == offset),
            outcome => panic!("{outcome:?} at {offset:#x}"),
        }
        assert_eq!(
            guest.granted(va + offset, READ),
            is_memory.then_some(offset)
        );
    }
    for leaf in guest.engine.tables().leaves() {
        assert_eq!(leaf.va - va, leaf.gpa);
        let beside_hole = leaf.gpa >> 21 == 1;
        assert_eq!(leaf.bits, if beside_hole { 12 } else { 21 });
    }
    guest.invlpg(va + (1 << bits) - 1);
    assert_eq!(guest.engine.tables().leaves(), []);
    assert!(guest.engine.tables().refused.is_empty());
}

#[test]
fn a_large_page_of_any_size_stays_large_except_beside_a_hole() {
    let ram = long_guest();
    let mut records = [PageRecord::EMPTY; 12];
    // 1 GiB at 2 GiB; the 2 MiB with the hole at 6 MiB.
    ram.set64(PDPT + 16, 0x87);
    let mut guest = Guest::unheard(&ram, &mut records, LONG, CR3);
    assert_split_at_the_hole(&mut guest, 0x8000_0000, 30);
    ram.set64(DIRECTORY + 8, 0x20_0000 | 0x87);
    for va in [0x20_0000, 0x2f_f000] {
        assert_eq!(guest.fault(va, WRITE), Outcome::Filled);
        assert_eq!(guest.granted(va, WRITE), Some(va));
    }
    assert!(matches!(
        guest.fault(0x30_0000, WRITE),
        Outcome::Device { .. }
    ));
    // 4 MiB, at 4 MiB.
    ram.set32(0x50_0004, 0x87);
    let two_level = Mode::PE | Mode::PG | Mode::PSE | Mode::WP;
    let mut guest = Guest::unheard(&ram, &mut records, two_level, 0x50_0000);
    assert_split_at_the_hole(&mut guest, 0x40_0000, 22);
}

/// What a processor does for a program without CR0.WP, at CPL 3.
const TURNS: u32 = (LONG & !Mode::WP) | 3 << Mode::CPL_SHIFT;

#[test]
fn an_instruction_may_read_a_read_only_large_page_as_user_and_write_another_part_implicitly() {
    let ram = long_guest();
    ram.set64(PDPT + 8, 0x85);
    ram.set64(DIRECTORY, 0x60_0000 | 0x85);
    let mut records = [PageRecord::EMPTY; 12];
    // A far call through a gate: the code, and the inner ring's stack, in one page of 2 MiB, and in one of 1 GiB.
    for page in [0, 0x4060_0000] {
        let mut guest = Guest::new(&ram, &mut records, TURNS, CR3);
        let call = [
            (
                page | 0x1000,
                Try {
                    user: true,
                    ..FETCH
                },
            ),
            (page | 0x2ff8, WRITE),
        ];
        assert_eq!(guest.instruction(&call, 2), Some(2));
        // The program still cannot write where the processor did.
        assert_eq!(guest.injected(page | 0x2ff8, USER_WRITE), 7);
        // All of the page is the guest's to flush at once.
        guest.invlpg(page | 0x1f_f000);
        assert_eq!(
            call.map(|(va, access)| guest.granted(va, access)),
            [None; 2]
        );
        guest.assert_nothing_refused();
    }
}

#[test]
fn a_page_that_one_instruction_needs_both_as_user_and_implicitly_ends_the_vm_and_not_the_time() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 5);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, TURNS, CR3);
    let (read, write) = (guest.fault_at(0, USER), guest.fault_at(8, WRITE));
    // A program and the processor may use a page in turn for as long as something else happens between.
    for _ in 0..MAX_TURNS {
        assert_eq!(guest.engine.fault(&read), Ok(Outcome::Filled));
        assert_eq!(guest.engine.fault(&write), Ok(Outcome::Filled));
        guest.invlpg(0x1000);
    }
    let endless = (0..=MAX_TURNS).find_map(|_| {
        let faults = [&read, &write].map(|fault| guest.engine.fault(fault));
        faults.contains(&Err(Error::Endless)).then_some(faults)
    });
    assert!(endless.is_some());
    // So may a kernel and its programs.
    guest.mode = LONG & !Mode::WP;
    let kernel = guest.fault_at(8, WRITE);
    for _ in 0..=MAX_TURNS {
        assert_eq!(guest.engine.fault(&kernel), Ok(Outcome::Filled));
        assert_eq!(guest.engine.fault(&read), Ok(Outcome::Filled));
    }
}
