//! What belongs to one mode alone.

use guest_rt::cpu::{cpuid, cr, is_walked_by_tcg};
use guest_rt::tables::{A, D, LARGE, NX, P, PS, U, W, boot_directory, frame, load, slot, store};

use super::both::Group;
use super::two_level;
use guest_script::script::Expect::{Done, Either, Fault, Protection, Reserved, Value};
use guest_script::script::{Op, Script};
use guest_script::space::{ALL, Mode, Space, filled};

/// The groups of `mode`.
pub fn of(mode: Mode) -> &'static [(&'static str, Group)] {
    match mode {
        Mode::Long => &[
            ("upper levels", upper_levels),
            ("address spaces", address_spaces),
            ("canonical addresses", canonical_addresses),
        ],
        Mode::Pae => &[
            ("directory pointers", directory_pointers),
            ("paging off and on", paging_off_and_on),
            ("address spaces", address_spaces),
        ],
        Mode::TwoLevel => two_level::GROUPS,
        Mode::Flat => &[("paging off", paging_off)],
    }
}

fn upper_levels(space: &mut Space, s: &mut Script) {
    let (pml4e, pdpte) = (slot(space.cr3, 2), slot(frame(), 5));
    let [pd, pt, a] = [frame(), frame(), filled(0x4a)];
    let pdpt = pdpte & !0xfff;
    let at = 2 << 39 | 5 << 30 | 3 << 21 | 9 << 12;
    let leaf = slot(pt, 9);
    s.faults("nothing below the root", Op::Read8, at, 0);
    s.store(pml4e, pdpt | ALL);
    s.faults("nothing below the pointer", Op::Write8, at, 2);
    s.store(pdpte, pd | ALL);
    s.faults("nothing below the directory", Op::UserRead, at, 4);
    s.store(slot(pd, 3), pt | ALL);
    s.faults("nothing in the table", Op::Read8, at, 0);
    s.store(leaf, a | ALL);
    s.reads("linked from below, no flush", at, 0x4a);
    for (label, entry) in [
        ("A in the root's entry", pml4e),
        ("A in the pointer", pdpte),
    ] {
        s.check(
            label,
            Op::Load,
            entry,
            0,
            Value(if entry == pml4e { pdpt } else { pd } | ALL | A),
        );
    }
    for (entry, target) in [(pml4e, pdpt), (pdpte, pd)] {
        s.store(entry, target | P | U);
        s.reload_cr3();
        s.faults("read-only upper entry, write", Op::Write8, at, 3);
        s.reads("read-only upper entry, read", at, 0x4a);
        s.store(entry, target | P | W);
        s.reload_cr3();
        s.faults("supervisor upper entry, user read", Op::UserRead, at, 5);
        s.writes("supervisor upper entry, write", at, 0x4a);
        s.store(entry, target | ALL | NX);
        s.reload_cr3();
        s.faults("NX upper entry, fetch", Op::Execute, at, 0x11);
        s.reads("NX upper entry, read", at, 0x4a);
        s.store(entry, 0);
        s.reload_cr3();
        s.faults("upper entry gone", Op::Read8, at, 0);
        s.store(entry, target | ALL);
        s.reads("upper entry back, no flush", at, 0x4a);
    }
    s.store(pml4e, pdpt | ALL | PS);
    s.reload_cr3();
    s.check(
        "PS in the root's entry is reserved",
        Op::Read8,
        at,
        0,
        Reserved(9, at),
    );
    s.store(pml4e, pdpt | ALL);
    s.store(pdpte, ALL | PS);
    s.reload_cr3();
    // A GiB page at physical 0, or a reserved bit, as CPUID says. QEMU's own CPU does not look at CPUID there.
    const GIB_PAGES: u32 = 1 << 26;
    if cpuid(0x8000_0001, 0).edx & GIB_PAGES != 0 {
        s.reads("a GiB page", at & !0x3fff_ffff | a, 0x4a);
    } else if !is_walked_by_tcg() {
        s.check(
            "PS in the pointer is reserved without GiB pages",
            Op::Read8,
            at,
            0,
            Reserved(9, at),
        );
    }
    s.store(pdpte, pd | ALL);
    s.store(slot(pdpt, 6), pd | ALL);
    s.reload_cr3();
    s.reads("a directory under two pointers", at + (1 << 30), 0x4a);
    s.writes("written at one address", at + (1 << 30), 0x4b);
    s.reads("read at the other", at, 0x4b);
    s.store(pml4e, 0);
    s.reload_cr3();
    s.faults("all gone", Op::Read8, at, 0);
    s.faults("all gone, other pointer", Op::Read8, at + (1 << 30), 0);
}

