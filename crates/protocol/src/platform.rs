//! Where the devices of a guest's machine sit: what the device models answer at and what the ACPI and MP tables tell.
//!
//! The places are those of a PC with a PIIX4 bridge, so that kernels which do not ask find them, too.

/// Local APIC's registers, one page (APM vol. 2, 16.3.1: the address after reset).
pub const LOCAL_APIC: u64 = 0xfee0_0000;
/// IOAPIC's registers, one page.
pub const IOAPIC: u64 = 0xfec0_0000;
/// The IOAPIC's identifier.
pub const IOAPIC_ID: u8 = 1;
/// Input pins of the IOAPIC; pin n is global system interrupt n.
pub const IOAPIC_PINS: u8 = 24;
/// The pin that the interval timer's output (IRQ 0) leads to; every other IRQ n leads to pin n.
pub const TIMER_PIN: u8 = 2;
/// HPET's registers, one page.
pub const HPET: u64 = 0xfed0_0000;
/// First I/O port of the power-management block: PM1 events at +0, PM1 control at +4, the PM timer at +8.
pub const PM_BASE: u16 = 0x600;
/// Offset of the PM1 event registers: status (2 bytes), enable (2 bytes).
pub const PM1_EVENT: u16 = 0;
/// Offset of the PM1 control register, 2 bytes.
pub const PM1_CONTROL: u16 = 4;
/// Offset of the PM timer, 4 bytes.
pub const PM_TIMER: u16 = 8;
/// The sleep type of S5 (soft off) in PM1 control.
pub const SLEEP_TYPE_S5: u8 = 0;
/// The system control interrupt: a level, active high.
pub const SCI: u8 = 9;
/// fw_cfg's selector port (2 bytes); its data port is the next one.
pub const FW_CFG: u16 = 0x510;
/// PCI configuration: the address port (4 bytes); the data port is 4 further.
pub const PCI_CONFIG: u16 = 0xcf8;
/// Reset control register of the PCI bridge, 1 byte; bit 2 resets.
pub const RESET_CONTROL: u16 = 0xcf9;
/// System control port A: bit 0 resets, bit 1 is the A20 gate.
pub const PORT_92: u16 = 0x92;
/// First byte of the area where firmware tables are looked for.
pub const FIRMWARE_TABLES: u64 = 0xe_0000;
/// First byte after it.
pub const FIRMWARE_TABLES_END: u64 = 0x10_0000;
/// Memory of the test device (QEMU's `pc-testdev` has it): bytes that keep what is written, and are in no memory map.
pub const TEST_MEMORY: u64 = 0xff00_0000;
/// Bytes of it.
pub const TEST_MEMORY_BYTES: u64 = 64 * 1024;
