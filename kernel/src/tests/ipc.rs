//! Messages, donation, faults and their answers, between threads.

use super::world::{SYSCALL_AT, Thread, World};
use crate::machine::Next;
use crate::object::tcb::State;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{fault, label, object, syscall};

/// A system whose root task sleeps at a notification that interrupt 0 signals.
struct Stage {
    w: World,
    gate: u64,
    endpoint: u64,
}

impl Stage {
    fn new() -> Self {
        let mut w = World::new();
        let gate = w.gate();
        let endpoint = w.make(object::ENDPOINT, 0);
        Self { w, gate, endpoint }
    }
    fn park(&mut self) -> Next {
        self.w.check();
        self.w.wait(self.gate)
    }
    fn root(&mut self) {
        self.w.interrupt();
        assert_eq!(self.w.current().priority.get(), 255);
        self.w.check();
    }
    /// A server that waits at `endpoint` without a scheduling context.
    fn passive(&mut self, endpoint: u64, priority: u64) -> Thread {
        let server = self.running(priority);
        self.w.recv(endpoint, server.reply);
        self.root();
        self.w.take_time(server);
        assert!(server.tcb.sc.get().is_none());
        server
    }
    fn client(&mut self, priority: u64) -> Thread {
        let client = self.w.thread(priority, true);
        self.w.resume(client);
        client
    }
    fn sc_of(&self, thread: Thread) -> bool {
        thread.tcb.sc.get().is_some()
    }
    /// A thread that runs, all above it waiting.
    fn running(&mut self, priority: u64) -> Thread {
        let thread = self.client(priority);
        self.park();
        self.w.expect_running(thread);
        thread
    }
    /// A handler that waits at `faults`, and a running thread whose faults go there.
    fn handled(&mut self, faults: u64) -> (Thread, Thread) {
        let handler = self.running(200);
        self.w.recv(faults, handler.reply);
        self.root();
        let thread = self.w.thread(100, true);
        self.w.set_handler(thread, faults);
        self.w.resume(thread);
        self.park();
        self.w.expect_running(thread);
        (handler, thread)
    }
}

#[test]
fn a_call_lends_the_callers_context_and_the_reply_brings_it_back() {
    let mut s = Stage::new();
    let server = s.passive(s.endpoint, 150);
    let client = s.running(100);
    let sc = client.tcb.sc.get();
    s.w.start_call(s.endpoint, 7, &[1, 2, 3, 4, 5, 6], &[]);
    s.w.expect_running(server);
    assert_eq!((server.tcb.sc.get(), client.tcb.sc.get()), (sc, None));
    assert_eq!(s.w.state(client), State::BlockedOnReply);
    let message = s.w.received(server.tcb);
    assert_eq!((message.label, message.words), (7, vec![1, 2, 3, 4, 5, 6]));
    s.w.check();
    s.w.reply_recv(s.endpoint, server.reply, 9, &[8; 120]);
    s.w.expect_running(client);
    assert_eq!((server.tcb.sc.get(), client.tcb.sc.get()), (None, sc));
    let message = s.w.received(client.tcb);
    assert_eq!((message.label, message.words), (9, vec![8; 120]));
    s.w.check();
    // The reply object is armed again.
    s.w.start_call(s.endpoint, 1, &[], &[]);
    s.w.expect_running(server);
    s.w.check();
}

#[test]
fn nested_calls_pile_up_and_unwind() {
    let mut s = Stage::new();
    let inner_endpoint = s.w.make(object::ENDPOINT, 0);
    let inner = s.passive(inner_endpoint, 140);
    let outer = s.passive(s.endpoint, 120);
    let client = s.client(100);
    s.park();
    let sc = client.tcb.sc.get();
    s.w.start_call(s.endpoint, 0, &[1], &[]);
    s.w.expect_running(outer);
    s.w.start_call(inner_endpoint, 0, &[2], &[]);
    s.w.expect_running(inner);
    assert_eq!(inner.tcb.sc.get(), sc);
    s.w.check();
    s.w.reply_recv(inner_endpoint, inner.reply, 0, &[3]);
    s.w.expect_running(outer);
    assert_eq!(outer.tcb.sc.get(), sc);
    s.w.reply_recv(s.endpoint, outer.reply, 0, &[4]);
    s.w.expect_running(client);
    assert_eq!(client.tcb.sc.get(), sc);
    assert_eq!(s.w.received(client.tcb).words, [4]);
    s.w.check();
}

