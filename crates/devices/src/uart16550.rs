//! A 16550A serial port as its driver sees it.
//!
//! Received bytes come in by [`Uart::receive`], which refuses one when there is no room: the sender keeps it, nothing is
//! lost. Bytes to send wait in the transmit FIFO until the owner takes them with [`Uart::transmit`]; while some wait, the
//! transmitter does not report itself empty, so that a slow sink slows the driver down. The owner calls both after
//! every access and whenever its sink or source has moved. Line speed and format are remembered and change nothing; the
//! character time-out of the receiver is over at once.
//!
//! Always: the receive FIFO holds at most 16 bytes (one without FIFOs), in order; an interrupt is asked for exactly
//! while an enabled cause stands.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | writes without looking at the transmitter's state | the FIFO has 16 places; what overruns is the guest's own byte |
//! | guest | floods the console | bytes leave by the owner's ring; when it is full the transmitter stays busy |
//! | guest | loopback to feed itself while input arrives | loopback disconnects the outside; input waits |
//! | peer on the line | floods the guest | no room, no byte; the hardware behind applies its flow control |
//! | guest | any order of register accesses | every state is a few booleans and two bounded rings |

/// Register offsets.
mod register {
    pub const DATA: u8 = 0;
    pub const IER: u8 = 1;
    /// Read: interrupt identification; written: FIFO control.
    pub const IIR_FCR: u8 = 2;
    pub const LCR: u8 = 3;
    pub const MCR: u8 = 4;
    pub const LSR: u8 = 5;
    pub const MSR: u8 = 6;
}

/// Interrupt enable bits; others read as zero.
mod enable {
    pub const RECEIVED: u8 = 0x01;
    pub const EMPTY: u8 = 0x02;
    pub const LINE: u8 = 0x04;
    pub const MODEM: u8 = 0x08;
    pub const ALL: u8 = 0x0f;
}

/// Interrupt identification, in falling priority.
mod cause {
    pub const LINE: u8 = 0x06;
    pub const RECEIVED: u8 = 0x04;
    pub const TIMEOUT: u8 = 0x0c;
    pub const EMPTY: u8 = 0x02;
    pub const MODEM: u8 = 0x00;
    pub const NONE: u8 = 0x01;
    pub const FIFOS_ON: u8 = 0xc0;
}

mod fifo {
    pub const ENABLE: u8 = 0x01;
    pub const CLEAR_RECEIVER: u8 = 0x02;
    pub const CLEAR_TRANSMITTER: u8 = 0x04;
}

const LCR_DIVISOR: u8 = 0x80;

mod modem_control {
    pub const DTR: u8 = 0x01;
    pub const RTS: u8 = 0x02;
    pub const OUT1: u8 = 0x04;
    pub const OUT2: u8 = 0x08;
    pub const LOOP: u8 = 0x10;
    pub const ALL: u8 = 0x1f;
}

mod line_status {
    pub const READY: u8 = 0x01;
    pub const OVERRUN: u8 = 0x02;
    /// Holding register and shift register empty.
    pub const EMPTY: u8 = 0x60;
}

mod modem_status {
    pub const CTS: u8 = 0x10;
    pub const DSR: u8 = 0x20;
    pub const RING: u8 = 0x40;
    pub const DCD: u8 = 0x80;
    pub const LINES: u8 = 0xf0;
    /// A ring indicator's change counts when it ends.
    pub const RING_ENDED: u8 = 0x04;
}

/// The other end of the line is there and ready.
const CONNECTED: u8 = modem_status::CTS | modem_status::DSR | modem_status::DCD;
/// Places of a FIFO.
const DEPTH: usize = 16;

