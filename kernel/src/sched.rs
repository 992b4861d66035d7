//! The scheduler: ready queues by priority, the release queue, time accounting, donation.
//!
//! Always: a TCB is in at most one of ready and release queue; a ready-queued TCB is schedulable; `current` is in neither.
//! The rules are seL4's, of its MCS kernel: `docs/objects/sched-context.md`.

use crate::kernel::{Action, Kernel};
use crate::machine::Machine;
use crate::mem::{Link, Ref};
use crate::object::tcb::State;
use crate::object::{Notification, SchedContext, Tcb};

/// Ready queues and release queue.
pub struct Queues {
    pub(crate) heads: [Link<Tcb>; 256],
    pub(crate) tails: [Link<Tcb>; 256],
    pub(crate) bitmap: [u64; 4],
    /// One more than the highest priority at which somebody is ready, 0 if nobody is: the bitmap's sum.
    pub(crate) ready_end: u16,
    pub(crate) release: Link<Tcb>,
}

impl Queues {
    /// No thread anywhere.
    #[must_use]
    pub fn new() -> Self {
        let none = || crate::mem::no_link();
        Self {
            heads: core::array::from_fn(|_| none()),
            tails: core::array::from_fn(|_| none()),
            bitmap: [0; 4],
            ready_end: 0,
            release: none(),
        }
    }
    /// Whether nobody who is ready has a higher priority.
    #[inline(always)]
    pub(crate) fn none_above(&self, priority: u8) -> bool {
        u16::from(priority) + 1 >= self.ready_end
    }
    /// The highest priority at which somebody is ready.
    #[inline(always)]
    pub(crate) fn highest(&self) -> Option<u8> {
        self.ready_end.checked_sub(1).map(|top| top as u8)
    }
    /// Somebody is ready at this priority.
    fn note_ready(&mut self, priority: u8) {
        let p = usize::from(priority);
        self.bitmap[p / 64] |= 1 << (p % 64);
        self.ready_end = self.ready_end.max(u16::from(priority) + 1);
    }
    /// Nobody is ready at this priority any more.
    fn note_empty(&mut self, priority: u8) {
        let p = usize::from(priority);
        self.bitmap[p / 64] &= !(1 << (p % 64));
        if self.ready_end == u16::from(priority) + 1 {
            self.ready_end = (0..=p / 64)
                .rev()
                .find(|&n| self.bitmap[n] != 0)
                .map_or(0, |n| {
                    n as u16 * 64 + 64 - self.bitmap[n].leading_zeros() as u16
                });
        }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::new()
    }
}

/// The timer is set this much early, as seL4 does: 1 µs.
const TIMER_PRECISION_US: u64 = 1;
/// Most threads that leave the release queue before interrupts are taken again.
const WAKE_AT_ONCE: u32 = 32;

impl<M: Machine> Kernel<M> {
    pub(crate) fn min_budget(&self) -> u64 {
        crate::object::sched_context::MIN_BUDGET_US * self.machine.tsc_mhz()
    }
    fn refill_limit(&self) -> u64 {
        u64::MAX - 5 * self.max_period_us() * self.machine.tsc_mhz()
    }
    /// Head refill usable now.
    pub(crate) fn sc_ready(&self, sc: Ref<SchedContext>) -> bool {
        sc.head_refill().time.get() <= self.now
    }
    /// Head refill, less `used`, covers the shortest budget.
    pub(crate) fn sc_sufficient(&self, sc: Ref<SchedContext>, used: u64) -> bool {
        sc.head_refill().amount.get().saturating_sub(used) >= self.min_budget()
    }
    /// Configured and ready.
    pub(crate) fn sc_released(&self, sc: Ref<SchedContext>) -> bool {
        sc.is_active() && self.sc_ready(sc)
    }
    /// Runnable, with an active context, not waiting for a refill.
    pub(crate) fn is_schedulable(&self, tcb: Ref<Tcb>) -> bool {
        tcb.is_runnable()
            && tcb.sc.get().is_some_and(|sc| sc.is_active())
            && !tcb.in_release_queue.get()
    }

    /// Time passes: on every kernel entry that counts.
    pub(crate) fn update_time(&mut self) {
        self.time_is(self.machine.now());
    }

    pub(crate) fn time_is(&mut self, now: u64) {
        self.consumed += now.saturating_sub(self.now);
        self.now = now;
    }

    fn is_idle_context(&self, sc: Ref<SchedContext>) -> bool {
        self.idle.sc.is(sc)
    }

