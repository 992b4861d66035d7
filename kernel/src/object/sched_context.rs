//! Scheduling context: a budget a period, as a ring of refills.

use crate::cap::Cap;
use crate::kernel::{Done, Fail, Kernel, Message, Outcome};
use crate::machine::Machine;
use crate::mem::{Link, Ref};
use crate::object::{Notification, Reply, Tcb};
use core::cell::Cell;
use sel4_abi::{Error, label};

/// Bytes before the refills.
pub const HEADER: u64 = 96;
/// Shortest budget and period in microseconds: twice the kernel's worst case, as seL4 estimates it.
pub const MIN_BUDGET_US: u64 = 20;

/// One refill: `amount` ticks usable from `time` on.
#[repr(C)]
pub struct Refill {
    pub(crate) time: Cell<u64>,
    pub(crate) amount: Cell<u64>,
}

/// A scheduling context; refills follow it in memory.
#[repr(C)]
pub struct SchedContext {
    /// Ticks; 0 for round robin.
    pub(crate) period: Cell<u64>,
    pub(crate) consumed: Cell<u64>,
    pub(crate) tcb: Link<Tcb>,
    /// Top of the call stack.
    pub(crate) reply: Link<Reply>,
    pub(crate) notification: Link<Notification>,
    pub(crate) badge: Cell<u64>,
    pub(crate) yield_from: Link<Tcb>,
    /// Refills in use at most; 0: not configured.
    pub(crate) max: Cell<u32>,
    pub(crate) head: Cell<u32>,
    pub(crate) count: Cell<u32>,
    pub(crate) sporadic: Cell<bool>,
    /// Messages and address-space switches made on this context.
    pub(crate) ipcs: Cell<u64>,
    pub(crate) switches: Cell<u64>,
}

const _: () = assert!(size_of::<SchedContext>() <= HEADER as usize);

impl SchedContext {
    /// Configured.
    #[inline(always)]
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.max.get() > 0
    }
    /// A message is moved by a thread that runs on it.
    #[inline(always)]
    pub(crate) fn count_message(&self) {
        self.ipcs.set(self.ipcs.get() + 1);
    }
    /// Budget equals period: the budget comes back at once.
    #[must_use]
    pub fn is_round_robin(&self) -> bool {
        self.period.get() == 0
    }
}

