//! The memory-type range registers (APM vol. 2, 7.7): kept as a processor keeps them, with its #GPs, and without effect.
//!
//! The memory behind a guest is the host's ordinary memory, and its devices are models, so no memory type that a guest asks
//! for changes what it sees. Kernels want the registers all the same: Xen reads them without looking at CPUID, and Linux
//! switches the page attribute table on only beside them.

/// Capabilities: eight variable ranges, the fixed ranges, write-combining.
const CAPABILITIES: u64 = VARIABLE as u64 | 1 << 8 | 1 << 10;
const VARIABLE: usize = 8;
const FIXED: usize = 11;

/// MTRRcap.
const CAP: u32 = 0xfe;
/// The first pair of PhysBase and PhysMask.
const BASE0: u32 = 0x200;
const LAST_MASK: u32 = BASE0 + 2 * VARIABLE as u32 - 1;
/// MTRRdefType.
const DEF_TYPE: u32 = 0x2ff;
/// The fixed ranges: one register of eight 64 KiB fields, two of 16 KiB fields, eight of 4 KiB fields.
const FIXED_NUMBERS: [u32; FIXED] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
];

/// Memory types (APM vol. 2, table 7-9).
const UNCACHEABLE: u64 = 0;
const WRITE_PROTECT: u64 = 5;
const WRITE_BACK: u64 = 6;
/// The same type in each field of a fixed-range register.
const EVERY_FIELD: u64 = 0x0101_0101_0101_0101;

/// MTRRdefType: the fixed ranges count; the MTRRs count.
const FIXED_ENABLE: u64 = 1 << 10;
const ENABLE: u64 = 1 << 11;
/// PhysMask: the pair counts.
const VALID: u64 = 1 << 11;
/// The hole below 4 GiB where devices are.
const HOLE: u64 = 0xc000_0000;
const HOLE_SIZE: u64 = 0x4000_0000;

/// The registers of one processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mtrrs {
    /// PhysBase and PhysMask of each range.
    variable: [[u64; 2]; VARIABLE],
    fixed: [u64; FIXED],
    default: u64,
}

impl Mtrrs {
    /// As a PC's firmware leaves them on a processor with physical addresses of `width` bits: memory is write-back, the
    /// display's range and the hole for devices uncacheable, the firmware write-protected.
    #[must_use]
    pub const fn after_firmware(width: u8) -> Self {
        let mut fixed = [WRITE_BACK * EVERY_FIELD; FIXED];
        // From 0xa0000: one register of 16 KiB fields.
        fixed[2] = UNCACHEABLE * EVERY_FIELD;
        // From 0xc0000: the 4 KiB fields.
        let mut index = 3;
        while index < FIXED {
            fixed[index] = WRITE_PROTECT * EVERY_FIELD;
            index += 1;
        }
        let mut variable = [[0; 2]; VARIABLE];
        variable[0] = [HOLE | UNCACHEABLE, pages(width) & !(HOLE_SIZE - 1) | VALID];
        Self {
            variable,
            fixed,
            default: ENABLE | FIXED_ENABLE | WRITE_BACK,
        }
    }

    /// RDMSR of `number`; `None`: it is none of these.
    #[must_use]
    pub const fn read(&self, number: u32) -> Option<u64> {
        match number {
            CAP => Some(CAPABILITIES),
            DEF_TYPE => Some(self.default),
            BASE0..=LAST_MASK => {
                let index = (number - BASE0) as usize;
                Some(self.variable[index / 2][index % 2])
            }
            _ => match fixed(number) {
                Some(index) => Some(self.fixed[index]),
                None => None,
            },
        }
    }

