//! Nested paging: the processor walks the guest's own tables, and the guest-physical space below them (APM vol. 2, 15.25).
//!
//! A vCPU is bound to one guest-physical space, or to a shadow pool, never to both, and for good. The space's tree is
//! what the processor walks: there is nothing else to check.

use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::object::shadow_pool::MAX_VCPUS;
use crate::object::{Vcpu, guest_space};
use sel4_abi::Error;
use words::x86::{cr0, cr4, pte};
use words::{Gpa, Gva};

impl<M: Machine> Kernel<M> {
    /// Makes a vCPU run under nested paging on the space in the message.
    pub(crate) fn vcpu_set_nested(&mut self, vcpu: Ref<Vcpu>, msg: &Message) -> Outcome {
        msg.need(0, 1)?;
        let (root, _) = self
            .space_of(msg.extra(0).cap(), crate::cap::SpaceKind::Guest)
            .ok_or(Fail::capability(1))?;
        let bound = vcpu.pool.get().is_some() || vcpu.nested.get();
        if bound || !self.machine.svm().nested {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let vcpus =
            core::iter::successors(guest_space::first_vcpu(root), |vcpu| vcpu.space_next.get());
        if vcpus.count() >= MAX_VCPUS {
            return Err(Fail::error(Error::DeleteFirst));
        }
        vcpu.nested.set(true);
        vcpu.space.set(Some(root));
        vcpu.space_next.set(guest_space::first_vcpu(root));
        guest_space::set_first_vcpu(root, Some(vcpu));
        vcpu.flush.set(true);
        Ok(Done::Empty)
    }

    /// The vCPU leaves its space.
    pub(crate) fn vcpu_leave_space(&mut self, vcpu: Ref<Vcpu>) {
        let Some(root) = vcpu.space.get() else { return };
        let after = vcpu.space_next.get();
        match guest_space::first_vcpu(root) {
            Some(first) if first == vcpu => guest_space::set_first_vcpu(root, after),
            mut next => {
                while let Some(before) = next {
                    if before.space_next.is(vcpu) {
                        before.space_next.set(after);
                    }
                    next = before.space_next.get();
                }
            }
        }
        vcpu.space.set(None);
        vcpu.space_next.set(None);
        vcpu.flush.set(true);
    }
}

/// The host frame behind the guest's linear address, by the guest's own tables: what the processor fetched from, unless
/// the guest has changed its tables since. Only present bits, sizes and addresses count, for the guest was there. At most
/// four entries are read, each from memory that the guest-physical space gives the guest.
pub(crate) fn frame(vcpu: Ref<Vcpu>, gva: Gva) -> Option<u64> {
    let root = vcpu.space.get()?;
    let gpa = guest_address(vcpu, root, gva)?;
    Some(guest_space::backing(root, gpa.frame())?.hpa & !4095)
}

fn guest_address(vcpu: Ref<Vcpu>, root: Ref<Page>, gva: Gva) -> Option<Gpa> {
    const LOW: u64 = 0xffff_ffff;
    let (cr3, cr4) = (vcpu.cr3.get(), vcpu.cr4.get());
    if vcpu.cr0.get() & cr0::PG == 0 {
        return Some(Gpa::new(gva.bits() & LOW));
    }
    if vcpu.is_long() {
        return walk(root, cr3 & pte::ADDRESS, 4, gva);
    }
    if cr4 & cr4::PAE != 0 {
        // The four page-directory pointers lie on a boundary of 32 bytes (APM vol. 2, 5.2.2).
        let at = (cr3 & LOW & !31) + 8 * (gva.bits() >> 30 & 3);
        let pointer = word(root, at)?;
        return (pointer & pte::P != 0)
            .then(|| walk(root, pointer & pte::ADDRESS, 2, gva))
            .flatten();
    }
    two_level(root, cr3 & LOW & !4095, cr4 & cr4::PSE != 0, gva)
}

/// Tables of eight-byte entries, from `level` down.
fn walk(root: Ref<Page>, mut table: u64, level: u32, gva: Gva) -> Option<Gpa> {
    for level in (1..=level).rev() {
        let entry = word(root, table + 8 * gva.index(level) as u64)?;
        if entry & pte::P == 0 {
            return None;
        }
        table = entry & pte::ADDRESS;
        if level == 1 || (level < 4 && entry & pte::PS != 0) {
            let offset = (1 << (12 + 9 * (level - 1))) - 1;
            return Some(Gpa::new(table & !offset | gva.bits() & offset));
        }
    }
    None
}

/// Tables of four-byte entries (APM vol. 2, 5.2.1), with 4 MiB pages of up to 40 address bits.
fn two_level(root: Ref<Page>, directory: u64, large: bool, gva: Gva) -> Option<Gpa> {
    const OFFSET: u64 = (4 << 20) - 1;
    let address = gva.bits() & 0xffff_ffff;
    let entry = half_word(root, directory + 4 * (address >> 22))?;
    if entry & pte::P == 0 {
        return None;
    }
    if large && entry & pte::PS != 0 {
        let high = (entry >> 13 & 0xff) << 32;
        return Some(Gpa::new(high | entry & !OFFSET | address & OFFSET));
    }
    let entry = half_word(root, (entry & !4095) + 4 * (address >> 12 & 1023))?;
    (entry & pte::P != 0).then(|| Gpa::new(entry & !4095 | address & 4095))
}

fn half_word(root: Ref<Page>, gpa: u64) -> Option<u64> {
    Some(word(root, gpa & !7)? >> (8 * (gpa & 4)) & 0xffff_ffff)
}

/// Eight bytes of the guest's memory, aligned.
fn word(root: Ref<Page>, gpa: u64) -> Option<u64> {
    let hpa = guest_space::backing(root, Gpa::new(gpa).frame())?.hpa & !4095;
    let page: Ref<Page> = Ref::at(hpa);
    Some(page.0[(gpa & 4095) as usize / 8].get())
}
