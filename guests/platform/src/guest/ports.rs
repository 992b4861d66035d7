//! PCI configuration space, and the system ports.

use guest_rt::port::{inb, inl, inw, outb, outl};
use guest_script::script::Report;

/// The address port reads back; where no device is, data is ones.
pub fn pci(report: &mut Report) {
    const ADDRESS: u16 = 0xcf8;
    const DATA: u16 = 0xcfc;
    let empty = 1 << 31 | 5 << 16 | 31 << 11;
    for address in [empty, empty | 0x3c, 1 << 31] {
        outl(ADDRESS, address);
        report.holds("the address reads back", inl(ADDRESS) == address);
    }
    outl(ADDRESS, empty);
    report.holds("nothing there", inl(DATA) == u32::MAX);
    report.holds("in words", inw(DATA) == 0xffff && inw(DATA + 2) == 0xffff);
    report.holds("in bytes", (0..4).all(|i| inb(DATA + i) == 0xff));
    outl(DATA, 0);
    report.holds("still nothing", inl(DATA) == u32::MAX);
    // Whatever is at bus 0: a number, or nothing.
    let mut found = 0;
    for device in 0..32 {
        outl(ADDRESS, 1 << 31 | device << 11);
        let number = inl(DATA);
        report.holds(
            "a vendor or none",
            number == u32::MAX || number & 0xffff != 0xffff,
        );
        found += u32::from(number != u32::MAX);
    }
    report.holds("not everything answers", found < 32);
    outl(ADDRESS, empty & !(1 << 31));
    report.holds("disabled", inl(DATA) == u32::MAX);
}

/// Ports 0x92, 0x61 and 0x80.
pub fn system(report: &mut Report) {
    let a = inb(0x92);
    outb(0x92, a & !1 | 2);
    report.holds("A20 is on", inb(0x92) & 3 == 2);
    let (mut low, mut high) = (false, false);
    for _ in 0..10_000 {
        if inb(0x61) & 0x10 == 0 {
            low = true;
        } else {
            high = true;
        }
    }
    report.holds("the refresh bit toggles", low && high);
    outb(0x61, inb(0x61) & !3);
    report.holds("gate and speaker off", inb(0x61) & 3 == 0);
    outb(0x61, inb(0x61) & !3 | 1);
    report.holds("gate on", inb(0x61) & 3 == 1);
    // Mode 0: the output is low until the count ends.
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    report.holds("the output is low", inb(0x61) & 0x20 == 0);
    outb(0x43, 0xb0);
    outb(0x42, 2);
    outb(0x42, 0);
    report.holds(
        "and high at the end",
        (0..100_000).any(|_| inb(0x61) & 0x20 != 0),
    );
    for value in [0, 0x55, 0xff] {
        outb(0x80, value);
    }
}
