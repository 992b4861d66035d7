//! Damages to reply objects and call stacks: the first server's object is below the second's, which is the top.

use super::Damage;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::ReplyTop, |s| s.sc(s.caller).reply.set(None)),
    (Complaint::ReplyAboveDeleted, |s| s.lose(s.servers[1].reply)),
    (Complaint::ReplyAbove, |s| {
        s.reply(s.servers[1]).prev.set(None);
    }),
    (Complaint::ReplyBelowDeleted, |s| s.lose(s.servers[0].reply)),
    (Complaint::ReplyBelow, |s| {
        s.reply(s.servers[0]).forget_context();
    }),
    (Complaint::ReplyThreadDeleted, |s| s.lose(s.caller.cap)),
    (Complaint::ReplyThread, |s| {
        s.reply(s.ready).tcb.set(Some(s.ready.tcb));
    }),
    (Complaint::ReplyWithoutCall, |s| {
        s.reply(s.receivers[0]).push_onto(s.sc(s.servers[0]));
    }),
    (Complaint::ReplyWithoutThread, |s| {
        s.reply(s.ready).push_onto(s.sc(s.servers[0]));
    }),
];
