//! The scheduler: ready queues, release queue, and that the right thread runs.

use super::addresses::Addresses;
use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use crate::kernel::{Action, Kernel};
use crate::machine::Machine;
use crate::mem::Ref;

pub fn check<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    ensure!(
        kernel.action == Action::Keep,
        ActionLeft,
        "{:?}",
        kernel.action
    );
    let ready = ready_queues(kernel)?;
    let waiting = release_queue(kernel)?;
    places(kernel, found, &ready, &waiting)?;
    running(kernel, &ready)
}

/// Answers who is in the ready queues.
fn ready_queues<M: Machine>(kernel: &Kernel<M>) -> Check<Addresses> {
    let mut ready = Addresses::default();
    for priority in 0..256 {
        let bit = kernel.queues.bitmap[priority / 64] >> (priority % 64) & 1 != 0;
        let (mut at, mut before) = (kernel.queues.heads[priority].get(), None);
        ensure!(bit == at.is_some(), Bitmap, "{priority}");
        while let Some(tcb) = at {
            ensure!(ready.insert(tcb.bits()), ReadyTwice, "{tcb:?}");
            ensure!(tcb.sched_prev.get() == before, ReadyLink, "{tcb:?}");
            let own = usize::from(tcb.priority.get());
            ensure!(own == priority, ReadyPriority, "{tcb:?}: {priority}");
            ensure!(
                kernel.is_schedulable(tcb),
                ReadyStopped,
                "{tcb:?}: {:?}",
                tcb.state.get()
            );
            before = at;
            at = tcb.sched_next.get();
        }
        let tail = kernel.queues.tails[priority].get();
        ensure!(tail == before, ReadyTail, "{priority}: {tail:?}");
    }
    Ok(ready)
}

/// Answers who is in the release queue.
fn release_queue<M: Machine>(kernel: &Kernel<M>) -> Check<Addresses> {
    let mut waiting = Addresses::default();
    let (mut at, mut before, mut time) = (kernel.queues.release.get(), None, None);
    while let Some(tcb) = at {
        ensure!(waiting.insert(tcb.bits()), ReleaseTwice, "{tcb:?}");
        ensure!(tcb.sched_prev.get() == before, ReleaseLink, "{tcb:?}");
        ensure!(
            tcb.is_runnable(),
            ReleaseStopped,
            "{tcb:?}: {:?}",
            tcb.state.get()
        );
        let sc = tcb.sc.get().filter(|sc| sc.is_active());
        let due = sc.map(|sc| sc.head_refill().time.get());
        ensure!(due.is_some(), ReleaseWithoutContext, "{tcb:?}");
        ensure!(due >= time, ReleaseOrder, "{tcb:?}");
        ensure!(due > Some(kernel.now), ReleaseDue, "{tcb:?}");
        time = due;
        before = at;
        at = tcb.sched_next.get();
    }
    Ok(waiting)
}

/// Every thread is where its marks and its state say.
fn places<M: Machine>(
    kernel: &Kernel<M>,
    found: &Found,
    ready: &Addresses,
    waiting: &Addresses,
) -> Check {
    for &tcb in ready.iter().chain(waiting) {
        let lives = is_among(&found.tcbs, Ref::at(tcb));
        ensure!(lives, ScheduledDeleted, "{tcb:#x}");
    }
    for &tcb in &found.tcbs {
        let is_ready = ready.contains(&tcb.bits());
        ensure!(tcb.in_ready_queue.get() == is_ready, ReadyMark, "{tcb:?}");
        let waits = waiting.contains(&tcb.bits());
        ensure!(tcb.in_release_queue.get() == waits, ReleaseMark, "{tcb:?}");
        let runs = tcb == kernel.current && tcb != kernel.idle;
        ensure!(
            is_ready || runs || !kernel.is_schedulable(tcb),
            Lost,
            "{tcb:?}: {:?}",
            tcb.state.get()
        );
    }
    Ok(())
}

/// The running thread is the one that should run.
fn running<M: Machine>(kernel: &Kernel<M>, ready: &Addresses) -> Check {
    let current = kernel.current;
    let idle = current == kernel.idle;
    ensure!(
        idle || kernel.is_schedulable(current),
        RunningStopped,
        "{current:?}: {:?}",
        current.state.get()
    );
    ensure!(
        !ready.contains(&current.bits()),
        RunningReady,
        "{current:?}"
    );
    ensure!(
        current.sc.is(kernel.current_sc),
        RunningContext,
        "{current:?}: {:?}",
        kernel.current_sc
    );
    let top = (0..256).rfind(|&priority| kernel.queues.heads[priority].get().is_some());
    ensure!(
        usize::from(kernel.queues.ready_end) == top.map_or(0, |top| top + 1),
        HighestReady,
        "{top:?}"
    );
    let Some(top) = top else { return Ok(()) };
    ensure!(!idle, IdleThoughReady, "{top}");
    let priority = usize::from(current.priority.get());
    ensure!(priority >= top, NotHighest, "{priority} below {top}");
    Ok(())
}
