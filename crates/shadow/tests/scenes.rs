//! Single scenes of the engine, each with its own small guest.

mod common;

use common::pool::Pool;
use common::reference::Try;
use common::{Dice, Ram};
use exit_abi::Mode;
use shadow::{
    Access, Engine, Error, Fault, Limits, Load, LoadReason, MIN_PAGES, Outcome, PageRecord, Target,
};
use words::{Gpa, Gva};

const LONG: u32 = Mode::PE | Mode::PG | Mode::PAE | Mode::LMA | Mode::WP | Mode::NXE;
const PAE: u32 = Mode::PE | Mode::PG | Mode::PAE | Mode::WP;
const READ: Try = Try {
    write: false,
    fetch: false,
    user: false,
};
const WRITE: Try = Try {
    write: true,
    fetch: false,
    user: false,
};
/// A long-mode guest: PML4, PDPT, page directory, page table.
const CR3: u64 = 0x40_0000;
const PDPT: u64 = 0x40_1000;
const DIRECTORY: u64 = 0x40_2000;
const TABLE: u64 = 0x40_3000;

fn long_guest() -> Ram {
    let ram = Ram::default();
    ram.set64(CR3, PDPT | 7);
    ram.set64(PDPT, DIRECTORY | 7);
    ram.set64(DIRECTORY, TABLE | 7);
    ram
}

struct Scene<'a> {
    engine: Engine<'a, &'a Ram, Pool>,
    mode: u32,
    cr3: u64,
}

impl<'a> Scene<'a> {
    fn new(ram: &'a Ram, records: &'a mut [PageRecord], mode: u32, cr3: u64) -> Self {
        let limits = Limits {
            width: 40,
            gigabyte_pages: true,
        };
        let pool = Pool::new(records.len());
        Self {
            engine: Engine::cramped(ram, pool, limits, records).unwrap(),
            mode,
            cr3,
        }
    }
    fn fault_at(&self, va: u64, access: Try) -> Fault {
        Fault {
            mode: Mode::from_bits(self.mode),
            cr3: self.cr3,
            gva: Gva::new(va),
            access: Access::from_code(access.code()),
        }
    }
    fn fault(&mut self, va: u64, access: Try) -> Outcome {
        let fault = self.fault_at(va, access);
        self.engine.fault(&fault).unwrap()
    }
    fn granted(&mut self, va: u64, access: Try) -> Option<u64> {
        let mode = self.mode;
        self.engine.tables_mut().access(mode, va, access)
    }
    fn invlpg(&mut self, va: u64) {
        self.engine
            .invlpg(Mode::from_bits(self.mode), self.cr3, Gva::new(va))
            .unwrap();
    }
    fn load(&mut self, reason: LoadReason) -> Load {
        self.engine
            .load(Mode::from_bits(self.mode), self.cr3, reason)
            .unwrap()
    }
}

#[test]
fn a_page_is_read_only_until_it_is_dirty() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    assert_eq!(scene.fault(0x10, READ), Outcome::Filled);
    assert_eq!(
        (scene.granted(0x10, READ), scene.granted(0x10, WRITE)),
        (Some(0x60_0010), None)
    );
    assert_eq!(ram.get64(TABLE), Some(0x60_0027));
    assert_eq!(scene.fault(0x10, WRITE), Outcome::Filled);
    assert_eq!(scene.granted(0x10, WRITE), Some(0x60_0010));
    assert_eq!(ram.get64(TABLE), Some(0x60_0067));
}

#[test]
fn the_first_fault_after_a_restart_needs_no_load() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    assert_eq!(scene.fault(0, READ), Outcome::Filled);
    assert_eq!(
        scene.fault(0, READ),
        Outcome::Filled,
        "and may be asked again"
    );
    assert!(scene.engine.tables().root.is_some());
}

