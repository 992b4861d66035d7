//! Time that moves along calls and signals, and what becomes of it when somebody goes away.

use super::kit::{
    HIGH, Kit, LOW, TCB, Thread, delete, endpoint, info, invoke, notification, reply, rest,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::{mark, now};
use sel4_abi::label;

/// Calls once and marks what comes back.
fn client(args: [u64; 6]) {
    mark(endpoint(args[0]).call_with_mrs(info(0, 1), [args[1]]).msg[0]);
}

/// A server of one request: receives, marks its word, waits until it is told to answer with one more.
fn slow(args: [u64; 6]) {
    let [ep, object, go, ..] = args;
    let word = endpoint(ep).recv_with_mrs(reply(object)).msg[0];
    mark(word);
    notification(go).wait();
    reply(object).reply_with_mrs(info(0, 1), [word + 1]);
    mark(99);
}

/// Such a server, passive; its endpoint, reply object and the notification that tells it to answer.
fn slow_server(t: &mut Kit) -> Check<(Thread, u64, u64, u64)> {
    let (ep, object, go) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, go, 0, 0, 0], slow)?;
    t.unbind(server.sc)?;
    Ok((server, ep, object, go))
}

pub(crate) fn an_answer_by_send_gives_the_time_back_and_stops_the_server(t: &mut Kit) -> Check {
    let (server, ep, _, go) = slow_server(t)?;
    t.spawn(LOW, [ep, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(5);
    notification(go).signal();
    rest();
    marks!(6);
    // It goes on with time of its own.
    t.bind(server.sc, server.tcb)?;
    marks!(99);
    Ok(())
}

pub(crate) fn anybody_may_answer_with_the_reply_object(t: &mut Kit) -> Check {
    let (_, ep, object, _) = slow_server(t)?;
    t.spawn(LOW, [ep, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(5);
    reply(object).reply_with_mrs(info(0, 1), [77]);
    rest();
    marks!(77);
    Ok(())
}

pub(crate) fn ten_calls_kept_are_answered_in_any_order(t: &mut Kit) -> Check {
    let ep = t.ep()?;
    let mut objects = [0; 10];
    for (n, object) in objects.iter_mut().enumerate() {
        *object = t.reply()?;
        t.spawn(LOW, [ep, n as u64, 0, 0, 0, 0], client)?;
        let message = endpoint(ep).recv_with_mrs(reply(*object));
        equal!(message.msg[0], n);
    }
    for n in [3, 0, 9, 1, 2, 8, 4, 7, 5, 6] {
        reply(objects[n]).reply_with_mrs(info(0, 1), [n as u64 + 20]);
        rest();
    }
    marks!(23, 20, 29, 21, 22, 28, 24, 27, 25, 26);
    Ok(())
}

pub(crate) fn a_sender_without_context_is_still_received_from(t: &mut Kit) -> Check {
    let (ep, object) = (t.ep()?, t.reply()?);
    let sender = t.spawn(LOW, [ep, 8, 0, 0, 0, 0], |args| {
        endpoint(args[0]).send_with_mrs(info(0, 1), [args[1]]);
        mark(1);
    })?;
    rest();
    delete(sender.sc)?;
    equal!(endpoint(ep).recv_with_mrs(reply(object)).msg[0], 8);
    rest();
    marks!();
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, sender.tcb)?;
    rest();
    marks!(1);
    Ok(())
}

pub(crate) fn a_context_taken_from_a_server_can_be_given_to_its_blocked_client(
    t: &mut Kit,
) -> Check {
    let (server, ep, object, _) = slow_server(t)?;
    let client = t.spawn(LOW, [ep, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(5);
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    done!(invoke(client.sc, unbind, &[], &[server.tcb]));
    t.bind(client.sc, client.tcb)?;
    reply(object).reply_with_mrs(info(0, 1), [44]);
    rest();
    marks!(44);
    Ok(())
}

pub(crate) fn a_deleted_servers_call_is_answered_by_its_reply_object(t: &mut Kit) -> Check {
    let (server, ep, object, _) = slow_server(t)?;
    let client = t.spawn(LOW, [ep, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(5);
    delete(server.tcb)?;
    rest();
    marks!();
    // Nobody has the context until the answer brings it back.
    refused!(
        invoke(
            client.sc,
            label::SCHED_CONTEXT_UNBIND_OBJECT,
            &[],
            &[client.tcb]
        ),
        IllegalOperation
    );
    reply(object).reply_with_mrs(info(0, 1), [45]);
    rest();
    marks!(45);
    Ok(())
}

pub(crate) fn time_passed_on_by_a_send_and_wait_does_not_come_back_by_itself(t: &mut Kit) -> Check {
    let (ep, object, never) = (t.ep()?, t.reply()?, t.ntfn()?);
    let receiver = t.spawn(HIGH, [ep, object, 0, 0, 0, 0], |args| {
        loop {
            mark(endpoint(args[0]).recv_with_mrs(reply(args[1])).msg[0]);
        }
    })?;
    t.unbind(receiver.sc)?;
    let giver = t.spawn(LOW, [ep, never, 0, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).nb_send_wait_with_mrs(info(0, 1), [4], notification(args[1]));
        mark(1);
    })?;
    rest();
    marks!(4);
    notification(never).signal();
    rest();
    marks!();
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    refused!(
        invoke(giver.sc, unbind, &[], &[giver.tcb]),
        IllegalOperation
    );
    done!(invoke(giver.sc, unbind, &[], &[receiver.tcb]));
    t.bind(giver.sc, giver.tcb)?;
    rest();
    marks!(1);
    Ok(())
}

/// Client, proxy and server, one call within another; threads and the reply objects of proxy and server.
struct Nested {
    client: Thread,
    server: Thread,
    proxy: Thread,
    lower: u64,
    upper: u64,
}

fn nested(t: &mut Kit) -> Check<Nested> {
    let (server, inner, upper, _) = slow_server(t)?;
    let (outer, lower) = (t.ep()?, t.reply()?);
    let proxy = t.spawn(HIGH, [outer, lower, inner, 0, 0, 0], |args| {
        let word = endpoint(args[0]).recv_with_mrs(reply(args[1])).msg[0];
        let answer = endpoint(args[2]).call_with_mrs(info(0, 1), [word + 1]).msg[0];
        mark(answer);
        reply(args[1]).reply_with_mrs(info(0, 1), [answer + 1]);
    })?;
    t.unbind(proxy.sc)?;
    let client = t.spawn(LOW, [outer, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(6);
    Ok(Nested {
        client,
        server,
        proxy,
        lower,
        upper,
    })
}

fn holds(sc: u64, thread: Thread) -> bool {
    // Only the present holder can be taken off; it is given back.
    let unbind = invoke(sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], &[thread.tcb]);
    if unbind.label == 0 {
        let _ = invoke(sc, label::SCHED_CONTEXT_BIND, &[], &[thread.tcb]);
    }
    unbind.label == 0
}

pub(crate) fn nested_answers_bring_the_time_back_step_by_step(t: &mut Kit) -> Check {
    let n = nested(t)?;
    ensure!(holds(n.client.sc, n.server));
    reply(n.upper).reply_with_mrs(info(0, 1), [30]);
    rest();
    marks!(30, 31);
    ensure!(holds(n.client.sc, n.client));
    Ok(())
}

pub(crate) fn nested_replies_deleted_from_the_top_bring_the_time_to_the_client(
    t: &mut Kit,
) -> Check {
    let n = nested(t)?;
    delete(n.upper)?;
    ensure!(holds(n.client.sc, n.proxy));
    delete(n.lower)?;
    ensure!(holds(n.client.sc, n.client));
    rest();
    marks!();
    Ok(())
}

pub(crate) fn nested_replies_deleted_from_the_bottom_leave_the_client_without(
    t: &mut Kit,
) -> Check {
    let n = nested(t)?;
    delete(n.lower)?;
    ensure!(holds(n.client.sc, n.server));
    delete(n.upper)?;
    ensure!(holds(n.client.sc, n.proxy));
    ensure!(!holds(n.client.sc, n.client));
    Ok(())
}

pub(crate) fn a_context_deleted_under_nested_calls_leaves_answers_that_move_nothing(
    t: &mut Kit,
) -> Check {
    let n = nested(t)?;
    delete(n.client.sc)?;
    reply(n.upper).reply_with_mrs(info(0, 1), [30]);
    rest();
    marks!();
    t.bind(n.proxy.sc, n.proxy.tcb)?;
    rest();
    marks!(30);
    let sc = t.sc()?;
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, n.client.tcb)?;
    rest();
    marks!(31);
    Ok(())
}

pub(crate) fn a_lent_context_is_lent_again_when_its_thread_is_deleted(t: &mut Kit) -> Check {
    let (ntfn, sc) = (t.ntfn()?, t.sc()?);
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, ntfn)?;
    let mut first = None;
    for n in [10, 20] {
        let thread = t.spawn(HIGH, [ntfn, n, 0, 0, 0, 0], |args| {
            mark(args[1] + notification(args[0]).wait().1);
            // It keeps what it was lent.
        })?;
        t.unbind(thread.sc)?;
        first = first.or(Some(thread));
    }
    let badged = t.mint(ntfn, 15, 3)?;
    notification(badged).signal();
    marks!(13);
    notification(badged).signal();
    rest();
    marks!();
    // The second was woken without time. It waits for nothing any more: time must be given to it.
    delete(first.map_or(0, |thread| thread.tcb))?;
    let third = t.spawn(HIGH, [ntfn, 30, 0, 0, 0, 0], |args| {
        mark(args[1] + notification(args[0]).wait().1);
    })?;
    t.unbind(third.sc)?;
    notification(badged).signal();
    marks!(33);
    Ok(())
}

pub(crate) fn a_passive_thread_takes_a_pending_signals_context_when_it_receives(
    t: &mut Kit,
) -> Check {
    // Bound to its own context and to a notification with another: it runs on its own.
    let (ntfn, sc) = (t.ntfn()?, t.sc()?);
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, ntfn)?;
    let badged = t.mint(ntfn, 15, 3)?;
    notification(badged).signal();
    let thread = t.spawn(HIGH, [ntfn, 0, 0, 0, 0, 0], |args| {
        mark(notification(args[0]).wait().1);
    })?;
    marks!(3);
    ensure!(holds(thread.sc, thread));
    let unbind = label::SCHED_CONTEXT_UNBIND_OBJECT;
    refused!(invoke(sc, unbind, &[], &[thread.tcb]), IllegalOperation);
    Ok(())
}

pub(crate) fn a_yielder_goes_on_when_the_thread_it_yielded_to_is_suspended_or_deleted(
    t: &mut Kit,
) -> Check {
    for delete_it in [0, 1] {
        let target = t.spawn(LOW, [0; 6], |_| super::thread::count_for_ever(0))?;
        let end = t.ticks(3000);
        let job: fn([u64; 6]) = |args| {
            let end = now() + args[1];
            while now() < end {}
            let _ = if args[2] == 0 {
                invoke(args[0], label::TCB_SUSPEND, &[], &[])
            } else {
                super::kit::cnode(label::CNODE_DELETE, args[0], &[], &[])
            };
        };
        // Woken by the runner, it works beside the target: the runner is not chosen before both have stopped.
        let stopper = t.thread(LOW, [target.tcb, end, delete_it, 0, 0, 0], job)?;
        t.configure(stopper.sc, 1000, 1000, 0, 0, 0)?;
        t.bind(stopper.sc, stopper.tcb)?;
        t.resume(stopper)?;
        done!(invoke(TCB, label::TCB_SET_PRIORITY, &[LOW], &[TCB]));
        let answer = invoke(target.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
        done!(invoke(
            TCB,
            label::TCB_SET_PRIORITY,
            &[super::kit::WORKING],
            &[TCB]
        ));
        equal!(answer.label, 0);
        equal!(answer.length, 1);
        ensure!(answer.words[0] > 0);
    }
    Ok(())
}

pub(crate) fn a_timeout_of_a_server_and_then_of_its_proxy_are_both_heard(t: &mut Kit) -> Check {
    let (inner, outer, timeouts) = (t.ep()?, t.ep()?, t.ep()?);
    let (upper, lower, mine) = (t.reply()?, t.reply()?, t.reply()?);
    let work = t.ticks(500_000);
    let server = t.spawn(HIGH, [inner, upper, work, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        let end = now() + args[2];
        while now() < end {}
    })?;
    let proxy = t.spawn(HIGH, [outer, lower, inner, 0, 0, 0], |args| {
        let _ = endpoint(args[0]).recv_with_mrs(reply(args[1]));
        let answer = endpoint(args[2]).call_with_mrs(info(0, 1), [1]).msg[0];
        reply(args[1]).reply_with_mrs(info(0, 1), [answer + 1]);
    })?;
    for (thread, badge) in [(server, 1), (proxy, 2)] {
        t.unbind(thread.sc)?;
        let badged = t.mint(timeouts, 15, badge)?;
        done!(invoke(
            thread.tcb,
            label::TCB_SET_TIMEOUT_ENDPOINT,
            &[],
            &[badged]
        ));
    }
    let client = t.thread(LOW, [outer, 5, 0, 0, 0, 0], client)?;
    t.configure(client.sc, 2000, 20_000, 0, 7, 0)?;
    t.bind(client.sc, client.tcb)?;
    t.resume(client)?;
    let message = endpoint(timeouts).recv_with_mrs(reply(mine));
    equal!(message.badge, 1);
    equal!(message.msg[0], 7);
    // The answer goes to the proxy, with a context that is used up: it times out in its turn.
    let again = t.reply()?;
    reply(upper).reply_with_mrs(info(0, 1), [50]);
    let message = endpoint(timeouts).recv_with_mrs(reply(again));
    equal!(message.badge, 2);
    equal!(message.msg[0], 7);
    // And then the client, which has no handler and waits for its next period.
    reply(lower).reply_with_mrs(info(0, 1), [60]);
    t.sleep(30_000);
    marks!(60);
    Ok(())
}

pub(crate) fn a_call_to_a_server_with_time_of_its_own_moves_none(t: &mut Kit) -> Check {
    let (ep, object, go) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, go, 0, 0, 0], slow)?;
    let client = t.spawn(LOW, [ep, 5, 0, 0, 0, 0], client)?;
    rest();
    marks!(5);
    ensure!(holds(server.sc, server));
    ensure!(holds(client.sc, client));
    // There is no stack to give anything back by.
    delete(object)?;
    ensure!(holds(client.sc, client));
    rest();
    marks!();
    Ok(())
}

pub(crate) fn a_server_takes_the_next_callers_time_when_it_has_given_back_the_last(
    t: &mut Kit,
) -> Check {
    let (ep, object, go) = (t.ep()?, t.reply()?, t.ntfn()?);
    let server = t.spawn(HIGH, [ep, object, go, 0, 0, 0], |args| {
        let [ep, object, go, ..] = args;
        let mut word = endpoint(ep).recv_with_mrs(reply(object)).msg[0];
        loop {
            mark(word);
            notification(go).wait();
            word = endpoint(ep)
                .reply_recv_with_mrs(info(0, 1), [word + 1], reply(object))
                .msg[0];
        }
    })?;
    t.unbind(server.sc)?;
    let (one, two) = (
        t.spawn(LOW, [ep, 10, 0, 0, 0, 0], client)?,
        t.spawn(LOW - 1, [ep, 20, 0, 0, 0, 0], client)?,
    );
    rest();
    marks!(10);
    ensure!(holds(one.sc, server));
    notification(go).signal();
    rest();
    marks!(20, 11);
    ensure!(holds(one.sc, one));
    ensure!(holds(two.sc, server));
    notification(go).signal();
    rest();
    marks!(21);
    ensure!(holds(two.sc, two));
    Ok(())
}

pub(crate) fn a_thread_keeps_what_a_deleted_notification_lent_it(t: &mut Kit) -> Check {
    let (ntfn, go, sc) = (t.ntfn()?, t.ntfn()?, t.sc()?);
    t.configure(sc, 5000, 5000, 0, 0, 0)?;
    t.bind(sc, ntfn)?;
    let thread = t.spawn(HIGH, [ntfn, go, 0, 0, 0, 0], |args| {
        notification(args[0]).wait();
        notification(args[1]).wait();
        mark(1);
    })?;
    t.unbind(thread.sc)?;
    notification(ntfn).signal();
    delete(ntfn)?;
    ensure!(holds(sc, thread));
    notification(go).signal();
    marks!(1);
    Ok(())
}
