//! Damages to the queues of endpoints and notifications, and to what notifications are bound to.

use super::Damage;
use crate::object::tcb::State;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::WaiterState, |s| {
        s.receivers[0].tcb.state.set(State::BlockedOnReply);
    }),
    (Complaint::WaiterElsewhere, |s| {
        s.receivers[0].tcb.blocked_on.set(64);
    }),
    (Complaint::WaiterTwice, |s| {
        let [first, second] = s.receivers.map(|thread| thread.tcb);
        second.queue_next.set(Some(first));
    }),
    (Complaint::WaiterLink, |s| {
        s.receivers[0].tcb.queue_prev.set(Some(s.ready.tcb));
    }),
    (Complaint::SendersAndReceivers, |s| {
        s.receivers[1].tcb.state.set(State::BlockedOnSend);
    }),
    (Complaint::WaiterOrder, |s| {
        s.receivers[1].tcb.priority.set(200);
    }),
    (Complaint::WaiterTail, |s| {
        let endpoint = s.g.world.endpoint(s.endpoint);
        endpoint.tail.set(Some(s.receivers[0].tcb));
    }),
    (Complaint::SignalledWithWaiters, |s| {
        let notification = s.notification();
        let waiter = notification.head.get();
        notification.head.set(None);
        s.world().kernel.signal(notification, 1);
        notification.head.set(waiter);
    }),
    (Complaint::NotificationThread, |s| {
        s.notification().tcb.set(Some(s.ready.tcb));
    }),
    (Complaint::NotificationContext, |s| {
        s.notification().sc.set(Some(s.sc(s.ready)));
    }),
    (Complaint::WaiterLost, |s| {
        s.notification().head.set(None);
        s.notification().tail.set(None);
    }),
    (Complaint::WaiterDeleted, |s| s.lose(s.waiter.cap)),
];
