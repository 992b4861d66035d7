//! One frame, several roles: as a table and as memory, at two levels, below two parents, in the page it maps.

use guest_rt::cpu::is_walked_by_tcg;
use guest_rt::tables::{A, D, LARGE, NX, P, PAGE, PS, U, W, frame, load, slot};
use guest_rt::user::RET;
use guest_script::script::Expect::{Done, Value};
use guest_script::script::{Op, Report, Script};
use guest_script::space::{ALL, Mode, Space, fill, filled, put_code};

/// 2 MiB of memory, aligned, that nothing else uses.
const AREA: u64 = 40 << 20;

/// The modes with entries of eight bytes.
const WIDE: [Mode; 2] = [Mode::Long, Mode::Pae];

/// A frame is the first page of a 2 MiB page, then the table that the same entry leads to, and back; and both at once.
pub fn role_not_compared(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        fill(AREA, LARGE, 0x10);
        let small = filled(0x20);
        let (base, pde) = space.hole();
        let (other, other_pde) = space.hole();
        // As memory the first page holds entries.
        s.store(slot(AREA, 0), small | P | W);
        s.store(slot(AREA, 1), (AREA + PAGE) | P);
        for _ in 0..3 {
            s.store(pde, AREA | ALL | PS);
            s.invlpg(base);
            s.reads(
                "as memory: the byte of an entry",
                base,
                (small | P | W) as u8,
            );
            s.reads("as memory: the next page", base + PAGE, 0x10);
            s.writes("as memory: write", base + 2 * PAGE, 0x11);
            s.store(pde, AREA | ALL);
            s.invlpg(base);
            s.reads("as a table", base, 0x20);
            s.reads("as a table, second page", base + PAGE, 0x10);
            s.faults("as a table: read-only page", Op::Write8, base + PAGE, 3);
            s.faults("as a table: nothing there", Op::Read8, base + PAGE * 511, 0);
            s.store(slot(AREA, 511), 0);
            s.store(other_pde, AREA | ALL | PS);
            s.reads("memory beside the table", other + 2 * PAGE, 0x11);
            s.check(
                "an entry written there",
                Op::Store,
                slot(other, 3),
                (AREA + 2 * PAGE) | P,
                Done,
            );
            s.reads("counts in the table", base + 3 * PAGE, 0x11);
            s.store(other_pde, 0);
            s.invlpg(other);
            s.store(slot(AREA, 3), 0);
            s.invlpg(base + 3 * PAGE);
            s.faults("and no longer", Op::Read8, base + 3 * PAGE, 0);
            s.writes("table write", AREA + 2 * PAGE, 0x11);
            fill_entry(s, small);
        }
        s.run(&space, "one entry, a page and a table", report);
    }
}

/// Entry 511 back as it was, and the A and D bits of the two in use gone.
fn fill_entry(s: &mut Script, small: u64) {
    s.store(slot(AREA, 511), 0);
    s.store(slot(AREA, 0), small | P | W);
    s.store(slot(AREA, 1), (AREA + PAGE) | P);
}

/// A frame serves as a directory and, elsewhere, as a table: the same entries, one level apart.
pub fn frame_at_two_levels(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        // The window's directory is itself linked as a table.
        let region = space.region();
        let a = filled(0x31);
        s.store(region.pte(1), a | P | W);
        s.reads("through the table", region.page(1), 0x31);
        let (inner, inner_pde) = space.hole();
        s.store(inner_pde, space.directory | ALL);
        let index = (region.pde - space.directory) / 8;
        // As a leaf the directory's entry maps the table's own frame.
        s.check(
            "the table as memory",
            Op::Load,
            inner + PAGE * index + 8,
            0,
            Value(a | P | W | A),
        );
        s.check(
            "a new entry by that way",
            Op::Store,
            inner + PAGE * index + 16,
            a | P,
            Done,
        );
        s.reads("counts", region.page(2), 0x31);
        s.faults("with its rights", Op::Write8, region.page(2), 3);
        // A right taken away one level up is taken away for both uses.
        s.store(region.pde, region.table | P);
        s.reload_cr3();
        s.faults(
            "no writing below a read-only directory entry",
            Op::Write8,
            region.page(1),
            3,
        );
        s.faults("nor to the table", Op::Write8, inner + PAGE * index + 8, 3);
        s.store(region.pde, region.table | ALL);
        s.reload_cr3();
        s.writes("writing again", region.page(1), 0x32);
        s.run(&space, "a directory that is a table", report);
    }
}

