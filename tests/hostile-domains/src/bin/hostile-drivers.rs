//! Stands in for the device server: with its capabilities, tries to reach a guest frame or to learn a host-physical
//! address.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use hostile_domains::{
        peek, report,
        sweep::{self, kind},
    };
    use protocol::{
        slots::{common, drivers},
        system::DomainInfo,
    };
    use sel4::{
        cap,
        logging::PLAIN,
        sys::label::{X86_IO_PORT_OUT8, X86_IO_PORT_OUT32},
    };

    sel4_domain::declare_domain! { name = "hostile-drivers", main = main }

    const EXIT: cap::IOPort = cap::IOPort::from_bits(drivers::EXIT);

    /// The machine's thread does all; it runs before any other thread and any other domain.
    fn main(_: usize, info: &DomainInfo) -> ! {
        let vm = info.vms.first().map_or("", |vm| vm.name.as_str());
        if !peek::if_told(vm) {
            let vms = info.vms.len() as u64;
            let how = sweep::all(|slot| expected(slot, vms), spare, |_, _| false);
            report::line("drivers-cannot-reach-guest", how);
        }
        log::info!(target: PLAIN, "umbra-end vm={vm} reason=exit-port value=0 status=1");
        // Should the machine not end, the domain does.
        let _ = EXIT.ioport_out8(0xf4, 0);
        sel4_domain::fail()
    }

    /// What the slots hold.
    fn expected(slot: u64, vms: u64) -> u64 {
        match slot {
            common::SERVICE => kind::ENDPOINT,
            common::REPLY => kind::REPLY,
            common::READY | drivers::NOTIFICATION => kind::NOTIFICATION,
            drivers::COM1 | drivers::PIT | drivers::EXIT => kind::IO_PORT,
            drivers::COM1_IRQ | drivers::TIMER_IRQ => kind::IRQ_HANDLER,
            _ => of_vm(slot, vms),
        }
    }

    fn of_vm(slot: u64, vms: u64) -> u64 {
        match slot.checked_sub(drivers::VM_BASE) {
            Some(n) if n / 4 < vms => [
                kind::ENDPOINT,
                kind::REPLY,
                kind::NOTIFICATION,
                kind::NOTIFICATION,
            ][(n % 4) as usize],
            _ => kind::NULL,
        }
    }

    /// Not tried: to end the start, or the machine, before everything was tried.
    fn spare(slot: u64, label: u64) -> bool {
        let writes = X86_IO_PORT_OUT8..=X86_IO_PORT_OUT32;
        slot == common::READY || (slot == drivers::EXIT && writes.contains(&label))
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
