//! The tables in guest memory, read by an ACPI crate as a guest's kernel would: found in the BIOS area, checksums right,
//! devices where the device models are.
#![allow(unsafe_code)] // The reader's trait is unsafe: it hands out addresses of memory that it was given.

use std::ptr::NonNull;
use std::sync::Arc;

use acpi::fadt::Fadt;
use acpi::madt::{Madt, MadtEntry};
use acpi::{AcpiHandler, AcpiTables, HpetInfo, PhysicalMapping};
use image::guest::{File, Request, load};
use protocol::platform;

/// The first MiBs of a guest, which never moves.
#[derive(Clone)]
struct Memory(Arc<[u8]>);

impl AcpiHandler for Memory {
    unsafe fn map_physical_region<T>(&self, at: usize, size: usize) -> PhysicalMapping<Self, T> {
        assert!(at + size <= self.0.len(), "outside memory: {at:#x}");
        let start = NonNull::from(&self.0[at]).cast();
        // SAFETY: the region lies inside the memory (checked above), which lives as long as `self`, a clone of which the
        // mapping keeps; nobody writes to it.
        unsafe { PhysicalMapping::new(at, start, size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

/// A guest's first MiBs.
fn memory() -> Memory {
    let magic = 0x1bad_b002_u32;
    let flags = 1 << 16;
    let fields = [magic, flags, 0u32.wrapping_sub(magic + flags)];
    let addresses = [0x10_0000_u32, 0x10_0000, 0, 0, 0x10_0000];
    let bytes = fields
        .iter()
        .chain(&addresses)
        .flat_map(|f| f.to_le_bytes());
    let kernel = File {
        name: "kernel".into(),
        bytes: bytes.collect(),
    };
    let loaded = load(&Request {
        kernel: &kernel,
        initrds: &[],
        append: "",
        loads: &[],
        memory: 64 << 20,
    });
    let mut memory = vec![0u8; 2 << 20];
    for piece in loaded.expect("loads").pieces {
        let at = piece.gpa as usize;
        if let Some(place) = memory.get_mut(at..at + piece.bytes.len()) {
            place.copy_from_slice(&piece.bytes);
        }
    }
    Memory(memory.into())
}

fn tables() -> AcpiTables<Memory> {
    // SAFETY: the handler refuses what lies outside its memory.
    unsafe { AcpiTables::search_for_rsdp_bios(memory()) }.expect("found, and the sums are right")
}

#[test]
fn the_power_management_block_is_where_the_model_has_it() {
    let fadt = tables().find_table::<Fadt>().expect("a FADT");
    let event = fadt.pm1a_event_block().expect("PM1a events");
    assert_eq!(event.address, u64::from(platform::PM_BASE));
    let control = fadt.pm1a_control_block().expect("PM1a control");
    assert_eq!(
        control.address,
        u64::from(platform::PM_BASE + platform::PM1_CONTROL)
    );
    let timer = fadt
        .pm_timer_block()
        .expect("readable")
        .expect("a PM timer");
    assert_eq!(
        timer.address,
        u64::from(platform::PM_BASE + platform::PM_TIMER)
    );
    let reset = fadt.reset_register().expect("a reset register");
    assert_eq!(reset.address, u64::from(platform::RESET_CONTROL));
    assert_eq!({ fadt.sci_interrupt }, u16::from(platform::SCI));
    let flags = fadt.flags;
    assert!(flags.pm_timer_is_32_bit() && flags.supports_system_reset_via_fadt());
    assert!(flags.power_button_is_control_method() && !flags.system_is_hw_reduced_acpi());
    let boot = fadt.iapc_boot_arch;
    assert!(boot.motherboard_implements_8042() && boot.dont_probe_vga());
}

#[test]
fn the_interrupt_controllers_are_where_the_models_are() {
    let madt = tables().find_table::<Madt>().expect("a MADT");
    let madt = madt.get();
    assert_eq!(u64::from(madt.local_apic_address), platform::LOCAL_APIC);
    assert!(madt.supports_8259());
    let mut overrides = Vec::new();
    let (mut processors, mut ioapics, mut nmis) = (0, 0, 0);
    for entry in madt.entries() {
        match entry {
            MadtEntry::LocalApic(entry) => {
                assert_eq!((entry.apic_id, { entry.flags }), (0, 1));
                processors += 1;
            }
            MadtEntry::IoApic(entry) => {
                assert_eq!(entry.io_apic_id, platform::IOAPIC_ID);
                assert_eq!(u64::from(entry.io_apic_address), platform::IOAPIC);
                assert_eq!({ entry.global_system_interrupt_base }, 0);
                ioapics += 1;
            }
            MadtEntry::InterruptSourceOverride(entry) => {
                overrides.push((entry.irq, { entry.global_system_interrupt }, {
                    entry.flags
                }));
            }
            MadtEntry::LocalApicNmi(entry) => {
                assert_eq!((entry.processor_id, entry.nmi_line), (0xff, 1));
                nmis += 1;
            }
            _ => panic!("an entry of another kind"),
        }
    }
    assert_eq!((processors, ioapics, nmis), (1, 1, 1));
    assert_eq!(overrides, [(0, 2, 0), (9, 9, 0b1101)]);
}

#[test]
fn the_hpet_is_where_the_model_is() {
    let hpet = HpetInfo::new(&tables()).expect("an HPET table");
    assert_eq!(hpet.base_address as u64, platform::HPET);
    assert!(hpet.main_counter_is_64bits());
}

#[test]
fn the_devices_table_is_whole() {
    let dsdt = tables().dsdt().expect("a DSDT");
    let Memory(memory) = memory();
    let whole = &memory[dsdt.address - 36..dsdt.address + dsdt.length as usize];
    assert_eq!(&whole[..4], b"DSDT");
    assert_eq!(whole.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0);
    for name in [&b"_S5_"[..], b"PCI0", b"_CRS", b"_PRT", b"COM1", b"RTC_"] {
        assert!(whole.windows(4).any(|part| part == name), "{name:?}");
    }
}

#[test]
fn both_root_tables_name_the_same_tables() {
    let Memory(memory) = memory();
    let word =
        |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four")) as usize;
    let rsdp = (0xe_0000..0x10_0000)
        .step_by(16)
        .find(|at| memory[*at..].starts_with(b"RSD PTR "))
        .expect("a root pointer");
    let (rsdt, xsdt) = (word(rsdp + 16), word(rsdp + 24));
    assert_eq!(
        (&memory[rsdt..rsdt + 4], &memory[xsdt..xsdt + 4]),
        (&b"RSDT"[..], &b"XSDT"[..])
    );
    let count = (word(rsdt + 4) - 36) / 4;
    assert_eq!((word(xsdt + 4) - 36) / 8, count);
    let mut signatures = Vec::new();
    for n in 0..count {
        let at = word(rsdt + 36 + 4 * n);
        assert_eq!(word(xsdt + 36 + 8 * n), at);
        signatures.push(memory[at..at + 4].to_vec());
        let sum = memory[at..at + word(at + 4)]
            .iter()
            .fold(0u8, |sum, b| sum.wrapping_add(*b));
        assert_eq!(sum, 0);
    }
    assert_eq!(signatures, [b"FACP", b"APIC", b"HPET"]);
}

#[test]
fn the_multiprocessor_table_is_found_and_sums_to_zero() {
    let Memory(memory) = memory();
    let pointer = (0xf_0000..0x10_0000)
        .step_by(16)
        .find(|at| memory[*at..].starts_with(b"_MP_"))
        .expect("a floating pointer");
    let sum = |from: usize, length: usize| {
        memory[from..from + length]
            .iter()
            .fold(0u8, |sum, b| sum.wrapping_add(*b))
    };
    assert_eq!(sum(pointer, 16), 0);
    let word = |at: usize| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four"));
    let table = word(pointer + 4) as usize;
    assert_eq!(&memory[table..table + 4], b"PCMP");
    let length = usize::from(u16::from_le_bytes([memory[table + 4], memory[table + 5]]));
    assert_eq!(sum(table, length), 0);
    assert_eq!(u64::from(word(table + 36)), platform::LOCAL_APIC);
}
