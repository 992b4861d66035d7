//! The machine's devices: ports, interrupt lines and the timer, for the device server alone.

use super::{
    domain::{Domain, Workshop},
    error::Result,
    objects::{Objects, at, drop_cap, path},
    window::Window,
};
use protocol::{layout, slots::drivers, system::Timer};
use root_task::timer;
use sel4::{
    BootInfoPtr, CapRights, ObjectBlueprint, ObjectBlueprintArch, VmAttributes, cap, cap_type,
    init_thread,
};

/// COM1's pin.
const COM1_PIN: u64 = 4;
/// Badge bits of the device server's notification.
const COM1_BADGE: u64 = 1;
/// See [`COM1_BADGE`].
const TIMER_BADGE: u64 = 2;
/// PIT: the mode register, and the byte that stops channel 0 until it is given a count (mode 0).
const PIT_MODE: u16 = 0x43;
/// See [`PIT_MODE`].
const PIT_STOP: u8 = 0x30;

/// The machine's deadline timer and, for an HPET, its frame.
pub(crate) struct Machine {
    /// Which timer.
    pub(crate) timer: Timer,
    hpet: Option<cap::Granule>,
}

impl Machine {
    /// Looks for an HPET where every PC has it.
    pub(crate) fn find(
        objects: &mut Objects,
        window: &Window,
        boot_info: &BootInfoPtr,
    ) -> Result<Self> {
        let Some(frame) = device_page(objects, boot_info, timer::HPET_ADDRESS)? else {
            return Ok(Self {
                timer: Timer::Pit,
                hpet: None,
            });
        };
        let [capabilities, timer_0] = window.read(
            frame,
            VmAttributes::CACHE_DISABLED,
            [timer::CAPABILITIES, timer::TIMER_0],
        )?;
        if let Some(timer) = timer::choose(capabilities, timer_0) {
            return Ok(Self {
                timer,
                hpet: Some(frame),
            });
        }
        drop_cap(frame)?;
        Ok(Self {
            timer: Timer::Pit,
            hpet: None,
        })
    }

    /// Hands the devices to the device server; `notification` is what interrupts signal.
    pub(crate) fn hand_over(
        &self,
        workshop: &mut Workshop<'_>,
        server: &mut Domain,
        notification: cap::Notification,
    ) -> Result<()> {
        let objects = &mut *workshop.objects;
        server.hand_over(drivers::COM1, ports(objects, 0x3f8, 0x3ff)?)?;
        server.hand_over(drivers::EXIT, ports(objects, 0xf4, 0xf7)?)?;
        let com1 = interrupt(objects, COM1_PIN, notification, COM1_BADGE)?;
        server.hand_over(drivers::COM1_IRQ, com1)?;
        let pit = ports(objects, 0x40, 0x43)?;
        let pin = match (self.timer, self.hpet) {
            (Timer::Hpet { pin }, Some(frame)) => {
                pit.ioport_out8(PIT_MODE, PIT_STOP)?;
                drop_cap(pit)?;
                let attributes = VmAttributes::CACHE_DISABLED;
                server.space().map(
                    objects,
                    frame,
                    layout::HPET,
                    CapRights::read_write(),
                    attributes,
                )?;
                server.hand_over(drivers::HPET_FRAME, frame)?;
                pin
            }
            _ => {
                server.hand_over(drivers::PIT, pit)?;
                timer::PIT_PIN
            }
        };
        let timer = interrupt(objects, pin.into(), notification, TIMER_BADGE)?;
        server.hand_over(drivers::TIMER_IRQ, timer)
    }
}

fn ports(objects: &mut Objects, first: u64, last: u64) -> Result<cap::IOPort> {
    let range = objects.slot()?;
    init_thread::slot::IO_PORT_CONTROL
        .cap()
        .ioport_control_issue(first, last, &path(range))?;
    Ok(range)
}

/// An edge-triggered line that signals `notification` with `badge`. The pin's number serves as the vector, too. A
/// line begins masked; it is opened here, so that the server need not acknowledge what has not happened yet.
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

/// The frame of one page of device memory, or `None` if the kernel keeps it.
///
/// An untyped gives out its memory from its beginning on, so the region around the page is halved until only the page is
/// left.
fn device_page(
    objects: &mut Objects,
    boot_info: &BootInfoPtr,
    address: u64,
) -> Result<Option<cap::Granule>> {
    let around = |base: u64, bits: usize| address >> bits == base >> bits;
    let untypeds = boot_info.untyped_list().iter().enumerate();
    let Some((n, region)) = untypeds
        .filter(|(_, region)| region.is_device())
        .find(|(_, region)| around(region.paddr() as u64, region.size_bits()))
    else {
        return Ok(None);
    };
    let steps = region.size_bits().saturating_sub(FRAME_BITS);
    let slots = objects.slots(2 * steps)?;
    let mut untyped = boot_info.untyped().index(n).cap();
    for (step, bits) in (FRAME_BITS..region.size_bits()).rev().enumerate() {
        let halves = slots + 2 * step;
        retype(
            untyped,
            ObjectBlueprint::Untyped { size_bits: bits },
            halves,
            2,
        )?;
        untyped = at(halves + (address >> bits & 1) as usize);
    }
    let frame = objects.slots(1)?;
    retype(
        untyped,
        ObjectBlueprint::Arch(ObjectBlueprintArch::_4k),
        frame,
        1,
    )?;
    for half in slots..slots + 2 * steps {
        drop_cap(at::<cap_type::Untyped>(half))?;
    }
    Ok(Some(at(frame)))
}

const FRAME_BITS: usize = 12;

fn retype(
    untyped: cap::Untyped,
    into: ObjectBlueprint,
    first: usize,
    count: usize,
) -> sel4::Result<()> {
    untyped.untyped_retype(
        &into,
        &init_thread::slot::CNODE.cap().absolute_cptr_for_self(),
        first,
        count,
    )
}
