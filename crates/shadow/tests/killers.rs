//! Guests that broke other shadow MMUs, one test each. Those that need a whole machine are guests of their own.

mod common;

use common::guest::*;
use common::pool::Slot;
use common::{FETCH, READ, Ram, USER, USER_WRITE, WRITE};
use exit_abi::Mode;
use shadow::{Error, Load, LoadReason, PageRecord, Target};
use words::Gpa;

const PAGE: u64 = 0x60_0000;
/// Inside the hole of the tests' memory.
const HOLE: u64 = 0x30_0000;

/// The long-mode guest with a page at linear 0.
fn mapped_guest() -> Ram {
    let ram = long_guest();
    ram.set64(TABLE, PAGE | 7);
    ram
}

#[test]
fn a_frame_used_as_table_and_as_large_page_has_a_shadow_for_each_use() {
    let ram = mapped_guest();
    // One frame: a page table below slot 0, the directory's own frame as a table below slot 1, and both in the large page
    // that slot 2 maps.
    ram.set64(DIRECTORY + 8, DIRECTORY | 7);
    ram.set64(DIRECTORY + 16, CR3 | 0x87);
    let mut records = [PageRecord::EMPTY; 12];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.filled(0, READ), Some(PAGE));
    assert_eq!(guest.filled(0x20_0000, READ), Some(TABLE));
    assert_eq!(guest.filled(0x20_1000, READ), Some(DIRECTORY));
    assert_eq!(guest.filled(0x40_3000, READ), Some(TABLE));
    // As a table, the large page's entry is one for a 4 KiB page whose PAT bit stands where a directory has PS.
    assert_eq!(guest.filled(0x20_2000, READ), Some(CR3));
    // Each keeps its own meaning.
    assert_eq!(guest.granted(0, READ), Some(PAGE));
    assert_eq!(guest.granted(0x20_0000, READ), Some(TABLE));
    guest.assert_nothing_refused();
}

#[test]
fn a_request_in_another_role_never_finds_the_old_roles_shadow() {
    for bit in [
        Mode::WP,
        Mode::NXE,
        Mode::SMEP,
        Mode::SMAP,
        Mode::PSE,
        Mode::PGE,
    ] {
        let ram = mapped_guest();
        let mut records = [PageRecord::EMPTY; 8];
        let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
        assert_eq!(guest.filled(0, READ), Some(PAGE));
        ram.set64(TABLE, 0);
        guest.mode ^= bit;
        // The load that should have come was lost in a restart.
        assert_eq!(guest.injected(0, READ) & 1, 0, "{bit:#x}");
        assert_eq!(guest.granted(0, READ), None, "{bit:#x}");
    }
}

#[test]
fn a_request_with_another_cr3_never_finds_the_old_ones_shadow() {
    let ram = mapped_guest();
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.filled(0, READ), Some(PAGE));
    guest.cr3 = 0x41_0000;
    assert_eq!(guest.injected(0, READ), 0);
    assert_eq!(guest.granted(0, READ), None);
}

#[test]
fn two_parents_with_different_rights_share_a_table_and_keep_them() {
    let ram = mapped_guest();
    // The same tables below four entries: all rights, read-only, supervisor, no execution.
    ram.set64(CR3 + 8, PDPT | 5);
    ram.set64(CR3 + 16, PDPT | 3);
    ram.set64(CR3 + 24, PDPT | 7 | NX);
    let mut records = [PageRecord::EMPTY; 16];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    let [all, read_only, supervisor, no_execution] = [0, 1, 2, 3].map(|n: u64| n << 39);
    assert_eq!(guest.filled(all, USER_WRITE), Some(PAGE));
    assert_eq!(guest.injected(read_only, USER_WRITE), 7);
    assert_eq!(guest.filled(read_only, USER), Some(PAGE));
    assert_eq!(guest.granted(read_only, USER_WRITE), None);
    assert_eq!(guest.injected(supervisor, USER), 5);
    assert_eq!(guest.filled(supervisor, WRITE), Some(PAGE));
    assert_eq!(guest.granted(supervisor, USER), None);
    assert_eq!(guest.injected(no_execution, FETCH), 0x11);
    assert_eq!(guest.filled(no_execution, WRITE), Some(PAGE));
    assert_eq!(guest.granted(no_execution, FETCH), None);
    assert_eq!(guest.granted(all, USER_WRITE), Some(PAGE));
}

#[test]
fn an_entry_sent_from_memory_to_a_hole_ends_with_invlpg_not_before() {
    let ram = mapped_guest();
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.filled(0x10, READ), Some(PAGE | 0x10));
    ram.set64(TABLE, HOLE | 7);
    // Without INVLPG the old translation may be used, and is. A write is a fault, which sees the entry of today.
    assert_eq!(guest.granted(0x10, READ), Some(PAGE | 0x10));
    assert_eq!(guest.is_device(0x10, WRITE), Some(Gpa::new(HOLE | 0x10)));
    guest.invlpg(0x10);
    assert_eq!(guest.granted(0x10, READ), None);
    assert_eq!(guest.is_device(0x10, READ), Some(Gpa::new(HOLE | 0x10)));
    // And back, for which no INVLPG is needed: a hole leaves nothing behind.
    ram.set64(TABLE, PAGE | 7);
    assert_eq!(guest.filled(0x10, WRITE), Some(PAGE | 0x10));
}

