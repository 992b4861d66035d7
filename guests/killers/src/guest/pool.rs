//! What fills a pool of shadow tables: thousands of roots, and one instruction that needs many pages at once.
#![allow(unsafe_code)] // code, descriptor tables and stacks over page borders

use core::arch::asm;

use guest_rt::cpu;
use guest_rt::gdt::{self, TSS64};
use guest_rt::tables::{P, PAGE, U, W, boot_root, frame, load, map, root, slot, store};
use guest_rt::trap::{TablePointer, catch, idt, load_idt, restore_idt};
use guest_script::script::{Report, Script};

/// Memory for the roots, which nothing else uses.
const ROOTS: u64 = 48 << 20;
/// How many.
const COUNT: u64 = 2500;

/// Thousands of roots, each with an address of its own, visited again and again.
pub fn many_roots(_: &mut Script, report: &mut Report) {
    let pages = [frame(), frame(), frame()];
    let (pointers, directory, table) = (frame(), frame(), frame());
    store(slot(pointers, 0), directory | P | W | U);
    store(slot(directory, 0), table | P | W | U);
    for (i, &page) in (0..).zip(&pages) {
        store(page, 0x1000 + i);
        store(slot(table, i), page | P | W);
    }
    let place = |i: u64| 1 + i % 250;
    for i in 0..COUNT {
        let root = ROOTS + PAGE * i;
        (0..512).for_each(|entry| store(slot(root, entry), 0));
        store(slot(root, 0), load(slot(boot_root(), 0)));
        store(slot(root, place(i)), pointers | P | W | U);
    }
    let cr3 = cpu::cr3();
    let mut wrong = 0;
    for round in 0..2 {
        for i in 0..COUNT {
            cpu::set_cr3(ROOTS + PAGE * i);
            let base = place(i) << 39;
            let which = (i + round) % 3;
            let got = load(base + PAGE * which);
            wrong += u64::from(got != 0x1000 + which);
            let other = (place(i) + 1) << 39;
            wrong += u64::from(
                i % 16 == 0
                    && catch(|| {
                        load(other);
                    })
                    .is_ok(),
            );
        }
    }
    // Two in turn, a thousand times.
    for i in 0..1000 {
        cpu::set_cr3(ROOTS + PAGE * (i % 2));
        store((place(i % 2) << 39) + 8, i);
    }
    cpu::set_cr3(cr3);
    report.holds("every root shows what it should", wrong == 0);
    report.holds("and the last write is there", load(pages[0] + 8) == 999);
}

/// The border between two slots of the root: no table but the root is shared by the pages on both sides.
const fn border(slot: u64) -> u64 {
    slot << 39
}

/// Two frames on both sides of a border.
struct Across {
    border: u64,
    leaves: [u64; 2],
    frames: [u64; 2],
}

impl Across {
    fn new(root: u64, slot: u64) -> Self {
        let border = border(slot);
        let frames = [frame(), frame()];
        let leaves = [
            map(root, border - PAGE, frames[0] | P | W),
            map(root, border, frames[1] | P | W),
        ];
        Self {
            border,
            leaves,
            frames,
        }
    }

    /// Puts bytes at `offset` from the border, through the frames.
    fn put(&self, offset: i64, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            let place = if at < 0 {
                self.frames[0].wrapping_add_signed(PAGE as i64 + at)
            } else {
                self.frames[1] + at as u64
            };
            // SAFETY: a byte of a frame of the pool.
            unsafe { (place as *mut u8).write_volatile(byte) };
        }
    }

    /// Eight bytes at `offset` from the border.
    fn get(&self, offset: i64) -> u64 {
        let bytes = core::array::from_fn(|i| {
            let at = offset + i as i64;
            let place = if at < 0 {
                self.frames[0].wrapping_add_signed(PAGE as i64 + at)
            } else {
                self.frames[1] + at as u64
            };
            // SAFETY: as above.
            unsafe { (place as *const u8).read_volatile() }
        });
        u64::from_le_bytes(bytes)
    }

    fn at(&self, offset: i64) -> u64 {
        self.border.wrapping_add_signed(offset)
    }
}

