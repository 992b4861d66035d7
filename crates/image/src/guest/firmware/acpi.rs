//! ACPI's tables (ACPI 6.5, chapter 5): what finds them, what power management and the interrupt controllers look like.

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;
use protocol::platform::{
    HPET, IOAPIC, IOAPIC_ID, LOCAL_APIC, PM_BASE, PM_TIMER, PM1_CONTROL, PM1_EVENT, RESET_CONTROL,
    SCI, TIMER_PIN,
};

use super::{Area, aml, checksum};
use crate::bytes::put;

const OEM: [u8; 6] = *b"UMBRA ";
const OEM_TABLE: [u8; 8] = *b"UMBRA PC";
const OEM_REVISION: u32 = 1;
/// Bytes of a table's header.
const HEADER: u32 = 36;

/// Bytes of the HPET's registers.
pub const HPET_SIZE: u32 = 0x400;
/// The low half of the HPET's capabilities (IA-PC HPET Specification 1.0a, 2.3.4): Intel's, with legacy replacement, a
/// 64-bit counter, three comparators, revision 1.
const HPET_ID: u32 = 0x8086_a201;
/// Ticks below which a periodic HPET interrupt may be lost.
const HPET_MIN_TICK: u16 = 0x80;

/// MPS INTI flags (5.2.12.5): active high, level.
const LEVEL_HIGH: u16 = 0b1101;
/// The MADT's flag: a pair of 8259s besides.
const PCAT_COMPAT: u32 = 1;

/// IA-PC boot architecture (5.2.9.3): ISA devices, a keyboard controller, no VGA, no MSI.
const BOOT_ARCHITECTURE: u16 = 1 | 1 << 1 | 1 << 2 | 1 << 3;
/// What to write into the reset register: a hard reset of the processor.
const RESET: u8 = 6;
/// Index in CMOS of the century.
const CENTURY: u8 = 0x32;

/// Writes all of them; the root pointer comes first.
pub fn write(area: &mut Area) {
    let root = area.put(16, &rsdp(0, 0));
    let facs = area.put(64, &bytes(&FACS::new()));
    let dsdt = area.put(16, dsdt().as_slice());
    let tables = [
        area.put(16, &fadt(facs, dsdt)),
        area.put(16, madt().as_slice()),
        area.put(16, hpet().as_slice()),
    ];
    let mut rsdt = table(b"RSDT", 1);
    let mut xsdt = table(b"XSDT", 1);
    for address in tables {
        rsdt.append(address);
        xsdt.append(u64::from(address));
    }
    let rsdt = area.put(16, rsdt.as_slice());
    let xsdt = area.put(16, xsdt.as_slice());
    let at = (u64::from(root) - super::TABLES) as usize;
    put(&mut area.bytes, at, &rsdp(rsdt, xsdt));
}

fn table(signature: &[u8; 4], revision: u8) -> Sdt {
    Sdt::new(*signature, HEADER, revision, OEM, OEM_TABLE, OEM_REVISION)
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// 5.2.5.3: with both root tables, since kernels of the nineties know only the first.
fn rsdp(rsdt: u32, xsdt: u32) -> Vec<u8> {
    const FIRST_PART: usize = 20;
    const SIZE: usize = 36;
    let mut rsdp = vec![0; SIZE];
    put(&mut rsdp, 0, b"RSD PTR ");
    put(&mut rsdp, 9, &OEM);
    put(&mut rsdp, 15, &[2]);
    put(&mut rsdp, 16, &rsdt.to_le_bytes());
    put(&mut rsdp, 20, &(SIZE as u32).to_le_bytes());
    put(&mut rsdp, 24, &u64::from(xsdt).to_le_bytes());
    rsdp[8] = checksum(&rsdp[..FIRST_PART]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

fn dsdt() -> Sdt {
    let mut dsdt = table(b"DSDT", 2);
    dsdt.append_slice(&aml::devices());
    dsdt
}

/// 5.2.9. SMI_CMD is zero: the machine is in ACPI mode always.
fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    let port = |offset: u16| u32::from(PM_BASE + offset);
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Desktop)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // No buttons, and no wake-up by the clock, in the fixed registers.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);
    fadt.firmware_ctrl = facs.into();
    fadt.x_firmware_ctrl = u64::from(facs).into();
    fadt.dsdt = dsdt.into();
    fadt.x_dsdt = u64::from(dsdt).into();
    fadt.sci_int = u16::from(SCI).into();
    fadt.pm1a_evt_blk = port(PM1_EVENT).into();
    fadt.pm1a_cnt_blk = port(PM1_CONTROL).into();
    fadt.pm_tmr_blk = port(PM_TIMER).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    fadt.x_pm1a_evt_blk = io(PM_BASE + PM1_EVENT, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = io(PM_BASE + PM1_CONTROL, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = io(PM_BASE + PM_TIMER, 32, AccessSize::DwordAccess);
    // Sleep states of the processor that it does not have (5.2.9: above 100 and 1000 microseconds).
    fadt.p_lvl2_lat = 0xfff.into();
    fadt.p_lvl3_lat = 0xfff.into();
    fadt.century = CENTURY;
    fadt.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fadt.reset_reg = io(RESET_CONTROL, 8, AccessSize::ByteAccess);
    fadt.reset_value = RESET;
    bytes(&fadt.finalize())
}

/// A register at a port.
fn io(port: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(port))
}

/// 5.2.12: one processor, one IOAPIC, the two ISA interrupts that are not as usual, NMI at LINT1.
fn madt() -> Sdt {
    let mut madt = table(b"APIC", 4);
    madt.append(LOCAL_APIC as u32);
    madt.append(PCAT_COMPAT);
    // Processor local APIC: identifiers of processor and APIC, enabled.
    madt.append_slice(&[0, 8, aml::PROCESSOR, 0, 1, 0, 0, 0]);
    // IOAPIC: its interrupts begin at global interrupt 0.
    madt.append_slice(&[1, 12, IOAPIC_ID, 0]);
    madt.append(IOAPIC as u32);
    madt.append(0u32);
    source_override(&mut madt, 0, TIMER_PIN, 0);
    source_override(&mut madt, SCI, SCI, LEVEL_HIGH);
    // Local APIC NMI: all processors, polarity and trigger as usual, LINT1.
    madt.append_slice(&[4, 6, 0xff, 0, 0, 1]);
    madt
}

/// 5.2.12.5: ISA interrupt `irq` is global interrupt `pin`.
fn source_override(madt: &mut Sdt, irq: u8, pin: u8, flags: u16) {
    madt.append_slice(&[2, 10, 0, irq]);
    madt.append(u32::from(pin));
    madt.append(flags);
}

/// IA-PC HPET Specification 1.0a, 3.2.4.
fn hpet() -> Sdt {
    let mut hpet = table(b"HPET", 1);
    hpet.append(HPET_ID);
    hpet.append_slice(&bytes(&GAS::new(
        AddressSpace::SystemMemory,
        64,
        0,
        AccessSize::Undefined,
        HPET,
    )));
    hpet.append(0u8);
    hpet.append(HPET_MIN_TICK);
    hpet.append(0u8);
    hpet
}
