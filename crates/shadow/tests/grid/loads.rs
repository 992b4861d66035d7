//! Loads of CR3: which PDPTEs are latched, and which loads are refused.

use super::LIMITS;
use exit_abi::Mode;
use shadow::{GuestMemory, Space};
use words::Gpa;

/// Where the only page of memory is.
const PAGE: u64 = 0x7_5000;

/// A page whose words are PDPTEs that may be loaded, each another one, but for one word.
struct Page {
    special: (u64, u64),
}

impl Page {
    fn read(&self, at: Gpa) -> Option<u64> {
        let (at_special, value) = self.special;
        match at.bits() {
            at if at == at_special => Some(value),
            at if at >> 12 == PAGE >> 12 => Some(at << 12 & 0xffff_f000 | 1),
            _ => None,
        }
    }
}

impl GuestMemory for &Page {
    fn read32(&self, _: Gpa) -> Option<u32> {
        None
    }
    fn read64(&self, at: Gpa) -> Option<u64> {
        self.read(at)
    }
    fn exchange32(&self, _: Gpa, _: u32, _: u32) -> bool {
        false
    }
    fn exchange64(&self, _: Gpa, _: u64, _: u64) -> bool {
        false
    }
    fn is_memory(&self, _: Gpa, _: u64) -> bool {
        false
    }
}

/// Runs all; the number of loads, or the first difference.
pub fn run() -> Result<u64, String> {
    let mut count = 0;
    for paging in [
        Mode::PE,
        Mode::PG,
        Mode::PG | Mode::PSE,
        Mode::PG | Mode::PAE,
        Mode::PG | Mode::PAE | Mode::NXE,
        Mode::PG | Mode::PAE | Mode::LMA,
    ] {
        let mode = Mode::from_bits(paging);
        for bit in 0..64 {
            for value in [1 << bit, 1 << bit | 1] {
                let page = Page {
                    special: (PAGE + 0x48, value),
                };
                for cr3 in [
                    PAGE | 0x40,
                    PAGE | 0x58,
                    PAGE | 0x60,
                    (PAGE | 0x40) ^ 1 << bit,
                ] {
                    check(mode, cr3, &page)?;
                    count += LIMITS.len() as u64;
                }
            }
        }
    }
    Ok(count)
}

fn check(mode: Mode, cr3: u64, page: &Page) -> Result<(), String> {
    let space = Space::read(&page, mode, cr3);
    let is_pae = mode.has(Mode::PG | Mode::PAE) && !mode.has(Mode::LMA);
    let pdptes = if is_pae {
        naive_walk::latch(|at, _| page.read(at), cr3)
    } else {
        [0; 4]
    };
    if space.pdptes != pdptes {
        return Err(format!(
            "{mode:?}, {cr3:#x}: latched {space:x?}, not {pdptes:x?}"
        ));
    }
    for limits in LIMITS {
        let loaded = space.is_loadable(limits);
        let expected = naive_walk::is_loadable(mode, cr3, pdptes, super::case::limits(limits));
        if loaded != expected {
            return Err(format!("{space:x?}, {limits:?}: loadable is {loaded}"));
        }
    }
    Ok(())
}