/// Two roots that share the first GiB and show different frames at one address; then one of them is changed while the
/// other is in use.
fn address_spaces(space: &mut Space, s: &mut Script) {
    let other = Space::new(space.mode);
    let mine = space.region();
    let theirs = slot(other.directory, (mine.pde - space.directory) / 8);
    let table = frame();
    store(theirs, table | ALL);
    let [a, b, c] = [filled(0x5a), filled(0x5b), filled(0x5c)];
    let at = mine.page(4) + 0x18;
    store(mine.pte(4), a | P | W);
    store(slot(table, 4), b | P | W);
    for _ in 0..3 {
        s.reads("mine", at, 0x5a);
        s.step(Op::SetCr3, 0, other.cr3);
        s.reads("theirs", at, 0x5b);
        s.step(Op::SetCr3, 0, space.cr3);
    }
    s.store(slot(table, 4), c | P | W);
    s.reads("mine after a change of theirs", at, 0x5a);
    s.step(Op::SetCr3, 0, other.cr3);
    s.reads("theirs after it", at, 0x5c);
    s.store(mine.pte(4), 0);
    s.writes("theirs, written", at, 0x5d);
    s.step(Op::SetCr3, 0, space.cr3);
    s.faults("mine, unmapped while theirs was in use", Op::Read8, at, 0);
    s.store(mine.pte(4), c | P);
    s.reads("mine, now their frame", at, 0x5d);
    s.faults("read-only here", Op::Write8, at, 3);
    s.step(Op::SetCr3, 0, other.cr3);
    s.writes("writable there", at, 0x5e);
    s.store(theirs, 0);
    s.step(Op::SetCr3, 0, space.cr3);
    s.reads("mine sees it", at, 0x5e);
    s.step(Op::SetCr3, 0, other.cr3);
    s.faults("their table is unlinked", Op::Read8, at, 0);
    // Their table becomes mine: what was a table of one space is a table of another.
    s.step(Op::SetCr3, 0, space.cr3);
    s.store(mine.pde, table | ALL);
    s.reload_cr3();
    s.writes("their table under my directory", at, 0x5f);
    s.entry("with its entry's bits", slot(table, 4), c | P | W | A | D);
}

fn canonical_addresses(_: &mut Space, s: &mut Script) {
    for address in [
        1 << 47,
        0xffff_7fff_ffff_ffff,
        1 << 63,
        0x1234_5678_9abc_def0,
    ] {
        s.check("read", Op::Read8, address, 0, Protection);
        s.check("write", Op::Write8, address, 0, Protection);
        s.check("INVLPG does nothing", Op::Invlpg, address, 0, Done);
    }
    s.check(
        "four bytes over the end of the lower half",
        Op::Read32,
        (1 << 47) - 2,
        0,
        Fault(0, (1 << 47) - 2),
    );
    s.check(
        "the upper half's first byte",
        Op::Read8,
        0xffff_8000_0000_0000,
        0,
        Fault(0, 0xffff_8000_0000_0000),
    );
    s.check("the last byte", Op::Write8, u64::MAX, 0, Fault(2, u64::MAX));
}

