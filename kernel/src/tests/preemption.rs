//! Long operations: however often an interrupt breaks in, they come to the same, and they look for interrupts often enough.

use super::fake::FakeMachine;
use super::world::{Thread, World};
use crate::cap::Cap;
use crate::machine::Machine;
use crate::object::tcb::State;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{Error, label, object};

/// Units between two looks.
const UNITS: u32 = 8;
/// Threads that wait for the same.
const WAITERS: usize = 40;
const BADGE: u64 = 7;

/// What is left of the system: every capability, what each thread does, and who runs.
#[derive(Debug, PartialEq)]
struct Remains {
    caps: Vec<(u64, Cap)>,
    states: Vec<State>,
    running: u64,
}

fn remains(w: &World, threads: &[Thread]) -> Remains {
    w.check();
    Remains {
        caps: (0..w.next_slot).map(|slot| (slot, w.cap(slot))).collect(),
        states: threads
            .iter()
            .map(|thread| thread.tcb.state.get())
            .collect(),
        running: w.current().bits(),
    }
}

/// Builds a scene, does the operation without and with interrupts, and compares. Answers how often the kernel looked in the
/// quiet run.
fn interrupted_or_not(
    scene: impl Fn(&mut World) -> Vec<Thread>,
    operation: impl Fn(&mut World),
) -> u32 {
    let run = |every| {
        let mut w = World::with(FakeMachine::new());
        let threads = scene(&mut w);
        w.kernel.work_units = 0;
        w.kernel.machine.looks.set(0);
        w.kernel.machine.pending_every = every;
        operation(&mut w);
        w.kernel.machine.pending_every = 0;
        (remains(&w, &threads), w.kernel.machine.looks.get())
    };
    let (quiet, looks) = run(0);
    for every in [1, 2, 3] {
        let (disturbed, more) = run(every);
        assert_eq!(disturbed, quiet, "interrupted at every look number {every}");
        assert!(more > 0, "the operation never looks");
    }
    looks
}

/// Threads that each do the same and wait; the root task runs afterwards.
fn waiting(w: &mut World, act: impl Fn(&mut World, Thread)) -> Vec<Thread> {
    let gate = w.gate();
    let threads: Vec<Thread> = (0..WAITERS)
        .map(|n| w.thread(10 + n as u64 % 3, true))
        .collect();
    for &thread in &threads {
        w.resume(thread);
    }
    w.wait(gate);
    for _ in &threads {
        let current = w.current();
        let thread = *threads
            .iter()
            .find(|thread| thread.tcb == current)
            .expect("one of them runs");
        act(w, thread);
    }
    w.interrupt();
    threads
}

/// The slot of the object that the scene made first.
fn first(w: &World) -> u64 {
    w.boot_info(core::mem::offset_of!(sel4_abi::boot_info::BootInfo, empty)) + 16
}

#[test]
fn revoking_an_untyped_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let memory = w.make(object::UNTYPED, 18);
            for _ in 0..20 {
                let cnode = w.retype(memory, object::CAP_TABLE, 3);
                let thread = w.retype(memory, object::TCB, 0);
                w.retype(memory, object::ENDPOINT, 0);
                // The CNode holds itself and the thread.
                let words = [1, 3, thread, 64];
                w.call(cnode, label::CNODE_MOVE, &words, &[fixed::CNODE])
                    .ok();
                let words = [0, 3, cnode, 64, 15];
                w.call(cnode, label::CNODE_COPY, &words, &[fixed::CNODE])
                    .ok();
            }
            Vec::new()
        },
        |w| w.revoke(first(w)),
    );
    assert!(looks >= 20 * 8 / UNITS, "{looks} looks only");
}

#[test]
fn deleting_a_full_cnode_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let cnode = w.make(object::CAP_TABLE, 6);
            let endpoint = w.make(object::ENDPOINT, 0);
            for n in 0..64 {
                let words = [n, 6, endpoint, 64, 15];
                w.call(cnode, label::CNODE_COPY, &words, &[fixed::CNODE])
                    .ok();
            }
            Vec::new()
        },
        |w| w.delete(first(w)),
    );
    assert_eq!(looks, 64 / UNITS);
}

#[test]
fn deleting_an_endpoint_with_many_senders_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let endpoint = w.make(object::ENDPOINT, 0);
            waiting(w, |w, _| _ = w.send(endpoint, 0, &[]))
        },
        |w| w.delete(first(w)),
    );
    assert_eq!(looks, WAITERS as u32 / UNITS);
}