/// Two directory entries lead to one table, with different rights; a third makes it user's.
pub fn shared_table(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        let one = space.region();
        let (two, two_pde) = space.hole();
        let (three, three_pde) = space.hole();
        let a = frame();
        put_code(a);
        s.store(one.pte(5), a | ALL);
        for round in 0..2 {
            s.store(one.pde, one.table | P | W);
            s.store(two_pde, one.table | P);
            s.store(three_pde, one.table | P | U | NX);
            s.reload_cr3();
            let [first, second, third] = [one.page(5), two + 5 * PAGE, three + 5 * PAGE];
            s.writes("writable parent", first + 0x900, 1);
            s.faults("read-only parent", Op::Write8, second + 0x900, 3);
            s.reads("read-only parent, read", second + 0x900, 1);
            s.works("executable parent", Op::Execute, first + RET);
            s.faults("parent with NX", Op::Execute, third + RET, 0x11);
            s.works("user's parent", Op::UserRead, third + 0x900);
            s.faults("supervisor's parent", Op::UserRead, first + 0x900, 5);
            s.faults(
                "supervisor's read-only parent",
                Op::UserWrite,
                second + 0x900,
                7,
            );
            s.faults("user's read-only parent", Op::UserWrite, third + 0x900, 7);
            // The roles change hands.
            s.store(one.pde, one.table | P | U);
            s.store(two_pde, one.table | ALL);
            s.reload_cr3();
            s.faults("now read-only", Op::Write8, first + 0x900, 3);
            s.writes("now writable", second + 0x900, 1);
            s.works("now user's", Op::UserWrite, second + 0x900);
            s.works("now user's to read", Op::UserRead, first + 0x900);
            s.writes("back", second + 0x900, round);
        }
        s.run(&space, "two parents", report);
    }
}

/// A table is unlinked, its frame becomes memory and then a table of something else.
pub fn recycled_table(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        let region = space.region();
        let data = space.region();
        let (other, other_pde) = space.hole();
        let [a, b] = [filled(0x51), filled(0x52)];
        s.store(data.pte(0), region.table | P | W);
        for round in 0..4u64 {
            s.store(region.pte(7), a | P | W);
            s.store(region.pde, region.table | ALL);
            s.reload_cr3();
            s.reads("as a table", region.page(7), 0x51);
            s.store(region.pde, 0);
            s.reload_cr3();
            s.faults("unlinked", Op::Read8, region.page(7), 0);
            // The frame is data now, written through a mapping of its own, with what would be entries.
            s.check("data", Op::Store, data.page(0) + 8 * 7, b | P, Done);
            s.faults("still unlinked", Op::Read8, region.page(7), 0);
            s.store(other_pde, region.table | ALL);
            s.reads("linked elsewhere", other + 7 * PAGE, 0x52);
            s.faults("with its rights", Op::Write8, other + 7 * PAGE, 3);
            s.store(other_pde, 0);
            s.reload_cr3();
            s.faults("unlinked there", Op::UserRead, other + 7 * PAGE, 4);
            s.store(region.pte(7), round << 12);
        }
        s.run(&space, "a table's frame used again", report);
    }
}

/// The root's entry that leads to the root; in two levels, the directory that is a table.
pub fn self_map(s: &mut Script, report: &mut Report) {
    const SLOT: u64 = 300;
    let mut space = Space::new(Mode::Long);
    let region = space.region();
    let [a, b] = [filled(0x61), filled(0x62)];
    let top = 0xffff_0000_0000_0000 | SLOT << 39;
    s.store(slot(space.cr3, SLOT), space.cr3 | P | W);
    s.reload_cr3();
    // Where the entry of an address is seen (two bits less for each level).
    let pte = |address: u64| top | address >> 9 & 0x7f_ffff_fff8;
    let pde = |address: u64| pte(pte(address));
    let page = region.page(9);
    s.check(
        "an entry through the map",
        Op::Store,
        pte(page),
        a | P | W,
        Done,
    );
    s.reads("counts", page, 0x61);
    s.check(
        "A is seen there",
        Op::Load,
        pte(page),
        0,
        Value(a | P | W | A),
    );
    s.writes("write", page, 0x63);
    s.check(
        "D is seen there",
        Op::Load,
        pte(page),
        0,
        Value(a | P | W | A | D),
    );
    s.check("another frame", Op::Store, pte(page), b | P, Done);
    s.invlpg(page);
    s.reads("counts", page, 0x62);
    s.faults("read-only", Op::Write8, page, 3);
    s.check(
        "the directory's entry",
        Op::Load,
        pde(page),
        0,
        Value(region.table | ALL | A | D),
    );
    s.check("cleared through the map", Op::Store, pde(page), 0, Done);
    s.reload_cr3();
    s.faults("nothing", Op::Read8, page, 0);
    s.faults("nor its table", Op::Read8, pte(page), 0);
    s.check(
        "linked through the map",
        Op::Store,
        pde(page),
        region.table | ALL,
        Done,
    );
    s.reads("there", page, 0x62);
    s.check(
        "the root through itself",
        Op::Load,
        pte(pte(pte(pte(0)))),
        0,
        Value(load(slot(space.cr3, 0)) | A),
    );
    s.faults("a user has no part in it", Op::UserRead, pte(page), 5);
    s.check(
        "the map removes itself",
        Op::Store,
        pte(pte(pte(pte(SLOT << 39)))),
        0,
        Done,
    );
    s.reload_cr3();
    s.faults("gone", Op::Read8, pte(page), 0);
    s.run(&space, "four levels", report);
    two_level_self_map(s, report);
}

