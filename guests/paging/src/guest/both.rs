//! What holds in long mode and in PAE paging alike.

use guest_rt::cpu::{cr, msr, physical_bits};
use guest_rt::tables::{A, D, G, LARGE, NX, P, PAGE, PS, U, W, frame, load, slot, store};
use guest_rt::user::{BACK, RET};

use guest_script::script::Expect::{self, DoneOrFault, Either, Fault, Reserved, Value};
use guest_script::script::{Op, Script};
use guest_script::space::{ALL, Space, fill, filled, put_code};

/// Page-fault error code: the access was a write (APM vol. 2, 8.4.2).
const WRITE: u64 = 2;
/// The access came from privilege level 3.
const USER: u64 = 4;
/// A reserved bit was set.
const RSV: u64 = 8;
/// The access was an instruction fetch.
const FETCH: u64 = 16;

/// Physical 2 MiB pages that nothing else uses.
const LARGE_FRAMES: [u64; 2] = [32 << 20, 34 << 20];

/// Writes a group's script.
pub type Group = fn(&mut Space, &mut Script);

/// The groups, in order.
pub const GROUPS: &[(&str, Group)] = &[
    ("map and unmap", map_and_unmap),
    ("remap with INVLPG", remap_with_invlpg),
    ("remap with a CR3 load", remap_with_cr3),
    ("write protection", write_protection),
    ("no execute", no_execute),
    ("user and supervisor", user_and_supervisor),
    ("aliases", aliases),
    ("accessed and dirty", accessed_and_dirty),
    ("large pages", large_pages),
    ("large page and table", large_page_and_table),
    ("reserved bits", reserved_bits),
    ("page-crossing accesses", page_crossing),
    ("tables edited through their own mapping", self_map),
    ("global pages", global_pages),
    ("directory entries", directory_entries),
];

fn map_and_unmap(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0xa1), filled(0xb2)];
    s.faults("read of nothing", Op::Read8, r.page(0) + 0x123, 0);
    s.faults("write to nothing", Op::Write8, r.page(0) + 0xfff, WRITE);
    s.faults("fetch from nothing", Op::Execute, r.page(0) + 0x10, FETCH);
    s.store(r.pte(0), a | P | W);
    s.reads("read after mapping, no flush", r.page(0) + 0x123, 0xa1);
    s.writes("write after mapping", r.page(0) + 0x123, 0x17);
    s.reads("read of what was written", r.page(0) + 0x123, 0x17);
    s.reads("the same through the frame's own address", a + 0x123, 0x17);
    s.faults("the neighbour is still not there", Op::Read8, r.page(1), 0);
    s.store(r.pte(1), b | P | W);
    s.reads("the neighbour after mapping", r.page(1), 0xb2);
    s.store(r.pte(0), 0);
    s.invlpg(r.page(0));
    s.faults("read after unmapping", Op::Read8, r.page(0) + 0x123, 0);
    s.faults("write after unmapping", Op::Write8, r.page(0) + 1, WRITE);
    s.reads("the neighbour stays", r.page(1), 0xb2);
    s.store(r.pte(0), b | P);
    s.reads("another frame after unmapping, no flush", r.page(0), 0xb2);
    s.store(r.pte(511), a | P | W);
    s.reads("the last page of a table", r.page(511) + 0x123, 0x17);
    s.store(r.pte(511), (a | P | W) & !P);
    s.invlpg(r.page(511) + 0xabc);
    s.faults("an entry with everything but P", Op::Read8, r.page(511), 0);
}

fn remap_with_invlpg(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let frames = [filled(0x11), filled(0x22), filled(0x33)];
    s.store(r.pte(3), frames[0] | P | W);
    s.reads("first frame", r.page(3), 0x11);
    for _ in 0..4 {
        for (frame, value) in [(frames[1], 0x22), (frames[2], 0x33), (frames[0], 0x11)] {
            s.store(r.pte(3), frame | P | W);
            s.invlpg(r.page(3) + 0x7ff);
            s.reads("another frame after INVLPG", r.page(3) + 0x800, value);
        }
    }
    s.writes("write to the mapped frame", r.page(3), 0x44);
    s.store(r.pte(3), frames[1] | P | W);
    s.invlpg(r.page(3));
    s.reads("the write went to the other frame", r.page(3), 0x22);
    s.reads("namely there", frames[0], 0x44);
    s.invlpg(r.page(3) + PAGE);
    s.works(
        "INVLPG of an address that is not mapped",
        Op::Invlpg,
        r.page(9),
    );
}

