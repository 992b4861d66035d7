//! The local APIC (APM vol. 2, 16.3 to 16.6).

use guest_rt::cpu;
use guest_script::script::Report;

use super::interrupts::{
    LOCAL_APIC, SPURIOUS, count, eoi, forget, open, order, read, wait, with_action, write,
};
use super::time::pm_ticks;

const ID: u64 = 0x20;
const VERSION: u64 = 0x30;
const TASK_PRIORITY: u64 = 0x80;
const PROCESSOR_PRIORITY: u64 = 0xa0;
const SPURIOUS_VECTOR: u64 = 0xf0;
const IN_SERVICE: u64 = 0x100;
const REQUESTED: u64 = 0x200;
const ERRORS: u64 = 0x280;
const COMMAND: u64 = 0x300;
const COMMAND_HIGH: u64 = 0x310;
const TIMER: u64 = 0x320;
const LINT0: u64 = 0x350;
const LINT1: u64 = 0x360;
const ERROR: u64 = 0x370;
const INITIAL: u64 = 0x380;
const CURRENT: u64 = 0x390;
const DIVIDE: u64 = 0x3e0;

/// Spurious-vector register: the APIC is on.
const ON: u32 = 1 << 8;
/// Local vector table: masked.
const MASKED: u32 = 1 << 16;
/// Timer: over and over.
const PERIODIC: u32 = 1 << 17;
/// Command: to oneself.
const SELF: u32 = 1 << 18;

fn get(register: u64) -> u32 {
    read(LOCAL_APIC + register)
}

fn set(register: u64, value: u32) {
    write(LOCAL_APIC + register, value);
}

/// On, with everything let through.
pub fn enable() {
    set(SPURIOUS_VECTOR, ON | u32::from(SPURIOUS));
    set(TASK_PRIORITY, 0);
}

/// Sends an interrupt of one's own: to oneself by the shorthand.
pub fn send(vector: u8) {
    set(COMMAND, SELF | u32::from(vector));
}

/// Sends an NMI to the processor of number 0.
pub fn send_nmi() {
    set(COMMAND_HIGH, 0);
    set(COMMAND, 0x400);
}

/// A vector's bit in one of the three tables of 256.
fn bit(table: u64, vector: u8) -> bool {
    let word = get(table + 16 * u64::from(vector / 32));
    word >> (vector % 32) & 1 != 0
}

/// Identification, and registers that read back.
pub fn registers(report: &mut Report) {
    const APIC: u32 = 1 << 9;
    const BASE: u32 = 0x1b;
    report.holds("CPUID offers it", cpu::cpuid(1, 0).edx & APIC != 0);
    let base = cpu::rdmsr(BASE);
    report.holds(
        "the base register",
        base & !0xfff == LOCAL_APIC && base & 0x900 == 0x900 && base & 0x100 != 0,
    );
    report.holds(
        "number 0",
        get(ID) >> 24 == 0 && cpu::cpuid(1, 0).ebx >> 24 == 0,
    );
    let version = get(VERSION);
    report.holds("version", (0x10..0x20).contains(&(version & 0xff)));
    report.holds("local vectors", version >> 16 & 0xff >= 3);
    enable();
    report.holds(
        "on",
        get(SPURIOUS_VECTOR) & 0x1ff == ON | u32::from(SPURIOUS),
    );
    for (register, value) in [
        (TIMER, MASKED | 0x41),
        (ERROR, MASKED | 0x42),
        (LINT1, MASKED | 0x43),
    ] {
        let before = get(register);
        set(register, value);
        report.holds("a local vector reads back", get(register) == value);
        set(register, before);
    }
    for priority in [0, 0x10, 0x7f, 0xff, 0] {
        set(TASK_PRIORITY, priority);
        report.holds("task priority", get(TASK_PRIORITY) == priority);
        report.holds(
            "CR8 is its upper half",
            cpu::cr8() == u64::from(priority >> 4),
        );
        report.holds(
            "processor priority",
            get(PROCESSOR_PRIORITY) & 0xf0 == priority & 0xf0,
        );
    }
    for priority in [0, 5, 15, 0] {
        cpu::set_cr8(priority);
        report.holds(
            "CR8 sets it",
            u64::from(get(TASK_PRIORITY)) == priority << 4,
        );
    }
    // Switched off, it masks its local vectors.
    set(TIMER, 0x41);
    set(SPURIOUS_VECTOR, u32::from(SPURIOUS));
    // QEMU's own leaves them as they are.
    report.holds(
        "off: local vectors are masked",
        get(TIMER) & MASKED != 0 || cpu::is_bare_tcg(),
    );
    enable();
    set(TIMER, MASKED);
    set(LINT0, MASKED);
}

