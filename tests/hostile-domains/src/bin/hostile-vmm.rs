//! Stands in for vmm-server: with its capabilities, tries to reach a guest frame or to learn a host-physical address.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use hostile_domains::{
        peek, report,
        sweep::{self, kind},
    };
    use protocol::{
        device::{self, Stop},
        mmu,
        slots::{common, vmm},
        system::DomainInfo,
    };
    use sel4::{MessageInfo, cap, sys::label};

    sel4_domain::declare_domain! { name = "hostile-vmm", main = main }

    const DEVICE: cap::Endpoint = cap::Endpoint::from_bits(vmm::DEVICE);

    fn main(_: usize, info: &DomainInfo) -> ! {
        let vm = info.vms.first().map_or("", |vm| vm.name.as_str());
        if !peek::if_told(vm) {
            report::line("vmm-cannot-reach-guest", sweep::all(expected, spare, own));
        }
        let words = [Stop::ExitPort as u64, 0];
        let _ = DEVICE.call_with_mrs(MessageInfo::new(device::STOP, 0, 0, 2), words);
        let (service, reply) = (
            cap::Endpoint::from_bits(common::SERVICE),
            cap::Reply::from_bits(common::REPLY),
        );
        loop {
            sel4_domain::ready_and_receive(service, reply);
        }
    }

    /// What the slots hold.
    fn expected(slot: u64) -> u64 {
        match slot {
            common::SERVICE | vmm::MMU | vmm::DEVICE => kind::ENDPOINT,
            common::REPLY => kind::REPLY,
            common::READY | vmm::NOTIFICATION => kind::NOTIFICATION,
            vmm::VCPU => kind::VCPU,
            _ => kind::NULL,
        }
    }

    /// Not tried: to end the start or the VM before everything was tried.
    fn spare(slot: u64, label: u64) -> bool {
        slot == common::READY || (slot == vmm::DEVICE && label == device::STOP)
    }

    /// Not looked at: guest memory that mmu-server reads for its vmm-server, and registers this domain wrote itself.
    fn own(slot: u64, label: u64) -> bool {
        let reads = [mmu::READ_PHYSICAL, mmu::READ_VIRTUAL];
        (slot == vmm::MMU && reads.contains(&label))
            || (slot == vmm::VCPU && label == label::VCPU_FETCH_INSTRUCTION)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "this program runs inside the Umbra image; build it with `cargo build` at the workspace's root"
    );
}
