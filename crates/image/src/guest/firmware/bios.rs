//! The parts of a PC's BIOS that a guest without a BIOS still meets: vectors that lead somewhere, a data area, and the
//! instruction at the reset vector.

use crate::bytes::put;
use crate::guest::layout::LOW_END;

/// Interrupt table (APM vol. 2, 8.6: 256 entries of offset and segment) and BIOS data area.
const FIRST_PAGE: usize = 0x500;
/// Offsets in the BIOS data area, from address zero.
mod data {
    pub const COM1: usize = 0x400;
    pub const EXTENDED: usize = 0x40e;
    pub const BASE_MEMORY: usize = 0x413;
}

/// Bytes of code below 1 MiB, all in segment 0xf000.
pub const CODE_SIZE: usize = 0x100;
const SEGMENT: u16 = 0xf000;
/// Offset of the code's first byte in the segment.
const CODE: u16 = 0xff00;
/// Routines, by their distance from [`CODE`]. The plain one is at f000:ff53, where IBM's BIOS had it.
const RETURN: u16 = 0x53;
const RETURN_IRQ: u16 = 0x00;
const RETURN_SECOND_IRQ: u16 = 0x10;
const RESTART: u16 = 0x60;
/// Where a processor begins after reset, and what old programs jump to (ffff:0).
const RESET_VECTOR: u16 = 0xf0;
/// Behind it: a date and the kind of machine (an AT).
const DATE: usize = 0xf5;
const MODEL: usize = 0xfe;

/// Interrupts of the two interrupt controllers as a BIOS programs them.
const IRQS: std::ops::Range<usize> = 0x08..0x10;
const SECOND_IRQS: std::ops::Range<usize> = 0x70..0x78;

/// From address zero to the end of the BIOS data area.
pub fn first_page() -> Vec<u8> {
    let mut page = vec![0; FIRST_PAGE];
    for vector in 0..256 {
        let routine = match vector {
            v if IRQS.contains(&v) => RETURN_IRQ,
            v if SECOND_IRQS.contains(&v) => RETURN_SECOND_IRQ,
            _ => RETURN,
        };
        put(&mut page, 4 * vector, &(CODE + routine).to_le_bytes());
        put(&mut page, 4 * vector + 2, &SEGMENT.to_le_bytes());
    }
    put(&mut page, data::COM1, &0x3f8_u16.to_le_bytes());
    let extended = (LOW_END >> 4) as u16;
    put(&mut page, data::EXTENDED, &extended.to_le_bytes());
    let kibibytes = (LOW_END >> 10) as u16;
    put(&mut page, data::BASE_MEMORY, &kibibytes.to_le_bytes());
    page
}

/// The extended BIOS data area, up to 640 KiB: its first byte is its size in KiB.
pub fn extended_data_area() -> Vec<u8> {
    let mut area = vec![0; 0xa_0000 - LOW_END as usize];
    area[0] = (area.len() >> 10) as u8;
    area
}

/// The routines.
pub fn code() -> Vec<u8> {
    let mut code = vec![0; CODE_SIZE];
    // iret
    put(&mut code, RETURN.into(), &[0xcf]);
    // push ax; mov al, 0x20; out 0x20, al; pop ax; iret: the interrupt is over for its controller.
    put(
        &mut code,
        RETURN_IRQ.into(),
        &[0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf],
    );
    // The same for both controllers.
    put(
        &mut code,
        RETURN_SECOND_IRQ.into(),
        &[0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf],
    );
    // mov al, 0xfe; out 0x64, al; hlt; jmp to hlt: the keyboard controller resets the machine.
    put(
        &mut code,
        RESTART.into(),
        &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd],
    );
    // jmp far f000:restart
    let [low, high] = (CODE + RESTART).to_le_bytes();
    let [segment_low, segment_high] = SEGMENT.to_le_bytes();
    put(
        &mut code,
        RESET_VECTOR.into(),
        &[0xea, low, high, segment_low, segment_high],
    );
    put(&mut code, DATE, b"01/01/26");
    put(&mut code, MODEL, &[0xfc]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(number: usize) -> usize {
        let page = first_page();
        let half = |at: usize| {
            usize::from(u16::from_le_bytes([
                page[4 * number + at],
                page[4 * number + at + 1],
            ]))
        };
        16 * half(2) + half(0)
    }

    #[test]
    fn every_real_mode_interrupt_leads_to_a_return() {
        let code = code();
        for number in 0..256 {
            let routine = &code[vector(number) - (0x10_0000 - CODE_SIZE)..];
            let end = routine.iter().position(|&byte| byte == 0xcf);
            assert!(end.is_some_and(|end| end < 16), "vector {number:#x}");
        }
        assert_eq!(vector(0x10), 0xf_ff53);
    }

    #[test]
    fn interrupts_of_devices_are_ended_at_their_controllers() {
        let code = code();
        let ends = |number: usize, port: u8| {
            let routine = &code[vector(number) - (0x10_0000 - CODE_SIZE)..][..16];
            routine.windows(2).any(|pair| pair == [0xe6, port])
        };
        assert!(ends(0x08, 0x20) && !ends(0x08, 0xa0));
        assert!(ends(0x74, 0x20) && ends(0x74, 0xa0));
        assert!(!ends(0x10, 0x20));
    }

    #[test]
    fn the_data_area_tells_where_base_memory_ends() {
        let page = first_page();
        assert_eq!(page[0x413..0x415], 639_u16.to_le_bytes());
        assert_eq!(page[0x40e..0x410], 0x9fc0_u16.to_le_bytes());
        assert_eq!(extended_data_area()[0], 1);
    }
}