#[test]
fn deleting_an_endpoint_with_many_receivers_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let endpoint = w.make(object::ENDPOINT, 0);
            waiting(w, |w, thread| _ = w.recv(endpoint, thread.reply))
        },
        |w| w.delete(first(w)),
    );
    assert_eq!(looks, WAITERS as u32 / UNITS);
}

#[test]
fn deleting_a_notification_with_many_waiters_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let notification = w.make(object::NOTIFICATION, 0);
            waiting(w, |w, _| _ = w.wait(notification))
        },
        |w| w.delete(first(w)),
    );
    assert_eq!(looks, WAITERS as u32 / UNITS);
}

/// The handler's notification has no other capability any more: it goes with the handler, or when another takes its place.
#[test]
fn an_interrupt_handler_lets_go_of_a_notification_with_many_waiters_in_pieces() {
    let scene = |w: &mut World| {
        let (notification, other) = (
            w.make(object::NOTIFICATION, 0),
            w.make(object::NOTIFICATION, 0),
        );
        let handler = w.empty();
        let words = [handler, 64, 0, 5, 0, 0, 9];
        let control = label::X86_IRQ_ISSUE_IRQ_HANDLER_IOAPIC;
        w.call(fixed::IRQ_CONTROL, control, &words, &[fixed::CNODE])
            .ok();
        w.call(handler, label::IRQ_SET_HANDLER, &[], &[notification])
            .ok();
        let threads = waiting(w, |w, _| _ = w.wait(notification));
        w.delete(notification);
        assert!(
            threads
                .iter()
                .all(|thread| thread.tcb.state.get() == State::BlockedOnNotification)
        );
        assert_eq!(other, notification + 1);
        threads
    };
    let (other, handler) = (1, 2);
    interrupted_or_not(scene, |w| w.delete(first(w) + handler));
    interrupted_or_not(scene, |w| {
        let slot = first(w);
        w.call(slot + handler, label::IRQ_SET_HANDLER, &[], &[slot + other])
            .ok();
        // The vector still signals the other one.
        w.kernel
            .handle_interrupt(crate::syscall::USER_VECTOR_BASE + 9);
        assert!(w.notification(slot + other).is_active());
        w.kernel
            .handle_interrupt(crate::syscall::USER_VECTOR_BASE + 9);
    });
}

/// Senders with two badges, alternating.
fn two_badges(w: &mut World) -> Vec<Thread> {
    let endpoint = w.make(object::ENDPOINT, 0);
    let badged = [w.mint(endpoint, 15, BADGE), w.mint(endpoint, 15, BADGE + 1)];
    waiting(w, |w, thread| {
        let which = thread.sc as usize / 4 % 2;
        w.send(badged[which], 0, &[]);
    })
}

#[test]
fn cancelling_badged_sends_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(two_badges, |w| {
        let slot = first(w) + 1;
        w.cnode(label::CNODE_CANCEL_BADGED_SENDS, slot, &[], &[])
            .ok();
    });
    assert!(looks >= WAITERS as u32 / UNITS / 2, "{looks} looks only");
}

/// The root task's cancellation stops at its first look, with the system as it was left.
fn interrupted_cancellation() -> (World, Vec<Thread>) {
    let mut w = World::new();
    let threads = two_badges(&mut w);
    w.kernel.work_units = 0;
    w.kernel.machine.pending_every = 1;
    let slot = first(&w) + 1;
    let cancel = label::CNODE_CANCEL_BADGED_SENDS;
    w.begin_call(fixed::CNODE, cancel, &[slot, 64], &[]);
    (w, threads)
}

#[test]
fn a_canceller_that_is_stopped_begins_anew() {
    let (mut w, _) = interrupted_cancellation();
    assert!(w.kernel.cancelling.is_some());
    // Resumed with other registers it would do something else, and cancel again much later.
    let canceller = w.current();
    w.kernel.suspend(canceller);
    assert!(w.kernel.cancelling.is_none());
}

#[test]
fn a_sender_of_another_badge_may_move_without_setting_a_cancellation_back() {
    let (mut w, threads) = interrupted_cancellation();
    let moved = threads.iter().find(|thread| {
        thread.tcb.sender_badge.get() != BADGE && thread.tcb.state.get() == State::BlockedOnSend
    });
    w.kernel
        .set_priority(moved.expect("one of them waits").tcb, 12);
    assert!(w.kernel.cancelling.is_some());
}