fn remap_with_cr3(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let frames = [filled(0x51), filled(0x52)];
    for round in 0..4 {
        for page in 0..8 {
            s.store(
                r.pte(page),
                frames[usize::from((round + page) % 2 != 0)] | P | W,
            );
        }
        s.reload_cr3();
        for page in 0..8 {
            s.reads(
                "after a CR3 load",
                r.page(page) + 8 * page,
                if (round + page) % 2 == 0 { 0x51 } else { 0x52 },
            );
        }
    }
    (0..8).for_each(|page| s.store(r.pte(page), 0));
    s.reload_cr3();
    (0..8).for_each(|page| s.faults("unmapped by a CR3 load", Op::Read8, r.page(page), 0));
}

fn write_protection(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let a = filled(0x61);
    s.store(r.pte(0), a | P | U);
    s.reads("read-only page, read", r.page(0), 0x61);
    s.faults(
        "read-only page, write",
        Op::Write8,
        r.page(0) + 5,
        P | WRITE,
    );
    s.reads("nothing was written", r.page(0) + 5, 0x61);
    s.step(Op::Cr0, cr::WP, 0);
    s.writes("write with WP=0", r.page(0) + 5, 0x62);
    s.reads("it was written", r.page(0) + 5, 0x62);
    s.faults(
        "user write with WP=0",
        Op::UserWrite,
        r.page(0) + 5,
        P | WRITE | USER,
    );
    s.step(Op::Cr0, 0, cr::WP);
    s.faults(
        "write with WP=1 again",
        Op::Write8,
        r.page(0) + 5,
        P | WRITE,
    );
    s.store(r.pte(0), a | P | W | U);
    s.check(
        "write after more rights, no flush",
        Op::Write8,
        r.page(0) + 5,
        0x63,
        DoneOrFault(P | WRITE, r.page(0) + 5),
    );
    s.writes("write after more rights", r.page(0) + 5, 0x63);
    s.store(r.pte(0), a | P | U);
    s.invlpg(r.page(0));
    s.faults(
        "write after fewer rights",
        Op::Write8,
        r.page(0) + 5,
        P | WRITE,
    );
    s.store(r.pte(0), a | P | W | U);
    s.store(r.pde, r.table | P | U);
    s.reload_cr3();
    s.reads("read-only directory entry, read", r.page(0) + 5, 0x63);
    s.faults(
        "read-only directory entry, write",
        Op::Write8,
        r.page(0) + 5,
        P | WRITE,
    );
    s.faults(
        "read-only directory entry, user write",
        Op::UserWrite,
        r.page(0) + 5,
        P | WRITE | USER,
    );
    s.step(Op::Cr0, cr::WP, 0);
    s.writes(
        "read-only directory entry, write with WP=0",
        r.page(0) + 5,
        0x64,
    );
    s.step(Op::Cr0, 0, cr::WP);
    s.store(r.pde, r.table | ALL);
    s.reload_cr3();
    s.writes("writable directory entry again", r.page(0) + 5, 0x65);
}

