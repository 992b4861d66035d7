//! What the switches refuse: combinations of control bits (APM vol. 2, 3.1 and 14.6), directory pointers with reserved bits
//! (5.2.3), and what PAE paging must not notice.
//!
//! QEMU's own CPU does not check most of it, and some values ruin it; what it cannot answer it is not asked.

use guest_rt::cpu::{cpuid, cr, is_bare_tcg, is_walked_by_tcg, msr, physical_bits};
use guest_rt::tables::{NX, P, PAGE, PS, U, W, boot_directory, frame, slot, store};
use guest_script::script::Expect::{Done, Either, Fault, Protection, Reserved, Value};
use guest_script::script::{Op, Report, Script};
use guest_script::space::{Mode, Space, WINDOW_32, filled};

use super::choice::{
    COMPATIBILITY, Choice, FOUR_LEVEL, PAE, PROTECTED, PSE36, TWO_LEVEL, TWO_LEVEL_PSE,
};

/// A group of rules.
type Group = fn(&mut Space, &mut Script);

/// The groups by mode, with the words that choose them.
const GROUPS: &[(Mode, &[&str], &str, Group)] = &[
    (Mode::Flat, &[PROTECTED], "what turns paging on", turning_on),
    (
        Mode::Flat,
        &[PROTECTED, PAE],
        "bad directory pointers, paging off",
        pointers_off,
    ),
    (
        Mode::Pae,
        &[PAE],
        "bad directory pointers, paging on",
        pointers_on,
    ),
    (Mode::Pae, &[PAE], "latched directory pointers", latched),
    (
        Mode::Pae,
        &[PAE],
        "control bits with PAE paging",
        with_paging,
    ),
    (
        Mode::TwoLevel,
        &[TWO_LEVEL, TWO_LEVEL_PSE],
        "control bits with 2-level paging",
        with_paging,
    ),
    (
        Mode::TwoLevel,
        &[PSE36],
        "36-bit page-size extension",
        pse36,
    ),
    (
        Mode::Long,
        &[FOUR_LEVEL, COMPATIBILITY],
        "control bits in long mode",
        in_long_mode,
    ),
];

/// The groups of the modes that were chosen.
pub fn run(choice: &Choice, script: &mut Script, report: &mut Report) {
    for &(mode, words, name, group) in GROUPS {
        if choice.takes(words) {
            let mut space = Space::new(mode);
            group(&mut space, script);
            script.run(&space, name, report);
        }
    }
}

/// A refused write leaves the register alone.
fn refused(s: &mut Script, what: &'static str, op: Op, clear: u64, set: u64) {
    s.check(what, op, clear, set, Protection);
}

/// CR4 bits that CPUID offers nobody here, and one that needs long mode.
fn hidden_bits(s: &mut Script) {
    if is_bare_tcg() {
        return;
    }
    if cpuid(7, 0).ecx & 1 << 16 == 0 {
        refused(s, "LA57", Op::Cr4, 0, cr::LA57);
    }
    refused(s, "PCIDE", Op::Cr4, 0, cr::PCIDE);
    for bit in [13, 14, 15, 19, 25, 28, 31] {
        refused(s, "a reserved bit of CR4", Op::Cr4, 0, 1 << bit);
    }
    for bit in [1, 7, 9, 16, 19, 31] {
        refused(s, "a reserved bit of EFER", Op::Efer, 0, 1 << bit);
    }
}