/// The CPU may keep the four pointers until CR3 is loaded, so every change is followed by that.
fn directory_pointers(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x6a), filled(0x6b)];
    let [pd, pt] = [frame(), frame()];
    store(r.pte(1), a | P | W);
    store(slot(pt, 1), b | P | W);
    store(slot(pd, (r.pde - space.directory) / 8), pt | ALL);
    s.reads("first directory", r.page(1), 0x6a);
    s.store(space.pointer, pd | P);
    s.reload_cr3();
    s.reads("second directory", r.page(1), 0x6b);
    // QEMU's own CPU sets A there as in any other entry; hardware has no such bit in a directory pointer.
    let accessed = if is_walked_by_tcg() { A } else { 0 };
    s.check(
        "no A in the pointer",
        Op::Load,
        space.pointer,
        0,
        Either(pd | P, pd | P | accessed),
    );
    s.store(space.pointer, 0);
    s.reload_cr3();
    s.faults("no directory", Op::Read8, r.page(1), 0);
    s.faults("no directory, write", Op::Write8, r.page(1), 2);
    s.store(space.pointer, space.directory | P);
    s.reload_cr3();
    s.reads("first directory again", r.page(1), 0x6a);
    s.store(slot(space.cr3, 1), space.directory | P);
    s.reload_cr3();
    s.reads("under another pointer too", r.page(1) - (1 << 30), 0x6a);
    s.store(slot(space.cr3, 1), 0);
    s.reload_cr3();
    s.faults("gone there", Op::Read8, r.page(1) - (1 << 30), 0);
    // CR3 is 32-byte aligned in PAE: four pointers in the middle of a frame are a root as well.
    let inner = frame() + 0x7e0;
    store(slot(inner, 0), boot_directory() | P);
    store(slot(inner, 2), pd | P);
    s.step(Op::SetCr3, 0, inner);
    s.reads("a root in the middle of a frame", r.page(1), 0x6b);
    s.step(Op::SetCr3, 0, space.cr3);
    s.reads("the root at a frame's beginning", r.page(1), 0x6a);
}

fn paging_off_and_on(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x7a), filled(0x7b)];
    s.store(r.pte(0), a | P | W);
    s.reads("paging on", r.page(0), 0x7a);
    s.step(Op::Cr0, cr::PG, 0);
    s.reads("paging off: the frame", a, 0x7a);
    s.store(r.pte(0), b | P | W);
    s.writes("paging off: write", b + 1, 0x7c);
    s.step(Op::Cr0, 0, cr::PG);
    s.reads("paging on: the entry changed meanwhile", r.page(0), 0x7b);
    s.reads("and the write is there", r.page(0) + 1, 0x7c);
    s.store(r.pte(0), 0);
    s.step(Op::Cr0, cr::PG, 0);
    s.step(Op::Cr0, 0, cr::PG);
    s.faults("off and on flushes", Op::Read8, r.page(0), 0);
    s.store(r.pte(0), b | P);
    s.faults("rights again: write to read-only", Op::Write8, r.page(0), 3);
    s.step(Op::Cr0, cr::PG, 0);
    s.works("paging off: nothing is read-only", Op::Write8, b);
    s.step(Op::Cr0, 0, cr::PG);
    s.reads("paging on: it was written", r.page(0), 0x55);
}

fn paging_off(_: &mut Space, s: &mut Script) {
    let [a, b] = [filled(0x8a), filled(0x8b)];
    s.reads("a frame", a + 0x777, 0x8a);
    s.writes("write", a + 0x777, 0x8c);
    s.reads("read of it", a + 0x777, 0x8c);
    s.reads("another frame", b, 0x8b);
    s.check(
        "the boot tables",
        Op::Load,
        slot(boot_directory(), 17),
        0,
        Value(load(slot(boot_directory(), 17))),
    );
    let top = 48 * LARGE - 2;
    s.check(
        "write over a 2 MiB border",
        Op::Write32,
        top,
        0x8786_8584,
        Done,
    );
    s.check("read over it", Op::Read32, top, 0, Value(0x8786_8584));
    s.check("the second half", Op::Read8, top + 3, 0, Value(0x87));
    s.check("INVLPG does nothing", Op::Invlpg, a, 0, Done);
    s.check("a CR3 load does nothing", Op::ReloadCr3, 0, 0, Done);
    s.reads("still there", a + 0x777, 0x8c);
}