fn no_execute(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let code = frame();
    put_code(code);
    s.store(r.pte(0), code | P | U);
    s.works("fetch", Op::Execute, r.page(0) + RET);
    s.works("user fetch", Op::UserExecute, r.page(0) + BACK);
    s.store(r.pte(0), code | P | U | NX);
    s.invlpg(r.page(0));
    s.faults("fetch, NX page", Op::Execute, r.page(0) + RET, P | FETCH);
    s.faults(
        "user fetch, NX page",
        Op::UserExecute,
        r.page(0) + BACK,
        P | USER | FETCH,
    );
    s.works("read, NX page", Op::Read8, r.page(0) + RET);
    s.works("user read, NX page", Op::UserRead, r.page(0) + RET);
    s.faults(
        "write, NX and read-only page",
        Op::Write8,
        r.page(0),
        P | WRITE,
    );
    s.store(r.pte(0), code | P | U);
    s.store(r.pde, r.table | ALL | NX);
    s.reload_cr3();
    s.faults(
        "fetch, NX directory entry",
        Op::Execute,
        r.page(0) + RET,
        P | FETCH,
    );
    s.works("read, NX directory entry", Op::Read8, r.page(0) + RET);
    s.store(r.pde, r.table | ALL);
    s.reload_cr3();
    s.works("fetch again", Op::Execute, r.page(0) + RET);
    // With NXE=0 the bit is reserved, and a fetch is not told apart.
    s.step(Op::Efer, msr::NXE, 0);
    s.reload_cr3();
    s.works("fetch with NXE=0", Op::Execute, r.page(0) + RET);
    s.faults("fetch from nothing with NXE=0", Op::Execute, r.page(1), 0);
    s.store(r.pte(0), code | P | U | NX);
    s.invlpg(r.page(0));
    s.check(
        "read, NX set with NXE=0",
        Op::Read8,
        r.page(0),
        0,
        Reserved(P | RSV, r.page(0)),
    );
    s.step(Op::Efer, 0, msr::NXE);
    s.reload_cr3();
    s.works("read, NX set with NXE=1", Op::Read8, r.page(0));
    s.faults(
        "fetch, NX set with NXE=1",
        Op::Execute,
        r.page(0) + RET,
        P | FETCH,
    );
}

fn user_and_supervisor(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let code = frame();
    put_code(code);
    let at = r.page(2) + 0x800;
    s.faults("user read of nothing", Op::UserRead, at, USER);
    s.faults("user write to nothing", Op::UserWrite, at, USER | WRITE);
    s.faults("user fetch from nothing", Op::UserExecute, at, USER | FETCH);
    s.store(r.pte(2), code | P | W);
    s.faults("user read, supervisor page", Op::UserRead, at, P | USER);
    s.faults(
        "user write, supervisor page",
        Op::UserWrite,
        at,
        P | USER | WRITE,
    );
    s.faults(
        "user fetch, supervisor page",
        Op::UserExecute,
        r.page(2) + BACK,
        P | USER | FETCH,
    );
    s.writes("supervisor write, supervisor page", at, 0x71);
    s.store(r.pte(2), code | P | W | U);
    s.invlpg(r.page(2));
    s.check("user read, user page", Op::UserRead, at, 0, Value(0x71));
    s.works("user write, user page", Op::UserWrite, at);
    s.works("user fetch, user page", Op::UserExecute, r.page(2) + BACK);
    s.reads("supervisor read, user page", at, 0x55);
    s.works("supervisor fetch, user page", Op::Execute, r.page(2) + RET);
    s.store(r.pte(2), code | P | U);
    s.invlpg(r.page(2));
    s.check(
        "user read, read-only page",
        Op::UserRead,
        at,
        0,
        Value(0x55),
    );
    s.faults(
        "user write, read-only page",
        Op::UserWrite,
        at,
        P | USER | WRITE,
    );
    s.store(r.pte(2), code | P | W | U);
    s.store(r.pde, r.table | P | W);
    s.reload_cr3();
    s.faults(
        "user read, supervisor directory entry",
        Op::UserRead,
        at,
        P | USER,
    );
    s.faults(
        "user write, supervisor directory entry",
        Op::UserWrite,
        at,
        P | USER | WRITE,
    );
    s.writes("supervisor write, supervisor directory entry", at, 0x72);
    s.store(r.pde, r.table | ALL);
    s.reload_cr3();
    s.check("user read again", Op::UserRead, at, 0, Value(0x72));
    s.store(r.pte(2), code | P | W);
    s.reload_cr3();
    s.reads("supervisor read fills the TLB", at, 0x72);
    s.faults("user read after it", Op::UserRead, at, P | USER);
}

