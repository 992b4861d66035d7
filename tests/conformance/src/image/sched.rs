//! Priorities, budgets, donation.

use super::kit::{
    Answer, HIGH, Kit, LOW, TCB, Thread, delete, endpoint, info, invoke, notification, reply, rest,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::{COUNTERS, count_for_ever, mark, now};
use core::sync::atomic::Ordering::SeqCst;
use sel4_abi::{fault, label, object};

fn count(n: usize) -> u64 {
    COUNTERS[n].load(SeqCst)
}

fn marker(args: [u64; 6]) {
    mark(args[0]);
}

/// Marks, yields, marks.
fn turns(args: [u64; 6]) {
    for _ in 0..3 {
        mark(args[0]);
        sel4::r#yield();
    }
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

pub(crate) fn a_higher_thread_runs_at_once_and_a_lower_one_later(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    mark(3);
    rest();
    marks!(2, 3, 1);
    Ok(())
}

pub(crate) fn ready_threads_run_by_priority(t: &mut Kit) -> Check {
    for priority in [50, 70, 60, 199, 2] {
        t.spawn(priority, [priority, 0, 0, 0, 0, 0], marker)?;
    }
    rest();
    marks!(199, 70, 60, 50, 2);
    Ok(())
}

pub(crate) fn of_equals_the_last_started_runs_first(t: &mut Kit) -> Check {
    for n in 1..=3 {
        t.spawn(LOW, [n, 0, 0, 0, 0, 0], marker)?;
    }
    rest();
    marks!(3, 2, 1);
    Ok(())
}

pub(crate) fn yield_goes_behind_equals(t: &mut Kit) -> Check {
    for n in [1, 2] {
        t.spawn(LOW, [n, 0, 0, 0, 0, 0], turns)?;
    }
    rest();
    marks!(2, 1, 2, 1, 2, 1);
    Ok(())
}

pub(crate) fn yield_with_nobody_equal_goes_on(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW + 1, [2, 0, 0, 0, 0, 0], turns)?;
    rest();
    marks!(2, 2, 2, 1);
    Ok(())
}

pub(crate) fn equal_threads_share_the_processor_by_budget(t: &mut Kit) -> Check {
    // Both have half of the time of a thread above that stops them in the end.
    for n in [0, 1] {
        let thread = t.thread(LOW, [n, 0, 0, 0, 0, 0], spinner)?;
        t.configure(thread.sc, 2000, 2000, 0, 0, 0)?;
        t.bind(thread.sc, thread.tcb)?;
        t.resume(thread)?;
    }
    let stop = t.ntfn()?;
    pause(t, stop, 20_000)?;
    let (a, b) = (count(0), count(1));
    ensure!(a > 0 && b > 0);
    ensure!(a < b * 4 && b < a * 4);
    Ok(())
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

pub(crate) fn raising_a_ready_thread_runs_it_at_once(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    mark(9);
    done!(invoke(thread.tcb, label::TCB_SET_PRIORITY, &[HIGH], &[TCB]));
    marks!(9, 1);
    Ok(())
}

pub(crate) fn lowering_oneself_runs_others_first(t: &mut Kit) -> Check {
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[LOW - 1], &[TCB]));
    mark(9);
    done!(invoke(
        TCB,
        label::TCB_SET_PRIORITY,
        &[super::kit::WORKING],
        &[TCB]
    ));
    marks!(1, 9);
    Ok(())
}

pub(crate) fn a_priority_above_the_authoritys_maximum_is_out_of_range(t: &mut Kit) -> Check {
    let (weak, thread) = (
        t.thread(LOW, [0; 6], marker)?,
        t.thread(LOW, [0; 6], marker)?,
    );
    done!(invoke(weak.tcb, label::TCB_SET_MC_PRIORITY, &[50], &[TCB]));
    let ask = |label, words: &[u64], caps: &[u64]| invoke(thread.tcb, label, words, caps);
    refused!(
        ask(label::TCB_SET_PRIORITY, &[51], &[weak.tcb]),
        RangeError,
        0,
        50
    );
    refused!(
        ask(label::TCB_SET_MC_PRIORITY, &[51], &[weak.tcb]),
        RangeError,
        0,
        50
    );
    refused!(
        ask(label::TCB_SET_PRIORITY, &[256], &[TCB]),
        RangeError,
        0,
        255
    );
    refused!(
        ask(label::TCB_SET_PRIORITY, &[1], &[weak.sc]),
        InvalidCapability,
        1
    );
    refused!(ask(label::TCB_SET_PRIORITY, &[1], &[]), TruncatedMessage);
    done!(ask(label::TCB_SET_PRIORITY, &[50], &[weak.tcb]));
    Ok(())
}

