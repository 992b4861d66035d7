//! The rows, one after another, or those of the measuring kernel; the last line and the exit port say that all were measured.

mod calls;
mod exits;
mod faults;
mod kit;
mod latency;
mod objects;
mod report;

use kit::Kit;
use sel4::{BootInfoPtr, init_thread::slot::TCB};

sel4_root_task::declare_root_task! { main = main, stack_size = 64 * 1024 }

/// Priorities: whoever serves above who is served, this program between.
mod priority {
    pub const SERVER: u64 = 110;
    pub const MAIN: u64 = 100;
    pub const BELOW: u64 = 90;
}

fn main(boot_info: &BootInfoPtr) {
    let done = measure(boot_info);
    if let Err(error) = &done {
        log::info!(target: sel4::logging::PLAIN, "the kernel answered {error:?}");
    }
    root_kit::end(done.is_ok());
}

fn measure(boot_info: &BootInfoPtr) -> sel4::Result<()> {
    let mut kit = Kit::new(boot_info)?;
    TCB.cap().tcb_set_priority(TCB.cap(), priority::MAIN)?;
    if latency::longest() > 0 {
        return latency::measure(&mut kit);
    }
    calls::measure(&mut kit)?;
    faults::measure(&mut kit)?;
    exits::measure(&mut kit)?;
    objects::measure(&mut kit)
}