/// Client in a call of outer, which is in a call of inner.
fn nested() -> (Stage, Thread, Thread, Thread) {
    let mut s = Stage::new();
    let inner_endpoint = s.w.make(object::ENDPOINT, 0);
    let inner = s.passive(inner_endpoint, 140);
    let outer = s.passive(s.endpoint, 120);
    let client = s.client(100);
    s.park();
    s.w.start_call(s.endpoint, 0, &[1], &[]);
    s.w.start_call(inner_endpoint, 0, &[2], &[]);
    s.root();
    (s, client, outer, inner)
}

#[test]
fn replies_deleted_from_the_top_bring_the_context_to_the_client() {
    let (mut s, client, outer, inner) = nested();
    s.w.delete(inner.reply);
    assert!(s.sc_of(outer) && !s.sc_of(inner));
    assert_eq!(s.w.state(outer), State::Inactive);
    s.w.delete(outer.reply);
    assert!(s.sc_of(client) && !s.sc_of(outer));
    assert_eq!(s.w.state(client), State::Inactive);
    s.w.check();
}

#[test]
fn replies_deleted_from_the_bottom_leave_the_client_without_context() {
    let (mut s, client, outer, inner) = nested();
    s.w.delete(outer.reply);
    assert!(!s.sc_of(client) && s.sc_of(inner));
    s.w.check();
    s.w.delete(inner.reply);
    assert!(!s.sc_of(client) && s.sc_of(outer));
    s.w.check();
}

#[test]
fn a_suspended_client_leaves_its_context_with_the_server() {
    let (mut s, client, outer, inner) = nested();
    s.w.call(client.cap, label::TCB_SUSPEND, &[], &[]).ok();
    assert!(s.sc_of(inner));
    s.w.check();
    s.w.delete(inner.reply);
    assert!(s.sc_of(outer) && !s.sc_of(client));
    s.w.check();
}

#[test]
fn a_context_deleted_under_nested_calls_moves_nowhere() {
    let (mut s, client, outer, inner) = nested();
    s.w.delete(client.sc);
    assert!(!s.sc_of(inner));
    s.w.check();
    s.w.delete(inner.reply);
    s.w.delete(outer.reply);
    assert!(!s.sc_of(outer) && !s.sc_of(client));
    s.w.check();
}

#[test]
fn a_deleted_server_gives_the_context_back_through_its_reply_object() {
    let (mut s, client, outer, inner) = nested();
    s.w.delete(inner.cap);
    assert_eq!(s.w.state(outer), State::BlockedOnReply);
    s.w.check();
    s.w.delete(inner.reply);
    assert!(s.sc_of(outer));
    s.w.delete(outer.cap);
    s.w.delete(outer.reply);
    assert!(s.sc_of(client));
    s.w.check();
}

#[test]
fn a_passive_server_is_woken_by_a_send_only_when_it_gets_a_context() {
    let mut s = Stage::new();
    let server = s.passive(s.endpoint, 150);
    let client = s.client(100);
    s.park();
    s.w.send(s.endpoint, 3, &[4]);
    s.w.expect_running(client);
    assert_eq!(s.w.state(server), State::Running);
    s.root();
    s.w.call(server.sc, label::SCHED_CONTEXT_BIND, &[], &[server.cap])
        .ok();
    s.park();
    s.w.expect_running(server);
    assert_eq!(s.w.received(server.tcb).words, [4]);
    s.w.check();
}

#[test]
fn a_notification_lends_its_context_until_the_thread_waits_again() {
    let mut s = Stage::new();
    let notification = s.w.make(object::NOTIFICATION, 0);
    let signal = s.w.mint(notification, 15, 5);
    let waiter = s.running(150);
    s.w.wait(notification);
    s.root();
    s.w.take_time(waiter);
    s.w.signal(signal);
    assert!(!s.sc_of(waiter));
    assert_eq!(s.w.state(waiter), State::Running);
    s.w.call(waiter.sc, label::SCHED_CONTEXT_BIND, &[], &[notification])
        .ok();
    s.w.check();
    // It has to be woken once more: give it the context by hand and let it wait.
    s.w.call(waiter.sc, label::SCHED_CONTEXT_BIND, &[], &[waiter.cap])
        .ok();
    s.park();
    s.w.expect_running(waiter);
    assert_eq!(waiter.tcb.context.rdi.get(), 5);
    s.w.wait(notification);
    assert!(!s.sc_of(waiter), "the context went back");
    s.root();
    s.w.signal(signal);
    assert!(s.sc_of(waiter), "and is lent again");
    s.park();
    s.w.expect_running(waiter);
    s.w.check();
}

