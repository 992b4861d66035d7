//! Ports: where nothing answers, and strings of bytes.
#![allow(unsafe_code)] // string instructions on buffers

use core::arch::asm;

use guest_rt::console::{DATA, LINE_STATUS, TRANSMITTER_EMPTY};
use guest_rt::port::{inb, inl, inw, outb, outl};
use guest_rt::tables::{P, PAGE, W, boot_root, frame, slot, store};
use guest_rt::trap::{Frame, PF, set_hook};

use super::report::{Hex, Report};

/// Ports that no PC of QEMU's or ours has a device at.
const NO_PORTS: [u16; 3] = [0x1e0, 0x5678, 0xbeec];

/// Reads are all ones, writes vanish.
pub fn bad_port(report: &mut Report) {
    for port in NO_PORTS {
        report.say(format_args!("port {port:#x}"));
        report.is("8 bits", Hex(inb(port).into()), Hex(0xff));
        report.is("16 bits", Hex(inw(port).into()), Hex(0xffff));
        report.is("32 bits", Hex(inl(port).into()), Hex(0xffff_ffff));
        outb(port, 0);
        outl(port, 0);
        report.is("8 bits after a write", Hex(inb(port).into()), Hex(0xff));
    }
    // Wide reads at a byte device's last neighbour: all of it is nothing.
    let mut words = [0u16; 4];
    // SAFETY: fills exactly `words`.
    unsafe {
        asm!("rep insw", in("dx") NO_PORTS[1], inout("rdi") words.as_mut_ptr() => _, inout("rcx") 4u64 => _, options(nostack));
    }
    report.is(
        "words of ones from REP INSW",
        words.iter().filter(|&&word| word == 0xffff).count(),
        4,
    );
}

/// Where `string_io` maps its pages: the root's second entry.
const WINDOW: u64 = 1 << 39;

/// REP OUTS and REP INS: forwards, backwards, with a 32-bit address size, none at all, and over a page that the page-fault
/// handler maps in the middle.
pub fn string_io(report: &mut Report) {
    forwards(b"misbehave string-io: forwards\n");
    backwards(b"\nsdrawkcab :oi-gnirts evahebsim");
    narrow(b"misbehave string-io: 32-bit addresses\n");
    let left = forwards(b"");
    report.is("count left", left, 0);
    let mut status = [0u8; 5];
    // SAFETY: fills exactly `status`.
    unsafe {
        asm!("rep insb", in("dx") LINE_STATUS, inout("rdi") status.as_mut_ptr() => _, inout("rcx") 5u64 => _, options(nostack));
    }
    report.is(
        "REP INSB of the line status",
        status
            .iter()
            .filter(|&&byte| byte & TRANSMITTER_EMPTY != 0)
            .count(),
        5,
    );
    over_a_fault(report);
}

/// The count left in RCX.
fn forwards(text: &[u8]) -> u64 {
    let mut count = text.len() as u64;
    // SAFETY: reads exactly `text`.
    unsafe {
        asm!("rep outsb", in("dx") DATA, inout("rsi") text.as_ptr() => _, inout("rcx") count, options(nostack))
    };
    count
}

fn backwards(text: &[u8]) {
    let last = text.as_ptr().wrapping_add(text.len() - 1);
    // SAFETY: reads exactly `text`, from its end; the direction flag is clear again afterwards.
    unsafe {
        asm!("std", "rep outsb", "cld", in("dx") DATA, inout("rsi") last => _, inout("rcx") text.len() => _, options(nostack));
    }
}

fn narrow(text: &[u8]) {
    // SAFETY: reads exactly `text`, which lies below 4 GiB as all of the image does.
    unsafe {
        asm!(
            ".byte 0x67", "rep outsb",
            in("dx") DATA, inout("rsi") text.as_ptr() => _, inout("rcx") text.len() => _,
            options(nostack),
        );
    }
}

/// The entry that the handler below fills, and what it saw.
static mut DEMAND: Demand = Demand {
    entry: 0,
    value: 0,
    cr2: 0,
    left: 0,
};

struct Demand {
    entry: u64,
    value: u64,
    cr2: u64,
    left: u64,
}

/// Maps the page on demand; the string instruction goes on where it was.
fn on_demand(frame: &mut Frame) -> bool {
    if frame.vector() != PF {
        return false;
    }
    // SAFETY: one CPU; `over_a_fault` does not hold a reference while its string instruction runs.
    unsafe {
        store(DEMAND.entry, DEMAND.value);
        (DEMAND.cr2, DEMAND.left) = (guest_rt::cpu::cr2(), frame.rcx);
    }
    true
}

fn over_a_fault(report: &mut Report) {
    let text = b"misbehave string-io: over a page fault\n";
    let [pdpt, pd, pt, first, second] = [frame(), frame(), frame(), frame(), frame()];
    store(slot(boot_root(), 1), pdpt | P | W);
    store(slot(pdpt, 0), pd | P | W);
    store(slot(pd, 0), pt | P | W);
    store(slot(pt, 0), first | P);
    let before = 17;
    for (i, &byte) in text.iter().enumerate() {
        let at = if i < before {
            first + PAGE - (before - i) as u64
        } else {
            second + (i - before) as u64
        };
        // SAFETY: inside one of the two frames, mapped at their own addresses.
        unsafe { (at as *mut u8).write_volatile(byte) };
    }
    // SAFETY: one CPU, and no fault until the string instruction below.
    unsafe {
        DEMAND = Demand {
            entry: slot(pt, 1),
            value: second | P,
            cr2: 0,
            left: 0,
        }
    };
    set_hook(Some(on_demand));
    let start = WINDOW + PAGE - before as u64;
    // SAFETY: reads `text`'s bytes from the window; its second page appears on demand.
    unsafe {
        asm!("rep outsb", in("dx") DATA, inout("rsi") start => _, inout("rcx") text.len() => _, options(nostack))
    };
    set_hook(None);
    // SAFETY: the handler has run or never will.
    let (cr2, left) = unsafe { (DEMAND.cr2, DEMAND.left) };
    report.holds("the fault was at the second page", cr2 == WINDOW + PAGE);
    report.is(
        "bytes left at the fault",
        left as usize,
        text.len() - before,
    );
}
