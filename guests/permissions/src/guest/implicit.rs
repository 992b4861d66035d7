//! Accesses that the CPU makes on its own account are a supervisor's at every privilege level, and AC lifts SMAP for none
//! of them that comes from user mode (APM vol. 2, 5.6.5): descriptor tables.
#![allow(unsafe_code)] // a descriptor table in a page that may be a user's

use core::arch::asm;

use guest_rt::cpu::{self, cr};
use guest_rt::gdt;
use guest_rt::tables::{P, PAGE, U, W, frame, store};
use guest_rt::trap::{PF, catch};
use guest_rt::user;
use guest_script::script::Report;
use guest_script::space::{Mode, Space};

use super::rules::Controls;

/// A writable data segment for user mode.
const SEGMENT: u64 = 0x00cf_f300_0000_ffff;
/// User code: `mov fs, di`, then back.
const LOAD_FS: [u8; 8] = [0x66, 0x8e, 0xe7, 0xcd, 0x80, 0x90, 0x90, 0x90];

/// Loads a segment register by way of a local descriptor table in a supervisor's page and in a user's.
pub fn run(report: &mut Report) {
    let mut space = Space::new(Mode::Long);
    let region = space.region();
    let (table, code) = (frame(), frame());
    store(table, SEGMENT);
    store(code, u64::from_le_bytes(LOAD_FS));
    store(region.pte(1), code | P | U);
    let (cr3, cr4) = (cpu::cr3(), cpu::cr4());
    cpu::set_cr3(space.cr3);
    gdt::load_ldt(region.page(0), PAGE as u16 - 1);
    let smaps: &[bool] = if Controls::has_smap() {
        &[false, true]
    } else {
        &[false]
    };
    for &smap in smaps {
        for user_page in [false, true] {
            store(region.pte(0), table | P | W | if user_page { U } else { 0 });
            cpu::invlpg(region.page(0));
            if smap {
                cpu::set_cr4(cr4 | cr::SMAP);
            }
            let refused = smap && user_page;
            // As a supervisor's read (error code 1), whoever loads the register.
            let wanted = if refused {
                Some((PF, 1, region.page(0)))
            } else {
                None
            };
            let got = fault(user::run(region.page(1), 4 | 3, 0).map(|_| ()));
            report.holds("a user's load of a segment register", got == wanted);
            let got = fault(catch(|| load_fs(false)));
            report.holds("a supervisor's load of a segment register", got == wanted);
            if smap {
                // AC lifts SMAP for every access of a supervisor's instruction.
                let got = fault(catch(|| load_fs(true)));
                report.holds("a supervisor's load with AC", got.is_none());
            }
            cpu::set_cr4(cr4);
        }
    }
    gdt::unload_ldt();
    cpu::set_cr3(cr3);
}

fn fault(outcome: Result<(), guest_rt::trap::Trap>) -> Option<(u8, u64, u64)> {
    outcome
        .err()
        .map(|trap| (trap.vector, trap.error, trap.cr2))
}

/// Loads FS with the table's first segment; only EFLAGS.AC differs.
fn load_fs(ac: bool) {
    // SAFETY: FS is not used by compiled code; STAC is reached only where the CPU has it.
    unsafe {
        if ac {
            asm!("stac", "mov fs, {0:e}", "clac", in(reg) 4u32, options(nostack));
        } else {
            asm!("mov fs, {0:e}", in(reg) 4u32, options(nostack));
        }
    }
}