    /// Books the time used so far on the current context.
    pub(crate) fn commit_time(&mut self) {
        let sc = self.current_sc;
        if sc.is_active() && !self.is_idle_context(sc) && self.consumed > 0 {
            if sc.is_round_robin() {
                sc.commit_round_robin(self.consumed);
            } else {
                sc.charge(self.consumed, self.min_budget(), self.refill_limit());
            }
            sc.consumed.set(sc.consumed.get() + self.consumed);
        }
        self.consumed = 0;
    }

    /// The budget check of a kernel entry: false if the current thread's budget is over (it was dealt with).
    pub(crate) fn check_budget(&mut self) -> bool {
        let sc = self.current_sc;
        if self.is_idle_context(sc) || !sc.is_active() || self.sc_sufficient(sc, self.consumed) {
            return true;
        }
        self.end_budget(self.consumed, true);
        false
    }

    /// As [`check_budget`](Self::check_budget), but a thread that must stop does its call again later.
    pub(crate) fn check_budget_restart(&mut self) -> bool {
        let within = self.check_budget();
        if !within && self.current.is_runnable() {
            self.set_state(self.current, State::Restart);
        }
        within
    }

    /// Charges `used` and takes the thread off the processor until its budget is back.
    pub(crate) fn end_budget(&mut self, used: u64, may_fault: bool) {
        let sc = self.current_sc;
        if sc.is_round_robin() {
            sc.refill_round_robin();
        } else {
            sc.charge(used, self.min_budget(), self.refill_limit());
        }
        sc.consumed.set(sc.consumed.get() + self.consumed);
        self.consumed = 0;
        if self.is_schedulable(self.current) {
            self.end_slice(may_fault);
            self.reschedule_required();
            self.reprogram = true;
        }
    }

    fn end_slice(&mut self, may_fault: bool) {
        let (tcb, sc) = (self.current, self.current_sc);
        if may_fault && !sc.is_round_robin() && tcb.has_timeout_handler() {
            self.timeout_fault(tcb);
        } else if self.sc_ready(sc) && self.sc_sufficient(sc, 0) {
            self.ready_push_tail(tcb);
        } else {
            self.release_push(tcb);
        }
    }

    /// Yield: the head refill counts as used.
    pub(crate) fn yield_budget(&mut self) {
        let sc = self.current_sc;
        if !sc.is_active() {
            return;
        }
        let used = sc.head_refill().amount.get();
        self.end_budget(used, false);
    }

    /// A sporadic context's thread wakes; constant bandwidth is checked when the context becomes current.
    pub(crate) fn wake_sporadic(&mut self, tcb: Ref<Tcb>) {
        if let Some(sc) = tcb.sc.get()
            && sc.is_active()
            && sc.sporadic.get()
            && sc != self.current_sc
            && sc.unblock_check(self.now)
        {
            self.reprogram = true;
        }
    }

    /// A context that is not ready keeps its thread in the release queue.
    pub(crate) fn sc_resume(&mut self, sc: Ref<SchedContext>) {
        if let Some(tcb) = sc.tcb.get()
            && self.is_schedulable(tcb)
            && !(self.sc_ready(sc) && self.sc_sufficient(sc, 0))
        {
            self.ready_remove(tcb);
            self.release_push(tcb);
        }
    }

    /// Gives `sc` to `to`; whoever held it is passive now.
    pub(crate) fn donate(&mut self, sc: Ref<SchedContext>, to: Ref<Tcb>) {
        if let Some(from) = sc.tcb.get() {
            self.ready_remove(from);
            self.release_remove(from);
            from.sc.set(None);
            if from == self.current || self.action == Action::Candidate(from) {
                self.reschedule_required();
            }
        }
        sc.tcb.set(Some(to));
        to.sc.set(Some(sc));
    }

    /// A thread woken by a notification borrows the notification's context if it has none.
    pub(crate) fn lend_context(&mut self, notification: Ref<Notification>, tcb: Ref<Tcb>) {
        if tcb.sc.get().is_none()
            && let Some(sc) = notification.sc.get()
            && sc.tcb.get().is_none()
        {
            self.donate(sc, tcb);
            // Of whichever kind the context is; the current one runs already.
            if sc != self.current_sc && sc.is_active() && sc.unblock_check(self.now) {
                self.reprogram = true;
            }
            self.sc_resume(sc);
        }
    }

    /// A thread that waits again gives a borrowed context back.
    pub(crate) fn return_context(&mut self, notification: Ref<Notification>, tcb: Ref<Tcb>) {
        if let Some(sc) = tcb.sc.get()
            && notification.sc.is(sc)
        {
            tcb.sc.set(None);
            sc.tcb.set(None);
            if tcb == self.current {
                self.reschedule_required();
            }
        }
    }