pub(crate) fn scheduling_parameters_are_refused_in_the_stated_order(t: &mut Kit) -> Check {
    let (one, two) = (
        t.active(LOW, [0; 6], marker)?,
        t.active(LOW, [0; 6], marker)?,
    );
    let empty = t.slot();
    let ask =
        |words: &[u64], caps: &[u64]| invoke(one.tcb, label::TCB_SET_SCHED_PARAMS, words, caps);
    refused!(ask(&[1, 1], &[TCB, one.sc]), TruncatedMessage);
    refused!(ask(&[1, 1], &[one.sc, one.sc, empty]), InvalidCapability, 1);
    refused!(ask(&[256, 1], &[TCB, one.sc, empty]), RangeError, 0, 255);
    refused!(ask(&[1, 256], &[TCB, one.sc, empty]), RangeError, 0, 255);
    refused!(ask(&[1, 1], &[TCB, two.sc, empty]), IllegalOperation);
    refused!(ask(&[1, 1], &[TCB, two.tcb, empty]), InvalidCapability, 2);
    refused!(ask(&[1, 1], &[TCB, one.sc, two.tcb]), InvalidCapability, 3);
    let own = [TCB, empty, empty];
    refused!(
        invoke(TCB, label::TCB_SET_SCHED_PARAMS, &[255, 200], &own),
        IllegalOperation
    );
    done!(ask(&[1, 1], &[TCB, empty, empty]));
    t.bind(one.sc, one.tcb)
}

fn configure(t: &Kit, words: &[u64], sc: u64) -> Answer {
    invoke(
        t.sched_control,
        label::SCHED_CONTROL_CONFIGURE_FLAGS,
        words,
        &[sc],
    )
}

pub(crate) fn context_parameters_are_refused_in_the_stated_order(t: &mut Kit) -> Check {
    let (sc, ntfn) = (t.make(object::SCHED_CONTEXT, 8)?, t.ntfn()?);
    let words = [1000, 1000, 0, 0, 0];
    let none = invoke(
        t.sched_control,
        label::SCHED_CONTROL_CONFIGURE_FLAGS,
        &words,
        &[],
    );
    refused!(none, TruncatedMessage);
    refused!(configure(t, &words[..4], sc), TruncatedMessage);
    for (budget, period) in [
        (0, 0),
        (0, 1000),
        (1, 1000),
        (19, 1000),
        (u64::MAX, 1000),
        (20, 19),
    ] {
        let answer = configure(t, &[budget, period, 0, 0, 0], ntfn);
        equal!(answer.label, sel4::Error::RangeError as u64);
        equal!(answer.words[0], 20);
    }
    refused!(
        configure(t, &[1001, 1000, 0, 0, 0], ntfn),
        RangeError,
        20,
        1000
    );
    refused!(configure(t, &words, ntfn), InvalidCapability, 1);
    refused!(configure(t, &[100, 1000, 9, 0, 0], sc), RangeError, 0, 8);
    done!(configure(t, &[100, 1000, 8, 0, 1], sc));
    done!(configure(t, &[20, 20, 0, 0, 0], sc));
    refused!(invoke(t.sched_control, 1, &words, &[sc]), IllegalOperation);
    refused!(invoke(sc, 1, &[], &[]), IllegalOperation);
    Ok(())
}

pub(crate) fn the_smallest_context_has_no_extra_refills(t: &mut Kit) -> Check {
    let sc = t.make(object::SCHED_CONTEXT, 7)?;
    refused!(configure(t, &[100, 1000, 1, 0, 0], sc), RangeError, 0, 0);
    done!(configure(t, &[100, 1000, 0, 0, 0], sc));
    Ok(())
}

pub(crate) fn binding_a_context_refuses_what_is_bound(t: &mut Kit) -> Check {
    let (one, two) = (
        t.active(LOW, [0; 6], marker)?,
        t.active(LOW, [0; 6], marker)?,
    );
    let (ntfn, other, spare) = (t.ntfn()?, t.ntfn()?, t.sc()?);
    let bind = |sc, object: &[u64]| invoke(sc, label::SCHED_CONTEXT_BIND, &[], object);
    refused!(bind(spare, &[]), TruncatedMessage);
    refused!(bind(one.sc, &[two.tcb]), IllegalOperation);
    refused!(bind(spare, &[one.tcb]), IllegalOperation);
    refused!(bind(spare, &[spare]), InvalidCapability, 1);
    done!(bind(one.sc, &[ntfn]));
    refused!(bind(one.sc, &[other]), IllegalOperation);
    refused!(bind(spare, &[ntfn]), IllegalOperation);
    let unbind = |sc, object: &[u64]| invoke(sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], object);
    refused!(unbind(one.sc, &[]), TruncatedMessage);
    refused!(unbind(one.sc, &[two.tcb]), IllegalOperation);
    refused!(unbind(one.sc, &[other]), IllegalOperation);
    refused!(unbind(one.sc, &[one.sc]), InvalidCapability, 1);
    done!(unbind(one.sc, &[ntfn]));
    done!(unbind(one.sc, &[one.tcb]));
    refused!(unbind(one.sc, &[one.tcb]), IllegalOperation);
    let own = sel4::init_thread::slot::SC.cptr_bits();
    refused!(unbind(own, &[TCB]), IllegalOperation);
    refused!(
        invoke(own, label::SCHED_CONTEXT_UNBIND, &[], &[]),
        IllegalOperation
    );
    Ok(())
}

