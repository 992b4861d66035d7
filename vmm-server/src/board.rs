//! The devices that are functions of the TSC and of interrupt lines: the interrupt controllers, the interval timer, port
//! 0x61 and the POST latch, at the ports a PC has them.
//!
//! Always: time comes in as the host's TSC; [`Board::advance`] brings the controller up to date with the timer, and
//! whoever changes or asks something calls it first. Left to others: every port not in [`Board::read`]'s table, and the
//! deadline of [`Board::next_event`].

use devices::clock::Clock;
use devices::debug_ports::PostCode;
use devices::pic::{PicPair, Register};
use devices::pit::{self, Pit};

/// The timer's interrupt line.
const TIMER_IRQ: u8 = 0;
/// Lines that come from the device server: all but the timer's and the cascade.
const DEVICE_LINES: u16 = !(1 << TIMER_IRQ | 1 << 2);

/// The board.
#[derive(Clone, Debug)]
pub struct Board {
    pic: PicPair,
    pit: Pit,
    clock: Clock,
    post: PostCode,
    lines: u16,
    timer_written: bool,
    interrupt_ended: bool,
}

/// Where a port leads.
#[derive(Clone, Copy)]
enum Port {
    Pic(Register),
    Pit(u8),
    System,
    Post,
}

impl Port {
    const fn from_number(port: u16) -> Option<Self> {
        Some(match port {
            0x20 => Self::Pic(Register::MasterCommand),
            0x21 => Self::Pic(Register::MasterData),
            0xa0 => Self::Pic(Register::SlaveCommand),
            0xa1 => Self::Pic(Register::SlaveData),
            0x4d0 => Self::Pic(Register::MasterElcr),
            0x4d1 => Self::Pic(Register::SlaveElcr),
            0x40..=0x43 => Self::Pit((port - 0x40) as u8),
            0x61 => Self::System,
            0x80 => Self::Post,
            _ => return None,
        })
    }
}

impl Board {
    /// The board at power-on, with a TSC of `tsc_mhz` counts a microsecond that reads `now`.
    #[must_use]
    pub fn new(tsc_mhz: u32, now: u64) -> Self {
        let clock = Clock::new(tsc_mhz, pit::FREQUENCY);
        Self {
            pic: PicPair::new(),
            pit: Pit::new(clock.ticks(now)),
            clock,
            post: PostCode::new(),
            lines: 0,
            timer_written: false,
            interrupt_ended: false,
        }
    }

    /// Whether `port` is one of the board's.
    #[must_use]
    pub const fn has(port: u16) -> bool {
        Port::from_number(port).is_some()
    }

