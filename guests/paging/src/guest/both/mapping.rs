//! Entries that appear, change and vanish, and what is flushed for it.

use guest_rt::tables::{A, D, LARGE, P, PAGE, U, W, frame, load, slot, store};
use guest_rt::trap::page_fault::{FETCH, WRITE};
use guest_script::script::Expect::{Fault, Value};
use guest_script::script::{Expect, Op, Script};
use guest_script::space::{ALL, Space, filled};

pub fn map_and_unmap(space: &mut Space, s: &mut Script) {
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

pub fn remap_with_invlpg(space: &mut Space, s: &mut Script) {
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

pub fn remap_with_cr3(space: &mut Space, s: &mut Script) {
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

pub fn aliases(space: &mut Space, s: &mut Script) {
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

pub fn directory_entries(space: &mut Space, s: &mut Script) {
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

pub fn page_crossing(space: &mut Space, s: &mut Script) {
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

pub fn self_map(space: &mut Space, s: &mut Script) {
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