#[test]
fn a_large_page_takes_the_place_of_the_pieces_before_it() {
    let ram = long_guest();
    // The upper half of this page is a hole.
    ram.set64(DIRECTORY, 0x20_0000 | 0x87);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    assert_eq!(scene.fault(0x5000, READ), Outcome::Filled);
    let access = Access::from_code(0);
    assert_eq!(
        scene.fault(0x10_0000, READ),
        Outcome::Device {
            gpa: Gpa::new(0x30_0000),
            access
        }
    );
    ram.set64(DIRECTORY, 0x60_0000 | 0x87);
    scene.invlpg(0x1f_f000);
    assert_eq!(scene.granted(0x5000, READ), None);
    assert_eq!(scene.fault(0x5000, READ), Outcome::Filled);
    assert_eq!(scene.granted(0x5000, READ), Some(0x60_5000));
    assert_eq!(scene.granted(0x1f_f000, READ), Some(0x7f_f000));
    // And back.
    ram.set64(DIRECTORY, TABLE | 7);
    ram.set64(TABLE, 0x80_0000 | 7);
    assert_eq!(scene.fault(0, WRITE), Outcome::Filled);
    assert_eq!(scene.granted(0, WRITE), Some(0x80_0000));
    assert!(scene.engine.tables().refused.is_empty());
}

#[test]
fn invlpg_of_a_gigabyte_page_drops_all_its_pieces() {
    let ram = long_guest();
    ram.set64(PDPT, 0x87);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    let pieces = [0x20_0000, 0x60_0000, 0xe0_0000];
    for va in pieces {
        assert_eq!(scene.fault(va, READ), Outcome::Filled);
        assert_eq!(scene.granted(va, READ), Some(va));
    }
    scene.invlpg(0x3fff_f000);
    assert_eq!(pieces.map(|va| scene.granted(va, READ)), [None; 3]);
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
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    for n in [0, 1, 2, 0, 3] {
        assert_eq!(scene.fault(n << 21, READ), Outcome::Filled);
    }
    assert_eq!(
        [0, 1, 2, 3].map(|n| scene.granted(n << 21, READ).is_some()),
        [true, false, true, true]
    );
    assert_eq!(scene.engine.counters().evictions, 1);
}

#[test]
fn pdptes_count_as_they_were_when_they_were_loaded() {
    let ram = Ram::default();
    let (cr3, directory) = (0x40_0020, 0x40_1000);
    ram.set64(cr3, directory | 1);
    ram.set64(directory, 0x60_0000 | 0xe7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, PAE, cr3);
    assert_eq!(scene.load(LoadReason::Cr3), Load::Done);
    ram.set64(cr3, 0);
    scene.invlpg(0);
    assert_eq!(scene.fault(0, WRITE), Outcome::Filled);
    ram.set64(cr3 + 8, directory | 3);
    assert_eq!(scene.load(LoadReason::Cr3), Load::GeneralProtection);
    assert_eq!(
        scene.granted(0, WRITE),
        Some(0x60_0000),
        "a refused load changes nothing"
    );
    ram.set64(cr3 + 8, directory | 1);
    assert_eq!(scene.load(LoadReason::Cr3), Load::Done);
    assert_eq!(scene.fault(0, WRITE), Outcome::Inject { code: 2 });
    assert_eq!(scene.fault(0x4000_0000, WRITE), Outcome::Filled);
}

