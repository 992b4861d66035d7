//! The whole system: the device server, and for each VM a vmm-server, an mmu-server and a vCPU, wired to one another.

use super::{
    devices,
    domain::{Domain, Workshop},
    error::{Error, Result},
    guest::{self, Guest},
    objects::{CALL, drop_cap, time_slice},
};
use core::{fmt, ops::Range};
use heapless::Vec;
use protocol::{
    device::signal,
    slots::{common, drivers, mmu, vmm},
    system::{Archive, DomainInfoRef, MAX_VMS, Name, Paging, Program, Vm},
};
use sel4::{
    BootInfoExtraId, BootInfoPtr, CapRights, cap, cap_type, init_thread,
    sys::{Rights, label::vcpu_right},
};

/// Priorities. A VM's servers come before any vCPU, the devices before the servers, the machine's interrupts before all.
mod priority {
    /// The device server's thread for the machine's interrupts.
    pub const INTERRUPTS: u64 = 250;
    /// The device server's threads for VMs.
    pub const DEVICES: u64 = 220;
    /// mmu-servers.
    pub const MMU: u64 = 210;
    /// vmm-servers.
    pub const VMM: u64 = 200;
    /// Most for a vCPU: below root-task while it starts the system.
    pub const VCPU_MAX: u64 = 190;
}

/// Badge of the one "ready" signal; no domain has this number.
pub(crate) const READY_BADGE: u64 = 1 << 63;
/// Badge of vmm-server's capability to its VM's device endpoint.
const VMM_BADGE: u64 = 1;
/// Badge of root-task's.
const ROOT_BADGE: u64 = 2;

/// Which domain: the badge of its fault messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Id {
    /// The device server.
    Drivers,
    /// vmm-server of a VM.
    Vmm(usize),
    /// mmu-server of a VM.
    Mmu(usize),
}

impl Id {
    /// Its number, from 1 on.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Drivers => 1,
            Self::Vmm(n) => 2 + 2 * n as u64,
            Self::Mmu(n) => 3 + 2 * n as u64,
        }
    }
    /// The domain with a number.
    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(Self::Drivers),
            number if number % 2 == 0 => Some(Self::Vmm((number / 2 - 1) as usize)),
            number => Some(Self::Mmu((number / 2 - 1) as usize)),
        }
    }
}

/// A VM as root-task knows it once it runs.
pub(crate) struct Machinery {
    /// Its name.
    pub(crate) name: Name,
    /// Its vmm-server.
    pub(crate) vmm: Domain,
    /// Its mmu-server.
    pub(crate) mmu: Domain,
    /// The thread of its vCPU.
    pub(crate) vcpu: cap::Tcb,
    /// Where to tell the device server that it stopped.
    pub(crate) stop: cap::Endpoint,
    /// Slots of the file pages mmu-server reads at its start.
    pub(crate) files: Range<usize>,
    /// It was told.
    pub(crate) stopped: bool,
}

/// Everything root-task keeps.
pub(crate) struct System {
    /// Where faults come in.
    pub(crate) faults: cap::Endpoint,
    /// Whom they could be answered to; none ever is.
    pub(crate) reply: cap::Reply,
    /// Where "ready" comes in.
    pub(crate) ready: cap::Notification,
    /// The time of whichever server is just starting.
    pub(crate) starting: cap::SchedContext,
    /// The time of the device server's first thread.
    pub(crate) interrupts: cap::SchedContext,
    /// The device server.
    pub(crate) drivers: Domain,
    /// The VMs.
    pub(crate) vms: Vec<Machinery, MAX_VMS>,
}

/// A domain's name as text.
pub(crate) struct Named<'a>(pub(crate) &'a System, pub(crate) Id);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vm = |n: usize| self.0.vms.get(n).map_or("?", |vm| vm.name.as_str());
        match self.1 {
            Id::Drivers => f.write_str("drivers"),
            Id::Vmm(n) => write!(f, "vmm-server.{}", vm(n)),
            Id::Mmu(n) => write!(f, "mmu-server.{}", vm(n)),
        }
    }
}

/// Endpoint, reply object and notification a server is reached by.
struct Service {
    endpoint: cap::Endpoint,
    reply: cap::Reply,
}

impl Service {
    fn new(workshop: &mut Workshop<'_>) -> Result<Self> {
        Ok(Self {
            endpoint: workshop.objects.make()?,
            reply: workshop.objects.make()?,
        })
    }
    /// Gives the receiving side away; the endpoint stays for those who send.
    fn give(&self, domain: &Domain, endpoint: u64, reply: u64) -> Result<()> {
        domain.give(endpoint, self.endpoint, CapRights::read_only())?;
        domain.hand_over(reply, self.reply)
    }
}

