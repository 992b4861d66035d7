//! Damages to the scheduler's queues, and to who runs.

use super::Damage;
use super::system::System;
use crate::kernel::Action;
use crate::mem::Ref;
use crate::object::sched_context::Refill;
use crate::object::tcb::State;
use crate::tests::invariants::Complaint;

pub const DAMAGES: &[Damage] = &[
    (Complaint::ActionLeft, |s| {
        s.world().kernel.action = Action::Choose;
    }),
    (Complaint::Bitmap, |s| {
        s.world().kernel.queues.bitmap[0] ^= 1 << 7;
    }),
    (Complaint::ReadyTwice, |s| {
        s.ready.tcb.sched_next.set(Some(s.ready.tcb));
    }),
    (Complaint::ReadyLink, |s| {
        s.ready.tcb.sched_prev.set(Some(s.late[0].tcb));
    }),
    (Complaint::ReadyPriority, |s| s.ready.tcb.priority.set(51)),
    (Complaint::ReadyStopped, |s| {
        s.ready.tcb.state.set(State::Inactive);
    }),
    (Complaint::ReadyTail, |s| {
        s.world().kernel.queues.tails[50].set(None);
    }),
    (Complaint::ReleaseTwice, |s| {
        let last = s
            .late
            .iter()
            .find(|late| late.tcb.sched_next.get().is_none());
        let last = last.expect("a last one").tcb;
        last.sched_next.set(Some(last));
    }),
    (Complaint::ReleaseLink, |s| {
        for late in s.late {
            late.tcb.sched_prev.set(Some(s.ready.tcb));
        }
    }),
    (Complaint::ReleaseStopped, |s| {
        s.late[0].tcb.state.set(State::Inactive);
    }),
    (Complaint::ReleaseWithoutContext, |s| {
        s.late[0].tcb.sc.set(None);
    }),
    (Complaint::ReleaseWithoutContext, |s| {
        s.sc(s.late[0]).max.set(0);
    }),
    (Complaint::ReleaseOrder, |s| first_due(s).time.set(u64::MAX)),
    (Complaint::ReleaseDue, |s| first_due(s).time.set(0)),
    (Complaint::ScheduledDeleted, |s| s.lose(s.ready.cap)),
    (Complaint::ScheduledDeleted, |s| s.lose(s.late[0].cap)),
    (Complaint::ReadyMark, |s| {
        s.waiter.tcb.in_ready_queue.set(true);
    }),
    (Complaint::ReadyMark, |s| {
        s.ready.tcb.in_ready_queue.set(false);
    }),
    (Complaint::ReleaseMark, |s| {
        s.waiter.tcb.in_release_queue.set(true);
    }),
    (Complaint::ReleaseMark, |s| {
        s.late[0].tcb.in_release_queue.set(false);
    }),
    (Complaint::Lost, |s| s.waiter.tcb.state.set(State::Running)),
    (Complaint::RunningStopped, |s| {
        s.world().current().state.set(State::Inactive);
    }),
    (Complaint::RunningReady, |s| {
        let current = s.world().current();
        s.world().kernel.ready_push_tail(current);
    }),
    (Complaint::RunningContext, |s| {
        s.world().kernel.current_sc = s.sc(s.ready);
    }),
    (Complaint::HighestReady, |s| {
        s.world().kernel.queues.ready_end = 0;
    }),
    (Complaint::IdleThoughReady, |s| {
        let kernel = &mut s.world().kernel;
        kernel.current.state.set(State::Inactive);
        kernel.current = kernel.idle;
        kernel.current_sc = kernel.idle.sc.get().expect("the idle thread's context");
    }),
    (Complaint::NotHighest, |s| {
        s.world().current().priority.set(10);
    }),
];

/// The refill that the first of the release queue waits for.
fn first_due(s: &System) -> Ref<Refill> {
    let first = s.g.world.kernel.queues.release.get();
    let sc = first.and_then(|tcb| tcb.sc.get());
    sc.expect("a first one").head_refill()
}
