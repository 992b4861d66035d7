//! Page faults while an event is delivered (APM vol. 2, 8.2.9): of the interrupt table, of the stack.
#![allow(unsafe_code)] // a machine with parts of its trap machinery taken away

use core::arch::{asm, global_asm};

use guest_rt::cpu::{self, cr};
use guest_rt::gdt;
use guest_rt::legacy::{Excursion, call};
use guest_rt::tables::{D, P, PAGE, U, W, frame, load, store};
use guest_rt::trap::{
    DF, Frame, PF, RETURN, TablePointer, Trap, UD, catch, idt, load_idt, restore_idt, set_hook,
    use_interrupt_stack,
};
use guest_rt::user::{self, BACK};
use guest_script::script::{Report, Script};
use guest_script::space::{Mode, Region, Space, put_code};

/// Gates before the page border; #UD, #BP and #DF are among them, #GP and #PF are not.
const FIRST_GATES: u64 = 10;

/// The machine with its interrupt table over two pages of the window.
struct Split {
    region: Region,
    frames: [u64; 2],
    cr3: u64,
    base: u64,
}

impl Split {
    fn new() -> Self {
        let mut space = Space::new(Mode::Long);
        let region = space.region();
        let frames = [frame(), frame()];
        let base = region.page(1) - 16 * FIRST_GATES;
        for i in 0..512 {
            let to = PAGE - 16 * FIRST_GATES + 8 * i;
            let at = if to < PAGE {
                frames[0] + to
            } else {
                frames[1] + to - PAGE
            };
            store(at, load(idt() + 8 * i));
        }
        let cr3 = cpu::cr3();
        cpu::set_cr3(space.cr3);
        Self {
            region,
            frames,
            cr3,
            base,
        }
    }

    /// Which halves are there.
    fn show(&self, present: [bool; 2]) {
        for (i, present) in (0u64..).zip(present) {
            let bits = if present { P } else { 0 };
            store(self.region.pte(i), self.frames[i as usize] | bits);
            cpu::invlpg(self.region.page(i));
        }
        load_idt(&TablePointer {
            limit: 256 * 16 - 1,
            base: self.base,
        });
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        restore_idt();
        cpu::set_cr3(self.cr3);
    }
}

fn is(outcome: Result<(), Trap>, vector: u8, error: u64, cr2: Option<u64>) -> bool {
    outcome.is_err_and(|trap| {
        trap.vector == vector && trap.error == error && cr2.is_none_or(|cr2| trap.cr2 == cr2)
    })
}

/// The gate of the event is in no page.
pub fn idt_absent(_: &mut Script, report: &mut Report) {
    let split = Split::new();
    // SAFETY: it faults, which `catch` sees.
    let undefined = || unsafe { asm!("ud2", options(nostack)) };
    // SAFETY: as above.
    let breakpoint = || unsafe { asm!("int3", options(nostack)) };
    let missing = split.region.page(9) + 0x123;
    let read = || {
        load(missing);
    };
    let wild = || {
        load(1 << 63);
    };
    for _ in 0..3 {
        split.show([true, true]);
        report.holds("all there: #UD", is(catch(undefined), UD, 0, None));
        report.holds("all there: #PF", is(catch(read), PF, 0, Some(missing)));
        report.holds(
            "the table is read, not written",
            load(split.region.pte(1)) & D == 0,
        );
        split.show([false, true]);
        let gate = split.base + 16 * u64::from(UD);
        report.holds(
            "#UD without a gate is #PF",
            is(catch(undefined), PF, 0, Some(gate)),
        );
        let mut at = 0u64;
        let outcome = catch(|| {
            // SAFETY: as above; `at` is written first.
            unsafe {
                asm!("lea {0}, [rip + 2f]", "mov qword ptr [{1}], {0}", "2:", "int3", out(reg) _, in(reg) &raw mut at)
            }
        });
        report.holds(
            "#BP without a gate is #PF",
            is(outcome, PF, 0, Some(split.base + 48)),
        );
        report.holds(
            "at the instruction",
            outcome.is_err_and(|trap| trap.rip == at),
        );
        report.holds("#PF still comes", is(catch(read), PF, 0, Some(missing)));
        split.show([true, false]);
        report.holds("#PF without a gate is #DF", is(catch(read), DF, 0, None));
        report.holds(
            "#GP and #PF without gates are #DF",
            is(catch(wild), DF, 0, None),
        );
        report.holds("#UD still comes", is(catch(undefined), UD, 0, None));
        split.show([true, true]);
        report.holds(
            "#GP again",
            catch(wild).is_err_and(|trap| trap.vector == 13),
        );
        report.holds(
            "#BP again",
            catch(breakpoint).is_err_and(|trap| trap.vector == 3),
        );
    }
}

