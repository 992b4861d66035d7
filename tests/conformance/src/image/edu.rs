//! QEMU's `edu`, a PCI device that interrupts when it is told to: by a message, or by its line, which then stays high until the
//! device is told to lower it.
#![allow(unsafe_code)] // device registers

use super::authority::ports;
use super::kit::{CNODE, Kit, VSPACE, invoke};
use super::report::{Check, done, ensure};
use super::thread::BUFFERS;
use sel4::UntypedDesc;
use sel4_abi::{label, object};

/// Where the register page is shown: the runner's tables reach there.
const REGISTERS: u64 = BUFFERS + 0x10_0000;
const PAGE_BITS: u64 = 12;

/// PCI configuration mechanism 1: an address port and a data port.
const ADDRESS: u64 = 0xcf8;
const DATA: u64 = 0xcfc;
const ENABLE: u64 = 1 << 31;
/// Devices of a bus.
const DEVICES: u64 = 32;

/// Configuration registers (PCI Local Bus Specification 3.0, 6.1 and 6.8.1).
const IDENTITY: u64 = 0x00;
const COMMAND: u64 = 0x04;
const BASE_ADDRESS: u64 = 0x10;
const CAPABILITIES: u64 = 0x34;
const INTERRUPT: u64 = 0x3c;
/// Command: the registers answer; the device may write, which a message is.
const MEMORY: u64 = 1 << 1;
const MASTER: u64 = 1 << 2;
/// Kind of the capability for messages, and its control bits in the upper half of its first word.
const MESSAGES: u64 = 5;
const SENDS: u64 = 1 << 16;
const ADDRESS_OF_64_BITS: u64 = 1 << 23;

/// Vendor and device.
const EDU: u64 = 0x11e8_1234;
/// Its registers.
const RAISE: u64 = 0x60;
const LOWER: u64 = 0x64;
const COPY_FROM: u64 = 0x80;
const COPY_TO: u64 = 0x88;
const COPY_BYTES: u64 = 0x90;
const COPY_COMMAND: u64 = 0x98;
/// The device's own memory, as its copies see it.
const OWN_MEMORY: u32 = 0x4_0000;
/// Copies from the machine's memory to its own, and interrupts when it has.
const COPY_AND_INTERRUPT: u32 = 1 | 4;

/// The device.
#[derive(Clone, Copy)]
pub(crate) struct Edu {
    ports: u64,
    /// Its number on bus 0; as many as there are at most if there is none.
    pub(crate) number: u64,
    /// The IOAPIC's pin that its line leads to.
    pub(crate) pin: u64,
    /// Where its capability for messages is.
    messages: u64,
}

impl Edu {
    /// Whether the machine has one.
    pub(crate) fn is_there(t: &mut Kit) -> Check<bool> {
        Ok(Self::look(t)?.number < DEVICES)
    }

    /// The device, silent, with its registers shown.
    pub(crate) fn new(t: &mut Kit) -> Check<Self> {
        let mut edu = Self::look(t)?;
        ensure!(edu.number < DEVICES);
        // On this machine the line's number, which the firmware wrote there, is that of the IOAPIC's pin.
        edu.pin = edu.config(INTERRUPT)? & 255;
        edu.messages = edu.capability(MESSAGES)?;
        edu.set_config(COMMAND, MEMORY | MASTER)?;
        let page = device_page(t, edu.config(BASE_ADDRESS)? & !15)?;
        let attributes = sel4::VmAttributes::CACHE_DISABLED.into_inner();
        let words = [REGISTERS, 3, attributes];
        done!(invoke(page, label::X86_PAGE_MAP, &words, &[VSPACE]));
        edu.use_line()?;
        Ok(edu)
    }

    /// Looks for it on bus 0.
    fn look(t: &mut Kit) -> Check<Self> {
        let mut edu = Self {
            ports: t.slot(),
            number: 0,
            pin: 0,
            messages: 0,
        };
        done!(ports(ADDRESS, DATA + 3, edu.ports));
        while edu.number < DEVICES && edu.config(IDENTITY)? != EDU {
            edu.number += 1;
        }
        Ok(edu)
    }

