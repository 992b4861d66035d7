//! A page walker written to be obviously right rather than fast: it looks at one bit at a time, follows the manual's
//! figures, and changes nothing unless asked to.

use super::Ram;
use exit_abi::Mode;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Try {
    pub write: bool,
    pub fetch: bool,
    pub user: bool,
}

impl Try {
    pub fn code(self) -> u32 {
        u32::from(self.write) << 1 | u32::from(self.user) << 2 | u32::from(self.fetch) << 4
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Allowed: where to, the leaf's D bit before, log2 of the page, and the stores that mark the entries.
    Page {
        gpa: u64,
        dirty: bool,
        bits: u32,
        user: bool,
        stores: Vec<(u64, u64)>,
    },
    Fault(u32),
    NonCanonical,
}

#[derive(Clone, Copy, Debug)]
pub struct Guest {
    pub mode: u32,
    pub cr3: u64,
    pub pdptes: [u64; 4],
    pub width: u32,
    pub giant: bool,
}

struct Step {
    at: u64,
    value: u64,
    /// Lowest address bit the entry selects: 12 for a page table's entry.
    shift: u32,
}

impl Guest {
    fn on(&self, bit: u32) -> bool {
        self.mode & bit != 0
    }
    fn wide(&self) -> bool {
        self.on(Mode::LMA) || self.on(Mode::PAE)
    }

    /// Whether bit `n` of an entry that selects from `shift` on must be zero.
    fn is_reserved(&self, n: u32, shift: u32, value: u64) -> bool {
        let large = value & 0x80 != 0;
        let long = self.on(Mode::LMA);
        if !self.wide() {
            let has_high = n >= 13 && n < 13 + (self.width - 32).min(8);
            return shift == 22
                && large
                && self.on(Mode::PSE)
                && (13..=21).contains(&n)
                && !has_high;
        }
        match n {
            63 => !self.on(Mode::NXE),
            52..=62 => !long,
            _ if n >= self.width && n < 52 => true,
            7 => shift == 39 || (shift == 30 && !self.giant),
            8 => shift == 39,
            13..=20 => large && (shift == 21 || shift == 30),
            21..=29 => large && shift == 30,
            _ => false,
        }
    }

    fn ends_at(&self, shift: u32, value: u64) -> bool {
        let large = value & 0x80 != 0;
        match shift {
            12 => true,
            21 => large,
            22 => large && self.on(Mode::PSE),
            30 => large && self.giant,
            _ => false,
        }
    }

    fn load(&self, ram: &Ram, at: u64) -> u64 {
        if self.wide() {
            ram.get64(at).unwrap_or(u64::MAX)
        } else {
            u64::from(ram.get32(at).unwrap_or(u32::MAX))
        }
    }

    /// The steps down to a leaf, or the P and RSVD bits of the fault.
    fn steps(&self, ram: &Ram, va: u64) -> Result<Vec<Step>, u32> {
        let (mut table, shifts): (u64, &[u32]) = if self.on(Mode::LMA) {
            (self.cr3 & 0x000f_ffff_ffff_f000, &[39, 30, 21, 12])
        } else if self.on(Mode::PAE) {
            let pdpte = self.pdptes[(va >> 30) as usize];
            if pdpte & 1 == 0 {
                return Err(0);
            }
            (pdpte & 0x000f_ffff_ffff_f000, &[21, 12])
        } else {
            (self.cr3 & 0xffff_f000, &[22, 12])
        };
        let (width, index_mask) = if self.wide() { (8, 511) } else { (4, 1023) };
        let mut steps = Vec::new();
        for &shift in shifts {
            let at = table + width * (va >> shift & index_mask);
            let value = self.load(ram, at);
            if value & 1 == 0 {
                return Err(0);
            }
            if (0..64).any(|n| value >> n & 1 == 1 && self.is_reserved(n, shift, value)) {
                return Err(0b1001);
            }
            steps.push(Step { at, value, shift });
            if self.ends_at(shift, value) {
                return Ok(steps);
            }
            table = value
                & if self.wide() {
                    0x000f_ffff_ffff_f000
                } else {
                    0xffff_f000
                };
        }
        unreachable!("a page table's entry is a leaf")
    }

    fn permits(&self, steps: &[Step], access: Try) -> bool {
        let each = |bit: u32| steps.iter().all(|step| step.value >> bit & 1 == 1);
        let (writable, user) = (each(1), each(2));
        let no_execute = self.wide() && steps.iter().any(|step| step.value >> 63 == 1);
        if access.user && !user {
            return false;
        }
        if access.fetch {
            let smep = !access.user && user && self.on(Mode::SMEP);
            return !no_execute && !smep;
        }
        if !access.user && user && self.on(Mode::SMAP) {
            let cpl = self.mode >> Mode::CPL_SHIFT & 3;
            if cpl == 3 || !self.on(Mode::AC) {
                return false;
            }
        }
        !access.write || writable || (!access.user && !self.on(Mode::WP))
    }

    pub fn walk(&self, ram: &Ram, va: u64, access: Try) -> Verdict {
        if !self.on(Mode::PG) {
            let gpa = va & 0xffff_ffff;
            return Verdict::Page {
                gpa,
                dirty: true,
                bits: 32,
                user: true,
                stores: Vec::new(),
            };
        }
        let va = if self.on(Mode::LMA) {
            va
        } else {
            va & 0xffff_ffff
        };
        if self.on(Mode::LMA) && !(va >> 47 == 0 || va >> 47 == 0x1ffff) {
            return Verdict::NonCanonical;
        }
        let fault = |reason: u32| {
            let fetch_shows = (self.on(Mode::PAE) && self.on(Mode::NXE)) || self.on(Mode::SMEP);
            let code = access.code() | reason;
            Verdict::Fault(if fetch_shows { code } else { code & 0b1111 })
        };
        let steps = match self.steps(ram, va) {
            Ok(steps) => steps,
            Err(reason) => return fault(reason),
        };
        if !self.permits(&steps, access) {
            return fault(1);
        }
        let last = steps.last().unwrap();
        let mut base = last.value & 0x000f_ffff_ffff_f000;
        if last.shift == 22 {
            let count = (self.width - 32).min(8);
            let high: u64 = (0..count)
                .map(|n| (last.value >> (13 + n) & 1) << (32 + n))
                .sum();
            base = last.value & 0xffc0_0000 | high;
        }
        let mask = (1 << last.shift) - 1;
        let stores = steps.iter().map(|step| {
            let dirty = access.write && step.shift == last.shift;
            (step.at, 0x20 | if dirty { 0x40 } else { 0 })
        });
        Verdict::Page {
            gpa: base & !mask | va & mask,
            dirty: last.value & 0x40 != 0,
            bits: last.shift,
            user: steps.iter().all(|step| step.value & 4 != 0),
            stores: stores.collect(),
        }
    }

    /// Does the stores of a verdict.
    pub fn mark(&self, ram: &Ram, verdict: &Verdict) {
        let Verdict::Page { stores, .. } = verdict else {
            return;
        };
        for &(at, bits) in stores {
            if self.wide() {
                if let Some(value) = ram.get64(at).filter(|value| value & bits != bits) {
                    ram.set64(at, value | bits);
                }
            } else if let Some(value) = ram
                .get32(at)
                .filter(|value| u64::from(*value) & bits != bits)
            {
                ram.set32(at, value | bits as u32);
            }
        }
    }
}
