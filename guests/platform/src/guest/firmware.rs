//! What firmware leaves and tells: fw_cfg, tables of the ACPI and MP specifications, memory sizes in CMOS.
#![allow(unsafe_code)] // reads tables where the firmware put them

use guest_rt::multiboot::upper_memory;
use guest_rt::port::{inb, outb, outw};
use guest_script::script::Report;

/// Selects an item of fw_cfg and reads its first bytes.
fn item<const N: usize>(key: u16) -> [u8; N] {
    outw(0x510, key);
    core::array::from_fn(|_| inb(0x511))
}

/// Signature, memory size, number of processors.
pub fn fw_cfg(report: &mut Report) {
    report.holds("signature", &item::<4>(0) == b"QEMU");
    let memory = u64::from_le_bytes(item(3));
    let upper = upper_memory() + (1 << 20);
    report.holds("memory size", memory >= upper && memory - upper <= 1 << 20);
    report.holds("one processor", u16::from_le_bytes(item(5)) == 1);
    report.holds("the same again", u64::from_le_bytes(item(3)) == memory);
    report.holds(
        "the interface's revision",
        u32::from_le_bytes(item(1)) & 1 != 0,
    );
    let past: [u8; 12] = item(0);
    report.holds("zeros behind an item", past[4..] == [0; 8]);
}

fn byte(address: u64) -> u8 {
    // SAFETY: the first GiB is mapped; where no memory is, a read does no harm.
    unsafe { (address as *const u8).read_volatile() }
}

fn word(address: u64) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|i| byte(address + i as u64)))
}

fn sums_to_zero(address: u64, length: u32) -> bool {
    (0..u64::from(length)).fold(0u8, |sum, i| sum.wrapping_add(byte(address + i))) == 0
}

fn has(address: u64, text: &[u8]) -> bool {
    (address..)
        .zip(text)
        .all(|(at, &expected)| byte(at) == expected)
}

/// The tables are found, whole, and name what is there.
pub fn tables(report: &mut Report) {
    let area = || (0xe_0000u64..0x10_0000).step_by(16);
    let root = area().find(|&at| has(at, b"RSD PTR ") && sums_to_zero(at, 20));
    report.holds("RSDP", root.is_some());
    if let Some(root) = root {
        acpi(report, u64::from(word(root + 16)));
    }
    let pointer =
        area().find(|&at| has(at, b"_MP_") && sums_to_zero(at, 16 * u32::from(byte(at + 8))));
    report.holds("MP floating pointer", pointer.is_some());
    if let Some(pointer) = pointer {
        let table = u64::from(word(pointer + 4));
        report.holds("MP table", has(table, b"PCMP"));
        report.holds(
            "its checksum",
            sums_to_zero(table, word(table + 4) & 0xffff),
        );
        report.holds("the local APIC's address", word(table + 36) == 0xfee0_0000);
    }
}

/// The tables below the root: each whole; MADT and FADT with what the other tests use.
fn acpi(report: &mut Report, root: u64) {
    report.holds(
        "RSDT",
        has(root, b"RSDT") && sums_to_zero(root, word(root + 4)),
    );
    let tables = (root + 36..root + u64::from(word(root + 4))).step_by(4);
    let (mut madt, mut fadt) = (None, None);
    for table in tables.map(|at| u64::from(word(at))) {
        report.holds("a table's checksum", sums_to_zero(table, word(table + 4)));
        if has(table, b"APIC") {
            madt = Some(table);
        } else if has(table, b"FACP") {
            fadt = Some(table);
        }
    }
    report.holds(
        "MADT",
        madt.is_some_and(|madt| word(madt + 36) == 0xfee0_0000),
    );
    if let Some(madt) = madt {
        let end = madt + u64::from(word(madt + 4));
        let mut at = madt + 44;
        let (mut processors, mut controllers, mut overrides) = (0, 0, 0);
        while at < end && byte(at + 1) != 0 {
            match byte(at) {
                0 => processors += word(at + 4) & 1,
                1 => controllers += u32::from(word(at + 4) == 0xfec0_0000),
                // The interval timer: IRQ 0 is input 2.
                2 if byte(at + 3) == 0 => overrides += u32::from(word(at + 4) == 2),
                _ => {}
            }
            at += u64::from(byte(at + 1));
        }
        report.holds(
            "one processor, one IOAPIC, the timer's input",
            [processors, controllers, overrides] == [1, 1, 1],
        );
    }
    report.holds("FADT", fadt.is_some());
    if let Some(fadt) = fadt {
        report.holds("the PM timer's port", word(fadt + 76) == 0x608);
        let dsdt = u64::from(word(fadt + 40));
        report.holds(
            "DSDT",
            has(dsdt, b"DSDT") && sums_to_zero(dsdt, word(dsdt + 4)),
        );
    }
}

/// Memory sizes, and a date.
pub fn cmos(report: &mut Report) {
    let get = |register: u8| {
        outb(0x70, register);
        u64::from(inb(0x71))
    };
    let two = |low: u8| get(low) | get(low + 1) << 8;
    report.holds("640 KiB below 1 MiB", two(0x15) == 640);
    let above_16 = two(0x34) << 16;
    let upper = upper_memory();
    report.holds(
        "memory above 16 MiB",
        (above_16 + (15 << 20)).abs_diff(upper) <= 1 << 20,
    );
    report.holds(
        "memory above 1 MiB, up to 64 MiB",
        two(0x30) == (upper >> 10).min(0xffff).min(two(0x30)) && two(0x30) >= 15 << 10,
    );
    report.holds("the date is valid", get(0x0d) & 0x80 != 0);
    while get(0x0a) & 0x80 != 0 {}
    let bcd = |value: u64| value >> 4 < 10 && value & 15 < 10;
    report.holds(
        "BCD",
        [0, 2, 4, 7, 8, 9]
            .into_iter()
            .all(|register| bcd(get(register))),
    );
    report.holds("a month", (1..=0x12).contains(&get(8)));
    outb(0x70, 0x72);
    outb(0x71, 0x5a);
    report.holds("memory of its own", get(0x72) == 0x5a);
}