impl Ref<SchedContext> {
    pub(crate) fn refill(self, n: u32) -> Ref<Refill> {
        self.refill_at(self.around(n))
    }
    #[inline(always)]
    pub(crate) fn head_refill(self) -> Ref<Refill> {
        self.refill_at(self.head.get())
    }
    /// The place `n` behind the head in the ring: the head is inside it, and `n` is at most its size.
    fn around(self, n: u32) -> u32 {
        let (index, max) = (self.head.get() + n, self.max.get());
        if index < max { index } else { index - max }
    }
    #[inline(always)]
    fn refill_at(self, index: u32) -> Ref<Refill> {
        Ref::at(self.bits() + HEADER + 16 * u64::from(index))
    }
    fn tail_refill(self) -> Ref<Refill> {
        self.refill(self.count.get() - 1)
    }
    fn pop(self) -> (u64, u64) {
        let head = self.head_refill();
        let value = (head.time.get(), head.amount.get());
        self.head.set(self.around(1));
        self.count.set(self.count.get() - 1);
        value
    }
    fn push(self, time: u64, amount: u64) {
        self.count.set(self.count.get() + 1);
        let tail = self.tail_refill();
        tail.time.set(time);
        tail.amount.set(amount);
    }
    /// A fresh ring: the whole budget now.
    pub(crate) fn refill_new(self, max: u32, budget: u64, period: u64, now: u64) {
        self.period.set(period);
        self.max.set(max);
        self.head.set(0);
        self.count.set(0);
        self.push(now, budget);
        if period == 0 {
            self.push(now, 0);
        }
    }
    /// New parameters for a running context, keeping the bandwidth it already used.
    fn refill_update(self, max: u32, budget: u64, period: u64, now: u64) {
        let head = self.head_refill();
        let (mut time, amount) = (head.time.get(), head.amount.get());
        if time <= now {
            time = now;
        }
        self.period.set(period);
        self.max.set(max);
        self.head.set(0);
        self.count.set(0);
        if amount >= budget {
            self.push(time, budget);
        } else {
            self.push(time, amount);
            self.schedule_used(time + period, budget - amount);
        }
    }
    /// Brings used time back at `time`.
    fn schedule_used(self, time: u64, amount: u64) {
        let tail = self.tail_refill();
        if tail.time.get() + tail.amount.get() >= time {
            tail.amount.set(tail.amount.get() + amount);
        } else if self.count.get() < self.max.get() {
            self.push(time, amount);
        } else {
            tail.time.set(time - tail.amount.get());
            tail.amount.set(tail.amount.get() + amount);
        }
    }
    /// Charges `used` ticks (docs/objects/sched-context.md). `limit`: no refill is moved beyond it.
    pub(crate) fn charge(self, mut used: u64, min_budget: u64, limit: u64) {
        while self.head_refill().amount.get() <= used && self.head_refill().time.get() < limit {
            used -= self.head_refill().amount.get();
            if self.count.get() == 1 {
                let head = self.head_refill();
                head.time.set(head.time.get() + self.period.get());
            } else {
                let (time, amount) = self.pop();
                self.schedule_used(time + self.period.get(), amount);
            }
        }
        if used > 0 && self.head_refill().time.get() < limit {
            let head = self.head_refill();
            let start = head.time.get();
            head.amount.set(head.amount.get() - used);
            head.time.set(start + used);
            self.schedule_used(start + self.period.get(), used);
        }
        while self.head_refill().amount.get() < min_budget && self.count.get() > 1 {
            let (_, amount) = self.pop();
            let head = self.head_refill();
            head.amount.set(head.amount.get() + amount);
            head.time.set(head.time.get() - amount);
        }
    }
    /// A thread wakes: what is ready starts now, what touches it is merged.
    pub(crate) fn unblock_check(self, now: u64) -> bool {
        if self.is_round_robin() || self.head_refill().time.get() > now {
            return false;
        }
        self.head_refill().time.set(now);
        while self.count.get() > 1 {
            let head = self.head_refill();
            if self.refill(1).time.get() > head.time.get() + head.amount.get() {
                break;
            }
            let (time, amount) = self.pop();
            let head = self.head_refill();
            head.time.set(time);
            head.amount.set(head.amount.get() + amount);
        }
        true
    }
    /// Round robin: the unused rest and the used part are one budget again.
    pub(crate) fn refill_round_robin(self) {
        let tail = self.tail_refill();
        let head = self.head_refill();
        if self.count.get() == 2 {
            head.amount.set(head.amount.get() + tail.amount.get());
            tail.amount.set(0);
        }
    }
    /// Round robin: `used` ticks move to the second refill.
    pub(crate) fn commit_round_robin(self, used: u64) {
        let (head, tail) = (self.head_refill(), self.tail_refill());
        let used = used.min(head.amount.get());
        head.amount.set(head.amount.get() - used);
        tail.amount.set(tail.amount.get() + used);
    }
    /// Sum of all refills: the budget.
    #[cfg(test)]
    pub(crate) fn total(self) -> u64 {
        (0..self.count.get())
            .map(|n| self.refill(n).amount.get())
            .sum()
    }
}

impl<M: Machine> Kernel<M> {
    /// Longest period in microseconds.
    pub(crate) fn max_period_us(&self) -> u64 {
        (u64::MAX / self.machine.tsc_mhz()) / 8
    }