    /// WRMSR of `value` to `number` on a processor with physical addresses of `width` bits. Whether it was taken: a register
    /// that is none of these, MTRRcap, a reserved bit and a type that does not exist are refused with #GP.
    #[must_use]
    pub fn write(&mut self, number: u32, value: u64, width: u8) -> bool {
        let (register, allowed) = match number {
            DEF_TYPE => (
                &mut self.default,
                is_type(value & 0xff) && value & !(0xff | FIXED_ENABLE | ENABLE) == 0,
            ),
            BASE0..=LAST_MASK => {
                let index = (number - BASE0) as usize;
                let allowed = if index.is_multiple_of(2) {
                    is_type(value & 0xff) && value & !(0xff | pages(width)) == 0
                } else {
                    value & !(VALID | pages(width)) == 0
                };
                (&mut self.variable[index / 2][index % 2], allowed)
            }
            _ => match fixed(number) {
                Some(index) => (
                    &mut self.fixed[index],
                    value.to_le_bytes().iter().all(|&kind| is_type(kind.into())),
                ),
                None => return false,
            },
        };
        if allowed {
            *register = value;
        }
        allowed
    }
}

/// The page-number bits of a physical address.
const fn pages(width: u8) -> u64 {
    ((1 << width) - 1) & !0xfff
}

/// Which of the fixed-range registers has this number.
const fn fixed(number: u32) -> Option<usize> {
    let mut index = 0;
    while index < FIXED {
        if FIXED_NUMBERS[index] == number {
            return Some(index);
        }
        index += 1;
    }
    None
}

/// UC, WC, WT, WP, WB.
const fn is_type(kind: u64) -> bool {
    matches!(kind, 0 | 1 | 4..=6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: u8 = 40;

    #[test]
    fn firmware_leaves_memory_cached_and_devices_uncached() {
        let mtrrs = Mtrrs::after_firmware(WIDTH);
        assert_eq!(mtrrs.read(0xfe), Some(0x508));
        assert_eq!(mtrrs.read(0x2ff), Some(0xc06));
        assert_eq!(mtrrs.read(0x250), Some(0x0606_0606_0606_0606));
        assert_eq!(mtrrs.read(0x258), Some(0x0606_0606_0606_0606));
        assert_eq!(mtrrs.read(0x259), Some(0));
        assert_eq!(mtrrs.read(0x26f), Some(0x0505_0505_0505_0505));
        assert_eq!(mtrrs.read(0x200), Some(0xc000_0000));
        assert_eq!(mtrrs.read(0x201), Some(0xff_c000_0800));
        assert_eq!(mtrrs.read(0x203), Some(0));
    }

    #[test]
    fn what_firmware_leaves_could_have_been_written() {
        for width in [32, 36, WIDTH] {
            let firmware = Mtrrs::after_firmware(width);
            let mut mtrrs = firmware;
            for number in 0x200..0x300 {
                if let Some(value) = firmware.read(number) {
                    assert!(mtrrs.write(number, value, width), "{number:#x}");
                }
            }
            assert_eq!(mtrrs, firmware);
        }
    }

    #[test]
    fn every_register_keeps_what_it_is_given() {
        let mut mtrrs = Mtrrs::after_firmware(WIDTH);
        for (number, value) in [
            (0x20e, 0x12_3456_7001),
            (0x20f, 0xff_ffff_f800),
            (0x250, 0x0001_0405_0600_0104),
            (0x26f, 0x0605_0401_0006_0504),
            (0x2ff, 0x400),
        ] {
            assert!(mtrrs.write(number, value, WIDTH), "{number:#x}");
            assert_eq!(mtrrs.read(number), Some(value), "{number:#x}");
        }
    }

    #[test]
    fn types_and_bits_that_do_not_exist_are_refused_and_change_nothing() {
        let mut mtrrs = Mtrrs::after_firmware(WIDTH);
        let before = mtrrs;
        for (number, value) in [
            (0x200, 2),
            (0x200, 7),
            (0x200, 0x100),
            (0x200, 1 << 40),
            (0x201, 1),
            (0x201, 0x400),
            (0x201, 1 << 40),
            (0x2ff, 3),
            (0x2ff, 0x100),
            (0x2ff, 0x1000),
            (0x250, 0x0200_0000_0000_0000),
            (0x26c, 0x18),
            (0xfe, 0x508),
            (0x210, 0),
            (0x251, 0),
        ] {
            assert!(!mtrrs.write(number, value, WIDTH), "{number:#x} {value:#x}");
        }
        assert_eq!(mtrrs, before);
        assert_eq!([0x210, 0x251, 0x2fe].map(|n| mtrrs.read(n)), [None; 3]);
    }
}
