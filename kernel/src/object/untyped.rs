//! Untyped memory: the only source of objects. A watermark moves up; it goes back to 0 when no child is left.
//!
//! Always: objects made from one untyped do not overlap, lie below the watermark, and began as zeroes.

use crate::cap::{Cap, SpaceKind};
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{self, Ref};
use crate::slot::{self, Slot};
use sel4_abi::{Error, LookupFailure, RETYPE_FAN_OUT_LIMIT, Rights, label, object};

/// Bytes zeroed between two preemption points.
const CHUNK: u64 = 4096;

/// A checked retype.
struct Retype {
    ty: u64,
    user_bits: u64,
    bits: u64,
    slots: (u64, u64),
    first: u64,
    count: u64,
    reset: bool,
}

/// Where new objects go: the CNode's slots, a window of them.
struct Window {
    base: u64,
    radix: u8,
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
        let window = self.retype_window(msg.extra(0), index, depth)?;
        let slots = 1u64 << window.radix;
        if offset > slots - 1 {
            return Err(Fail::range(0, slots - 1));
        }
        if !(1..=RETYPE_FAN_OUT_LIMIT).contains(&count) {
            return Err(Fail::range(1, RETYPE_FAN_OUT_LIMIT));
        }
        if count > slots - offset {
            return Err(Fail::range(1, slots - offset));
        }
        if (offset..offset + count).any(|n| !crate::cspace::slot_at(window.base, n).is_empty()) {
            return Err(Fail::error(Error::DeleteFirst));
        }
        let Cap::Untyped {
            base,
            bits: size,
            device,
            free,
            ..
        } = slot.cap()
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
        let start = crate::cspace::slot_at(window.base, offset).bits();
        Ok(Retype {
            ty,
            user_bits,
            bits,
            slots: (start, count),
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

    fn retype_window(&self, root: Ref<Slot>, index: u64, depth: u64) -> Result<Window, Fail> {
        let cap = if depth == 0 {
            root.cap()
        } else {
            self.lookup_slot(root.cap(), index, depth, false)?.cap()
        };
        match cap {
            Cap::CNode { object, radix, .. } => Ok(Window {
                base: object,
                radix,
            }),
            _ => Err(Fail::lookup(
                false,
                LookupFailure::MissingCapability { bits_left: depth },
            )),
        }
    }

    /// Zeroes what was used, from the top down, and sets the watermark back; preemptible.
    fn reset_untyped(&mut self, slot: Ref<Slot>) -> Result<(), Fail> {
        let Cap::Untyped {
            base,
            bits,
            device,
            dirty,
            mut free,
        } = slot.cap()
        else {
            return Ok(());
        };
        if device {
            slot.set_cap(Cap::Untyped {
                base,
                bits,
                device,
                dirty,
                free: 0,
            });
            return Ok(());
        }
        while free > 0 {
            let end = free << 4;
            let start = (end - 1) & !(CHUNK - 1);
            mem::zero(base + start, end - start);
            free = start >> 4;
            // What lies below the watermark may be in use's remains; what lies above is clean.
            slot.set_cap(Cap::Untyped {
                base,
                bits,
                device,
                dirty,
                free,
            });
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Zeroes memory nobody has used since power-on, which holds anything; preemptible. What was zeroed before a
    /// preemption still is when the call is done again: nothing above the watermark is in use, and what was used
    /// meanwhile was zeroed when the watermark went back.
    fn clean(&mut self, slot: Ref<Slot>, retype: &Retype) -> Result<(), Fail> {
        let Cap::Untyped {
            device: false,
            dirty: true,
            ..
        } = slot.cap()
        else {
            return Ok(());
        };
        if retype.ty == object::UNTYPED {
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
        let Cap::Untyped {
            base,
            bits,
            device,
            dirty,
            ..
        } = slot.cap()
        else {
            return;
        };
        let end = retype.first + (retype.count << retype.bits);
        slot.set_cap(Cap::Untyped {
            base,
            bits,
            device,
            dirty,
            free: (end - base) >> 4,
        });
        for n in 0..retype.slots.1 {
            let at = retype.first + (n << retype.bits);
            let cap = self.create_object(retype.ty, at, retype.user_bits, device, dirty);
            slot::insert_new(
                cap,
                slot,
                Ref::at(retype.slots.0 + (n << object::SLOT_BITS)),
            );
        }
    }

    fn create_object(
        &mut self,
        ty: u64,
        at: u64,
        user_bits: u64,
        device: bool,
        dirty: bool,
    ) -> Cap {
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
            object::TCB => {
                let tcb: Ref<crate::object::Tcb> = Ref::at(at);
                tcb.init();
                Cap::Tcb { object: tcb }
            }
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
            object::X64_PML4 => {
                let root: Ref<mem::Page> = Ref::at(at);
                for n in self.first_shared..512 {
                    root.0[n].set(self.kernel_pml4.0[n].get());
                }
                table(4, SpaceKind::Host)
            }
            object::GUEST_PAGE_TABLE => table(1, SpaceKind::Guest),
            object::GUEST_PAGE_DIRECTORY => table(2, SpaceKind::Guest),
            object::GUEST_PDPT => table(3, SpaceKind::Guest),
            object::GUEST_PML4 => table(4, SpaceKind::Guest),
            object::VCPU => {
                let vcpu: Ref<crate::object::Vcpu> = Ref::at(at);
                self.vcpu_init(vcpu);
                Cap::Vcpu {
                    object: vcpu,
                    rights: Rights::new(7),
                }
            }
            _ => {
                let pool: Ref<crate::object::ShadowPool> = Ref::at(at);
                pool.init(user_bits as u8);
                Cap::ShadowPool {
                    object: pool,
                    bits: user_bits as u8,
                }
            }
        }
    }
}
