//! Budgets, refills, yields, timeouts.

use super::fake::MHZ;
use super::world::{Answer, SYSCALL_AT, Thread, World};
use crate::mem::Ref;
use crate::object::tcb::State;
use crate::object::{SchedContext, Tcb};
use proptest::prelude::*;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::message::MessageInfo;
use sel4_abi::{Error, fault, label, object, syscall};

fn stage() -> (World, u64) {
    let mut w = World::new();
    let gate = w.gate();
    (w, gate)
}

fn periodic(w: &mut World, priority: u64, budget: u64, period: u64) -> Thread {
    let thread = w.thread(priority, false);
    w.configure(thread.sc, budget, period, 3, 42);
    w.call(thread.sc, label::SCHED_CONTEXT_BIND, &[], &[thread.cap])
        .ok();
    w.resume(thread);
    thread
}

#[test]
fn a_periodic_thread_gets_its_budget_once_a_period() {
    let (mut w, gate) = stage();
    let thread = periodic(&mut w, 100, 100, 1000);
    let other = w.thread(50, true);
    w.resume(other);
    w.wait(gate);
    w.expect_running(thread);
    let start = w.kernel.machine.now;
    assert_eq!(
        w.kernel.machine.deadline,
        start + 99 * MHZ,
        "the timer is a microsecond early"
    );
    w.pass(100);
    w.expect_running(other);
    assert!(thread.tcb.in_release_queue.get());
    w.check();
    assert_eq!(w.kernel.machine.deadline, start + 999 * MHZ);
    w.pass(899);
    w.expect_running(other);
    w.pass(1);
    w.expect_running(thread);
    w.check();
}

#[test]
fn yield_gives_up_the_period_of_a_periodic_thread_and_the_turn_of_a_round_robin_one() {
    let (mut w, gate) = stage();
    let thread = periodic(&mut w, 100, 100, 1000);
    let peers = [w.thread(50, true), w.thread(50, true)];
    peers.iter().for_each(|peer| w.resume(*peer));
    w.wait(gate);
    w.expect_running(thread);
    w.syscall(syscall::YIELD);
    // The last started runs first.
    w.expect_running(peers[1]);
    w.syscall(syscall::YIELD);
    w.expect_running(peers[0]);
    w.syscall(syscall::YIELD);
    w.expect_running(peers[1]);
    w.check();
    w.pass(1000);
    w.expect_running(thread);
    let sc = w.sched_context(thread.sc);
    assert_eq!(sc.consumed.get(), 0, "time given up is not time used");
}

#[test]
fn round_robin_threads_take_turns_when_their_slices_end() {
    let (mut w, gate) = stage();
    let peers = [w.thread(50, true), w.thread(50, true)];
    peers.iter().for_each(|peer| w.resume(*peer));
    w.wait(gate);
    for n in [1, 0, 1, 0] {
        w.expect_running(peers[n]);
        w.pass(4000);
        w.expect_running(peers[n]);
        w.pass(1000);
        w.check();
    }
}

#[test]
fn a_call_made_when_the_budget_is_over_is_made_in_the_next_period() {
    let (mut w, gate) = stage();
    let notification = w.make(object::NOTIFICATION, 0);
    let thread = periodic(&mut w, 100, 100, 1000);
    w.wait(gate);
    w.expect_running(thread);
    w.kernel.machine.now += 90 * MHZ;
    w.signal(notification);
    assert_eq!(w.state(thread), State::Restart);
    w.pass(1000);
    assert_eq!(w.state(thread), State::Running);
    let crate::cap::Cap::Notification { object, .. } = w.cap(notification) else {
        panic!("no notification")
    };
    assert!(object.is_active());
    w.check();
}

#[test]
fn a_timeout_handler_hears_of_a_budgets_end_and_resumes_the_thread() {
    let (mut w, gate) = stage();
    let endpoint = w.make(object::ENDPOINT, 0);
    let handler = w.thread(200, true);
    w.resume(handler);
    w.wait(gate);
    w.recv(endpoint, handler.reply);
    w.interrupt();
    let thread = periodic(&mut w, 100, 100, 1000);
    w.call(
        thread.cap,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[endpoint],
    )
    .ok();
    w.wait(gate);
    w.expect_running(thread);
    w.pass(100);
    w.expect_running(handler);
    let message = w.received(handler.tcb);
    assert_eq!(
        (message.label, message.words),
        (fault::TIMEOUT, vec![42, 100])
    );
    assert!(thread.tcb.sc.get().is_some(), "a timeout lends nothing");
    w.check();
    w.reply_recv(endpoint, handler.reply, 0, &[]);
    assert!(thread.tcb.in_release_queue.get());
    w.check();
    w.pass(1000);
    w.expect_running(thread);
    w.check();
}