#[test]
fn an_entry_that_becomes_present_needs_no_flush_at_any_level() {
    let ram = mapped_guest();
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    for (at, entry) in [
        (CR3, PDPT),
        (PDPT, DIRECTORY),
        (DIRECTORY, TABLE),
        (TABLE, PAGE),
    ] {
        ram.set64(at, 0);
        assert_eq!(guest.load(LoadReason::Cr3), Load::Done);
        assert_eq!(guest.injected(0, WRITE), 2);
        ram.set64(at, entry | 7);
        assert_eq!(guest.filled(0, WRITE), Some(PAGE));
    }
    // Nor does one that gains a right.
    ram.set64(TABLE, PAGE | 5);
    guest.invlpg(0);
    assert_eq!(guest.filled(0, READ), Some(PAGE));
    assert_eq!(guest.injected(0, WRITE), 3);
    ram.set64(TABLE, PAGE | 7);
    assert_eq!(guest.filled(0, WRITE), Some(PAGE));
}

#[test]
fn a_large_page_mapped_twice_has_nx_where_its_entry_has_it() {
    let ram = mapped_guest();
    ram.set64(DIRECTORY + 8, PAGE | 0x87);
    ram.set64(DIRECTORY + 16, PAGE | 0x87 | NX);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    for round in 0..2 {
        assert_eq!(guest.filled(0x20_1000, FETCH), Some(PAGE | 0x1000));
        assert_eq!(guest.injected(0x40_1000, FETCH), 0x11, "{round}");
        assert_eq!(guest.filled(0x40_1000, WRITE), Some(PAGE | 0x1000));
        assert_eq!(guest.granted(0x40_1000, FETCH), None);
        guest.invlpg(0x40_1000);
    }
}

#[test]
fn a_cr3_beyond_memory_maps_nothing() {
    let ram = Ram::default();
    let mut records = [PageRecord::EMPTY; 8];
    for beyond in [Ram::END, HOLE, 0xffff_f000, 0xff_ffff_f000] {
        let mut guest = Guest::new(&ram, &mut records, LONG, beyond);
        assert_eq!(guest.injected(0x1000, WRITE), 0b1011, "{beyond:#x}");
        assert_eq!(guest.granted(0x1000, READ), None);
    }
    // Two levels have no reserved bits there: what reads as ones is a page at the top of the 32 bits.
    let mut guest = Guest::new(&ram, &mut records, TWO_LEVEL & !Mode::PSE, 0xffff_f000);
    assert_eq!(guest.is_device(0x1000, READ), Some(Gpa::new(0xffff_f000)));
    // PDPTEs of ones are refused at the load, and so is a CR3 wider than the processor.
    guest.mode = PAE;
    guest.cr3 = HOLE;
    assert_eq!(guest.load(LoadReason::Cr3), Load::GeneralProtection);
    guest.mode = LONG;
    guest.cr3 = 1 << 40;
    assert_eq!(guest.load(LoadReason::Cr3), Load::GeneralProtection);
    guest.assert_nothing_refused();
}

#[test]
fn invlpg_with_paging_off_changes_nothing() {
    let ram = Ram::default();
    let mut records = [PageRecord::EMPTY; 8];
    for mode in [0, Mode::PE] {
        let mut guest = Guest::new(&ram, &mut records, mode, 0);
        assert_eq!(guest.filled(0x1000, WRITE), Some(0x1000));
        for va in [0x1000, 0, 0xffff_ffff, 1 << 32, 1 << 47, u64::MAX] {
            guest.invlpg(va);
        }
        assert_eq!(guest.granted(0x1000, WRITE), Some(0x1000));
    }
}

#[test]
fn invlpg_of_an_address_that_is_not_canonical_changes_nothing() {
    let ram = mapped_guest();
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    assert_eq!(guest.filled(0, READ), Some(PAGE));
    // Each has the indices of an address that is mapped.
    for va in [1 << 48, 1 << 63, 0xff << 48] {
        guest.invlpg(va);
        assert_eq!(guest.granted(0, READ), Some(PAGE), "{va:#x}");
        let fault = guest.fault_at(va, READ);
        assert_eq!(guest.engine.fault(&fault), Err(Error::NonCanonical));
    }
    guest.invlpg(0);
    assert_eq!(guest.granted(0, READ), None);
}

