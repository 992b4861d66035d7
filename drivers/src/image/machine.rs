//! The machine's registers: ports by capability, the HPET's page, the time-stamp counter.
//!
//! A refused port access is a mistake of root-task or of this program, never of a guest; it stops the domain.
#![allow(unsafe_code)] // memory-mapped registers and RDTSC

use device_server::{Ports, hpet};
use protocol::{layout, slots::drivers};
use sel4::cap;

/// Bytes of the HPET's register page that are used.
const HPET_SIZE: usize = 0x400;

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

/// The HPET's register page. There is one value of it, made where the domain's information says that the page is there.
#[derive(Debug)]
pub struct HpetPage(());

impl HpetPage {
    /// The page.
    ///
    /// # Safety
    ///
    /// root-task mapped the HPET at `layout::HPET`, uncached, and this is the only value made.
    pub unsafe fn new() -> Self {
        Self(())
    }

    fn register(offset: usize) -> *mut u32 {
        assert!(offset < HPET_SIZE && offset.is_multiple_of(4));
        (layout::HPET as usize + offset) as *mut u32
    }
}

impl hpet::Registers for HpetPage {
    fn read(&mut self, offset: usize) -> u32 {
        // SAFETY: the offset is aligned and inside the page, which is mapped (promise of `new`).
        unsafe { Self::register(offset).read_volatile() }
    }
    fn write(&mut self, offset: usize, value: u32) {
        // SAFETY: as above; the HPET's registers reach no memory.
        unsafe { Self::register(offset).write_volatile(value) }
    }
}

/// The time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and the kernel leaves CR4.TSD clear.
    unsafe { core::arch::x86_64::_rdtsc() }
}
