//! A guest under the engine: its mode and CR3, its faults, and what its processor then may do.

use super::pool::Pool;
use super::{Ram, Try};
use exit_abi::Mode;
use shadow::{Access, Engine, Fault, Limits, Load, LoadReason, Outcome, PageRecord};
use words::{Gpa, Gva};

pub const LONG: u32 = Mode::PE | Mode::PG | Mode::PAE | Mode::LMA | Mode::WP | Mode::NXE;
pub const PAE: u32 = Mode::PE | Mode::PG | Mode::PAE | Mode::WP;
pub const TWO_LEVEL: u32 = Mode::PE | Mode::PG | Mode::PSE | Mode::WP;
pub const NX: u64 = 1 << 63;
/// The tables of [`long_guest`]: PML4, PDPT, page directory, page table.
pub const CR3: u64 = 0x40_0000;
pub const PDPT: u64 = 0x40_1000;
pub const DIRECTORY: u64 = 0x40_2000;
pub const TABLE: u64 = 0x40_3000;

/// Memory with one long-mode table a level, of which the page table is empty.
pub fn long_guest() -> Ram {
    let ram = Ram::default();
    ram.set64(CR3, PDPT | 7);
    ram.set64(PDPT, DIRECTORY | 7);
    ram.set64(DIRECTORY, TABLE | 7);
    ram
}

pub struct Guest<'a> {
    pub engine: Engine<'a, &'a Ram, Pool>,
    pub mode: u32,
    pub cr3: u64,
}

impl<'a> Guest<'a> {
    /// A guest of which the engine has heard nothing yet.
    pub fn unheard(ram: &'a Ram, records: &'a mut [PageRecord], mode: u32, cr3: u64) -> Self {
        let limits = Limits {
            width: 40,
            gigabyte_pages: true,
        };
        let pool = Pool::new(records.len());
        Self {
            engine: Engine::cramped(ram, pool, limits, records).unwrap(),
            mode,
            cr3,
        }
    }

    /// A guest that was just reset into this mode.
    pub fn new(ram: &'a Ram, records: &'a mut [PageRecord], mode: u32, cr3: u64) -> Self {
        let mut guest = Self::unheard(ram, records, mode, cr3);
        assert_eq!(guest.load(LoadReason::Reset), Load::Done);
        guest
    }

    pub fn fault_at(&self, va: u64, access: Try) -> Fault {
        Fault {
            mode: Mode::from_bits(self.mode),
            cr3: self.cr3,
            gva: Gva::new(va),
            access: Access::from_code(access.code()),
        }
    }

    pub fn fault(&mut self, va: u64, access: Try) -> Outcome {
        let fault = self.fault_at(va, access);
        self.engine.fault(&fault).unwrap()
    }

    /// Where the processor goes with the access, without another fault.
    pub fn granted(&mut self, va: u64, access: Try) -> Option<u64> {
        let mode = self.mode;
        self.engine.tables_mut().access(mode, va, access)
    }

    /// Where the access leads once its fault is filled.
    pub fn filled(&mut self, va: u64, access: Try) -> Option<u64> {
        assert_eq!(self.fault(va, access), Outcome::Filled);
        self.granted(va, access)
    }

    /// The code of the guest's own fault that the access ends in.
    pub fn injected(&mut self, va: u64, access: Try) -> u32 {
        match self.fault(va, access) {
            Outcome::Inject { code } => code,
            outcome => panic!("{outcome:?}"),
        }
    }

    /// Where the access leaves memory, if it does.
    pub fn is_device(&mut self, va: u64, access: Try) -> Option<Gpa> {
        match self.fault(va, access) {
            Outcome::Device { gpa, .. } => Some(gpa),
            _ => None,
        }
    }

    /// Carries out an instruction: one that meets a fault begins again from its first access. The faults it took, if it got
    /// done with no more than `patience`.
    pub fn instruction(&mut self, accesses: &[(u64, Try)], patience: u64) -> Option<u64> {
        for faults in 0..=patience {
            let mode = self.mode;
            let stuck = accesses.iter().find(|(va, access)| {
                let tables = self.engine.tables_mut();
                tables.access(mode, *va, *access).is_none()
            });
            let Some(&(va, access)) = stuck else {
                return Some(faults);
            };
            assert_eq!(self.fault(va, access), Outcome::Filled);
        }
        None
    }

    pub fn invlpg(&mut self, va: u64) {
        let mode = Mode::from_bits(self.mode);
        self.engine.invlpg(mode, self.cr3, Gva::new(va)).unwrap();
    }

    pub fn load(&mut self, reason: LoadReason) -> Load {
        let mode = Mode::from_bits(self.mode);
        self.engine.load(mode, self.cr3, reason).unwrap()
    }

    pub fn assert_nothing_refused(&self) {
        let refused = &self.engine.tables().refused;
        assert!(refused.is_empty(), "{refused:?}");
    }
}