/// What each domain is told of the others.
struct Common<'a> {
    archive: &'a Archive,
    faults: cap::Endpoint,
    ready: cap::Notification,
    tsc_mhz: u32,
}

impl Common<'_> {
    fn info<'a>(&self, workshop: &Workshop<'_>, vms: &'a [Vm]) -> DomainInfoRef<'a> {
        DomainInfoRef {
            tsc_mhz: self.tsc_mhz,
            vms,
            archive_length: workshop.image.length(),
        }
    }

    fn program(&self, index: u32) -> Result<&Program> {
        self.archive
            .programs
            .get(index as usize)
            .ok_or(Error::Archive("no such program"))
    }

    /// A server with one thread, its service and its "ready".
    fn server(
        &self,
        workshop: &mut Workshop<'_>,
        id: Id,
        program: u32,
        vms: &[Vm],
        threads: &[(&str, u64)],
    ) -> Result<Domain> {
        let program = self.program(program)?;
        let info = self.info(workshop, vms);
        let mut domain = Domain::new(workshop, program, &info)?;
        let faults = workshop.objects.badge(self.faults, CALL, id.number())?;
        for (name, priority) in threads {
            domain.thread(workshop, name, *priority, faults)?;
        }
        drop_cap(faults)?;
        domain.give_badged(
            common::READY,
            self.ready,
            CapRights::write_only(),
            READY_BADGE,
        )?;
        Ok(domain)
    }
}

impl System {
    /// Builds everything; nothing runs yet.
    pub(crate) fn build(workshop: &mut Workshop<'_>, archive: &Archive) -> Result<Self> {
        let common = Common {
            archive,
            faults: workshop.objects.make()?,
            ready: workshop.objects.make()?,
            tsc_mhz: tsc_mhz(workshop.boot_info),
        };
        log::info!("{} MHz", common.tsc_mhz);
        // Big pieces first, and the pools while there is memory below 4 GiB.
        let guests = guests(workshop, archive)?;
        let drivers = device_server(workshop, &common)?;
        let mut system = Self {
            faults: common.faults,
            reply: workshop.objects.make()?,
            ready: common.ready,
            starting: time_slice(workshop.objects, workshop.boot_info)?,
            interrupts: time_slice(workshop.objects, workshop.boot_info)?,
            drivers,
            vms: Vec::new(),
        };
        describe("drivers", &system.drivers);
        for (n, guest) in guests.iter().enumerate() {
            let machinery = virtual_machine(workshop, &common, &system.drivers, guest, n)?;
            system.vms.push(machinery).map_err(|_| Error::Full("VMs"))?;
        }
        system.drivers.seal()?;
        Ok(system)
    }
}

fn describe(role: &str, domain: &Domain) {
    log::info!(
        "{role}: {} pages, {} threads, entry {:#x}",
        domain.pages(),
        domain.threads().len(),
        domain.entry()
    );
}

fn guests(workshop: &mut Workshop<'_>, archive: &Archive) -> Result<Vec<Guest, MAX_VMS>> {
    let mut guests = Vec::new();
    for vm in &archive.vms {
        guests
            .push(Guest::new(workshop.objects, vm)?)
            .map_err(|_| Error::Full("VMs"))?;
    }
    Ok(guests)
}

/// The TSC's frequency; the kernel always tells it.
fn tsc_mhz(boot_info: &BootInfoPtr) -> u32 {
    boot_info
        .extra()
        .find(|piece| piece.id == BootInfoExtraId::X86TscFreq)
        .and_then(|piece| piece.content().first_chunk().copied())
        .map_or(1000, u32::from_le_bytes)
}

fn device_server(workshop: &mut Workshop<'_>, common: &Common<'_>) -> Result<Domain> {
    const NAMES: [&str; MAX_VMS] = [
        "drivers vm 0",
        "drivers vm 1",
        "drivers vm 2",
        "drivers vm 3",
    ];
    let vms = &common.archive.vms;
    let mut threads: Vec<(&str, u64), { 1 + MAX_VMS }> = Vec::new();
    let serving = NAMES
        .iter()
        .take(vms.len())
        .map(|name| (*name, priority::DEVICES));
    threads.extend(core::iter::once(("drivers", priority::INTERRUPTS)).chain(serving));
    let mut domain = common.server(workshop, Id::Drivers, common.archive.drivers, vms, &threads)?;

    let service = Service::new(workshop)?;
    service.give(&domain, common::SERVICE, common::REPLY)?;
    drop_cap(service.endpoint)?;
    let notification = workshop.objects.make::<cap_type::Notification>()?;
    domain.threads()[0].tcb_bind_notification(notification)?;
    domain.give(drivers::NOTIFICATION, notification, CapRights::read_write())?;
    devices::hand_over(workshop, &mut domain, notification)?;
    drop_cap(notification)?;
    Ok(domain)
}

