//! Guest-physical memory as the walker needs it.

use words::Gpa;

/// The guest's memory, read and updated while the guest's other processors may run.
///
/// Entry addresses are multiples of the entry's size. Where there is no memory a read answers `None`; the walker then takes
/// all ones, which is what a processor reads from addresses nobody answers.
pub trait GuestMemory {
    /// The 4-byte entry at `at`.
    fn read32(&self, at: Gpa) -> Option<u32>;
    /// The 8-byte entry at `at`.
    fn read64(&self, at: Gpa) -> Option<u64>;
    /// Replaces the 4-byte entry at `at` by `new` if it still is `current`, in one atomic step; says whether it did.
    fn exchange32(&self, at: Gpa, current: u32, new: u32) -> bool;
    /// Replaces the 8-byte entry at `at` by `new` if it still is `current`, in one atomic step; says whether it did.
    fn exchange64(&self, at: Gpa, current: u64, new: u64) -> bool;
    /// Whether all of the `bytes` from `first` are memory.
    fn is_memory(&self, first: Gpa, bytes: u64) -> bool;
}