pub(crate) fn an_unconfigured_context_may_not_be_bound_to_a_blocked_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1)
    })?;
    t.unbind(thread.sc)?;
    let sc = t.sc()?;
    refused!(
        invoke(sc, label::SCHED_CONTEXT_BIND, &[], &[thread.tcb]),
        IllegalOperation
    );
    t.bind(thread.sc, thread.tcb)
}

pub(crate) fn a_thread_without_context_starts_and_does_not_run_until_it_has_one(
    t: &mut Kit,
) -> Check {
    let thread = t.thread(HIGH, [1, 0, 0, 0, 0, 0], marker)?;
    t.resume(thread)?;
    rest();
    marks!();
    t.bind(thread.sc, thread.tcb)?;
    rest();
    marks!();
    t.configure(thread.sc, 5000, 5000, 0, 0, 0)?;
    marks!(1);
    Ok(())
}

pub(crate) fn binding_and_starting_work_in_both_orders(t: &mut Kit) -> Check {
    let one = t.thread(HIGH, [1, 0, 0, 0, 0, 0], marker)?;
    t.configure(one.sc, 5000, 5000, 0, 0, 0)?;
    t.resume(one)?;
    marks!();
    t.bind(one.sc, one.tcb)?;
    marks!(1);
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    marks!(2);
    Ok(())
}

pub(crate) fn deleting_a_context_stops_its_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let badged = t.mint(ntfn, 15, 3)?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        loop {
            mark(notification(args[0]).wait().1);
        }
    })?;
    notification(badged).signal();
    marks!(3);
    delete(thread.sc)?;
    notification(badged).signal();
    rest();
    marks!();
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, thread.tcb)?;
    marks!(3);
    Ok(())
}

pub(crate) fn deleting_a_context_stops_a_thread_that_spins(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [0; 6], spinner)?;
    let stop = t.ntfn()?;
    pause(t, stop, 5000)?;
    ensure!(count(0) > 0);
    delete(thread.sc)?;
    let before = count(0);
    rest();
    equal!(count(0), before);
    Ok(())
}

pub(crate) fn consumed_counts_the_time_since_it_was_asked(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [t.ticks(3000), 0, 0, 0, 0, 0], |args| {
        let end = now() + args[0];
        while now() < end {}
    })?;
    rest();
    let answer = done!(invoke(thread.sc, label::SCHED_CONTEXT_CONSUMED, &[], &[]));
    equal!(answer.length, 1);
    ensure!(answer.words[0] >= 2900);
    equal!(consumed(thread)?, 0);
    Ok(())
}

pub(crate) fn a_periodic_thread_runs_its_budget_once_a_period(t: &mut Kit) -> Check {
    let thread = periodic(t, LOW, 1000, 10_000, [0, 0, 0, 0, 0, 0], spinner)?;
    t.resume(thread)?;
    let begin = now();
    t.sleep(85_000);
    t.suspend(thread)?;
    let elapsed = t.microseconds(now() - begin);
    let used = consumed(thread)?;
    // One budget a period that began; interrupts may be late.
    let due = (elapsed / 10_000 + 1) * 1000;
    ensure!(used <= due + due / 10);
    ensure!(used + 1100 >= due);
    Ok(())
}

pub(crate) fn yield_of_a_periodic_thread_waits_for_its_next_period(t: &mut Kit) -> Check {
    let thread = periodic(t, HIGH, 1000, 10_000, [0, 0, 0, 0, 0, 0], |_| {
        for _ in 0..5 {
            COUNTERS[0].fetch_add(1, SeqCst);
            COUNTERS[2].store(now(), SeqCst);
            if count(0) == 1 {
                COUNTERS[1].store(now(), SeqCst);
            }
            sel4::r#yield();
        }
    })?;
    t.resume(thread)?;
    equal!(count(0), 1);
    t.sleep(45_000);
    equal!(count(0), 5);
    let periods = t.microseconds(count(2) - count(1));
    ensure!((39_900..41_000).contains(&periods));
    Ok(())
}

pub(crate) fn periods_begin_never_early_and_soon_after_their_time(t: &mut Kit) -> Check {
    let thread = periodic(
        t,
        HIGH,
        500,
        5000,
        [t.ticks(5000), t.ticks(1000), 0, 0, 0, 0],
        |args| {
            let [period, moment, ..] = args;
            let (first, mut last) = (now(), now());
            COUNTERS[0].store(u64::MAX, SeqCst);
            for n in 1..10 {
                sel4::r#yield();
                let time = now();
                // The first period began when the kernel let the thread run, a moment before it looked at the clock.
                if time + moment < first + n * period {
                    mark(2);
                }
                COUNTERS[0].fetch_min(time - last, SeqCst);
                last = time;
            }
            mark(1);
        },
    )?;
    t.resume(thread)?;
    t.sleep(50_000);
    marks!(1);
    ensure!(t.microseconds(count(0)) < 5100);
    Ok(())
}

