//! Frames: memory that can be mapped, in a user address space or in a guest-physical space, once per capability.

use crate::cap::{Frame, Mapping, SpaceKind, Words, frame_bits, frame_rights};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::table::{Entry, GUEST_TOP};
use crate::slot::Slot;
use core::cell::Cell;
use sel4_abi::{Error, LookupFailure, label};
use words::x86::pte;

/// A checked mapping.
struct Map {
    entry: Ref<Cell<u64>>,
    value: u64,
    /// The frame's capability, mapped so.
    cap: Words,
    root: Ref<crate::mem::Page>,
}

/// Page-attribute bits of a leaf: write-through, cache-disable, and PAT where this size keeps it.
fn attributes(word: u64, size: u8) -> u64 {
    let pat = if size == 0 { pte::PAT } else { pte::PAT_LARGE };
    ((word & 1) * pte::PWT) | ((word >> 1 & 1) * pte::PCD) | ((word >> 2 & 1) * pat)
}

/// Bits of a leaf by the frame's rights: those to read and to write.
const ACCESS: [u64; 4] = [0, 0, pte::US, pte::US | pte::RW];

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_frame(&mut self, slot: Ref<Slot>, msg: &Message) -> Outcome {
        let frame = slot.words().frame().ok_or(Fail::capability(0))?;
        self.invoke_known_frame(frame, slot, msg)
    }

    /// `frame` is what the slot holds.
    #[inline(always)]
    pub(crate) fn invoke_known_frame(
        &mut self,
        frame: Frame,
        slot: Ref<Slot>,
        msg: &Message,
    ) -> Outcome {
        match msg.label {
            label::X86_PAGE_MAP => self.map_frame(frame, slot, msg, SpaceKind::Host),
            label::PAGE_MAP_GUEST => self.map_guest_frame(frame, slot, msg),
            label::X86_PAGE_UNMAP => {
                if let Some(mapping) = frame.mapping() {
                    self.unmap_frame(frame.base(), frame.size(), mapping);
                    slot.set_words(frame.with_mapping(None));
                }
                Ok(Done::Empty)
            }
            label::X86_PAGE_GET_ADDRESS => Ok(Done::words(&[frame.base()])),
            _ => Err(Fail::error(Error::IllegalOperation)),
        }
    }

    #[inline(never)]
    fn map_guest_frame(&mut self, frame: Frame, slot: Ref<Slot>, msg: &Message) -> Outcome {
        self.map_frame(frame, slot, msg, SpaceKind::Guest)
    }

    #[inline(always)]
    fn map_frame(
        &mut self,
        frame: Frame,
        slot: Ref<Slot>,
        msg: &Message,
        kind: SpaceKind,
    ) -> Outcome {
        let map = self.decode_map(frame, msg, kind)?;
        let before = map.entry.replace(map.value);
        slot.set_words(map.cap);
        if before & pte::P != 0 {
            match kind {
                SpaceKind::Host if self.loaded_space == map.root.bits() => {
                    self.machine.invalidate_page(msg.word(0));
                }
                SpaceKind::Host => {}
                SpaceKind::Guest => self.guest_space_changed(map.root),
            }
        }
        Ok(Done::Empty)
    }

    #[inline(always)]
    fn decode_map(&self, frame: Frame, msg: &Message, kind: SpaceKind) -> Result<Map, Fail> {
        msg.need(3, 1)?;
        let size = frame.size();
        let (root, asid) = match self.live_space(&msg.extra(0)) {
            Some(found) if kind == SpaceKind::Host => found,
            _ => self.space_named(msg.extra(0).cap(), kind)?,
        };
        let address = msg.word(0);
        if let Some(mapping) = frame.mapping() {
            if mapping.asid != asid {
                return Err(Fail::capability(1));
            }
            if mapping.kind != kind {
                return Err(Fail::error(Error::IllegalOperation));
            }
            if mapping.address != address {
                return Err(Fail::argument(0));
            }
        }
        let bytes = 1u64 << frame_bits(size);
        let in_range = match kind {
            SpaceKind::Host => Self::is_user_range(address, bytes),
            SpaceKind::Guest => address
                .checked_add(bytes)
                .is_some_and(|end| end <= GUEST_TOP),
        };
        if !in_range {
            return Err(Fail::argument(0));
        }
        if address & (bytes - 1) != 0 {
            return Err(Fail::error(Error::AlignmentError));
        }
        // A guest's memory is plain memory: a device frame would reach the machine's registers.
        if kind == SpaceKind::Guest && frame.is_device() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let level = u32::from(size) + 1;
        let entry = match Self::table_entry(root, address, level) {
            Entry::Found(entry) => entry,
            Entry::Missing(bits_left) => {
                return Err(Fail::lookup(
                    false,
                    LookupFailure::MissingCapability { bits_left },
                ));
            }
        };
        if level > 1 && entry.get() & pte::P != 0 && entry.get() & pte::PS == 0 {
            return Err(Fail::error(Error::DeleteFirst));
        }
        let allowed = frame_rights(frame.rights() & msg.word(1) as u8);
        let mut value = frame.base()
            | pte::P
            | attributes(msg.word(2), size)
            | ACCESS[usize::from(allowed & 3)];
        if level > 1 {
            value |= pte::PS;
        }
        let cap = frame.with_mapping(Some(Mapping {
            asid,
            address,
            kind,
        }));
        Ok(Map {
            entry,
            value,
            cap,
            root,
        })
    }

    /// Takes a frame out of the space it is mapped in, if it still is.
    pub(crate) fn unmap_frame(&mut self, base: u64, size: u8, mapping: Mapping) {
        let Some(root) = self.space_root(mapping.asid, mapping.kind) else {
            return;
        };
        let level = u32::from(size) + 1;
        let Entry::Found(entry) = Self::table_entry(root, mapping.address, level) else {
            return;
        };
        let value = entry.get();
        let is_leaf = level == 1 || value & pte::PS != 0;
        let address = value & pte::ADDRESS & !((1 << frame_bits(size)) - 1);
        if value & pte::P != 0 && is_leaf && address == base {
            entry.set(0);
            match mapping.kind {
                SpaceKind::Host if self.loaded_space == root.bits() => {
                    self.machine.invalidate_page(mapping.address)
                }
                SpaceKind::Host => {}
                SpaceKind::Guest => self.guest_space_changed(root),
            }
        }
    }
}