    pub(crate) fn invoke_sched_control(&mut self, msg: &Message) -> Outcome {
        if msg.label != label::SCHED_CONTROL_CONFIGURE_FLAGS {
            return Err(Fail::error(Error::IllegalOperation));
        }
        msg.need(0, 1)?;
        msg.need(5, 1)?;
        let [budget, period, extra, badge, flags] = [0, 1, 2, 3, 4].map(|n| msg.word(n));
        let (min, max) = (MIN_BUDGET_US, self.max_period_us());
        if budget > max || period > max || budget < min || period < min {
            return Err(Fail::range(min, max));
        }
        if budget > period {
            return Err(Fail::range(min, period));
        }
        let Cap::SchedContext { object: sc, bits } = msg.extra(0).cap() else {
            return Err(Fail::capability(1));
        };
        let limit = ((1u64 << bits) - HEADER) / 16;
        if extra > limit - 2 {
            return Err(Fail::range(0, limit - 2));
        }
        let mhz = self.machine.tsc_mhz();
        let refills = u32::try_from(extra + 2).unwrap_or(u32::MAX);
        self.sched_context_configure(sc, budget * mhz, period * mhz, refills);
        sc.badge.set(badge);
        sc.sporadic.set(flags & 1 != 0);
        Ok(Done::Empty)
    }

    pub(crate) fn sched_context_configure(
        &mut self,
        sc: Ref<SchedContext>,
        budget: u64,
        period: u64,
        max: u32,
    ) {
        let tcb = sc.tcb.get();
        if let Some(tcb) = tcb {
            self.release_remove(tcb);
            self.ready_remove(tcb);
            if self.current_sc == sc {
                self.commit_time();
            }
        }
        if budget == period {
            sc.refill_new(2, budget, 0, self.now);
        } else if sc.is_active() && tcb.is_some_and(|tcb| tcb.is_runnable()) {
            sc.refill_update(max, budget, period, self.now);
        } else {
            sc.refill_new(max, budget, period, self.now);
        }
        if let Some(tcb) = tcb {
            self.sc_resume(sc);
            if tcb.is_runnable() && tcb != self.current {
                self.possible_switch(tcb);
            }
            if tcb == self.current {
                self.reschedule_required();
            }
        }
    }

    pub(crate) fn invoke_sched_context(&mut self, sc: Ref<SchedContext>, msg: &Message) -> Outcome {
        let illegal = Err(Fail::error(Error::IllegalOperation));
        match msg.label {
            label::SCHED_CONTEXT_BIND => {
                msg.need(0, 1)?;
                match msg.extra(0).cap() {
                    Cap::Tcb { object: tcb } => {
                        let blocked = tcb.is_blocked() && !self.sc_released(sc);
                        if sc.tcb.get().is_some() || tcb.sc.get().is_some() || blocked {
                            return illegal;
                        }
                        self.sc_bind_tcb(sc, tcb);
                    }
                    Cap::Notification { object, .. } => {
                        if sc.notification.get().is_some() || object.sc.get().is_some() {
                            return illegal;
                        }
                        object.sc.set(Some(sc));
                        sc.notification.set(Some(object));
                    }
                    _ => return Err(Fail::capability(1)),
                }
                Ok(Done::Empty)
            }
            label::SCHED_CONTEXT_UNBIND => {
                if sc.tcb.is(self.current) {
                    return illegal;
                }
                self.sc_unbind_all(sc);
                Ok(Done::Empty)
            }
            label::SCHED_CONTEXT_UNBIND_OBJECT => {
                msg.need(0, 1)?;
                match msg.extra(0).cap() {
                    Cap::Tcb { object: tcb } => {
                        if !sc.tcb.is(tcb) || tcb == self.current {
                            return illegal;
                        }
                        self.sc_unbind_tcb(sc);
                    }
                    Cap::Notification { object, .. } => {
                        if !sc.notification.is(object) {
                            return illegal;
                        }
                        self.sc_unbind_notification(sc);
                    }
                    _ => return Err(Fail::capability(1)),
                }
                Ok(Done::Empty)
            }
            label::SCHED_CONTEXT_CONSUMED => Ok(Done::words(&[self.take_consumed(sc)])),
            label::SCHED_CONTEXT_YIELD_TO => self.sched_context_yield_to(sc),
            _ => illegal,
        }
    }

