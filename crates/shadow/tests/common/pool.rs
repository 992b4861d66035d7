//! A stand-in for the kernel's shadow pool and the processor behind it: real entries, levels, link counts, epochs, and a TLB
//! that forgets only what it is told to forget. Whatever the kernel would refuse is refused and remembered.

use super::{Ram, Try};
use exit_abi::Mode;
use shadow::{Flush, Rights, ShadowTables, TableError};
use words::{Gfn, PageSize};

const PAE_ROOT: u32 = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    Empty,
    Table(u32),
    Leaf {
        gpa: u64,
        size: PageSize,
        rights: Rights,
    },
}

#[derive(Clone, Debug)]
struct Page {
    level: u32,
    epoch: u64,
    links: u32,
    slots: Vec<Slot>,
}

/// A translation the processor may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    pub va: u64,
    pub gpa: u64,
    pub bits: u32,
    pub rights: Rights,
}

#[derive(Debug)]
pub struct Pool {
    pages: Vec<Page>,
    epoch: u64,
    pub root: Option<u32>,
    pub tlb: Vec<Cached>,
    /// The next operation finds that the kernel revoked something.
    pub revoke_before_next: bool,
    pub refused: Vec<String>,
    /// So do as many more that need a page not to be stale.
    pub stale_for: u32,
    /// The operation with this number finds that.
    pub revoke_at: Option<u64>,
    /// So many operations from now are done; as many after them as the second number says are refused for no reason.
    pub failing: Option<(u64, u32)>,
    failed: bool,
    /// Operations done.
    pub operations: u64,
}

impl Pool {
    pub fn new(pages: usize) -> Self {
        let page = Page {
            level: 0,
            epoch: 0,
            links: 0,
            slots: Vec::new(),
        };
        Self {
            pages: vec![page; pages],
            epoch: 1,
            root: None,
            tlb: Vec::new(),
            revoke_before_next: false,
            refused: Vec::new(),
            stale_for: 0,
            revoke_at: None,
            failing: None,
            failed: false,
            operations: 0,
        }
    }

    /// What the kernel does when a frame leaves the guest-physical space.
    pub fn revoke(&mut self) {
        self.epoch += 1;
        self.root = None;
        self.tlb.clear();
    }

    fn begin(&mut self) -> Result<(), TableError> {
        self.operations += 1;
        if std::mem::take(&mut self.revoke_before_next) || self.revoke_at == Some(self.operations) {
            self.revoke();
        }
        match self.failing {
            Some((0, 0)) | None => Ok(()),
            Some((0, left)) => {
                self.failing = Some((0, left - 1));
                self.failed = true;
                Err(TableError::Refused)
            }
            Some((wait, left)) => {
                self.failing = Some((wait - 1, left));
                Ok(())
            }
        }
    }

    /// Whether operations were refused for no reason since this was last asked.
    pub fn has_failed(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }

    fn refuse(&mut self, why: String) -> Result<(), TableError> {
        self.refused.push(why);
        Err(TableError::Refused)
    }

    fn live(&self, page: u32) -> Result<&Page, TableError> {
        let page = &self.pages[page as usize];
        if page.epoch == self.epoch {
            Ok(page)
        } else {
            Err(TableError::Stale)
        }
    }

    fn check_unused(&mut self, page: u32) -> Result<(), TableError> {
        let found = &self.pages[page as usize];
        if found.epoch == self.epoch && (found.links > 0 || self.root == Some(page)) {
            return self.refuse(format!("reset of page {page}, which is in use"));
        }
        for slot in 0..found.slots.len() {
            self.unlink(page, slot);
        }
        Ok(())
    }

    fn unlink(&mut self, page: u32, slot: usize) {
        let old = std::mem::replace(&mut self.pages[page as usize].slots[slot], Slot::Empty);
        if let Slot::Table(child) = old
            && self.pages[page as usize].epoch == self.epoch
            && self.pages[child as usize].epoch == self.epoch
        {
            self.pages[child as usize].links -= 1;
        }
    }

    /// What stands in a page.
    pub fn slots(&self, page: u32) -> &[Slot] {
        &self.pages[page as usize].slots
    }

    /// Every leaf reachable from the root, with the first address it covers.
    pub fn leaves(&self) -> Vec<Cached> {
        let mut found = Vec::new();
        if let Some(root) = self.root {
            self.collect(root, 0, &mut found);
        }
        found
    }

    fn collect(&self, page: u32, va: u64, found: &mut Vec<Cached>) {
        let Page { level, slots, .. } = &self.pages[page as usize];
        let shift = if *level == PAE_ROOT {
            30
        } else {
            3 + 9 * level
        };
        for (index, slot) in slots.iter().enumerate() {
            let mut va = va | (index as u64) << shift;
            if *level == 4 && index >= 256 {
                va |= 0xffff << 48;
            }
            match *slot {
                Slot::Empty => {}
                Slot::Table(child) => self.collect(child, va, found),
                Slot::Leaf { gpa, size, rights } => found.push(Cached {
                    va,
                    gpa,
                    bits: size.bits(),
                    rights,
                }),
            }
        }
    }