/// Interrupts to oneself: taken, in service, ended.
pub fn self_ipi(report: &mut Report) {
    enable();
    for vector in [0x30, 0x31, 0x7f, 0xef] {
        let before = count(vector);
        send(vector);
        report.holds("requested", bit(REQUESTED, vector));
        report.holds("not taken with interrupts off", count(vector) == before);
        with_action(
            |vector| {
                // Seen by the test as one more in the order.
                if bit(IN_SERVICE, vector) && !bit(REQUESTED, vector) {
                    eoi();
                }
            },
            || {
                open();
                report.holds("taken", count(vector) == before + 1);
            },
        );
        report.holds("ended", !bit(IN_SERVICE, vector) && !bit(REQUESTED, vector));
        open();
        report.holds("once", count(vector) == before + 1);
    }
    // Two requests are one; different ones come by priority.
    forget();
    for vector in [0x50, 0x90, 0x50, 0x70] {
        send(vector);
    }
    open();
    report.holds("by priority", order() == 0x50_7090);
    // To the number instead of by the shorthand.
    let before = count(0x44);
    set(COMMAND_HIGH, 0);
    set(COMMAND, 0x44);
    open();
    report.holds("to number 0", count(0x44) == before + 1);
    // A halt ends with it.
    send(0x45);
    let before = count(0x45);
    cpu::wait_for_interrupt();
    report.holds("wakes a halt", count(0x45) == before + 1);
}

/// The task priority holds interrupts back.
pub fn task_priority(report: &mut Report) {
    enable();
    let before = [count(0x61), count(0x81)];
    set(TASK_PRIORITY, 0x70);
    send(0x61);
    send(0x81);
    open();
    report.holds(
        "the lower waits",
        count(0x61) == before[0] && bit(REQUESTED, 0x61),
    );
    report.holds("the higher comes", count(0x81) == before[1] + 1);
    set(TASK_PRIORITY, 0x60);
    open();
    report.holds("its own class waits, too", count(0x61) == before[0]);
    cpu::set_cr8(5);
    open();
    report.holds("CR8 lets it in", count(0x61) == before[0] + 1);
    cpu::set_cr8(15);
    send(0x61);
    open();
    report.holds("CR8 holds it back", count(0x61) == before[0] + 1);
    // With interrupts on, lowering the priority is enough.
    cpu::set_interrupts(true);
    cpu::set_cr8(0);
    open();
    report.holds("lowered with interrupts on", count(0x61) == before[0] + 2);
}

/// A handler is interrupted by higher classes alone.
pub fn nesting(report: &mut Report) {
    enable();
    forget();
    with_action(
        |vector| {
            if vector == 0x52 {
                send(0x42);
                send(0x53);
                send(0x62);
                open();
            }
            eoi();
        },
        || {
            send(0x52);
            open();
        },
    );
    // 0x53 is of the same class: it waits for the end of 0x52, and then goes before 0x42.
    report.holds("order", order() == 0x4253_6252);
}

/// The timer: once, over and over, masked, and as fast as it says.
pub fn timer(report: &mut Report) {
    const BY_ONE: u32 = 0xb;
    const VECTOR: u8 = 0x41;
    enable();
    set(DIVIDE, BY_ONE);
    report.holds("the divider reads back", get(DIVIDE) == BY_ONE);
    set(TIMER, u32::from(VECTOR));
    let before = count(VECTOR);
    set(INITIAL, 3_000_000);
    report.holds("the initial count reads back", get(INITIAL) == 3_000_000);
    let (first, second) = (get(CURRENT), get(CURRENT));
    report.holds("it counts down", second <= first && first <= 3_000_000);
    report.holds("one interrupt", wait(2000, || count(VECTOR) != before));
    report.holds("the count stays at 0", get(CURRENT) == 0);
    let none = !wait(20, || count(VECTOR) != before + 1);
    report.holds("no other", none);
    // Ticks by the PM timer: the rate says itself.
    set(TIMER, MASKED);
    set(INITIAL, u32::MAX);
    let (start, count_start) = (pm_ticks(), get(CURRENT));
    while pm_ticks() < start + 3580 * 20 {}
    let (end, count_end) = (pm_ticks(), get(CURRENT));
    let hz = u64::from(count_start - count_end) * 3_579_545 / (end - start);
    report.holds("a plausible rate", (1_000_000..4_000_000_000).contains(&hz));
    report.holds("masked: no interrupt", count(VECTOR) == before + 1);
    set(DIVIDE, 3); // by 16
    set(INITIAL, u32::MAX);
    let (start, count_start) = (pm_ticks(), get(CURRENT));
    while pm_ticks() < start + 3580 * 20 {}
    let (end, count_end) = (pm_ticks(), get(CURRENT));
    let divided = u64::from(count_start - count_end) * 3_579_545 / (end - start);
    report.holds("a sixteenth of it", divided.abs_diff(hz / 16) < hz / 64);
    // Periodic, 200 times a second.
    set(DIVIDE, BY_ONE);
    set(TIMER, PERIODIC | u32::from(VECTOR));
    let before = count(VECTOR);
    set(INITIAL, (hz / 200) as u32);
    report.holds(
        "again and again",
        wait(3000, || count(VECTOR) >= before + 5),
    );
    cpu::set_interrupts(false);
    let before = count(VECTOR);
    cpu::wait_for_interrupt();
    report.holds("wakes a halt", count(VECTOR) > before);
    set(INITIAL, 0);
    open();
    let before = count(VECTOR);
    let none = !wait(20, || count(VECTOR) != before);
    report.holds("an initial count of 0 stops it", none);
    set(TIMER, MASKED);
}

/// The error register: a register that is none.
pub fn errors(report: &mut Report) {
    const ILLEGAL_ADDRESS: u32 = 1 << 7;
    enable();
    set(ERROR, MASKED);
    set(ERRORS, 0);
    set(ERRORS, 0);
    get(0x40);
    set(0x40, 0);
    set(ERRORS, 0);
    report.holds("an illegal register", get(ERRORS) & ILLEGAL_ADDRESS != 0);
}
