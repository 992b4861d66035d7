//! The measuring build's stopwatch (feature `latency`): the longest stretch of kernel code in which nobody looks whether an
//! interrupt waits. In other builds all of it is nothing.
//!
//! A stretch begins where the processor comes to the kernel, or where a long operation has looked for interrupts and goes on.
//! It ends at the next look, or where the processor leaves for a thread, a guest or idleness.

use core::sync::atomic::{AtomicU64, Ordering};

use super::cpu;

/// Whether this is the measuring build.
pub const MEASURES: bool = cfg!(feature = "latency");

/// Where the present stretch began.
static BEGIN: AtomicU64 = AtomicU64::new(0);
/// The longest since it was last asked for.
static LONGEST: AtomicU64 = AtomicU64::new(0);

/// The processor came to the kernel.
#[inline(always)]
pub fn begin() {
    if MEASURES {
        BEGIN.store(cpu::rdtsc(), Ordering::Relaxed);
    }
}

/// A stretch ends.
#[inline(always)]
pub fn end() {
    if MEASURES {
        let stretch = cpu::rdtsc().wrapping_sub(BEGIN.load(Ordering::Relaxed));
        LONGEST.fetch_max(stretch, Ordering::Relaxed);
    }
}

/// A look whether an interrupt waits: one stretch ends, another begins.
#[inline(always)]
pub fn look() {
    end();
    begin();
}

/// The longest stretch since the last question; 1 at least, which tells the measuring build from others.
pub fn take() -> u64 {
    LONGEST.swap(0, Ordering::Relaxed).max(1)
}
