//! A stand-in for the kernel's shadow pool and the processor behind it: real levels, link counts and epochs, and a TLB that
//! forgets what it is told to forget and, for want of room, whatever chance says.
//!
//! Whatever the kernel would refuse is refused and remembered.

use crate::ram::Ram;
use oracle::Leaf;
use shadow::{Flush, Rights, ShadowTables, TableError};
use words::{Gfn, Gpa, Gva, PageSize};

const PAE_ROOT: u32 = 5;
/// Translations the TLB has room for.
const TLB: usize = 48;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
const LINK: u64 = 1 << 4;

#[derive(Clone, Debug)]
struct Page {
    level: u32,
    epoch: u64,
    links: u32,
    used: bool,
    slots: Box<[u64; 512]>,
}

/// The pool, and the vCPU's processor.
#[derive(Debug)]
pub struct Pool<'a> {
    ram: &'a Ram,
    pages: Vec<Page>,
    epoch: u64,
    root: Option<u32>,
    tlb: Vec<Leaf>,
    /// In so many operations the kernel finds that it revoked something.
    pub stale_after: Option<u32>,
    /// In so many operations the kernel refuses one for no reason.
    pub refuse_after: Option<u32>,
    /// It did.
    pub refused_for_nothing: bool,
    /// What it refused for a reason.
    pub refused: Option<String>,
}

impl<'a> Pool<'a> {
    pub fn new(ram: &'a Ram, pages: usize) -> Self {
        let page = Page {
            level: 0,
            epoch: 0,
            links: 0,
            used: false,
            slots: Box::new([0; 512]),
        };
        Self {
            ram,
            pages: vec![page; pages],
            epoch: 1,
            root: None,
            tlb: Vec::with_capacity(TLB),
            stale_after: None,
            refuse_after: None,
            refused_for_nothing: false,
            refused: None,
        }
    }

    pub const fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// What the kernel does when a frame leaves the guest-physical space.
    pub fn revoke(&mut self) {
        self.epoch += 1;
        self.root = None;
        self.tlb.clear();
    }

    /// A new request: what was to go wrong in the last one does not in this one.
    pub fn settle(&mut self) {
        self.stale_after = None;
        self.refuse_after = None;
    }