    /// Microseconds committed since the last reading; resets the counter.
    pub(crate) fn take_consumed(&mut self, sc: Ref<SchedContext>) -> u64 {
        sc.consumed.replace(0) / self.machine.tsc_mhz()
    }

    fn sched_context_yield_to(&mut self, sc: Ref<SchedContext>) -> Outcome {
        let Some(target) = sc.tcb.get() else {
            return Err(Fail::error(Error::IllegalOperation));
        };
        if target == self.current || target.priority.get() > self.current.mcp.get() {
            return Err(Fail::error(Error::IllegalOperation));
        }
        self.complete_yield(sc);
        self.sc_resume(sc);
        if !self.is_schedulable(target) {
            return Ok(Done::words(&[self.take_consumed(sc)]));
        }
        if target.priority.get() < self.current.priority.get() {
            self.ready_remove(target);
            self.ready_push_head(target);
            return Ok(Done::words(&[self.take_consumed(sc)]));
        }
        let yielder = self.current;
        sc.yield_from.set(Some(yielder));
        yielder.yield_to.set(Some(sc));
        self.ready_remove(target);
        self.ready_push_head(yielder);
        self.ready_push_head(target);
        self.reschedule_required();
        Ok(Done::Silent)
    }

    /// Ends a yield to `sc`: the yielder gets its answer now.
    pub(crate) fn complete_yield(&mut self, sc: Ref<SchedContext>) {
        if let Some(yielder) = sc.yield_from.get() {
            let consumed = self.take_consumed(sc);
            self.answer(yielder, Done::words(&[consumed]));
            self.cancel_yield(yielder);
        }
    }

    /// Forgets a yield of `tcb`.
    pub(crate) fn cancel_yield(&mut self, tcb: Ref<Tcb>) {
        if let Some(sc) = tcb.yield_to.get() {
            sc.yield_from.set(None);
            tcb.yield_to.set(None);
        }
    }

    pub(crate) fn sc_bind_tcb(&mut self, sc: Ref<SchedContext>, tcb: Ref<Tcb>) {
        tcb.sc.set(Some(sc));
        sc.tcb.set(Some(tcb));
        self.wake_sporadic(tcb);
        self.sc_resume(sc);
        if self.is_schedulable(tcb) {
            self.ready_push_head(tcb);
            self.reschedule_required();
        }
    }

    pub(crate) fn sc_unbind_tcb(&mut self, sc: Ref<SchedContext>) {
        let Some(tcb) = sc.tcb.get() else { return };
        if tcb == self.current {
            self.reschedule_required();
        }
        self.ready_remove(tcb);
        self.release_remove(tcb);
        tcb.sc.set(None);
        sc.tcb.set(None);
    }

    pub(crate) fn sc_unbind_notification(&mut self, sc: Ref<SchedContext>) {
        if let Some(notification) = sc.notification.get() {
            notification.sc.set(None);
            sc.notification.set(None);
        }
    }

    pub(crate) fn sc_unbind_all(&mut self, sc: Ref<SchedContext>) {
        self.sc_unbind_tcb(sc);
        self.sc_unbind_notification(sc);
        if let Some(reply) = sc.reply.get() {
            reply.forget_context();
            sc.reply.set(None);
        }
    }

    pub(crate) fn sc_finalise(&mut self, sc: Ref<SchedContext>) {
        self.complete_yield(sc);
        self.sc_unbind_all(sc);
        if self.current_sc == sc {
            // The time it used is dropped with it.
            self.consumed = 0;
            self.reprogram = true;
            self.current_sc = self.idle.sc.get().expect("the idle thread has a context");
            self.reschedule_required();
        }
        sc.max.set(0);
    }
}
