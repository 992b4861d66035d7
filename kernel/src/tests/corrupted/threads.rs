//! Damages to what threads are bound to.

use super::Damage;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::ThreadReplyState, |s| {
        s.ready.tcb.reply.set(Some(s.reply(s.ready)));
    }),
    (Complaint::ThreadWithoutReply, |s| {
        s.caller.tcb.reply.set(None);
    }),
    (Complaint::ThreadReply, |s| {
        s.receivers[0].tcb.reply.set(s.caller.tcb.reply.get());
    }),
    (Complaint::ThreadContext, |s| {
        s.sc(s.ready).tcb.set(Some(s.waiter.tcb));
    }),
    (Complaint::ThreadNotification, |s| {
        s.ready.tcb.notification.set(Some(s.notification()));
    }),
    (Complaint::ThreadYield, |s| {
        s.ready.tcb.yield_to.set(Some(s.sc(s.late[0])));
    }),
    (Complaint::ThreadVcpu, |s| {
        s.ready.tcb.vcpu.set(Some(s.vcpu()));
    }),
];