pub(crate) fn suspending_and_resuming_does_not_refill_a_budget(t: &mut Kit) -> Check {
    let thread = periodic(t, HIGH, 1000, 60_000_000, [0; 6], |_| {
        loop {
            COUNTERS[0].fetch_add(1, SeqCst);
            sel4::r#yield();
        }
    })?;
    t.resume(thread)?;
    equal!(count(0), 1);
    for _ in 0..10 {
        t.suspend(thread)?;
        t.resume(thread)?;
        rest();
    }
    equal!(count(0), 1);
    Ok(())
}

pub(crate) fn a_sporadic_context_works_as_a_periodic_one(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 2000, 10_000, 4, 7, 1)?;
    t.bind(thread.sc, thread.tcb)?;
    t.resume(thread)?;
    t.sleep(50_000);
    t.suspend(thread)?;
    let used = consumed(thread)?;
    ensure!((9000..13_000).contains(&used));
    Ok(())
}

pub(crate) fn reconfiguring_a_running_thread_changes_its_share(t: &mut Kit) -> Check {
    let thread = t.spawn(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 1000, 10_000, 0, 0, 0)?;
    t.sleep(30_000);
    let first = consumed(thread)?;
    t.configure(thread.sc, 5000, 10_000, 0, 0, 0)?;
    t.sleep(30_000);
    let second = consumed(thread)?;
    ensure!(first < 6000);
    ensure!(second > first + 5000);
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

pub(crate) fn a_passive_server_runs_on_its_callers_time(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let work = t.ticks(2000);
    passive(t, HIGH, ep, work)?;
    let client = t.spawn(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 1), [41]).msg[0]);
    })?;
    rest();
    marks!(42);
    let used = consumed(client)?;
    ensure!(used >= 1900);
    Ok(())
}

pub(crate) fn a_passive_server_below_its_client_still_answers(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    passive(t, LOW, ep, 0)?;
    let answer = endpoint(ep).call_with_mrs(info(0, 1), [1]);
    equal!(answer.msg[0], 2);
    Ok(())
}

fn proxy(args: [u64; 6]) {
    let [ep, object, next, ready, ..] = args;
    let mut message =
        notification(ready).nb_send_recv_with_mrs(info(0, 0), [], endpoint(ep), reply(object));
    loop {
        let answer = endpoint(next).call_with_mrs(info(0, 1), [message.msg[0] + 1]);
        message = endpoint(ep).reply_recv_with_mrs(info(0, 1), [answer.msg[0] + 1], reply(object));
    }
}

pub(crate) fn time_passes_through_a_chain_of_passive_proxies_and_back(t: &mut Kit) -> Check {
    let last = t.ep()?;
    passive(t, 150, last, 0)?;
    let mut next = last;
    for priority in [110, 120, 130, 140, 145] {
        let (ep, object, ready) = (t.ep()?, t.reply()?, t.ntfn()?);
        let thread = t.spawn(priority, [ep, object, next, ready, 0, 0], proxy)?;
        notification(ready).wait();
        t.unbind(thread.sc)?;
        next = ep;
    }
    for round in 0..10 {
        equal!(
            endpoint(next).call_with_mrs(info(0, 1), [round]).msg[0],
            round + 11
        );
    }
    t.spawn(LOW, [next, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 1), [100]).msg[0]);
    })?;
    rest();
    marks!(111);
    Ok(())
}

pub(crate) fn a_send_to_a_passive_receiver_delivers_and_does_not_run_it(t: &mut Kit) -> Check {
    let (ep, object, ready) = (t.ep()?, t.reply()?, t.ntfn()?);
    let thread = t.spawn(HIGH, [ep, object, ready, 0, 0, 0], |args| {
        mark(endpoint(args[0]).recv_with_mrs(reply(args[1])).msg[0]);
    })?;
    t.unbind(thread.sc)?;
    endpoint(ep).send_with_mrs(info(0, 1), [7]);
    rest();
    marks!();
    t.bind(thread.sc, thread.tcb)?;
    marks!(7);
    Ok(())
}

pub(crate) fn deleting_the_reply_object_gives_the_client_its_time_and_stops_it(
    t: &mut Kit,
) -> Check {
    let (ep, object, never) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, never, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        mark(1);
        notification(args[2]).wait();
    })?;
    t.unbind(server.sc)?;
    let client = t.spawn(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    rest();
    marks!(1);
    delete(object)?;
    rest();
    marks!();
    // The client has its context: no other can be bound. It goes on behind its call when it is told so.
    let other = t.sc()?;
    refused!(
        invoke(other, label::SCHED_CONTEXT_BIND, &[], &[client.tcb]),
        IllegalOperation
    );
    let read = done!(invoke(client.tcb, label::TCB_READ_REGISTERS, &[0, 1], &[]));
    done!(invoke(
        client.tcb,
        label::TCB_WRITE_REGISTERS,
        &[1, 1, read.words[0] + 2],
        &[]
    ));
    rest();
    marks!(2);
    Ok(())
}