/// The serial port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uart {
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: [u8; 2],
    fifos: bool,
    /// Bytes in the receiver from which on its interrupt is the trigger's, not the time-out's.
    trigger: usize,
    receiver: Fifo,
    transmitter: Fifo,
    overrun: bool,
    /// The transmitter ran empty and nobody has noticed yet.
    ran_empty: bool,
    /// Bits 0 to 3 of the modem status register.
    changes: u8,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// The port after reset, its line connected.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ier: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            divisor: [0x0c, 0],
            fifos: false,
            trigger: 1,
            receiver: Fifo::new(),
            transmitter: Fifo::new(),
            overrun: false,
            ran_empty: false,
            changes: 0,
        }
    }

    /// Reads register 0 to 7 (higher bits of `offset` are ignored).
    pub fn read(&mut self, offset: u8) -> u8 {
        match offset & 7 {
            register::DATA if self.divisor_chosen() => self.divisor[0],
            register::IER if self.divisor_chosen() => self.divisor[1],
            register::DATA => self.receiver.pop().unwrap_or(0),
            register::IER => self.ier,
            register::IIR_FCR => self.identify(),
            register::LCR => self.lcr,
            register::MCR => self.mcr,
            register::LSR => self.line_status(),
            register::MSR => self.modem_lines() | core::mem::take(&mut self.changes),
            _ => self.scratch,
        }
    }

    /// Writes register 0 to 7 (higher bits of `offset` are ignored). The two status registers are read-only.
    pub fn write(&mut self, offset: u8, value: u8) {
        match offset & 7 {
            register::DATA if self.divisor_chosen() => self.divisor[0] = value,
            register::IER if self.divisor_chosen() => self.divisor[1] = value,
            register::DATA => self.send(value),
            register::IER => self.enable(value & enable::ALL),
            register::IIR_FCR => self.control_fifos(value),
            register::LCR => self.lcr = value,
            register::MCR => self.control_modem(value & modem_control::ALL),
            register::LSR | register::MSR => {}
            _ => self.scratch = value,
        }
    }

    /// Whether [`receive`](Self::receive) would take a byte now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.loops() && self.receiver.len() < self.depth()
    }

    /// A byte from the line. Refused (`false`) when there is no room.
    #[must_use]
    pub fn receive(&mut self, byte: u8) -> bool {
        if !self.has_room() {
            return false;
        }
        self.receiver.push(byte)
    }

    /// Takes the next byte to send.
    pub fn transmit(&mut self) -> Option<u8> {
        let byte = self.transmitter.pop()?;
        if self.transmitter.is_empty() {
            self.ran_empty = true;
        }
        Some(byte)
    }

    /// Whether a byte waits to be sent.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        !self.transmitter.is_empty()
    }

    /// Level of the interrupt output.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.cause() != cause::NONE
    }

    /// Level of the OUT2 output, active high. A PC passes the interrupt on only while it is active; in loopback
    /// it never is.
    #[must_use]
    pub fn out2(&self) -> bool {
        !self.loops() && self.mcr & modem_control::OUT2 != 0
    }

    fn divisor_chosen(&self) -> bool {
        self.lcr & LCR_DIVISOR != 0
    }

    fn loops(&self) -> bool {
        self.mcr & modem_control::LOOP != 0
    }

    fn depth(&self) -> usize {
        if self.fifos { DEPTH } else { 1 }
    }

    fn cause(&self) -> u8 {
        let on = |bit: u8| self.ier & bit != 0;
        if self.overrun && on(enable::LINE) {
            cause::LINE
        } else if !self.receiver.is_empty() && on(enable::RECEIVED) {
            if !self.fifos || self.receiver.len() >= self.trigger {
                cause::RECEIVED
            } else {
                cause::TIMEOUT
            }
        } else if self.ran_empty && on(enable::EMPTY) {
            cause::EMPTY
        } else if self.changes != 0 && on(enable::MODEM) {
            cause::MODEM
        } else {
            cause::NONE
        }
    }

    /// Reading the identification notices an empty transmitter, if that is what it shows.
    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == cause::EMPTY {
            self.ran_empty = false;
        }
        if self.fifos {
            cause | cause::FIFOS_ON
        } else {
            cause
        }
    }

    fn line_status(&mut self) -> u8 {
        let mut value = 0;
        if !self.receiver.is_empty() {
            value |= line_status::READY;
        }
        if self.transmitter.is_empty() {
            value |= line_status::EMPTY;
        }
        if core::mem::take(&mut self.overrun) {
            value |= line_status::OVERRUN;
        }
        value
    }

    fn send(&mut self, byte: u8) {
        self.ran_empty = false;
        if self.loops() {
            self.loop_back(byte);
            self.ran_empty = self.transmitter.is_empty();
        } else if self.transmitter.len() < self.depth() {
            self.transmitter.push(byte);
        }
    }

    /// Without room, a FIFO keeps what it has and the byte is lost; the single register takes the new one.
    fn loop_back(&mut self, byte: u8) {
        if self.receiver.len() >= self.depth() {
            self.overrun = true;
            if self.fifos {
                return;
            }
            self.receiver = Fifo::new();
        }
        self.receiver.push(byte);
    }

    /// Enabling the interrupt of an empty transmitter asks for it at once.
    fn enable(&mut self, value: u8) {
        if value & !self.ier & enable::EMPTY != 0 && self.transmitter.is_empty() {
            self.ran_empty = true;
        }
        self.ier = value;
    }

    fn control_fifos(&mut self, value: u8) {
        let on = value & fifo::ENABLE != 0;
        let switched = on != self.fifos;
        self.fifos = on;
        if switched || (on && value & fifo::CLEAR_RECEIVER != 0) {
            self.receiver = Fifo::new();
        }
        if switched || (on && value & fifo::CLEAR_TRANSMITTER != 0) {
            if !self.transmitter.is_empty() {
                self.ran_empty = true;
            }
            self.transmitter = Fifo::new();
        }
        if on {
            self.trigger = [1, 4, 8, 14][usize::from(value >> 6)];
        }
    }

    fn control_modem(&mut self, value: u8) {
        let before = self.modem_lines();
        self.mcr = value;
        let after = self.modem_lines();
        let mut changes = (before ^ after) >> 4;
        if after & modem_status::RING != 0 {
            changes &= !modem_status::RING_ENDED;
        }
        self.changes |= changes;
    }

    /// Bits 4 to 7 of the modem status register: the line's, or in loopback our own outputs.
    fn modem_lines(&self) -> u8 {
        if !self.loops() {
            return CONNECTED;
        }
        let wires = [
            (modem_control::RTS, modem_status::CTS),
            (modem_control::DTR, modem_status::DSR),
            (modem_control::OUT1, modem_status::RING),
            (modem_control::OUT2, modem_status::DCD),
        ];
        wires
            .iter()
            .filter(|(output, _)| self.mcr & output != 0)
            .fold(0, |lines, (_, input)| lines | input)
            & modem_status::LINES
    }
}

