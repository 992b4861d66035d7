//! Endpoint: synchronous messages. A queue of senders or of receivers, highest priority first, FIFO among equals.

use crate::kernel::{Fail, Kernel};
use crate::machine::Machine;
use crate::mem::{Link, Ref};
use crate::object::tcb::State;
use crate::object::{Reply, Tcb};
use sel4_abi::Rights;

/// An endpoint. The queue's state is that of its first thread.
#[repr(C)]
pub struct Endpoint {
    pub(crate) head: Link<Tcb>,
    pub(crate) tail: Link<Tcb>,
}

const _: () = assert!(size_of::<Endpoint>() == 1 << sel4_abi::object::ENDPOINT_BITS);

/// What the queue holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// Nobody.
    None,
    /// Senders.
    Senders,
    /// Receivers.
    Receivers,
}

impl Endpoint {
    /// Who waits.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        match self.head.get().map(|tcb| tcb.state.get()) {
            None => Waiting::None,
            Some(State::BlockedOnSend) => Waiting::Senders,
            Some(_) => Waiting::Receivers,
        }
    }
}

/// Inserts behind everything of at least its priority.
pub(crate) fn queue_insert(head: &Link<Tcb>, tail: &Link<Tcb>, tcb: Ref<Tcb>) {
    let mut before = tail.get();
    while let Some(other) = before
        && other.priority.get() < tcb.priority.get()
    {
        before = other.queue_prev.get();
    }
    let after = match before {
        Some(before) => before.queue_next.get(),
        None => head.get(),
    };
    tcb.queue_prev.set(before);
    tcb.queue_next.set(after);
    match before {
        Some(before) => before.queue_next.set(Some(tcb)),
        None => head.set(Some(tcb)),
    }
    match after {
        Some(after) => after.queue_prev.set(Some(tcb)),
        None => tail.set(Some(tcb)),
    }
}

/// Takes a thread out of a queue.
pub(crate) fn queue_remove(head: &Link<Tcb>, tail: &Link<Tcb>, tcb: Ref<Tcb>) {
    let (prev, next) = (tcb.queue_prev.get(), tcb.queue_next.get());
    match prev {
        Some(prev) => prev.queue_next.set(next),
        None => head.set(next),
    }
    match next {
        Some(next) => next.queue_prev.set(prev),
        None => tail.set(prev),
    }
    tcb.queue_prev.set(None);
    tcb.queue_next.set(None);
}

/// Where a cancellation of badged sends was interrupted. Always: `next` waits in the endpoint's queue, and `by` has done
/// nothing since and will do the same call again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelling {
    by: Ref<Tcb>,
    endpoint: Ref<Endpoint>,
    badge: u64,
    next: Ref<Tcb>,
}

#[cfg(test)]
impl Cancelling {
    pub(crate) fn next(self) -> Ref<Tcb> {
        self.next
    }
}

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Send {
    pub blocking: bool,
    pub is_call: bool,
    pub badge: u64,
    pub rights: Rights,
    pub may_donate: bool,
}

