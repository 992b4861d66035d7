//! Non-maskable interrupts: they ignore the interrupt flag, and hold each other back until IRET (APM vol. 2, 8.2.3).
#![allow(unsafe_code)] // an IRET of its own

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use guest_script::script::Report;

use super::apic;
use super::interrupts::{count, forget, order, with_action};

static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static MORE: AtomicU32 = AtomicU32::new(0);

fn spin() {
    for _ in 0..1000 {
        core::hint::spin_loop();
    }
}

/// In the handler: notes how deep it is and, while one more is to come, sends it and does something after.
fn nest(after: impl FnOnce()) {
    let depth = DEPTH.fetch_add(1, Relaxed) + 1;
    DEEPEST.fetch_max(depth, Relaxed);
    if MORE.load(Relaxed) != 0 {
        MORE.fetch_sub(1, Relaxed);
        apic::send_nmi();
        spin();
        after();
    }
    DEPTH.fetch_sub(1, Relaxed);
}

/// In the handler: sends another one.
fn again(vector: u8) {
    if vector == 2 {
        nest(|| ());
    } else {
        super::interrupts::eoi();
    }
}

/// In the handler: an IRET to the next instruction unblocks; the NMI sent before comes at once.
fn iret_early(vector: u8) {
    if vector != 2 {
        return;
    }
    nest(|| {
        // SAFETY: goes on behind itself with the same stack and flags.
        unsafe {
            asm!(
                "mov {0}, rsp", "push 0x10", "push {0}", "pushfq", "push 0x08", "lea {0}, [rip + 2f]", "push {0}", "iretq", "2:",
                out(reg) _
            );
        }
        spin();
    });
}

/// Alone, one in another's handler, behind an IRET, and before an interrupt.
pub fn nmi(report: &mut Report) {
    apic::enable();
    let start = count(2);
    apic::send_nmi();
    spin();
    report.holds("taken with interrupts off", count(2) == start + 1);
    for chain in [1, 3] {
        let before = count(2);
        MORE.store(chain, Relaxed);
        DEEPEST.store(0, Relaxed);
        with_action(again, || {
            apic::send_nmi();
            spin();
        });
        report.holds(
            "each one in the handler comes",
            count(2) == before + 1 + chain,
        );
        report.holds("after it", DEEPEST.load(Relaxed) == 1);
    }
    let before = count(2);
    MORE.store(1, Relaxed);
    DEEPEST.store(0, Relaxed);
    with_action(iret_early, || {
        apic::send_nmi();
        spin();
    });
    report.holds("one more behind an IRET", count(2) == before + 2);
    report.holds("inside the first handler", DEEPEST.load(Relaxed) == 2);
    // Others go on as before.
    forget();
    apic::send(0x55);
    apic::send_nmi();
    spin();
    super::interrupts::open();
    report.holds(
        "an interrupt waits for the flag, an NMI does not",
        order() == 0x5502,
    );
}