pub(crate) fn a_client_suspended_in_its_call_leaves_its_time_with_the_server(t: &mut Kit) -> Check {
    let (ep, object, go) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, go, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        notification(args[2]).wait();
        mark(1);
    })?;
    t.unbind(server.sc)?;
    let client = t.spawn(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    rest();
    t.suspend(client)?;
    notification(go).signal();
    rest();
    marks!(1);
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    refused!(
        invoke(client.sc, unbind, &[], &[client.tcb]),
        IllegalOperation
    );
    done!(invoke(client.sc, unbind, &[], &[server.tcb]));
    Ok(())
}

pub(crate) fn a_context_deleted_during_a_call_comes_back_to_nobody(t: &mut Kit) -> Check {
    let (ep, object, go) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, go, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        notification(args[2]).wait();
        reply(args[1]).reply_with_mrs(info(0, 0), []);
        mark(1);
    })?;
    t.unbind(server.sc)?;
    let client = t.spawn(LOW, [ep, 0, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).call_with_mrs(info(0, 0), []);
        mark(2);
    })?;
    rest();
    delete(client.sc)?;
    notification(go).signal();
    rest();
    marks!();
    t.bind(server.sc, server.tcb)?;
    rest();
    marks!(1);
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, client.tcb)?;
    rest();
    marks!(2);
    Ok(())
}

pub(crate) fn a_notification_lends_its_context_to_a_thread_it_wakes(t: &mut Kit) -> Check {
    let (ntfn, ep, object) = (t.ntfn()?, t.ep()?, t.reply()?);
    let thread = t.active(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        loop {
            mark(endpoint(args[0]).recv_with_mrs(reply(args[1])).badge);
        }
    })?;
    done!(invoke(
        thread.tcb,
        label::TCB_BIND_NOTIFICATION,
        &[],
        &[ntfn]
    ));
    t.resume(thread)?;
    t.unbind(thread.sc)?;
    let badged = t.mint(ntfn, 15, 3)?;
    notification(badged).signal();
    rest();
    marks!();
    // With time of its own it takes what it was woken with; then it waits, passive again, for a notification with time.
    t.bind(thread.sc, thread.tcb)?;
    marks!(3);
    t.unbind(thread.sc)?;
    t.bind(thread.sc, ntfn)?;
    notification(badged).signal();
    marks!(3);
    Ok(())
}

pub(crate) fn a_context_lent_by_a_notification_returns_when_its_thread_waits_again(
    t: &mut Kit,
) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.active(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        loop {
            mark(notification(args[0]).wait().1);
        }
    })?;
    t.bind(thread.sc, ntfn)?;
    t.resume(thread)?;
    // Waiting cut the thread's own bond, since the notification has the same context.
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    refused!(
        invoke(thread.sc, unbind, &[], &[thread.tcb]),
        IllegalOperation
    );
    let badged = t.mint(ntfn, 15, 3)?;
    notification(badged).signal();
    notification(badged).signal();
    marks!(3, 3);
    delete(thread.sc)?;
    notification(badged).signal();
    rest();
    marks!();
    Ok(())
}

pub(crate) fn one_lent_context_serves_two_waiters_in_turn(t: &mut Kit) -> Check {
    let (ntfn, sc) = (t.ntfn()?, t.sc()?);
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, ntfn)?;
    for n in [10, 20] {
        let thread = t.spawn(HIGH, [ntfn, n, 0, 0, 0, 0], |args| {
            loop {
                let badge = notification(args[0]).wait().1;
                mark(args[1] + badge);
            }
        })?;
        t.unbind(thread.sc)?;
    }
    let badged = t.mint(ntfn, 15, 3)?;
    for _ in 0..4 {
        notification(badged).signal();
    }
    marks!(13, 23, 13, 23);
    Ok(())
}