    /// Reads a byte; a port that is not the board's reads as all ones.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        match Port::from_number(port) {
            Some(Port::Pic(register)) => {
                self.advance(now);
                self.pic.read(register)
            }
            Some(Port::Pit(register)) => self.pit.read(register, self.clock.ticks(now)),
            Some(Port::System) => self.pit.port61_read(self.clock.ticks(now)),
            Some(Port::Post) => self.post.read(),
            None => 0xff,
        }
    }

    /// Writes a byte; a write to a port that is not the board's vanishes.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        match Port::from_number(port) {
            Some(Port::Pic(register)) => {
                self.advance(now);
                self.pic.write(register, value);
                // OCW2 of the master with an end-of-interrupt command (8259A data sheet, OCW2).
                self.interrupt_ended |=
                    matches!(register, Register::MasterCommand) && value & 0x38 == 0x20;
            }
            Some(Port::Pit(register)) => {
                self.pit.write(register, value, self.clock.ticks(now));
                self.timer_written = true;
                self.advance(now);
            }
            Some(Port::System) => self.pit.port61_write(value, self.clock.ticks(now)),
            Some(Port::Post) => self.post.write(value),
            None => {}
        }
    }

    /// Whether the timer was written since the last question, so that [`Board::next_event`] may have changed.
    pub const fn take_timer_written(&mut self) -> bool {
        core::mem::replace(&mut self.timer_written, false)
    }

    /// Whether the guest ended an interrupt since the last question.
    pub const fn take_interrupt_ended(&mut self) -> bool {
        core::mem::replace(&mut self.interrupt_ended, false)
    }

    /// Takes over the levels of the device server's interrupt lines.
    pub fn set_lines(&mut self, lines: u16) {
        let lines = lines & DEVICE_LINES;
        let mut changed = lines ^ self.lines;
        self.lines = lines;
        while changed != 0 {
            let irq = changed.trailing_zeros() as u8;
            changed &= changed - 1;
            self.pic.set_line(irq, lines >> irq & 1 != 0);
        }
    }

    /// Tells the interrupt controller what the timer did until `now`.
    pub fn advance(&mut self, now: u64) {
        let ticks = self.clock.ticks(now);
        if self.pit.take_rises(ticks) != 0 {
            self.pic.set_line(TIMER_IRQ, false);
            self.pic.set_line(TIMER_IRQ, true);
        }
        self.pic.set_line(TIMER_IRQ, self.pit.irq0_level(ticks));
    }

    /// The host TSC at which the timer's output rises next.
    #[must_use]
    pub fn next_event(&self, now: u64) -> Option<u64> {
        let edge = self.pit.next_edge(self.clock.ticks(now))?;
        Some(self.clock.tsc_at(edge))
    }

    /// Whether the interrupt controller asks for the processor.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.pic.pending()
    }

    /// The processor's acknowledge cycle: the vector to take.
    pub fn acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MHZ: u32 = 1000;
    const MILLISECOND: u64 = 1_000_000;

    /// A board whose controllers stand at vectors 0x30 and 0x38 with every input open.
    fn board() -> Board {
        let mut board = Board::new(MHZ, 0);
        for (command, base, cascade) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
            board.write(command, 0x11, 0);
            for value in [base, cascade, 1, 0] {
                board.write(command + 1, value, 0);
            }
        }
        board
    }

    /// Channel 0 in mode 2 with 1193 ticks: a millisecond.
    fn start_timer(board: &mut Board, now: u64) {
        for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
            board.write(port, value, now);
        }
    }

    #[test]
    fn the_timer_interrupts_when_its_deadline_comes() {
        let mut board = board();
        start_timer(&mut board, 0);
        let deadline = board.next_event(0).unwrap();
        assert!(deadline.abs_diff(MILLISECOND) < 2000, "{deadline}");
        board.advance(deadline - 2000);
        assert!(!board.pending());
        board.advance(deadline);
        assert!(board.pending());
        assert_eq!(board.acknowledge(), 0x30);
        assert!(board.next_event(deadline).unwrap() > deadline);
    }

    #[test]
    fn ticks_nobody_watched_are_one_interrupt() {
        let mut board = board();
        start_timer(&mut board, 0);
        board.advance(100 * MILLISECOND + 500_000);
        assert_eq!(board.acknowledge(), 0x30);
        board.write(0x20, 0x20, 100 * MILLISECOND + 500_000);
        assert!(!board.pending());
    }

    #[test]
    fn device_lines_reach_both_controllers_and_no_line_is_the_timers() {
        let mut board = board();
        board.set_lines(1 << 4 | 1 << 8 | 1 << 0 | 1 << 2);
        assert_eq!(board.acknowledge(), 0x38);
        board.write(0xa0, 0x20, 0);
        board.write(0x20, 0x20, 0);
        assert_eq!(board.acknowledge(), 0x34);
        board.write(0x20, 0x20, 0);
        assert!(!board.pending());
    }

    #[test]
    fn ports_of_others_are_not_the_boards() {
        for port in [0x60, 0x64, 0x70, 0x3f8, 0xf4, 0xcf8] {
            assert!(!Board::has(port), "{port:#x}");
        }
        assert_eq!(board().read(0x3f8, 0), 0xff);
    }
}
