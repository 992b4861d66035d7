//! A client whose call has a short way, and its server whose answer has one, for tests that take something away.

use crate::cap::{Cap, Mapping};
use crate::mem::Ref;
use crate::object::tcb::{Fault, slots};
use crate::object::{Endpoint, Notification, Reply, SchedContext};
use crate::tests::world::{Thread, World};
use sel4_abi::{object, syscall};

/// A client that runs, a passive server that waits for its call, and a stopped thread.
pub struct Scene {
    pub w: World,
    pub client: Thread,
    pub server: Thread,
    pub spare: Thread,
    pub endpoint: u64,
    /// Another endpoint, and an active notification.
    pub other: u64,
    pub signalled: u64,
    /// The endpoint to send but not to be answered, to receive only, to send only.
    pub mute: u64,
    pub inward: u64,
    pub outward: u64,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(false)
    }

    /// The server keeps its time, or is passive.
    pub fn with(own_time: bool) -> Self {
        let mut w = World::new();
        let endpoint = w.make(object::ENDPOINT, 0);
        let other = w.make(object::ENDPOINT, 0);
        let signalled = w.make(object::NOTIFICATION, 0);
        w.signal(signalled);
        let [mute, inward, outward] = [3, 2 + 4, 1 + 4].map(|rights| w.mint(endpoint, rights, 0));
        let server = w.thread(50, true);
        let client = w.thread(90, true);
        let spare = w.thread(70, true);
        w.set_handler(client, endpoint);
        let gate = w.gate();
        w.serve(server, gate, endpoint);
        if !own_time {
            w.take_time(server);
        }
        w.run(client, gate);
        w.message(0, &[1], &[]);
        client.tcb.context.rdi.set(endpoint);
        Self {
            w,
            client,
            server,
            spare,
            endpoint,
            other,
            signalled,
            mute,
            inward,
            outward,
        }
    }

    /// The same after the call: the server is about to answer it.
    pub fn answering() -> Self {
        Self::answering_with(false)
    }

    pub fn answering_with(own_time: bool) -> Self {
        let mut scene = Self::with(own_time);
        scene.w.syscall(syscall::CALL);
        scene.w.expect_running(scene.server);
        scene.w.message(0, &[2], &[]);
        let context = &scene.server.tcb.context;
        context.rdi.set(scene.endpoint);
        context.r12.set(scene.server.reply);
        scene
    }

    pub fn has_short(&self, number: i64) -> bool {
        self.w.kernel.has_fast_syscall(number)
    }
    pub fn target(&self, cap: u64) {
        self.w.current().context.rdi.set(cap);
    }
    pub fn endpoint(&self) -> Ref<Endpoint> {
        self.w.endpoint(self.endpoint)
    }
    pub fn notification(&self) -> Ref<Notification> {
        self.w.notification(self.signalled)
    }
    pub fn spare_reply(&self) -> Ref<Reply> {
        self.w.reply_object(self.spare.reply)
    }
    pub fn server_reply(&self) -> Ref<Reply> {
        self.w.reply_object(self.server.reply)
    }
    pub fn spare_time(&self) -> Ref<SchedContext> {
        self.w.sched_context(self.spare.sc)
    }
    /// The spare thread is ready.
    pub fn ready(&mut self) {
        self.w.kernel.ready_push_tail(self.spare.tcb);
    }
    /// The thread's address space has another number, or none.
    pub fn renumber(thread: Thread, number: Option<u16>) {
        let slot = &thread.tcb.slots[slots::VSPACE];
        let Cap::Table {
            object,
            level,
            kind,
            mapping: Some(mapping),
        } = slot.cap()
        else {
            panic!("no address space")
        };
        slot.set_cap(Cap::Table {
            object,
            level,
            kind,
            mapping: number.map(|asid| Mapping { asid, ..mapping }),
        });
    }
    /// The current thread's CSpace has one bit of guard less.
    pub fn lessen_guard(&self) {
        let slot = &self.w.current().slots[slots::CSPACE];
        let Cap::CNode {
            object,
            radix,
            guard_size,
            guard,
        } = slot.cap()
        else {
            panic!("no CSpace")
        };
        slot.set_cap(Cap::CNode {
            object,
            radix,
            guard_size: guard_size - 1,
            guard,
        });
    }
    /// The client stopped at such a fault, and the answer has this label.
    pub fn fault(&self, label: u64, answer: u64) {
        self.client.tcb.fault.set(Fault {
            label,
            ..Fault::default()
        });
        self.w.message(answer, &[], &[]);
    }
    pub fn give_vcpu(thread: Thread) {
        thread.tcb.vcpu.set(Some(Ref::at(0x1000)));
    }
}