    pub(crate) fn set_state(&mut self, tcb: Ref<Tcb>, state: State) {
        tcb.state.set(state);
        if tcb == self.current && self.action == Action::Keep && !self.is_schedulable(tcb) {
            self.reschedule_required();
        }
    }

    /// The current thread may not simply go on.
    pub(crate) fn reschedule_required(&mut self) {
        if let Action::Candidate(tcb) = self.action
            && self.is_schedulable(tcb)
        {
            self.ready_push_head(tcb);
        }
        self.action = Action::Choose;
    }

    /// `tcb` became runnable and may run next.
    pub(crate) fn possible_switch(&mut self, tcb: Ref<Tcb>) {
        if tcb.sc.get().is_none() || tcb.in_release_queue.get() {
            return;
        }
        if !self.is_schedulable(tcb) || tcb.in_ready_queue.get() {
            return;
        }
        match self.action {
            Action::Keep => self.action = Action::Candidate(tcb),
            _ => {
                self.reschedule_required();
                self.ready_push_head(tcb);
            }
        }
    }

    fn ready_insert(&mut self, tcb: Ref<Tcb>, at_head: bool) {
        if tcb.in_ready_queue.get() {
            return;
        }
        tcb.in_ready_queue.set(true);
        let p = usize::from(tcb.priority.get());
        let q = &mut self.queues;
        q.note_ready(tcb.priority.get());
        let (head, tail) = (q.heads[p].get(), q.tails[p].get());
        tcb.sched_next.set(None);
        tcb.sched_prev.set(None);
        match (head, tail) {
            (Some(head), _) if at_head => {
                tcb.sched_next.set(Some(head));
                head.sched_prev.set(Some(tcb));
                q.heads[p].set(Some(tcb));
            }
            (_, Some(tail)) => {
                tcb.sched_prev.set(Some(tail));
                tail.sched_next.set(Some(tcb));
                q.tails[p].set(Some(tcb));
            }
            _ => {
                q.heads[p].set(Some(tcb));
                q.tails[p].set(Some(tcb));
            }
        }
    }
    pub(crate) fn ready_push_head(&mut self, tcb: Ref<Tcb>) {
        self.ready_insert(tcb, true);
    }
    pub(crate) fn ready_push_tail(&mut self, tcb: Ref<Tcb>) {
        self.ready_insert(tcb, false);
    }
    pub(crate) fn ready_remove(&mut self, tcb: Ref<Tcb>) {
        if !tcb.in_ready_queue.replace(false) {
            return;
        }
        let p = usize::from(tcb.priority.get());
        let (prev, next) = (tcb.sched_prev.get(), tcb.sched_next.get());
        match prev {
            Some(prev) => prev.sched_next.set(next),
            None => self.queues.heads[p].set(next),
        }
        match next {
            Some(next) => next.sched_prev.set(prev),
            None => self.queues.tails[p].set(prev),
        }
        if self.queues.heads[p].get().is_none() {
            self.queues.note_empty(tcb.priority.get());
        }
    }

    /// Into the release queue, by time, after equal times.
    pub(crate) fn release_push(&mut self, tcb: Ref<Tcb>) {
        if tcb.in_release_queue.replace(true) {
            return;
        }
        let time = |tcb: Ref<Tcb>| {
            tcb.sc
                .get()
                .map_or(u64::MAX, |sc| sc.head_refill().time.get())
        };
        let due = time(tcb);
        let (mut before, mut after) = (None, self.queues.release.get());
        while let Some(other) = after
            && time(other) <= due
        {
            before = after;
            after = other.sched_next.get();
        }
        tcb.sched_prev.set(before);
        tcb.sched_next.set(after);
        if let Some(after) = after {
            after.sched_prev.set(Some(tcb));
        }
        match before {
            Some(before) => before.sched_next.set(Some(tcb)),
            None => {
                self.queues.release.set(Some(tcb));
                self.reprogram = true;
            }
        }
    }
    pub(crate) fn release_remove(&mut self, tcb: Ref<Tcb>) {
        if !tcb.in_release_queue.replace(false) {
            return;
        }
        let (prev, next) = (tcb.sched_prev.get(), tcb.sched_next.get());
        match prev {
            Some(prev) => prev.sched_next.set(next),
            None => {
                self.queues.release.set(next);
                self.reprogram = true;
            }
        }
        if let Some(next) = next {
            next.sched_prev.set(prev);
        }
    }
    /// Threads whose time has come are ready again. A crowd comes in groups: the timer is set to the past for the others.
    fn awaken(&mut self) {
        let mut room = 0..WAKE_AT_ONCE;
        while let Some(tcb) = self.queues.release.get()
            && tcb.sc.get().is_some_and(|sc| self.sc_ready(sc))
            && room.next().is_some()
        {
            self.release_remove(tcb);
            self.possible_switch(tcb);
            self.reprogram = true;
        }
    }