fn aliases(space: &mut Space, s: &mut Script) {
    let [r, q] = [space.region(), space.region()];
    let a = filled(0x81);
    s.store(r.pte(0), a | P | W);
    s.store(q.pte(7), a | P | W);
    s.store(q.pte(8), a | P);
    s.writes("write to one address", r.page(0) + 0x40, 0x82);
    s.reads("read at the other", q.page(7) + 0x40, 0x82);
    s.writes("write to the other", q.page(7) + 0x41, 0x83);
    s.reads("read at the one", r.page(0) + 0x41, 0x83);
    s.reads("read at the read-only third", q.page(8) + 0x41, 0x83);
    s.faults(
        "write to the read-only third",
        Op::Write8,
        q.page(8) + 0x41,
        P | WRITE,
    );
    s.store(r.pte(0), 0);
    s.invlpg(r.page(0));
    s.faults("the one is gone", Op::Read8, r.page(0) + 0x41, 0);
    s.reads("the other stays", q.page(7) + 0x41, 0x83);
    s.writes("and can be written", q.page(7) + 0x41, 0x84);
    s.reads("and the third sees it", q.page(8) + 0x41, 0x84);
    // One table under two directory entries: all its pages have two addresses.
    let (twin, pde) = space.hole();
    s.store(pde, q.table | ALL);
    s.reads("through a shared table", twin + 7 * PAGE + 0x41, 0x84);
    s.store(q.pte(7), 0);
    s.invlpg(q.page(7));
    s.invlpg(twin + 7 * PAGE);
    s.faults(
        "gone at one address of a shared table",
        Op::Read8,
        q.page(7),
        0,
    );
    s.faults("gone at the other", Op::Read8, twin + 7 * PAGE, 0);
    s.reads("the third stays", twin + 8 * PAGE + 0x41, 0x84);
}

fn accessed_and_dirty(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let a = filled(0x91);
    let clean = a | P | W | U;
    for (page, entry) in [
        (0, clean),
        (1, clean),
        (2, clean & !W),
        (3, clean),
        (4, clean & !U),
        (5, clean | NX),
    ] {
        store(r.pte(page), entry);
    }
    s.entry("nothing touched: directory entry", r.pde, r.table | ALL);
    s.reads("read", r.page(0), 0x91);
    s.entry("A after a read", r.pte(0), clean | A);
    s.entry("A in the directory entry", r.pde, r.table | ALL | A);
    s.entry("nothing in the neighbour", r.pte(1), clean);
    s.writes("write after a read", r.page(0), 0x92);
    s.entry("A and D after a write", r.pte(0), clean | A | D);
    s.entry("no D in the directory entry", r.pde, r.table | ALL | A);
    s.writes("write at once", r.page(1), 0x92);
    s.entry("A and D after a write at once", r.pte(1), clean | A | D);
    s.faults(
        "write to a read-only page",
        Op::Write8,
        r.page(2),
        P | WRITE,
    );
    s.entry("no bits after a refused write", r.pte(2), clean & !W);
    s.reads("read of a read-only page", r.page(2), 0x92);
    s.faults(
        "refused write after a read",
        Op::Write8,
        r.page(2),
        P | WRITE,
    );
    s.entry("A alone after both", r.pte(2), (clean & !W) | A);
    s.step(Op::Cr0, cr::WP, 0);
    s.writes("write to a read-only page with WP=0", r.page(2), 0x93);
    s.step(Op::Cr0, 0, cr::WP);
    s.entry("D after a write with WP=0", r.pte(2), (clean & !W) | A | D);
    s.works("user write", Op::UserWrite, r.page(3));
    s.entry("A and D after a user write", r.pte(3), clean | A | D);
    s.faults(
        "user write to a supervisor page",
        Op::UserWrite,
        r.page(4),
        P | WRITE | USER,
    );
    s.entry("no bits after a refused user write", r.pte(4), clean & !U);
    s.faults("fetch from an NX page", Op::Execute, r.page(5), P | FETCH);
    s.entry("no bits after a refused fetch", r.pte(5), clean | NX);
    s.store(r.pte(0), clean);
    s.invlpg(r.page(0));
    s.reads("read after clearing", r.page(0), 0x55);
    s.entry("A set again, D not", r.pte(0), clean | A);
    s.store(r.pte(0), clean | A);
    s.invlpg(r.page(0));
    s.writes("write after clearing D", r.page(0), 0x94);
    s.entry("D set again", r.pte(0), clean | A | D);
    s.store(r.pde, r.table | ALL);
    s.store(r.pte(1), clean);
    s.reload_cr3();
    s.writes("write after clearing all", r.page(1), 0x95);
    s.entry("A in the directory entry again", r.pde, r.table | ALL | A);
    s.entry("A and D in the entry again", r.pte(1), clean | A | D);
    // Software's bits are none of the CPU's business.
    s.store(r.pte(6), clean | 0xe00);
    s.writes("write with available bits set", r.page(6), 0x96);
    s.entry("they stay", r.pte(6), clean | 0xe00 | A | D);
}

