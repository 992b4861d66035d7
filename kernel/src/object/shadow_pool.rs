//! Shadow pool: the pages hardware walks for a guest, written by the kernel alone.
//!
//! A pool is bound to one guest-physical space. Its server names pages by index and entries by guest frame number; the
//! kernel looks the host frame up, takes the intersection of rights, and writes the hardware's format.
//! Always (I1, I2, I6 of docs/isolation.md): a page of the current epoch holds only leaves that the space grants, and links to pages
//! of the current epoch one level below, each counted; a page with links to it or in use as a root keeps its level.

use crate::cap::{Cap, SpaceKind};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{Link, Page, Ref};
use crate::mutant::{self, Mutant};
use crate::object::{Vcpu, guest_space};
use core::cell::Cell;
use sel4_abi::label::{LEVEL_PAE_ROOT, fill, vcpu_right};
use sel4_abi::{Error, label};
use words::x86::pte;
use words::{Gfn, PageSize};

/// Entries of one table, and most entries one call touches.
pub const MAX_ENTRIES: u64 = 512;
/// Most vCPUs of one pool: as many are looked at when one thing leaves the guest's memory, and no interrupt is taken meanwhile.
pub const MAX_VCPUS: usize = 64;
/// Most pools of one guest-physical space, for the same reason.
pub const MAX_POOLS: usize = 8;
/// Most groups of one batched call: what 120 message words hold.
const FILL_GROUP: usize = 3;
const LINK_GROUP: usize = 2;

/// A group touches one entry, or two when a link is replaced by another: no message holds more than a table's worth.
const _: () = assert!(2 * (sel4_abi::MSG_MAX_LENGTH / LINK_GROUP) as u64 <= MAX_ENTRIES);

/// State of one page: the epoch it was reset in, level, incoming links, vCPUs that have it as root.
#[repr(C)]
pub struct PageState {
    pub(crate) epoch: Cell<u64>,
    pub(crate) links: Cell<u32>,
    pub(crate) roots: Cell<u16>,
    pub(crate) level: Cell<u8>,
}

const _: () = assert!(size_of::<PageState>() == 16);

/// A pool's header; page states follow on the next page, the usable pages after them.
#[repr(C, align(4096))]
pub struct ShadowPool {
    pub(crate) space: Link<Page>,
    /// Next pool of the same space.
    pub(crate) next: Link<ShadowPool>,
    pub(crate) vcpus: Link<Vcpu>,
    /// Bumped whenever a frame leaves the space; starts at 1, so that a zeroed page is stale.
    pub(crate) epoch: Cell<u64>,
    usable: Cell<u64>,
    first: Cell<u64>,
}

impl ShadowPool {
    /// A fresh pool of 2^`bits` pages.
    pub fn init(&self, bits: u8) {
        let pages = 1u64 << bits;
        let first = 1 + pages.div_ceil(4096 / size_of::<PageState>() as u64);
        self.epoch.set(1);
        self.first.set(first);
        self.usable.set(pages - first);
    }
    /// Pages a server can use.
    #[must_use]
    pub fn usable(&self) -> u64 {
        self.usable.get()
    }
}

/// A page of the current epoch.
#[derive(Clone, Copy)]
struct Live {
    state: Ref<PageState>,
    table: Ref<Page>,
    level: u8,
}

