//! Supervising: a domain that fails is reported in one line, its VM stopped; everything else goes on.

use super::{
    error::Result,
    objects::drop_cap,
    system::{Id, Machinery, Named, READY_BADGE, System},
};
use protocol::device::{STOP, Stop};
use root_task::report::Cause;
use sel4::{Badge, Fault, MessageInfo, cap, init_thread::slot::TCB, logging::PLAIN};

/// Root-task's priority once everything runs.
const PRIORITY: u64 = 240;

/// What came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// A server is ready.
    Ready,
    /// A domain failed; it was reported and its VM stopped.
    Failed(Id),
    /// Nothing root-task knows.
    Other,
}

/// Waits for failures for ever.
pub(crate) fn forever(system: &mut System) -> Result<sel4_root_task::Never> {
    drop_cap(system.starting)?;
    TCB.cap().tcb_set_priority(TCB.cap(), PRIORITY)?;
    loop {
        next(system);
    }
}

/// Waits for the next event and, if it is a failure, deals with it.
///
/// A fault is never answered: the next receive with the same reply object leaves the failed thread inactive.
pub(crate) fn next(system: &mut System) -> Event {
    let (info, badge) = system.faults.recv(system.reply);
    if badge & READY_BADGE != 0 {
        return Event::Ready;
    }
    let fault = sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info));
    match known(system, badge) {
        Some(id) => {
            report(system, id, Cause::new(fault));
            stop(system, id);
            Event::Failed(id)
        }
        None => Event::Other,
    }
}

fn known(system: &System, badge: Badge) -> Option<Id> {
    let id = Id::from_number(badge)?;
    match id {
        Id::Drivers => Some(id),
        Id::Vmm(n) | Id::Mmu(n) => (n < system.vms.len()).then_some(id),
    }
}

fn report(system: &System, id: Id, cause: Cause) {
    let (domain, address) = (Named(system, id), cause.address());
    log::info!(target: PLAIN, "umbra-fail domain={domain} cause={cause} address={address:#x}");
    if cause.instruction() != address {
        log::error!(
            "{domain}: the instruction was at {:#x}",
            cause.instruction()
        );
    }
}

fn stop(system: &mut System, id: Id) {
    match id {
        Id::Vmm(n) | Id::Mmu(n) => {
            if let Some(vm) = system.vms.get_mut(n) {
                halt(vm);
                tell(vm, id);
            }
        }
        Id::Drivers => {
            suspend("drivers", system.drivers.threads());
            system.vms.iter_mut().for_each(without_devices);
        }
    }
}

/// Nothing of the VM runs any more.
fn halt(vm: &Machinery) {
    suspend(&vm.name, &[vm.vcpu]);
    suspend(&vm.name, vm.vmm.threads());
    suspend(&vm.name, vm.mmu.threads());
}

/// Suspending a thread does not fail; should it, the log says so and the rest goes on.
fn suspend(whose: &str, threads: &[cap::Tcb]) {
    for thread in threads {
        if let Err(error) = thread.tcb_suspend() {
            log::error!("{whose}: a thread could not be stopped: {error:?}");
        }
    }
}

/// Tells the device server, once, which says so on the log and ends the run when no VM is left.
fn tell(vm: &mut Machinery, id: Id) {
    if !core::mem::replace(&mut vm.stopped, true) {
        let words = [Stop::DomainFailed as u64, id.number()];
        let _ = vm
            .stop
            .call_with_mrs(MessageInfo::new(STOP, 0, 0, words.len()), words);
    }
}

/// The device server itself failed: no VM can go on, and nobody but this program can say so.
fn without_devices(vm: &mut Machinery) {
    halt(vm);
    if !core::mem::replace(&mut vm.stopped, true) {
        let (reason, value) = (Stop::DomainFailed, Id::Drivers.number());
        let (word, status) = (reason.name(), reason.status(value));
        log::info!(target: PLAIN, "umbra-end vm={} reason={word} value={value} status={status}", vm.name);
    }
}