#[test]
fn a_caller_answered_with_an_exhausted_context_calls_again_after_its_timeout_with_what_the_handler_gives_it()
 {
    let (mut w, gate) = stage();
    let (timeouts, service) = (w.make(object::ENDPOINT, 0), w.make(object::ENDPOINT, 0));
    let handler = w.thread(200, true);
    w.resume(handler);
    w.wait(gate);
    w.recv(timeouts, handler.reply);
    w.interrupt();
    let server = w.thread(150, true);
    w.serve(server, gate, service);
    w.take_time(server);
    let client = periodic(&mut w, 100, 100, 1000);
    w.call(
        client.cap,
        label::TCB_SET_TIMEOUT_ENDPOINT,
        &[],
        &[timeouts],
    )
    .ok();
    w.wait(gate);
    w.expect_running(client);
    w.start_call(service, 1, &[], &[]);
    w.expect_running(server);
    // The server has no timeout handler: it waits for the client's next refill, and another thread answers for it.
    w.pass(100);
    assert!(server.tcb.in_release_queue.get());
    w.interrupt();
    w.reply(server.reply, 0, &[5]);
    w.wait(gate);
    w.expect_running(handler);
    assert_eq!(w.received(handler.tcb).label, fault::TIMEOUT);
    assert_eq!(client.tcb.context.rip.get(), SYSCALL_AT);
    assert_eq!(w.received(client.tcb).words, [5]);
    // rip, rsp, flags, rax, rbx, rcx, rdx, rsi, rdi.
    let info = MessageInfo::new(1, 0, 0, 0).word();
    let call = sel4_abi::syscall::CALL as u64;
    let registers = [SYSCALL_AT, 0, 2, 0, 0, 0, call, info, service];
    w.reply_recv(timeouts, handler.reply, 0, &registers);
    w.pass(1000);
    assert_eq!(client.tcb.state.get(), State::BlockedOnSend);
    w.check();
}

#[test]
fn configure_refuses_in_the_stated_order() {
    let mut w = World::new();
    let sc = w.make(object::SCHED_CONTEXT, 7);
    let max = u64::MAX / MHZ / 8;
    let ask = |w: &mut World, words: &[u64], caps: &[u64]| {
        w.call(
            fixed::FIRST_FREE,
            label::SCHED_CONTROL_CONFIGURE_FLAGS,
            words,
            caps,
        )
    };
    let range = |min, max| Answer::error(Error::RangeError, &[min, max]);
    assert_eq!(
        ask(&mut w, &[0; 5], &[]),
        Answer::error(Error::TruncatedMessage, &[])
    );
    assert_eq!(
        ask(&mut w, &[0; 4], &[sc]),
        Answer::error(Error::TruncatedMessage, &[])
    );
    assert_eq!(ask(&mut w, &[max + 1, max, 0, 0, 0], &[sc]), range(20, max));
    assert_eq!(ask(&mut w, &[20, max + 1, 0, 0, 0], &[sc]), range(20, max));
    assert_eq!(ask(&mut w, &[19, 20, 0, 0, 0], &[sc]), range(20, max));
    assert_eq!(ask(&mut w, &[21, 20, 0, 0, 0], &[sc]), range(20, 20));
    assert_eq!(
        ask(&mut w, &[20, 21, 1, 0, 0], &[fixed::CNODE]),
        Answer::error(Error::InvalidCapability, &[1])
    );
    assert_eq!(ask(&mut w, &[20, 21, 1, 0, 0], &[sc]), range(0, 0));
    assert_eq!(ask(&mut w, &[20, 21, u64::MAX, 0, 0], &[sc]), range(0, 0));
    ask(&mut w, &[20, 21, 0, 0, 0], &[sc]).ok();
    assert_eq!(w.sched_context(sc).total(), 20 * MHZ);
}

#[test]
fn binding_and_unbinding_refuse_what_is_bound_or_running() {
    let mut w = World::new();
    let (a, b) = (w.thread(100, true), w.thread(100, true));
    let notification = w.make(object::NOTIFICATION, 0);
    let illegal = Answer::error(Error::IllegalOperation, &[]);
    assert_eq!(
        w.call(a.sc, label::SCHED_CONTEXT_BIND, &[], &[]),
        Answer::error(Error::TruncatedMessage, &[])
    );
    assert_eq!(
        w.call(a.sc, label::SCHED_CONTEXT_BIND, &[], &[b.cap]),
        illegal
    );
    assert_eq!(
        w.call(a.sc, label::SCHED_CONTEXT_BIND, &[], &[fixed::CNODE]),
        Answer::error(Error::InvalidCapability, &[1])
    );
    w.call(a.sc, label::SCHED_CONTEXT_BIND, &[], &[notification])
        .ok();
    assert_eq!(
        w.call(b.sc, label::SCHED_CONTEXT_BIND, &[], &[notification]),
        illegal
    );
    assert_eq!(
        w.call(
            b.sc,
            label::SCHED_CONTEXT_UNBIND_OBJECT,
            &[],
            &[notification]
        ),
        illegal
    );
    w.call(
        a.sc,
        label::SCHED_CONTEXT_UNBIND_OBJECT,
        &[],
        &[notification],
    )
    .ok();
    assert_eq!(
        w.call(a.sc, label::SCHED_CONTEXT_UNBIND_OBJECT, &[], &[b.cap]),
        illegal
    );
    assert_eq!(
        w.call(fixed::SC, label::SCHED_CONTEXT_UNBIND, &[], &[]),
        illegal
    );
    assert_eq!(
        w.call(
            fixed::SC,
            label::SCHED_CONTEXT_UNBIND_OBJECT,
            &[],
            &[fixed::TCB]
        ),
        illegal
    );
    w.call(a.sc, label::SCHED_CONTEXT_UNBIND, &[], &[]).ok();
    assert_eq!(
        w.call(a.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]),
        illegal
    );
    assert_eq!(
        w.call(fixed::SC, label::SCHED_CONTEXT_YIELD_TO, &[], &[]),
        illegal
    );
    w.check();
}