impl Ref<ShadowPool> {
    pub(crate) fn state(self, index: u64) -> Ref<PageState> {
        Ref::at(self.bits() + 4096 + 16 * index)
    }
    pub(crate) fn page(self, index: u64) -> Ref<Page> {
        Ref::at(self.bits() + 4096 * (self.first.get() + index))
    }
    pub(crate) fn index_of(self, hpa: u64) -> u64 {
        (hpa - self.bits()) / 4096 - self.first.get()
    }
    fn check_index(self, index: u64) -> Result<(), Fail> {
        if index < self.usable.get() {
            Ok(())
        } else {
            Err(Fail::range(0, self.usable.get() - 1))
        }
    }
    fn live(self, index: u64) -> Result<Live, Fail> {
        self.check_index(index)?;
        let state = self.state(index);
        if state.epoch.get() != self.epoch.get() {
            // Stale: it must be reset before it is used.
            return Err(Fail::error(Error::RevokeFirst));
        }
        Ok(Live {
            state,
            table: self.page(index),
            level: state.level.get(),
        })
    }
    /// The host-physical address of a root page, if it is still one that `format` (4 or PAE) allows.
    pub(crate) fn root_table(self, index: u64, long: bool) -> Option<Ref<Page>> {
        let live = self.live(index).ok()?;
        let wanted = if long { 4 } else { LEVEL_PAE_ROOT as u8 };
        (live.level == wanted).then_some(live.table)
    }
    pub(crate) fn release_root(self, index: u64) {
        let state = self.state(index);
        state.roots.set(state.roots.get().saturating_sub(1));
    }
    /// Takes back what `entry` of a table of `level` held: a link no longer counts.
    fn drop_entry(self, level: u8, entry: u64) {
        let is_link = entry & pte::P != 0
            && (u64::from(level) == LEVEL_PAE_ROOT || (level > 1 && entry & pte::PS == 0));
        if is_link {
            let child = self.state(self.index_of(entry & pte::ADDRESS));
            child.links.set(child.links.get() - 1);
        }
    }
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_pool(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        match msg.label {
            label::POOL_BIND_SPACE => self.pool_bind_space(pool, msg),
            label::POOL_BIND_VCPU => self.pool_bind_vcpu(pool, msg),
            label::POOL_RESET => self.pool_reset(pool, msg),
            label::POOL_LINK => self.pool_link(pool, msg),
            label::POOL_FILL => self.pool_fill(pool, msg),
            label::POOL_CLEAR => self.pool_clear(pool, msg),
            label::POOL_HARVEST => self.pool_harvest(pool, msg),
            label::POOL_SET_ROOT => self.pool_set_root(pool, msg),
            label::POOL_INVALIDATE => self.pool_invalidate(pool, msg),
            label::POOL_RETIRE => {
                self.pool_retire(pool);
                Ok(Done::Empty)
            }
            label::POOL_INFO => {
                let root = pool
                    .vcpus
                    .get()
                    .and_then(|vcpu| vcpu.root.get())
                    .unwrap_or(u64::MAX);
                Ok(Done::words(&[pool.usable.get(), pool.epoch.get(), root]))
            }
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    fn pool_bind_space(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(0, 1)?;
        let (root, _) = self
            .space_of(msg.extra(0).cap(), SpaceKind::Guest)
            .ok_or(Fail::capability(1))?;
        if pool.space.get().is_some() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let pools = core::iter::successors(guest_space::first_pool(root), |pool| pool.next.get());
        if pools.count() >= MAX_POOLS {
            return Err(Fail::error(Error::DeleteFirst));
        }
        pool.space.set(Some(root));
        pool.next.set(guest_space::first_pool(root));
        guest_space::set_first_pool(root, Some(pool));
        Ok(Done::Empty)
    }

    fn pool_bind_vcpu(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(0, 1)?;
        let vcpu = Self::paging_vcpu(msg)?;
        if vcpu.pool.get().is_some() || vcpu.nested.get() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let vcpus = core::iter::successors(pool.vcpus.get(), |vcpu| vcpu.pool_next.get());
        if vcpus.count() >= MAX_VCPUS {
            return Err(Fail::error(Error::DeleteFirst));
        }
        vcpu.pool.set(Some(pool));
        vcpu.pool_next.set(pool.vcpus.get());
        pool.vcpus.set(Some(vcpu));
        Ok(Done::Empty)
    }

    fn paging_vcpu(msg: &Message) -> Result<Ref<Vcpu>, Fail> {
        match msg.extra(0).cap() {
            Cap::Vcpu { object, rights } if rights.has(vcpu_right::PAGING) => Ok(object),
            _ => Err(Fail::capability(1)),
        }
    }

    fn pool_reset(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(2, 0)?;
        let (index, level) = (msg.word(0), msg.word(1));
        pool.check_index(index)?;
        if !(1..=LEVEL_PAE_ROOT).contains(&level) {
            return Err(Fail::range(1, LEVEL_PAE_ROOT));
        }
        let directories = if level == LEVEL_PAE_ROOT {
            Some(Self::pae_directories(pool, index, msg)?)
        } else {
            None
        };
        let state = pool.state(index);
        let table = pool.page(index);
        if state.epoch.get() == pool.epoch.get() {
            if state.links.get() > 0 || state.roots.get() > 0 {
                return Err(Fail::error(Error::DeleteFirst));
            }
            if state.level.get() > 1 {
                table
                    .0
                    .iter()
                    .for_each(|entry| pool.drop_entry(state.level.get(), entry.get()));
            }
        }
        crate::mem::zero(table.bits(), 4096);
        state.epoch.set(pool.epoch.get());
        state.links.set(0);
        state.roots.set(0);
        state.level.set(level as u8);
        for (slot, child) in directories.into_iter().flatten().enumerate() {
            // PDPTEs have no rights bits (APM vol. 2, 5.2.3).
            table.0[slot].set(pool.page(child).bits() | pte::P);
            let child = pool.state(child);
            child.links.set(child.links.get() + 1);
        }
        // The page may sit in a paging-structure cache under its old level (I3).
        if !mutant::is(Mutant::ResetKeepsTags) {
            self.pool_flush(pool);
        }
        Ok(Done::Empty)
    }

    /// The four page directories of a PAE root: live, of level 2, below 4 GiB as CR3 demands.
    fn pae_directories(pool: Ref<ShadowPool>, index: u64, msg: &Message) -> Result<[u64; 4], Fail> {
        msg.need(6, 0)?;
        let children = [2, 3, 4, 5].map(|n| msg.word(n));
        for child in children {
            if child == index || pool.live(child)?.level != 2 {
                return Err(Fail::error(Error::IllegalOperation));
            }
        }
        if pool.page(index).bits() >> 32 != 0 {
            return Err(Fail::error(Error::IllegalOperation));
        }
        Ok(children)
    }

    fn pool_link(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(LINK_GROUP, 0)?;
        for group in 0..msg.length / LINK_GROUP {
            let (place, child) = (
                msg.word(LINK_GROUP * group),
                msg.word(LINK_GROUP * group + 1),
            );
            let (parent, slot) = (pool.live(place & 0xffff_ffff)?, Self::table_slot(place)?);
            let below = pool.live(child)?;
            let levels = (2..=4).contains(&parent.level) && below.level + 1 == parent.level;
            if !levels {
                return Err(Fail::error(Error::IllegalOperation));
            }
            let entry = &parent.table.0[slot];
            pool.drop_entry(parent.level, entry.get());
            below.state.links.set(below.state.links.get() + 1);
            entry.set(below.table.bits() | pte::P | pte::RW | pte::US | pte::A);
        }
        Ok(Done::Empty)
    }

    fn table_slot(place: u64) -> Result<usize, Fail> {
        let slot = place >> 32;
        if slot < MAX_ENTRIES {
            Ok(slot as usize)
        } else {
            Err(Fail::range(0, MAX_ENTRIES - 1))
        }
    }

    fn pool_fill(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(FILL_GROUP, 0)?;
        let space = pool
            .space
            .get()
            .ok_or(Fail::error(Error::IllegalOperation))?;
        for group in 0..msg.length / FILL_GROUP {
            let [place, gfn, attributes] = [0, 1, 2].map(|n| msg.word(FILL_GROUP * group + n));
            let (page, slot) = (pool.live(place & 0xffff_ffff)?, Self::table_slot(place)?);
            let size = match attributes & fill::SIZE_MASK {
                0 => PageSize::Size4K,
                1 => PageSize::Size2M,
                2 if self.machine.svm().huge_pages => PageSize::Size1G,
                _ => return Err(Fail::argument(2)),
            };
            if u32::from(page.level) != size.level() {
                return Err(Fail::error(Error::IllegalOperation));
            }
            let value = Self::leaf(space, Gfn::new(gfn), size, attributes)?;
            let entry = &page.table.0[slot];
            pool.drop_entry(page.level, entry.get());
            entry.set(value);
        }
        Ok(Done::Empty)
    }

    /// A leaf for `gfn`: the frame's address, and no right that the space does not give (I1). Write-back memory.
    fn leaf(space: Ref<Page>, gfn: Gfn, size: PageSize, attributes: u64) -> Result<u64, Fail> {
        let bytes = size.bytes();
        if gfn.number() >= 1 << 35 || gfn.gpa().bits() & (bytes - 1) != 0 {
            return Err(Fail::error(Error::AlignmentError));
        }
        let Some(backing) = guest_space::backing(space, gfn).filter(|backing| backing.size >= size)
        else {
            let bits_left = u64::from(size.bits());
            return Err(Fail::lookup(
                false,
                sel4_abi::LookupFailure::MissingCapability { bits_left },
            ));
        };
        let mut value = backing.hpa | pte::P;
        if size != PageSize::Size4K {
            value |= pte::PS;
        }
        if attributes & fill::WRITE != 0 && backing.writable {
            value |= pte::RW;
        }
        if attributes & fill::USER != 0 {
            value |= pte::US;
        }
        if attributes & fill::EXECUTE == 0 {
            value |= pte::NX;
        }
        if attributes & fill::TRACK == 0 {
            value |= pte::A | pte::D;
        }
        Ok(value)
    }

    /// A page, a first slot and a count, as CLEAR and HARVEST take them.
    fn slot_range(
        pool: Ref<ShadowPool>,
        msg: &Message,
    ) -> Result<(Live, core::ops::Range<usize>), Fail> {
        msg.need(2, 0)?;
        let (place, count) = (msg.word(0), msg.word(1));
        let page = pool.live(place & 0xffff_ffff)?;
        if u64::from(page.level) == LEVEL_PAE_ROOT {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let slot = Self::table_slot(place)? as u64;
        if !(1..=MAX_ENTRIES - slot).contains(&count) {
            return Err(Fail::range(1, MAX_ENTRIES - slot));
        }
        Ok((page, slot as usize..(slot + count) as usize))
    }

    fn pool_clear(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        let (page, slots) = Self::slot_range(pool, msg)?;
        for entry in &page.table.0[slots] {
            pool.drop_entry(page.level, entry.replace(0));
        }
        Ok(Done::Empty)
    }

    fn pool_harvest(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        let (page, slots) = Self::slot_range(pool, msg)?;
        let count = slots.len();
        let mut words = [0u64; 16];
        for (n, entry) in page.table.0[slots].iter().enumerate() {
            let value = entry.get();
            let leaf = value & pte::P != 0 && (page.level == 1 || value & pte::PS != 0);
            if leaf {
                let bits = u64::from(value & pte::A != 0) | u64::from(value & pte::D != 0) << 1;
                words[n / 32] |= bits << (2 * (n % 32));
                entry.set(value & !(pte::A | pte::D));
            }
        }
        if !mutant::is(Mutant::HarvestKeepsTags) {
            self.pool_flush(pool);
        }
        Ok(self.answer_long(msg, &words[..count.div_ceil(32)]))
    }

    fn pool_set_root(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(1, 1)?;
        let vcpu = Self::paging_vcpu(msg)?;
        if !vcpu.pool.is(pool) || pool.space.get().is_none() {
            return Err(Fail::capability(1));
        }
        let index = msg.word(0);
        let page = pool.live(index)?;
        if page.level != 4 && u64::from(page.level) != LEVEL_PAE_ROOT {
            return Err(Fail::error(Error::IllegalOperation));
        }
        self.vcpu_drop_root(vcpu);
        let roots = page
            .state
            .roots
            .get()
            .checked_add(1)
            .ok_or(Fail::error(Error::IllegalOperation))?;
        page.state.roots.set(roots);
        vcpu.root.set(Some(index));
        if !mutant::is(Mutant::SetRootKeepsTag) {
            vcpu.flush.set(true);
        }
        Ok(Done::Empty)
    }

    fn pool_invalidate(&mut self, pool: Ref<ShadowPool>, msg: &Message) -> Outcome {
        msg.need(1, 0)?;
        match msg.word(0) {
            0 if mutant::is(Mutant::InvalidateAllKeepsTags) => {}
            0 => self.pool_flush(pool),
            1 => {
                msg.need(2, 0)?;
                let mut next = pool.vcpus.get();
                while let Some(vcpu) = next {
                    self.vcpu_invalidate(vcpu, msg.word(1));
                    next = vcpu.pool_next.get();
                    if mutant::is(Mutant::InvalidateAddressOfOneVcpu) {
                        break;
                    }
                }
            }
            _ => return Err(Fail::argument(0)),
        }
        Ok(Done::Empty)
    }

    /// Every vCPU of the pool gets a fresh TLB tag before its next VMRUN.
    fn pool_flush(&mut self, pool: Ref<ShadowPool>) {
        let mut next = pool.vcpus.get();
        while let Some(vcpu) = next {
            vcpu.flush.set(true);
            next = vcpu.pool_next.get();
        }
    }

    /// A new epoch: roots drop off, every page is stale.
    pub(crate) fn pool_retire(&mut self, pool: Ref<ShadowPool>) {
        if !mutant::is(Mutant::RetireKeepsPages) {
            pool.epoch.set(pool.epoch.get() + 1);
        }
        let mut next = pool.vcpus.get();
        while let Some(vcpu) = next {
            vcpu.root.set(None);
            vcpu.flush.set(true);
            next = vcpu.pool_next.get();
        }
    }

    /// The pool goes away: its vCPUs have no root and no pool, its space one pool less.
    pub(crate) fn pool_finalise(&mut self, pool: Ref<ShadowPool>) {
        self.pool_retire(pool);
        while let Some(vcpu) = pool.vcpus.get() {
            self.pool_forget_vcpu(pool, vcpu);
        }
        if let Some(root) = pool.space.get() {
            match guest_space::first_pool(root) {
                Some(first) if first == pool => guest_space::set_first_pool(root, pool.next.get()),
                mut other => {
                    while let Some(before) = other {
                        if before.next.is(pool) {
                            before.next.set(pool.next.get());
                        }
                        other = before.next.get();
                    }
                }
            }
            pool.space.set(None);
        }
    }

    /// A vCPU leaves the pool.
    pub(crate) fn pool_forget_vcpu(&mut self, pool: Ref<ShadowPool>, vcpu: Ref<Vcpu>) {
        if pool.vcpus.is(vcpu) {
            pool.vcpus.set(vcpu.pool_next.get());
        } else {
            let mut next = pool.vcpus.get();
            while let Some(before) = next {
                if before.pool_next.is(vcpu) {
                    before.pool_next.set(vcpu.pool_next.get());
                }
                next = before.pool_next.get();
            }
        }
        vcpu.pool.set(None);
        vcpu.pool_next.set(None);
    }
}
