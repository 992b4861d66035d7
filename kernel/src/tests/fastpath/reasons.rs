//! Whatever keeps a system call or fault from its short way does so alone.

use super::scene::Scene;
use crate::cap::Cap;
use crate::mem::Ref;
use crate::object::SchedContext;
use crate::object::tcb::{State as Doing, slots};
use crate::tests::world::World;
use sel4_abi::{fault, object, syscall};
use words::x86::vector;

type Spoil = (&'static str, fn(&mut Scene));

/// What alone keeps a receiver from taking a message the short way.
const RECEIVERS: &[Spoil] = &[
    ("nobody waits", |s| s.endpoint().head.set(None)),
    ("a sender waits", |s| {
        s.server.tcb.state.set(Doing::BlockedOnSend)
    }),
    ("the receiver's own time is not configured", |s| {
        s.server.tcb.sc.set(Some(s.spare_time()));
        s.spare_time().max.set(0);
    }),
    ("the receiver runs a guest", |s| Scene::give_vcpu(s.server)),
    ("the receiver cannot answer", |s| {
        s.server.tcb.reply.set(None)
    }),
    ("the receiver has no address space", |s| {
        s.server.tcb.slots[slots::VSPACE].set_cap(Cap::Null)
    }),
    ("its address space has no number", |s| {
        Scene::renumber(s.server, None)
    }),
    ("its number is nobody's", |s| {
        Scene::renumber(s.server, Some(511))
    }),
    ("its number is of no pool", |s| {
        Scene::renumber(s.server, Some(5 << 9 | 1))
    }),
    ("a thread above it is ready", Scene::ready),
];

type SpoilTurn = (&'static str, fn(&mut Scene, Ref<SchedContext>));

/// What alone keeps a thread from running on time of its own, be it the server or the client.
const OWN_TURNS: &[SpoilTurn] = &[
    ("it is not configured", |_, own| own.max.set(0)),
    ("its time has not come", |s, own| {
        own.head_refill().time.set(s.w.kernel.machine.now + 1)
    }),
    ("it has hardly any left", |_, own| {
        own.head_refill().amount.set(1)
    }),
    ("the current one's budget is over", |s, _| {
        s.w.kernel.current_sc.head_refill().amount.set(1)
    }),
    ("the current one's budget ends just now", |s, _| {
        let left = s.w.kernel.current_sc.head_refill().amount.get();
        s.w.kernel.machine.now += left;
    }),
    ("somebody's time has come", |s, _| {
        s.w.kernel.release_push(s.spare.tcb);
        s.w.kernel.reprogram = false;
    }),
    ("it waits for its time", |_, own| {
        let tcb = own.tcb.get().expect("the context is somebody's");
        tcb.in_release_queue.set(true);
    }),
];

const CALLS: &[Spoil] = &[
    ("a capability", |s| s.w.message(0, &[], &[s.endpoint])),
    ("no right to be answered", |s| s.target(s.mute)),
    ("no right to send", |s| s.target(s.inward)),
    ("another endpoint", |s| s.target(s.other)),
    ("no endpoint", |s| s.target(s.signalled)),
    ("a CSpace whose one level is not all", |s| s.lessen_guard()),
];

const FAULTS: &[Spoil] = &[
    ("no handler", |s| {
        s.client.tcb.slots[slots::FAULT].set_cap(Cap::Null)
    }),
    ("a handler that cannot answer", |s| {
        s.client.tcb.slots[slots::FAULT].set_cap(s.w.cap(s.mute))
    }),
    ("a handler that is not told", |s| {
        s.client.tcb.slots[slots::FAULT].set_cap(s.w.cap(s.inward))
    }),
];

const ANSWERS: &[Spoil] = &[
    ("a capability", |s| s.w.message(0, &[], &[s.endpoint])),
    ("no right to receive", |s| s.target(s.outward)),
    ("no endpoint", |s| s.target(s.signalled)),
    ("a CSpace whose one level is not all", |s| s.lessen_guard()),
    ("no reply object", |s| {
        s.server.tcb.context.r12.set(s.endpoint)
    }),
    ("a reply object of no call", |s| {
        s.server.tcb.context.r12.set(s.spare.reply)
    }),
    ("another context's call", |s| {
        s.spare_reply().tcb.set(Some(s.client.tcb));
        s.spare_reply().push_onto(s.spare_time());
        s.server.tcb.context.r12.set(s.spare.reply);
    }),
    ("a call below another", |s| {
        s.spare_reply().push_onto(s.w.kernel.current_sc)
    }),
    ("a signal waits", |s| {
        s.server.tcb.notification.set(Some(s.notification()))
    }),
    ("a sender waits", |s| {
        s.spare.tcb.state.set(Doing::BlockedOnSend);
        s.endpoint().head.set(Some(s.spare.tcb));
    }),
    ("the caller has got time", |s| {
        s.client.tcb.sc.set(Some(s.spare_time()))
    }),
    ("a thread above the caller is ready", |s| {
        s.client.tcb.priority.set(10);
        s.ready();
    }),
    ("the caller has no address space", |s| {
        Scene::renumber(s.client, None)
    }),
    ("the caller runs a guest now", |s| {
        Scene::give_vcpu(s.client)
    }),
    ("an exception's handler keeps the thread", |s| {
        s.fault(fault::USER_EXCEPTION, 1)
    }),
    ("an unknown call's handler keeps the thread", |s| {
        s.fault(fault::UNKNOWN_SYSCALL, 1)
    }),
    ("an exit's handler keeps the guest", |s| {
        Scene::give_vcpu(s.client);
        s.fault(fault::EXIT_FIRST, 1);
    }),
    ("an exit of a thread that has lost its guest", |s| {
        s.fault(fault::EXIT_FIRST, 0)
    }),
    ("the end of a timeout", |s| s.fault(fault::TIMEOUT, 0)),
    ("the end of a capability fault", |s| {
        s.fault(fault::CAP_FAULT, 0)
    }),
];

#[test]
fn a_turn_on_ones_own_time_goes_the_long_way_for_each_reason_alone() {
    assert!(Scene::with(true).has_short(syscall::CALL));
    assert!(Scene::answering_with(true).has_short(syscall::REPLY_RECV));
    for (reason, spoil) in OWN_TURNS {
        let mut scene = Scene::with(true);
        let own = scene.w.sched_context(scene.server.sc);
        spoil(&mut scene, own);
        assert!(!scene.has_short(syscall::CALL), "{reason}");
        let mut scene = Scene::answering_with(true);
        let own = scene.w.sched_context(scene.client.sc);
        spoil(&mut scene, own);
        assert!(!scene.has_short(syscall::REPLY_RECV), "{reason}");
    }
    let later = |scene: &mut Scene| {
        let now = scene.w.kernel.machine.now;
        scene.spare_time().head_refill().time.set(now + 1000);
        scene.w.kernel.release_push(scene.spare.tcb);
        scene.w.kernel.reprogram = false;
    };
    let mut scene = Scene::with(true);
    later(&mut scene);
    assert!(scene.has_short(syscall::CALL), "nobody's time has come");
    let mut scene = Scene::answering_with(true);
    later(&mut scene);
    assert!(scene.has_short(syscall::REPLY_RECV));
}

/// What alone keeps an answer to a client that has kept its time from being short.
const OWN_ANSWERS: &[Spoil] = &[
    ("the caller has no time", |s| s.client.tcb.sc.set(None)),
    ("the reply is below another", |s| {
        s.server_reply().push_onto(s.w.kernel.current_sc);
        s.spare_reply().push_onto(s.w.kernel.current_sc);
    }),
    ("the reply is above another", |s| {
        s.server_reply().prev.set(Some(s.spare_reply()))
    }),
    ("who has the reply object receives", |s| {
        s.client.tcb.state.set(Doing::BlockedOnReceive)
    }),
    ("a notification gets the server's time back", |s| {
        let object = s.notification();
        s.w.kernel.complete_signal(object, s.server.tcb);
        object.sc.set(s.server.tcb.sc.get());
        s.server.tcb.notification.set(Some(object));
    }),
];

#[test]
fn an_answer_to_who_kept_its_time_goes_the_long_way_for_each_reason_alone() {
    for (reason, spoil) in OWN_ANSWERS {
        let mut scene = Scene::answering_with(true);
        assert!(scene.has_short(syscall::REPLY_RECV));
        spoil(&mut scene);
        assert!(!scene.has_short(syscall::REPLY_RECV), "{reason}");
    }
}

#[test]
fn a_call_goes_the_long_way_for_each_reason_alone() {
    assert!(Scene::new().has_short(syscall::CALL));
    for (reason, spoil) in RECEIVERS.iter().chain(CALLS) {
        let mut scene = Scene::new();
        spoil(&mut scene);
        assert!(!scene.has_short(syscall::CALL), "{reason}");
    }
}

#[test]
fn a_fault_goes_the_long_way_for_each_reason_alone() {
    let words = [1, 2, 3, 4];
    assert!(
        Scene::new()
            .w
            .kernel
            .fast_fault(fault::VM_FAULT, &words)
            .is_some()
    );
    for (reason, spoil) in RECEIVERS.iter().chain(FAULTS) {
        let mut scene = Scene::new();
        spoil(&mut scene);
        let next = scene.w.kernel.fast_fault(fault::VM_FAULT, &words);
        assert!(next.is_none(), "{reason}");
    }
    let next = Scene::new().w.kernel.fast_exception(vector::NM, 0, 0);
    assert!(next.is_none(), "the FPU may be all that is wanted");
}

#[test]
fn an_answer_goes_the_long_way_for_each_reason_alone() {
    assert!(Scene::answering().has_short(syscall::REPLY_RECV));
    for (reason, spoil) in ANSWERS {
        let mut scene = Scene::answering();
        spoil(&mut scene);
        assert!(!scene.has_short(syscall::REPLY_RECV), "{reason}");
    }
}

#[test]
fn the_end_of_a_fault_is_short_where_the_thread_goes_on() {
    for (label, answer) in [
        (fault::VM_FAULT, 0),
        (fault::VM_FAULT, 1),
        (fault::USER_EXCEPTION, 0),
        (fault::UNKNOWN_SYSCALL, 0),
    ] {
        let scene = Scene::answering();
        scene.fault(label, answer);
        assert!(scene.has_short(syscall::REPLY_RECV), "{label} {answer}");
    }
}

#[test]
fn a_call_to_a_server_below_a_ready_thread_goes_the_long_way() {
    for (other, short) in [(40, true), (80, false)] {
        let mut w = World::new();
        let endpoint = w.make(object::ENDPOINT, 0);
        let server = w.thread(50, true);
        let client = w.thread(90, true);
        let ready = w.thread(other, true);
        let gate = w.gate();
        w.serve(server, gate, endpoint);
        w.take_time(server);
        w.resume(ready);
        w.run(client, gate);
        w.message(0, &[1], &[]);
        client.tcb.context.rdi.set(endpoint);
        assert_eq!(w.kernel.has_fast_syscall(syscall::CALL), short);
        w.syscall(syscall::CALL);
        let runs = if short { server } else { ready };
        w.expect_running(runs);
    }
}