fn two_level_self_map(s: &mut Script, report: &mut Report) {
    const SLOT: u64 = 1020;
    let space = Space::new(Mode::TwoLevel);
    let base = 0x9000_0000u64;
    let [table, a] = [frame(), filled(0x71)];
    let top = SLOT << 22;
    let pte = |address: u64| top | address >> 10 & 0x3f_fffc;
    s.put(space.cr3 + 4 * SLOT, space.cr3 | P | W);
    s.put(space.cr3 + 4 * (base >> 22), table | ALL);
    s.reload_cr3();
    s.put(pte(base), a | P | W);
    s.reads("an entry through the map", base, 0x71);
    s.holds("A is seen there", pte(base), a | P | W | A);
    s.put(pte(pte(base)), table | P);
    s.reload_cr3();
    s.faults("the directory's entry through the map", Op::Write8, base, 3);
    // The directory maps itself writable; the table under it is read-only now.
    s.faults("the table is read-only", Op::Write32, pte(base), 3);
    s.put(pte(pte(base)), table | ALL);
    s.reload_cr3();
    s.writes("writable again", base, 0x72);
    s.run(&space, "two levels", report);
}

/// A table maps its own frame, and is changed through that mapping: also the entry that maps it.
pub fn table_in_its_own_page(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        let region = space.region();
        let [a, b] = [filled(0x81), filled(0x82)];
        let own = region.page(4);
        s.store(region.pte(4), region.table | P | W);
        s.check(
            "itself",
            Op::Load,
            own + 8 * 4,
            0,
            Value(region.table | P | W | A),
        );
        for round in 0..3 {
            s.check("an entry", Op::Store, own + 8 * 5, a | P | W, Done);
            s.reads("counts", region.page(5), 0x81);
            s.check("a changed entry", Op::Store, own + 8 * 5, b | P, Done);
            s.invlpg(region.page(5));
            s.reads("counts, too", region.page(5), 0x82);
            s.check(
                "its own D bit",
                Op::Load,
                own + 8 * 4,
                0,
                Value(region.table | P | W | A | D),
            );
            s.check(
                "it makes itself read-only",
                Op::Store,
                own + 8 * 4,
                region.table | P,
                Done,
            );
            s.invlpg(own);
            s.faults("it is", Op::Write8, own + 8 * 5, 3);
            s.reads("and may be read", own + 8 * 5 + 1, (b >> 8) as u8);
            s.store(region.pte(4), region.table | P | W);
            s.invlpg(own);
            if round == 1 {
                s.check(
                    "it turns itself into another page",
                    Op::Store,
                    own + 8 * 4,
                    a | P,
                    Done,
                );
                s.invlpg(own);
                s.reads("it is that", own, 0x81);
                s.store(region.pte(4), region.table | P | W);
                s.invlpg(own);
            }
            s.store(region.pte(5), 0);
            s.invlpg(region.page(5));
        }
        s.run(&space, "a table that maps itself", report);
    }
}

/// One 2 MiB page at two addresses, with and without NX, writable and not.
pub fn large_page_twice(s: &mut Script, report: &mut Report) {
    for mode in WIDE {
        let mut space = Space::new(mode);
        put_code(AREA);
        put_code(AREA + PAGE);
        let (one, one_pde) = space.hole();
        let (two, two_pde) = space.hole();
        for swapped in [false, true, false] {
            let (x, y) = if swapped { (two, one) } else { (one, two) };
            let (x_pde, y_pde) = if swapped {
                (two_pde, one_pde)
            } else {
                (one_pde, two_pde)
            };
            s.store(x_pde, AREA | P | PS);
            s.store(y_pde, AREA | P | W | PS | NX);
            s.invlpg(one + LARGE - 1);
            s.invlpg(two + PAGE);
            for page in [0, PAGE] {
                if is_walked_by_tcg() {
                    // It forgets code by the address of INVLPG alone.
                    s.invlpg(x + page);
                    s.invlpg(y + page);
                }
                s.works("executable", Op::Execute, x + page + RET);
                s.faults("with NX", Op::Execute, y + page + RET, 0x11);
                s.writes("writable", y + page + 0x900, 1);
                s.faults("read-only", Op::Write8, x + page + 0x900, 3);
            }
        }
        s.run(&space, "two mappings of one large page", report);
    }
}