pub(crate) fn yielding_to_refuses_oneself_and_what_is_unbound_or_above(t: &mut Kit) -> Check {
    let yield_to = |sc| invoke(sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    let own = sel4::init_thread::slot::SC.cptr_bits();
    refused!(yield_to(own), IllegalOperation);
    let sc = t.sc()?;
    refused!(yield_to(sc), IllegalOperation);
    let idle = t.active(LOW, [0; 6], marker)?;
    let answer = done!(yield_to(idle.sc));
    equal!(answer.length, 1);
    equal!(answer.words[0], 0);
    let weak = t.active(HIGH, [idle.sc, 0, 0, 0, 0, 0], |args| {
        mark(invoke(args[0], label::SCHED_CONTEXT_YIELD_TO, &[], &[]).label);
    })?;
    done!(invoke(weak.tcb, label::TCB_SET_MC_PRIORITY, &[0], &[TCB]));
    t.resume(weak)?;
    marks!(sel4::Error::IllegalOperation as u64);
    Ok(())
}

pub(crate) fn yielding_to_a_higher_thread_tells_what_it_used(t: &mut Kit) -> Check {
    let work = t.ticks(1000);
    let thread = t.spawn(LOW, [work, 0, 0, 0, 0, 0], |args| {
        let end = now() + args[0];
        while now() < end {}
        mark(1);
    })?;
    done!(invoke(TCB, label::TCB_SET_PRIORITY, &[LOW], &[TCB]));
    let answer = invoke(thread.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    mark(2);
    done!(invoke(
        TCB,
        label::TCB_SET_PRIORITY,
        &[super::kit::WORKING],
        &[TCB]
    ));
    marks!(1, 2);
    equal!(answer.label, 0);
    equal!(answer.length, 1);
    ensure!(answer.words[0] >= 900);
    Ok(())
}

pub(crate) fn a_timeout_tells_badge_and_time_and_its_empty_reply_goes_on(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = periodic(t, LOW, 1000, 2000, [0; 6], spinner)?;
    let badged = t.mint(ep, 15, 0x71)?;
    done!(invoke(
        thread.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[badged]
    ));
    t.resume(thread)?;
    let mut message = endpoint(ep).recv_with_mrs(reply(object));
    for _ in 0..20 {
        equal!(message.info.label(), fault::TIMEOUT);
        equal!(message.info.length(), 2);
        equal!(message.badge, 0x71);
        equal!(message.msg[0], 7);
        // An interrupt that comes late leaves less to the next period, but never less than the shortest budget.
        ensure!(message.msg[1] >= 18);
        message = endpoint(ep).reply_recv_with_mrs(info(0, 0), [], reply(object));
    }
    Ok(())
}

pub(crate) fn a_round_robin_thread_never_times_out(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.thread(LOW, [0; 6], spinner)?;
    t.configure(thread.sc, 1000, 1000, 0, 0, 0)?;
    t.bind(thread.sc, thread.tcb)?;
    done!(invoke(
        thread.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[ep]
    ));
    t.resume(thread)?;
    let stop = t.ntfn()?;
    pause(t, stop, 10_000)?;
    ensure!(super::kit::is_silent(ep, object));
    ensure!(count(0) > 0);
    Ok(())
}

pub(crate) fn a_server_that_times_out_is_answered_for_and_restored(t: &mut Kit) -> Check {
    let (ep, timeouts, mine) = (t.ep()?, t.ep()?, t.reply()?);
    let work = t.ticks(200_000);
    let server = passive(t, HIGH, ep, work)?;
    // Its registers where it waits for a message.
    let saved = done!(invoke(server.tcb, label::TCB_READ_REGISTERS, &[0, 20], &[]));
    let badged = t.mint(timeouts, 15, 5)?;
    done!(invoke(
        server.tcb,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[badged]
    ));
    let client = periodic(t, LOW, 2000, 20_000, [ep, 0, 0, 0, 0, 0], |args| {
        mark(
            endpoint(args[0])
                .call_with_mrs(info(0, 1), [1])
                .info
                .label(),
        );
    })?;
    t.resume(client)?;
    let message = endpoint(timeouts).recv_with_mrs(reply(mine));
    equal!(message.info.label(), fault::TIMEOUT);
    equal!(message.msg[0], 7);
    // The client gets an answer and its time; the server gets other time and its old registers.
    reply(server.reply).reply_with_mrs(info(0x33, 0), []);
    t.bind(server.sc, server.tcb)?;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[..20].copy_from_slice(&saved.words[..20])
    });
    super::kit::at(mine).send(info(0, 19));
    rest();
    t.unbind(server.sc)?;
    t.sleep(25_000);
    marks!(0x33);
    // It serves again.
    t.configure(server.sc, 5000, 5000, 0, 0, 0)?;
    Ok(())
}

pub(crate) fn a_timeout_after_an_answer_has_the_call_done_again(t: &mut Kit) -> Check {
    let (ep, timeouts, mine) = (t.ep()?, t.ep()?, t.reply()?);
    let work = t.ticks(200_000);
    let server = passive(t, HIGH, ep, work)?;
    let client = periodic(t, LOW, 2000, 20_000, [ep, 0, 0, 0, 0, 0], |args| {
        mark(endpoint(args[0]).call_with_mrs(info(0, 0), []).info.label());
    })?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(client.tcb, set, &[], &[timeouts]));
    t.resume(client)?;
    // The server, which nobody is told about, uses the client's time up.
    let stop = t.ntfn()?;
    pause(t, stop, 8000)?;
    reply(server.reply).reply_with_mrs(info(0x33, 0), []);
    let message = endpoint(timeouts).recv_with_mrs(reply(mine));
    equal!(message.info.label(), fault::TIMEOUT);
    super::kit::at(mine).send(info(0, 0));
    t.sleep(25_000);
    // The answer's badge, 0, is what the call names now: the null capability.
    marks!(sel4_abi::Error::InvalidCapability as u64);
    Ok(())
}

