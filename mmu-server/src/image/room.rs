//! Memory for the records of engine and oracle: statics, each handed out once.

#![allow(unsafe_code)] // statics that become exclusive slices

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

/// Room for as many values.
pub struct Room<T, const N: usize> {
    places: UnsafeCell<[MaybeUninit<T>; N]>,
    taken: AtomicBool,
}

// SAFETY: the places are reached by `Room::take` alone, which gives them to one caller only.
unsafe impl<T: Send, const N: usize> Sync for Room<T, N> {}

impl<T: Clone, const N: usize> Room<T, N> {
    /// Room that nobody has taken.
    pub const fn new() -> Self {
        Self {
            places: UnsafeCell::new([const { MaybeUninit::uninit() }; N]),
            taken: AtomicBool::new(false),
        }
    }

    /// The first `count` places, or all if there are fewer, each holding `value`, the first time it is called.
    #[expect(clippy::mut_from_ref, reason = "`taken` makes it exclusive")]
    pub fn take(&'static self, count: usize, value: &T) -> Option<&'static mut [T]> {
        if self.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        let count = count.min(N);
        let first: *mut T = self.places.get().cast();
        for index in 0..count {
            // SAFETY: `index` is below `N`, so the place exists, and nobody else has or will have a pointer into the cell, as
            // `taken` was clear before.
            unsafe { first.add(index).write(value.clone()) };
        }
        // SAFETY: these places were just written, live for ever, and are reached through this slice alone.
        Some(unsafe { core::slice::from_raw_parts_mut(first, count) })
    }
}
