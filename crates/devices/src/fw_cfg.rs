//! The firmware configuration device of QEMU, by its selector and data ports (QEMU documentation, "QEMU Firmware
//! Configuration (fw_cfg) Device"): what a kernel started without firmware asks it for.
//!
//! Always: an item is read byte by byte from its start; behind its end, and for an item that is not offered, a read is
//! zero. Items cannot be written, and there is no DMA interface.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | any selector, any number of reads | each byte is computed from item and offset; the offset stops at its end |
//! | guest | learns about the host | the items tell the guest's own memory and processor count |
//! | caller | more memory regions than there is room for | the rest is not listed |

/// Selectors.
mod key {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const UUID: u16 = 0x02;
    pub const RAM_SIZE: u16 = 0x03;
    pub const NO_GRAPHIC: u16 = 0x04;
    pub const CPUS: u16 = 0x05;
    pub const MAX_CPUS: u16 = 0x0f;
    pub const DIRECTORY: u16 = 0x19;
    /// The first file: the memory map.
    pub const MEMORY_MAP: u16 = 0x20;
    /// On a PC: whether IRQ 0 leads to IOAPIC pin 2.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
}

/// Bits of a selector that say how to access, not what.
const ACCESS_BITS: u16 = 0x4000;
const SIGNATURE: [u8; 4] = *b"QEMU";
/// The traditional interface, without DMA.
const ID: [u8; 4] = [1, 0, 0, 0];
/// Name of the memory map in the directory; its entries are those of the BIOS's function E820.
const MEMORY_MAP_NAME: &[u8] = b"etc/e820";
/// Bytes of a file's name in the directory.
const NAME_LEN: usize = 56;
/// Bytes of the directory with one file: a count, then size, selector, a reserved word and the name.
const DIRECTORY_LEN: usize = 4 + 4 + 2 + 2 + NAME_LEN;
/// Bytes of an entry of the memory map: base, length, type.
const REGION_LEN: usize = 20;
/// Type of usable memory.
const USABLE: u32 = 1;
/// Most entries of the memory map.
pub const MAX_REGIONS: usize = 4;

/// A piece of usable memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Region {
    /// Its first address.
    pub base: u64,
    /// Its bytes.
    pub len: u64,
}

/// The device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FwCfg {
    regions: [Region; MAX_REGIONS],
    count: usize,
    cpus: u16,
    selected: u16,
    offset: usize,
}

impl FwCfg {
    /// The device of a machine with this usable memory and number of processors; the signature is selected.
    #[must_use]
    pub fn new(memory: &[Region], cpus: u16) -> Self {
        let count = memory.len().min(MAX_REGIONS);
        let mut regions = [Region::default(); MAX_REGIONS];
        regions[..count].copy_from_slice(&memory[..count]);
        Self {
            regions,
            count,
            cpus,
            selected: key::SIGNATURE,
            offset: 0,
        }
    }

    /// Writes the selector (two bytes): the item's first byte is next.
    pub const fn select(&mut self, key: u16) {
        self.selected = key & !ACCESS_BITS;
        self.offset = 0;
    }

    /// Reads the data port: the item's next byte.
    pub fn read(&mut self) -> u8 {
        let byte = self.byte(self.offset);
        // Behind the end every byte is the same, so the offset needs to go no further.
        if byte.is_some() {
            self.offset += 1;
        }
        byte.unwrap_or(0)
    }

    /// A byte of the selected item.
    fn byte(&self, at: usize) -> Option<u8> {
        let bytes = |item: &[u8]| item.get(at).copied();
        match self.selected {
            key::SIGNATURE => bytes(&SIGNATURE),
            key::ID => bytes(&ID),
            key::UUID => bytes(&[0; 16]),
            key::RAM_SIZE => bytes(&self.memory().to_le_bytes()),
            key::NO_GRAPHIC => bytes(&1u16.to_le_bytes()),
            key::CPUS | key::MAX_CPUS => bytes(&self.cpus.to_le_bytes()),
            key::IRQ0_OVERRIDE => bytes(&1u32.to_le_bytes()),
            key::DIRECTORY => bytes(&self.directory()),
            key::MEMORY_MAP => self.map_byte(at),
            _ => None,
        }
    }