impl<M: Machine> Kernel<M> {
    /// Sends `thread`'s message (or fault) to `endpoint`.
    pub(crate) fn send_ipc(&mut self, thread: Ref<Tcb>, endpoint: Ref<Endpoint>, send: Send) {
        if endpoint.waiting() != Waiting::Receivers {
            if send.blocking {
                thread.blocked_on.set(endpoint.bits());
                thread.sender_badge.set(send.badge);
                thread.sender_can_grant.set(send.rights.has(Rights::GRANT));
                thread
                    .sender_can_grant_reply
                    .set(send.rights.has(Rights::GRANT_REPLY));
                thread.sender_is_call.set(send.is_call);
                self.set_state(thread, State::BlockedOnSend);
                queue_insert(&endpoint.head, &endpoint.tail, thread);
            }
            return;
        }
        let receiver = endpoint.head.get().expect("receivers wait");
        queue_remove(&endpoint.head, &endpoint.tail, receiver);
        self.transfer(
            thread,
            Some(endpoint),
            send.badge,
            send.rights.has(Rights::GRANT),
            receiver,
        );
        let reply = receiver.reply.get();
        if let Some(reply) = reply {
            self.reply_unlink(reply, receiver);
        }
        let may_reply = send.rights.has(Rights::GRANT) || send.rights.has(Rights::GRANT_REPLY);
        if send.is_call || thread.fault.get().label != 0 {
            match reply {
                Some(reply) if may_reply => {
                    self.reply_push(thread, receiver, reply, send.may_donate)
                }
                _ => self.set_state(thread, State::Inactive),
            }
        } else if send.may_donate
            && receiver.sc.get().is_none()
            && let Some(sc) = thread.sc.get()
        {
            self.donate(sc, receiver);
        }
        self.set_state(receiver, State::Running);
        self.wake_sporadic(receiver);
        self.possible_switch(receiver);
    }

    /// Receives for `thread` from `endpoint`.
    pub(crate) fn receive_ipc(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        rights: Rights,
        blocking: bool,
        reply: Option<Ref<Reply>>,
    ) {
        if let Some(user) = reply.and_then(|reply| reply.tcb.get())
            && user != thread
        {
            self.cancel_ipc(user);
        }
        if let Some(notification) = thread.notification.get() {
            if notification.is_active() {
                self.complete_signal(notification, thread);
                return;
            }
            if blocking {
                self.return_context(notification, thread);
            }
        }
        match endpoint.waiting() {
            Waiting::Senders => self.receive_from_queue(thread, endpoint, reply),
            _ if blocking => {
                thread.blocked_on.set(endpoint.bits());
                thread.receiver_can_grant.set(rights.has(Rights::GRANT));
                thread.reply.set(reply);
                if let Some(reply) = reply {
                    reply.tcb.set(Some(thread));
                }
                self.set_state(thread, State::BlockedOnReceive);
                queue_insert(&endpoint.head, &endpoint.tail, thread);
            }
            _ => thread.context.rdi.set(0),
        }
    }

    fn receive_from_queue(
        &mut self,
        thread: Ref<Tcb>,
        endpoint: Ref<Endpoint>,
        reply: Option<Ref<Reply>>,
    ) {
        let sender = endpoint.head.get().expect("senders wait");
        self.sender_leaves(sender);
        queue_remove(&endpoint.head, &endpoint.tail, sender);
        let grant = sender.sender_can_grant.get();
        self.transfer(
            sender,
            Some(endpoint),
            sender.sender_badge.get(),
            grant,
            thread,
        );
        self.wake_sporadic(sender);
        let fault = sender.fault.get().label;
        if sender.sender_is_call.get() || fault != 0 {
            match reply {
                Some(reply) if grant || sender.sender_can_grant_reply.get() => {
                    let may_donate = sender.sc.get().is_some() && fault != sel4_abi::fault::TIMEOUT;
                    self.reply_push(sender, thread, reply, may_donate);
                }
                _ => self.set_state(sender, State::Inactive),
            }
        } else {
            self.set_state(sender, State::Running);
            self.possible_switch(sender);
        }
    }

    /// A re-prioritised thread goes behind its equals.
    pub(crate) fn requeue_blocked(&mut self, tcb: Ref<Tcb>) {
        let (head, tail) = match tcb.state.get() {
            State::BlockedOnNotification => {
                let n = Ref::<crate::object::Notification>::at(tcb.blocked_on.get());
                queue_remove(&n.head, &n.tail, tcb);
                queue_insert(&n.head, &n.tail, tcb);
                return;
            }
            _ => {
                let endpoint = Ref::<Endpoint>::at(tcb.blocked_on.get());
                match self.cancelling {
                    // It may come to stand before those that were looked at already, and is one that is looked for.
                    Some(left)
                        if left.endpoint == endpoint && left.badge == tcb.sender_badge.get() =>
                    {
                        self.cancelling = None;
                    }
                    _ => self.sender_leaves(tcb),
                }
                (endpoint, endpoint)
            }
        };
        queue_remove(&head.head, &tail.tail, tcb);
        queue_insert(&head.head, &tail.tail, tcb);
    }

