//! 32-bit paging in two levels, with 4 MiB pages (APM vol. 2, 5.2.1): four-byte entries, no NX.

use guest_rt::cpu::cr;
use guest_rt::tables::{A, D, P, PAGE, PS, U, W, frame};
use guest_rt::user::{BACK, RET};

use super::both::Group;
use guest_script::script::Expect::{Done, Fault};
use guest_script::script::{Op, Script};
use guest_script::space::{ALL, Space, WINDOW_32, fill, filled, put_code};

/// The groups, in order.
pub const GROUPS: &[(&str, Group)] = &[
    ("small pages", small_pages),
    ("4 MiB pages", large_pages),
    ("user and supervisor", user),
    ("address bits", far),
];

/// Bytes of a large page.
const LARGE: u64 = 4 << 20;
/// A physical 4 MiB page that nothing else uses.
const LARGE_FRAME: u64 = 36 << 20;

/// The address of a four-byte entry.
const fn entry(table: u64, index: u64) -> u64 {
    table + 4 * index
}

/// The `index`th 4 MiB of the window, behind the user code: its first address and its directory entry.
const fn region(space: &Space, index: u64) -> (u64, u64) {
    let base = WINDOW_32 + LARGE * (1 + index);
    (base, entry(space.cr3, base >> 22))
}

fn small_pages(space: &mut Space, s: &mut Script) {
    let (base, pde) = region(space, 0);
    let [table, a, b] = [frame(), filled(0x91), filled(0x92)];
    let pte = entry(table, 1023);
    let at = base + 1023 * PAGE + 0x21;
    s.faults("no table", Op::Read8, at, 0);
    s.put(pde, table | ALL);
    s.faults("no page", Op::Write8, at, 2);
    s.put(pte, a | P | W);
    s.reads("mapped, no flush", at, 0x91);
    s.holds("A after a read", pte, a | P | W | A);
    s.holds("A in the directory entry", pde, table | ALL | A);
    s.writes("write", at, 0x93);
    s.holds("D after a write", pte, a | P | W | A | D);
    s.put(pte, b | P);
    s.invlpg(at);
    s.reads("remapped", at, 0x92);
    s.faults("read-only", Op::Write8, at, 3);
    s.holds("no D after a refused write", pte, b | P | A);
    s.step(Op::Cr0, cr::WP, 0);
    s.writes("write with WP=0", at, 0x94);
    s.step(Op::Cr0, 0, cr::WP);
    s.faults("write with WP=1", Op::Write8, at, 3);
    s.put(pte, a | P | W);
    s.reload_cr3();
    s.reads("remapped by a CR3 load", at, 0x93);
    s.put(pde, table | P);
    s.reload_cr3();
    s.faults("read-only directory entry", Op::Write8, at, 3);
    s.put(pde, table | ALL);
    s.put(entry(table, 0), b | P | W);
    s.reload_cr3();
    s.check(
        "write at the first page",
        Op::Write32,
        base,
        0x0403_0201,
        Done,
    );
    s.reads("read in it", base + 2, 3);
    s.put(pte, 0);
    s.invlpg(at);
    s.faults("unmapped", Op::Read8, at, 0);
    s.check(
        "read into the end of the region",
        Op::Read32,
        base + LARGE - 2,
        0,
        Fault(0, base + LARGE - 2),
    );
}

fn large_pages(space: &mut Space, s: &mut Script) {
    let (base, pde) = region(space, 1);
    let [table, small] = [frame(), filled(0xa2)];
    fill(LARGE_FRAME, LARGE, 0xa1);
    s.put(pde, LARGE_FRAME | P | W | PS);
    s.reads("first byte", base, 0xa1);
    s.holds("A after a read", pde, LARGE_FRAME | P | W | PS | A);
    s.writes("write in the upper half", base + 0x30_0001, 0xa3);
    s.holds("D after a write", pde, LARGE_FRAME | P | W | PS | A | D);
    s.reads("it went there", LARGE_FRAME + 0x30_0001, 0xa3);
    s.put(pde, LARGE_FRAME | P | PS);
    s.invlpg(base + 0x10_0000);
    s.faults(
        "read-only in the upper half",
        Op::Write8,
        base + 0x30_0001,
        3,
    );
    s.faults("read-only in the lower half", Op::Write8, base, 3);
    s.put(entry(table, 0x300), small | P | W);
    s.put(pde, table | P | W);
    s.reload_cr3();
    s.reads("replaced by a table", base + 0x30_0001, 0xa2);
    s.faults("where the table has nothing", Op::Read8, base, 0);
    s.put(pde, LARGE_FRAME | P | W | PS);
    s.reload_cr3();
    s.reads("a large page again", base + 0x30_0001, 0xa3);
    s.put(pde, 0);
    s.invlpg(base);
    s.faults("unmapped, upper half", Op::Read8, base + 0x3f_ffff, 0);
    s.faults("unmapped, lower half", Op::Write8, base, 2);
}

fn user(space: &mut Space, s: &mut Script) {
    let (base, pde) = region(space, 2);
    let [table, code] = [frame(), frame()];
    put_code(code);
    let pte = entry(table, 7);
    let at = base + 7 * PAGE + 0x800;
    s.put(pde, table | ALL);
    s.faults("user read of nothing", Op::UserRead, at, 4);
    // Fetches are told apart only where there is NX.
    s.faults("user fetch from nothing", Op::UserExecute, at, 4);
    s.put(pte, code | P | W);
    s.faults("user read, supervisor page", Op::UserRead, at, 5);
    s.faults("user write, supervisor page", Op::UserWrite, at, 7);
    s.faults(
        "user fetch, supervisor page",
        Op::UserExecute,
        at - 0x800 + BACK,
        5,
    );
    s.works("supervisor fetch", Op::Execute, at - 0x800 + RET);
    s.put(pte, code | P | U);
    s.invlpg(at);
    s.works("user read", Op::UserRead, at);
    s.works("user fetch", Op::UserExecute, at - 0x800 + BACK);
    s.faults("user write, read-only page", Op::UserWrite, at, 7);
    s.put(pte, code | ALL);
    s.invlpg(at);
    s.works("user write", Op::UserWrite, at);
    s.reads("it was written", at, 0x55);
    s.put(pde, table | P | W);
    s.reload_cr3();
    s.faults("user read, supervisor directory entry", Op::UserRead, at, 5);
}

/// The last entry of the directory, and a directory shared by two roots.
fn far(space: &mut Space, s: &mut Script) {
    let [root, table, a] = [frame(), frame(), filled(0xb1)];
    s.put(entry(space.cr3, 1023), table | P | W);
    s.put(entry(table, 1023), a | P | W);
    s.reads("the last byte of 4 GiB", 0xffff_ffff, 0xb1);
    s.check(
        "four bytes there",
        Op::Write32,
        0xffff_fffc,
        0xb4b3_b2b1,
        Done,
    );
    s.reads("read of one", 0xffff_fffe, 0xb3);
    (0..256).for_each(|i| s.put(entry(root, i), (i << 22) | P | W | PS));
    s.step(Op::SetCr3, 0, root);
    s.faults("not there under another root", Op::Read8, 0xffff_fffe, 0);
    s.put(entry(root, 1023), table | P);
    s.reads("there", 0xffff_fffe, 0xb3);
    s.faults("but read-only", Op::Write8, 0xffff_fffe, 3);
    s.step(Op::SetCr3, 0, space.cr3);
    s.writes("writable under the first", 0xffff_fffe, 0xb5);
}