fn turning_on(space: &mut Space, s: &mut Script) {
    s.check("paging is off", Op::GetCr4, 0, 0, Value(cr::PAE));
    hidden_bits(s);
    if !is_bare_tcg() {
        refused(s, "NW without CD", Op::Cr0, cr::CD, cr::NW);
        refused(s, "PG without PE", Op::Cr0, cr::PE, cr::PG);
    }
    s.step(Op::Efer, 0, msr::LME);
    s.check(
        "LME does not activate",
        Op::GetEfer,
        0,
        0,
        Either(msr::LME | msr::NXE, msr::LME),
    );
    s.step(Op::Cr4, cr::PAE, 0);
    if !is_bare_tcg() {
        refused(s, "PG with LME without PAE", Op::Cr0, 0, cr::PG);
    }
    s.step(Op::Cr4, 0, cr::PAE);
    s.step(Op::Efer, msr::LME, 0);
    s.check("NW with CD", Op::Cr0, 0, cr::CD | cr::NW, Done);
    s.step(Op::Cr0, cr::CD | cr::NW, 0);
    s.check("PG with everything in order", Op::Cr0, 0, cr::PG, Done);
    s.reads("the user code", space.user_code, guest_rt::user::CODE[0]);
    s.step(Op::Cr0, cr::PG, 0);
}

/// Bits that must be zero in a present directory pointer.
fn reserved_pointer_bits() -> impl Iterator<Item = u32> {
    let high = if physical_bits() < 52 {
        physical_bits()
    } else {
        52
    };
    [1, 2, 5, 6, 7, 8, high, 52, 62, 63].into_iter()
}

/// Four pointers of which the first and third lead where they should, and the last has `bits`.
fn root_with(space: &Space, bits: u64) -> u64 {
    let root = frame();
    store(slot(root, 0), boot_directory() | P);
    store(slot(root, 2), space.directory | P);
    store(slot(root, 3), bits);
    root
}

fn pointers_off(space: &mut Space, s: &mut Script) {
    let root = root_with(space, 0);
    s.check("a root, paging off", Op::SetCr3, 0, root, Done);
    for bit in reserved_pointer_bits() {
        let bad = frame() | 1 << bit;
        s.store(slot(root, 3), bad | P);
        if !is_walked_by_tcg() {
            refused(s, "PG with a bad pointer", Op::Cr0, 0, cr::PG);
        }
        s.store(slot(root, 3), bad);
        s.check(
            "PG with a bad pointer that is not present",
            Op::Cr0,
            0,
            cr::PG,
            Done,
        );
        s.reads("the user code", space.user_code, guest_rt::user::CODE[0]);
        s.step(Op::Cr0, cr::PG, 0);
    }
    s.store(slot(root, 3), frame() | P | 0xe18);
    s.check(
        "PG with PWT, PCD and available bits",
        Op::Cr0,
        0,
        cr::PG,
        Done,
    );
    s.step(Op::Cr0, cr::PG, 0);
}

fn pointers_on(space: &mut Space, s: &mut Script) {
    let region = space.region();
    let a = filled(0x41);
    s.store(region.pte(3), a | P | W);
    let root = root_with(space, 0);
    for bit in reserved_pointer_bits() {
        let bad = frame() | 1 << bit;
        s.store(slot(root, 3), bad | P);
        if !is_walked_by_tcg() {
            s.check("CR3 with a bad pointer", Op::SetCr3, 0, root, Protection);
            s.check("CR3 as before", Op::GetCr3, 0, 0, Value(space.cr3));
            s.reads("memory as before", region.page(3), 0x41);
        }
        s.store(slot(root, 3), bad);
        s.check(
            "CR3 with one that is not present",
            Op::SetCr3,
            0,
            root,
            Done,
        );
        s.reads("memory under it", region.page(3), 0x41);
        s.faults(
            "nothing below it, and no reserved bit",
            Op::Read8,
            3 << 30,
            0,
        );
        s.step(Op::SetCr3, 0, space.cr3);
    }
}

