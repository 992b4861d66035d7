//! A sound system with something of everything in it, to be damaged.

use crate::cap::Cap;
use crate::mem::{Page, Ref};
use crate::object::{Notification, Reply, SchedContext, ShadowPool, Vcpu};
use crate::slot::{self, Slot};
use crate::tests::shadow::Guest;
use crate::tests::world::{Thread, World};
use core::cell::Cell;
use sel4_abi::{label, object};

/// A slot that nothing else uses.
pub const SPARE: u64 = 900;
/// A page that the shadow pool has, and that was never reset.
pub const STALE: u64 = 20;
/// Pages of the shadow pool: a chain of levels 4 to 1, and a PAE root.
pub const LEVEL_4: u64 = 0;
/// Its slot 0 links the next.
pub const LEVEL_2: u64 = 2;
/// Its slot 0 is a leaf, which the guest may read.
pub const LEVEL_1: u64 = 3;
/// It has its four directories.
pub const PAE_ROOT: u64 = 8;

/// A guest under shadow paging and one under nested paging, in one space; threads that are ready, wait for budget, a message,
/// a signal and a reply, or never ran; the root task runs.
pub struct System {
    pub g: Guest,
    /// Under nested paging.
    pub nested: u64,
    pub ready: Thread,
    /// Their budget is used up.
    pub late: [Thread; 2],
    /// They wait at `endpoint`, in this order, the second without reply object.
    pub receivers: [Thread; 2],
    pub waiter: Thread,
    /// It calls the first server, which calls the second, which is ready: each lends the one context.
    pub caller: Thread,
    pub servers: [Thread; 2],
    /// Without context.
    pub stopped: Thread,
    pub endpoint: u64,
    pub notification: u64,
    pub minted: u64,
    /// It has a child.
    pub untyped: u64,
}

impl System {
    pub fn new() -> Self {
        let mut g = Guest::new();
        g.chain();
        g.pae_root();
        g.set_root(LEVEL_4).ok();
        g.ask(label::POOL_FILL, &[LEVEL_1, 0, 4]).ok();
        let w = &mut g.world;
        let nested = w.make(object::VCPU, 0);
        w.call(nested, label::VCPU_SET_NESTED, &[], &[g.space]).ok();
        let gate = w.gate();
        let [endpoint, calls, deeper] = [(); 3].map(|()| w.make(object::ENDPOINT, 0));
        let minted = w.mint(endpoint, 15, 3);
        let notification = w.make(object::NOTIFICATION, 0);
        let untyped = w.make(object::UNTYPED, 12);
        w.retype(untyped, object::UNTYPED, 5);
        let servers = [calls, deeper].map(|endpoint| passive_server(w, gate, endpoint));
        let [caller, second, first, waiter] =
            [102, 103, 104, 105].map(|priority| w.thread(priority, true));
        let late = [110, 111].map(|priority| w.thread(priority, true));
        for (n, thread) in late.iter().enumerate() {
            w.configure(thread.sc, 1000, 1_000_000 + 1000 * n as u64, 0, 0);
        }
        for thread in [caller, second, first, waiter, late[0], late[1]] {
            w.resume(thread);
        }
        w.wait(gate);
        w.pass(1500);
        w.pass(1500);
        w.wait(notification);
        w.recv(endpoint, first.reply);
        w.wait(endpoint);
        w.start_call(calls, 0, &[], &[]);
        w.start_call(deeper, 0, &[], &[]);
        w.interrupt();
        let ready = w.thread(50, true);
        w.resume(ready);
        let stopped = w.thread(50, false);
        Self {
            g,
            nested,
            ready,
            late,
            receivers: [first, second],
            waiter,
            caller,
            servers,
            stopped,
            endpoint,
            notification,
            minted,
            untyped,
        }
    }

    pub fn world(&mut self) -> &mut World {
        &mut self.g.world
    }
    pub fn cap(&self, slot: u64) -> Cap {
        self.g.world.cap(slot)
    }
    pub fn slot(&self, slot: u64) -> Ref<Slot> {
        self.g.world.slot(slot)
    }
    /// The capability there is gone, and nothing else has changed.
    pub fn lose(&self, slot: u64) {
        slot::unlink(self.slot(slot));
    }
    /// Word `n` of a slot: 2 is the slot before, 3 the one after.
    pub fn word(&self, slot: u64, n: usize) -> Ref<Cell<u64>> {
        Ref::at(self.slot(slot).bits() + 8 * n as u64)
    }

    pub fn sc(&self, thread: Thread) -> Ref<SchedContext> {
        self.g.world.sched_context(thread.sc)
    }
    pub fn reply(&self, thread: Thread) -> Ref<Reply> {
        self.g.world.reply_object(thread.reply)
    }
    pub fn notification(&self) -> Ref<Notification> {
        self.g.world.notification(self.notification)
    }
    /// The root of the guest-physical space.
    pub fn space(&self) -> Ref<Page> {
        self.g.world.space(self.g.space)
    }
    pub fn nested(&self) -> Ref<Vcpu> {
        self.g.world.vcpu(self.nested)
    }
    /// Under shadow paging.
    pub fn vcpu(&self) -> Ref<Vcpu> {
        self.g.world.vcpu(self.g.vcpu)
    }
    pub fn pool(&self) -> Ref<ShadowPool> {
        self.g.world.pool(self.g.pool)
    }
    /// An entry of one of its pages.
    pub fn entry(&self, page: u64, slot: usize) -> Ref<Cell<u64>> {
        Ref::at(self.pool().page(page).bits() + 8 * slot as u64)
    }
}

/// A server that waits at `endpoint` and runs on what its callers lend.
fn passive_server(w: &mut World, gate: u64, endpoint: u64) -> Thread {
    let server = w.thread(103, true);
    w.serve(server, gate, endpoint);
    w.take_time(server);
    server
}