#[test]
fn a_bound_notification_wakes_a_receiver_and_frees_its_reply_object() {
    let mut s = Stage::new();
    let notification = s.w.make(object::NOTIFICATION, 0);
    let signal = s.w.mint(notification, 15, 6);
    let server = s.w.thread(150, true);
    s.w.call(
        server.cap,
        label::TCB_BIND_NOTIFICATION,
        &[],
        &[notification],
    )
    .ok();
    s.w.resume(server);
    s.park();
    s.w.recv(s.endpoint, server.reply);
    assert_eq!(s.w.state(server), State::BlockedOnReceive);
    s.root();
    s.w.signal(signal);
    s.park();
    s.w.expect_running(server);
    assert_eq!(server.tcb.context.rdi.get(), 6);
    assert!(server.tcb.reply.get().is_none());
    s.w.check();
}

#[test]
fn a_reply_object_used_again_stops_the_thread_that_waited_with_it() {
    let mut s = Stage::new();
    let other_endpoint = s.w.make(object::ENDPOINT, 0);
    let first = s.client(150);
    s.park();
    s.w.recv(s.endpoint, first.reply);
    s.root();
    let second = s.running(140);
    s.w.recv(other_endpoint, first.reply);
    assert_eq!(s.w.state(first), State::Inactive);
    assert_eq!(s.w.state(second), State::BlockedOnReceive);
    s.w.check();
}

#[test]
fn a_receiver_with_a_bad_reply_capability_faults_in_the_receive_phase() {
    let mut s = Stage::new();
    let faults = s.w.make(object::ENDPOINT, 0);
    let (handler, _) = s.handled(faults);
    s.w.recv(s.endpoint, s.endpoint);
    s.w.expect_running(handler);
    let message = s.w.received(handler.tcb);
    assert_eq!(message.label, fault::CAP_FAULT);
    assert_eq!(message.words, [SYSCALL_AT, s.endpoint, 1, 2, 0]);
    // Once the capability is mended the call is done again.
    s.w.reply_recv(faults, handler.reply, 0, &[]);
    s.w.expect_running(handler);
    s.w.check();
}

#[test]
fn an_unknown_system_call_hands_its_registers_over_and_takes_them_back() {
    let mut s = Stage::new();
    let faults = s.w.make(object::ENDPOINT, 0);
    let (handler, thread) = s.handled(faults);
    thread.tcb.context.rax.set(0x1111);
    thread.tcb.context.rdi.set(0x2222);
    s.w.syscall(-77);
    s.w.expect_running(handler);
    let message = s.w.received(handler.tcb);
    assert_eq!(
        (message.label, message.words.len()),
        (fault::UNKNOWN_SYSCALL, 19)
    );
    assert_eq!((message.words[0], message.words[5]), (0x1111, 0x2222));
    assert_eq!(
        (message.words[15], message.words[18] as i64),
        (SYSCALL_AT, -77)
    );
    let mut answer = message.words[..18].to_vec();
    answer[0] = 0x3333;
    answer[15] += 2;
    s.w.reply_recv(faults, handler.reply, 0, &answer);
    s.w.expect_running(thread);
    assert_eq!(thread.tcb.context.rax.get(), 0x3333);
    assert_eq!(thread.tcb.context.rip.get(), SYSCALL_AT + 2);
    // Another label leaves it stopped.
    s.w.syscall(-77);
    s.w.reply_recv(faults, handler.reply, 1, &[]);
    assert_eq!(s.w.state(thread), State::Inactive);
    s.w.check();
}

#[test]
fn a_faulting_thread_without_handler_stops_with_a_line() {
    let mut s = Stage::new();
    let thread = s.running(100);
    s.w.kernel.handle_exception(14, 6, 0xdead_0000);
    s.w.settle();
    assert_eq!(s.w.state(thread), State::Inactive);
    assert!(s.w.kernel.machine.console.contains("0xdead0000"));
    s.root();
}

