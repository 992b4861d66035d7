//! Scheduling contexts: their refills, and what they are bound to.

use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::mem::Ref;
use crate::object::SchedContext;

pub fn check<M: Machine>(kernel: &Kernel<M>, found: &Found) -> Check {
    for &sc in &found.contexts {
        if sc.is_active() {
            refills(kernel, sc)?;
        }
        bound(found, sc)?;
    }
    Ok(())
}

/// The refills of a configured context.
fn refills<M: Machine>(kernel: &Kernel<M>, sc: Ref<SchedContext>) -> Check {
    let (count, max) = (sc.count.get(), sc.max.get());
    let fits = count >= 1 && count <= max;
    ensure!(fits, RefillCount, "{sc:?}: {count} of {max}");
    let total = sc.total();
    ensure!(total >= kernel.min_budget(), ShortBudget, "{sc:?}: {total}");
    if sc.is_round_robin() {
        ensure!(count == 2, RoundRobinRefills, "{sc:?}: {count}");
        return Ok(());
    }
    for n in 1..count {
        let (before, refill) = (sc.refill(n - 1), sc.refill(n));
        let end = before.time.get() + before.amount.get();
        ensure!(end <= refill.time.get(), RefillsOverlap, "{sc:?}: {n}");
    }
    Ok(())
}

fn bound(found: &Found, sc: Ref<SchedContext>) -> Check {
    if let Some(tcb) = sc.tcb.get() {
        let lives = is_among(&found.tcbs, tcb);
        ensure!(lives, ContextThreadDeleted, "{sc:?}: {tcb:?}");
        ensure!(tcb.sc.is(sc), ContextThread, "{sc:?}: {tcb:?}");
    }
    if let Some(notification) = sc.notification.get() {
        ensure!(
            notification.sc.is(sc),
            ContextNotification,
            "{sc:?}: {notification:?}"
        );
    }
    if let Some(tcb) = sc.yield_from.get() {
        let lives = is_among(&found.tcbs, tcb);
        ensure!(lives, ContextYieldDeleted, "{sc:?}: {tcb:?}");
        ensure!(tcb.yield_to.is(sc), ContextYield, "{sc:?}: {tcb:?}");
    }
    if let Some(top) = sc.reply.get() {
        ensure!(top.context() == Some(sc), ContextStack, "{sc:?}: {top:?}");
    }
    Ok(())
}
