//! Single steps, breakpoints and watchpoints reach the guest, and after the right instruction.
#![allow(unsafe_code)] // steps through instructions written out here

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guest_rt::cpu;
use guest_rt::trap::{BP, DB, Frame, Trap, UD, catch, set_hook};

use super::report::{End, Hex, Report, Tcg};

/// DR6: the single step.
const SINGLE_STEP: u64 = 1 << 14;
/// DR6 bits that say which condition was met.
const CONDITIONS: u64 = 0xe00f;

static STEPS: AtomicU64 = AtomicU64::new(0);
static CONDITION: AtomicU64 = AtomicU64::new(0);

// What is stepped through: ordinary instructions, and such as a hypervisor executes in the guest's stead.
global_asm!(
    r#"
    .section .text.stepped, "ax"
    .code64
    .globl stepped_plain, stepped_intercepted
stepped_plain:
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    nop
    inc eax
    xor eax, eax
    pushfq
    and qword ptr [rsp], 0xfffffffffffffeff
    popfq
    ret
stepped_intercepted:
    push rbx
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    xor eax, eax
    cpuid
    mov edx, 0x80
    out dx, al
    in al, dx
    mov rax, cr3
    mov cr3, rax
    pushfq
    and qword ptr [rsp], 0xfffffffffffffeff
    popfq
    pop rbx
    ret
"#
);

// A fault whose handler goes on behind it, with the flags it found, at an instruction that a hypervisor executes.
global_asm!(
    r#"
    .section .text.resumed, "ax"
    .code64
    .globl resumed_fault, resumed_first, resumed_second
resumed_fault:
    mov edx, 0x80
    ud2
resumed_first:
    out dx, al
resumed_second:
    nop
    ret
"#
);

unsafe extern "C" {
    fn stepped_plain();
    fn stepped_intercepted();
    fn resumed_fault();
    fn resumed_first();
    fn resumed_second();
}

/// RFLAGS.RF.
const RESUME: u64 = 1 << 16;

/// Notes the trap; an instruction breakpoint is stepped over by the resume flag (APM vol. 2, 13.1.4).
fn on_debug(frame: &mut Frame) -> bool {
    if frame.vector() != DB {
        return false;
    }
    STEPS.fetch_add(1, Relaxed);
    CONDITION.store(cpu::dr6() & CONDITIONS, Relaxed);
    cpu::set_dr6(0xffff_0ff0);
    frame.rflags |= RESUME;
    true
}

/// The number of #DB while `action` ran.
fn debug_traps(action: impl FnOnce()) -> u64 {
    STEPS.store(0, Relaxed);
    CONDITION.store(0, Relaxed);
    action();
    STEPS.load(Relaxed)
}

/// TF and INT3.
pub fn debug_trap(report: &mut Report) {
    set_hook(Some(on_debug));
    // SAFETY: keeps to the calling convention.
    let steps = debug_traps(|| unsafe { stepped_plain() });
    report.is("single steps", steps, 6);
    report.is(
        "DR6 conditions",
        Hex(CONDITION.load(Relaxed)),
        Hex(SINGLE_STEP),
    );
    // SAFETY: as above; it reads and writes port 0x80, which nobody minds, and loads CR3 with what it holds.
    let steps = debug_traps(|| unsafe { stepped_intercepted() });
    report.is("single steps over CPUID, OUT, IN and a CR3 load", steps, 10);
    set_hook(None);
    int3(report);
    cpu::set_dr0(0x1234);
    report.holds("DR0 reads back", cpu::dr0() == 0x1234);
}

/// The breakpoint registers.
pub fn breakpoint(report: &mut Report) {
    set_hook(Some(on_debug));
    let target = stepped_plain as *const () as u64 + 1;
    cpu::set_dr0(target);
    cpu::set_dr7(0x401); // breakpoint 0, local, on execution
    // SAFETY: keeps to the calling convention.
    let traps = debug_traps(|| unsafe { stepped_plain() });
    report.is("traps with a breakpoint and single steps", traps, 7);
    let word = AtomicU64::new(0);
    cpu::set_dr0(word.as_ptr() as u64);
    cpu::set_dr7(0xd_0401); // breakpoint 0, local, on a write of four bytes
    let traps = debug_traps(|| {
        word.load(Relaxed);
        // SAFETY: writes `word`.
        unsafe { asm!("mov dword ptr [{}], 1", in(reg) word.as_ptr(), options(nostack)) };
    });
    report.is("traps at a watched word", traps, 1);
    report.is("DR6 conditions at it", Hex(CONDITION.load(Relaxed)), Hex(1));
    cpu::set_dr7(0x400);
    set_hook(None);
}