/// A ring of [`DEPTH`] bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fifo {
    bytes: [u8; DEPTH],
    first: usize,
    len: usize,
}

impl Fifo {
    const fn new() -> Self {
        Self {
            bytes: [0; DEPTH],
            first: 0,
            len: 0,
        }
    }

    const fn len(&self) -> usize {
        self.len
    }

    const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, byte: u8) -> bool {
        if self.len == DEPTH {
            return false;
        }
        self.bytes[(self.first + self.len) % DEPTH] = byte;
        self.len += 1;
        true
    }

    fn pop(&mut self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let byte = self.bytes[self.first];
        self.first = (self.first + 1) % DEPTH;
        self.len -= 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IER: u8 = register::IER;
    const IIR: u8 = register::IIR_FCR;

    fn with_fifos() -> Uart {
        let mut uart = Uart::new();
        uart.write(IIR, 0x07);
        uart
    }

    #[test]
    fn linux_takes_it_for_a_16550a() {
        let mut uart = Uart::new();
        for (written, expected) in [(0x00, 0x00), (0xff, 0x0f)] {
            uart.write(IER, written);
            assert_eq!(uart.read(IER), expected);
        }
        uart.write(IER, 0);
        uart.write(register::MCR, 0x1a);
        assert_eq!(uart.read(register::MSR) & 0xf0, 0x90);
        uart.write(register::MCR, 0);
        uart.write(IIR, 0x01);
        assert_eq!(uart.read(IIR) >> 6, 3);
        // Not one of its successors: their extra register behind the divisor latch reads as the identification.
        uart.write(register::LCR, 0xbf);
        assert_ne!(uart.read(IIR), 0);
        uart.write(register::LCR, 0x80);
        uart.write(IIR, 0x21);
        assert_eq!(uart.read(IIR) >> 5, 6);
    }

    #[test]
    fn enabling_the_empty_interrupt_asks_at_once_and_reading_its_identification_ends_it() {
        let mut uart = Uart::new();
        for _ in 0..2 {
            uart.write(IER, enable::EMPTY);
            assert!(uart.interrupt());
            assert_eq!(uart.read(IIR), cause::EMPTY);
            assert!(!uart.interrupt());
            assert_eq!(uart.read(IIR), cause::NONE);
            uart.write(IER, 0);
        }
    }

    #[test]
    fn an_empty_interrupt_comes_back_when_what_was_written_is_sent() {
        let mut uart = with_fifos();
        uart.write(IER, enable::EMPTY);
        uart.read(IIR);
        uart.write(0, b'a');
        uart.write(0, b'b');
        assert!(!uart.interrupt());
        assert_eq!(uart.read(register::LSR) & line_status::EMPTY, 0);
        assert_eq!(uart.transmit(), Some(b'a'));
        assert!(!uart.interrupt());
        assert_eq!(uart.transmit(), Some(b'b'));
        assert!(uart.interrupt());
        assert_eq!(
            uart.read(register::LSR) & line_status::EMPTY,
            line_status::EMPTY
        );
    }

    #[test]
    fn received_data_outranks_the_empty_transmitter_and_line_errors_outrank_both() {
        let mut uart = with_fifos();
        uart.write(IER, enable::ALL);
        uart.write(register::MCR, modem_control::LOOP);
        for byte in 0..17 {
            uart.write(0, byte);
        }
        assert_eq!(uart.read(IIR) & 0x0f, cause::LINE);
        assert_ne!(uart.read(register::LSR) & line_status::OVERRUN, 0);
        assert_eq!(uart.read(IIR) & 0x0f, cause::RECEIVED);
        for byte in 0..16 {
            assert_eq!(uart.read(0), byte);
        }
        assert_eq!(uart.read(IIR) & 0x0f, cause::EMPTY);
        assert_eq!(uart.read(IIR) & 0x0f, cause::MODEM);
        uart.read(register::MSR);
        assert_eq!(uart.read(IIR) & 0x0f, cause::NONE);
    }

    #[test]
    fn below_the_trigger_the_receiver_reports_its_time_out() {
        let mut uart = Uart::new();
        uart.write(IIR, 0x41);
        uart.write(IER, enable::RECEIVED);
        for byte in 0..3 {
            assert!(uart.receive(byte));
            assert_eq!(uart.read(IIR) & 0x0f, cause::TIMEOUT);
        }
        assert!(uart.receive(3));
        assert_eq!(uart.read(IIR) & 0x0f, cause::RECEIVED);
    }

    #[test]
    fn clearing_or_switching_the_fifos_drops_what_they_hold() {
        let mut uart = with_fifos();
        assert!(uart.receive(1));
        uart.write(IIR, 0x03);
        assert_eq!(uart.read(register::LSR) & line_status::READY, 0);
        assert!(uart.receive(1));
        uart.write(IIR, 0);
        assert_eq!(uart.read(register::LSR) & line_status::READY, 0);
        assert_eq!(uart.read(IIR), cause::NONE);
        assert!(uart.receive(1));
        assert!(!uart.receive(2));
    }

    #[test]
    fn without_fifos_an_overrun_replaces_the_byte() {
        let mut uart = Uart::new();
        uart.write(register::MCR, modem_control::LOOP);
        uart.write(0, b'a');
        uart.write(0, b'b');
        assert_eq!(uart.read(register::LSR) & 0x03, 0x03);
        assert_eq!(uart.read(0), b'b');
    }

    #[test]
    fn the_end_of_a_ring_is_a_change_and_its_start_is_not() {
        let mut uart = Uart::new();
        uart.write(register::MCR, modem_control::LOOP);
        uart.read(register::MSR);
        uart.write(register::MCR, modem_control::LOOP | modem_control::OUT1);
        assert_eq!(uart.read(register::MSR), 0x40);
        uart.write(register::MCR, modem_control::LOOP);
        assert_eq!(uart.read(register::MSR), 0x04);
    }

    #[test]
    fn the_divisor_latch_hides_data_and_enables() {
        let mut uart = Uart::new();
        uart.write(register::LCR, 0x83);
        uart.write(0, 0x34);
        uart.write(1, 0x12);
        assert_eq!([uart.read(0), uart.read(1)], [0x34, 0x12]);
        uart.write(register::LCR, 0x03);
        assert_eq!(uart.read(IER), 0);
        assert!(!uart.wants_to_send());
    }

    proptest! {
        #[test]
        fn no_received_byte_is_lost_or_reordered(steps in proptest::collection::vec((0u8..4, any::<u8>()), 0..500)) {
            let mut uart = with_fifos();
            let (mut given, mut taken) = (Vec::new(), Vec::new());
            for (what, byte) in steps {
                match what {
                    0 | 1 => {
                        let room = uart.has_room();
                        prop_assert_eq!(uart.receive(byte), room);
                        if room {
                            given.push(byte);
                        }
                    }
                    2 if uart.read(register::LSR) & 1 != 0 => taken.push(uart.read(0)),
                    2 => prop_assert_eq!(given.len(), taken.len()),
                    _ => { uart.write(IIR, 0x01 | (byte & 0xc0)); }
                }
                prop_assert!(given.len() - taken.len() <= DEPTH);
                prop_assert_eq!(&given[..taken.len()], &taken[..]);
            }
        }

        #[test]
        fn any_access_keeps_the_interrupt_in_step_with_its_identification(
            steps in proptest::collection::vec((0u8..4, any::<u8>(), any::<u8>()), 0..500),
        ) {
            let mut uart = Uart::new();
            for (what, offset, value) in steps {
                match what {
                    0 => { uart.read(offset); }
                    1 => uart.write(offset, value),
                    2 => { let _ = uart.receive(value); }
                    _ => { uart.transmit(); }
                }
                let line = uart.interrupt();
                let enabled = uart.ier != 0;
                prop_assert!(!line || enabled);
                let mut copy = uart.clone();
                prop_assert_eq!(copy.read(IIR) & 1 == 0, line);
                prop_assert!(uart.receiver.len() <= DEPTH && uart.transmitter.len() <= DEPTH);
            }
        }
    }
}
