//! The wiring of a VM's models here: ports, interrupt lines, time.
//!
//! | ports | model | line |
//! | --- | --- | --- |
//! | 0x3f8-0x3ff | serial port, its interrupt gated by OUT2 | 4 |
//! | 0x70, 0x71 | real-time clock | 8 |
//! | 0x60, 0x64, 0x92 | keyboard controller, system control port A | 1, 12 |
//! | 0x80 | POST code | |
//! | 0xf4 | exit port | |
//! | 0x5e0 | marker | |
//!
//! Models are eight bits wide: a wider access is one cycle for each byte, as on an ISA bus. The exit and marker ports
//! take an access whole.

use devices::{
    clock::Clock,
    cut,
    debug_ports::{self, PostCode},
    exit_port,
    ps2_reset::{Controller, Effect},
    rtc::{self, Ram, Rtc},
    uart16550::Uart,
};

/// First port of the serial port.
const UART: u16 = 0x3f8;
const UART_LAST: u16 = UART + 7;
const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
const PS2_DATA: u16 = 0x60;
const PS2_COMMAND: u16 = 0x64;
const PORT_A: u16 = 0x92;
const POST: u16 = 0x80;
const EXIT: u16 = 0xf4;
const MARKER: u16 = 0x5e0;

const LINE_KEYBOARD: u64 = 1 << 1;
const LINE_UART: u64 = 1 << 4;
const LINE_RTC: u64 = 1 << 8;
const LINE_MOUSE: u64 = 1 << 12;

/// What every VM's clock shows at the start: 2026-01-01 00:00:00. The device server has no capability to the machine's
/// own clock, so the date of a run is made up; only the time passed since the start is real.
pub const START_OF_TIME: i64 = 1_767_225_600;

/// What a write led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Write {
    /// Done.
    Done,
    /// No model has the port.
    NoPort,
    /// The exit port was written.
    Exit(u32),
    /// The reset line was pulled.
    Reset,
}

/// A VM's models.
#[derive(Debug)]
pub struct Board {
    /// The serial port; its owner moves bytes in and out.
    pub uart: Uart,
    rtc: Rtc,
    ps2: Controller,
    post: PostCode,
    clock: Clock,
}

impl Board {
    /// The models of a VM with `memory` bytes of RAM, started when the time-stamp counter shows `tsc`.
    #[must_use]
    pub fn new(memory: u64, tsc_mhz: u32, tsc: u64) -> Self {
        let clock = Clock::new(tsc_mhz, rtc::FREQUENCY);
        Self {
            uart: Uart::new(),
            rtc: Rtc::new(START_OF_TIME, clock.ticks(tsc), Ram::contiguous(memory)),
            ps2: Controller::new(),
            post: PostCode::new(),
            clock,
        }
    }

    /// Whether an access to `port` concerns the serial port.
    #[must_use]
    pub const fn is_uart(port: u16) -> bool {
        matches!(port, UART..=UART_LAST)
    }

    /// Reads `size` (1, 2, 4) bytes; `None` if no model has any of them.
    pub fn read(&mut self, port: u16, size: u8, tsc: u64) -> Option<u32> {
        match port {
            EXIT => return Some(exit_port::read()),
            MARKER => return Some(debug_ports::MARKER_READ),
            _ => {}
        }
        let (mut value, mut known) = (0, false);
        for byte in 0..size {
            let read = self.read_byte(port.wrapping_add(u16::from(byte)), tsc);
            known |= read.is_some();
            value |= u32::from(read.unwrap_or(0xff)) << (8 * byte);
        }
        known.then_some(value)
    }

    /// Writes the low `size` (1, 2, 4) bytes of `value`.
    pub fn write(&mut self, port: u16, size: u8, value: u32, tsc: u64) -> Write {
        match port {
            EXIT => return Write::Exit(exit_port::write(size, value)),
            MARKER => return Write::Done,
            _ => {}
        }
        let mut outcome = Write::NoPort;
        for byte in 0..size {
            let part = cut(1, value >> (8 * byte)) as u8;
            match self.write_byte(port.wrapping_add(u16::from(byte)), part, tsc) {
                Write::NoPort => {}
                Write::Done => outcome = Write::Done,
                end => return end,
            }
        }
        outcome
    }

    /// Levels of the interrupt lines, bit n = IRQ n.
    pub fn lines(&mut self, tsc: u64) -> u64 {
        let levels = [
            (LINE_UART, self.uart.interrupt() && self.uart.out2()),
            (LINE_RTC, self.rtc.interrupt(self.clock.ticks(tsc))),
            (LINE_KEYBOARD, self.ps2.keyboard_interrupt()),
            (LINE_MOUSE, self.ps2.mouse_interrupt()),
        ];
        levels
            .iter()
            .filter(|(_, high)| *high)
            .fold(0, |lines, (line, _)| lines | line)
    }

