//! Paging structures of user address spaces and of guest-physical spaces: one format (long mode; nested paging uses the
//! same), one set of operations.

use crate::cap::{Cap, Mapping, SpaceKind};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{Page, Ref};
use crate::slot::{self, Slot};
use core::cell::Cell;
use sel4_abi::{Error, LookupFailure, USER_TOP, label};
use words::Gva;
use words::x86::pte;

/// Guest-physical addresses end here: the upper half of a guest root holds no translations (slot 511 names the pools).
pub const GUEST_TOP: u64 = 1 << 47;

/// Where a walk for an entry of `level` ended.
pub(crate) enum Entry {
    /// The entry.
    Found(Ref<Cell<u64>>),
    /// A table above is missing; `bits_left` as seL4 reports it.
    Missing(u64),
}

fn entry_of(table: Ref<Page>, index: usize) -> Ref<Cell<u64>> {
    Ref::at(table.bits() + 8 * index as u64)
}

/// Flags of an entry that leads to a lower table: the leaf decides.
const DIRECTORY: u64 = pte::P | pte::RW | pte::US;

impl<M: Machine> Kernel<M> {
    /// The entry of `level` (1..=3) that translates `address`.
    #[inline(always)]
    pub(crate) fn table_entry(root: Ref<Page>, address: u64, level: u32) -> Entry {
        let gva = Gva::new(address);
        let mut table = root;
        for above in [4, 3, 2] {
            if above <= level {
                break;
            }
            let entry = table.0[gva.index(above)].get();
            if entry & pte::P == 0 || entry & pte::PS != 0 {
                return Entry::Missing(12 + 9 * u64::from(above - 1));
            }
            table = Ref::at(entry & pte::ADDRESS);
        }
        Entry::Found(entry_of(table, gva.index(level)))
    }

    /// The space a capability names: its root and number, if it lives.
    pub(crate) fn space_of(&self, cap: Cap, kind: SpaceKind) -> Option<(Ref<Page>, u16)> {
        self.space_named(cap, kind).ok()
    }

    /// The same, or what to answer: extra capability 1 is no space, or its number leads to no pool or nowhere.
    pub(crate) fn space_named(&self, cap: Cap, kind: SpaceKind) -> Result<(Ref<Page>, u16), Fail> {
        match cap {
            Cap::Table {
                object,
                level: 4,
                kind: found,
                mapping: Some(Mapping { asid, .. }),
            } if found == kind => match self.space_root(asid, kind) {
                Some(root) if root == object => Ok((object, asid)),
                Some(_) => Err(Fail::capability(1)),
                None => Err(Fail::lookup(false, LookupFailure::InvalidRoot)),
            },
            _ => Err(Fail::capability(1)),
        }
    }

    pub(crate) fn invoke_table(&mut self, slot: Ref<Slot>, msg: &Message) -> Outcome {
        let Cap::Table {
            object,
            level,
            kind,
            mapping,
        } = slot.cap()
        else {
            return Err(Fail::capability(0));
        };
        let labels = match (kind, level) {
            (SpaceKind::Host, 3) => (label::X86_PDPT_MAP, label::X86_PDPT_UNMAP),
            (SpaceKind::Host, 2) => (
                label::X86_PAGE_DIRECTORY_MAP,
                label::X86_PAGE_DIRECTORY_UNMAP,
            ),
            (SpaceKind::Host, 1) => (label::X86_PAGE_TABLE_MAP, label::X86_PAGE_TABLE_UNMAP),
            (SpaceKind::Guest, 3) => (label::GUEST_PDPT_MAP, label::GUEST_PDPT_UNMAP),
            (SpaceKind::Guest, 2) => (
                label::GUEST_PAGE_DIRECTORY_MAP,
                label::GUEST_PAGE_DIRECTORY_UNMAP,
            ),
            (SpaceKind::Guest, 1) => (label::GUEST_PAGE_TABLE_MAP, label::GUEST_PAGE_TABLE_UNMAP),
            _ => return Err(Fail::error(Error::IllegalOperation)),
        };
        if msg.label == labels.1 {
            if !slot::is_final(slot) {
                return Err(Fail::error(Error::RevokeFirst));
            }
            if let Some(mapping) = mapping {
                self.unmap_table(object, level, mapping);
                crate::mem::zero(object.bits(), 4096);
                slot.set_cap(Cap::Table {
                    object,
                    level,
                    kind,
                    mapping: None,
                });
            }
            return Ok(Done::Empty);
        }
        if msg.label != labels.0 {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(2, 1)?;
        if mapping.is_some() {
            return Err(Fail::capability(0));
        }
        let (root, asid) = self.space_named(msg.extra(0).cap(), kind)?;
        let span = 12 + 9 * u64::from(level);
        let address = msg.word(0) & !((1 << span) - 1);
        let top = if kind == SpaceKind::Host {
            USER_TOP
        } else {
            GUEST_TOP
        };
        if address >= top {
            return Err(Fail::argument(0));
        }
        let entry = match Self::table_entry(root, address, u32::from(level) + 1) {
            Entry::Found(entry) => entry,
            Entry::Missing(bits_left) => {
                return Err(Fail::lookup(
                    false,
                    LookupFailure::MissingCapability { bits_left },
                ));
            }
        };
        if entry.get() & pte::P != 0 {
            return Err(Fail::error(Error::DeleteFirst));
        }
        entry.set(object.bits() | DIRECTORY);
        slot.set_cap(Cap::Table {
            object,
            level,
            kind,
            mapping: Some(Mapping {
                asid,
                address,
                kind,
            }),
        });
        Ok(Done::Empty)
    }

    /// Takes the table out of its space.
    fn unmap_table(&mut self, object: Ref<Page>, level: u8, mapping: Mapping) {
        let Some(root) = self.space_root(mapping.asid, mapping.kind) else {
            return;
        };
        if let Entry::Found(entry) = Self::table_entry(root, mapping.address, u32::from(level) + 1)
            && entry.get() & pte::P != 0
            && entry.get() & pte::ADDRESS == object.bits()
        {
            entry.set(0);
            match mapping.kind {
                SpaceKind::Host => self.machine.flush_tlb(),
                SpaceKind::Guest => self.guest_space_changed(root),
            }
        }
    }

    pub(crate) fn finalise_table(
        &mut self,
        object: Ref<Page>,
        level: u8,
        kind: SpaceKind,
        mapping: Option<Mapping>,
    ) {
        if level == 4 && kind == SpaceKind::Guest {
            self.guest_space_finalise(object);
        }
        match mapping {
            Some(mapping) if level == 4 => self.asid_release(mapping.asid, object),
            Some(mapping) => self.unmap_table(object, level, mapping),
            None => {}
        }
    }
}
