//! Untyped memory: the only source of objects. A watermark moves up; it goes back to 0 when no child is left.
//!
//! Always: objects made from one untyped do not overlap, lie below the watermark, and began as zeroes.

use crate::cap::{CNode, Cap, SpaceKind, Untyped, Words};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{self, Ref};
use crate::object::{ShadowPool, Tcb};
use crate::slot::{self, Slot};
use sel4_abi::{Error, LookupFailure, RETYPE_FAN_OUT_LIMIT, Rights, label, object};

/// Bytes zeroed between two preemption points.
const CHUNK: u64 = 4096;

/// A checked retype.
struct Retype {
    ty: u64,
    user_bits: u64,
    bits: u64,
    /// The first slot.
    slots: u64,
    first: u64,
    count: u64,
    reset: bool,
}

/// First place at or above `free` (in 16-byte units from `base`) for objects of 2^`bits` bytes.
#[must_use]
pub fn aligned_start(base: u64, free: u64, bits: u64) -> u64 {
    let start = base + (free << 4);
    (start + (1 << bits) - 1) & !((1 << bits) - 1)
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_untyped(&mut self, slot: Ref<Slot>, msg: &Message) -> Outcome {
        if msg.label != label::UNTYPED_RETYPE {
            return Err(Fail::error(Error::IllegalOperation));
        }
        let retype = self.decode_retype(slot, msg)?;
        if retype.reset {
            self.reset_untyped(slot)?;
        }
        self.clean(slot, &retype)?;
        self.perform_retype(slot, &retype);
        Ok(Done::Empty)
    }

    fn decode_retype(&self, slot: Ref<Slot>, msg: &Message) -> Result<Retype, Fail> {
        msg.need(6, 1)?;
        let [ty, user_bits, index, depth, offset, count] = [0, 1, 2, 3, 4, 5].map(|n| msg.word(n));
        let bits = Self::object_bits(ty, user_bits)?;
        let cnode = self.retype_cnode(msg.extra(0), index, depth)?;
        let slots = 1u64 << cnode.radix;
        if offset > slots - 1 {
            return Err(Fail::range(0, slots - 1));
        }
        if !(1..=RETYPE_FAN_OUT_LIMIT).contains(&count) {
            return Err(Fail::range(1, RETYPE_FAN_OUT_LIMIT));
        }
        if count > slots - offset {
            return Err(Fail::range(1, slots - offset));
        }
        if (offset..offset + count).any(|n| !crate::cspace::slot_at(cnode.object, n).is_empty()) {
            return Err(Fail::error(Error::DeleteFirst));
        }
        let Some(Untyped {
            base,
            bits: size,
            device,
            free,
            ..
        }) = slot.words().untyped()
        else {
            return Err(Fail::capability(0));
        };
        let reset = !slot::has_children(slot);
        let free = if reset { 0 } else { free };
        let left = (1u64 << size) - (free << 4);
        if left >> bits < count {
            return Err(Fail::memory(left));
        }
        let is_frame = matches!(
            ty,
            object::X86_4K | object::X86_LARGE_PAGE | object::X64_HUGE_PAGE
        );
        if device && !is_frame && ty != object::UNTYPED {
            return Err(Fail::argument(1));
        }
        let first = aligned_start(base, free, bits);
        if first + (count << bits) > base + (1 << size) {
            return Err(Fail::memory(left));
        }
        let start = crate::cspace::slot_at(cnode.object, offset).bits();
        Ok(Retype {
            ty,
            user_bits,
            bits,
            slots: start,
            first,
            count,
            reset,
        })
    }

    fn object_bits(ty: u64, user_bits: u64) -> Result<u64, Fail> {
        if ty >= object::COUNT {
            return Err(Fail::argument(0));
        }
        let too_large = Fail::range(0, object::MAX_UNTYPED_BITS);
        if user_bits >= 64 {
            return Err(too_large);
        }
        let bits = object::size_bits(ty, user_bits).ok_or(Fail::argument(0))?;
        if bits > object::MAX_UNTYPED_BITS {
            return Err(too_large);
        }
        let wrong = match ty {
            object::CAP_TABLE => user_bits == 0,
            object::UNTYPED => user_bits < object::MIN_UNTYPED_BITS,
            object::SCHED_CONTEXT => user_bits < object::MIN_SCHED_CONTEXT_BITS,
            object::SHADOW_POOL => {
                !(object::MIN_POOL_BITS..=object::MAX_POOL_BITS).contains(&user_bits)
            }
            _ => false,
        };
        if wrong {
            Err(Fail::argument(1))
        } else {
            Ok(bits)
        }
    }

    /// Where new objects go.
    fn retype_cnode(&self, root: Ref<Slot>, index: u64, depth: u64) -> Result<CNode, Fail> {
        let slot = if depth == 0 {
            root
        } else {
            self.lookup_slot(root.words(), index, depth, false)?
        };
        let missing = LookupFailure::MissingCapability { bits_left: depth };
        slot.words()
            .cnode()
            .ok_or_else(|| Fail::lookup(false, missing))
    }

    /// Zeroes what was used, from the top down, and sets the watermark back; preemptible.
    fn reset_untyped(&mut self, slot: Ref<Slot>) -> Result<(), Fail> {
        let Some(mut memory) = slot.words().untyped() else {
            return Ok(());
        };
        if memory.device {
            memory.free = 0;
            slot.set_words(memory.words());
            return Ok(());
        }
        // Nothing lies above the watermark of one that was used up: all of it is zeroed here.
        memory.dirty &= memory.free << 4 < 1 << memory.bits;
        while memory.free > 0 {
            let end = memory.free << 4;
            let start = (end - 1) & !(CHUNK - 1);
            mem::zero(memory.base + start, end - start);
            // What lies below the watermark may be what was left there; what lies above is as it was, or zeroed.
            memory.free = start >> 4;
            slot.set_words(memory.words());
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Zeroes memory nobody has used since power-on, which holds anything; preemptible. What was zeroed before a
    /// preemption still is when the call is done again: nothing above the watermark is in use, and what was used
    /// meanwhile was zeroed when the watermark went back.
    fn clean(&mut self, slot: Ref<Slot>, retype: &Retype) -> Result<(), Fail> {
        let needed = slot
            .words()
            .untyped()
            .is_some_and(|memory| memory.dirty && !memory.device);
        if !needed || retype.ty == object::UNTYPED {
            return Ok(());
        }
        let end = retype.first + (retype.count << retype.bits);
        // The calling thread's own: another's retype is not to undo it.
        let (start, done) = self.current.cleaned.get();
        let mut at = if start == retype.first && done <= end {
            done
        } else {
            retype.first
        };
        while at < end {
            let next = (at + CHUNK).min(end);
            mem::zero(at, next - at);
            at = next;
            self.current.cleaned.set((retype.first, at));
            self.preemption_point()?;
        }
        self.current.cleaned.set((0, 0));
        Ok(())
    }

    fn perform_retype(&mut self, slot: Ref<Slot>, retype: &Retype) {
        let Some(memory) = slot.words().untyped() else {
            return;
        };
        let end = retype.first + (retype.count << retype.bits);
        let free = (end - memory.base) >> 4;
        slot.set_words(Untyped { free, ..memory }.words());
        // Those that one retype makes differ in their place only.
        let Words(place, rest) = Self::object_cap(retype, memory).words();
        for n in 0..retype.count {
            let offset = n << retype.bits;
            self.init_object(retype.ty, retype.first + offset, retype.user_bits);
            let to = retype.slots + (n << object::SLOT_BITS);
            slot::insert_new(Words(place + offset, rest), slot, Ref::at(to));
        }
    }

    /// What is not zero in a new object.
    fn init_object(&mut self, ty: u64, at: u64, user_bits: u64) {
        match ty {
            object::TCB => Ref::<Tcb>::at(at).init(),
            object::X64_PML4 => {
                let root: Ref<mem::Page> = Ref::at(at);
                for n in self.first_shared..512 {
                    root.0[n].set(self.kernel_pml4.0[n].get());
                }
            }
            object::VCPU => self.vcpu_init(Ref::at(at)),
            object::SHADOW_POOL => Ref::<ShadowPool>::at(at).init(user_bits as u8),
            _ => {}
        }
    }

    /// The capability of the first of the new objects.
    fn object_cap(retype: &Retype, memory: Untyped) -> Cap {
        let Untyped { device, dirty, .. } = memory;
        let &Retype {
            ty,
            user_bits,
            first: at,
            ..
        } = retype;
        let table = |level, kind| Cap::Table {
            object: Ref::at(at),
            level,
            kind,
            mapping: None,
        };
        let frame = |size| Cap::Frame {
            base: at,
            size,
            device,
            rights: 3,
            mapping: None,
        };
        match ty {
            object::UNTYPED => Cap::Untyped {
                base: at,
                bits: user_bits as u8,
                device,
                dirty,
                free: 0,
            },
            object::TCB => Cap::Tcb {
                object: Ref::at(at),
            },
            object::ENDPOINT => Cap::Endpoint {
                object: Ref::at(at),
                badge: 0,
                rights: Rights::ALL,
            },
            object::NOTIFICATION => Cap::Notification {
                object: Ref::at(at),
                badge: 0,
                rights: Rights::new(3),
            },
            object::CAP_TABLE => Cap::CNode {
                object: at,
                radix: user_bits as u8,
                guard_size: 0,
                guard: 0,
            },
            object::SCHED_CONTEXT => Cap::SchedContext {
                object: Ref::at(at),
                bits: user_bits as u8,
            },
            object::REPLY => Cap::Reply {
                object: Ref::at(at),
                grant: true,
            },
            object::X86_4K => frame(0),
            object::X86_LARGE_PAGE => frame(1),
            object::X64_HUGE_PAGE => frame(2),
            object::X86_PAGE_TABLE => table(1, SpaceKind::Host),
            object::X86_PAGE_DIRECTORY => table(2, SpaceKind::Host),
            object::X86_PDPT => table(3, SpaceKind::Host),
            object::X64_PML4 => table(4, SpaceKind::Host),
            object::GUEST_PAGE_TABLE => table(1, SpaceKind::Guest),
            object::GUEST_PAGE_DIRECTORY => table(2, SpaceKind::Guest),
            object::GUEST_PDPT => table(3, SpaceKind::Guest),
            object::GUEST_PML4 => table(4, SpaceKind::Guest),
            object::VCPU => Cap::Vcpu {
                object: Ref::at(at),
                rights: Rights::new(7),
            },
            _ => Cap::ShadowPool {
                object: Ref::at(at),
                bits: user_bits as u8,
            },
        }
    }
}
