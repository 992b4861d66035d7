//! Notification: a word of badge bits, waiters, a bound thread, a scheduling context to lend.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::{Link, Ref};
use crate::object::endpoint::{queue_insert, queue_remove};
use crate::object::tcb::State;
use crate::object::{SchedContext, Tcb};
use core::cell::Cell;

/// A notification.
#[repr(C)]
pub struct Notification {
    pub(crate) head: Link<Tcb>,
    pub(crate) tail: Link<Tcb>,
    pub(crate) tcb: Link<Tcb>,
    pub(crate) sc: Link<SchedContext>,
    badge: Cell<u64>,
    active: Cell<bool>,
}

const _: () = assert!(size_of::<Notification>() <= 1 << sel4_abi::object::NOTIFICATION_BITS);

impl Notification {
    /// Signalled, not yet taken.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.get()
    }
    /// Threads wait.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.head.get().is_some()
    }
    fn take(&self) -> u64 {
        self.active.set(false);
        self.badge.replace(0)
    }
}

impl<M: Machine> Kernel<M> {
    /// Signals with `badge`.
    pub(crate) fn signal(&mut self, notification: Ref<Notification>, badge: u64) {
        if let Some(waiter) = notification.head.get() {
            queue_remove(&notification.head, &notification.tail, waiter);
            self.deliver_signal(notification, waiter, badge);
            return;
        }
        if let Some(tcb) = notification.tcb.get()
            && tcb.state.get() == State::BlockedOnReceive
            && !notification.is_active()
        {
            self.cancel_ipc(tcb);
            self.deliver_signal(notification, tcb, badge);
            return;
        }
        notification.active.set(true);
        notification.badge.set(notification.badge.get() | badge);
    }

    fn deliver_signal(&mut self, notification: Ref<Notification>, tcb: Ref<Tcb>, badge: u64) {
        tcb.context.rdi.set(badge);
        self.set_state(tcb, State::Running);
        self.lend_context(notification, tcb);
        self.wake_sporadic(tcb);
        self.possible_switch(tcb);
    }

    /// A receiver finds its bound notification signalled.
    pub(crate) fn complete_signal(&mut self, notification: Ref<Notification>, tcb: Ref<Tcb>) {
        tcb.context.rdi.set(notification.take());
        self.lend_context(notification, tcb);
        self.wake_sporadic(tcb);
    }

    /// Waits for a signal (or polls).
    pub(crate) fn receive_signal(
        &mut self,
        tcb: Ref<Tcb>,
        notification: Ref<Notification>,
        blocking: bool,
    ) {
        if notification.is_active() {
            self.complete_signal(notification, tcb);
        } else if blocking {
            tcb.blocked_on.set(notification.bits());
            self.set_state(tcb, State::BlockedOnNotification);
            queue_insert(&notification.head, &notification.tail, tcb);
            self.return_context(notification, tcb);
        } else {
            tcb.context.rdi.set(0);
        }
    }

    pub(crate) fn unbind_notification(&mut self, notification: Ref<Notification>) {
        if let Some(tcb) = notification.tcb.get() {
            tcb.notification.set(None);
            notification.tcb.set(None);
        }
    }

    /// The notification goes away: nothing is bound to it any more. [`cancel_first_wait`](Self::cancel_first_wait) sees to those
    /// that wait.
    pub(crate) fn finalise_notification(&mut self, notification: Ref<Notification>) {
        if let Some(sc) = notification.sc.get() {
            self.sc_unbind_notification(sc);
        }
        self.unbind_notification(notification);
    }

    /// The first that waits does its call again.
    pub(crate) fn cancel_first_wait(&mut self, notification: Ref<Notification>) {
        if let Some(tcb) = notification.head.get() {
            queue_remove(&notification.head, &notification.tail, tcb);
            self.set_state(tcb, State::Restart);
            self.wake_sporadic(tcb);
            self.possible_switch(tcb);
        }
        self.reschedule_required();
    }
}
