//! Memory for the oracle: statics, handed out once.

#![allow(unsafe_code)] // statics that become exclusive slices

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};
use oracle::{GhostBucket, Remnant, Storage, TableRecord};

/// Most pool pages whose leaves are judged: all of a pool of 8 MiB.
const TABLES: usize = 2048;
/// Most entries that are gone from the shadow and may be in the processor's TLB.
const REMNANTS: usize = 1024;
/// Buckets of the ghost TLB.
const GHOSTS: usize = 4096;

/// Room for as many values, given away as a whole.
struct Room<T, const N: usize>(UnsafeCell<[MaybeUninit<T>; N]>);

// SAFETY: the cell is reached by `Room::fill` alone, which `take` calls once for each room.
unsafe impl<T, const N: usize> Sync for Room<T, N> {}

impl<T: Clone, const N: usize> Room<T, N> {
    const fn new() -> Self {
        Self(UnsafeCell::new([const { MaybeUninit::uninit() }; N]))
    }

    /// The first `count` places, or all if there are fewer, each holding `value`.
    ///
    /// # Safety
    /// It is called once.
    unsafe fn fill(&'static self, count: usize, value: &T) -> &'static mut [T] {
        let count = count.min(N);
        let first: *mut T = self.0.get().cast();
        for index in 0..count {
            // SAFETY: `index` is below `N`, and no one else has a pointer into the cell, by this function's contract.
            unsafe { first.add(index).write(value.clone()) };
        }
        // SAFETY: these places were just written, live for ever, and are reached through this slice alone.
        unsafe { core::slice::from_raw_parts_mut(first, count) }
    }
}

static TABLE_ROOM: Room<TableRecord, TABLES> = Room::new();
static REMNANT_ROOM: Room<Remnant, REMNANTS> = Room::new();
static GHOST_ROOM: Room<GhostBucket, GHOSTS> = Room::new();
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Storage for a pool of `pages`, the first time it is called.
pub fn take(pages: usize) -> Option<Storage<'static>> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: `TAKEN` was clear before, so this is the first and only call for each room.
    let storage = unsafe {
        Storage {
            tables: TABLE_ROOM.fill(pages, &TableRecord::EMPTY),
            remnants: REMNANT_ROOM.fill(REMNANTS, &Remnant::EMPTY),
            ghosts: GHOST_ROOM.fill(GHOSTS, &GhostBucket::EMPTY),
        }
    };
    Some(storage)
}
