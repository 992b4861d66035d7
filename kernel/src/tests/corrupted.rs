//! The checks of the invariants are checked: a sound system is damaged in one place, and the damage is told.

use super::invariants::Checker;
use super::shadow::Guest;
use super::world::{Thread, World};
use crate::cap::Cap;
use crate::kernel::Action;
use crate::mem::Ref;
use crate::object::tcb::State;
use crate::slot::{self, Slot};
use core::cell::Cell;
use sel4_abi::{Rights, label, object};
use words::x86::pte;

/// A slot that nothing else uses.
const SPARE: u64 = 900;

/// A guest, and threads that are ready, wait for budget, a message, a signal and a reply, while the root task runs.
struct System {
    g: Guest,
    ready: Thread,
    late: [Thread; 2],
    receiver: Thread,
    waiter: Thread,
    caller: Thread,
    server: Thread,
    endpoint: u64,
    notification: u64,
    minted: u64,
    untyped: u64,
}

impl System {
    fn new() -> Self {
        let mut g = Guest::new();
        g.chain();
        g.set_root(0).ok();
        g.ask(label::POOL_FILL, &[3, 0, 4]).ok();
        let w = &mut g.world;
        let gate = w.gate();
        let (endpoint, calls) = (w.make(object::ENDPOINT, 0), w.make(object::ENDPOINT, 0));
        let minted = w.mint(endpoint, 15, 3);
        let notification = w.make(object::NOTIFICATION, 0);
        let untyped = w.make(object::UNTYPED, 12);
        w.retype(untyped, object::UNTYPED, 5);
        let server = w.thread(103, true);
        w.resume(server);
        w.wait(gate);
        w.recv(calls, server.reply);
        w.interrupt();
        w.call(server.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
            .ok();
        let [caller, receiver, waiter] = [102, 104, 105].map(|priority| w.thread(priority, true));
        let late = [110, 111].map(|priority| w.thread(priority, true));
        for (n, thread) in late.iter().enumerate() {
            w.configure(thread.sc, 1000, 1_000_000 + 1000 * n as u64, 0, 0);
        }
        for thread in [caller, receiver, waiter, late[0], late[1]] {
            w.resume(thread);
        }
        w.wait(gate);
        w.pass(1500);
        w.pass(1500);
        w.wait(notification);
        w.recv(endpoint, receiver.reply);
        w.start_call(calls, 0, &[], &[]);
        w.interrupt();
        let ready = w.thread(50, true);
        w.resume(ready);
        Self {
            g,
            ready,
            late,
            receiver,
            waiter,
            caller,
            server,
            endpoint,
            notification,
            minted,
            untyped,
        }
    }

    fn world(&mut self) -> &mut World {
        &mut self.g.world
    }
    fn cap(&self, slot: u64) -> Cap {
        self.g.world.cap(slot)
    }
    fn slot(&self, slot: u64) -> Ref<Slot> {
        self.g.world.slot(slot)
    }
    /// Moves the untyped's watermark to `free` units of 16 bytes.
    fn set_watermark(&self, to: u64) {
        let mut cap = self.cap(self.untyped);
        if let Cap::Untyped { free, .. } = &mut cap {
            *free = to;
        }
        self.slot(self.untyped).set_cap(cap);
    }
    /// Word `n` of a slot: 2 is the slot before, 3 the one after.
    fn word(&self, slot: u64, n: usize) -> Ref<Cell<u64>> {
        Ref::at(self.slot(slot).bits() + 8 * n as u64)
    }
    /// Where the last slot of a derivation list says that there is none after it.
    fn last_next(&self) -> Ref<Cell<u64>> {
        let mut last = self.slot(self.minted);
        while let Some(next) = last.next() {
            last = next;
        }
        Ref::at(last.bits() + 24)
    }
}

/// What must be said, and the damage.
type Damage = (&'static str, fn(&mut System));

#[track_caller]
fn told(damages: &[Damage]) {
    for (complaint, damage) in damages {
        let mut system = System::new();
        system.world().check();
        damage(&mut system);
        let w = system.world();
        let found = Checker::new(w.slot(0), 1024).check(&w.kernel);
        let what = found.expect_err(complaint);
        assert!(
            what.contains(complaint),
            "{what:?} instead of {complaint:?}"
        );
    }
}

#[test]
fn damage_to_the_derivation_tree_and_to_memory_is_told() {
    told(&[
        ("is linked", |s| {
            s.word(SPARE, 2).set(s.slot(s.endpoint).bits())
        }),
        ("the next slot is empty", |s| {
            s.last_next().set(s.slot(SPARE).bits())
        }),
        ("does not point back", |s| {
            s.last_next().set(s.slot(1).bits())
        }),
        ("does not point here", |s| {
            s.word(s.g.world.memory, 2).set(s.slot(s.minted).bits());
        }),
        ("slots are in lists", |s| {
            for (a, b) in [(SPARE, SPARE + 1), (SPARE + 1, SPARE)] {
                s.slot(a).set_cap(Cap::DomainSet);
                s.word(a, 2).set(s.slot(b).bits());
                s.word(a, 3).set(s.slot(b).bits());
            }
        }),
        ("does not follow its other descendants", |s| {
            let minted = s.slot(s.minted);
            let other = minted.next().expect("an older object");
            let caps = (minted.cap(), other.cap());
            minted.set_cap(caps.1);
            other.set_cap(caps.0);
        }),
        ("has rights that", |s| {
            let mut cap = s.cap(s.endpoint);
            if let Cap::Endpoint { rights, .. } = &mut cap {
                *rights = Rights::new(1);
            }
            s.slot(s.endpoint).set_cap(cap);
        }),
        ("same kind of memory", |s| {
            let mut cap = s.cap(s.untyped);
            if let Cap::Untyped { device, .. } = &mut cap {
                *device = true;
            }
            s.slot(s.untyped).set_cap(cap);
        }),
        ("above the watermark", |s| s.set_watermark(0)),
        ("the watermark is outside", |s| s.set_watermark(257)),
        ("no untyped memory around it", |s| {
            let object = Ref::at(s.ready.tcb.bits() + 64);
            slot::insert_root(
                Cap::Reply {
                    object,
                    grant: true,
                },
                s.slot(SPARE),
            );
        }),
        ("several objects in one place", |s| {
            let base = match s.cap(s.g.space) {
                Cap::Table { object, .. } => object.bits(),
                _ => 0,
            };
            let frame = Cap::Frame {
                base,
                size: 0,
                device: false,
                rights: 3,
                mapping: None,
            };
            slot::insert_root(frame, s.slot(SPARE));
        }),
    ]);
}

#[test]
fn damage_to_the_scheduler_and_its_threads_is_told() {
    told(&[
        ("something left to do", |s| {
            s.world().kernel.action = Action::Choose
        }),
        ("the bitmap is wrong", |s| {
            s.world().kernel.queues.bitmap[0] ^= 1 << 7
        }),
        ("in the ready queues twice", |s| {
            s.ready.tcb.sched_next.set(Some(s.ready.tcb))
        }),
        ("broken ready queue", |s| {
            s.ready.tcb.sched_prev.set(Some(s.late[0].tcb))
        }),
        ("in another priority's queue", |s| {
            s.ready.tcb.priority.set(51)
        }),
        ("is ready-queued in state", |s| {
            s.ready.tcb.state.set(State::Inactive)
        }),
        ("wrong queue marks", |s| {
            s.ready.tcb.in_ready_queue.set(false)
        }),
        ("wrong tail", |s| {
            s.world().kernel.queues.tails[50].set(None)
        }),
        ("in the release queue twice", |s| {
            let last = s
                .late
                .iter()
                .find(|late| late.tcb.sched_next.get().is_none());
            let last = last.expect("a last one").tcb;
            last.sched_next.set(Some(last));
        }),
        ("broken release queue", |s| {
            s.late
                .iter()
                .for_each(|late| late.tcb.sched_prev.set(Some(s.ready.tcb)));
        }),
        ("waits for a refill in state", |s| {
            s.late[0].tcb.state.set(State::Inactive)
        }),
        ("waits for a refill of no context", |s| {
            s.late[0].tcb.sc.set(None)
        }),
        ("the release queue is not sorted", |s| {
            let first = s
                .world()
                .kernel
                .queues
                .release
                .get()
                .and_then(|tcb| tcb.sc.get());
            first.expect("a first one").head_refill().time.set(u64::MAX);
        }),
        ("though its refill is due", |s| {
            let first = s
                .world()
                .kernel
                .queues
                .release
                .get()
                .and_then(|tcb| tcb.sc.get());
            first.expect("a first one").head_refill().time.set(0);
        }),
        ("a deleted thread", |s| slot::unlink(s.slot(s.ready.cap))),
        ("ready mark without place", |s| {
            s.receiver.tcb.in_ready_queue.set(true)
        }),
        ("release mark without place", |s| {
            s.receiver.tcb.in_release_queue.set(true)
        }),
        ("is lost", |s| s.waiter.tcb.state.set(State::Running)),
        ("has a reply in state", |s| {
            s.ready.tcb.reply.set(s.receiver.tcb.reply.get())
        }),
        ("its reply belongs to another thread", |s| {
            s.receiver.tcb.reply.set(s.caller.tcb.reply.get());
        }),
        ("awaits a reply without object", |s| {
            s.caller.tcb.reply.set(None)
        }),
        ("its context belongs to another thread", |s| {
            s.g.world
                .sched_context(s.ready.sc)
                .tcb
                .set(Some(s.waiter.tcb));
        }),
        ("its notification belongs to another thread", |s| {
            if let Cap::Notification { object, .. } = s.cap(s.notification) {
                s.ready.tcb.notification.set(Some(object));
            }
        }),
        ("broken yield", |s| {
            s.ready
                .tcb
                .yield_to
                .set(Some(s.g.world.sched_context(s.late[0].sc)));
        }),
        ("its vCPU belongs to another thread", |s| {
            s.ready.tcb.vcpu.set(Some(s.g.world.vcpu(s.g.vcpu)));
        }),
        ("the current context is not", |s| {
            let other = s.g.world.sched_context(s.ready.sc);
            s.world().kernel.current_sc = other;
        }),
        ("the highest ready priority", |s| {
            s.world().kernel.queues.ready_end = 0
        }),
        ("runs though", |s| s.world().current().priority.set(10)),
    ]);
}

#[test]
fn damage_to_queues_contexts_and_replies_is_told() {
    told(&[
        ("is queued in state", |s| {
            s.receiver.tcb.state.set(State::BlockedOnReply)
        }),
        ("in a queue it does not wait in", |s| {
            s.receiver.tcb.blocked_on.set(64)
        }),
        ("is queued twice", |s| {
            s.receiver.tcb.queue_next.set(Some(s.receiver.tcb))
        }),
        ("broken queue", |s| {
            s.receiver.tcb.queue_prev.set(Some(s.ready.tcb))
        }),
        ("and queued: false", |s| {
            if let Cap::Notification { object, .. } = s.cap(s.notification) {
                object.head.set(None);
                object.tail.set(None);
            }
        }),
        ("its thread has another context", |s| {
            s.g.world
                .sched_context(s.server.sc)
                .tcb
                .set(Some(s.ready.tcb));
        }),
        ("the top of its stack does not know it", |s| {
            s.g.world
                .sched_context(s.server.sc)
                .reply
                .set(s.receiver.tcb.reply.get());
        }),
        ("refills of", |s| {
            s.g.world.sched_context(s.late[0].sc).count.set(0)
        }),
        ("round robin with", |s| {
            s.g.world.sched_context(s.ready.sc).count.set(1)
        }),
        ("its thread is bound elsewhere", |s| {
            if let Cap::Notification { object, .. } = s.cap(s.notification) {
                object.tcb.set(Some(s.ready.tcb));
            }
        }),
    ]);
}

#[test]
fn damage_to_spaces_and_shadow_pools_is_told() {
    told(&[
        ("outlives its capability's mapping", |s| {
            slot::unlink(s.slot(s.g.frames[0]))
        }),
        ("a table that no capability names", |s| {
            slot::unlink(s.slot(s.g.tables[0]))
        }),
        ("its root is no live table", |s| {
            slot::unlink(s.slot(s.g.space))
        }),
        ("links, ", |s| {
            s.g.world.pool(s.g.pool).state(1).links.set(2);
        }),
        ("roots, ", |s| {
            s.g.world.pool(s.g.pool).state(0).roots.set(0)
        }),
        ("is not granted by the space", |s| {
            let entry = &s.g.world.pool(s.g.pool).page(3).0[0];
            entry.set((entry.get() + 0x1000) | pte::RW);
        }),
        ("odd bits in", |s| {
            let entry = &s.g.world.pool(s.g.pool).page(3).0[0];
            entry.set(entry.get() | pte::G);
        }),
        ("an entry that is not present", |s| {
            s.g.world.pool(s.g.pool).page(3).0[9].set(2);
        }),
        ("skips a level", |s| {
            s.g.world.pool(s.g.pool).state(2).level.set(1)
        }),
        ("has a deleted pool", |s| {
            let other = Ref::at(s.ready.tcb.bits());
            s.g.world.vcpu(s.g.vcpu).pool.set(Some(other));
        }),
        ("does not list all of its vCPUs", |s| {
            s.g.world.pool(s.g.pool).vcpus.set(None)
        }),
    ]);
}
