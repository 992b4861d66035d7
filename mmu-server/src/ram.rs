//! What the server needs of the guest's memory beyond what the engine does: bytes.

use shadow::GuestMemory;
use words::Gpa;

/// The guest's memory, as entries and as bytes.
pub trait GuestRam: GuestMemory {
    /// Copies from the guest's memory; false, with nothing copied, unless all of it is memory.
    fn read(&self, from: Gpa, to: &mut [u8]) -> bool;
    /// Copies into the guest's memory; false, with nothing copied, unless all of it is memory.
    fn write(&self, to: Gpa, from: &[u8]) -> bool;
}