fn large_pages(space: &mut Space, s: &mut Script) {
    let (base, pde) = space.hole();
    let [x, y] = LARGE_FRAMES;
    fill(x, LARGE, 0xc1);
    fill(y, LARGE, 0xc2);
    let large = |frame: u64| frame | P | W | U | PS;
    s.faults("read of nothing", Op::Read8, base + 0x12_3456, 0);
    s.store(pde, large(x));
    s.reads("first byte", base, 0xc1);
    s.reads("last byte", base + LARGE - 1, 0xc1);
    s.entry("A after a read", pde, large(x) | A);
    s.writes("write in the middle", base + 0x10_0000, 0xc7);
    s.entry("D after a write", pde, large(x) | A | D);
    s.reads("it went there", x + 0x10_0000, 0xc7);
    s.check("user read", Op::UserRead, base + 0x10_0000, 0, Value(0xc7));
    s.store(pde, large(y));
    s.invlpg(base + 0x8_0000);
    for at in [0, 0x10_0000, 0x8_0000, LARGE - 1] {
        s.reads("INVLPG drops every part of a large page", base + at, 0xc2);
    }
    s.store(pde, large(y) & !W);
    s.invlpg(base);
    s.faults("write, read-only", Op::Write8, base + 0x1f_f00f, P | WRITE);
    s.reads("read, read-only", base + 0x1f_f00f, 0xc2);
    s.store(pde, large(y) & !U);
    s.invlpg(base);
    s.faults(
        "user read, supervisor",
        Op::UserRead,
        base + 0x1000,
        P | USER,
    );
    s.writes("supervisor write", base + 0x1000, 0xc3);
    s.store(pde, large(y) | NX);
    s.invlpg(base);
    s.faults("fetch, NX", Op::Execute, base + 0x2000, P | FETCH);
    s.store(pde, large(x));
    s.reload_cr3();
    s.reads("another frame after a CR3 load", base + 0x10_0000, 0xc7);
    s.store(pde, 0);
    s.invlpg(base + 0x10_0000);
    s.faults("unmapped", Op::Read8, base + 0x10_0000, 0);
    s.faults("unmapped, elsewhere", Op::Write8, base + 0x3000, WRITE);
}

