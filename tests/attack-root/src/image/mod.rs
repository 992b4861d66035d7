//! The attacks, one after another; the last line and the exit port say how they went.

mod guest;
mod heartbeat;
mod kit;
mod pool;
mod random;
mod report;
mod vcpu;

use kit::{Kit, pause_of};
use report::Report;
use sel4::{BootInfoPtr, init_thread::slot::TCB};

sel4_root_task::declare_root_task! { main = main, stack_size = 256 * 1024 }

/// Priorities: the heartbeat above all, the hostile thread above its supervisor, vCPUs and what the hostile thread starts
/// below.
mod priority {
    pub const HEARTBEAT: u64 = 120;
    pub const HOSTILE: u64 = 100;
    pub const SUPERVISOR: u64 = 90;
    pub const GUEST: u64 = 50;
}

fn main(boot_info: &BootInfoPtr) {
    let mut report = Report::default();
    if let Err(error) = attack(boot_info, &mut report) {
        report.line("attacks", Err(error.into()));
    }
    report.end();
}

fn attack(boot_info: &BootInfoPtr, report: &mut Report) -> sel4::Result<()> {
    let mut kit = Kit::new(boot_info)?;
    TCB.cap()
        .tcb_set_priority(TCB.cap(), priority::SUPERVISOR)?;
    heartbeat::start(&mut kit)?;
    pause_of(&kit, 1000)?;
    pool::attack(&mut kit, report)?;
    vcpu::attack(&mut kit, report)?;
    pause_of(&kit, 10_000)?;
    random::attack(&mut kit, report)
}
