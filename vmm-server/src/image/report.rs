//! A VM's counters at its first marker, and its last words: its statistics on the log, then its end to the device server.

use super::servers::Servers;
use exit_abi::{Mask, Register};
use sel4::logging::PLAIN;
use vmm_server::stats::{COUNTERS, Moment, Report};
use vmm_server::{Platform, Stopped, Vcpu};

/// Registers the device server is told with the stop.
const DETAIL: [Register; 8] = [
    Register::Rip,
    Register::Rsp,
    Register::Rflags,
    Register::Cr2,
    Register::Cs,
    Register::CsBase,
    Register::Ss,
    Register::Cpl,
];

/// Reports the end.
pub fn end(vcpu: &Vcpu, servers: &mut Servers, name: &str, stopped: &Stopped) {
    let mask = DETAIL
        .iter()
        .fold(Mask::default(), |mask, &register| mask.with(register));
    let registers = servers.read_registers(mask);
    let control = vcpu.control();
    log::info!(
        "{name}: rip {:#x} rsp {:#x} cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x}",
        registers.get(Register::Rip),
        registers.get(Register::Rsp),
        control.cr0,
        registers.get(Register::Cr2),
        control.cr3,
        control.cr4,
        control.efer,
    );
    counters(vcpu, servers, name, Moment::End);
    servers.stop(stopped, &DETAIL.map(|register| registers.get(register)));
}

/// Reports the counters.
pub fn counters(vcpu: &Vcpu, servers: &mut Servers, name: &str, moment: Moment) {
    let mut kernel = [0; COUNTERS];
    let known = servers.read_counters(&mut kernel).min(COUNTERS);
    let mmu = servers.mmu_stats();
    let report = Report {
        moment,
        vm: name,
        kernel: &kernel[..known],
        mmu: &mmu,
        markers: vcpu.markers(),
        tsc: servers.now(),
    };
    log::info!(target: PLAIN, "umbra-stats {report}");
}
