//! Interrupts as the tests count them, and the windows through which devices are seen.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use guest_rt::port::outb;
use guest_rt::tables::{P, W, boot_root, map};
use guest_rt::trap::{Frame, set_hook};

/// The local APIC's page.
pub const LOCAL_APIC: u64 = 0xfee0_0000;
/// The IOAPIC's page.
pub const IOAPIC: u64 = 0xfec0_0000;
/// The HPET's page.
pub const HPET: u64 = 0xfed0_0000;
/// Memory that answers as a device does: 64 KiB on machines with the test device.
pub const TEST_MEMORY: u64 = 0xff00_0000;

/// Interrupts taken, by vector.
static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
/// The last vectors taken, in order.
static ORDER: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// What a test does in its handler.
static ACTION: AtomicUsize = AtomicUsize::new(0);

/// Maps the devices, closes the old interrupt controllers, and takes interrupts from 32 up.
pub fn init() {
    for page in [LOCAL_APIC, IOAPIC, HPET, TEST_MEMORY, TEST_MEMORY + 0x1000] {
        map(boot_root(), page, page | P | W);
    }
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    set_hook(Some(on_interrupt));
}

fn on_interrupt(frame: &mut Frame) -> bool {
    let vector = frame.vector();
    if vector < 32 && vector != 2 {
        return false;
    }
    COUNTS[usize::from(vector)].fetch_add(1, Relaxed);
    ORDER[TAKEN.fetch_add(1, Relaxed) % ORDER.len()].store(vector.into(), Relaxed);
    let action = ACTION.load(Relaxed);
    if action != 0 {
        #[expect(unsafe_code, reason = "a function's address, kept as a number")]
        // SAFETY: only `with_action` writes it, and only functions of this type.
        let action: fn(u8) = unsafe { core::mem::transmute(action) };
        action(vector);
    } else if vector != 2 && vector != SPURIOUS {
        eoi();
    }
    true
}

/// The spurious vector.
pub const SPURIOUS: u8 = 0xff;

/// Runs `test` with `action` as what its handlers do; it must end its interrupts itself.
pub fn with_action(action: fn(u8), test: impl FnOnce()) {
    ACTION.store(action as usize, Relaxed);
    test();
    ACTION.store(0, Relaxed);
}

/// Interrupts taken so far with this vector.
pub fn count(vector: u8) -> u32 {
    COUNTS[usize::from(vector)].load(Relaxed)
}

/// Forgets the order.
pub fn forget() {
    TAKEN.store(0, Relaxed);
    ORDER.iter().for_each(|vector| vector.store(0, Relaxed));
}

/// The vectors since `forget`, in order, as bytes from the low end.
pub fn order() -> u64 {
    (0..)
        .step_by(8)
        .zip(&ORDER)
        .fold(0, |sum, (shift, vector)| {
            sum | u64::from(vector.load(Relaxed)) << shift
        })
}

/// Lets waiting interrupts in. (Not around a PAUSE: QEMU's own CPU then keeps the shadow of STI.)
#[expect(unsafe_code, reason = "the interrupt flag")]
pub fn open() {
    // SAFETY: every vector has a gate; a handler restores all registers.
    unsafe { core::arch::asm!("sti", "nop", "nop", "nop", "cli") };
}

/// Lets interrupts in until `done`, or for about `ms` milliseconds; whether it was done.
pub fn wait(ms: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = super::time::pm_ticks() + ms * 3580;
    while !done() {
        if super::time::pm_ticks() > end {
            return false;
        }
        open();
    }
    true
}

/// Ends the interrupt in service.
pub fn eoi() {
    write(LOCAL_APIC + 0xb0, 0);
}

/// Reads a device's register of four bytes.
#[expect(unsafe_code, reason = "a device's register")]
pub fn read(address: u64) -> u32 {
    // SAFETY: `init` mapped the page; no Rust object is there.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a device's register.
#[expect(unsafe_code, reason = "a device's register")]
pub fn write(address: u64, value: u32) {
    // SAFETY: as above; no device of this machine writes to memory.
    unsafe { (address as *mut u32).write_volatile(value) }
}