/// Between the parts of an interrupted cancellation the thread it stands at may leave the queue, or be given another place.
#[test]
fn an_interrupted_cancellation_survives_what_happens_to_the_queue_meanwhile() {
    type Meddle = fn(&mut World, Thread);
    let meddlers: [Meddle; 3] = [
        |w, thread| w.kernel.suspend(thread.tcb),
        |w, thread| w.kernel.set_priority(thread.tcb, 12),
        |w, thread| w.kernel.set_priority(thread.tcb, 1),
    ];
    for meddle in meddlers {
        let (mut w, threads) = interrupted_cancellation();
        let left = w.kernel.cancelling.expect("it was interrupted");
        let next = left.next();
        let thread = *threads
            .iter()
            .find(|thread| thread.tcb == next)
            .expect("one of them");
        meddle(&mut w, thread);
        w.kernel.machine.pending_every = 0;
        w.settle();
        assert!(w.kernel.cancelling.is_none());
        for thread in threads {
            let badged = thread.tcb.sender_badge.get() == BADGE;
            let waits = thread.tcb.state.get() == State::BlockedOnSend;
            assert!(!(badged && waits), "a cancelled send still waits");
        }
        w.check();
    }
}

#[test]
fn deleting_an_asid_pool_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let pool = w.empty();
            let memory = w.make(object::UNTYPED, 12);
            let words = [pool, 64];
            let make = label::X86_ASID_CONTROL_MAKE_POOL;
            w.call(fixed::ASID_CONTROL, make, &words, &[memory, fixed::CNODE])
                .ok();
            for n in 0..20 {
                let kind = [object::X64_PML4, object::GUEST_PML4][n % 2];
                let space = w.make(kind, 0);
                w.call(pool, label::X86_ASID_POOL_ASSIGN, &[], &[space])
                    .ok();
                if kind == object::GUEST_PML4 {
                    let shadow = w.make(object::SHADOW_POOL, 5);
                    w.call(shadow, label::POOL_BIND_SPACE, &[], &[space]).ok();
                }
            }
            Vec::new()
        },
        |w| w.delete(first(w)),
    );
    // More than the units alone make: whoever is bound to a space is a big one.
    assert!(looks > 512 / UNITS, "{looks} looks only");
}

#[test]
fn zeroing_comes_to_the_same_when_it_is_interrupted() {
    let looks = interrupted_or_not(
        |w| {
            let memory = w.make(object::UNTYPED, 20);
            let large = w.retype(memory, object::CAP_TABLE, 14);
            w.delete(large);
            Vec::new()
        },
        |w| {
            let memory = first(w);
            w.retype(memory, object::CAP_TABLE, 14);
        },
    );
    // 512 KiB, twice over if the memory had never been used.
    assert!(looks >= 128 / UNITS, "{looks} looks only");
}

#[test]
fn what_a_thread_has_zeroed_is_not_forgotten_when_another_zeroes_too() {
    let mut w = World::with(FakeMachine::new());
    let memories = [(); 2].map(|()| w.make(object::UNTYPED, 20));
    let slots = [(); 2].map(|()| w.empty());
    let other = w.thread(10, true);
    w.resume(other);
    w.kernel.machine.pending_every = 1;
    w.kernel.work_units = 0;
    let begin = |w: &mut World, n: usize| {
        let words = [object::CAP_TABLE, 14, 0, 0, slots[n], 1];
        w.begin_call(memories[n], label::UNTYPED_RETYPE, &words, &[fixed::CNODE]);
        w.current().cleaned.get()
    };
    let caller = w.current();
    let zeroed = begin(&mut w, 0);
    assert_ne!(zeroed, (0, 0));
    w.kernel.set_priority(caller, 5);
    w.kernel.decide();
    w.expect_running(other);
    assert_ne!(begin(&mut w, 1), (0, 0));
    assert_eq!(caller.cleaned.get(), zeroed);
    w.settle();
    w.expect_running(other);
    assert_eq!(caller.cleaned.get(), zeroed, "the other is done");
    w.kernel.set_priority(caller, 255);
    w.settle();
    assert_eq!(w.current(), caller);
    assert!(slots.iter().all(|&slot| !w.cap(slot).is_null()));
    w.check();
}

