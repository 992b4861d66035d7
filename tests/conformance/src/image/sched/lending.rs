//! Time that goes along with a call or a signal, and comes back.

use super::{consumed, passive};
use crate::image::kit::{
    HIGH, Kit, LOW, delete, endpoint, info, invoke, notification, reply, rest,
};
use crate::image::report::{Check, done, ensure, equal, marks, refused};
use crate::image::thread::mark;
use sel4_abi::label;

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
