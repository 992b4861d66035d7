//! The tests, by name.

mod apic;
mod firmware;
mod forms;
mod interrupts;
mod ioapic;
mod nmi;
mod ports;
mod time;

use guest_rt::multiboot;
use guest_script::script::Report;

/// A test.
type Test = fn(&mut Report);

const TESTS: &[(&str, Test)] = &[
    ("local-apic", apic::registers),
    ("self-ipi", apic::self_ipi),
    ("task-priority", apic::task_priority),
    ("nesting", apic::nesting),
    ("apic-timer", apic::timer),
    ("apic-errors", apic::errors),
    ("nmi", nmi::nmi),
    ("ioapic", ioapic::registers),
    ("ioapic-edge", ioapic::edge),
    ("ioapic-level", ioapic::level),
    ("pm-timer", time::pm_timer),
    ("hpet", time::hpet),
    ("fw-cfg", firmware::fw_cfg),
    ("tables", firmware::tables),
    ("cmos", firmware::cmos),
    ("pci", ports::pci),
    ("system-ports", ports::system),
    ("mmio", forms::all),
];

guest_rt::entry!(main);

fn main() {
    let mut report = Report::new("platform");
    interrupts::init();
    for (name, test) in multiboot::named_or_all(TESTS) {
        report.test(name, test);
    }
    report.finish();
}