fn large_page_and_table(space: &mut Space, s: &mut Script) {
    let (base, pde) = space.hole();
    let [x, y] = LARGE_FRAMES;
    let [table, small] = [frame(), filled(0xd1)];
    let large = |frame: u64| frame | P | W | PS;
    let piece = |index: u64| base + PAGE * index;
    fill(x, LARGE, 0xd2);
    fill(y, LARGE, 0xd3);
    (0..512).for_each(|i| store(slot(table, i), (x + PAGE * i) | P | W));
    store(slot(table, 5), small | P);
    store(slot(table, 6), 0);
    s.store(pde, large(y));
    s.reads("large page", piece(5), 0xd3);
    s.writes("large page, write", piece(6), 0xd4);
    s.store(pde, table | P | W);
    s.reload_cr3();
    s.reads("replaced by a table: small page", piece(5), 0xd1);
    s.faults("small read-only page", Op::Write8, piece(5), P | WRITE);
    s.faults("small page not there", Op::Read8, piece(6) + 9, 0);
    s.reads("the rest", piece(7), 0xd2);
    s.writes("the rest, write", piece(511), 0xd5);
    s.reads("it went to the table's frame", x + 511 * PAGE, 0xd5);
    s.store(pde, large(y));
    s.reload_cr3();
    s.reads("replaced by a large page", piece(6), 0xd4);
    s.writes("write where it was read-only", piece(5), 0xd6);
    s.reads("the small frame is untouched", small, 0xd1);
    s.reads("the end", piece(511), 0xd3);
    s.store(pde, table | P | W);
    s.invlpg(piece(5));
    s.reads(
        "a table again, by INVLPG of the address read",
        piece(5),
        0xd1,
    );
    s.store(slot(table, 6), small | P | W);
    s.reload_cr3();
    s.reads("filled hole", piece(6), 0xd1);
    s.store(pde, 0);
    s.reload_cr3();
    s.faults("both gone", Op::Read8, piece(6), 0);
    // The former table is memory now: its entries mean nothing.
    s.step(Op::Store, slot(table, 6), small | P | W);
    s.faults(
        "still gone after a write to the old table",
        Op::Read8,
        piece(6),
        0,
    );
}

fn reserved_bits(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let a = filled(0xe1);
    let (large, large_pde) = space.hole();
    let reserved = |address: u64, more: u64| -> Expect { Reserved(P | RSV | more, address) };
    let width = physical_bits();
    if width < 52 {
        for bit in [width, 51] {
            s.store(r.pte(0), a | P | W | U | 1 << bit);
            s.invlpg(r.page(0));
            s.check(
                "address bit beyond the width, read",
                Op::Read8,
                r.page(0) + 3,
                0,
                reserved(r.page(0) + 3, 0),
            );
            s.check(
                "write",
                Op::Write8,
                r.page(0) + 3,
                0,
                reserved(r.page(0) + 3, WRITE),
            );
            s.check(
                "user read",
                Op::UserRead,
                r.page(0) + 3,
                0,
                reserved(r.page(0) + 3, USER),
            );
        }
        s.store(r.pte(0), (a | W | U | 1 << width) & !P);
        s.invlpg(r.page(0));
        s.faults("no P: nothing is reserved", Op::Read8, r.page(0) + 3, 0);
        s.store(r.pte(0), a | P | W | U);
        s.store(r.pde, r.table | ALL | 1 << width);
        s.reload_cr3();
        s.check(
            "in the directory entry",
            Op::Read8,
            r.page(0),
            0,
            reserved(r.page(0), 0),
        );
        s.store(r.pde, r.table | ALL);
        s.reload_cr3();
        s.reads("without it", r.page(0), 0xe1);
    }
    s.store(large_pde, LARGE_FRAMES[0] | P | W | PS | 1 << 13);
    s.check(
        "address bit 13 of a large page, read",
        Op::Read8,
        large + 7,
        0,
        reserved(large + 7, 0),
    );
    s.check(
        "write",
        Op::Write8,
        large + 7,
        0,
        reserved(large + 7, WRITE),
    );
    s.store(large_pde, LARGE_FRAMES[0] | P | W | PS);
    s.invlpg(large);
    s.works("without it", Op::Read8, large + 7);
}