#[test]
fn capabilities_travel_with_the_grant_right_only() {
    for (rights, arrives) in [(15, true), (1 | 8, false)] {
        let mut s = Stage::new();
        let weak = s.w.mint(s.endpoint, rights, 77);
        let target = s.w.empty();
        let server = s.w.thread(150, true);
        s.w.resume(server);
        s.park();
        let buffer = s.w.kernel.ipc_buffer(server.tcb, true).expect("a buffer");
        buffer.receive_cnode.set(fixed::CNODE);
        buffer.receive_index.set(target);
        buffer.receive_depth.set(64);
        s.w.recv(s.endpoint, server.reply);
        s.root();
        let client = s.client(100);
        let gift = s.w.make(object::NOTIFICATION, 0);
        s.park();
        s.w.expect_running(client);
        s.w.start_call(weak, 1, &[], &[gift, weak, gift]);
        s.w.expect_running(server);
        assert_eq!(server.tcb.context.rdi.get(), 77);
        let info = sel4_abi::message::MessageInfo::from_word(server.tcb.context.rsi.get());
        assert_eq!(!s.w.slot(target).is_empty(), arrives);
        // The first is derived, the second is the endpoint itself and arrives as its badge, the third finds no slot.
        assert_eq!(
            (info.extra_caps(), info.caps_unwrapped()),
            if arrives { (2, 2) } else { (0, 0) }
        );
        assert_eq!(buffer.caps_or_badges[1].get() == 77, arrives);
        s.w.check();
    }
}

#[test]
fn a_call_without_grant_or_grant_reply_leaves_the_caller_stopped() {
    let mut s = Stage::new();
    let weak = s.w.copy(s.endpoint, 1);
    let server = s.passive(s.endpoint, 150);
    let client = s.client(100);
    s.park();
    s.w.start_call(weak, 1, &[], &[]);
    assert_eq!(s.w.state(client), State::Inactive);
    assert_eq!(s.w.state(server), State::Running);
    assert!(server.tcb.reply.get().is_none());
    s.root();
}

#[test]
fn cancelling_badged_sends_restarts_just_those() {
    let mut s = Stage::new();
    let badged = [s.w.mint(s.endpoint, 15, 1), s.w.mint(s.endpoint, 15, 2)];
    let threads = badged.map(|cap| {
        let thread = s.running(100);
        s.w.start_call(cap, 0, &[], &[]);
        s.root();
        thread
    });
    s.w.cnode(label::CNODE_CANCEL_BADGED_SENDS, badged[0], &[], &[])
        .ok();
    assert_eq!(
        threads.map(|thread| s.w.state(thread)),
        [State::Restart, State::BlockedOnSend]
    );
    s.w.delete(badged[0]);
    s.w.revoke(s.endpoint);
    s.w.delete(s.endpoint);
    assert_eq!(s.w.state(threads[1]), State::Restart);
    s.w.check();
}

#[test]
fn a_combined_call_whose_first_phase_is_preempted_is_done_again_whole() {
    let mut s = Stage::new();
    let big = s.w.make(object::UNTYPED, 20);
    let page = s.w.retype(big, object::X86_LARGE_PAGE - 1, 0);
    let filler = s.w.retype(big, object::CAP_TABLE, 14);
    s.w.delete(page);
    s.w.delete(filler);
    let slot = s.w.empty();
    let thread = s.running(100);
    s.w.message(
        label::UNTYPED_RETYPE,
        &[object::ENDPOINT, 0, 0, 0, slot, 1],
        &[fixed::CNODE],
    );
    let context = &thread.tcb.context;
    context.r13.set(big);
    context.rdi.set(s.endpoint);
    context.r12.set(thread.reply);
    s.w.kernel.machine.pending = true;
    s.w.syscall(sel4_abi::syscall::NB_SEND_RECV);
    assert_eq!(s.w.state(thread), State::BlockedOnReceive);
    assert!(!s.w.slot(slot).is_empty(), "the first phase was done");
    s.w.check();
}

#[test]
fn a_thread_suspended_after_a_finished_call_does_not_repeat_it() {
    let mut s = Stage::new();
    let notification = s.w.make(object::NOTIFICATION, 0);
    let thread = s.running(100);
    // The signal wakes the root task within the call.
    let handler = s.gate;
    s.w.signal(handler);
    assert_eq!(s.w.current().priority.get(), 255);
    assert_eq!(s.w.state(thread), State::Running);
    s.w.call(thread.cap, label::TCB_SUSPEND, &[], &[]).ok();
    let registers =
        s.w.call(thread.cap, label::TCB_READ_REGISTERS, &[0, 1], &[])
            .ok();
    assert_eq!(registers, [SYSCALL_AT + 2]);
    s.w.resume(thread);
    s.w.wait(s.gate);
    s.w.expect_running(thread);
    assert_eq!(thread.tcb.context.rip.get(), SYSCALL_AT + 2);
    // One suspended inside a call does repeat it, and that is what its registers say.
    s.w.wait(notification);
    s.root();
    s.w.call(thread.cap, label::TCB_SUSPEND, &[], &[]).ok();
    let registers =
        s.w.call(thread.cap, label::TCB_READ_REGISTERS, &[0, 1], &[])
            .ok();
    assert_eq!(registers, [SYSCALL_AT]);
    s.w.resume(thread);
    s.w.wait(s.gate);
    assert_eq!(s.w.state(thread), State::BlockedOnNotification);
}

