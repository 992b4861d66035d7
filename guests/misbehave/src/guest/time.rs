//! The 8259 pair and the 8254: ticks by interrupt, and the calibrations that Linux does with channel 2.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guest_rt::cpu;
use guest_rt::port::{inb, outb};
use guest_rt::trap::{Frame, set_hook};

use super::report::Report;

/// The timer's input clock.
const PIT_HZ: u64 = 1_193_182;
/// Ticks a second of the periodic timer.
const TICK_HZ: u64 = 100;
/// The vector of the first interrupt line.
const FIRST_VECTOR: u8 = 0x20;
/// Ports of the two interrupt controllers, command and data.
const PIC: [(u16, u16); 2] = [(0x20, 0x21), (0xa0, 0xa1)];
/// Port 0x61: gate and output of channel 2.
const GATE: u16 = 0x61;

static TICKS: AtomicU64 = AtomicU64::new(0);

fn on_tick(frame: &mut Frame) -> bool {
    if frame.vector() != FIRST_VECTOR {
        return false;
    }
    TICKS.fetch_add(1, Relaxed);
    outb(PIC[0].0, 0x20);
    true
}

/// Ticks counted so far.
pub fn ticks() -> u64 {
    TICKS.load(Relaxed)
}

/// Initialises both controllers with vectors from `FIRST_VECTOR`, opens line 0 alone, and starts the periodic timer.
pub fn start_ticks() {
    for ((command, data), (vector, cascade)) in PIC
        .into_iter()
        .zip([(FIRST_VECTOR, 4), (FIRST_VECTOR + 8, 2)])
    {
        outb(command, 0x11); // edge-triggered, cascaded, four words
        outb(data, vector);
        outb(data, cascade);
        outb(data, 1); // 8086 mode, explicit end of interrupt
    }
    outb(PIC[0].1, 0xfe);
    outb(PIC[1].1, 0xff);
    TICKS.store(0, Relaxed);
    set_hook(Some(on_tick));
    let divisor = (PIT_HZ / TICK_HZ) as u16;
    outb(0x43, 0x34); // channel 0, both bytes, mode 2
    outb(0x40, divisor as u8);
    outb(0x40, (divisor >> 8) as u8);
}

/// Closes all lines.
pub fn stop_ticks() {
    outb(PIC[0].1, 0xff);
    cpu::set_interrupts(false);
    set_hook(None);
}

/// Twenty ticks, each awaited in a halt; then none while interrupts are off, and one when they are on again.
pub fn irq_tick(report: &mut Report) {
    start_ticks();
    report.is("mask", inb(PIC[0].1), 0xfe);
    while ticks() < 20 {
        cpu::wait_for_interrupt();
    }
    report.say(format_args!("20 ticks"));
    let before = ticks();
    wait_ms(30);
    report.is("ticks while interrupts are off", ticks() - before, 0);
    cpu::set_interrupts(true);
    while ticks() == before {
        core::hint::spin_loop();
    }
    cpu::set_interrupts(false);
    report.say(format_args!("a tick without a halt"));
    outb(PIC[0].1, 0xff);
    let before = ticks();
    cpu::set_interrupts(true);
    wait_ms(30);
    report.is("ticks while the line is masked", ticks() - before, 0);
    stop_ticks();
}

/// Starts channel 2 counting down from `count` in mode 0, its gate open, the speaker off; its output is low until the end.
fn start_channel_2(count: u16) {
    outb(GATE, inb(GATE) & !2 | 1);
    outb(0x43, 0xb0);
    outb(0x42, count as u8);
    outb(0x42, (count >> 8) as u8);
}

/// Waits by channel 2: `ms` up to 50.
fn wait_ms(ms: u64) {
    start_channel_2((PIT_HZ * ms / 1000) as u16);
    while inb(GATE) & 0x20 == 0 {
        core::hint::spin_loop();
    }
}

/// TSC ticks a second by the way of Linux's `pit_calibrate_tsc`: until channel 2's output rises.
fn by_output() -> u64 {
    const MS: u64 = 50;
    start_channel_2((PIT_HZ * MS / 1000) as u16);
    let start = cpu::tsc();
    while inb(GATE) & 0x20 == 0 {
        core::hint::spin_loop();
    }
    (cpu::tsc() - start) * 1000 / MS
}

/// The same by the way of Linux's `quick_pit_calibrate`: the count's high byte, read over and over.
fn by_count() -> u64 {
    /// Steps of the high byte: 256 input clocks each.
    const STEPS: u8 = 100;
    start_channel_2(0xffff);
    let high = || {
        inb(0x42);
        inb(0x42)
    };
    let first = high();
    let first_step = loop {
        if high() != first {
            break cpu::tsc();
        }
    };
    let target = first.wrapping_sub(1).wrapping_sub(STEPS);
    // High bytes only fall within this run; one may be missed where the machine is slow.
    while high() > target {
        core::hint::spin_loop();
    }
    (cpu::tsc() - first_step) * PIT_HZ / (256 * u64::from(STEPS))
}

/// Both ways, three times each; the machine may have been busy elsewhere in between, so the best of each counts.
pub fn calibrate(report: &mut Report) {
    let best = |way: fn() -> u64| (0..3).map(|_| way()).min().unwrap_or(0);
    let [output, count] = [best(by_output), best(by_count)];
    for (what, hz) in [
        ("TSC by channel 2's output", output),
        ("TSC by channel 2's count", count),
    ] {
        let plausible = (10_000_000..20_000_000_000).contains(&hz);
        if !plausible {
            report.say(format_args!("{hz} Hz"));
        }
        report.is(
            what,
            if plausible {
                "plausible"
            } else {
                "implausible"
            },
            "plausible",
        );
    }
    let agree = output.abs_diff(count) < output / 2;
    if !agree {
        report.say(format_args!("{output} Hz and {count} Hz"));
    }
    report.holds("they agree", agree);
    start_channel_2(1000);
    outb(GATE, inb(GATE) & !1);
    report.is("the gate reads back", inb(GATE) & 3, 0);
}
