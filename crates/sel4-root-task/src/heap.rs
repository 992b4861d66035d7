//! A heap of fixed size that only grows: memory given back is lost, except the last piece given out.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::{Cell, UnsafeCell},
    ptr,
};

/// A heap of `SIZE` bytes for a program of one thread.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct StaticHeap<const SIZE: usize> {
    memory: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

// SAFETY: the initial program has one thread; `declare_root_task!` is the only place that makes a heap.
unsafe impl<const SIZE: usize> Sync for StaticHeap<SIZE> {}

impl<const SIZE: usize> StaticHeap<SIZE> {
    /// The memory, all of it free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([0; SIZE]),
            used: Cell::new(0),
        }
    }
}

impl<const SIZE: usize> Default for StaticHeap<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every piece lies inside `memory`, begins where its layout wants it and above all pieces given out before; the
// memory does not move, since a global allocator is a static.
unsafe impl<const SIZE: usize> GlobalAlloc for StaticHeap<SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        let Some(aligned) =
            (base.addr() + self.used.get()).checked_next_multiple_of(layout.align())
        else {
            return ptr::null_mut();
        };
        let start = aligned - base.addr();
        match start.checked_add(layout.size()) {
            Some(end) if end <= SIZE => {
                self.used.set(end);
                base.wrapping_add(start)
            }
            _ => ptr::null_mut(),
        }
    }
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        let start = piece.addr() - self.memory.get().addr();
        if start + layout.size() == self.used.get() {
            self.used.set(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_apart_and_the_end_is_the_end() {
        let heap = Box::new(StaticHeap::<64>::new());
        let (byte, word) = (Layout::new::<u8>(), Layout::new::<u64>());
        // SAFETY: the layouts are not empty, and each piece is given back with its own.
        unsafe {
            let first = heap.alloc(byte);
            let second = heap.alloc(word);
            assert!(second.addr() > first.addr() && second.addr() % 8 == 0);
            heap.dealloc(second, word);
            assert_eq!(heap.alloc(word), second);
            assert!(heap.alloc(Layout::array::<u8>(49).unwrap()).is_null());
            assert!(!heap.alloc(Layout::array::<u8>(48).unwrap()).is_null());
        }
    }
}