fn page_crossing(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x0a), filled(0x0b)];
    let at = r.page(1) - 2;
    s.store(r.pte(0), a | P | W | U);
    s.store(r.pte(1), b | P | W | U);
    s.check(
        "read over the border",
        Op::Read32,
        at,
        0,
        Value(0x0b0b_0a0a),
    );
    s.check(
        "write over the border",
        Op::Write32,
        at,
        0x4433_2211,
        Expect::Done,
    );
    s.check(
        "first half",
        Op::Read32,
        r.page(1) - 4,
        0,
        Value(0x2211_0a0a),
    );
    s.check("second half", Op::Read32, r.page(1), 0, Value(0x0b0b_4433));
    s.store(r.pte(1), 0);
    s.invlpg(r.page(1));
    s.check(
        "read, second page not there",
        Op::Read32,
        at,
        0,
        Fault(0, r.page(1)),
    );
    s.check(
        "write, second page not there",
        Op::Write32,
        at,
        0x8877_6655,
        Fault(WRITE, r.page(1)),
    );
    s.check(
        "the first page was not written",
        Op::Read32,
        r.page(1) - 4,
        0,
        Value(0x2211_0a0a),
    );
    s.store(r.pte(1), b | P | U);
    s.check(
        "write, second page read-only",
        Op::Write32,
        at,
        0x8877_6655,
        Fault(P | WRITE, r.page(1)),
    );
    s.check(
        "the first page was not written",
        Op::Read32,
        r.page(1) - 4,
        0,
        Value(0x2211_0a0a),
    );
    s.store(r.pte(0), 0);
    s.invlpg(r.page(0));
    s.check(
        "read, first page not there",
        Op::Read32,
        at,
        0,
        Fault(0, at),
    );
    s.check(
        "read of three bytes there",
        Op::Read32,
        r.page(1) - 1,
        0,
        Fault(0, r.page(1) - 1),
    );
    s.store(r.pte(1), 0);
    s.invlpg(r.page(1));
    s.check(
        "write, neither page there",
        Op::Write32,
        at,
        0,
        Fault(WRITE, at),
    );
    s.store(r.pte(0), a | P | W);
    s.store(r.pte(1), b | P | W);
    s.check(
        "write after mapping both",
        Op::Write32,
        at,
        0x8877_6655,
        Expect::Done,
    );
    s.check("read of it", Op::Read32, at, 0, Value(0x8877_6655));
    s.entry("D in the first entry", r.pte(0), a | P | W | A | D);
    s.entry("D in the second entry", r.pte(1), b | P | W | A | D);
}

fn self_map(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x1a), filled(0x1b)];
    // The directory's last entry is the directory: its tables appear as pages at the window's end.
    let mirror = space.window + 511 * LARGE;
    let index = (r.pde - space.directory) / 8;
    let pte = |page: u64| mirror + PAGE * index + 8 * page;
    let pde = |page: u64| mirror + PAGE * 511 + 8 * page;
    s.store(slot(space.directory, 511), space.directory | P | W);
    s.store(r.pte(0), a | P | W);
    s.entry("an entry read through the mapping", pte(0), a | P | W);
    s.reads("its page", r.page(0), 0x1a);
    s.entry("A shows there", pte(0), a | P | W | A);
    s.check(
        "map through the mapping",
        Op::Store,
        pte(1),
        b | P | W,
        Expect::Done,
    );
    s.reads("mapped so", r.page(1), 0x1b);
    s.entry(
        "the directory entry is that page's entry: A and D",
        r.pde,
        r.table | ALL | A | D,
    );
    for (frame, value) in [(b, 0x1b), (a, 0x1a), (b, 0x1b)] {
        s.check(
            "remap through the mapping",
            Op::Store,
            pte(0),
            frame | P | W,
            Expect::Done,
        );
        s.invlpg(r.page(0));
        s.reads("remapped so", r.page(0), value);
    }
    s.check(
        "protect through the mapping",
        Op::Store,
        pte(0),
        b | P,
        Expect::Done,
    );
    s.invlpg(r.page(0));
    s.faults("protected so", Op::Write8, r.page(0), P | WRITE);
    s.check(
        "unmap through the mapping",
        Op::Store,
        pte(0),
        0,
        Expect::Done,
    );
    s.invlpg(r.page(0));
    s.faults("unmapped so", Op::Read8, r.page(0), 0);
    s.check(
        "unlink the table through the mapping",
        Op::Store,
        pde(index),
        0,
        Expect::Done,
    );
    s.reload_cr3();
    s.faults("the table's pages are gone", Op::Read8, r.page(1), 0);
    s.faults("its place in the mapping too", Op::Load, pte(1), 0);
    s.check(
        "link it again",
        Op::Store,
        pde(index),
        r.table | ALL,
        Expect::Done,
    );
    s.reads("its pages are back", r.page(1), 0x1b);
    s.entry("its place too", pte(1), b | P | W | A);
    // A table mapped as a page of its own: the entry edited is the one that maps the page it is edited through.
    s.store(r.pte(2), r.table | P | W);
    s.check(
        "a table writes its own mapping away",
        Op::Store,
        r.page(2) + 16,
        0,
        Expect::Done,
    );
    s.invlpg(r.page(2));
    s.faults("and is gone", Op::Load, r.page(2) + 16, 0);
    s.store(r.pte(2), r.table | P | W);
    s.check(
        "read-only for itself",
        Op::Store,
        r.page(2) + 16,
        r.table | P,
        Expect::Done,
    );
    s.invlpg(r.page(2));
    s.check(
        "then refuses",
        Op::Write8,
        r.page(2) + 16,
        0,
        Fault(P | WRITE, r.page(2) + 16),
    );
    s.check(
        "its own A, and no D",
        Op::Load,
        r.page(2) + 16,
        0,
        Value(r.table | P | A),
    );
    s.store(slot(space.directory, 511), 0);
    s.reload_cr3();
    s.faults("the mapping is gone", Op::Load, pte(0), 0);
}

