//! Reply object: one call that awaits its answer, and its place in the call stack of a lent scheduling context.
//!
//! Always: if a reply is on a stack, `next` is the context (top) or the reply above; `prev` is the reply below.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::{Link, Ref};
use crate::object::tcb::State;
use crate::object::{SchedContext, Tcb};
use core::cell::Cell;

/// A reply object. `tcb` is the caller, or the server that waits with this object.
#[repr(C)]
pub struct Reply {
    pub(crate) tcb: Link<Tcb>,
    pub(crate) prev: Link<Reply>,
    next: Cell<u64>,
    /// `next` is the scheduling context: this reply is the stack's top.
    is_top: Cell<bool>,
}

const _: () = assert!(size_of::<Reply>() == 1 << sel4_abi::object::REPLY_BITS);

impl Reply {
    pub(crate) fn context(&self) -> Option<Ref<SchedContext>> {
        (self.is_top.get() && self.next.get() != 0).then(|| Ref::at(self.next.get()))
    }
    /// Whether it is the top of the context's call stack.
    #[inline(always)]
    pub(crate) fn is_top_of(&self, sc: Ref<SchedContext>) -> bool {
        self.is_top.get() && self.next.get() == sc.bits()
    }
    /// Whether it is on a call stack: of one that is alone on none, both neighbours are missing.
    pub(crate) fn is_stacked(&self) -> bool {
        self.next.get() != 0 || self.prev.get().is_some()
    }
    pub(crate) fn above(&self) -> Option<Ref<Reply>> {
        (!self.is_top.get() && self.next.get() != 0).then(|| Ref::at(self.next.get()))
    }
    fn set_next(&self, next: u64, is_top: bool) {
        self.next.set(next);
        self.is_top.set(is_top);
    }
    /// The context goes away under the stack.
    pub(crate) fn forget_context(&self) {
        self.set_next(0, false);
    }
}

impl Ref<Reply> {
    /// Becomes the top of the context's call stack.
    #[inline(always)]
    pub(crate) fn push_onto(self, sc: Ref<SchedContext>) {
        let below = sc.reply.get();
        self.prev.set(below);
        if let Some(below) = below {
            below.set_next(self.bits(), false);
        }
        self.set_next(sc.bits(), true);
        sc.reply.set(Some(self));
    }
    /// The top of the context's call stack leaves it.
    #[inline(always)]
    pub(crate) fn pop_from(self, sc: Ref<SchedContext>) {
        let below = self.prev.get();
        sc.reply.set(below);
        if let Some(below) = below {
            below.set_next(sc.bits(), true);
        }
        self.prev.set(None);
        self.set_next(0, false);
    }
}

impl<M: Machine> Kernel<M> {
    /// Cuts the bond of a reply and the thread that waits on or with it; the thread is Inactive.
    pub(crate) fn reply_unlink(&mut self, reply: Ref<Reply>, tcb: Ref<Tcb>) {
        reply.tcb.set(None);
        tcb.reply.set(None);
        self.set_state(tcb, State::Inactive);
    }

    /// `caller` waits on `reply` for `callee`'s answer; its context goes along if the callee has none.
    pub(crate) fn reply_push(
        &mut self,
        caller: Ref<Tcb>,
        callee: Ref<Tcb>,
        reply: Ref<Reply>,
        may_donate: bool,
    ) {
        reply.tcb.set(Some(caller));
        caller.reply.set(Some(reply));
        self.set_state(caller, State::BlockedOnReply);
        if let Some(sc) = caller.sc.get()
            && may_donate
            && callee.sc.get().is_none()
        {
            reply.push_onto(sc);
            self.donate(sc, callee);
        }
    }

    /// The reply is invoked or deleted: the stack's top gives the context back to the caller.
    pub(crate) fn reply_remove(&mut self, reply: Ref<Reply>, caller: Ref<Tcb>) {
        let below = reply.prev.get();
        if let Some(sc) = reply.context() {
            reply.pop_from(sc);
            if caller.sc.get().is_none() {
                self.donate(sc, caller);
            }
        } else {
            if let Some(above) = reply.above() {
                above.prev.set(None);
            }
            if let Some(below) = below {
                below.set_next(0, false);
            }
        }
        reply.prev.set(None);
        reply.set_next(0, false);
        self.reply_unlink(reply, caller);
    }

    /// The caller leaves its call: the context stays with the server.
    pub(crate) fn reply_remove_caller(&mut self, caller: Ref<Tcb>) {
        let Some(reply) = caller.reply.get() else {
            return;
        };
        if let Some(sc) = reply.context() {
            sc.reply.set(None);
        }
        if let Some(above) = reply.above() {
            above.prev.set(None);
        }
        if let Some(below) = reply.prev.get() {
            below.set_next(0, false);
        }
        reply.prev.set(None);
        reply.set_next(0, false);
        self.reply_unlink(reply, caller);
    }

    /// The object goes away.
    pub(crate) fn finalise_reply(&mut self, reply: Ref<Reply>) {
        let Some(tcb) = reply.tcb.get() else { return };
        match tcb.state.get() {
            State::BlockedOnReply => {
                tcb.fault.set(Default::default());
                self.reply_remove(reply, tcb);
            }
            State::BlockedOnReceive => self.cancel_ipc(tcb),
            _ => {}
        }
    }

    /// Answers the call that `reply` stands for with `sender`'s message.
    pub(crate) fn reply_transfer(&mut self, sender: Ref<Tcb>, reply: Ref<Reply>, grant: bool) {
        let Some(caller) = reply.tcb.get() else {
            return;
        };
        if caller.state.get() != State::BlockedOnReply {
            return;
        }
        self.reply_remove(reply, caller);
        self.wake_sporadic(caller);
        let fault = caller.fault.get();
        if fault.label == 0 {
            self.transfer(sender, None, 0, grant, caller);
            self.set_state(caller, State::Running);
        } else {
            let resume = self.fault_reply(caller, sender);
            caller.fault.set(Default::default());
            self.set_state(
                caller,
                if resume {
                    State::Restart
                } else {
                    State::Inactive
                },
            );
        }
        if let Some(sc) = caller.sc.get()
            && caller.is_runnable()
            && sc.is_active()
        {
            if self.sc_ready(sc) && self.sc_sufficient(sc, 0) {
                self.possible_switch(caller);
            } else if caller.has_timeout_handler() && fault.label != sel4_abi::fault::TIMEOUT {
                // As in seL4 the handler's empty answer has the call done again, with the registers that its answer left; a
                // handler that answers with registers decides otherwise.
                self.timeout_fault(caller);
            } else {
                self.release_push(caller);
            }
        }
    }
}