/// RFLAGS.RF as the trap pushed it.
fn pushed_flag(outcome: Result<(), Trap>) -> Hex {
    Hex(outcome.map_or_else(|trap| trap.rflags & RESUME, |()| u64::MAX))
}

/// Goes on behind UD2 with the flags as they were pushed.
fn on_undefined(frame: &mut Frame) -> bool {
    if frame.vector() != UD {
        return on_debug(frame);
    }
    frame.rip += 2;
    true
}

/// RFLAGS.RF on the handler's stack: set for faults, whoever raises them, and clear for traps; it lasts one instruction
/// (APM vol. 2, 3.1.6 and 13.1.3).
pub fn resume_flag(report: &mut Report) {
    let fault = |report: &mut Report, what, action: fn()| {
        report.check(what, pushed_flag(catch(action)), Hex(RESUME), Tcg::Differs);
    };
    fault(report, "RF with #GP", || cpu::wrmsr(0x1234, 0));
    fault(report, "RF with #PF", || {
        // SAFETY: faults, because nothing is mapped so high.
        unsafe { (0x7fff_ffff_f000 as *const u8).read_volatile() };
    });
    fault(report, "RF with #UD", || {
        // SAFETY: faults.
        unsafe { asm!("ud2", options(nostack)) }
    });
    let trap = catch(|| {
        // SAFETY: ends the closure.
        unsafe { asm!("int3", options(nostack)) }
    });
    report.is("RF with #BP", pushed_flag(trap), Hex(0));
    set_hook(Some(on_undefined));
    for (what, at, traps) in [
        (
            "traps where a fault goes on",
            resumed_first as *const () as u64,
            0,
        ),
        ("traps behind it", resumed_second as *const () as u64, 1),
    ] {
        cpu::set_dr0(at);
        cpu::set_dr7(0x401); // breakpoint 0, local, on execution
        // SAFETY: keeps to the calling convention; its fault is seen to by the hook.
        let met = debug_traps(|| unsafe { resumed_fault() });
        report.check(what, met, traps, Tcg::Differs);
        cpu::set_dr7(0x400);
    }
    set_hook(None);
    icebp(report);
}

/// INT1: a debug trap that no bit of DR6 stands for.
fn icebp(report: &mut Report) {
    if report.is_bare_tcg() {
        report.say(format_args!("ICEBP: not tried, TCG does not know it"));
        return;
    }
    let mut at = 0u64;
    cpu::set_dr6(0xffff_0ff0);
    let outcome = catch(|| {
        // SAFETY: the trap ends the closure; `at` is written before it.
        unsafe {
            asm!("lea {0}, [rip + 2f]", "mov qword ptr [{1}], {0}", ".byte 0xf1", "2:", out(reg) _, in(reg) &raw mut at)
        };
    });
    report.is("ICEBP", End::from(outcome), End::Fault(DB, 0));
    report.is("DR6 conditions at it", Hex(cpu::dr6() & CONDITIONS), Hex(0));
    report.is("RF with it", pushed_flag(outcome), Hex(0));
    report.holds(
        "its RIP is behind the instruction",
        outcome.is_err_and(|trap| trap.rip == at),
    );
}

fn int3(report: &mut Report) {
    let mut at = 0u64;
    let outcome = catch(|| {
        // SAFETY: the breakpoint ends the closure; `at` is written before it.
        unsafe {
            asm!("lea {0}, [rip + 2f]", "mov qword ptr [{1}], {0}", "int3", "2:", out(reg) _, in(reg) &raw mut at)
        };
    });
    report.is("INT3", End::from(outcome), End::Fault(BP, 0));
    report.holds(
        "its RIP is behind the instruction",
        outcome.is_err_and(|trap| trap.rip == at),
    );
}
