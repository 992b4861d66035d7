//! The window on the guest's memory, and the one on the archive the guest comes from.
//!
//! Always: nothing outside the VM's memory is touched, since every access goes through [`Window::at`]. The guest may
//! change its memory at any time, so there is never a reference to it; entries are atomics, bytes are volatile.

#![allow(unsafe_code)] // memory that root-task mapped for this domain and the guest

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use mmu_server::GuestRam;
use protocol::{layout, platform};
use shadow::GuestMemory;
use words::Gpa;

/// The guest's memory, guest-physical 0 at [`layout::GUEST_RAM`]: so many bytes from 0, and the test device's.
#[derive(Debug)]
pub struct Window {
    bytes: u64,
}

/// The archive, mapped read-only at [`layout::GUEST_FILES`].
#[derive(Debug)]
pub struct Archive {
    bytes: u64,
}

impl Window {
    /// The window on `bytes` of memory, unless that is more than the address space has room for.
    pub fn open(bytes: u64) -> Option<Self> {
        (bytes <= layout::GUEST_FILES - layout::GUEST_RAM).then_some(Self { bytes })
    }

    /// Where `length` bytes of guest memory are mapped, if all of them are memory.
    fn at(&self, gpa: Gpa, length: u64) -> Option<*mut u8> {
        const TEST_END: u64 = platform::TEST_MEMORY + platform::TEST_MEMORY_BYTES;
        let end = gpa.checked_add(length)?.bits();
        let is_test = gpa.bits() >= platform::TEST_MEMORY && end <= TEST_END;
        (end <= self.bytes || is_test).then(|| (layout::GUEST_RAM + gpa.bits()) as *mut u8)
    }

    /// Where an aligned entry of `length` bytes is mapped.
    fn entry(&self, gpa: Gpa, length: u64) -> Option<*mut u8> {
        if gpa.bits() & (length - 1) == 0 {
            self.at(gpa, length)
        } else {
            None
        }
    }

    fn entry32(&self, gpa: Gpa) -> Option<&AtomicU32> {
        let entry = self.entry(gpa, 4)?;
        // SAFETY: `entry` is 4-byte aligned, since the window begins on a page, and lies in memory that root-task mapped
        // writable for as long as this domain lives; guest and server both access it as memory that may change.
        Some(unsafe { AtomicU32::from_ptr(entry.cast()) })
    }

    fn entry64(&self, gpa: Gpa) -> Option<&AtomicU64> {
        let entry = self.entry(gpa, 8)?;
        // SAFETY: as in `entry32`, for eight bytes.
        Some(unsafe { AtomicU64::from_ptr(entry.cast()) })
    }

    /// Copies from the archive before the guest runs. `None`, with nothing copied, if either side does not reach.
    pub fn fill(&self, to: Gpa, archive: &Archive, from: u64, length: u64) -> Option<()> {
        let source = archive.at(from, length)?;
        let target = self.at(to, length)?;
        // SAFETY: both ranges are mapped for their whole length, apart from each other, and nobody writes to either yet:
        // the guest has not started.
        unsafe { core::ptr::copy_nonoverlapping(source, target, length as usize) };
        Some(())
    }
}

impl Archive {
    /// The archive of `bytes`, unless that is more than its part of the address space.
    pub fn open(bytes: u64) -> Option<Self> {
        (bytes <= layout::GUEST_FILES - layout::GUEST_RAM).then_some(Self { bytes })
    }

    fn at(&self, offset: u64, length: u64) -> Option<*const u8> {
        let end = offset.checked_add(length)?;
        (end <= self.bytes).then(|| (layout::GUEST_FILES + offset) as *const u8)
    }
}

impl GuestMemory for Window {
    fn read32(&self, at: Gpa) -> Option<u32> {
        Some(self.entry32(at)?.load(Ordering::Relaxed))
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        Some(self.entry64(at)?.load(Ordering::Relaxed))
    }
    fn exchange32(&self, at: Gpa, current: u32, new: u32) -> bool {
        let entry = self.entry32(at);
        entry.is_some_and(|entry| {
            entry
                .compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        })
    }
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool {
        let entry = self.entry64(at);
        entry.is_some_and(|entry| {
            entry
                .compare_exchange(current, new, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        })
    }
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool {
        self.at(first, bytes).is_some()
    }
}

impl GuestRam for Window {
    fn read(&self, from: Gpa, to: &mut [u8]) -> bool {
        let Some(source) = self.at(from, to.len() as u64) else {
            return false;
        };
        for (offset, byte) in to.iter_mut().enumerate() {
            // SAFETY: `at` checked that all these bytes are mapped guest memory.
            *byte = unsafe { source.add(offset).read_volatile() };
        }
        true
    }
    fn write(&self, to: Gpa, from: &[u8]) -> bool {
        let Some(target) = self.at(to, from.len() as u64) else {
            return false;
        };
        for (offset, byte) in from.iter().enumerate() {
            // SAFETY: `at` checked that all these bytes are mapped guest memory.
            unsafe { target.add(offset).write_volatile(*byte) };
        }
        true
    }
}
