//! Interrupts: control issues handlers for IOAPIC pins and MSI vectors; a handler names a notification.
//!
//! Delivery: masked, end of interrupt, notification signalled; unmasked again by the acknowledgement. A pin is open from its
//! issue on. A message cannot be masked, and its acknowledgement does nothing.

use crate::cap::Cap;
use crate::kernel::{Done, Fail, IRQS, Irq, Kernel, Message, Outcome};
use crate::machine::{IrqRoute, Machine};
use crate::mem::Ref;
use crate::slot::{self, Slot};
use crate::syscall::USER_VECTOR_BASE;
use sel4_abi::{Error, Rights, label};

impl<M: Machine> Kernel<M> {
    fn irq_slot(&self, irq: u8) -> Ref<Slot> {
        crate::cspace::slot_at(self.irq_slots, u64::from(irq))
    }

    pub(crate) fn invoke_irq_control(&mut self, control: Ref<Slot>, msg: &Message) -> Outcome {
        match msg.label {
            label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC => self.issue_ioapic(control, msg),
            label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI => self.issue_msi(control, msg),
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    fn free_vector(&self, vector: u64) -> Result<u8, Fail> {
        if vector >= IRQS as u64 {
            return Err(Fail::range(0, IRQS as u64 - 1));
        }
        if self.irqs[vector as usize].active {
            return Err(Fail::error(Error::RevokeFirst));
        }
        Ok(vector as u8)
    }

    fn issue_ioapic(&mut self, control: Ref<Slot>, msg: &Message) -> Outcome {
        msg.need(7, 1)?;
        let [index, depth, ioapic, pin, level, polarity, vector] =
            [0, 1, 2, 3, 4, 5, 6].map(|n| msg.word(n));
        let irq = self.free_vector(vector)?;
        let dest = self.lookup_empty(msg.extra(0).words(), index, depth)?;
        let count = (0..)
            .take_while(|&n| self.machine.ioapic_pins(n).is_some())
            .count() as u64;
        if ioapic >= count {
            return Err(Fail::range(0, count.saturating_sub(1)));
        }
        let pins = u64::from(self.machine.ioapic_pins(ioapic as u32).unwrap_or(0));
        if pin >= pins {
            return Err(Fail::range(0, pins.saturating_sub(1)));
        }
        if level > 1 || polarity > 1 {
            return Err(Fail::range(0, 1));
        }
        let route = IrqRoute {
            ioapic: ioapic as u32,
            pin: pin as u32,
            level: level == 1,
            active_low: polarity == 1,
        };
        self.machine.irq_route(route, irq + USER_VECTOR_BASE);
        self.machine.irq_mask(route, false);
        self.irqs[usize::from(irq)] = Irq {
            route: Some(route),
            active: true,
        };
        slot::insert(Cap::IrqHandler { irq }, control, dest);
        Ok(Done::Empty)
    }

    fn issue_msi(&mut self, control: Ref<Slot>, msg: &Message) -> Outcome {
        msg.need(7, 1)?;
        let [index, depth, bus, device, function, _handle, vector] =
            [0, 1, 2, 3, 4, 5, 6].map(|n| msg.word(n));
        let irq = self.free_vector(vector)?;
        let dest = self.lookup_empty(msg.extra(0).words(), index, depth)?;
        for (value, max) in [(bus, 255), (device, 31), (function, 7)] {
            if value > max {
                return Err(Fail::range(0, max));
            }
        }
        self.irqs[usize::from(irq)] = Irq {
            route: None,
            active: true,
        };
        slot::insert(Cap::IrqHandler { irq }, control, dest);
        Ok(Done::Empty)
    }

    pub(crate) fn invoke_irq_handler(&mut self, irq: u8, msg: &Message) -> Outcome {
        match msg.label {
            label::IRQ_ACK => {
                if let Some(route) = self.irqs[usize::from(irq)].route {
                    self.machine.irq_mask(route, false);
                }
                Ok(Done::Empty)
            }
            label::IRQ_SET_HANDLER => {
                msg.need(0, 1)?;
                let source = msg.extra(0);
                match source.cap() {
                    Cap::Notification { rights, .. } if rights.has(Rights::WRITE) => {
                        self.irq_unbind(irq)?;
                        slot::insert(source.cap(), source, self.irq_slot(irq));
                        Ok(Done::Empty)
                    }
                    _ => Err(Fail::capability(0)),
                }
            }
            label::IRQ_CLEAR_HANDLER => {
                self.irq_unbind(irq)?;
                Ok(Done::Empty)
            }
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    /// Forgets the interrupt's notification; preemptible, for the capability may be its last, and many may wait.
    pub(crate) fn irq_unbind(&mut self, irq: u8) -> Result<(), Fail> {
        self.delete_slot(self.irq_slot(irq))
    }

    /// The last handler is gone: the vector is free.
    pub(crate) fn irq_release(&mut self, irq: u8) {
        let entry = &mut self.irqs[usize::from(irq)];
        entry.active = false;
        if let Some(route) = entry.route.take() {
            self.machine.irq_mask(route, true);
        }
    }

    pub(crate) fn user_interrupt(&mut self, irq: u8) {
        if let Some(Irq {
            route: Some(route), ..
        }) = self.irqs.get(usize::from(irq))
        {
            self.machine.irq_mask(*route, true);
        }
        self.machine.end_of_interrupt();
        if usize::from(irq) < IRQS
            && let Cap::Notification { object, badge, .. } = self.irq_slot(irq).cap()
        {
            self.signal(object, badge);
        }
    }
}