    pub(crate) fn set_priority(&mut self, tcb: Ref<Tcb>, priority: u8) {
        match tcb.state.get() {
            State::Running | State::Restart => {
                if tcb.in_ready_queue.get() || tcb == self.current {
                    self.ready_remove(tcb);
                    tcb.priority.set(priority);
                    if tcb != self.current {
                        self.ready_push_head(tcb);
                    }
                    self.reschedule_required();
                } else {
                    tcb.priority.set(priority);
                }
            }
            State::BlockedOnReceive | State::BlockedOnSend | State::BlockedOnNotification => {
                tcb.priority.set(priority);
                self.requeue_blocked(tcb);
            }
            _ => tcb.priority.set(priority),
        }
    }

    fn choose(&mut self) -> Ref<Tcb> {
        match self.queues.highest() {
            None => self.idle,
            Some(p) => {
                let tcb = self.queues.heads[usize::from(p)]
                    .get()
                    .expect("the bitmap says the queue is not empty");
                self.ready_remove(tcb);
                tcb
            }
        }
    }

    /// Whether nobody waits whose time has come.
    pub(crate) fn nobody_due(&self, now: u64) -> bool {
        let first = self.queues.release.get().and_then(|tcb| tcb.sc.get());
        first.is_none_or(|sc| sc.head_refill().time.get() > now)
    }

    /// Decides who runs, books time when the context changes, and sets the timer.
    pub(crate) fn schedule(&mut self) {
        self.awaken();
        if self.action != Action::Keep {
            self.current = self.choose_next();
            self.action = Action::Keep;
        }
        self.switch_context();
        if self.reprogram {
            self.reprogram = false;
            self.set_timer();
        }
    }

    /// Who runs now; the current thread may have to make room, and the candidate may have to wait.
    fn choose_next(&mut self) -> Ref<Tcb> {
        let current = self.current;
        let priority = current.priority.get();
        let was_running = self.is_schedulable(current);
        let candidate = match self.action {
            Action::Candidate(tcb) if self.is_schedulable(tcb) => Some(tcb),
            _ => None,
        };
        // At the head of its queue nobody would come before it.
        if was_running
            && !current.in_ready_queue.get()
            && candidate.is_none_or(|tcb| tcb.priority.get() <= priority)
            && self.queues.none_above(priority)
        {
            if let Some(tcb) = candidate {
                self.ready_insert(tcb, tcb.priority.get() < priority);
            }
            return current;
        }
        if was_running {
            self.ready_push_head(current);
        }
        match candidate {
            Some(tcb) => self.weigh(tcb, was_running),
            None => self.choose(),
        }
    }

    fn weigh(&mut self, candidate: Ref<Tcb>, was_running: bool) -> Ref<Tcb> {
        let priority = candidate.priority.get();
        let lower = self.current == self.idle || priority < self.current.priority.get();
        if lower && !self.queues.none_above(priority) {
            self.ready_push_head(candidate);
            self.choose()
        } else if was_running && priority == self.current.priority.get() {
            self.ready_push_tail(candidate);
            self.choose()
        } else {
            self.ready_remove(candidate);
            candidate
        }
    }

    fn switch_context(&mut self) {
        let sc = self
            .current
            .sc
            .get()
            .expect("the running thread has a context");
        if sc != self.current_sc {
            self.reprogram = true;
            if !sc.sporadic.get() {
                sc.unblock_check(self.now);
            }
        }
        if self.reprogram {
            self.commit_time();
        }
        self.current_sc = sc;
    }

    pub(crate) fn set_timer(&mut self) {
        let mut deadline = u64::MAX;
        if !self.is_idle_context(self.current_sc) {
            deadline = self
                .now
                .saturating_add(self.current_sc.head_refill().amount.get());
        }
        if let Some(sc) = self.queues.release.get().and_then(|tcb| tcb.sc.get()) {
            deadline = deadline.min(sc.head_refill().time.get());
        }
        let early = TIMER_PRECISION_US * self.machine.tsc_mhz();
        self.machine.set_deadline(deadline.saturating_sub(early));
    }
}
