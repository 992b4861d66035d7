//! PCI configuration mechanism 1 (PCI Local Bus specification 3.0, 3.2.2.3.2) with a host bridge and nothing else on
//! the bus, and the bridge's reset control register.
//!
//! Always: the bridge is an 82441FX, whose registers read as after reset and cannot be written; every other function
//! reads as all ones, as on a bus where nobody claims the cycle. Only a write of four bytes sets the address.
//!
//! | actor | threat | mitigation |
//! | --- | --- | --- |
//! | guest | scans every bus, device and function | a comparison and a table of 16 numbers an access |
//! | guest | writes configuration | nothing is kept |
//! | guest | resets the machine | an effect for the caller; it concerns that VM alone |

/// Configuration accesses are on.
const ENABLE: u32 = 1 << 31;
/// Bits of the address that say where; the reserved ones do not stick.
const ADDRESS_BITS: u32 = 0x80ff_fffc;
/// Bus, device and function of an address; the bridge's are all zero.
const FUNCTION: u32 = 0x00ff_ff00;
/// Nobody answers.
const NOBODY: u32 = u32::MAX;

/// The first registers of the host bridge after reset (82441FX data sheet, 3.2): identification, command and status,
/// class and revision, header type. All others are zero.
const BRIDGE: [u32; 4] = [0x1237_8086, 0x0280_0006, 0x0600_0002, 0x0000_0000];

/// Reset control register: kind of reset, kept; and the bit whose rise resets (82371AB data sheet, 4.3.1).
const RESET_KIND: u8 = 1 << 1;
const RESET: u8 = 1 << 2;

/// What the caller has to do after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing.
    None,
    /// The reset line was pulled.
    Reset,
}

/// The configuration registers and the reset control register.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pci {
    address: u32,
    reset: u8,
}

impl Pci {
    /// After reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            address: 0,
            reset: 0,
        }
    }

    /// Reads the address register, four bytes; narrower accesses are not its.
    #[must_use]
    pub const fn read_address(&self) -> u32 {
        self.address
    }

    /// Writes the address register, four bytes; narrower accesses are not its.
    pub const fn write_address(&mut self, value: u32) {
        self.address = value & ADDRESS_BITS;
    }

    /// Reads `size` (1, 2, 4) bytes at byte `offset` (0 to 3) of the data register; bytes behind it are all ones.
    #[must_use]
    pub fn read_data(&self, offset: u8, size: u8) -> u32 {
        let register = u64::from(self.register()) | u64::from(NOBODY) << 32;
        crate::cut(size, (register >> (8 * (offset & 3))) as u32)
    }

    /// Reads the reset control register.
    #[must_use]
    pub const fn read_reset(&self) -> u8 {
        self.reset
    }

    /// Writes the reset control register.
    pub const fn write_reset(&mut self, value: u8) -> Effect {
        self.reset = value & RESET_KIND;
        if value & RESET != 0 {
            Effect::Reset
        } else {
            Effect::None
        }
    }

    /// The register the address points at.
    fn register(&self) -> u32 {
        if self.address & ENABLE == 0 || self.address & FUNCTION != 0 {
            return NOBODY;
        }
        let index = (self.address & 0xfc) >> 2;
        BRIDGE.get(index as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pci: &mut Pci, bus: u32, device: u32, function: u32, register: u32) -> u32 {
        pci.write_address(ENABLE | bus << 16 | device << 11 | function << 8 | register);
        pci.read_data(0, 4)
    }

    #[test]
    fn the_address_reads_back_as_a_probe_for_mechanism_1_expects() {
        let mut pci = Pci::new();
        pci.write_address(0x8000_0000);
        assert_eq!(pci.read_address(), 0x8000_0000);
        pci.write_address(u32::MAX);
        assert_eq!(pci.read_address(), 0x80ff_fffc);
    }

    #[test]
    fn a_scan_finds_one_bridge_on_bus_0_and_nobody_else() {
        let mut pci = Pci::new();
        let mut found = Vec::new();
        for bus in 0..256 {
            for device in 0..32 {
                for function in 0..8 {
                    let identification = read(&mut pci, bus, device, function, 0);
                    if identification != u32::MAX {
                        found.push((bus, device, function, identification));
                    }
                }
            }
        }
        assert_eq!(found, [(0, 0, 0, 0x1237_8086)]);
        assert_eq!(read(&mut pci, 0, 0, 0, 8) >> 16, 0x0600);
        // One function, a plain header, no base addresses, no interrupt.
        for register in (0x0c..0x100).step_by(4) {
            assert_eq!(read(&mut pci, 0, 0, 0, register), 0);
        }
    }

    #[test]
    fn parts_of_the_data_register_are_parts_of_the_bridges() {
        let mut pci = Pci::new();
        pci.write_address(ENABLE);
        assert_eq!(pci.read_data(0, 2), 0x8086);
        assert_eq!(pci.read_data(2, 2), 0x1237);
        assert_eq!(pci.read_data(1, 1), 0x80);
        assert_eq!(pci.read_data(3, 2), 0xff12);
        pci.write_address(ENABLE | 0x0a);
        assert_eq!(pci.read_data(2, 2), 0x0600);
    }

    #[test]
    fn switched_off_the_data_register_answers_nobody() {
        let mut pci = Pci::new();
        pci.write_address(0);
        assert_eq!(pci.read_data(0, 4), u32::MAX);
        assert_eq!(pci.read_data(0, 1), 0xff);
    }

    #[test]
    fn the_reset_bit_resets_and_the_kind_is_kept() {
        let mut pci = Pci::new();
        assert_eq!(pci.write_reset(0x02), Effect::None);
        assert_eq!(pci.read_reset(), 0x02);
        assert_eq!(pci.write_reset(0x00), Effect::None);
        assert_eq!(pci.read_reset(), 0x00);
        assert_eq!(pci.write_reset(0x06), Effect::Reset);
        assert_eq!(pci.write_reset(0x0e), Effect::Reset);
    }
}