    fn counts_down(counter: &mut Option<u32>) -> bool {
        match counter {
            Some(0) => {
                *counter = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn begin(&mut self) -> Result<(), TableError> {
        if Self::counts_down(&mut self.stale_after) {
            self.revoke();
        }
        if Self::counts_down(&mut self.refuse_after) {
            self.refused_for_nothing = true;
            return Err(TableError::Refused);
        }
        Ok(())
    }

    fn refuse<R>(&mut self, why: String) -> Result<R, TableError> {
        self.refused.get_or_insert(why);
        Err(TableError::Refused)
    }

    /// The level of a page that is not stale.
    fn level(&self, page: u32) -> Result<u32, TableError> {
        let page = &self.pages[page as usize];
        if page.epoch == self.epoch {
            Ok(page.level)
        } else {
            Err(TableError::Stale)
        }
    }

    fn check_unused(&mut self, page: u32) -> Result<(), TableError> {
        let found = &self.pages[page as usize];
        if found.epoch == self.epoch && (found.links > 0 || self.root == Some(page)) {
            return self.refuse(format!("reset of page {page}, which is in use"));
        }
        Ok(())
    }

    /// Makes `page` an empty table, whose links do not count any more.
    fn empty(&mut self, page: u32, level: u32) {
        if self.pages[page as usize].used {
            for slot in 0..512 {
                self.put(page, slot, 0);
            }
        }
        let found = &mut self.pages[page as usize];
        found.used = false;
        found.level = level;
        found.epoch = self.epoch;
        found.links = 0;
        self.tlb.clear();
    }

    /// Puts an entry, which may be none, into a slot, in place of another.
    fn put(&mut self, page: u32, slot: usize, value: u64) {
        let table = &mut self.pages[page as usize];
        let counts = table.epoch == self.epoch;
        table.used |= value != 0;
        let old = std::mem::replace(&mut table.slots[slot], value);
        if old & LINK != 0 && counts {
            let child = &mut self.pages[child(old)];
            if child.epoch == self.epoch {
                child.links = child.links.saturating_sub(1);
            }
        }
        if value & LINK != 0 {
            self.pages[child(value)].links += 1;
        }
    }

    /// What the tables have at `gva`.
    pub fn look_up(&self, gva: Gva) -> Option<Leaf> {
        let mut page = self.root?;
        loop {
            let table = &self.pages[page as usize];
            let shift = if table.level == PAE_ROOT {
                30
            } else {
                3 + 9 * table.level
            };
            let value = table.slots[(gva.bits() >> shift & 511) as usize];
            if value & LINK != 0 {
                page = child(value) as u32;
            } else if value & PRESENT != 0 {
                return Some(leaf(value, gva.align_down(shift), table.level));
            } else {
                return None;
            }
        }
    }

    /// The processor looks `gva` up: in its TLB, in the tables or, where both have something, in either as `luck` says.
    pub fn translate(&mut self, gva: Gva, luck: u64) -> Option<Leaf> {
        let held = self.tlb.iter().filter(|held| held.covers(gva)).count() as u64;
        // One part in four: a walk though the TLB would do, as if it had just lost the entry.
        if held > 0 && luck & 3 != 0 {
            let nth = (luck >> 2) % held;
            return self
                .tlb
                .iter()
                .filter(|held| held.covers(gva))
                .nth(nth as usize)
                .copied();
        }
        let found = self.look_up(gva)?;
        self.cache(found, luck >> 8);
        Some(found)
    }

    /// The processor caches a translation.
    fn cache(&mut self, leaf: Leaf, luck: u64) {
        if self.tlb.contains(&leaf) {
            return;
        }
        if self.tlb.len() < TLB {
            self.tlb.push(leaf);
        } else {
            self.tlb[(luck % TLB as u64) as usize] = leaf;
        }
    }

    /// The processor looks an address up for no reason.
    pub fn speculate(&mut self, gva: Gva, luck: u64) {
        if let Some(found) = self.look_up(gva) {
            self.cache(found, luck);
        }
    }

    /// The processor forgets an address, as some do when it faults.
    pub fn forget(&mut self, gva: Gva) {
        self.tlb.retain(|held| !held.covers(gva));
    }
}

const fn child(value: u64) -> usize {
    (value >> 12) as usize
}

fn leaf(value: u64, gva: Gva, level: u32) -> Leaf {
    Leaf {
        gva,
        gpa: Gpa::new(value >> 12 << 12),
        size: PageSize::from_level(level).unwrap_or(PageSize::Size4K),
        rights: Rights {
            write: value & WRITE != 0,
            user: value & USER != 0,
            execute: value & EXECUTE != 0,
        },
    }
}

impl ShadowTables for Pool<'_> {
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError> {
        self.begin()?;
        self.check_unused(page)?;
        self.empty(page, level);
        Ok(())
    }

    fn reset_pae_root(&mut self, page: u32, directories: [u32; 4]) -> Result<(), TableError> {
        self.begin()?;
        self.check_unused(page)?;
        for directory in directories {
            if directory == page || self.level(directory)? != 2 {
                return self.refuse(format!("page {directory} is no directory"));
            }
        }
        self.empty(page, PAE_ROOT);
        for (slot, directory) in directories.into_iter().enumerate() {
            self.put(page, slot, u64::from(directory) << 12 | PRESENT | LINK);
        }
        Ok(())
    }

    fn link(&mut self, parent: u32, slot: u32, child: u32) -> Result<(), TableError> {
        self.begin()?;
        let (level, below) = (self.level(parent)?, self.level(child)?);
        if !(2..=4).contains(&level) || below + 1 != level {
            return self.refuse(format!("link from level {level} to level {below}"));
        }
        if self.pages[parent as usize].slots[slot as usize] != 0 {
            return self.refuse(format!("link over slot {slot} of page {parent}"));
        }
        self.put(
            parent,
            slot as usize,
            u64::from(child) << 12 | PRESENT | LINK,
        );
        Ok(())
    }

    fn fill(
        &mut self,
        page: u32,
        slot: u32,
        gfn: Gfn,
        size: PageSize,
        rights: Rights,
    ) -> Result<(), TableError> {
        self.begin()?;
        let level = self.level(page)?;
        if level != size.level() {
            return self.refuse(format!("{size:?} in level {level}"));
        }
        if self.pages[page as usize].slots[slot as usize] & LINK != 0 {
            return self.refuse(format!("fill over a link in page {page}"));
        }
        let gpa = gfn.gpa().bits();
        if !gpa.is_multiple_of(size.bytes()) || !self.ram.has(gpa, size.bytes()) {
            return self.refuse(format!("fill of {gpa:#x}, which is no frame"));
        }
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let value = gpa
            | PRESENT
            | flag(rights.write, WRITE)
            | flag(rights.user, USER)
            | flag(rights.execute, EXECUTE);
        self.put(page, slot as usize, value);
        Ok(())
    }

    fn clear(&mut self, page: u32, slot: u32, count: u32) -> Result<(), TableError> {
        self.begin()?;
        if self.level(page)? == PAE_ROOT || count == 0 || slot + count > 512 {
            return self.refuse(format!("clear of page {page}, slots {slot} + {count}"));
        }
        for slot in slot..slot + count {
            self.put(page, slot as usize, 0);
        }
        Ok(())
    }

    fn set_root(&mut self, page: u32) -> Result<(), TableError> {
        self.begin()?;
        let level = self.level(page)?;
        if level < 4 {
            return self.refuse(format!("root of level {level}"));
        }
        self.root = Some(page);
        self.tlb.clear();
        Ok(())
    }

    fn invalidate(&mut self, what: Flush) -> Result<(), TableError> {
        self.begin()?;
        match what {
            Flush::All => self.tlb.clear(),
            Flush::Address(gva) => self.tlb.retain(|held| !held.covers(gva)),
        }
        Ok(())
    }

    fn retire(&mut self) -> Result<(), TableError> {
        self.begin()?;
        self.revoke();
        Ok(())
    }
}
