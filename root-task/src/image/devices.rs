//! The machine's devices: ports, interrupt lines and the timer, for the device server alone.

use super::{
    domain::{Domain, Workshop},
    error::Result,
    objects::{Objects, path},
};
use protocol::slots::drivers;
use sel4::{CapRights, cap, cap_type, init_thread};

/// COM1's pin.
const COM1_PIN: u64 = 4;
/// The PIT's pin, in the way every PC wires it.
const PIT_PIN: u64 = 2;
/// Badge bits of the device server's notification.
const COM1_BADGE: u64 = 1;
/// See [`COM1_BADGE`].
const TIMER_BADGE: u64 = 2;
/// Hands the devices to the device server; `notification` is what interrupts signal.
///
/// The timer is the PIT, though an HPET counts finer: whoever sets an HPET's comparator can have it write to memory.
pub(crate) fn hand_over(
    workshop: &mut Workshop<'_>,
    server: &mut Domain,
    notification: cap::Notification,
) -> Result<()> {
    let objects = &mut *workshop.objects;
    server.hand_over(drivers::COM1, ports(objects, 0x3f8, 0x3ff)?)?;
    server.hand_over(drivers::PIT, ports(objects, 0x40, 0x43)?)?;
    server.hand_over(drivers::EXIT, ports(objects, 0xf4, 0xf7)?)?;
    let com1 = interrupt(objects, COM1_PIN, notification, COM1_BADGE)?;
    server.hand_over(drivers::COM1_IRQ, com1)?;
    let timer = interrupt(objects, PIT_PIN, notification, TIMER_BADGE)?;
    server.hand_over(drivers::TIMER_IRQ, timer)
}

fn ports(objects: &mut Objects, first: u64, last: u64) -> Result<cap::IOPort> {
    let range = objects.slot()?;
    init_thread::slot::IO_PORT_CONTROL
        .cap()
        .ioport_control_issue(first, last, &path(range))?;
    Ok(range)
}

/// An edge-triggered line that signals `notification` with `badge`. The pin's number serves as the vector, too. An edge
/// that came before there was a notification has masked the line; it is opened here, so that the server need not acknowledge
/// what it was not told.
fn interrupt(
    objects: &mut Objects,
    pin: u64,
    notification: cap::Notification,
    badge: u64,
) -> Result<cap::IrqHandler> {
    let handler = objects.slot::<cap_type::IrqHandler>()?;
    init_thread::slot::IRQ_CONTROL
        .cap()
        .irq_control_get_ioapic(0, pin, 0, 0, pin, &path(handler))?;
    objects.scratch(notification, CapRights::write_only(), badge, |badged| {
        handler.irq_handler_set_notification(badged)
    })?;
    handler.irq_handler_ack()?;
    Ok(handler)
}
