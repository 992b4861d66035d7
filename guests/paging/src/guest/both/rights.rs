//! Who may read, write and fetch.

use guest_rt::cpu::{cr, msr};
use guest_rt::tables::{NX, P, U, W, frame};
use guest_rt::trap::page_fault::{FETCH, RESERVED, USER, WRITE};
use guest_rt::user::{BACK, RET};
use guest_script::script::Expect::{DoneOrFault, Reserved, Value};
use guest_script::script::{Op, Script};
use guest_script::space::{ALL, Space, filled, put_code};

pub fn write_protection(space: &mut Space, s: &mut Script) {
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

pub fn no_execute(space: &mut Space, s: &mut Script) {
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
        Reserved(P | RESERVED, r.page(0)),
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

pub fn user_and_supervisor(space: &mut Space, s: &mut Script) {
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