#[test]
fn without_paging_every_address_is_itself() {
    let ram = Ram::default();
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, 0, 0);
    let all = Try {
        write: true,
        fetch: false,
        user: true,
    };
    assert_eq!(scene.load(LoadReason::Reset), Load::Done);
    assert_eq!(scene.fault(0xf_fff0, all), Outcome::Filled);
    assert_eq!(scene.granted(0x1234, all), Some(0x1234));
    scene.invlpg(0x1000);
    assert_eq!(
        scene.granted(
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
        scene.fault(0xfee0_0000, all),
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
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    let mut ask = |va, access| {
        let fault = scene.fault_at(va, access);
        scene.engine.translate(&fault)
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
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
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
        let _ = scene.engine.fault(&fault);
        let _ = scene.engine.translate(&fault);
        let _ = scene.engine.invlpg(mode, cr3, fault.gva);
        if dice.one_in(4) {
            let _ = scene.engine.load(mode, cr3, LoadReason::Cr4);
            let _ = scene.engine.ensure_root(mode, cr3);
        }
    }
    assert!(
        scene.engine.tables().refused.is_empty(),
        "{:?}",
        scene.engine.tables().refused
    );
}

#[test]
fn tables_that_make_room_for_large_pages_are_used_again() {
    let ram = long_guest();
    ram.set64(TABLE, 0x80_0000 | 7);
    let mut records = [PageRecord::EMPTY; 6];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    for _ in 0..10 {
        for entry in [0x60_0000 | 0x87, TABLE | 7] {
            ram.set64(DIRECTORY, entry);
            scene.invlpg(0);
            assert_eq!(scene.fault(0, READ), Outcome::Filled);
        }
    }
    let counters = scene.engine.counters();
    assert_eq!((counters.evictions, counters.pages_peak), (0, 4));
    assert!(scene.engine.tables().refused.is_empty());
}

#[test]
fn a_fault_that_comes_again_although_it_was_filled_flushes_its_address() {
    let ram = long_guest();
    ram.set64(TABLE, 0x60_0000 | 7);
    ram.set64(TABLE + 8, 0x60_1000 | 7);
    let mut records = [PageRecord::EMPTY; 8];
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    let mut flushes = |va| {
        assert_eq!(scene.fault(va, READ), Outcome::Filled);
        scene.engine.counters().flush_address
    };
    assert_eq!([0, 0x1000, 0].map(&mut flushes), [0, 0, 0]);
    assert_eq!([0, 0, 0x1000].map(&mut flushes), [1, 2, 2]);
}

/// What the page at `va`, of 2^`bits` bytes from guest-physical 0, becomes: 2 MiB pieces where all is memory, 4 KiB pieces
/// beside the hole, and a device in it.
fn assert_split_at_the_hole(scene: &mut Scene, va: u64, bits: u32) {
    let end = (1 << bits).min(Ram::END);
    for offset in (0..end).step_by(0x1_7000) {
        let is_memory = (&Ram::default() as &Ram).has(offset & !0xfff, 0x1000);
        match scene.fault(va + offset, READ) {
            Outcome::Filled => assert!(is_memory, "{offset:#x}"),
            Outcome::Device { gpa, .. } => assert!(!is_memory && gpa.bits() == offset),
            outcome => panic!("{outcome:?} at {offset:#x}"),
        }
        assert_eq!(
            scene.granted(va + offset, READ),
            is_memory.then_some(offset)
        );
    }
    for leaf in scene.engine.tables().leaves() {
        assert_eq!(leaf.va - va, leaf.gpa);
        let beside_hole = leaf.gpa >> 21 == 1;
        assert_eq!(leaf.bits, if beside_hole { 12 } else { 21 });
    }
    scene.invlpg(va + (1 << bits) - 1);
    assert_eq!(scene.engine.tables().leaves(), []);
    assert!(scene.engine.tables().refused.is_empty());
}

#[test]
fn a_large_page_of_any_size_stays_large_except_beside_a_hole() {
    let ram = long_guest();
    let mut records = [PageRecord::EMPTY; 12];
    // 1 GiB at 2 GiB; the 2 MiB with the hole at 6 MiB.
    ram.set64(PDPT + 16, 0x87);
    let mut scene = Scene::new(&ram, &mut records, LONG, CR3);
    assert_split_at_the_hole(&mut scene, 0x8000_0000, 30);
    ram.set64(DIRECTORY + 8, 0x20_0000 | 0x87);
    for va in [0x20_0000, 0x2f_f000] {
        assert_eq!(scene.fault(va, WRITE), Outcome::Filled);
        assert_eq!(scene.granted(va, WRITE), Some(va));
    }
    assert!(matches!(
        scene.fault(0x30_0000, WRITE),
        Outcome::Device { .. }
    ));
    // 4 MiB, at 4 MiB.
    ram.set32(0x50_0004, 0x87);
    let two_level = Mode::PE | Mode::PG | Mode::PSE | Mode::WP;
    let mut scene = Scene::new(&ram, &mut records, two_level, 0x50_0000);
    assert_split_at_the_hole(&mut scene, 0x40_0000, 22);
}