fn virtual_machine(
    workshop: &mut Workshop<'_>,
    common: &Common<'_>,
    drivers: &Domain,
    guest: &Guest,
    n: usize,
) -> Result<Machinery> {
    let vm = &common.archive.vms[n];
    let [vmm_service, mmu_service, device] = [
        Service::new(workshop)?,
        Service::new(workshop)?,
        Service::new(workshop)?,
    ];
    let notification = workshop.objects.make::<cap_type::Notification>()?;

    let (mmu, files) = mmu_server(workshop, common, guest, &mmu_service, n)?;
    let vmm = common.server(
        workshop,
        Id::Vmm(n),
        vm.vmm,
        core::slice::from_ref(vm),
        &[("vmm", priority::VMM)],
    )?;
    vmm_service.give(&vmm, common::SERVICE, common::REPLY)?;
    vmm.give(vmm::NOTIFICATION, notification, CapRights::read_only())?;
    vmm.give(
        vmm::VCPU,
        guest.vcpu,
        rights(vcpu_right::RUN | vcpu_right::READ),
    )?;
    vmm.give(vmm::MMU, mmu_service.endpoint, CALL)?;
    vmm.give_badged(vmm::DEVICE, device.endpoint, CALL, VMM_BADGE)?;
    vmm.threads()[0].tcb_bind_notification(notification)?;
    time_slice(workshop.objects, workshop.boot_info)?.bind(notification)?;

    let (endpoint, reply, line) = drivers::vm(n as u64);
    device.give(drivers, endpoint, reply)?;
    drivers.give_badged(line, notification, CapRights::write_only(), signal::LINE)?;
    let deadline = drivers::vm_deadline(n as u64);
    drivers.give_badged(
        deadline,
        notification,
        CapRights::write_only(),
        signal::DEADLINE,
    )?;

    let vcpu = vcpu(workshop, guest, vm, vmm_service.endpoint)?;
    let stop = workshop.objects.badge(device.endpoint, CALL, ROOT_BADGE)?;
    for service in [&vmm_service, &mmu_service, &device] {
        drop_cap(service.endpoint)?;
    }
    drop_cap(notification)?;
    drop_cap(guest.vcpu)?;
    let paging = match vm.paging {
        Paging::Shadow => "",
        Paging::Nested => ", nested paging",
    };
    log::info!(
        "{}: {} MiB, 2^{} shadow pages{paging}",
        vm.name,
        vm.memory >> 20,
        vm.shadow_bits
    );
    describe("mmu-server", &mmu);
    describe("vmm-server", &vmm);
    mmu.seal()?;
    vmm.seal()?;
    Ok(Machinery {
        name: vm.name.clone(),
        vmm,
        mmu,
        vcpu,
        stop,
        files,
        stopped: false,
    })
}

fn mmu_server(
    workshop: &mut Workshop<'_>,
    common: &Common<'_>,
    guest: &Guest,
    service: &Service,
    n: usize,
) -> Result<(Domain, Range<usize>)> {
    let vm = &common.archive.vms[n];
    let threads = [("mmu", priority::MMU)];
    let mut domain = common.server(
        workshop,
        Id::Mmu(n),
        vm.mmu,
        core::slice::from_ref(vm),
        &threads,
    )?;
    service.give(&domain, common::SERVICE, common::REPLY)?;
    guest.memory(workshop.objects, &mut domain, vm)?;
    let files = guest::files(workshop.objects, workshop.image, &mut domain, vm)?;
    domain.give(mmu::VCPU, guest.vcpu, rights(vcpu_right::PAGING))?;
    domain.hand_over(mmu::SPACE, guest.space)?;
    domain.hand_over(mmu::POOL, guest.pool)?;
    Ok((domain, files))
}

/// The thread whose exits go to vmm-server. It has neither CSpace nor address space: it runs the guest, nothing else.
fn vcpu(
    workshop: &mut Workshop<'_>,
    guest: &Guest,
    vm: &Vm,
    exits: cap::Endpoint,
) -> Result<cap::Tcb> {
    let tcb = workshop.objects.make::<cap_type::Tcb>()?;
    let time = time_slice(workshop.objects, workshop.boot_info)?;
    let priority = vm.priority.min(priority::VCPU_MAX);
    // No badge: vmm-server tells exits from its notification's signals by it.
    workshop.objects.scratch(exits, CALL, 0, |exits| {
        tcb.tcb_set_sched_params(init_thread::slot::TCB.cap(), 0, priority, time, exits)
    })?;
    guest.vcpu.bind_tcb(tcb)?;
    tcb.debug_name(b"vcpu");
    Ok(tcb)
}

const fn rights(bits: u64) -> CapRights {
    CapRights::from_inner(Rights::new(bits))
}
