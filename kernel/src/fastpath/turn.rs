//! Whose time the next thread of a short way runs on: the current context, which goes along, or one of its own.
//!
//! Always: what differs between the two is here, and each way is compiled apart, so that the plain one pays for nothing else.

use super::Giver;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::tcb::State;
use crate::object::{Reply, SchedContext, Tcb};

/// On which context the other thread runs.
pub(super) trait Turn: Copy {
    /// Messages may have more words than registers hold.
    const LONG: bool;
    /// The turn of a receiver.
    fn of_receiver<M: Machine>(kernel: &Kernel<M>, tcb: Ref<Tcb>) -> Option<Self>;
    /// The turn of who waits for the answer.
    fn of_caller<M: Machine>(
        kernel: &Kernel<M>,
        server: Giver,
        reply: Ref<Reply>,
        caller: Ref<Tcb>,
    ) -> Option<Self>;
    /// The context.
    fn context(self, from: Giver) -> Ref<SchedContext>;
    /// The call begins.
    fn push(reply: Ref<Reply>, caller: Giver);
    /// It is answered.
    fn pop(reply: Ref<Reply>, server: Giver);
    /// The processor is the other's.
    fn begin<M: Machine>(self, kernel: &mut Kernel<M>, from: Giver, to: Ref<Tcb>);
}

/// On the current one, which goes along. `LONG`: see [`Turn::LONG`].
#[derive(Clone, Copy)]
pub(super) struct Lent<const LONG: bool>;

/// What happens most: tried first, and it pays for nothing that the others need.
pub(super) type Plain = Lent<false>;

/// On its own, from this time on.
#[derive(Clone, Copy)]
pub(super) struct Own {
    sc: Ref<SchedContext>,
    now: u64,
}

impl<const LONG: bool> Turn for Lent<LONG> {
    const LONG: bool = LONG;

    #[inline(always)]
    fn of_receiver<M: Machine>(_: &Kernel<M>, tcb: Ref<Tcb>) -> Option<Self> {
        // Of the two that hardly ever are there, one look is for both.
        let occupied = tcb.sc.get().is_some() | tcb.vcpu.get().is_some();
        (!occupied).then_some(Self)
    }
    #[inline(always)]
    fn of_caller<M: Machine>(
        _: &Kernel<M>,
        server: Giver,
        reply: Ref<Reply>,
        caller: Ref<Tcb>,
    ) -> Option<Self> {
        // The top of a stack has a caller that waits for its answer.
        (reply.is_top_of(server.sc) && caller.sc.get().is_none()).then_some(Self)
    }
    #[inline(always)]
    fn context(self, from: Giver) -> Ref<SchedContext> {
        from.sc
    }
    #[inline(always)]
    fn push(reply: Ref<Reply>, caller: Giver) {
        reply.push_onto(caller.sc);
    }
    #[inline(always)]
    fn pop(reply: Ref<Reply>, server: Giver) {
        reply.pop_from(server.sc);
    }
    #[inline(always)]
    fn begin<M: Machine>(self, _: &mut Kernel<M>, from: Giver, to: Ref<Tcb>) {
        from.tcb.sc.set(None);
        from.sc.tcb.set(Some(to));
        to.sc.set(Some(from.sc));
    }
}

impl Turn for Own {
    const LONG: bool = true;

    fn of_receiver<M: Machine>(kernel: &Kernel<M>, tcb: Ref<Tcb>) -> Option<Self> {
        if tcb.vcpu.get().is_some() {
            return None;
        }
        kernel.own_turn(tcb)
    }
    fn of_caller<M: Machine>(
        kernel: &Kernel<M>,
        server: Giver,
        reply: Ref<Reply>,
        caller: Ref<Tcb>,
    ) -> Option<Self> {
        let notification = server.tcb.notification.get();
        let borrowed = notification.is_some_and(|it| it.sc.is(server.sc));
        if reply.is_stacked() || caller.state.get() != State::BlockedOnReply || borrowed {
            return None;
        }
        kernel.own_turn(caller)
    }
    fn context(self, _: Giver) -> Ref<SchedContext> {
        self.sc
    }
    fn push(_: Ref<Reply>, _: Giver) {}
    fn pop(_: Ref<Reply>, _: Giver) {}
    fn begin<M: Machine>(self, kernel: &mut Kernel<M>, _: Giver, _: Ref<Tcb>) {
        kernel.time_is(self.now);
        // Of whichever kind the context is.
        self.sc.unblock_check(self.now);
        kernel.commit_time();
        kernel.current_sc = self.sc;
        kernel.set_timer();
    }
}

impl<M: Machine> Kernel<M> {
    /// The turn of a blocked thread on its own context, if that has time, the current one's budget is not over and nobody
    /// else's time has come.
    fn own_turn(&self, tcb: Ref<Tcb>) -> Option<Own> {
        let sc = tcb.sc.get()?;
        let now = self.machine.now();
        let used = self.consumed + now.saturating_sub(self.now);
        let goes_on = sc.is_active()
            && sc.head_refill().time.get() <= now
            && self.sc_sufficient(sc, 0)
            && self.sc_sufficient(self.current_sc, used)
            && !tcb.in_release_queue.get()
            && self.nobody_due(now);
        goes_on.then_some(Own { sc, now })
    }
}
