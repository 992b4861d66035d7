//! The queues of endpoints and notifications, against the threads' states; and what notifications are bound to.

use super::addresses::Addresses;
use super::complaint::{Check, ensure};
use super::found::Found;
use crate::mem::{Link, Ref};
use crate::object::tcb::State;
use crate::object::{Notification, Tcb};

pub fn check(found: &Found) -> Check {
    let mut queued = Addresses::default();
    for &endpoint in &found.endpoints {
        let states = [State::BlockedOnSend, State::BlockedOnReceive];
        let ends = (&endpoint.head, &endpoint.tail);
        queue(ends, endpoint.bits(), &states, &mut queued)?;
    }
    for &notification in &found.notifications {
        let states = [State::BlockedOnNotification];
        let ends = (&notification.head, &notification.tail);
        queue(ends, notification.bits(), &states, &mut queued)?;
        bound(notification)?;
    }
    for &tcb in &found.tcbs {
        let state = tcb.state.get();
        let waits = matches!(
            state,
            State::BlockedOnSend | State::BlockedOnReceive | State::BlockedOnNotification
        );
        let is_queued = queued.remove(&tcb.bits());
        ensure!(is_queued || !waits, WaiterLost, "{tcb:?}: {state:?}");
    }
    ensure!(queued.is_empty(), WaiterDeleted, "{queued:x?}");
    Ok(())
}

/// The queue of the object at `object`, whose threads are in one of these states. They come to those `queued` already.
fn queue(
    (head, tail): (&Link<Tcb>, &Link<Tcb>),
    object: u64,
    states: &[State],
    queued: &mut Addresses,
) -> Check {
    let (mut at, mut before) = (head.get(), None::<Ref<Tcb>>);
    while let Some(tcb) = at {
        let state = tcb.state.get();
        ensure!(states.contains(&state), WaiterState, "{tcb:?}: {state:?}");
        let waits_here = tcb.blocked_on.get() == object;
        ensure!(waits_here, WaiterElsewhere, "{tcb:?} in {object:#x}");
        ensure!(queued.insert(tcb.bits()), WaiterTwice, "{tcb:?}");
        ensure!(tcb.queue_prev.get() == before, WaiterLink, "{tcb:?}");
        if let Some(before) = before {
            let alike = before.state.get() == state;
            ensure!(alike, SendersAndReceivers, "{object:#x}");
            let ordered = before.priority.get() >= tcb.priority.get();
            ensure!(ordered, WaiterOrder, "{object:#x}");
        }
        before = at;
        at = tcb.queue_next.get();
    }
    ensure!(tail.get() == before, WaiterTail, "{object:#x}");
    Ok(())
}

fn bound(notification: Ref<Notification>) -> Check {
    ensure!(
        !(notification.is_active() && notification.has_waiters()),
        SignalledWithWaiters,
        "{notification:?}"
    );
    if let Some(tcb) = notification.tcb.get() {
        ensure!(
            tcb.notification.is(notification),
            NotificationThread,
            "{notification:?}: {tcb:?}"
        );
    }
    if let Some(sc) = notification.sc.get() {
        ensure!(
            sc.notification.is(notification),
            NotificationContext,
            "{notification:?}: {sc:?}"
        );
    }
    Ok(())
}
