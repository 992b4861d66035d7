//! The program: entry, the loop over exits and signals, and the end.

mod cpu;
mod report;
mod serve;
mod servers;

use protocol::system::DomainInfo;
use vmm_server::{Platform, Vcpu};

use servers::Servers;

sel4_domain::declare_domain! { name = "vmm-server", main = main }

fn main(_thread: usize, info: &DomainInfo) -> ! {
    let Some(vm) = info.vms.first() else {
        log::error!("no VM to run");
        sel4_domain::fail()
    };
    let mut servers = Servers;
    let (mut vcpu, registers) = Vcpu::new(&vm.entry, info.tsc_mhz, vm.memory, &servers);
    vcpu.set_paging(vm.paging);
    // The vCPU's priority is below this thread's: it runs once this thread waits for its first exit.
    if servers.write_registers(&registers).is_err() || servers::VCPU.run().is_err() {
        log::error!("the kernel refuses to start {}", vm.name);
        sel4_domain::fail()
    }
    serve::run(vcpu, servers, &vm.name)
}