// The 32-bit machine: gates in two pages at EBX's table pointer. Results: vector, error code, CR2, EIP.
global_asm!(
    r#"
    .section .text.delivery, "ax"
    .code32
    .globl delivery32, delivery32_ud, delivery32_pf
delivery32:
    mov dword ptr [delivery_argument], ebx
    mov dword ptr [delivery_stack], esp
    lidt [ebx]
    ud2
delivery32_ud:
    mov ecx, 6
    mov edx, dword ptr [esp]
    xor eax, eax
    jmp delivery32_done
delivery32_pf:
    mov ecx, 14
    pop eax
    mov edx, dword ptr [esp]
delivery32_done:
    mov ebx, dword ptr [delivery_argument]
    mov dword ptr [ebx + 8], ecx
    mov dword ptr [ebx + 12], eax
    mov dword ptr [ebx + 20], edx
    mov ecx, cr2
    mov dword ptr [ebx + 16], ecx
    mov esp, dword ptr [delivery_stack]
    ret
    .code64

    .section .bss.delivery, "aw", @nobits
delivery_argument:
    .skip 4
delivery_stack:
    .skip 4
"#
);

unsafe extern "C" {
    fn delivery32();
    fn delivery32_ud();
    fn delivery32_pf();
}

/// What the 32-bit machine gets and gives: the pointer's limit and base, then results.
#[repr(C, align(8))]
struct Argument {
    pointer: [u16; 4],
    vector: u32,
    error: u32,
    cr2: u32,
    eip: u32,
}

/// The same in 32-bit modes, PAE and two levels.
pub fn idt_absent_32(_: &mut Script, report: &mut Report) {
    let base = 0xc000_1000 - 8 * u64::from(FIRST_GATES as u32);
    for pae in [true, false] {
        let root = frame();
        let table = frame();
        let frames = [frame(), frame()];
        let (width, cr4) = if pae { (8, cr::PAE) } else { (4, cr::PSE) };
        let pte = |i: u64| table + width * i;
        let put = |at: u64, value: u64| {
            let (word, shift) = (at & !7, 8 * (at & 4));
            store(word, load(word) & !(0xffff_ffff << shift) | value << shift);
        };
        if pae {
            let directory = frame();
            store(root, guest_rt::tables::boot_directory() | P);
            store(root + 24, directory | P);
            store(directory, table | P | W);
        } else {
            put(root, P | W | guest_rt::tables::PS);
            put(root + 4 * (0xc000_0000 >> 22), table | P | W);
        }
        for (vector, handler) in [
            (6, delivery32_ud as *const ()),
            (14, delivery32_pf as *const ()),
        ] {
            let handler = handler as u64;
            let gate = handler & 0xffff
                | u64::from(gdt::CODE32) << 16
                | 0x8e00 << 32
                | (handler >> 16 & 0xffff) << 48;
            let to = base - 0xc000_0000 + 8 * vector;
            store(frames[usize::from(to >= PAGE)] + to % PAGE, gate);
        }
        for present in [true, false, true] {
            put(pte(0), frames[0] | if present { P } else { 0 });
            put(pte(1), frames[1] | P);
            let mut argument = Argument {
                pointer: [256 * 8 - 1, base as u16, (base >> 16) as u16, 0],
                vector: 0,
                error: u32::MAX,
                cr2: 0,
                eip: 0,
            };
            let excursion = Excursion {
                target: delivery32 as *const () as u32,
                cr0: cpu::cr0() as u32,
                cr3: root as u32,
                cr4: cr4 as u32,
                argument: (&raw mut argument) as u32,
            };
            // SAFETY: such code; the first 2 or 4 MiB, where the image is, are mapped to themselves.
            unsafe { call(&excursion) };
            let ud2 = delivery32_ud as *const () as u32 - 2;
            report.holds("EIP is the instruction's", argument.eip == ud2);
            report.holds("no error code but the page fault's", argument.error == 0);
            if present {
                report.holds("#UD", argument.vector == 6);
            } else {
                report.holds("#UD without a gate is #PF", argument.vector == 14);
                report.holds("at the gate", u64::from(argument.cr2) == base + 8 * 6);
            }
        }
    }
}

