//! Bits of an entry other than its rights.

use super::LARGE_FRAMES;
use guest_rt::cpu::{cr, physical_bits};
use guest_rt::tables::{A, D, G, NX, P, PS, U, W, store};
use guest_rt::trap::page_fault::{FETCH, RESERVED, USER, WRITE};
use guest_script::script::Expect::{Either, Reserved};
use guest_script::script::{Expect, Op, Script};
use guest_script::space::{ALL, Space, filled};

pub fn accessed_and_dirty(space: &mut Space, s: &mut Script) {
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

pub fn reserved_bits(space: &mut Space, s: &mut Script) {
    let r = space.region();
    let a = filled(0xe1);
    let (large, large_pde) = space.hole();
    let reserved = |address: u64, more: u64| -> Expect { Reserved(P | RESERVED | more, address) };
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

pub fn global_pages(space: &mut Space, s: &mut Script) {
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