    fn look_up(&self, va: u64) -> Option<Cached> {
        let mut page = self.root?;
        if self.pages[page as usize].level == PAE_ROOT {
            assert!(va >> 32 == 0, "a 32-bit address");
            let Slot::Table(child) = self.pages[page as usize].slots[(va >> 30) as usize] else {
                return None;
            };
            page = child;
        }
        loop {
            let Page { level, slots, .. } = &self.pages[page as usize];
            let shift = 3 + 9 * level;
            match slots[(va >> shift & 511) as usize] {
                Slot::Empty => return None,
                Slot::Table(child) => page = child,
                Slot::Leaf { gpa, size, rights } => {
                    let va = va >> size.bits() << size.bits();
                    return Some(Cached {
                        va,
                        gpa,
                        bits: size.bits(),
                        rights,
                    });
                }
            }
        }
    }

    /// The processor's access, with the real CR0.WP set and the guest's own SMEP and SMAP while it has paging on: where it
    /// leads, or `None` for a page fault.
    pub fn access(&mut self, mode: u32, va: u64, access: Try) -> Option<u64> {
        let held = self
            .tlb
            .iter()
            .find(|held| held.covers(va) && held.grants(mode, access))
            .copied();
        let used = match held {
            Some(held) => held,
            None => {
                let found = self
                    .look_up(va)
                    .filter(|found| found.grants(mode, access))?;
                self.expect_one_size(found);
                self.tlb.push(found);
                found
            }
        };
        Some(used.gpa + (va - used.va))
    }
}

impl Pool {
    /// Two sizes for one address in the TLB are a machine check on some processors.
    fn expect_one_size(&mut self, new: Cached) {
        let overlaps = |held: &Cached| {
            let bits = held.bits.max(new.bits);
            held.bits != new.bits && held.va >> bits == new.va >> bits
        };
        if let Some(held) = self.tlb.iter().find(|held| overlaps(held)) {
            self.refused
                .push(format!("{new:?} beside {held:?} in the TLB"));
        }
    }
}

impl Cached {
    pub fn covers(&self, va: u64) -> bool {
        va >> self.bits == self.va >> self.bits
    }

    pub fn grants(&self, mode: u32, access: Try) -> bool {
        let on = |bit: u32| mode & (bit | Mode::PG) == bit | Mode::PG;
        let Rights {
            write,
            user,
            execute,
        } = self.rights;
        if access.user && !user {
            return false;
        }
        if access.fetch {
            return execute && (access.user || !user || !on(Mode::SMEP));
        }
        let cpl = mode >> Mode::CPL_SHIFT & 3;
        let stopped = !access.user && user && on(Mode::SMAP) && (cpl == 3 || mode & Mode::AC == 0);
        !stopped && (write || !access.write)
    }
}

impl ShadowTables for Pool {
    fn reset(&mut self, page: u32, level: u32) -> Result<(), TableError> {
        self.begin()?;
        self.check_unused(page)?;
        self.tlb.clear();
        self.pages[page as usize] = Page {
            level,
            epoch: self.epoch,
            links: 0,
            slots: vec![Slot::Empty; 512],
        };
        Ok(())
    }

    fn reset_pae_root(&mut self, page: u32, directories: [u32; 4]) -> Result<(), TableError> {
        self.begin()?;
        self.check_unused(page)?;
        for directory in directories {
            if self.live(directory)?.level != 2 {
                return self.refuse(format!("page {directory} is no directory"));
            }
        }
        self.tlb.clear();
        for directory in directories {
            self.pages[directory as usize].links += 1;
        }
        let slots = directories.map(Slot::Table).to_vec();
        self.pages[page as usize] = Page {
            level: PAE_ROOT,
            epoch: self.epoch,
            links: 0,
            slots,
        };
        Ok(())
    }

    fn link(&mut self, parent: u32, slot: u32, child: u32) -> Result<(), TableError> {
        self.begin()?;
        if self.stale_for > 0 {
            self.stale_for -= 1;
            self.revoke();
        }
        let level = self.live(parent)?.level;
        let below = self.live(child)?.level;
        if !(2..=4).contains(&level) || below + 1 != level {
            return self.refuse(format!("link from level {level} to level {below}"));
        }
        if self.pages[parent as usize].slots[slot as usize] != Slot::Empty {
            return self.refuse(format!("link over slot {slot} of page {parent}"));
        }
        self.pages[parent as usize].slots[slot as usize] = Slot::Table(child);
        self.pages[child as usize].links += 1;
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
        let gpa = gfn.gpa().bits();
        let found = self.live(page)?;
        if found.level != size.level() {
            return self.refuse(format!("{size:?} in level {}", found.level));
        }
        if matches!(found.slots[slot as usize], Slot::Table(_)) {
            return self.refuse(format!("fill over a link in page {page}"));
        }
        if !gpa.is_multiple_of(size.bytes()) || !Ram::default().has(gpa, size.bytes()) {
            return self.refuse(format!("fill of {gpa:#x}, which is no frame"));
        }
        self.pages[page as usize].slots[slot as usize] = Slot::Leaf { gpa, size, rights };
        Ok(())
    }

    fn clear(&mut self, page: u32, slot: u32, count: u32) -> Result<(), TableError> {
        self.begin()?;
        if self.live(page)?.level == PAE_ROOT || slot + count > 512 {
            return self.refuse(format!("clear of page {page}"));
        }
        for slot in slot..slot + count {
            self.unlink(page, slot as usize);
        }
        Ok(())
    }

    fn set_root(&mut self, page: u32) -> Result<(), TableError> {
        self.begin()?;
        let level = self.live(page)?.level;
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
            Flush::Address(gva) => self.tlb.retain(|held| !held.covers(gva.bits())),
        }
        Ok(())
    }

    fn retire(&mut self) -> Result<(), TableError> {
        self.begin()?;
        self.revoke();
        Ok(())
    }
}
