//! What threads are bound to is bound to them.

use super::complaint::{Check, ensure};
use super::found::Found;
use crate::object::tcb::State;

pub fn check(found: &Found) -> Check {
    for &tcb in &found.tcbs {
        let (state, reply) = (tcb.state.get(), tcb.reply.get());
        let called = state == State::BlockedOnReply;
        ensure!(
            called || state == State::BlockedOnReceive || reply.is_none(),
            ThreadReplyState,
            "{tcb:?}: {state:?}"
        );
        ensure!(!called || reply.is_some(), ThreadWithoutReply, "{tcb:?}");
        if let Some(reply) = reply {
            ensure!(reply.tcb.is(tcb), ThreadReply, "{tcb:?}: {reply:?}");
        }
        if let Some(sc) = tcb.sc.get() {
            ensure!(sc.tcb.is(tcb), ThreadContext, "{tcb:?}: {sc:?}");
        }
        if let Some(notification) = tcb.notification.get() {
            ensure!(
                notification.tcb.is(tcb),
                ThreadNotification,
                "{tcb:?}: {notification:?}"
            );
        }
        if let Some(sc) = tcb.yield_to.get() {
            ensure!(sc.yield_from.is(tcb), ThreadYield, "{tcb:?}: {sc:?}");
        }
        if let Some(vcpu) = tcb.vcpu.get() {
            ensure!(vcpu.tcb.is(tcb), ThreadVcpu, "{tcb:?}: {vcpu:?}");
        }
    }
    Ok(())
}
