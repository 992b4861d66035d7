//! Reply objects: the threads that wait on or with them, and the call stacks that lend scheduling contexts.

use super::complaint::{Check, ensure};
use super::found::{Found, is_among};
use crate::mem::Ref;
use crate::object::Reply;
use crate::object::tcb::State;

pub fn check(found: &Found) -> Check {
    for &reply in &found.replies {
        stack(found, reply)?;
        thread(found, reply)?;
    }
    Ok(())
}

/// Its neighbours on a call stack. No two are above the same one, as that one knows both.
fn stack(found: &Found, reply: Ref<Reply>) -> Check {
    if let Some(sc) = reply.context() {
        ensure!(sc.reply.is(reply), ReplyTop, "{reply:?}: {sc:?}");
    }
    if let Some(above) = reply.above() {
        let lives = is_among(&found.replies, above);
        ensure!(lives, ReplyAboveDeleted, "{reply:?}: {above:?}");
        ensure!(above.prev.is(reply), ReplyAbove, "{reply:?}: {above:?}");
    }
    if let Some(below) = reply.prev.get() {
        let lives = is_among(&found.replies, below);
        ensure!(lives, ReplyBelowDeleted, "{reply:?}: {below:?}");
        let known = below.above() == Some(reply);
        ensure!(known, ReplyBelow, "{reply:?}: {below:?}");
    }
    Ok(())
}

/// The thread that waits: on a stack, one that has called.
fn thread(found: &Found, reply: Ref<Reply>) -> Check {
    let on_stack =
        reply.context().is_some() || reply.above().is_some() || reply.prev.get().is_some();
    let Some(tcb) = reply.tcb.get() else {
        ensure!(!on_stack, ReplyWithoutThread, "{reply:?}");
        return Ok(());
    };
    let lives = is_among(&found.tcbs, tcb);
    ensure!(lives, ReplyThreadDeleted, "{reply:?}: {tcb:?}");
    ensure!(tcb.reply.is(reply), ReplyThread, "{reply:?}: {tcb:?}");
    let called = tcb.state.get() == State::BlockedOnReply;
    ensure!(!on_stack || called, ReplyWithoutCall, "{reply:?}: {tcb:?}");
    Ok(())
}
