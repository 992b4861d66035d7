//! Damages to scheduling contexts.

use super::Damage;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::RefillCount, |s| s.sc(s.late[0]).count.set(0)),
    (Complaint::RefillCount, |s| {
        let sc = s.sc(s.late[0]);
        sc.count.set(sc.max.get() + 1);
    }),
    (Complaint::ShortBudget, |s| {
        s.sc(s.ready).head_refill().amount.set(0);
    }),
    (Complaint::RoundRobinRefills, |s| {
        s.sc(s.ready).count.set(1);
    }),
    (Complaint::RefillsOverlap, |s| {
        let sc = s.sc(s.late[0]);
        sc.count.set(2);
        sc.refill(1).time.set(sc.head_refill().time.get());
    }),
    (Complaint::ContextThreadDeleted, |s| {
        let sc = s.sc(s.stopped);
        sc.tcb.set(Some(s.stopped.tcb));
        s.stopped.tcb.sc.set(Some(sc));
        s.lose(s.stopped.cap);
    }),
    (Complaint::ContextThread, |s| {
        s.sc(s.servers[0]).tcb.set(Some(s.ready.tcb));
    }),
    (Complaint::ContextNotification, |s| {
        s.sc(s.ready).notification.set(Some(s.notification()));
    }),
    (Complaint::ContextYieldDeleted, |s| {
        let sc = s.sc(s.ready);
        sc.yield_from.set(Some(s.stopped.tcb));
        s.stopped.tcb.yield_to.set(Some(sc));
        s.lose(s.stopped.cap);
    }),
    (Complaint::ContextYield, |s| {
        s.sc(s.ready).yield_from.set(Some(s.stopped.tcb));
    }),
    (Complaint::ContextStack, |s| {
        s.sc(s.ready).reply.set(Some(s.reply(s.receivers[0])));
    }),
];
