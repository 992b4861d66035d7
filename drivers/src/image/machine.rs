//! The machine's registers: ports by capability, the time-stamp counter.
//!
//! A refused port access is a mistake of root-task or of this program, never of a guest; it stops the domain.
#![allow(unsafe_code)] // RDTSC

use device_server::Ports;
use protocol::slots::drivers;
use sel4::cap;

/// Byte registers behind a port capability.
#[derive(Debug)]
pub struct PortRange {
    cap: cap::IOPort,
    first: u16,
}

/// The machine's first serial port.
pub const COM1: PortRange = PortRange {
    cap: cap::IOPort::from_bits(drivers::COM1),
    first: 0x3f8,
};
/// The machine's PIT.
pub const PIT: PortRange = PortRange {
    cap: cap::IOPort::from_bits(drivers::PIT),
    first: 0x40,
};
/// The port that ends the run.
pub const EXIT: PortRange = PortRange {
    cap: cap::IOPort::from_bits(drivers::EXIT),
    first: 0xf4,
};

impl Ports for PortRange {
    fn read(&mut self, offset: u8) -> u8 {
        let port = self.first + u16::from(offset);
        self.cap
            .ioport_in8(port)
            .expect("the capability covers the port")
    }
    fn write(&mut self, offset: u8, value: u8) {
        let port = self.first + u16::from(offset);
        self.cap
            .ioport_out8(port, value)
            .expect("the capability covers the port");
    }
}

/// The time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and the kernel leaves CR4.TSD clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}
