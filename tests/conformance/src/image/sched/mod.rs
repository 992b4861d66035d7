//! Priorities, budgets, donation: a file for each topic, and here what they share.

mod budgets;
mod contexts;
mod domains;
mod lending;
mod priorities;
mod timeouts;
mod yielding;

pub(crate) use budgets::*;
pub(crate) use contexts::*;
pub(crate) use domains::*;
pub(crate) use lending::*;
pub(crate) use priorities::*;
pub(crate) use timeouts::*;
pub(crate) use yielding::*;

use super::kit::{HIGH, Kit, Thread, endpoint, info, invoke, notification, reply};
use super::report::{Check, done};
use super::thread::{COUNTERS, count_for_ever, mark, now};
use core::sync::atomic::Ordering::SeqCst;
use sel4_abi::label;

fn count(n: usize) -> u64 {
    COUNTERS[n].load(SeqCst)
}

fn marker(args: [u64; 6]) {
    mark(args[0]);
}

fn spinner(args: [u64; 6]) {
    count_for_ever(args[0] as usize);
}

/// Microseconds of its time that a thread has used since this was last asked.
fn consumed(thread: Thread) -> Check<u64> {
    let answer = done!(invoke(thread.sc, label::SCHED_CONTEXT_CONSUMED, &[], &[]));
    Ok(answer.words[0])
}

/// A periodic thread, not started.
fn periodic(
    t: &mut Kit,
    priority: u64,
    budget: u64,
    period: u64,
    args: [u64; 6],
    job: fn([u64; 6]),
) -> Check<Thread> {
    let thread = t.thread(priority, args, job)?;
    t.configure(thread.sc, budget, period, 0, 7, 0)?;
    t.bind(thread.sc, thread.tcb)?;
    Ok(thread)
}

/// Waits for so many microseconds: a periodic thread's second period begins then.
fn pause(t: &mut Kit, wake: u64, microseconds: u64) -> Check {
    let alarm = periodic(t, HIGH, 100, microseconds, [wake, 0, 0, 0, 0, 0], |args| {
        sel4::r#yield();
        notification(args[0]).signal();
    })?;
    t.resume(alarm)?;
    notification(wake).wait();
    Ok(())
}

fn server(args: [u64; 6]) {
    let [ep, object, ready, work, ..] = args;
    let mut message =
        notification(ready).nb_send_recv_with_mrs(info(0, 0), [], endpoint(ep), reply(object));
    loop {
        let end = now() + work;
        while now() < end {}
        let word = message.msg[0] + 1;
        message = endpoint(ep).reply_recv_with_mrs(info(0, 1), [word], reply(object));
    }
}

/// A server without time.
fn passive(t: &mut Kit, priority: u64, ep: u64, work: u64) -> Check<Thread> {
    let (ready, object) = (t.ntfn()?, t.reply()?);
    let mut thread = t.spawn(priority, [ep, object, ready, work, 0, 0], server)?;
    thread.reply = object;
    notification(ready).wait();
    t.unbind(thread.sc)?;
    Ok(thread)
}