    fn select(&self, register: u64) -> Check {
        let address = ENABLE | self.number << 11 | register;
        let words = [ADDRESS, address];
        done!(invoke(self.ports, label::X86_IO_PORT_OUT32, &words, &[]));
        Ok(())
    }

    fn config(&self, register: u64) -> Check<u64> {
        self.select(register)?;
        let answer = invoke(self.ports, label::X86_IO_PORT_IN32, &[DATA], &[]);
        Ok(done!(answer).words[0])
    }

    fn set_config(&self, register: u64, value: u64) -> Check {
        self.select(register)?;
        let words = [DATA, value];
        done!(invoke(self.ports, label::X86_IO_PORT_OUT32, &words, &[]));
        Ok(())
    }

    /// Where the capability of a kind is in the device's list.
    fn capability(&self, kind: u64) -> Check<u64> {
        let mut at = self.config(CAPABILITIES)? & 0xfc;
        loop {
            ensure!(at != 0);
            let head = self.config(at)?;
            if head & 255 == kind {
                return Ok(at);
            }
            at = head >> 8 & 0xfc;
        }
    }

    /// From now on it interrupts by its line, which is low.
    pub(crate) fn use_line(&self) -> Check {
        let head = self.config(self.messages)?;
        self.set_config(self.messages, head & !SENDS)?;
        self.lower();
        Ok(())
    }

    /// From now on it interrupts by a message to the handler of `vector`, as docs/objects/irq.md says.
    pub(crate) fn use_message(&self, vector: u64) -> Check {
        let processor = u64::from(core::arch::x86_64::__cpuid(1).ebx >> 24);
        let (address, data) = (0xfee0_0000 | processor << 12, vector + 0x30);
        let head = self.config(self.messages)?;
        self.set_config(self.messages + 4, address)?;
        if head & ADDRESS_OF_64_BITS != 0 {
            self.set_config(self.messages + 8, 0)?;
            self.set_config(self.messages + 12, data)?;
        } else {
            self.set_config(self.messages + 8, data)?;
        }
        self.set_config(self.messages, head | SENDS)
    }

    /// Interrupts.
    pub(crate) fn raise(&self) {
        self.write(RAISE, 1);
    }

    /// Lets its line go.
    pub(crate) fn lower(&self) {
        self.write(LOWER, u32::MAX);
    }

    /// Interrupts in a tenth of a second, when it has copied the machine's first word to itself.
    pub(crate) fn raise_later(&self) {
        self.write(COPY_FROM, 0);
        self.write(COPY_TO, OWN_MEMORY);
        self.write(COPY_BYTES, 4);
        self.write(COPY_COMMAND, COPY_AND_INTERRUPT);
    }

    fn write(&self, register: u64, value: u32) {
        // SAFETY: `new` has mapped the registers, and nothing else is there; the one command that copies is given a
        // source to read and the device's own memory to write.
        unsafe { ((REGISTERS + register) as *mut u32).write_volatile(value) };
    }
}

/// The frame of a page of device memory: the region around it is halved until only the page is left, because memory is given
/// out from its beginning on.
fn device_page(t: &mut Kit, address: u64) -> Check<u64> {
    let (first, list) = (t.boot.untyped().start(), t.boot.untyped_list());
    let around = |region: &UntypedDesc| {
        region.is_device()
            && address >> region.size_bits() == region.paddr() as u64 >> region.size_bits()
    };
    let n = list.iter().position(around).unwrap_or(list.len());
    ensure!(n < list.len());
    let (mut untyped, size) = ((first + n) as u64, list[n].size_bits() as u64);
    for bits in (PAGE_BITS..size).rev() {
        let halves = t.slots(2);
        let words = [object::UNTYPED, bits, 0, 0, halves, 2];
        done!(invoke(untyped, label::UNTYPED_RETYPE, &words, &[CNODE]));
        untyped = halves + (address >> bits & 1);
    }
    let page = t.slot();
    let words = [object::X86_4K, 0, 0, 0, page, 1];
    done!(invoke(untyped, label::UNTYPED_RETYPE, &words, &[CNODE]));
    Ok(page)
}
