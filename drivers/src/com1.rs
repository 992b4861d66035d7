//! The driver of the machine's serial port: between its registers and the console's rings.
//!
//! Always: a byte leaves the receiver only when the input ring has room for it; until then it stays in the hardware
//! with the receive interrupt off, so nothing is lost on this side. The transmit interrupt is on exactly while the
//! output ring could not be emptied.

use crate::{Ports, shared::Console};
use core::sync::atomic::Ordering::SeqCst;

const DATA: u8 = 0;
const IER: u8 = 1;
/// Read: interrupt identification; written: FIFO control.
const IIR_FCR: u8 = 2;
const LCR: u8 = 3;
const MCR: u8 = 4;
const LSR: u8 = 5;
const SCRATCH: u8 = 7;

const IER_RECEIVED: u8 = 0x01;
const IER_EMPTY: u8 = 0x02;
const IIR_NONE: u8 = 0x01;
const LCR_DIVISOR: u8 = 0x80;
const LCR_8N1: u8 = 0x03;
/// FIFOs on and cleared, receive interrupt from the first byte.
const FCR_START: u8 = 0x07;
/// DTR, RTS, and OUT2, which lets the interrupt through on a PC.
const MCR_START: u8 = 0x0b;
const LSR_READY: u8 = 0x01;
/// Holding register (FIFO) empty; and the shift register too.
const LSR_EMPTY: u8 = 0x20;
const LSR_IDLE: u8 = 0x40;
/// Divisor of 115200 bits a second.
const DIVISOR: [u8; 2] = [1, 0];
/// Places of the transmit FIFO.
const FIFO: usize = 16;
/// Most causes served in one go. Each round takes a cause away, so only broken hardware gets here.
const MAX_ROUNDS: usize = 4096;

/// What moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Bytes came in for the VM.
    pub received: bool,
    /// Bytes went out, so the output ring has room again.
    pub sent: bool,
}

/// The port.
#[derive(Debug)]
pub struct Com1<P> {
    ports: P,
    enabled: u8,
}

impl<P: Ports> Com1<P> {
    /// Sets the port up for 115200 8N1 with FIFOs. `None` if there is none.
    ///
    /// Switching the FIFOs on clears them, so a byte that came earlier is taken out first.
    pub fn new(mut ports: P, console: &Console) -> Option<Self> {
        ports.write(IER, 0);
        let present = [0x5a, 0xa5].into_iter().all(|pattern| {
            ports.write(SCRATCH, pattern);
            ports.read(SCRATCH) == pattern
        });
        if !present {
            return None;
        }
        ports.write(LCR, LCR_DIVISOR);
        ports.write(DATA, DIVISOR[0]);
        ports.write(IER, DIVISOR[1]);
        ports.write(LCR, LCR_8N1);
        let mut port = Self { ports, enabled: 0 };
        port.receive(console);
        port.ports.write(IIR_FCR, FCR_START);
        port.ports.write(MCR, MCR_START);
        port.enable(IER_RECEIVED);
        Some(port)
    }

    /// Serves the port's interrupt, until the port asks for none: its line must fall, or an edge would be missed.
    pub fn interrupt(&mut self, console: &Console) -> Moved {
        let mut moved = Moved::default();
        for _ in 0..MAX_ROUNDS {
            let none = self.ports.read(IIR_FCR) & IIR_NONE != 0;
            let more = self.transfer(console);
            moved.received |= more.received;
            moved.sent |= more.sent;
            if none {
                break;
            }
        }
        moved
    }

    /// Moves what can be moved and sets the interrupts for the rest.
    pub fn transfer(&mut self, console: &Console) -> Moved {
        let (received, receive_on) = self.receive(console);
        // Until it is known that bytes are left for the interrupt, whoever adds some wakes this thread.
        console.sending.store(false, SeqCst);
        let (sent, left) = self.send(console);
        console.sending.store(left, SeqCst);
        let mut enabled = 0;
        if receive_on {
            enabled |= IER_RECEIVED;
        }
        if left {
            enabled |= IER_EMPTY;
        }
        self.enable(enabled);
        Moved { received, sent }
    }

    /// Everything is out: the output ring is empty and the last bit is on the line.
    pub fn idle(&mut self, console: &Console) -> bool {
        console.output.is_empty() && self.ports.read(LSR) & LSR_IDLE != 0
    }

    /// Whether bytes came, and whether the receive interrupt shall be on.
    fn receive(&mut self, console: &Console) -> (bool, bool) {
        let mut received = false;
        loop {
            if console.input.room() == 0 {
                console.input_waits.store(true, SeqCst);
                // The reader may have made room before it could see the flag.
                if console.input.room() == 0 {
                    return (received, false);
                }
            }
            console.input_waits.store(false, SeqCst);
            if self.ports.read(LSR) & LSR_READY == 0 {
                return (received, true);
            }
            let byte = self.ports.read(DATA);
            // This thread alone fills the ring, and there was room.
            received |= console.input.push(byte);
        }
    }