/// Each faults when its turn comes; the interrupt does not wait for the last.
#[test]
fn many_threads_that_cannot_run_do_not_hold_an_interrupt_up() {
    let mut w = World::new();
    let gate = w.gate();
    let handler = w.make(object::ENDPOINT, 0);
    let space = w.make(object::X64_PML4, 0);
    w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[space])
        .ok();
    let threads: Vec<Thread> = (0..WAITERS).map(|_| w.thread(10, true)).collect();
    let guard = 64 - sel4_abi::boot_info::ROOT_CNODE_BITS;
    for &thread in &threads {
        let caps = [handler, fixed::CNODE, space];
        w.call(thread.cap, label::TCB_SET_SPACE, &[guard, 0], &caps)
            .ok();
        w.resume(thread);
    }
    w.revoke(space);
    w.kernel.machine.pending_every = 4;
    w.kernel.machine.looks.set(0);
    w.wait(gate);
    let waiting = |threads: &[Thread]| {
        threads
            .iter()
            .filter(|thread| thread.tcb.state.get() == State::BlockedOnSend)
            .count()
    };
    let so_far = waiting(&threads);
    assert!(
        (1..=5).contains(&so_far),
        "{so_far} faulted before the interrupt"
    );
    w.kernel.machine.pending_every = 0;
    w.settle();
    assert_eq!(waiting(&threads), WAITERS);
    w.interrupt();
    assert_eq!(w.current().priority.get(), 255);
    w.check();
}

#[test]
fn a_crowd_of_threads_whose_time_has_come_wakes_in_groups_and_completely() {
    let mut w = World::new();
    let gate = w.gate();
    let threads: Vec<Thread> = (0..WAITERS).map(|_| w.thread(10, false)).collect();
    for &thread in &threads {
        w.configure(thread.sc, 100, 10_000, 0, 0);
        w.call(thread.sc, label::SCHED_CONTEXT_BIND, &[], &[thread.cap])
            .ok();
        w.resume(thread);
    }
    w.wait(gate);
    for _ in &threads {
        w.syscall(sel4_abi::syscall::YIELD);
    }
    assert!(w.kernel.queues.release.get().is_some());
    w.kernel.machine.now += 20_000 * super::fake::MHZ;
    let asleep = |threads: &[Thread]| {
        threads
            .iter()
            .filter(|thread| thread.tcb.in_release_queue.get())
            .count()
    };
    w.kernel.handle_interrupt(crate::syscall::TIMER_VECTOR);
    w.kernel.decide();
    assert_eq!(asleep(&threads), WAITERS - 32);
    assert!(
        w.kernel.machine.deadline <= w.kernel.machine.now(),
        "the timer is to fire at once"
    );
    w.kernel.handle_interrupt(crate::syscall::TIMER_VECTOR);
    w.kernel.decide();
    assert_eq!(asleep(&threads), 0);
    w.check();
}

#[test]
fn what_is_told_of_every_change_of_a_guests_memory_is_limited_in_number() {
    let mut w = World::new();
    let full = super::world::Answer::error(Error::DeleteFirst, &[]);
    let space = w.make(object::GUEST_PML4, 0);
    w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[space])
        .ok();
    let pools: Vec<u64> = (0..9).map(|_| w.make(object::SHADOW_POOL, 5)).collect();
    for &pool in &pools[..8] {
        w.call(pool, label::POOL_BIND_SPACE, &[], &[space]).ok();
    }
    let ninth = w.call(pools[8], label::POOL_BIND_SPACE, &[], &[space]);
    assert_eq!(ninth, full);
    for _ in 0..64 {
        let (vcpu, nested) = (w.make(object::VCPU, 0), w.make(object::VCPU, 0));
        w.call(pools[0], label::POOL_BIND_VCPU, &[], &[vcpu]).ok();
        w.call(nested, label::VCPU_SET_NESTED, &[], &[space]).ok();
    }
    let vcpu = w.make(object::VCPU, 0);
    assert_eq!(w.call(pools[0], label::POOL_BIND_VCPU, &[], &[vcpu]), full);
    assert_eq!(w.call(vcpu, label::VCPU_SET_NESTED, &[], &[space]), full);
    w.delete(pools[0]);
    w.call(pools[8], label::POOL_BIND_SPACE, &[], &[space]).ok();
    w.check();
}

#[test]
fn a_range_of_ports_is_booked_and_given_back_to_the_port() {
    let mut w = World::new();
    let issue = |w: &mut World, first: u64, last: u64| {
        let slot = w.empty();
        let words = [first, last, slot, 64];
        let answer = w.call(
            fixed::IO_PORT_CONTROL,
            label::X86_IO_PORT_CONTROL_ISSUE,
            &words,
            &[fixed::CNODE],
        );
        (slot, answer)
    };
    let taken = super::world::Answer::error(Error::RevokeFirst, &[]);
    let (middle, answer) = issue(&mut w, 0x3f, 0x101);
    answer.ok();
    assert_eq!(issue(&mut w, 0x101, 0x101).1, taken);
    assert_eq!(issue(&mut w, 0, 0x3f).1, taken);
    issue(&mut w, 0, 0x3e).1.ok();
    issue(&mut w, 0x102, 0xffff).1.ok();
    w.delete(middle);
    issue(&mut w, 0x3f, 0x101).1.ok();
    w.check();
}