/// A pointer changed in memory counts when CR3 is loaded. QEMU's own CPU, and a CPU under nested paging, may read it at any
/// time (APM vol. 2, 15.25.10).
fn latched(space: &mut Space, s: &mut Script) {
    if is_walked_by_tcg() {
        return;
    }
    let region = space.region();
    let [a, b] = [filled(0x51), filled(0x52)];
    let [directory, table] = [frame(), frame()];
    store(region.pte(0), a | P | W);
    store(slot(table, 0), b | P | W);
    store(slot(directory, (region.pde & 0xfff) / 8), table | P | W | U);
    s.reload_cr3();
    s.reads("the first directory", region.page(0), 0x51);
    s.store(space.pointer, directory | P);
    s.reads("still the first", region.page(0), 0x51);
    s.invlpg(region.page(0));
    s.reads("after an INVLPG, too", region.page(0), 0x51);
    s.store(space.pointer, 0);
    s.invlpg(region.page(0));
    s.writes("and with no pointer there", region.page(0), 0x53);
    s.store(space.pointer, directory | P | W);
    s.check(
        "a bad pointer cannot be loaded",
        Op::ReloadCr3,
        0,
        0,
        Protection,
    );
    s.reads("and changes nothing", region.page(0), 0x53);
    s.store(space.pointer, directory | P);
    s.reload_cr3();
    s.reads("the second", region.page(0), 0x52);
    s.store(space.pointer, space.directory | P);
    s.step(Op::Cr0, cr::PG, 0);
    s.step(Op::Cr0, 0, cr::PG);
    s.reads("the first, by way of PG", region.page(0), 0x53);
}

fn with_paging(space: &mut Space, s: &mut Script) {
    hidden_bits(s);
    if !is_bare_tcg() {
        refused(s, "LME with paging on", Op::Efer, 0, msr::LME);
        refused(s, "PE cleared with paging on", Op::Cr0, cr::PE, 0);
        refused(s, "NW without CD", Op::Cr0, cr::CD, cr::NW);
        s.check("EFER as before", Op::GetEfer, 0, 0, Either(msr::NXE, 0));
    }
    s.check("PGE", Op::Cr4, 0, cr::PGE, Done);
    s.reads("the user code", space.user_code, guest_rt::user::CODE[0]);
    s.check("CR3 as before", Op::GetCr3, 0, 0, Value(space.cr3));
}

/// Bits 20..13 of a 4 MiB page's entry are address bits 39..32 on a CPU with PSE-36, and reserved on one without.
fn pse36(space: &mut Space, s: &mut Script) {
    const HIGH: u64 = 1 << 13;
    let base = WINDOW_32 + (8 << 20);
    let entry = space.cr3 + 4 * (base >> 22);
    s.put(entry, 40 << 20 | HIGH | P | W | PS);
    if cpuid(1, 0).edx & 1 << 17 != 0 {
        store(40 << 20, 0x4242);
        // Nothing is there above 4 GiB; QEMU's own CPU reads zeros.
        let ones = if is_bare_tcg() { 0 } else { 0xff };
        s.check("above 4 GiB", Op::Read8, base, 0, Either(ones, 0xff));
    } else {
        s.check(
            "a reserved address bit",
            Op::Read8,
            base,
            0,
            Reserved(9, base),
        );
    }
    s.put(entry, 40 << 20 | 1 << 21 | P | W | PS);
    s.invlpg(base);
    s.check(
        "the bit that is always reserved",
        Op::Write8,
        base,
        0,
        Reserved(0xb, base),
    );
}

fn in_long_mode(space: &mut Space, s: &mut Script) {
    if is_bare_tcg() {
        return;
    }
    if cpuid(7, 0).ecx & 1 << 16 == 0 {
        refused(s, "LA57", Op::Cr4, 0, cr::LA57);
    }
    if cpuid(1, 0).ecx & 1 << 17 == 0 {
        refused(s, "PCIDE", Op::Cr4, 0, cr::PCIDE);
    }
    refused(s, "PAE cleared", Op::Cr4, cr::PAE, 0);
    refused(s, "PG cleared in 64-bit code", Op::Cr0, cr::PG, 0);
    refused(s, "PE cleared", Op::Cr0, cr::PE, 0);
    refused(s, "LME cleared", Op::Efer, msr::LME, 0);
    s.check(
        "CR3 beyond the physical width",
        Op::SetCr3,
        0,
        space.cr3 | NX >> 1,
        Protection,
    );
    s.check("CR3 as before", Op::GetCr3, 0, 0, Value(space.cr3));
    s.check(
        "nothing there",
        Op::Read8,
        space.window + PAGE * 600,
        0,
        Fault(0, space.window + PAGE * 600),
    );
}