/// Interrupt stacks.
static STACKS: [Stack; 2] = [const { Stack([0; 8192]) }; 2];

#[repr(C, align(16))]
struct Stack([u8; 8192]);

/// The page that `on_fault` makes present.
static GROWING: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
static GROWN: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Grows the stack: the leaf in `GROWING` becomes present.
fn on_fault(trap: &mut Frame) -> bool {
    use core::sync::atomic::Ordering::Relaxed;
    if trap.vector() != PF {
        return false;
    }
    let leaf = GROWING.load(Relaxed);
    if leaf == 0 || load(leaf) & P != 0 {
        return false;
    }
    store(leaf, load(leaf) | P);
    GROWN.fetch_add(1, Relaxed);
    true
}

/// The stack of the event is in no page.
pub fn stack_absent(_: &mut Script, report: &mut Report) {
    use core::sync::atomic::Ordering::Relaxed;
    for (i, stack) in (1..).zip(&STACKS) {
        gdt::set_interrupt_stack(i, stack.0.as_ptr() as u64 + 8192);
    }
    let mut space = Space::new(Mode::Long);
    let region = space.region();
    let code = frame();
    put_code(code);
    store(region.pte(0), code | P | U);
    store(region.pte(5), frame() | P | W);
    let cr3 = cpu::cr3();
    cpu::set_cr3(space.cr3);
    use_interrupt_stack(DF, 1);
    let nowhere = region.page(3) + 0x808;
    let without_stack = || {
        // SAFETY: the fault finds no stack but an interrupt stack; `catch` sees it.
        unsafe { asm!("mov rsp, {}", "ud2", in(reg) nowhere, options(noreturn)) }
    };
    report.holds(
        "no stack for #UD nor for #PF: #DF",
        is(catch(without_stack), DF, 0, None),
    );
    use_interrupt_stack(PF, 2);
    let outcome = catch(without_stack);
    let in_page =
        |trap: Trap| trap.vector == PF && trap.error == 2 && trap.cr2 & !0xfff == region.page(3);
    report.holds(
        "no stack for #UD: #PF for a write",
        outcome.is_err_and(in_page),
    );
    let before = gdt::set_user_trap_stack(region.page(4));
    let outcome = user::run(region.page(0) + BACK, 0, 0).map(|_| ());
    report.holds(
        "no stack for INT from user mode",
        outcome.is_err_and(in_page),
    );
    report.holds(
        "at the INT",
        outcome.is_err_and(|trap| trap.rip == region.page(0) + BACK),
    );
    // Three words of the frame fit, then the stack grows and the same event is delivered again.
    set_hook(Some(on_fault));
    for round in 0..5 {
        store(region.pte(4), frame() | W);
        cpu::invlpg(region.page(4));
        GROWING.store(region.pte(4), Relaxed);
        gdt::set_user_trap_stack(region.page(5) + 16);
        let outcome = user::run(region.page(0) + BACK, 0, 7);
        report.holds("INT over a border, the stack grows", outcome == Ok(7));
        report.holds("by one page fault", GROWN.load(Relaxed) == 2 * round + 1);
        store(region.pte(4), load(region.pte(4)) & !P);
        cpu::invlpg(region.page(4));
        let outcome = catch(|| {
            // SAFETY: as above; the stack lies over the border.
            unsafe { asm!("mov rsp, {}", "ud2", in(reg) region.page(5) + 16, options(noreturn)) }
        });
        report.holds(
            "#UD over a border, the stack grows",
            is(outcome, UD, 0, None),
        );
        report.holds("by one page fault", GROWN.load(Relaxed) == 2 * round + 2);
    }
    set_hook(None);
    report.holds("the vector of return", RETURN == 0x80);
    gdt::set_user_trap_stack(before);
    use_interrupt_stack(PF, 0);
    use_interrupt_stack(DF, 0);
    cpu::set_cr3(cr3);
}
