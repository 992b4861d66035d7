//! Starting the domains: the device server, then each VM's mmu-server and vmm-server.
//!
//! A server starts on lent time and becomes passive: it signals that it is ready and waits for its first message in one
//! system call; then its time is taken back and it runs on its callers'. While this goes on, root-task has a lower
//! priority than any server and a higher one than any vCPU, so that it goes on only when every server waits.

use super::{
    error::Result,
    objects::{at, drop_cap},
    supervise::{self, Event},
    system::{Id, Named, System},
};
use sel4::{cap, cap_type, init_thread::slot::TCB};

/// Root-task's priority meanwhile.
const PRIORITY: u64 = 195;

/// Starts everything.
pub(crate) fn all(system: &mut System) -> Result<()> {
    TCB.cap().tcb_set_priority(TCB.cap(), PRIORITY)?;
    TCB.cap().tcb_bind_notification(system.ready)?;
    drivers(system)?;
    for n in 0..system.vms.len() {
        let thread = system.vms[n].mmu.threads()[0];
        server(system, Id::Mmu(n), n, thread)?;
        // Its VM's files are in the guest's memory now.
        for slot in core::mem::take(&mut system.vms[n].files) {
            drop_cap(at::<cap_type::Granule>(slot))?;
        }
    }
    for n in 0..system.vms.len() {
        let thread = system.vms[n].vmm.threads()[0];
        server(system, Id::Vmm(n), n, thread)?;
    }
    Ok(())
}

fn drivers(system: &mut System) -> Result<()> {
    let threads = system.drivers.threads();
    let active = threads[0];
    system.interrupts.bind(active)?;
    active.tcb_resume()?;
    // It has its own time and waits for interrupts now; should it have said that it is ready, nobody needs to know.
    system.ready.poll();
    for n in 1..system.drivers.threads().len() {
        let thread = system.drivers.threads()[n];
        if passive(system, Id::Drivers, thread)? == Started::Failed {
            return Ok(());
        }
    }
    log::info!("drivers: ready");
    Ok(())
}

/// How a start went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Started {
    Ready,
    /// It was reported, and what depends on it is stopped.
    Failed,
}

/// Starts the server of a VM, unless the VM was stopped already.
fn server(system: &mut System, id: Id, n: usize, thread: cap::Tcb) -> Result<()> {
    if !system.vms[n].stopped && passive(system, id, thread)? == Started::Ready {
        log::info!("{}: ready", Named(system, id));
    }
    Ok(())
}

/// Starts a server and waits until it is ready, or has failed.
fn passive(system: &mut System, id: Id, thread: cap::Tcb) -> Result<Started> {
    system.starting.bind(thread)?;
    thread.tcb_resume()?;
    let started = loop {
        match supervise::next(system) {
            Event::Ready => break Started::Ready,
            Event::Failed(failed) if failed == id => break Started::Failed,
            Event::Failed(_) | Event::Other => {}
        }
    };
    system.starting.unbind()?;
    Ok(started)
}
