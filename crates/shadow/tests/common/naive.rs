//! What a guest's own tables say, by crate `naive-walk`, and the marks that an access leaves in them.

use super::{Ram, Try};
use exit_abi::Mode;
use naive_walk::{Access, Grant, Limits, Refusal};
use words::x86::pte;
use words::{Gpa, Gva};

/// Where an access leads, or why it is not done.
pub type Verdict = Result<Grant, Refusal>;

/// The registers that a walk depends on.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    pub mode: u32,
    pub cr3: u64,
    pub pdptes: [u64; 4],
    pub limits: Limits,
}

impl Tables {
    pub fn walk(&self, ram: &Ram, va: u64, access: Try) -> Verdict {
        let read = |at: Gpa, bytes: u32| read(ram, at, bytes);
        let mode = Mode::from_bits(self.mode);
        let access = Access::of(mode, access.code());
        let pdptes = Some(self.pdptes);
        let gva = Gva::new(va);
        naive_walk::walk(read, mode, self.cr3, pdptes, self.limits, gva, access)
    }
}

/// The entry at `at`, as the naive walker asks for it.
pub fn read(ram: &Ram, at: Gpa, bytes: u32) -> Option<u64> {
    match bytes {
        4 => ram.get32(at.bits()).map(u64::from),
        _ => ram.get64(at.bits()),
    }
}

/// What an access that is granted leaves in memory.
pub fn mark(ram: &Ram, grant: &Grant, write: bool) {
    let last = grant.path().count();
    for (index, entry) in grant.path().enumerate() {
        let dirty = write && index + 1 == last;
        let bits = pte::A | if dirty { pte::D } else { 0 };
        match read(ram, entry.at, entry.bytes) {
            Some(value) if value & bits != bits && entry.bytes == 4 => {
                ram.set32(entry.at.bits(), (value | bits) as u32);
            }
            Some(value) if value & bits != bits => ram.set64(entry.at.bits(), value | bits),
            _ => {}
        }
    }
}