    /// Whether bytes went, and whether some are left.
    fn send(&mut self, console: &Console) -> (bool, bool) {
        let mut sent = false;
        while !console.output.is_empty() {
            if self.ports.read(LSR) & LSR_EMPTY == 0 {
                return (sent, true);
            }
            for byte in core::iter::from_fn(|| console.output.pop()).take(FIFO) {
                self.ports.write(DATA, byte);
                sent = true;
            }
        }
        (sent, false)
    }

    fn enable(&mut self, interrupts: u8) {
        if self.enabled != interrupts {
            self.ports.write(IER, interrupts);
            self.enabled = interrupts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;
    use devices::uart16550::Uart;

    /// The port is the model; `slow` keeps what is sent in it.
    #[derive(Default)]
    struct Line {
        uart: Uart,
        sent: Vec<u8>,
        slow: bool,
    }

    impl Line {
        fn flow(&mut self) {
            while let Some(byte) = self.uart.transmit() {
                self.sent.push(byte);
            }
        }
    }

    impl Ports for &mut Line {
        fn read(&mut self, offset: u8) -> u8 {
            self.uart.read(offset)
        }
        fn write(&mut self, offset: u8, value: u8) {
            self.uart.write(offset, value);
            if !self.slow {
                self.flow();
            }
        }
    }

    struct Nothing;

    impl Ports for Nothing {
        fn read(&mut self, _: u8) -> u8 {
            0xff
        }
        fn write(&mut self, _: u8, _: u8) {}
    }

    #[test]
    fn a_missing_port_is_noticed() {
        assert!(Com1::new(Nothing, &Shared::new().console).is_none());
    }

    #[test]
    fn a_byte_from_before_the_start_is_kept() {
        let (shared, mut line) = (Shared::new(), Line::default());
        assert!(line.uart.receive(b'!'));
        assert!(Com1::new(&mut line, &shared.console).is_some());
        assert_eq!(shared.console.input.pop(), Some(b'!'));
        assert!(line.uart.has_room());
    }

    #[test]
    fn output_goes_out_and_is_reported() {
        let (shared, mut line) = (Shared::new(), Line::default());
        let mut com1 = Com1::new(&mut line, &shared.console).unwrap();
        for byte in 0..100 {
            assert!(shared.console.output.push(byte));
        }
        assert_eq!(
            com1.transfer(&shared.console),
            Moved {
                received: false,
                sent: true
            }
        );
        assert!(com1.idle(&shared.console));
        assert_eq!(line.sent, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_busy_port_takes_a_fifo_at_a_time_by_interrupt() {
        let (shared, mut line) = (
            Shared::new(),
            Line {
                slow: true,
                ..Line::default()
            },
        );
        let console = &shared.console;
        for byte in 0..40 {
            assert!(console.output.push(byte));
        }
        let mut com1 = Com1::new(&mut line, &shared.console).unwrap();
        com1.transfer(console);
        for left in [24, 8] {
            assert_eq!(console.output.len(), left);
            assert!(console.sending.load(SeqCst));
            assert!(!com1.ports.uart.interrupt());
            com1.ports.flow();
            assert!(com1.ports.uart.interrupt());
            com1.interrupt(console);
        }
        assert!(console.output.is_empty() && !console.sending.load(SeqCst));
        assert!(!com1.idle(console));
        com1.ports.flow();
        com1.interrupt(console);
        assert!(com1.idle(console) && !com1.ports.uart.interrupt());
        assert_eq!(line.sent, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn input_beyond_the_ring_waits_in_the_port_and_nothing_is_lost() {
        let (shared, mut line) = (Shared::new(), Line::default());
        let console = &shared.console;
        let mut com1 = Com1::new(&mut line, &shared.console).unwrap();
        let text: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let (mut given, mut taken) = (0, Vec::new());
        while taken.len() < text.len() {
            while given < text.len() && com1.ports.uart.receive(text[given]) {
                given += 1;
            }
            if com1.ports.uart.interrupt() {
                com1.interrupt(console);
                assert!(!com1.ports.uart.interrupt());
            } else if given == text.len() || !com1.ports.uart.has_room() {
                // The VM's thread wakes this one only if it was told to.
                let waits = console.input_waits.load(SeqCst);
                taken.extend(core::iter::from_fn(|| console.input.pop()).take(700));
                if waits {
                    com1.transfer(console);
                }
            }
        }
        assert_eq!(taken, text);
    }
}
