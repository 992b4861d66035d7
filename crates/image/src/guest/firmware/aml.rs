//! The devices as ACPI's DSDT names them (ACPI 6.5, chapters 5 and 6): soft off, an empty PCI bus, and the PC's fixed
//! devices with their ports and interrupts.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Memory32Fixed, Name, Package,
    ResourceTemplate, Scope,
};
use acpi_tables::{Aml, AmlSink};
use protocol::platform::{HPET, IOAPIC, PCI_CONFIG, SLEEP_TYPE_S5};

use crate::config::MEMORY_MAX;

/// The one processor's identifier, as in the MADT.
pub const PROCESSOR: u8 = 0;

/// The table's content behind its header.
pub fn devices() -> Vec<u8> {
    let mut aml = Vec::new();
    soft_off(&mut aml);
    Scope::new("\\_SB_".into(), vec![&Machine]).to_aml_bytes(&mut aml);
    aml
}

/// `\_S5`: what to write into PM1 control (7.4.2).
fn soft_off(aml: &mut Vec<u8>) {
    let kind = SLEEP_TYPE_S5;
    Name::new(
        "\\_S5_".into(),
        &Package::new(vec![&kind, &kind, &0u8, &0u8]),
    )
    .to_aml_bytes(aml);
}

/// All devices, in the order they are found.
struct Machine;

impl Aml for Machine {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        processor(sink);
        pci(sink);
        let pic = [
            IO::new(0x20, 0x20, 1, 2),
            IO::new(0xa0, 0xa0, 1, 2),
            IO::new(0x4d0, 0x4d0, 1, 2),
        ];
        let pit = [IO::new(0x40, 0x40, 1, 4)];
        let rtc = [IO::new(0x70, 0x70, 1, 2)];
        let com1 = [IO::new(0x3f8, 0x3f8, 1, 8)];
        isa(sink, "PIC_", "PNP0000", &pic, Irq(2));
        isa(sink, "TIMR", "PNP0100", &pit, Irq(0));
        isa(sink, "RTC_", "PNP0B00", &rtc, Irq(8));
        isa(sink, "COM1", "PNP0501", &com1, Irq(4));
        hpet(sink);
    }
}

fn processor(sink: &mut dyn AmlSink) {
    Device::new(
        "CPU0".into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0007"),
            &Name::new("_UID".into(), &PROCESSOR),
        ],
    )
    .to_aml_bytes(sink);
}

/// The root of bus 0: every port but its own configuration ports, and addresses between memory and the IOAPIC.
fn pci(sink: &mut dyn AmlSink) {
    let config = IO::new(PCI_CONFIG, PCI_CONFIG, 1, 8);
    let bus = AddressSpace::new_bus_number(0u16, 0u16);
    let low_ports = AddressSpace::new_io(0u16, PCI_CONFIG - 1, None);
    let high_ports = AddressSpace::new_io(PCI_CONFIG + 8, 0xffff, None);
    let memory = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        MEMORY_MAX as u32,
        IOAPIC as u32 - 1,
        None,
    );
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&bus, &config, &low_ports, &high_ports, &memory]),
            ),
            &Name::new("_PRT".into(), &Package::new(Vec::new())),
        ],
    )
    .to_aml_bytes(sink);
}

/// A device with ports and one interrupt.
fn isa(sink: &mut dyn AmlSink, name: &str, id: &str, ports: &[IO], irq: Irq) {
    let mut resources: Vec<&dyn Aml> = Vec::new();
    for range in ports {
        resources.push(range);
    }
    resources.push(&irq);
    Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new(id)),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
        ],
    )
    .to_aml_bytes(sink);
}

fn hpet(sink: &mut dyn AmlSink) {
    let registers = Memory32Fixed::new(false, HPET as u32, super::acpi::HPET_SIZE);
    Device::new(
        "HPET".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0103")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&registers])),
        ],
    )
    .to_aml_bytes(sink);
}

/// An ISA interrupt: edge, active high (6.4.2.1, the form without flags).
struct Irq(u8);

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}
