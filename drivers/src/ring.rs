//! A ring of bytes between one producing and one consuming thread.
//!
//! Always: what is pushed is popped once, in order; a full ring refuses, an empty one has nothing. The two ends may
//! preempt each other anywhere: each index is written by one end only, after the byte it speaks of. Indices count on and
//! are cut to the ring's size at each use, so no index reaches outside.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// A ring of `N` bytes; `N` is a power of two.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    bytes: [AtomicU8; N],
    /// Bytes ever pushed; the producer's.
    pushed: AtomicUsize,
    /// Bytes ever popped; the consumer's.
    popped: AtomicUsize,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Ring<N> {
    /// An empty ring.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N.is_power_of_two()) };
        Self {
            bytes: [const { AtomicU8::new(0) }; N],
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
        }
    }

    /// Bytes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        let pushed = self.pushed.load(Ordering::SeqCst);
        pushed
            .wrapping_sub(self.popped.load(Ordering::SeqCst))
            .min(N)
    }

    /// Nothing to pop.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes it could still take.
    #[must_use]
    pub fn room(&self) -> usize {
        N - self.len()
    }

    /// The producer adds a byte; `false` when full.
    #[must_use]
    pub fn push(&self, byte: u8) -> bool {
        if self.room() == 0 {
            return false;
        }
        let at = self.pushed.load(Ordering::SeqCst);
        self.bytes[at % N].store(byte, Ordering::SeqCst);
        self.pushed.store(at.wrapping_add(1), Ordering::SeqCst);
        true
    }

    /// The consumer takes a byte.
    pub fn pop(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let at = self.popped.load(Ordering::SeqCst);
        let byte = self.bytes[at % N].load(Ordering::SeqCst);
        self.popped.store(at.wrapping_add(1), Ordering::SeqCst);
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_is_a_bounded_queue(steps in proptest::collection::vec(any::<Option<u8>>(), 0..200)) {
            let (ring, mut model) = (Ring::<8>::new(), VecDeque::new());
            for step in steps {
                match step {
                    Some(byte) => {
                        let room = model.len() < 8;
                        prop_assert_eq!(ring.push(byte), room);
                        if room {
                            model.push_back(byte);
                        }
                    }
                    None => prop_assert_eq!(ring.pop(), model.pop_front()),
                }
                prop_assert_eq!((ring.len(), ring.room()), (model.len(), 8 - model.len()));
            }
        }
    }

    #[test]
    fn two_threads_pass_every_byte_in_order() {
        static RING: Ring<16> = Ring::new();
        let producer = std::thread::spawn(|| {
            for byte in 0..100_000u32 {
                while !RING.push(byte as u8) {
                    std::thread::yield_now();
                }
            }
        });
        for expected in 0..100_000u32 {
            let byte = loop {
                match RING.pop() {
                    Some(byte) => break byte,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(byte, expected as u8);
        }
        producer.join().unwrap();
        assert!(RING.is_empty());
    }
}
