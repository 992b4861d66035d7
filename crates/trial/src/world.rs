//! The simulated machine: a guest's registers and memory, a processor with a TLB, the engine under the oracle.

use crate::failure::Complaint;
use crate::op::Op;
use crate::pool::Pool;
use crate::ram::{END, Mark, Ram, TABLE_FRAMES, TABLES};
use crate::run::Setup;
use exit_abi::Mode;
use naive_walk::{Rights, Use, Who};
use oracle::{Finding, Found, GhostBucket, Leaf, Remnant, Settings, Storage, TableRecord, Watched};
use shadow::{Access, Counters, Error, Fault, Limits, Load, LoadReason, Outcome, PageRecord};
use words::Gva;

/// Most times one access is resolved.
const ROUNDS: u32 = 12;
/// Most times one instruction with several accesses is.
const ROUNDS_TOGETHER: u32 = 32;
/// Pages with which an instruction of four accesses must come to an end: the root and three tables for each.
const PAGES_TOGETHER: usize = 13;
/// CR4 as [`Mode`] has it.
const CR4: u32 = Mode::PAE | Mode::PSE | Mode::PGE | Mode::SMEP | Mode::SMAP;
const GHOST_BUCKETS: usize = 256;
const REMNANTS: usize = 1024;

/// The paging registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    pub pg: bool,
    pub wp: bool,
    pub cr4: u32,
    pub nxe: bool,
    pub lme: bool,
    pub cr3: u64,
}

impl Registers {
    /// The paging mode, seen from CPL 0 with AC clear.
    pub const fn mode(&self) -> Mode {
        const fn flag(set: bool, flag: u32) -> u32 {
            if set { flag } else { 0 }
        }
        Mode::from_bits(
            Mode::PE
                | flag(self.pg, Mode::PG)
                | flag(self.wp, Mode::WP)
                | self.cr4
                | flag(self.nxe, Mode::NXE)
                | flag(self.lme && self.pg, Mode::LMA),
        )
    }

    /// Whether the processor allows the change of CR0, CR4 or EFER that leads from `old` here (APM vol. 2, 14.6.1).
    fn may_follow(&self, old: &Self) -> bool {
        let has_pae = self.cr4 & Mode::PAE != 0;
        let long_without_pae = self.pg && self.lme && !has_pae;
        let changes_under_paging = self.pg && old.pg && self.lme != old.lme;
        !long_without_pae && !changes_under_paging
    }
}

/// Room for the engine's and the oracle's state, used again and again.
#[derive(Debug)]
pub struct Room {
    records: Vec<PageRecord>,
    tables: Vec<TableRecord>,
    remnants: Vec<Remnant>,
    ghosts: Vec<GhostBucket>,
}

impl Room {
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            tables: Vec::new(),
            remnants: vec![Remnant::EMPTY; REMNANTS],
            ghosts: vec![GhostBucket::EMPTY; GHOST_BUCKETS],
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct World<'a> {
    ram: &'a Ram,
    watched: Watched<'a, &'a Ram, Pool<'a>>,
    registers: Registers,
    /// The engine does not hear of the next load.
    lose: bool,
    pages: usize,
}

impl<'a> World<'a> {
    /// A machine that was just reset, with paging off.
    ///
    /// # Errors
    /// [`Error::PoolTooSmall`].
    pub(crate) fn new(
        setup: &Setup,
        settings: Settings,
        ram: &'a Ram,
        room: &'a mut Room,
    ) -> Result<Self, Error> {
        room.records.resize(setup.pages, PageRecord::EMPTY);
        room.tables.resize(setup.pages, TableRecord::EMPTY);
        let storage = Storage {
            tables: &mut room.tables,
            remnants: &mut room.remnants,
            ghosts: &mut room.ghosts,
        };
        let pool = Pool::new(ram, setup.pages);
        let limits = Limits {
            width: setup.width,
            gigabyte_pages: setup.gigabyte_pages,
        };
        let records = &mut room.records;
        Ok(Self {
            ram,
            watched: Watched::cramped(ram, pool, limits, records, settings, storage)?,
            registers: Registers::default(),
            lose: false,
            pages: setup.pages,
        })
    }

