//! The operations that take the kernel longest: how long each takes, and the longest time in it that the kernel does not look
//! whether an interrupt waits. The kernel's measuring build has the stopwatch.

mod capabilities;
mod guests;
mod memory;
mod threads;

use super::{
    kit::{Kit, path, retype},
    report::clock,
};
use bench_root::Summary;
use sel4::{ObjectBlueprint, Result, cap, logging::PLAIN, sys::syscall};

/// log2 of the bytes that the objects of one scene are made of.
const ARENA_BITS: usize = 27;
/// Slots that each scene finds empty.
const SLOTS: usize = 40_000;
/// Most objects that one retype makes.
const FAN_OUT: usize = 256;

/// Memory and slots that are used again for each operation.
struct Stage {
    arena: cap::Untyped,
    first: usize,
}

pub(crate) fn measure(kit: &mut Kit) -> Result<()> {
    let stage = Stage {
        arena: kit.make_sized::<sel4::cap_type::Untyped>(ARENA_BITS)?,
        first: kit.slots(SLOTS),
    };
    memory::measure(&stage)?;
    capabilities::measure(kit, &stage)?;
    threads::measure(kit, &stage)?;
    guests::measure(kit, &stage)
}

impl Stage {
    /// Objects in a row of slots, from the nth on.
    fn make(&self, blueprint: ObjectBlueprint, from: usize, count: usize) -> Result<()> {
        for n in (0..count).step_by(FAN_OUT) {
            let some = FAN_OUT.min(count - n);
            retype(self.arena, &blueprint, self.first + from + n, some)?;
        }
        Ok(())
    }

    /// Slot number n.
    const fn slot(&self, n: usize) -> usize {
        self.first + n
    }

    /// Everything goes.
    fn clear(&self) -> Result<()> {
        path(self.arena).revoke()
    }
}

/// The kernel's longest stretch since it was last asked, by its measuring build; other builds print a line and answer 0.
#[expect(
    unsafe_code,
    reason = "a system call that the library makes without looking at what it answers"
)]
pub(crate) fn longest() -> u64 {
    let answer;
    // SAFETY: the call changes rdi alone, and rcx and r11 as every system call does.
    unsafe {
        core::arch::asm!(
            "syscall",
            in("rdx") syscall::DEBUG_SNAPSHOT,
            inlateout("rdi") 0u64 => answer,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// Carries the operation out and prints its rows: the longest stretch in it, and the whole.
fn watch<T>(name: &str, operation: impl FnOnce() -> Result<T>) -> Result<T> {
    longest();
    let first = clock();
    let done = operation();
    let last = clock();
    let stretch = longest();
    let done = done?;
    log::info!(target: PLAIN, "umbra-bench {name} {}", Summary::of(stretch));
    log::info!(target: PLAIN, "umbra-bench {name}.whole {}", Summary::of(last - first));
    Ok(done)
}