/// MOVS whose code, source and destination lie over borders; then an INT whose gate, segment descriptor, interrupt stack
/// pointer, stack and handler do as well.
pub fn worst_instruction(_: &mut Script, report: &mut Report) {
    let root = root();
    let [code, source, target, gates, segments, task, stack, handler] =
        core::array::from_fn(|i| Across::new(root, 10 + 2 * i as u64));
    // movsq; ret, and int 0x70; ret.
    code.put(-1, &[0x48, 0xa5, 0xc3]);
    code.put(-0x11, &[0x90; 14]);
    handler.put(-1, &[0x48, 0xcf]);
    // The gate of 0x70, whole, with interrupt stack 1.
    let to = handler.at(-1);
    let low = to & 0xffff | 0x08 << 16 | 1 << 32 | 0x8e00 << 32 | (to >> 16 & 0xffff) << 48;
    (0..128).for_each(|i| gates.put(8 * i - 8 - 0x700, &load(idt() + 8 * i as u64).to_le_bytes()));
    gates.put(-8, &low.to_le_bytes());
    gates.put(0, &(to >> 32).to_le_bytes());
    // The code segment's descriptor, and a task state whose descriptor is in the table as well.
    let table = -12;
    for i in 0..gdt::SIZE as i64 / 8 {
        segments.put(
            table + 8 * i,
            &load(gdt::address() + 8 * i as u64).to_le_bytes(),
        );
    }
    let base = task.at(-40);
    let tss = 103 | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    segments.put(table + i64::from(TSS64), &tss.to_le_bytes());
    segments.put(table + i64::from(TSS64) + 8, &(base >> 32).to_le_bytes());
    task.put(-4, &stack.at(16).to_le_bytes());
    let cr3 = cpu::cr3();
    cpu::set_cr3(root);
    for round in 0..20u64 {
        source.put(-4, &(0x1122_3344_5566_7700 + round).to_le_bytes());
        code.put(-1, &[0x48, 0xa5, 0xc3]);
        // SAFETY: the code above: it moves eight bytes and returns.
        unsafe {
            asm!("call {}", in(reg) code.at(-1), inout("rsi") source.at(-4) => _, inout("rdi") target.at(-4) => _)
        };
        report.holds(
            "MOVS over borders",
            target.get(-4) == 0x1122_3344_5566_7700 + round,
        );
        // One page after the other goes away: each time the fault says which.
        let across = [&code, &source, &target][round as usize % 3];
        let side = round as usize / 3 % 2;
        let entry = load(across.leaves[side]);
        store(across.leaves[side], 0);
        cpu::set_cr3(root);
        let outcome = catch(|| {
            // SAFETY: as above, or a fault.
            unsafe {
                asm!("call {}", in(reg) code.at(-1), inout("rsi") source.at(-4) => _, inout("rdi") target.at(-4) => _)
            }
        });
        let page = if side == 0 {
            across.border - PAGE
        } else {
            across.border
        };
        report.holds(
            "the missing page is named",
            outcome.is_err_and(|trap| trap.cr2 & !0xfff == page),
        );
        store(across.leaves[side], entry);
        code.put(-1, &[0xcd, 0x70, 0xc3]);
        code.put(-16, &[0x90; 4]);
        interrupt(&code, &gates, &segments);
        report.holds("an event over borders", stack.get(-24) == code.at(1));
        stack.put(-24, &[0; 8]);
        cpu::set_cr3(root);
    }
    cpu::set_cr3(cr3);
}

/// Calls the code with these tables.
fn interrupt(code: &Across, gates: &Across, segments: &Across) {
    load_idt(&TablePointer {
        limit: 0xfff,
        base: gates.at(-8 - 0x700),
    });
    let pointer = TablePointer {
        limit: gdt::SIZE as u16 - 1,
        base: segments.at(-12),
    };
    segments.put(-12 + i64::from(TSS64) + 5, &[0x89]);
    // SAFETY: the tables mean what the run-time's do; the code is an INT and a RET.
    unsafe {
        asm!(
            "lgdt [{0}]", "ltr {1:x}", "call {2}",
            in(reg) &raw const pointer, in(reg) TSS64, in(reg) code.at(-1),
        );
    }
    gdt::reload();
    restore_idt();
}