pub(crate) fn a_thread_in_its_domain_again_runs_first_among_equals(t: &mut Kit) -> Check {
    let one = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(DOMAINS, label::DOMAIN_SET_SET, &[0], &[one.tcb]));
    rest();
    marks!(1, 2);
    Ok(())
}

const DOMAINS: u64 = sel4::init_thread::slot::DOMAIN_SET.cptr_bits();
/// The longest duration an entry may have: 56 bits.
const LONGEST: u64 = (1 << 56) - 1;

pub(crate) fn a_domain_is_given_in_the_stated_order_of_refusals(t: &mut Kit) -> Check {
    let thread = t.thread(LOW, [0; 6], marker)?;
    let set = |words: &[u64], caps: &[u64]| invoke(DOMAINS, label::DOMAIN_SET_SET, words, caps);
    refused!(set(&[], &[thread.tcb]), TruncatedMessage);
    // Before the thread is asked for.
    refused!(set(&[1], &[]), InvalidArgument, 0);
    refused!(set(&[u64::MAX], &[thread.sc]), InvalidArgument, 0);
    refused!(set(&[0], &[]), TruncatedMessage);
    refused!(set(&[0], &[thread.sc]), InvalidArgument, 1);
    done!(set(&[0], &[thread.tcb]));
    done!(set(&[0], &[TCB]));
    Ok(())
}

pub(crate) fn the_domain_schedule_refuses_in_the_stated_order(_: &mut Kit) -> Check {
    let configure = |words: &[u64]| invoke(DOMAINS, label::DOMAIN_SCHEDULE_CONFIGURE, words, &[]);
    refused!(configure(&[1, 1]), TruncatedMessage);
    // Entry 1 is the end marker, whatever it is to become.
    refused!(configure(&[1, 0, 5]), RangeError, 0, 0);
    refused!(configure(&[u64::MAX, 1, 0]), RangeError, 0, 0);
    refused!(configure(&[0, 1, 0]), RangeError, 0, 0);
    refused!(configure(&[0, 0, 0]), InvalidArgument, 2);
    refused!(configure(&[0, 0, LONGEST + 1]), InvalidArgument, 2);
    let start = |words: &[u64]| invoke(DOMAINS, label::DOMAIN_SCHEDULE_SET_START, words, &[]);
    refused!(start(&[]), TruncatedMessage);
    refused!(start(&[2]), RangeError, 0, 1);
    refused!(start(&[1]), InvalidArgument, 0);
    let after = label::DOMAIN_SCHEDULE_SET_START + 1;
    refused!(invoke(DOMAINS, after, &[0, 0, 5], &[]), IllegalOperation);
    Ok(())
}

pub(crate) fn a_domain_schedule_of_one_entry_is_set_and_started_again(t: &mut Kit) -> Check {
    let copy = t.copy(DOMAINS, 15)?;
    for duration in [1, LONGEST] {
        for authority in [DOMAINS, copy] {
            let entry = [0, 0, duration];
            let configure = label::DOMAIN_SCHEDULE_CONFIGURE;
            equal!(done!(invoke(authority, configure, &entry, &[])).length, 0);
            let start = label::DOMAIN_SCHEDULE_SET_START;
            equal!(done!(invoke(authority, start, &[0], &[])).length, 0);
        }
    }
    Ok(())
}

pub(crate) fn the_threads_go_on_when_the_domain_schedule_starts_again(t: &mut Kit) -> Check {
    // A duration of one tick is long over when the threads have run: the only domain begins again.
    let entry = [0, 0, 1];
    done!(invoke(
        DOMAINS,
        label::DOMAIN_SCHEDULE_CONFIGURE,
        &entry,
        &[]
    ));
    t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(DOMAINS, label::DOMAIN_SCHEDULE_SET_START, &[0], &[]));
    mark(0);
    t.spawn(HIGH, [2, 0, 0, 0, 0, 0], marker)?;
    rest();
    marks!(0, 2, 1);
    Ok(())
}

