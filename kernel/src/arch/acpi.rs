//! The one thing ACPI is asked for: where the local APIC and the IOAPICs are (RSDP, then RSDT or XSDT, then MADT).
//!
//! Tables are firmware's: every length is checked, a table that does not fit is as good as none. Valid while the boot
//! tables are loaded. Interrupt source overrides are not applied: whoever asks for an interrupt names pins.

use super::multiboot::{copy_physical, read32};

/// IOAPICs that are kept.
pub const MAX_IOAPICS: usize = 8;
/// Bytes of the header every table begins with.
const HEADER: u64 = 36;
/// Bytes of an RSDP of ACPI 1.0, and of later ones.
const RSDP_SHORT: usize = 20;
const RSDP_LONG: usize = 36;

/// What the tables tell.
pub struct Acpi {
    rsdp: [u8; RSDP_LONG],
    rsdp_bytes: usize,
    /// Physical address of the local APIC's registers.
    pub local_apic: u64,
    /// Physical addresses of the IOAPICs' registers, in the order of the MADT.
    ioapics: [u64; MAX_IOAPICS],
    ioapic_count: usize,
}

impl Acpi {
    /// Finds and reads the tables.
    pub fn read() -> Option<Self> {
        let (rsdp, rsdp_bytes) = find_rsdp()?;
        let mut result = Self {
            rsdp,
            rsdp_bytes,
            local_apic: 0,
            ioapics: [0; MAX_IOAPICS],
            ioapic_count: 0,
        };
        let madt = result.find_table(*b"APIC")?;
        result.read_madt(madt)?;
        Some(result)
    }

    /// The RSDP as found.
    pub fn rsdp(&self) -> &[u8] {
        &self.rsdp[..self.rsdp_bytes]
    }

    /// Physical addresses of the IOAPICs' registers.
    pub fn ioapics(&self) -> &[u64] {
        &self.ioapics[..self.ioapic_count]
    }

    fn find_table(&self, signature: [u8; 4]) -> Option<u64> {
        let xsdt = le(&self.rsdp[24..32]);
        let (root, pointer_bytes) = if self.rsdp_bytes == RSDP_LONG && xsdt != 0 {
            (xsdt, 8)
        } else {
            (le(&self.rsdp[16..20]), 4)
        };
        let end = root + table_length(root)?;
        let mut at = root + HEADER;
        while at + pointer_bytes as u64 <= end {
            let mut pointer = [0; 8];
            copy_physical(at, &mut pointer[..pointer_bytes])?;
            let table = u64::from_le_bytes(pointer);
            if read32(table) == Some(u32::from_le_bytes(signature)) {
                return Some(table);
            }
            at += pointer_bytes as u64;
        }
        None
    }

    fn read_madt(&mut self, madt: u64) -> Option<()> {
        let end = madt + table_length(madt)?;
        self.local_apic = read32(madt + HEADER)?.into();
        let mut at = madt + HEADER + 8;
        while at + 2 <= end {
            let mut head = [0; 2];
            copy_physical(at, &mut head)?;
            let [kind, length] = head;
            if length < 2 {
                return None;
            }
            match kind {
                1 if length >= 12 => self.add_ioapic(read32(at + 4)?.into()),
                5 if length >= 12 => {
                    let mut address = [0; 8];
                    copy_physical(at + 4, &mut address)?;
                    self.local_apic = u64::from_le_bytes(address);
                }
                _ => {}
            }
            at += u64::from(length);
        }
        Some(())
    }

    fn add_ioapic(&mut self, address: u64) {
        if let Some(slot) = self.ioapics.get_mut(self.ioapic_count) {
            *slot = address;
            self.ioapic_count += 1;
        }
    }
}

/// A little-endian number of up to eight bytes.
fn le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A table's length, from its header; at least the header's.
fn table_length(table: u64) -> Option<u64> {
    let length = u64::from(read32(table.checked_add(4)?)?);
    (length >= HEADER).then_some(length)
}

/// The RSDP is on a 16-byte boundary of the extended BIOS data area's first KiB or of 0xe0000..0x100000.
fn find_rsdp() -> Option<([u8; RSDP_LONG], usize)> {
    let mut segment = [0; 2];
    copy_physical(0x40e, &mut segment)?;
    let ebda = u64::from(u16::from_le_bytes(segment)) << 4;
    (ebda..ebda + 1024)
        .step_by(16)
        .chain((0xe_0000..0x10_0000).step_by(16))
        .find_map(rsdp_at)
}

fn rsdp_at(at: u64) -> Option<([u8; RSDP_LONG], usize)> {
    let mut rsdp = [0; RSDP_LONG];
    copy_physical(at, &mut rsdp)?;
    let sums_to_zero =
        |bytes: &[u8]| bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0;
    if &rsdp[..8] != b"RSD PTR " || !sums_to_zero(&rsdp[..RSDP_SHORT]) {
        return None;
    }
    let long = rsdp[15] >= 2 && sums_to_zero(&rsdp);
    Some((rsdp, if long { RSDP_LONG } else { RSDP_SHORT }))
}