#[test]
fn a_two_level_guest_gets_a_shadow_that_reaches_all_of_the_hosts_memory() {
    let ram = Ram::default();
    ram.set32(CR3, 0x40_0000 | 0x87);
    // PSE-36: 4 MiB at 4 GiB, where this guest has no memory.
    ram.set32(CR3 + 4, 0x2087);
    let mut records = [PageRecord::EMPTY; 8];
    let mut guest = Guest::new(&ram, &mut records, TWO_LEVEL, CR3);
    assert_eq!(guest.filled(0x1000, WRITE), Some(0x40_0000 | 0x1000));
    assert_eq!(guest.filled(0x20_1000, WRITE), Some(PAGE | 0x1000));
    assert_eq!(
        guest.is_device(0x40_1000, READ),
        Some(Gpa::new(0x1_0000_1000))
    );
    // Its tables are of the format with 8-byte entries, which hold any frame of the host.
    let leaves = guest.engine.tables().leaves();
    assert!(leaves.iter().all(|leaf| leaf.bits == 21), "{leaves:?}");
    let root = guest.engine.tables().root.unwrap();
    let directories = guest.engine.tables().slots(root);
    assert!(
        directories.len() == 4
            && directories
                .iter()
                .all(|slot| matches!(slot, Slot::Table(_)))
    );
}

#[test]
fn a_page_table_where_a_device_is_reads_as_ones_and_is_never_written() {
    for (at, level) in [(CR3, 4), (PDPT, 3), (DIRECTORY, 2)] {
        let ram = mapped_guest();
        ram.set64(at, HOLE | 7);
        let before = ram.image();
        let mut records = [PageRecord::EMPTY; 8];
        let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
        assert_eq!(guest.injected(0, WRITE), 0b1011, "below level {level}");
        assert_eq!(ram.image(), before);
    }
}

#[test]
fn a_page_table_that_is_also_mapped_as_data_may_be_changed_through_itself() {
    let ram = mapped_guest();
    // The root maps itself: its last slot makes every table a page.
    ram.set64(CR3 + 8 * 511, CR3 | 7);
    let mut records = [PageRecord::EMPTY; 12];
    let mut guest = Guest::new(&ram, &mut records, LONG, CR3);
    let table = 0xffff_ff80_0000_0000;
    let root = 0xffff_ffff_ffff_f000;
    assert_eq!(guest.filled(0, READ), Some(PAGE));
    assert_eq!(guest.filled(table, WRITE), Some(TABLE));
    assert_eq!(guest.filled(root, READ), Some(CR3));
    // The guest writes its own entry through that address, and flushes what it changed.
    ram.set64(guest.granted(table, WRITE).unwrap(), 0x61_0000 | 7);
    guest.invlpg(0);
    assert_eq!(guest.filled(0, READ), Some(0x61_0000));
    // The entry that maps the root is at all four levels; it is marked once, and dirty once written through.
    assert_eq!(guest.filled(root, WRITE), Some(CR3));
    assert_eq!(ram.get64(CR3 + 8 * 511), Some(CR3 | 0x67));
}

#[test]
fn a_kernel_in_ring_3_uses_user_pages_alone() {
    let ram = mapped_guest();
    ram.set64(TABLE + 8, 0x61_0000 | 3);
    let mut records = [PageRecord::EMPTY; 8];
    // CR0.WP clear does nothing for ring 3, nor does RFLAGS.AC.
    let mode = (LONG & !Mode::WP) | Mode::SMEP | Mode::SMAP | Mode::AC | 3 << Mode::CPL_SHIFT;
    let mut guest = Guest::new(&ram, &mut records, mode, CR3);
    assert_eq!(guest.filled(0, USER_WRITE), Some(PAGE));
    assert_eq!(guest.injected(0x1000, USER), 5);
    // What the processor itself reads at ring 3, descriptor tables and TSS, lies in the supervisor's pages.
    assert_eq!(guest.filled(0x1000, WRITE), Some(0x61_0000));
    assert_eq!(guest.granted(0x1000, USER), None);
    // With SMAP it must not lie in the user's, whatever AC says.
    assert_eq!(guest.injected(0, READ), 1);
    ram.set64(TABLE, PAGE | 5);
    guest.invlpg(0);
    assert_eq!(guest.injected(0, USER_WRITE), 7);
}

#[test]
fn a_fault_during_the_delivery_of_an_event_may_come_as_often_as_it_takes() {
    let ram = mapped_guest();
    // IDT, GDT, TSS and the new stack: supervisor pages; the stack's second page is the guest's own fault.
    for n in 1..5u64 {
        ram.set64(TABLE + 8 * n, (0x60_0000 + 0x1000 * n) | 3);
    }
    let mut records = [PageRecord::EMPTY; 8];
    let mode = LONG | 3 << Mode::CPL_SHIFT;
    let mut guest = Guest::new(&ram, &mut records, mode, CR3);
    for _ in 0..2 {
        for n in 1..4u64 {
            assert_eq!(guest.filled(n << 12, READ), Some(0x60_0000 + (n << 12)));
        }
        // An implicit write at ring 3 has the supervisor's rights and a code without U.
        assert_eq!(guest.filled(4 << 12, WRITE), Some(0x60_4000));
        assert_eq!(guest.injected(5 << 12, WRITE), 2);
        let fault = guest.fault_at(4 << 12, WRITE);
        assert_eq!(
            guest.engine.translate(&fault),
            Ok(Target::At(Gpa::new(0x60_4000)))
        );
        guest.load(LoadReason::Cr3);
    }
}
