//! Pages of 2 MiB.

use super::LARGE_FRAMES;
use guest_rt::tables::{A, D, LARGE, NX, P, PAGE, PS, U, W, frame, slot, store};
use guest_rt::trap::page_fault::{FETCH, USER, WRITE};
use guest_script::script::Expect::Value;
use guest_script::script::{Op, Script};
use guest_script::space::{Space, fill, filled};

pub fn large_pages(space: &mut Space, s: &mut Script) {
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

pub fn large_page_and_table(space: &mut Space, s: &mut Script) {
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