    /// The time-stamp count at which a line rises by itself.
    pub fn next_rise(&mut self, tsc: u64) -> Option<u64> {
        let tick = self.rtc.next_interrupt(self.clock.ticks(tsc))?;
        Some(self.clock.tsc_at(tick))
    }

    fn read_byte(&mut self, port: u16, tsc: u64) -> Option<u8> {
        Some(match port {
            UART..=UART_LAST => self.uart.read((port - UART) as u8),
            // The index register is write-only.
            RTC_INDEX => 0xff,
            RTC_DATA => self.rtc.read_data(self.clock.ticks(tsc)),
            PS2_DATA => self.ps2.read_data(),
            PS2_COMMAND => self.ps2.read_status(),
            PORT_A => self.ps2.read_port_a(),
            POST => self.post.read(),
            _ => return None,
        })
    }

    fn write_byte(&mut self, port: u16, value: u8, tsc: u64) -> Write {
        match port {
            UART..=UART_LAST => self.uart.write((port - UART) as u8, value),
            RTC_INDEX => self.rtc.write_index(value),
            RTC_DATA => self.rtc.write_data(value, self.clock.ticks(tsc)),
            PS2_DATA => return reset(self.ps2.write_data(value)),
            PS2_COMMAND => return reset(self.ps2.write_command(value)),
            PORT_A => return reset(self.ps2.write_port_a(value)),
            POST => self.post.write(value),
            _ => return Write::NoPort,
        }
        Write::Done
    }
}

fn reset(effect: Effect) -> Write {
    match effect {
        Effect::None => Write::Done,
        Effect::Reset => Write::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MHZ: u32 = 1000;

    fn board() -> Board {
        Board::new(64 << 20, MHZ, 0)
    }

    #[test]
    fn each_port_reaches_its_model_and_others_none() {
        let mut board = board();
        assert_eq!(board.write(0x3ff, 1, 0x5a, 0), Write::Done);
        assert_eq!(board.read(0x3ff, 1, 0), Some(0x5a));
        assert_eq!(board.write(0x70, 1, 0x0d, 0), Write::Done);
        assert_eq!(board.read(0x71, 1, 0), Some(0x80));
        assert_eq!(board.read(0x64, 1, 0), Some(0x14));
        assert_eq!(board.read(0xcfc, 4, 0), None);
        assert_eq!(board.write(0xcf8, 4, 0x8000_0000, 0), Write::NoPort);
    }

    #[test]
    fn wide_accesses_are_a_byte_each() {
        let mut board = board();
        assert_eq!(board.write(0x70, 2, 0x5a0f, 0), Write::Done);
        assert_eq!(board.read(0x71, 1, 0), Some(0x5a));
        assert_eq!(board.read(0x71, 2, 0), Some(0xff5a));
    }

    #[test]
    fn the_ends_of_the_machine_are_told_apart() {
        let mut board = board();
        assert_eq!(board.write(0xf4, 4, 0x1234, 0), Write::Exit(0x1234));
        assert_eq!(board.write(0xf4, 1, 0x1234, 0), Write::Exit(0x34));
        assert_eq!(board.write(0x64, 1, 0xfe, 0), Write::Reset);
        assert_eq!(board.write(0x92, 1, 0x01, 0), Write::Reset);
        assert_eq!(board.write(0x5e0, 4, 1, 0), Write::Done);
        assert_eq!(board.write(0x80, 1, 1, 0), Write::Done);
    }

    #[test]
    fn the_serial_interrupt_needs_out2() {
        let mut board = board();
        board.write(0x3f9, 1, 0x02, 0);
        assert_eq!(board.lines(0), 0);
        board.write(0x3fc, 1, 0x08, 0);
        assert_eq!(board.lines(0), 1 << 4);
    }

    #[test]
    fn the_clock_rises_when_it_said_it_would() {
        let mut board = board();
        assert_eq!(board.next_rise(0), None);
        board.write(0x70, 2, 0x420b, 0);
        let at = board.next_rise(0).unwrap();
        assert_eq!(board.lines(at - 1), 0);
        assert_eq!(board.lines(at), 1 << 8);
        assert_eq!(at, 976_563);
    }

    proptest! {
        #[test]
        fn any_access_is_answered(
            steps in proptest::collection::vec((any::<bool>(), prop_oneof![any::<u16>(), 0x3f0u16..0x400, 0x5fu16..0x95], 0u32..3, any::<u32>(), 0u64..1 << 33), 0..200),
        ) {
            let (mut board, mut tsc) = (board(), 0);
            for (write, port, log_size, value, step) in steps {
                tsc += step;
                let size = 1u8 << log_size;
                if write {
                    board.write(port, size, value, tsc);
                } else if let Some(value) = board.read(port, size, tsc) {
                    prop_assert_eq!(value, cut(size, value));
                }
                prop_assert_eq!(board.lines(tsc) & !(LINE_UART | LINE_RTC | LINE_KEYBOARD | LINE_MOUSE), 0);
                if let Some(at) = board.next_rise(tsc) {
                    prop_assert!(at > tsc);
                }
            }
        }
    }
}
