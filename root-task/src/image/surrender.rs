//! Giving up what root-task must not keep once everything is built: authority over devices, interrupts, ports, time and
//! address spaces. Domains' CSpaces and address spaces, endpoints and guest frames were given up as each was finished.
//!
//! What stays: this program's own memory, untyped memory, the domains' threads, data frames and tables, the ASID pool (its
//! deletion would end every address space), the endpoint of faults, and for each VM the right to tell that it stopped.

use super::{
    error::Result,
    objects::{at, drop_cap},
};
use sel4::{BootInfoPtr, cap_type, init_thread::slot};

/// Gives it up.
pub(crate) fn all(boot_info: &BootInfoPtr) -> Result<()> {
    drop_cap(slot::IRQ_CONTROL.cap())?;
    drop_cap(slot::IO_PORT_CONTROL.cap())?;
    drop_cap(slot::ASID_CONTROL.cap())?;
    drop_cap(slot::DOMAIN_SET.cap())?;
    for control in boot_info.sched_control().range() {
        drop_cap(at::<cap_type::SchedControl>(control))?;
    }
    for (n, untyped) in boot_info.untyped_list().iter().enumerate() {
        if untyped.is_device() {
            drop_cap(at::<cap_type::Untyped>(boot_info.untyped().start() + n))?;
        }
    }
    Ok(())
}
