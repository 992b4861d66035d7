//! The IOAPIC (82093AA data sheet), with the interval timer at pin 2 and the test device's lines.

use guest_rt::cpu::is_bare_tcg;
use guest_rt::port::{inb, outb};
use guest_script::script::Report;

use super::apic;
use super::interrupts::{IOAPIC, count, eoi, open, read, wait, with_action, write};

/// Redirection: masked.
const MASKED: u32 = 1 << 16;
/// Redirection: a level.
const LEVEL: u32 = 1 << 15;
/// Redirection: the processor took it and did not end it.
const REMOTE_IRR: u32 = 1 << 14;
/// The first port of the test device's lines.
const LINES: u16 = 0x2000;

fn get(register: u32) -> u32 {
    write(IOAPIC, register);
    read(IOAPIC + 0x10)
}

fn set(register: u32, value: u32) {
    write(IOAPIC, register);
    write(IOAPIC + 0x10, value);
}

fn redirect(pin: u32, value: u32) {
    set(0x11 + 2 * pin, 0);
    set(0x10 + 2 * pin, value);
}

/// Drives a line.
fn line(number: u16, level: bool) {
    outb(LINES + number, level.into());
}

/// Identification, and entries that read back.
pub fn registers(report: &mut Report) {
    let version = get(1);
    report.holds("version", (0x11..=0x20).contains(&(version & 0xff)));
    report.holds("24 pins", version >> 16 & 0xff == 23);
    report.holds("the selector reads back", read(IOAPIC) & 0xff == 1);
    for pin in 0..24 {
        redirect(pin, MASKED | 0x30 | pin);
        report.holds(
            "an entry reads back",
            get(0x10 + 2 * pin) == MASKED | 0x30 | pin,
        );
    }
    let before = get(0);
    set(0, 0x0500_0000);
    report.holds("the number reads back", get(0) >> 24 & 15 == 5);
    set(0, before);
    redirect(3, MASKED);
    set(0x10 + 6, MASKED | REMOTE_IRR | 1 << 12 | 0x33);
    report.holds("status bits are read-only", get(0x10 + 6) == MASKED | 0x33);
}

/// The interval timer by pin 2, and an edge of a line.
pub fn edge(report: &mut Report) {
    const VECTOR: u8 = 0x62;
    /// Two hundred times a second.
    const DIVISOR: u16 = (1_193_182 / 200) as u16;
    apic::enable();
    outb(0x43, 0x34);
    for byte in DIVISOR.to_le_bytes() {
        outb(0x40, byte);
    }
    redirect(2, VECTOR.into());
    let before = count(VECTOR);
    report.holds(
        "the interval timer",
        wait(3000, || count(VECTOR) >= before + 5),
    );
    redirect(2, MASKED | u32::from(VECTOR));
    open();
    let before = count(VECTOR);
    report.holds("masked", !wait(30, || count(VECTOR) != before));
    outb(0x43, 0x30); // mode 0, no count: quiet
    const LINE: u16 = 5;
    const EDGE: u8 = 0x65;
    redirect(LINE.into(), EDGE.into());
    let before = count(EDGE);
    for round in 1..4 {
        line(LINE, true);
        open();
        open();
        report.holds("a rising edge", count(EDGE) == before + round);
        // QEMU's own takes any signal of a high line for an edge.
        if !is_bare_tcg() {
            line(LINE, true);
        }
        open();
        report.holds(
            "no second one while it is high",
            count(EDGE) == before + round,
        );
        line(LINE, false);
        open();
        report.holds("nor when it falls", count(EDGE) == before + round);
    }
    redirect(LINE.into(), MASKED);
    outb(0x21, 0xff);
    report.holds("the old controller is closed", inb(0x21) == 0xff);
}

/// A level: again and again until it falls.
pub fn level(report: &mut Report) {
    const LINE: u16 = 10;
    const VECTOR: u8 = 0x6a;
    const ENTRY: u32 = 0x10 + 2 * LINE as u32;
    apic::enable();
    redirect(LINE.into(), LEVEL | u32::from(VECTOR));
    let before = count(VECTOR);
    line(LINE, false);
    open();
    report.holds("low: nothing", count(VECTOR) == before);
    // The third interrupt lowers it.
    with_action(
        |_| {
            if get(ENTRY) & REMOTE_IRR == 0 {
                return;
            }
            if count(VECTOR).is_multiple_of(3) {
                line(LINE, false);
            }
            eoi();
        },
        || {
            for round in 1..4 {
                line(LINE, true);
                wait(50, || count(VECTOR) >= before + 3 * round);
                open();
                report.holds("until it falls", count(VECTOR) == before + 3 * round);
                report.holds("ended", get(ENTRY) & REMOTE_IRR == 0);
            }
        },
    );
    // Raised while masked, it comes when it is not.
    redirect(LINE.into(), MASKED | LEVEL | u32::from(VECTOR));
    line(LINE, true);
    open();
    let before = count(VECTOR);
    with_action(
        |_| {
            line(LINE, false);
            eoi();
        },
        || {
            redirect(LINE.into(), LEVEL | u32::from(VECTOR));
            open();
        },
    );
    report.holds("unmasked while high", count(VECTOR) == before + 1);
    redirect(LINE.into(), MASKED);
}