    fn regions(&self) -> &[Region] {
        &self.regions[..self.count]
    }

    fn memory(&self) -> u64 {
        self.regions()
            .iter()
            .fold(0, |sum, region| sum.saturating_add(region.len))
    }

    /// The file directory, in big-endian numbers.
    fn directory(&self) -> [u8; DIRECTORY_LEN] {
        let mut bytes = [0; DIRECTORY_LEN];
        let size = (self.count * REGION_LEN) as u32;
        bytes[..4].copy_from_slice(&1u32.to_be_bytes());
        bytes[4..8].copy_from_slice(&size.to_be_bytes());
        bytes[8..10].copy_from_slice(&key::MEMORY_MAP.to_be_bytes());
        bytes[12..12 + MEMORY_MAP_NAME.len()].copy_from_slice(MEMORY_MAP_NAME);
        bytes
    }

    /// A byte of the memory map, whose numbers are little-endian.
    fn map_byte(&self, at: usize) -> Option<u8> {
        let region = self.regions().get(at / REGION_LEN)?;
        Some(match at % REGION_LEN {
            byte @ 0..8 => region.base.to_le_bytes()[byte],
            byte @ 8..16 => region.len.to_le_bytes()[byte - 8],
            byte => USABLE.to_le_bytes()[byte - 16],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn device() -> FwCfg {
        let low = Region {
            base: 0,
            len: 3 << 30,
        };
        let high = Region {
            base: 4 << 30,
            len: 1 << 30,
        };
        FwCfg::new(&[low, high], 2)
    }

    fn item<const N: usize>(device: &mut FwCfg, key: u16) -> [u8; N] {
        device.select(key);
        core::array::from_fn(|_| device.read())
    }

    #[test]
    fn a_probe_finds_the_traditional_interface() {
        let mut device = device();
        assert_eq!(item(&mut device, 0), *b"QEMU\0\0");
        assert_eq!(item(&mut device, 1), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn numbers_tell_memory_and_processors() {
        let mut device = device();
        assert_eq!(u64::from_le_bytes(item(&mut device, 3)), 4 << 30);
        assert_eq!(u16::from_le_bytes(item(&mut device, 5)), 2);
        assert_eq!(u16::from_le_bytes(item(&mut device, 0x0f)), 2);
        assert_eq!(u32::from_le_bytes(item(&mut device, 0x8002)), 1);
        assert_eq!(item(&mut device, 2), [0; 16]);
    }

    #[test]
    fn the_directory_leads_to_the_memory_map() {
        let mut device = device();
        let directory: [u8; DIRECTORY_LEN + 1] = item(&mut device, 0x19);
        assert_eq!(directory[..12], [0, 0, 0, 1, 0, 0, 0, 40, 0, 0x20, 0, 0]);
        assert_eq!(directory[12..21], *b"etc/e820\0");
        let map: [u8; 41] = item(&mut device, 0x20);
        let number = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| map[at + byte]));
        assert_eq!([number(0), number(8)], [0, 3 << 30]);
        assert_eq!([number(20), number(28)], [4 << 30, 1 << 30]);
        assert_eq!((map[16], map[36], map[40]), (1, 1, 0));
    }

    #[test]
    fn a_kernel_is_not_offered() {
        let mut device = device();
        for key in [0x08, 0x0b, 0x14, 0x15, 0x17, 0x18, 0x21, 0xffff] {
            assert_eq!(item(&mut device, key), [0; 8], "{key:#x}");
        }
    }

    #[test]
    fn selecting_again_starts_again() {
        let mut device = device();
        assert_eq!(item(&mut device, 0), *b"QE");
        assert_eq!(item(&mut device, 0x4000), *b"QEMU");
    }

    proptest! {
        #[test]
        fn any_accesses_are_answered_and_every_item_ends(
            steps in proptest::collection::vec(proptest::option::of(prop_oneof![any::<u16>(), 0u16..0x30]), 0..300),
        ) {
            let mut device = device();
            for step in steps {
                match step {
                    Some(key) => device.select(key),
                    None => { device.read(); }
                }
            }
            for _ in 0..200 {
                device.read();
            }
            prop_assert_eq!(device.read(), 0);
        }
    }
}
