//! The ACPI PM timer and the HPET's counter.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use guest_rt::port::inl;
use guest_script::script::Report;

use super::interrupts::{HPET, read, write};

/// The PM timer's port, where a PC with a PIIX4 has it.
const PM_TIMER: u16 = 0x608;

static LAST: AtomicU64 = AtomicU64::new(0);

/// Ticks of the PM timer, 3.579545 MHz, with the wraps of its 24 bits counted.
pub fn pm_ticks() -> u64 {
    const WRAP: u64 = 1 << 24;
    let last = LAST.load(Relaxed);
    let now = last & !(WRAP - 1) | u64::from(inl(PM_TIMER)) & (WRAP - 1);
    let now = if now < last { now + WRAP } else { now };
    LAST.store(now, Relaxed);
    now
}

/// It runs, forward, 24 bits wide, as fast as it should by the HPET.
pub fn pm_timer(report: &mut Report) {
    let mut last = pm_ticks();
    let start = last;
    let mut forward = true;
    for _ in 0..2000 {
        let now = pm_ticks();
        forward &= now - last < 3_579_545;
        last = now;
    }
    report.holds("it never goes back", forward);
    report.holds("it runs", last > start);
    report.holds("24 bits", inl(PM_TIMER) >> 24 == 0);
}

/// Period, enable bit, counter; compared with the PM timer.
pub fn hpet(report: &mut Report) {
    const CONFIGURATION: u64 = 0x10;
    const COUNTER: u64 = 0xf0;
    let period = u64::from(read(HPET + 4));
    report.holds(
        "a period up to 100 ns",
        (100_000..=100_000_000).contains(&period),
    );
    report.holds("a revision", read(HPET) & 0xff != 0);
    let halted = read(HPET + CONFIGURATION) & !1;
    write(HPET + CONFIGURATION, halted);
    let (a, b) = (read(HPET + COUNTER), read(HPET + COUNTER));
    report.holds("it stands while disabled", a == b);
    write(HPET + COUNTER, 12345);
    write(HPET + COUNTER + 4, 0);
    report.holds("it can be set", read(HPET + COUNTER) == 12345);
    write(HPET + CONFIGURATION, halted | 1);
    let (start, from) = (pm_ticks(), read(HPET + COUNTER));
    while pm_ticks() < start + 3580 * 20 {}
    let (end, to) = (pm_ticks(), read(HPET + COUNTER));
    report.holds("it runs from there", to > from && from >= 12345);
    let by_hpet = u64::from(to - from) * period / 1_000_000; // ns
    let by_pm = (end - start) * 1_000_000_000 / 3_579_545;
    report.holds("as fast as it says", by_hpet.abs_diff(by_pm) < by_pm / 2);
    write(HPET + CONFIGURATION, halted);
}
