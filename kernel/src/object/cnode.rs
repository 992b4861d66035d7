//! CNode operations, and deletion: what happens when a capability, or an object's last capability, goes away.

use crate::cap::{Cap, Words, Zombie, ZombieKind};
use crate::cspace::slot_at;
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::endpoint::Waiting;
use crate::object::tcb::slots;
use crate::object::{Endpoint, Notification};
use crate::slot::{self, Slot};
use sel4_abi::{Error, LookupFailure, Rights, label};

/// What remains to be done when a slot is emptied for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleanup {
    None,
    Irq(u8),
    Ports(u16, u16),
}

/// A finalised capability.
enum Final {
    /// It can go, and what follows its removal.
    Gone(Cleanup),
    /// Its object has to be taken apart first.
    Left(Zombie),
}

impl<M: Machine> Kernel<M> {
    pub(crate) fn invoke_cnode(&mut self, root: Words, msg: &Message) -> Outcome {
        if !(label::CNODE_REVOKE..=label::CNODE_ROTATE).contains(&msg.label) {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(2, 0)?;
        let dest = self.lookup_slot(root, msg.word(0), msg.word(1), false)?;
        match msg.label {
            label::CNODE_COPY | label::CNODE_MINT | label::CNODE_MOVE | label::CNODE_MUTATE => {
                self.cnode_transfer(dest, msg)
            }
            label::CNODE_REVOKE => {
                self.revoke(dest)?;
                Ok(Done::Empty)
            }
            label::CNODE_DELETE => {
                self.delete_slot(dest)?;
                Ok(Done::Empty)
            }
            label::CNODE_CANCEL_BADGED_SENDS => match dest.cap() {
                Cap::Endpoint {
                    object,
                    badge,
                    rights,
                } if rights == Rights::ALL => {
                    if badge != 0 {
                        self.cancel_badged_sends(object, badge)?;
                    }
                    Ok(Done::Empty)
                }
                _ => Err(Fail::error(Error::IllegalOperation)),
            },
            _ => self.cnode_rotate(dest, msg),
        }
    }

    /// The source of a transfer: a slot that holds something.
    fn source(&self, root: Words, index: u64, depth: u64) -> Result<Ref<Slot>, Fail> {
        let source = self.lookup_slot(root, index, depth, true)?;
        if source.is_empty() {
            return Err(Fail::lookup(
                true,
                LookupFailure::MissingCapability { bits_left: depth },
            ));
        }
        Ok(source)
    }

    fn cnode_transfer(&mut self, dest: Ref<Slot>, msg: &Message) -> Outcome {
        msg.need(4, 1)?;
        if !dest.is_empty() {
            return Err(Fail::error(Error::DeleteFirst));
        }
        let source = self.source(msg.extra(0).words(), msg.word(2), msg.word(3))?;
        let (cap, moves) = match msg.label {
            label::CNODE_COPY => {
                msg.need(5, 1)?;
                let cap = source.cap().masked(Rights::new(msg.word(4)));
                (self.derive(source, cap)?, false)
            }
            label::CNODE_MINT => {
                msg.need(6, 1)?;
                let cap = source
                    .cap()
                    .masked(Rights::new(msg.word(4)))
                    .with_data(msg.word(5), false);
                (self.derive(source, cap)?, false)
            }
            label::CNODE_MOVE => (source.cap(), true),
            _ => {
                msg.need(5, 1)?;
                (source.cap().with_data(msg.word(4), true), true)
            }
        };
        if cap.is_null() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        if moves {
            slot::move_cap(cap, source, dest)
        } else {
            slot::insert(cap, source, dest)
        }
        Ok(Done::Empty)
    }

    fn cnode_rotate(&mut self, dest: Ref<Slot>, msg: &Message) -> Outcome {
        msg.need(8, 2)?;
        let pivot_root = msg.extra(0).words();
        let source_root = msg.extra(1).words();
        let source = self.lookup_slot(source_root, msg.word(6), msg.word(7), true)?;
        let pivot = self.lookup_slot(pivot_root, msg.word(3), msg.word(4), true)?;
        if pivot == source || pivot == dest {
            return Err(Fail::error(Error::IllegalOperation));
        }
        if source != dest && !dest.is_empty() {
            return Err(Fail::error(Error::DeleteFirst));
        }
        let missing = |is_source, depth| {
            Fail::lookup(
                is_source,
                LookupFailure::MissingCapability { bits_left: depth },
            )
        };
        if source.is_empty() {
            return Err(missing(true, msg.word(7)));
        }
        if pivot.is_empty() {
            return Err(missing(false, msg.word(4)));
        }
        // Mutate's rules: what has a badge cannot be rotated, whatever the data.
        let new_source = source.cap().with_data(msg.word(5), true);
        let new_pivot = pivot.cap().with_data(msg.word(2), true);
        if new_source.is_null() || new_pivot.is_null() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        if source == dest {
            slot::swap(new_source, source, new_pivot, pivot);
        } else {
            slot::move_cap(new_pivot, pivot, dest);
            slot::move_cap(new_source, source, pivot);
        }
        Ok(Done::Empty)
    }

    /// Deletes everything derived from the capability in `slot`; preemptible after each.
    pub(crate) fn revoke(&mut self, slot: Ref<Slot>) -> Result<(), Fail> {
        while let Some(child) = slot.next()
            && !slot.is_empty()
            && slot::is_parent(slot, child)
        {
            self.delete_slot(child)?;
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Empties `slot`; preemptible where a container has to be emptied first.
    pub(crate) fn delete_slot(&mut self, slot: Ref<Slot>) -> Result<(), Fail> {
        self.delete(slot, true)
    }

    fn delete(&mut self, slot: Ref<Slot>, exposed: bool) -> Result<(), Fail> {
        let (emptied, cleanup) = self.finalise_slot(slot, exposed)?;
        if exposed || emptied {
            self.empty_slot(slot, cleanup);
        }
        Ok(())
    }

    fn empty_slot(&mut self, slot: Ref<Slot>, cleanup: Cleanup) {
        if !slot.is_empty() {
            slot::unlink(slot);
        }
        match cleanup {
            Cleanup::None => {}
            Cleanup::Irq(irq) => self.irq_release(irq),
            Cleanup::Ports(first, last) => self.ports_release(first, last),
        }
    }

    fn finalise_slot(&mut self, slot: Ref<Slot>, exposed: bool) -> Result<(bool, Cleanup), Fail> {
        while !slot.is_empty() {
            let zombie = match slot.words().zombie() {
                Some(zombie) => zombie,
                None => match self.finalise(slot.cap(), slot::is_final(slot))? {
                    Final::Gone(cleanup) => return Ok((true, cleanup)),
                    Final::Left(zombie) => zombie,
                },
            };
            if Self::is_removable(zombie, slot) {
                break;
            }
            slot.set_words(zombie.words());
            if !exposed && zombie.object == slot.bits() {
                return Ok((false, Cleanup::None));
            }
            self.reduce_zombie(slot, zombie, exposed)?;
            self.preemption_point()?;
        }
        Ok((true, Cleanup::None))
    }

    fn is_removable(zombie: Zombie, slot: Ref<Slot>) -> bool {
        let Zombie {
            object,
            kind,
            count,
        } = zombie;
        match kind {
            ZombieKind::Endpoint => Ref::<Endpoint>::at(object).waiting() == Waiting::None,
            ZombieKind::Notification => !Ref::<Notification>::at(object).has_waiters(),
            _ => count == 0 || (count == 1 && object == slot.bits()),
        }
    }

    /// One step of emptying a destroyed container: one thread leaves the queue, one space loses its name, or the last slot is
    /// emptied. Inside another deletion the first slot is exchanged with the zombie instead, so that nested containers never
    /// nest the kernel's stack.
    fn reduce_zombie(
        &mut self,
        slot: Ref<Slot>,
        zombie: Zombie,
        immediate: bool,
    ) -> Result<(), Fail> {
        let object = zombie.object;
        let less = Zombie {
            count: zombie.count - 1,
            ..zombie
        };
        match zombie.kind {
            ZombieKind::Endpoint => self.cancel_first_ipc(Ref::at(object)),
            ZombieKind::Notification => self.cancel_first_wait(Ref::at(object)),
            ZombieKind::AsidPool { number } => {
                self.asid_release_entry(number, Ref::at(object), less.count);
                slot.set_words(less.words());
            }
            ZombieKind::Tcb | ZombieKind::CNode { .. } if immediate => {
                let last = slot_at(object, less.count);
                self.delete(last, false)?;
                // The deletion may have put another container's zombie here.
                if slot.words() == zombie.words() && last.is_empty() {
                    slot.set_words(less.words());
                }
            }
            ZombieKind::Tcb | ZombieKind::CNode { .. } => {
                let first: Ref<Slot> = Ref::at(object);
                slot::swap(slot.cap(), slot, first.cap(), first);
            }
        }
        Ok(())
    }

    /// What a capability's removal does to its object; `last`: nobody else names it.
    fn finalise(&mut self, cap: Cap, last: bool) -> Result<Final, Fail> {
        let zombie = |object, kind, count| {
            Final::Left(Zombie {
                object,
                kind,
                count,
            })
        };
        const GONE: Final = Final::Gone(Cleanup::None);
        let done = match cap {
            Cap::Frame {
                base,
                size,
                mapping: Some(mapping),
                ..
            } => {
                self.unmap_frame(base, size, mapping);
                GONE
            }
            _ if !last => GONE,
            Cap::Endpoint { object, .. } => zombie(object.bits(), ZombieKind::Endpoint, 1),
            Cap::Notification { object, .. } => {
                self.finalise_notification(object);
                zombie(object.bits(), ZombieKind::Notification, 1)
            }
            Cap::Reply { object, .. } => {
                self.finalise_reply(object);
                GONE
            }
            Cap::SchedContext { object, .. } => {
                self.sc_finalise(object);
                GONE
            }
            Cap::CNode { object, radix, .. } => {
                zombie(object, ZombieKind::CNode { radix }, 1 << radix)
            }
            Cap::Tcb { object: tcb } => {
                if let Some(vcpu) = tcb.vcpu.get() {
                    self.vcpu_unbind(vcpu);
                }
                if let Some(notification) = tcb.notification.get() {
                    self.unbind_notification(notification);
                }
                self.suspend(tcb);
                if let Some(sc) = tcb.sc.get() {
                    self.complete_yield(sc);
                    self.sc_unbind_tcb(sc);
                }
                self.fpu_forget(crate::kernel::FpuOwner::thread(tcb));
                if self.bases_of == tcb {
                    self.forget_bases();
                }
                zombie(tcb.bits(), ZombieKind::Tcb, slots::COUNT as u64)
            }
            Cap::IrqHandler { irq } => {
                self.irq_unbind(irq)?;
                Final::Gone(Cleanup::Irq(irq))
            }
            Cap::IoPort { first, last } => Final::Gone(Cleanup::Ports(first, last)),
            Cap::AsidPool { object, base } => {
                let number = (base >> 9) as u8;
                zombie(object.bits(), ZombieKind::AsidPool { number }, 512)
            }
            Cap::Table {
                object,
                level,
                kind,
                mapping,
            } => {
                self.finalise_table(object, level, kind, mapping);
                GONE
            }
            Cap::Vcpu { object, .. } => {
                self.vcpu_finalise(object);
                GONE
            }
            Cap::ShadowPool { object, .. } => {
                self.pool_finalise(object);
                GONE
            }
            _ => GONE,
        };
        Ok(done)
    }
}
