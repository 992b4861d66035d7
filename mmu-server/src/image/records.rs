//! Memory for the engine's page records: a static, handed out once.

#![allow(unsafe_code)] // a static that becomes an exclusive slice

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};
use shadow::PageRecord;

/// Most pool pages used: 32 MiB of shadow. Further pages of a larger pool stay idle.
const MAX_PAGES: usize = 8192;

struct Records(UnsafeCell<[MaybeUninit<PageRecord>; MAX_PAGES]>);

// SAFETY: the cell is reached by `take` alone, which hands it out once.
unsafe impl Sync for Records {}

static RECORDS: Records = Records(UnsafeCell::new(
    [const { MaybeUninit::uninit() }; MAX_PAGES],
));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Records for a pool of `pages`, the first time it is called.
pub fn take(pages: u64) -> Option<&'static mut [PageRecord]> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    let count = usize::try_from(pages).unwrap_or(MAX_PAGES).min(MAX_PAGES);
    let first: *mut PageRecord = RECORDS.0.get().cast();
    for index in 0..count {
        // SAFETY: `count` is at most `MAX_PAGES`, so the element exists, and nobody else has or will have a pointer into
        // the cell, as `TAKEN` was clear before.
        unsafe { first.add(index).write(PageRecord::EMPTY) };
    }
    // SAFETY: these elements were just written, live for ever, and are reached through this slice alone.
    Some(unsafe { core::slice::from_raw_parts_mut(first, count) })
}
