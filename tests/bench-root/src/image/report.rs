//! Readings of the clock, and the lines that say what they came to.

use bench_root::Summary;
use sel4::logging::PLAIN;

/// Measurements of a row, and as many before them that do not count.
pub(crate) const ROUNDS: u64 = 64;
pub(crate) const WARM_UP: u64 = 16;

/// The clock: instructions executed, under `-icount shift=0`.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    #[expect(unsafe_code, reason = "reads a counter")]
    // SAFETY: RDTSC has no effect.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
}

/// What two readings with nothing between them differ by.
#[inline(always)]
pub(crate) fn overhead() -> u64 {
    let first = clock();
    clock() - first
}

/// Measures the operation again and again.
#[inline(always)]
pub(crate) fn repeat(mut operation: impl FnMut()) -> Summary {
    let overhead = overhead();
    let mut summary = Summary::new();
    for n in 0..WARM_UP + ROUNDS {
        let first = clock();
        operation();
        let last = clock();
        if n >= WARM_UP {
            summary.add(first, last, overhead);
        }
    }
    summary
}

/// As [`repeat`], for an operation that fails or needs something done after each.
#[inline(always)]
pub(crate) fn repeat_with<T>(
    mut operation: impl FnMut() -> sel4::Result<T>,
    mut after: impl FnMut() -> sel4::Result<()>,
) -> sel4::Result<Summary> {
    let overhead = overhead();
    let mut summary = Summary::new();
    for n in 0..WARM_UP + ROUNDS {
        let first = clock();
        let done = operation();
        let last = clock();
        done?;
        if n >= WARM_UP {
            summary.add(first, last, overhead);
        }
        after()?;
    }
    Ok(summary)
}

/// One row's line.
#[inline(never)]
pub(crate) fn row(name: &str, summary: Summary) {
    log::info!(target: PLAIN, "umbra-bench {name} {summary}");
}