    /// Ends whatever IPC the thread is in; it is Inactive afterwards (if it was blocked).
    pub(crate) fn cancel_ipc(&mut self, tcb: Ref<Tcb>) {
        match tcb.state.get() {
            State::BlockedOnSend | State::BlockedOnReceive => {
                let endpoint = Ref::<Endpoint>::at(tcb.blocked_on.get());
                self.sender_leaves(tcb);
                queue_remove(&endpoint.head, &endpoint.tail, tcb);
                if let Some(reply) = tcb.reply.get() {
                    self.reply_unlink(reply, tcb);
                }
            }
            State::BlockedOnNotification => {
                let n = Ref::<crate::object::Notification>::at(tcb.blocked_on.get());
                queue_remove(&n.head, &n.tail, tcb);
            }
            State::BlockedOnReply => self.reply_remove_caller(tcb),
            _ => return,
        }
        tcb.fault.set(Default::default());
        self.set_state(tcb, State::Inactive);
    }

    /// The endpoint goes away: the first in its queue does its call again; a faulted thread stays stopped.
    pub(crate) fn cancel_first_ipc(&mut self, endpoint: Ref<Endpoint>) {
        if let Some(tcb) = endpoint.head.get() {
            self.cancel_queued(endpoint, tcb);
            self.reschedule_required();
        }
    }

    /// Restarts the senders queued with `badge`; preemptible after each.
    pub(crate) fn cancel_badged_sends(
        &mut self,
        endpoint: Ref<Endpoint>,
        badge: u64,
    ) -> Result<(), Fail> {
        let mut next = match self.cancelling.take() {
            Some(left)
                if (left.by, left.endpoint, left.badge) == (self.current, endpoint, badge) =>
            {
                Some(left.next)
            }
            _ if endpoint.waiting() == Waiting::Senders => endpoint.head.get(),
            _ => None,
        };
        if next.is_some() {
            self.reschedule_required();
        }
        while let Some(tcb) = next {
            next = tcb.queue_next.get();
            if tcb.sender_badge.get() == badge {
                self.cancel_queued(endpoint, tcb);
            }
            if let Some(next) = next
                && let Err(preempted) = self.preemption_point()
            {
                self.cancelling = Some(Cancelling {
                    by: self.current,
                    endpoint,
                    badge,
                    next,
                });
                return Err(preempted);
            }
        }
        Ok(())
    }

    /// A sender leaves its queue: an interrupted cancellation goes on with the one after it.
    fn sender_leaves(&mut self, tcb: Ref<Tcb>) {
        if let Some(left) = self.cancelling
            && left.next == tcb
        {
            self.cancelling = tcb.queue_next.get().map(|next| Cancelling { next, ..left });
        }
    }

    /// The thread may do something else than the cancellation it was interrupted in: the next one begins at the head.
    pub(crate) fn abandon_cancelling(&mut self, by: Ref<Tcb>) {
        if self.cancelling.as_ref().is_some_and(|left| left.by == by) {
            self.cancelling = None;
        }
    }

    fn cancel_queued(&mut self, endpoint: Ref<Endpoint>, tcb: Ref<Tcb>) {
        self.sender_leaves(tcb);
        queue_remove(&endpoint.head, &endpoint.tail, tcb);
        if let Some(reply) = tcb.reply.get() {
            self.reply_unlink(reply, tcb);
        }
        if tcb.fault.get().label == 0 {
            self.set_state(tcb, State::Restart);
            self.wake_sporadic(tcb);
            self.possible_switch(tcb);
        } else {
            self.set_state(tcb, State::Inactive);
        }
    }
}
