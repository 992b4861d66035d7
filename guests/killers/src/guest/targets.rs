//! What entries point at: memory, nothing, and addresses that are no addresses.

use guest_rt::cpu::{self, is_bare_tcg};
use guest_rt::multiboot;
use guest_rt::tables::{A, LARGE, P, PAGE, PS, W, slot};
use guest_rt::{exit, println};
use guest_script::script::Expect::{self, Done, DoneOrFault, Either, Value};
use guest_script::script::{Op, Report, Script};
use guest_script::space::{ALL, Mode, Space, WINDOW_32, filled};

/// Nothing is here on a PC: above the memory of any guest that runs this, below the devices at the end of 4 GiB.
const HOLE: u64 = 0xd000_0000;

/// What a byte of the hole reads as. QEMU's own CPU reads zeros.
fn hole_byte() -> Expect {
    if is_bare_tcg() {
        Either(0, 0xff)
    } else {
        Value(0xff)
    }
}

/// An entry turns from memory to a device hole and back.
pub fn ram_to_hole(s: &mut Script, report: &mut Report) {
    for mode in [Mode::Long, Mode::Pae] {
        let mut space = Space::new(mode);
        let region = space.region();
        let a = filled(0x11);
        let page = region.page(2);
        for _ in 0..3 {
            s.store(region.pte(2), a | P | W);
            s.invlpg(page);
            s.reads("memory", page, 0x11);
            s.writes("write", page + 1, 0x12);
            s.store(region.pte(2), HOLE | P | W);
            // Without a flush either may be seen, memory or hole.
            let either = if is_bare_tcg() {
                Either(0, 0x11)
            } else {
                Either(0xff, 0x11)
            };
            s.check("not flushed", Op::Read8, page, 0, either);
            s.invlpg(page);
            s.check("the hole", Op::Read8, page, 0, hole_byte());
            s.writes("write to the hole", page, 0x77);
            s.check("it vanished", Op::Read8, page, 0, hole_byte());
            s.check("four bytes", Op::Write32, page + 0x40, 0x1234_5678, Done);
            s.faults("no user there", Op::UserRead, page, 5);
            s.store(region.pte(2), HOLE | P);
            s.invlpg(page);
            s.faults("rights hold for holes", Op::Write8, page, 3);
            s.entry("A is set for holes", region.pte(2), HOLE | P);
            s.check("read", Op::Read8, page, 0, hole_byte());
            s.entry("A is set for holes", region.pte(2), HOLE | P | A);
            s.store(region.pte(2), a | P | W);
            s.invlpg(page);
            s.reads("memory again, untouched", page, 0x11);
            s.reads("with what was written", page + 1, 0x12);
        }
        let (large, pde) = space.hole();
        s.store(pde, HOLE | P | W | PS);
        s.check(
            "a large page in the hole",
            Op::Read8,
            large + 0x12_3456,
            0,
            hole_byte(),
        );
        s.store(pde, 40 << 20 | P | W | PS);
        s.invlpg(large + PAGE);
        s.writes("the same as memory", large + 0x12_3456, 0x21);
        s.reads("it is", large + 0x12_3456, 0x21);
        s.store(pde, HOLE | P | W | PS);
        s.invlpg(large + LARGE - 1);
        s.check(
            "and a hole again",
            Op::Read8,
            large + 0x12_3456,
            0,
            hole_byte(),
        );
        // The border between memory and hole inside one access.
        s.store(region.pte(3), a | P | W);
        s.store(region.pte(4), HOLE | P | W);
        let across = region.page(4) - 2;
        s.check("two bytes each", Op::Write32, across, 0x4433_2211, Done);
        s.check(
            "those in memory are there",
            Op::Read8,
            across + 1,
            0,
            Value(0x22),
        );
        let both = if is_bare_tcg() {
            Either(0x2211, 0xffff_2211)
        } else {
            Value(0xffff_2211)
        };
        s.check("read across", Op::Read32, across, 0, both);
        s.run(&space, "memory and hole", report);
    }
}

/// More rights, or a present entry: no flush is needed for a fault to go away (APM vol. 2, 5.5.2); a cached entry with fewer
/// rights may fault once.
pub fn no_flush_needed(s: &mut Script, report: &mut Report) {
    for mode in [Mode::Long, Mode::Pae] {
        let mut space = Space::new(mode);
        let region = space.region();
        let a = filled(0x31);
        for i in 0..20 {
            let page = region.page(i);
            s.faults("not there", Op::Read8, page, 0);
            s.faults("not there", Op::Write8, page, 2);
            s.store(region.pte(i), a | P);
            s.reads("there without a flush", page, 0x31);
            s.store(region.pte(i), a | P | W);
            s.check("wider", Op::Write8, page, 0x31, DoneOrFault(3, page));
            s.writes("a fault flushes", page, 0x31);
        }
        let (base, pde) = space.hole();
        s.faults("no table", Op::Read8, base + PAGE, 0);
        s.store(pde, region.table | ALL);
        s.reads("a table without a flush", base + PAGE, 0x31);
        s.run(&space, "no flush", report);
    }
}