#[test]
fn a_thread_that_suspended_itself_does_its_call_again_when_it_is_resumed() {
    let mut s = Stage::new();
    let thread = s.running(100);
    let Stage { mut w, gate, .. } = s;
    w.message(label::TCB_SUSPEND, &[], &[]);
    thread.tcb.context.rdi.set(thread.cap);
    w.syscall(syscall::CALL);
    assert_eq!(w.state(thread), State::Inactive);
    assert_eq!(thread.tcb.context.rip.get(), SYSCALL_AT);
    assert_eq!(thread.tcb.context.rdi.get(), thread.cap, "not answered");
    w.interrupt();
    w.resume(thread);
    w.wait(gate);
    assert_eq!(w.state(thread), State::Inactive, "it called again");
    w.check();
}

#[test]
fn setting_the_tls_base_of_a_waiting_thread_does_not_keep_its_call_from_being_done_again() {
    let mut s = Stage::new();
    let thread = s.running(100);
    let Stage {
        mut w,
        gate,
        endpoint,
    } = s;
    w.recv(endpoint, thread.reply);
    w.interrupt();
    w.call(thread.cap, label::TCB_SET_TLS_BASE, &[0x1234], &[])
        .ok();
    w.call(thread.cap, label::TCB_COPY_REGISTERS, &[8], &[fixed::TCB])
        .ok();
    w.call(thread.cap, label::TCB_RESUME, &[], &[]).ok();
    w.wait(gate);
    assert_eq!(w.state(thread), State::BlockedOnReceive);
    w.interrupt();
    let read = w
        .call(thread.cap, label::TCB_READ_REGISTERS, &[0, 1], &[])
        .ok();
    assert_eq!(read, [SYSCALL_AT], "the instruction it would restart at");
    w.check();
}

#[test]
fn a_thread_that_sets_its_own_segment_bases_runs_with_them() {
    let mut w = World::new();
    // Nothing else happens in these calls: the thread simply goes on.
    w.call(fixed::TCB, label::TCB_SET_TLS_BASE, &[0x1234], &[])
        .ok();
    assert_eq!(w.kernel.machine.bases, (0x1234, 0));
    w.current().context.rdi.set(0x5678);
    w.syscall(syscall::SET_TLS_BASE);
    assert_eq!(w.kernel.machine.bases, (0x5678, 0));
    let thread = w.thread(100, false);
    let mut words = [0; 22];
    words[1] = 20;
    words[20..].copy_from_slice(&[0x2000, 0x3000]);
    w.call(thread.cap, label::TCB_WRITE_REGISTERS, &words, &[])
        .ok();
    assert_eq!(w.kernel.machine.bases, (0x5678, 0), "another's");
    w.call(fixed::TCB, label::TCB_COPY_REGISTERS, &[8], &[thread.cap])
        .ok();
    assert_eq!(w.kernel.machine.bases, (0x2000, 0x3000));
}

#[test]
fn a_lent_context_of_constant_bandwidth_begins_its_refill_when_it_is_lent() {
    let mut s = Stage::new();
    let notification = s.w.make(object::NOTIFICATION, 0);
    let thread = s.running(100);
    let mut w = s.w;
    w.wait(notification);
    w.interrupt();
    w.call(thread.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
        .ok();
    w.configure(thread.sc, 100, 1000, 0, 0);
    w.call(thread.sc, label::SCHED_CONTEXT_BIND, &[], &[notification])
        .ok();
    w.kernel.machine.now += 50 * super::fake::MHZ;
    let top = w.thread(200, true);
    w.signal(notification);
    let sc = w.sched_context(thread.sc);
    assert!(sc.tcb.is(thread.tcb), "lent");
    assert_eq!(sc.head_refill().time.get(), w.kernel.now);
    w.delete(top.cap);
    w.check();
}
