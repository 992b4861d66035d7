//! Accesses to physical addresses where nothing is: reads are all ones, writes vanish.
#![allow(unsafe_code)] // accesses and a call at addresses where no Rust object is

use core::arch::asm;

use guest_rt::tables::{LARGE, P, PAGE, U, W, boot_root, frame, slot, store};
use guest_rt::trap::catch;

use super::report::{End, Hex, Report, Tcg, UD};

/// Nothing is here on a PC: above the memory of any guest that runs this, below the devices at the end of 4 GiB.
const NOWHERE: u64 = 0xd000_0000;

/// Where the pages are mapped: the root's second entry.
const WINDOW: u64 = 1 << 39;

/// Maps two pages of the hole and one of memory behind them at `WINDOW`.
fn map_nowhere() {
    let [pdpt, pd, pt] = [frame(), frame(), frame()];
    store(slot(pt, 0), NOWHERE | P | W);
    store(slot(pt, 1), (NOWHERE + PAGE) | P | W);
    store(slot(pt, 2), frame() | P | W);
    store(slot(pd, 0), pt | P | W);
    store(
        slot(pd, 1),
        (NOWHERE + LARGE) | P | W | guest_rt::tables::PS,
    );
    store(slot(pdpt, 0), pd | P | W | U);
    store(slot(boot_root(), 1), pdpt | P | W | U);
}

/// Fetches all ones, FF FF: an invalid opcode. QEMU's own CPU reads zeros there, `add [rax], al`, and goes on to the end
/// of what is mapped.
pub fn jump_nowhere(report: &mut Report) {
    map_nowhere();
    // So that TCG's zeros end somewhere: the third page is memory of zeros, the fourth is not there.
    let mut scratch = 0u64;
    let outcome = catch(|| {
        // SAFETY: whatever is fetched either faults at once or is `add [rax], al` on `scratch`.
        unsafe { asm!("call {}", in(reg) WINDOW + 0x10, inout("rax") &raw mut scratch => _) };
    });
    if let Err(trap) = outcome {
        let where_it_stopped = if trap.rip == WINDOW + 0x10 {
            "at the address"
        } else {
            "further on"
        };
        report.check("stopped", where_it_stopped, "at the address", Tcg::Differs);
    }
    report.check("jump to no memory", End::from(outcome), UD, Tcg::Differs);
}

/// Reads of every width, writes, and reads again.
pub fn read_nowhere(report: &mut Report) {
    map_nowhere();
    for (what, offset) in [
        ("small page", 0),
        ("over a page's end", PAGE - 3),
        ("large page", LARGE + 0x1234),
    ] {
        let address = WINDOW + offset;
        report.say(format_args!("{what}"));
        for written in [false, true] {
            if written {
                write_all(address);
            }
            for (width, got) in read_all(address) {
                let ones = u64::MAX >> (64 - width);
                report.check(
                    width_name(width, written),
                    Hex(got),
                    Hex(ones),
                    Tcg::Differs,
                );
            }
        }
    }
    instructions(report);
}

/// Instructions that read, change and compare memory, where there is none: what an emulator meets.
fn instructions(report: &mut Report) {
    let (mut zero_extended, mut sign_extended, mut added, mut set, mut exchanged) =
        (0u64, 0u64, 5u64, 0u8, 7u32);
    let mut copied = [0u8; 16];
    let outcome = catch(|| {
        // SAFETY: reads and writes physical addresses where nothing is; `copied` has the 16 bytes that MOVS fills.
        unsafe {
            asm!("movzx {:e}, byte ptr [{}]", out(reg) zero_extended, in(reg) WINDOW + 1, options(nostack));
            asm!("movsx {:e}, word ptr [{}]", out(reg) sign_extended, in(reg) WINDOW + 2, options(nostack));
            asm!("add {}, qword ptr [{}]", inout(reg) added, in(reg) WINDOW + 8, options(nostack));
            asm!("test byte ptr [{}], 0x80", "setnz {}", in(reg) WINDOW + 4, out(reg_byte) set, options(nostack));
            asm!("xchg dword ptr [{}], {:e}", in(reg) WINDOW + 16, inout(reg) exchanged, options(nostack));
            asm!("rep movsb", inout("rsi") WINDOW + 32 => _, inout("rdi") copied.as_mut_ptr() => _, inout("rcx") 16u64 => _, options(nostack));
            asm!("rep stosd", inout("rdi") WINDOW + 64 => _, inout("rcx") 4u64 => _, in("eax") 1, options(nostack));
            asm!("or dword ptr [{}], 1", in(reg) WINDOW + 80, options(nostack));
        }
    });
    report.is("other instructions", End::from(outcome), End::NoFault);
    report.check("movzx", Hex(zero_extended), Hex(0xff), Tcg::Differs);
    report.check("movsx", Hex(sign_extended), Hex(0xffff_ffff), Tcg::Differs);
    report.check("add", Hex(added), Hex(4), Tcg::Differs);
    report.check("test", Hex(set.into()), Hex(1), Tcg::Differs);
    report.check(
        "xchg",
        Hex(exchanged.into()),
        Hex(0xffff_ffff),
        Tcg::Differs,
    );
    report.check(
        "rep movsb",
        copied.iter().filter(|&&byte| byte == 0xff).count(),
        16,
        Tcg::Differs,
    );
}

fn width_name(width: u32, written: bool) -> &'static str {
    match (width, written) {
        (8, false) => "8 bits",
        (16, false) => "16 bits",
        (32, false) => "32 bits",
        (64, false) => "64 bits",
        (8, true) => "8 bits after a write",
        (16, true) => "16 bits after a write",
        (32, true) => "32 bits after a write",
        _ => "64 bits after a write",
    }
}

fn read_all(address: u64) -> [(u32, u64); 4] {
    let (byte, word, double, quad): (u32, u32, u32, u64);
    // SAFETY: `map_nowhere` mapped the address; no Rust object is there.
    unsafe {
        asm!("movzx {:e}, byte ptr [{}]", out(reg) byte, in(reg) address, options(nostack, readonly));
        asm!("movzx {:e}, word ptr [{}]", out(reg) word, in(reg) address, options(nostack, readonly));
        asm!("mov {:e}, dword ptr [{}]", out(reg) double, in(reg) address, options(nostack, readonly));
        asm!("mov {}, qword ptr [{}]", out(reg) quad, in(reg) address, options(nostack, readonly));
    }
    [
        (8, byte.into()),
        (16, word.into()),
        (32, double.into()),
        (64, quad),
    ]
}

fn write_all(address: u64) {
    // SAFETY: as in `read_all`.
    unsafe {
        asm!("mov byte ptr [{}], {}", in(reg) address, in(reg_byte) 0x12u8, options(nostack));
        asm!("mov word ptr [{}], {:x}", in(reg) address, in(reg) 0x1234u32, options(nostack));
        asm!("mov dword ptr [{}], {:e}", in(reg) address, in(reg) 0x1234_5678u32, options(nostack));
        asm!("mov qword ptr [{}], {}", in(reg) address, in(reg) 0x1234_5678_9abc_def0u64, options(nostack));
    }
}