pub(crate) fn a_woken_equal_goes_behind_its_peers(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    t.spawn(LOW, [ntfn, 1, 0, 0, 0, 0], |args| {
        notification(args[0]).wait();
        mark(args[1]);
    })?;
    rest();
    // The one that signals goes on, and the woken one waits behind the one that was ready before.
    t.spawn(LOW, [3, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [ntfn, 2, 0, 0, 0, 0], |args| {
        notification(args[0]).signal();
        mark(args[1]);
    })?;
    rest();
    marks!(2, 3, 1);
    Ok(())
}

pub(crate) fn a_ready_thread_given_its_priority_again_goes_first(t: &mut Kit) -> Check {
    let first = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    done!(invoke(first.tcb, label::TCB_SET_PRIORITY, &[LOW], &[TCB]));
    rest();
    marks!(1, 2);
    Ok(())
}

pub(crate) fn yielding_to_a_lower_thread_puts_it_before_its_equals(t: &mut Kit) -> Check {
    let first = t.spawn(LOW, [1, 0, 0, 0, 0, 0], marker)?;
    t.spawn(LOW, [2, 0, 0, 0, 0, 0], marker)?;
    let answer = done!(invoke(first.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]));
    equal!(answer.length, 1);
    equal!(answer.words[0], 0);
    mark(9);
    rest();
    marks!(9, 1, 2);
    Ok(())
}

pub(crate) fn a_yield_is_no_timeout(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = periodic(t, HIGH, 1000, 10_000, [0; 6], |_| {
        sel4::r#yield();
        mark(1);
    })?;
    let badged = t.mint(ep, 15, 1)?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(thread.tcb, set, &[], &[badged]));
    t.resume(thread)?;
    equal!(endpoint(ep).nb_recv_with_mrs(reply(object)).badge, 0);
    marks!();
    t.sleep(15_000);
    marks!(1);
    Ok(())
}

pub(crate) fn a_timeout_of_a_thread_without_context_is_one_word(t: &mut Kit) -> Check {
    let (ep, object, stop) = (t.ep()?, t.reply()?, t.ntfn()?);
    let thread = periodic(t, LOW, 1000, 50_000, [0; 6], spinner)?;
    let set = label::TCB_SET_TIMEOUT_ENDPOINT;
    done!(invoke(thread.tcb, set, &[], &[ep]));
    t.resume(thread)?;
    pause(t, stop, 5000)?;
    // Its fault waits in the queue; the message is made when it is received.
    delete(thread.sc)?;
    let message = endpoint(ep).recv_with_mrs(reply(object));
    equal!(message.info.label(), fault::TIMEOUT);
    equal!(message.info.length(), 1);
    Ok(())
}

pub(crate) fn the_longest_period_is_told_by_what_is_refused(t: &mut Kit) -> Check {
    let sc = t.sc()?;
    let longest = u64::MAX / t.mhz() / 8;
    for words in [
        [1000, longest + 1, 0, 0, 0],
        [longest + 1, longest, 0, 0, 0],
    ] {
        refused!(configure(t, &words, sc), RangeError, 20, longest);
    }
    done!(configure(t, &[1000, longest, 0, 0, 0], sc));
    done!(configure(t, &[longest, longest, 0, 0, 0], sc));
    Ok(())
}

pub(crate) fn refills_are_what_fits_behind_the_header(t: &mut Kit) -> Check {
    // Header 96 bytes, a refill 16; two are always there.
    for (bits, extra) in [(7, 0), (8, 8), (9, 24), (12, 248)] {
        let sc = t.make(object::SCHED_CONTEXT, bits)?;
        refused!(
            configure(t, &[100, 1000, extra + 1, 0, 0], sc),
            RangeError,
            0,
            extra
        );
        done!(configure(t, &[100, 1000, extra, 0, 0], sc));
    }
    Ok(())
}

pub(crate) fn a_notification_needs_no_right_to_hold_a_context(t: &mut Kit) -> Check {
    let (ntfn, sc) = (t.ntfn()?, t.sc()?);
    let weak = t.copy(ntfn, 0)?;
    t.bind(sc, weak)?;
    done!(invoke(sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], &[weak]));
    Ok(())
}

pub(crate) fn a_ready_context_can_be_bound_to_a_blocked_thread(t: &mut Kit) -> Check {
    let ntfn = t.ntfn()?;
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1 + 1);
    })?;
    delete(thread.sc)?;
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, thread.tcb)?;
    marks!();
    notification(ntfn).signal();
    marks!(1);
    Ok(())
}

pub(crate) fn releases_come_within_two_microseconds_of_their_time(t: &mut Kit) -> Check {
    // Others run when each period begins, so that the timer is what ends them.
    t.spawn(LOW, [0; 6], spinner)?;
    let thread = periodic(t, HIGH, 500, 5000, [t.ticks(5000), 0, 0, 0, 0, 0], |args| {
        let (first, period) = (now(), args[0]);
        COUNTERS[2].store(u64::MAX, SeqCst);
        for n in 1..=20 {
            sel4::r#yield();
            // Counted from a period before, so that no number is negative.
            let late = now().wrapping_sub(first + n * period).wrapping_add(period);
            COUNTERS[1].fetch_max(late, SeqCst);
            COUNTERS[2].fetch_min(late, SeqCst);
        }
        mark(1);
    })?;
    t.resume(thread)?;
    let stop = t.ntfn()?;
    pause(t, stop, 110_000)?;
    marks!(1);
    ensure!(count(1) <= t.ticks(5002));
    ensure!(count(2) >= t.ticks(4998));
    Ok(())
}