    pub(crate) const fn registers(&self) -> &Registers {
        &self.registers
    }

    pub(crate) const fn ram(&self) -> &'a Ram {
        self.ram
    }

    /// What the engine counted.
    pub fn counters(&self) -> Counters {
        self.watched.counters()
    }

    /// Does one step and judges it.
    ///
    /// # Errors
    /// What goes wrong.
    pub fn step(&mut self, op: Op) -> Result<(), Complaint> {
        match op {
            Op::Store { at, value } => self.ram.set64(at & !7, value),
            Op::Store32 { at, value } => self.ram.set32(at & !3, value),
            Op::Touch {
                gva,
                code,
                ac,
                implicit,
                luck,
            } => {
                let fault = self.access(gva, code, ac, implicit);
                self.touch(&[fault], luck, ROUNDS)?;
            }
            Op::Poke { gva, value, luck } => {
                let fault = self.access(gva & !7, 2, true, false);
                if let Some(gpa) = self.touch(&[fault], luck, ROUNDS)? {
                    self.ram.set64(gpa, value);
                }
            }
            Op::Together { gvas, luck } => {
                if self.pages >= PAGES_TOGETHER {
                    let faults = gvas.map(|gva| self.access(gva, 0, true, false));
                    self.touch(&faults, luck, ROUNDS_TOGETHER)?;
                }
            }
            Op::Gate {
                gva,
                implicit,
                luck,
            } => {
                let read = self.access(gva, 4, false, false);
                let write = self.access(implicit, 2, false, true);
                if self.pages >= PAGES_TOGETHER && read.gva.page() != write.gva.page() {
                    self.touch(&[read, write], luck, ROUNDS_TOGETHER)?;
                }
            }
            Op::Translate { gva, code, ac } => {
                // vmm-server does not cut addresses to 32 bits.
                let fault = Fault {
                    gva: Gva::new(gva),
                    ..self.access(gva, code, ac, false)
                };
                self.ram.marks.borrow_mut().clear();
                let target = self.watched.translate(&fault);
                let done = matches!(target, Ok(shadow::Target::At(_) | shadow::Target::Retry));
                self.judge(Some((&fault, done)))?;
            }
            Op::Invlpg { gva } => {
                let gva = self.linear(gva);
                // A failure is the oracle's to judge.
                let _ = self
                    .watched
                    .invlpg(self.registers.mode(), self.registers.cr3, gva);
                self.judge(None)?;
            }
            Op::Cr3 { value } => {
                let new = Registers {
                    cr3: value,
                    ..self.registers
                };
                self.load(new, LoadReason::Cr3)?;
            }
            Op::Cr0 { pg, wp } => {
                let new = Registers {
                    pg,
                    wp,
                    ..self.registers
                };
                self.load(new, LoadReason::Cr0)?;
            }
            Op::Cr4 { bits } => {
                let cr4 = bits & CR4;
                let new = Registers {
                    cr4,
                    ..self.registers
                };
                self.load(new, LoadReason::Cr4)?;
            }
            Op::Efer { nxe, lme } => {
                let new = Registers {
                    nxe,
                    lme,
                    ..self.registers
                };
                self.load(new, LoadReason::Efer)?;
            }
            Op::Lose => self.lose = true,
            Op::EnsureRoot => self.ensure_root()?,
            Op::Revoke => self.pool().revoke(),
            Op::StaleAfter { operations } => self.pool().stale_after = Some(operations),
            Op::RefuseAfter { operations } => self.pool().refuse_after = Some(operations),
            Op::Contend { exchanges } => self.ram.contention.set(exchanges),
            Op::Plug { frame, there } => self.plug(frame, there),
            Op::Speculate { gva, luck } => {
                let gva = self.linear(gva);
                self.pool().speculate(gva, luck.into());
            }
        }
        Ok(())
    }

    /// Judges everything there is.
    ///
    /// # Errors
    /// What goes wrong.
    pub fn check_all(&mut self) -> Result<(), Complaint> {
        self.watched.check_all();
        self.judge(None)
    }

    fn pool(&mut self) -> &mut Pool<'a> {
        self.watched.tables_mut().inner_mut()
    }

    fn plug(&mut self, frame: u64, there: bool) {
        let tables = TABLES >> 12..(TABLES >> 12) + TABLE_FRAMES;
        if frame >= END >> 12 || tables.contains(&frame) {
            return;
        }
        self.ram.plug(frame, there);
        if !there {
            self.pool().revoke();
        }
    }

    fn linear(&self, gva: u64) -> Gva {
        if self.registers.mode().has(Mode::LMA) {
            Gva::new(gva)
        } else {
            Gva::new(gva & 0xffff_ffff)
        }
    }

    fn access(&self, gva: u64, code: u32, ac: bool, implicit: bool) -> Fault {
        let access = Access::from_code(if implicit { code & !0x14 } else { code });
        let cpl = if access.user || implicit { 3 } else { 0 };
        let alignment = if ac { Mode::AC } else { 0 };
        let mode = self.registers.mode().bits() | alignment | cpl << Mode::CPL_SHIFT;
        Fault {
            mode: Mode::from_bits(mode),
            cr3: self.registers.cr3,
            gva: self.linear(gva),
            access,
        }
    }

    fn ensure_root(&mut self) -> Result<(), Complaint> {
        let _ = self
            .watched
            .ensure_root(self.registers.mode(), self.registers.cr3);
        self.judge(None)
    }

    fn load(&mut self, new: Registers, reason: LoadReason) -> Result<(), Complaint> {
        if !new.may_follow(&self.registers) {
            return Ok(());
        }
        if std::mem::take(&mut self.lose) {
            self.registers = new;
            return self.ensure_root();
        }
        let loaded = self.watched.load(new.mode(), new.cr3, reason);
        if loaded == Ok(Load::Done) {
            self.registers = new;
        }
        self.judge(None)
    }

    /// The processor's accesses, of one instruction, with faults resolved until all go through or one does not. Where the
    /// last one led.
    fn touch(
        &mut self,
        accesses: &[Fault],
        luck: u32,
        rounds: u32,
    ) -> Result<Option<u64>, Complaint> {
        // Hardware raises #GP or #SS before it looks at a TLB.
        if self.registers.mode().has(Mode::LMA)
            && accesses.iter().any(|access| !access.gva.is_canonical())
        {
            return Ok(None);
        }
        let forgets = luck >> 31 == 0;
        let mut luck = u64::from(luck) << 32 | u64::from(luck);
        for _ in 0..rounds {
            luck = luck.rotate_left(11);
            match self.pass(accesses, luck, forgets)? {
                Pass::Through(gpa) => return Ok(Some(gpa)),
                Pass::Stopped => return Ok(None),
                Pass::Again => {}
            }
        }
        let gva = accesses[0].gva;
        Err(Complaint::Endless { gva })
    }

    /// One attempt at an instruction, by a processor that forgets an address when it faults, or by one that does not.
    fn pass(&mut self, accesses: &[Fault], luck: u64, forgets: bool) -> Result<Pass, Complaint> {
        let mut last = 0;
        for (index, access) in accesses.iter().enumerate() {
            if !self.pool().has_root() {
                self.ensure_root()?;
            }
            match self.through(access, luck.rotate_left(7 * index as u32))? {
                Some(gpa) => last = gpa,
                None => {
                    if forgets {
                        self.pool().forget(access.gva);
                    }
                    return self.page_fault(access);
                }
            }
        }
        Ok(Pass::Through(last))
    }

    /// The processor looks an access up; `None` is a page fault.
    fn through(&mut self, access: &Fault, luck: u64) -> Result<Option<u64>, Complaint> {
        let gva = access.gva;
        let found = self.pool().translate(gva, luck);
        let kind = naive_walk::Access::of(access.mode, access.access.code());
        let Some(leaf) = found.filter(|leaf| hardware_allows(access.mode, leaf, kind)) else {
            return Ok(None);
        };
        let oracle = self.watched.oracle();
        if !oracle.is_granted(&self.ram, leaf, gva, kind) {
            return Err(Complaint::LetThrough { leaf, gva });
        }
        Ok(Some(leaf.gpa.bits() + (gva.bits() - leaf.gva.bits())))
    }

    fn page_fault(&mut self, access: &Fault) -> Result<Pass, Complaint> {
        self.ram.marks.borrow_mut().clear();
        let outcome = self.watched.fault(access);
        let marks = matches!(
            outcome,
            Ok(Outcome::Filled | Outcome::Device { .. } | Outcome::Retry)
        );
        self.judge(Some((access, marks)))?;
        self.check_mirror(access.gva)?;
        Ok(match outcome {
            Ok(Outcome::Filled | Outcome::Retry) => Pass::Again,
            Ok(Outcome::Inject { .. } | Outcome::Device { .. }) | Err(_) => Pass::Stopped,
        })
    }

    /// After a request: what the oracle found, what the kernel refused, what was written.
    fn judge(&mut self, walked: Option<(&Fault, bool)>) -> Result<(), Complaint> {
        let pool = self.watched.tables_mut().inner_mut();
        pool.settle();
        let for_nothing = std::mem::take(&mut pool.refused_for_nothing);
        if let Some(why) = pool.refused.take() {
            return Err(Complaint::Refused(why));
        }
        match self.watched.take_finding() {
            Some(Finding::Refused) if for_nothing => {}
            Some(finding) => return Err(Complaint::Finding(finding)),
            None => {}
        }
        match walked {
            Some((fault, marks)) => self.check_marks(fault, marks),
            None => Ok(()),
        }
    }

    /// The oracle judges what its mirror shows: that must be what the pool has.
    fn check_mirror(&self, gva: Gva) -> Result<(), Complaint> {
        let mirror = self.watched.tables();
        let shown = match mirror.find(gva) {
            Found::Leaf(leaf) => Some(leaf),
            Found::Nothing | Found::Unknown => None,
        };
        if mirror.inner().has_root() && mirror.inner().look_up(gva) != shown {
            return Err(Complaint::Mirror { gva });
        }
        Ok(())
    }

    /// Only A, and D for a write, may have been set, in the entries on the way and only if the access goes through.
    fn check_marks(&self, fault: &Fault, allowed: bool) -> Result<(), Complaint> {
        const A: u64 = 1 << 5;
        const D: u64 = 1 << 6;
        for &Mark { at, old, new } in self.ram.marks.borrow().iter() {
            let on_way = self.watched.oracle().way(&self.ram, fault, at);
            let d = match on_way {
                Some(true) if fault.access.is_write() => D,
                _ => 0,
            };
            if !allowed || on_way.is_none() || new & !old & !(A | d) != 0 || old & !new != 0 {
                return Err(Complaint::Marks { at, old, new });
            }
        }
        Ok(())
    }
}

/// How an attempt at an instruction ended.
enum Pass {
    Through(u64),
    Stopped,
    Again,
}

/// Whether the real processor lets an access through by a leaf of the shadow: CR0.WP is set, SMEP and SMAP are the guest's
/// while it has paging on.
fn hardware_allows(mode: Mode, leaf: &Leaf, access: naive_walk::Access) -> bool {
    let checks = if mode.has(Mode::PG) {
        mode.bits() & (Mode::SMEP | Mode::SMAP)
    } else {
        0
    };
    let rights = Rights {
        writable: leaf.rights.write,
        user: leaf.rights.user,
        executable: leaf.rights.execute,
    };
    debug_assert!(!matches!(
        (access.what, access.who),
        (Use::Fetch, Who::Implicit)
    ));
    naive_walk::allows(
        Mode::from_bits(Mode::PG | Mode::WP | checks),
        rights,
        access,
    )
}
