//! The tables of the MultiProcessor Specification (version 1.4, chapter 4), for kernels that know APICs but not ACPI.

use protocol::platform::{IOAPIC, IOAPIC_ID, LOCAL_APIC, SCI, TIMER_PIN};

use super::{Area, checksum};

/// The specification's revision.
const REVISION: u8 = 4;
/// Versions of the local APIC and the IOAPIC, as their version registers have them.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
/// The only bus.
const ISA: u8 = 0;
/// Every local APIC.
const ALL: u8 = 0xff;
/// Interrupt types (table 4-10).
const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;
/// Interrupt flags (table 4-10): active high, level. Zero is as usual for the bus.
const LEVEL_HIGH: u16 = 0b1101;
/// ISA's interrupts, without the one that cascades the second controller.
const ISA_IRQS: u8 = 16;
const CASCADE: u8 = 2;

/// Writes the floating pointer and the configuration table behind it.
pub fn write(area: &mut Area) {
    const POINTER: u32 = 16;
    let table = area.next(16) + POINTER;
    area.put(16, &pointer(table));
    area.put(16, &configuration());
}

/// 4.1. No feature bytes: there is a configuration table, and the PIC's output leads to the processor directly.
fn pointer(table: u32) -> Vec<u8> {
    let mut pointer = b"_MP_".to_vec();
    pointer.extend(table.to_le_bytes());
    pointer.extend([1, REVISION, 0, 0, 0, 0, 0, 0]);
    pointer[10] = checksum(&pointer);
    pointer
}

/// 4.2.
fn configuration() -> Vec<u8> {
    let entries = entries();
    let body = entries.concat();
    let mut table = b"PCMP".to_vec();
    table.extend((44 + body.len() as u16).to_le_bytes());
    table.extend([REVISION, 0]);
    table.extend(b"UMBRA   PC          ");
    table.extend([0; 6]);
    table.extend((entries.len() as u16).to_le_bytes());
    table.extend((LOCAL_APIC as u32).to_le_bytes());
    table.extend([0; 4]);
    table.extend(body);
    table[7] = checksum(&table);
    table
}

/// 4.3, in the order it demands.
fn entries() -> Vec<Vec<u8>> {
    let mut entries = vec![processor(), bus(), ioapic()];
    for irq in (0..ISA_IRQS).filter(|irq| *irq != CASCADE) {
        let pin = if irq == 0 { TIMER_PIN } else { irq };
        let flags = if irq == SCI { LEVEL_HIGH } else { 0 };
        entries.push(interrupt(3, VECTORED, flags, irq, IOAPIC_ID, pin));
    }
    entries.push(interrupt(4, EXT_INT, 0, 0, ALL, 0));
    entries.push(interrupt(4, NMI, 0, 0, ALL, 1));
    entries
}

/// 4.3.1: enabled, the one that boots; family 15, with an FPU, CMPXCHG8B and an APIC.
fn processor() -> Vec<u8> {
    let mut entry = vec![0, 0, LOCAL_APIC_VERSION, 0b11];
    entry.extend(0xf00_u32.to_le_bytes());
    entry.extend((1_u32 | 1 << 8 | 1 << 9).to_le_bytes());
    entry.extend([0; 8]);
    entry
}

/// 4.3.2.
fn bus() -> Vec<u8> {
    [&[1, ISA][..], b"ISA   "].concat()
}

/// 4.3.3: usable.
fn ioapic() -> Vec<u8> {
    let mut entry = vec![2, IOAPIC_ID, IOAPIC_VERSION, 1];
    entry.extend((IOAPIC as u32).to_le_bytes());
    entry
}

/// 4.3.4 and 4.3.5: an interrupt of the bus at a pin of an IOAPIC (kind 3) or of local APICs (kind 4).
fn interrupt(kind: u8, how: u8, flags: u16, irq: u8, to: u8, pin: u8) -> Vec<u8> {
    let [low, high] = flags.to_le_bytes();
    vec![kind, how, low, high, ISA, irq, to, pin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_and_table_sum_to_zero_and_name_their_sizes() {
        let pointer = pointer(0xf_1000);
        assert_eq!((checksum(&pointer), pointer.len()), (0, 16));
        let table = configuration();
        assert_eq!(checksum(&table), 0);
        assert_eq!(
            usize::from(u16::from_le_bytes([table[4], table[5]])),
            table.len()
        );
        assert_eq!(table.len(), 44 + 20 + 8 * (2 + 15 + 2));
    }

    #[test]
    fn the_timer_has_pin_two_and_nobody_else() {
        let pins: Vec<(u8, u8)> = entries()
            .iter()
            .filter(|entry| entry[0] == 3)
            .map(|entry| (entry[5], entry[7]))
            .collect();
        assert_eq!(pins.iter().filter(|(_, pin)| *pin == 2).count(), 1);
        assert!(pins.contains(&(0, 2)) && pins.contains(&(4, 4)));
    }
}