fn global_pages(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x2a), filled(0x2b)];
    s.step(Op::Cr4, cr::PGE, 0);
    s.store(r.pte(0), a | P | W | G);
    s.reads("global, PGE=0", r.page(0), 0x2a);
    s.store(r.pte(0), b | P | W | G);
    s.reload_cr3();
    s.reads("PGE=0: a CR3 load drops it", r.page(0), 0x2b);
    s.step(Op::Cr4, 0, cr::PGE);
    s.store(r.pte(1), a | P | W);
    s.reads("global, PGE=1", r.page(0), 0x2b);
    s.reads("not global", r.page(1), 0x2a);
    s.store(r.pte(0), a | P | W | G);
    s.store(r.pte(1), b | P | W);
    s.reload_cr3();
    s.check(
        "a CR3 load may keep it",
        Op::Read8,
        r.page(0),
        0,
        Either(0x2a, 0x2b),
    );
    s.reads("but drops the other", r.page(1), 0x2b);
    s.invlpg(r.page(0));
    s.reads("INVLPG drops it", r.page(0), 0x2a);
    s.store(r.pte(0), b | P | W | G);
    s.step(Op::Cr4, cr::PGE, 0);
    s.step(Op::Cr4, 0, cr::PGE);
    s.reads("PGE off and on drops it", r.page(0), 0x2b);
    s.store(r.pte(0), a | P | W);
    s.invlpg(r.page(0));
    s.reads("no longer global", r.page(0), 0x2a);
    s.store(r.pte(0), 0);
    s.reload_cr3();
    s.faults("so a CR3 load drops it", Op::Read8, r.page(0), 0);
    s.step(Op::Cr4, cr::PGE, 0);
}

fn directory_entries(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let [a, b] = [filled(0x3a), filled(0x3b)];
    let other = frame();
    store(r.pte(0), a | P | W);
    store(slot(other, 0), b | P | W);
    s.reads("first table", r.page(0), 0x3a);
    s.store(r.pde, other | P | W);
    s.reload_cr3();
    s.reads("second table", r.page(0), 0x3b);
    s.store(r.pde, r.table | P | W);
    s.invlpg(r.page(0));
    s.reads("first table by INVLPG", r.page(0), 0x3a);
    s.store(r.pde, 0);
    s.reload_cr3();
    s.faults("no table", Op::Read8, r.page(0), 0);
    s.faults("no table, write", Op::Write8, r.page(0) + 0xff, WRITE);
    s.store(r.pde, other | P | W);
    s.reads("a table where none was, no flush", r.page(0), 0x3b);
    s.entry(
        "the first table's entry kept its bits",
        r.pte(0),
        a | P | W | A,
    );
    s.entry("the second's has A", slot(other, 0), b | P | W | A);
    assert!(load(space.pointer) & P != 0, "the window stays linked");
}
