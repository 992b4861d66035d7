//! The program: threads, capabilities, registers.

mod interrupts;
mod machine;
mod serve;

use device_server::shared::Shared;
use protocol::{slots::drivers, system::DomainInfo};
use sel4::cap;

sel4_domain::declare_domain! { name = "drivers", main = main }

static SHARED: Shared = Shared::new();

/// Thread 0 waits on it; the others wake thread 0 by it.
const NOTIFICATION: cap::Notification = cap::Notification::from_bits(drivers::NOTIFICATION);

fn main(thread: usize, info: &DomainInfo) -> ! {
    let vm = thread.checked_sub(1);
    match vm.map(|vm| (vm, info.vms.get(vm))) {
        None => interrupts::run(info),
        Some((vm, Some(config))) => serve::run(vm, config, info),
        Some((vm, None)) => {
            log::error!("there is no VM {vm}");
            sel4_domain::fail()
        }
    }
}

/// The VM that owns the machine's serial console: the first that is marked so.
fn console_owner(info: &DomainInfo) -> Option<usize> {
    info.vms.iter().position(|vm| vm.console)
}

/// Prints a line to the system's log as it is.
fn print(line: core::fmt::Arguments<'_>) {
    log::info!(target: sel4::logging::PLAIN, "{line}");
}