/// The root task has yielded to the context of a thread, which runs.
fn yielded() -> (World, Ref<Tcb>, Thread) {
    let mut w = World::new();
    let thread = w.thread(255, true);
    w.resume(thread);
    let root = w.current();
    w.start_call(thread.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    w.expect_running(thread);
    (w, root, thread)
}

#[test]
fn yield_to_runs_the_target_first_and_answers_with_its_time() {
    let (mut w, root, _) = yielded();
    w.check();
    w.kernel.machine.now += 300 * MHZ;
    w.syscall(syscall::YIELD);
    assert_eq!(w.current(), root);
    assert_eq!(w.received(root).ok(), [300]);
    w.check();
}

#[test]
fn a_yielder_is_answered_when_another_thread_yields_to_the_same_context() {
    let mut w = World::new();
    let woken = w.make(object::NOTIFICATION, 0);
    let thread = w.thread(200, true);
    let other = w.thread(255, true);
    let root = w.current();
    w.resume(other);
    w.kernel.set_priority(root, 200);
    w.settle();
    w.expect_running(other);
    w.wait(woken);
    w.resume(thread);
    w.start_call(thread.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    w.expect_running(thread);
    w.kernel.machine.now += 300 * MHZ;
    w.signal(woken);
    w.expect_running(other);
    w.kernel.set_priority(thread.tcb, 255);
    assert!(root.yield_to.get().is_some());
    w.start_call(thread.sc, label::SCHED_CONTEXT_YIELD_TO, &[], &[]);
    assert_eq!(w.received(root).ok(), [300]);
    assert!(root.yield_to.get().is_none() && other.tcb.yield_to.get().is_some());
    w.expect_running(thread);
    w.check();
}

#[test]
fn a_yielder_is_answered_when_the_context_it_yielded_to_is_deleted() {
    let (mut w, root, thread) = yielded();
    w.kernel.machine.now += 300 * MHZ;
    // It deletes the time it runs on: what was not booked by then is not told.
    w.start_call(fixed::CNODE, label::CNODE_DELETE, &[thread.sc, 64], &[]);
    assert_eq!(w.current(), root);
    assert_eq!(w.received(root).ok(), [0]);
    assert!(root.yield_to.get().is_none());
    w.check();
}

#[test]
fn a_deleted_context_stops_its_thread() {
    let (mut w, gate) = stage();
    let thread = w.thread(100, true);
    w.resume(thread);
    w.wait(gate);
    w.expect_running(thread);
    w.interrupt();
    w.delete(thread.sc);
    w.check();
    assert_eq!(w.wait(gate), crate::machine::Next::Idle);
    w.check();
}

/// The refill rules against the properties they are for.
#[derive(Clone, Debug)]
enum Step {
    Charge(u64),
    Unblock(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u64..3000).prop_map(Step::Charge),
        (0u64..5000).prop_map(Step::Unblock)
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn refills_always_sum_to_the_budget_in_order_and_never_run_ahead(
        budget in 20u64..1000, slack in 1u64..2000, max in 2u32..10, steps in steps()
    ) {
        const MIN: u64 = 20;
        crate::mem::install_test_memory(1 << 12);
        let sc: Ref<SchedContext> = Ref::at(0x100);
        let period = budget + slack;
        let mut now = 1000;
        sc.refill_new(max, budget, period, now);
        // When charged time began, and how much it was: in a window of one period no more than the budget.
        let mut charges: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Charge(used) => {
                    // As the kernel does it: only a ready refill is used, and no longer than it lasts.
                    now = now.max(sc.head_refill().time.get());
                    let used = used.min(sc.head_refill().amount.get());
                    charges.push((now, used));
                    now += used;
                    sc.charge(used, MIN, u64::MAX / 2);
                }
                Step::Unblock(later) => {
                    now += later;
                    sc.unblock_check(now);
                }
            }
            prop_assert_eq!(sc.total(), budget);
            prop_assert!(sc.count.get() <= max);
            prop_assert!(sc.head_refill().amount.get() >= MIN);
            for n in 1..sc.count.get() {
                let (a, b) = (sc.refill(n - 1), sc.refill(n));
                prop_assert!(a.time.get() + a.amount.get() <= b.time.get());
            }
        }
        for &(start, _) in &charges {
            let window = charges.iter().filter(|(at, used)| *at >= start && at + used <= start + period);
            let sum: u64 = window.map(|(_, used)| used).sum();
            prop_assert!(sum <= budget + MIN, "{sum} of {budget} from {start} on");
        }
    }
}
