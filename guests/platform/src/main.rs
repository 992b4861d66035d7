//! Checks the devices of a PC from inside, and the instructions that reach them: one test for each device, chosen by words
//! on the command line; without one, all run in turn.
//!
//! Always: a test checks what the device's manual fixes; what a machine may have or lack it asks first.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod apic;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod forms;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod ioapic;
#[cfg(target_os = "none")]
mod nmi;
#[cfg(target_os = "none")]
mod ports;
#[cfg(target_os = "none")]
mod time;

#[cfg(target_os = "none")]
mod guest {
    #![allow(unsafe_code)] // `entry!` gives `main` its symbol

    use guest_rt::{multiboot, println};
    use guest_script::script::Report;

    use crate::{apic, firmware, forms, interrupts, ioapic, nmi, ports, time};

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
            let before = (report.checks, report.wrong);
            test(&mut report);
            let (checks, wrong) = (report.checks - before.0, report.wrong - before.1);
            println!("platform: {name}: {checks} checks, {wrong} wrong");
        }
        report.finish();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program runs as a guest; build it with `cargo build` at the workspace's root");
}