/// A table at an address where nothing is reads as ones: present, and full of reserved bits.
pub fn table_in_a_hole(s: &mut Script, report: &mut Report) {
    for mode in [Mode::Long, Mode::Pae] {
        let mut space = Space::new(mode);
        let (base, pde) = space.hole();
        let refused = |error: u64, at: u64| {
            // QEMU's own CPU reads zeros: an entry that is not present.
            if is_bare_tcg() {
                Expect::Fault(error & !9, at)
            } else {
                Expect::Reserved(error, at)
            }
        };
        for table in [HOLE, HOLE + 0x2000, 0x7_0000_0000] {
            s.store(pde, table | ALL);
            s.invlpg(base);
            s.check(
                "read",
                Op::Read8,
                base + 0x5123,
                0,
                refused(9, base + 0x5123),
            );
            s.check("write", Op::Write8, base, 0, refused(0xb, base));
            s.check("user read", Op::UserRead, base, 0, refused(0xd, base));
        }
        if mode == Mode::Long {
            let pointer = slot(space.cr3, 7);
            let at = 7 << 39 | 0x1234_5000;
            s.store(pointer, HOLE | ALL);
            s.check(
                "directory pointers in a hole",
                Op::Read8,
                at,
                0,
                refused(9, at),
            );
        }
        s.run(&space, "a table where nothing is", report);
    }
}

/// CR3 may hold anything while paging is off.
pub fn cr3_unused(s: &mut Script, report: &mut Report) {
    let space = Space::new(Mode::Flat);
    let a = filled(0x41);
    for cr3 in [HOLE, 0xffff_f000, 0xffff_ffff, 0x1000, space.cr3] {
        s.check("load", Op::SetCr3, 0, cr3, Done);
        s.check("it reads back", Op::GetCr3, 0, 0, Value(cr3));
        s.reads("memory", a, 0x41);
    }
    s.run(&space, "CR3 with paging off", report);
}

/// The root where nothing is: the next fetch finds reserved bits everywhere, on the way to the handlers, too.
pub fn cr3_in_a_hole() -> ! {
    println!("killers: loading CR3 with the address of a hole: a triple fault follows");
    cpu::set_cr3(HOLE);
    exit::exit(exit::MISMATCH)
}

/// INVLPG never faults: not with paging off, not for addresses that are none, not where nothing is mapped.
pub fn odd_invlpg(s: &mut Script, report: &mut Report) {
    let a = filled(0x47);
    let addresses = [0, HOLE, 0xffff_ffff, 0x8000_0000];
    for mode in [Mode::Flat, Mode::Pae, Mode::TwoLevel] {
        let space = Space::new(mode);
        for address in addresses {
            s.check("INVLPG", Op::Invlpg, address, 0, Done);
        }
        s.reads("memory as before", a, 0x47);
        s.run(&space, "INVLPG anywhere", report);
    }
    let space = Space::new(Mode::Long);
    let odd = [
        1 << 47,
        1 << 63,
        u64::MAX,
        0x7fff_ffff_ffff,
        0xffff_8000_0000_0000,
        1 << 40,
    ];
    for address in odd.into_iter().chain(addresses) {
        s.check("INVLPG", Op::Invlpg, address, 0, Done);
    }
    s.run(&space, "INVLPG anywhere", report);
}

/// All memory there is, through 4 MiB pages, each written and read by another way.
pub fn two_level_memory(s: &mut Script, report: &mut Report) {
    const SIZE: u64 = 4 << 20;
    let space = Space::new(Mode::TwoLevel);
    let end = ((1 << 20) + multiboot::upper_memory()).min(1 << 30) / SIZE;
    report.holds("the loader tells of memory", end > 16);
    let at = |i: u64| i * SIZE + 0x2f_f008;
    for i in 0..256 {
        let entry = if i < end { (i * SIZE) | P | W | PS } else { 0 };
        s.put(space.cr3 + 4 * ((WINDOW_32 >> 22) + 1 + i), entry);
    }
    s.reload_cr3();
    s.run(&space, "the map", report);
    let window = WINDOW_32 + SIZE;
    for i in 10..end {
        let value = 0x5a00_0000 | i;
        s.check("write", Op::Write32, window + at(i), value, Done);
        if i + 1 == end || !s.has_room(2) {
            s.run(&space, "writes", report);
        }
    }
    for i in 10..end {
        s.holds("read", at(i), 0x5a00_0000 | i);
        if i + 1 == end || !s.has_room(2) {
            s.run(&space, "reads", report);
        }
    }
    s.faults("nothing above", Op::Read8, window + end * SIZE, 0);
    s.run(&space, "the end of memory", report);
}
