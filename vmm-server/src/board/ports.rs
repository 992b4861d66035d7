//! Ports of the board.
//!
//! The PC's own devices are eight bits wide: a wider access is one cycle for each byte, as on an ISA bus. Devices with
//! wider registers take an access whole.

use super::interrupts::Driver;
use super::{Board, Ending};
use devices::pci::Effect;
use devices::pic::Register;
use devices::pm;
use devices::test_device::LINES;
use protocol::platform::{FW_CFG, PCI_CONFIG, PM_BASE, RESET_CONTROL};

/// The test device's scratch register, its page-flush port, and its interrupt lines.
const TEST_SCRATCH: u16 = 0xe0;
const TEST_FLUSH: u16 = 0xe4;
const TEST_LINES: u16 = 0x2000;
/// The data port of the firmware configuration device.
const FW_CFG_DATA: u16 = FW_CFG + 1;
/// The data port of PCI configuration.
const PCI_DATA: u16 = PCI_CONFIG + 4;

/// Where a port leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Pic(Register),
    Pit(u8),
    System,
    Post,
    Scratch(u8),
    Flush,
    Line(u8),
    FirmwareSelect,
    FirmwareData,
    Power(u16),
    PciAddress(u8),
    PciData(u8),
}

impl Port {
    const fn from_number(port: u16) -> Option<Self> {
        const POWER_LAST: u16 = PM_BASE + pm::LEN - 1;
        const LINES_LAST: u16 = TEST_LINES + LINES as u16 - 1;
        const PCI_ADDRESS_LAST: u16 = PCI_CONFIG + 3;
        const PCI_DATA_LAST: u16 = PCI_DATA + 3;
        const SCRATCH_LAST: u16 = TEST_SCRATCH + 3;
        const FLUSH_LAST: u16 = TEST_FLUSH + 3;
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
            TEST_SCRATCH..=SCRATCH_LAST => Self::Scratch((port - TEST_SCRATCH) as u8),
            TEST_FLUSH..=FLUSH_LAST => Self::Flush,
            TEST_LINES..=LINES_LAST => Self::Line((port - TEST_LINES) as u8),
            FW_CFG => Self::FirmwareSelect,
            FW_CFG_DATA => Self::FirmwareData,
            PM_BASE..=POWER_LAST => Self::Power(port - PM_BASE),
            PCI_CONFIG..=PCI_ADDRESS_LAST => Self::PciAddress((port - PCI_CONFIG) as u8),
            PCI_DATA..=PCI_DATA_LAST => Self::PciData((port - PCI_DATA) as u8),
            _ => return None,
        })
    }
}

impl Board {
    /// Whether `port` is one of the board's.
    #[must_use]
    pub const fn has(port: u16) -> bool {
        Port::from_number(port).is_some()
    }

    /// Reads `size` (1, 2, 4) bytes of `port`; what is not the board's reads as all ones.
    pub fn read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        match Port::from_number(port) {
            Some(Port::Scratch(offset)) => self.scratch.read(offset, size),
            Some(Port::Power(offset)) => self.timers.read_power(offset, size, now),
            Some(Port::PciData(offset)) => self.pci.read_data(offset, size),
            Some(Port::PciAddress(0)) if size == 4 => self.pci.read_address(),
            _ => (0..size).fold(0, |value, byte| {
                let read = self.read_byte(port.wrapping_add(u16::from(byte)), now);
                value | u32::from(read) << (8 * byte)
            }),
        }
    }

    /// Writes the low `size` (1, 2, 4) bytes of `value`; what is not the board's vanishes.
    pub fn write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        match Port::from_number(port) {
            Some(Port::Scratch(offset)) => self.scratch.write(offset, size, value),
            Some(Port::Power(offset)) => {
                self.timer_written = true;
                if self.timers.write_power(offset, size, value, now) {
                    self.ending = Some(Ending::Off);
                }
                self.advance(now);
            }
            Some(Port::FirmwareSelect) if size == 2 => self.firmware.select(value as u16),
            Some(Port::PciAddress(0)) if size == 4 => self.pci.write_address(value),
            // Nothing on the bus can be written.
            Some(Port::PciData(_)) => {}
            _ => {
                for byte in 0..size {
                    let part = (value >> (8 * byte)) as u8;
                    self.write_byte(port.wrapping_add(u16::from(byte)), part, now);
                }
            }
        }
    }

    fn read_byte(&mut self, port: u16, now: u64) -> u8 {
        match Port::from_number(port) {
            Some(Port::Pic(register)) => {
                self.advance(now);
                self.interrupts.read_pic(register)
            }
            Some(Port::Pit(register)) => self.timers.read_pit(register, now),
            Some(Port::System) => self.timers.read_port61(now),
            Some(Port::Post) => self.post.read(),
            Some(Port::FirmwareData) => self.firmware.read(),
            Some(Port::PciAddress(_)) if port == RESET_CONTROL => self.pci.read_reset(),
            Some(Port::Line(_)) => 0,
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now: u64) {
        match Port::from_number(port) {
            Some(Port::Pic(register)) => {
                self.advance(now);
                self.interrupts.write_pic(register, value);
            }
            Some(Port::Pit(register)) => {
                self.timers.write_pit(register, value, now);
                self.timer_written = true;
                self.advance(now);
            }
            Some(Port::System) => self.timers.write_port61(value, now),
            Some(Port::Post) => self.post.write(value),
            Some(Port::Line(line)) => {
                self.lines.write(line, value);
                self.interrupts.drive_all(Driver::Test, self.lines.levels());
            }
            Some(Port::PciAddress(_)) if port == RESET_CONTROL => {
                let resets = self.pci.write_reset(value) == Effect::Reset;
                self.ending = resets.then_some(Ending::Reset).or(self.ending);
            }
            _ => {}
        }
    }
}
