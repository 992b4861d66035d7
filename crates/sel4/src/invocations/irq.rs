//! Interrupts and I/O ports.

use crate::{AbsoluteCPtr, InvocationContext, Result, Word, cap, sys::label};

impl<C: InvocationContext> cap::IrqControl<C> {
    /// Takes an interrupt by its number; only a kernel that uses the 8259 answers. libsel4: `seL4_IRQControl_Get`.
    pub fn irq_control_get(self, irq: Word, dst: &AbsoluteCPtr) -> Result<()> {
        let words = [irq, dst.path().bits(), dst.path().depth() as Word];
        self.invoke(label::IRQ_ISSUE_IRQ_HANDLER, &[dst.root().bits()], &words)
            .map(drop)
    }
    /// Takes an I/O-APIC pin. `level` 1 is level-triggered, `polarity` 1 is active low; `vector` is the caller's choice.
    /// libsel4: `seL4_IRQControl_GetIOAPIC`.
    pub fn irq_control_get_ioapic(
        self,
        ioapic: Word,
        pin: Word,
        level: Word,
        polarity: Word,
        vector: Word,
        dst: &AbsoluteCPtr,
    ) -> Result<()> {
        let line = [ioapic, pin, level, polarity, vector];
        self.issue(label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC, dst, line)
    }
    /// Takes a message-signalled interrupt. libsel4: `seL4_IRQControl_GetMSI`.
    pub fn irq_control_get_msi(
        self,
        bus: Word,
        device: Word,
        function: Word,
        handle: Word,
        vector: Word,
        dst: &AbsoluteCPtr,
    ) -> Result<()> {
        let line = [bus, device, function, handle, vector];
        self.issue(label::X86_IRQ_ISSUE_IRQ_HANDLER_MSI, dst, line)
    }
    /// Both have the slot first and then five words that say which interrupt.
    fn issue(self, label: Word, dst: &AbsoluteCPtr, line: [Word; 5]) -> Result<()> {
        let mut words = [0; 7];
        words[0] = dst.path().bits();
        words[1] = dst.path().depth() as Word;
        words[2..].copy_from_slice(&line);
        self.invoke(label, &[dst.root().bits()], &words).map(drop)
    }
}

impl<C: InvocationContext> cap::IrqHandler<C> {
    /// Lets the next interrupt come. libsel4: `seL4_IRQHandler_Ack`.
    pub fn irq_handler_ack(self) -> Result<()> {
        self.invoke(label::IRQ_ACK, &[], &[]).map(drop)
    }
    /// Says which notification the interrupt signals. libsel4: `seL4_IRQHandler_SetNotification`.
    pub fn irq_handler_set_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::IRQ_SET_HANDLER, &[notification.bits()], &[])
            .map(drop)
    }
    /// Lets the interrupt signal nothing. libsel4: `seL4_IRQHandler_Clear`.
    pub fn irq_handler_clear(self) -> Result<()> {
        self.invoke(label::IRQ_CLEAR_HANDLER, &[], &[]).map(drop)
    }
}

impl<C: InvocationContext> cap::IOPortControl<C> {
    /// Takes ports `first_port..=last_port`. libsel4: `seL4_X86_IOPortControl_Issue`.
    pub fn ioport_control_issue(
        self,
        first_port: Word,
        last_port: Word,
        dst: &AbsoluteCPtr,
    ) -> Result<()> {
        let words = [
            first_port,
            last_port,
            dst.path().bits(),
            dst.path().depth() as Word,
        ];
        self.invoke(
            label::X86_IO_PORT_CONTROL_ISSUE,
            &[dst.root().bits()],
            &words,
        )
        .map(drop)
    }
}

impl<C: InvocationContext> cap::IOPort<C> {
    /// Reads a byte. libsel4: `seL4_X86_IOPort_In8`.
    pub fn ioport_in8(self, port: u16) -> Result<u8> {
        self.invoke(label::X86_IO_PORT_IN8, &[], &[port.into()])
            .map(|words| words[0] as u8)
    }
    /// Reads 16 bits. libsel4: `seL4_X86_IOPort_In16`.
    pub fn ioport_in16(self, port: u16) -> Result<u16> {
        self.invoke(label::X86_IO_PORT_IN16, &[], &[port.into()])
            .map(|words| words[0] as u16)
    }
    /// Reads 32 bits. libsel4: `seL4_X86_IOPort_In32`.
    pub fn ioport_in32(self, port: u16) -> Result<u32> {
        self.invoke(label::X86_IO_PORT_IN32, &[], &[port.into()])
            .map(|words| words[0] as u32)
    }
    /// Writes a byte. libsel4: `seL4_X86_IOPort_Out8`.
    pub fn ioport_out8(self, port: u16, value: u8) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT8, &[], &[port.into(), value.into()])
            .map(drop)
    }
    /// Writes 16 bits. libsel4: `seL4_X86_IOPort_Out16`.
    pub fn ioport_out16(self, port: u16, value: u16) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT16, &[], &[port.into(), value.into()])
            .map(drop)
    }
    /// Writes 32 bits. libsel4: `seL4_X86_IOPort_Out32`.
    pub fn ioport_out32(self, port: u16, value: u32) -> Result<()> {
        self.invoke(label::X86_IO_PORT_OUT32, &[], &[port.into(), value.into()])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use crate::{CPtr, cap, invocations::recorder::record};

    #[test]
    fn a_pin_is_asked_for_with_the_destination_first_and_ports_with_it_last() {
        let calls = record(0, &[0x60], || {
            let dst = cap::CNode::from_bits(2).absolute_cptr(CPtr::from_bits(90));
            cap::IrqControl::from_bits(4)
                .irq_control_get_ioapic(0, 4, 0, 1, 11, &dst)
                .unwrap();
            cap::IOPortControl::from_bits(7)
                .ioport_control_issue(0x3f8, 0x3ff, &dst)
                .unwrap();
            assert_eq!(cap::IOPort::from_bits(90).ioport_in8(0x3fd), Ok(0x60));
            cap::IOPort::from_bits(90).ioport_out8(0x3f8, b'x').unwrap();
        });
        assert_eq!(
            calls,
            [
                (4, 57, vec![2], vec![90, 64, 0, 4, 0, 1, 11]),
                (7, 50, vec![2], vec![0x3f8, 0x3ff, 90, 64]),
                (90, 51, vec![], vec![0x3fd]),
                (90, 54, vec![], vec![0x3f8, 0x78]),
            ]
        );
    }
}
