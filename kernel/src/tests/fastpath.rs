//! The short ways against the long one: the same system call or fault is done both ways from the same state, and every byte
//! of memory and what the scheduler knows must be equal afterwards. Every system call of every other test comes through
//! [`compare_syscall`], too.

use super::fake::FakeMachine;
use super::world::{MEMORY, Thread, World};
use crate::cap::{Cap, Mapping};
use crate::kernel::{Action, FpuOwner, Kernel};
use crate::machine::Next;
use crate::mem::{self, Ref};
use crate::object::tcb::{Fault, State as Doing, slots};
use crate::object::vcpu::Tags;
use crate::object::{Endpoint, Reply, SchedContext, Tcb};
use core::cell::Cell;
use sel4_abi::{Rights, fault, label, object, syscall};
use words::x86::vector;

type Tested = Kernel<FakeMachine>;

/// Comparisons a test makes by the way at most: each copies all of the memory.
const BY_THE_WAY: u64 = 10;
/// Comparisons of the test that is about them.
const MANY: u64 = 150;
/// A system call that the kernel does not know.
const UNKNOWN: i64 = 57;

std::thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
    static MOST: Cell<u64> = const { Cell::new(BY_THE_WAY) };
}

/// All that a system call can change.
#[derive(PartialEq)]
struct State {
    memory: Vec<u8>,
    kernel: Variables,
    machine: FakeMachine,
}

/// Head and tail of a queue.
type Ends = (Option<Ref<Tcb>>, Option<Ref<Tcb>>);

#[derive(PartialEq, Debug)]
struct Variables {
    current: Ref<Tcb>,
    current_sc: Ref<SchedContext>,
    action: Action,
    times: (u64, u64),
    reprogram: bool,
    ready: Vec<Ends>,
    bitmap: ([u64; 4], u16),
    release: Option<Ref<Tcb>>,
    fpu_owner: FpuOwner,
    loaded: (u64, u64),
    bases_of: Ref<Tcb>,
    tags: Tags,
    work_units: u32,
}

impl State {
    fn of(kernel: &Tested) -> Self {
        let queues = &kernel.queues;
        let ends = queues.heads.iter().zip(&queues.tails);
        Self {
            memory: mem::bytes(0, MEMORY).to_vec(),
            kernel: Variables {
                current: kernel.current,
                current_sc: kernel.current_sc,
                action: kernel.action,
                times: (kernel.now, kernel.consumed),
                reprogram: kernel.reprogram,
                ready: ends.map(|(head, tail)| (head.get(), tail.get())).collect(),
                bitmap: (queues.bitmap, queues.ready_end),
                release: queues.release.get(),
                fpu_owner: kernel.fpu_owner,
                loaded: (kernel.loaded_space, kernel.loaded_thread),
                bases_of: kernel.bases_of,
                tags: kernel.tags.clone(),
                work_units: kernel.work_units,
            },
            machine: kernel.machine.clone(),
        }
    }

    fn restore(&self, kernel: &mut Tested) {
        mem::write_bytes(0, &self.memory);
        let old = &self.kernel;
        (kernel.current, kernel.current_sc) = (old.current, old.current_sc);
        kernel.action = old.action;
        (kernel.now, kernel.consumed) = old.times;
        kernel.reprogram = old.reprogram;
        for (n, &(head, tail)) in old.ready.iter().enumerate() {
            kernel.queues.heads[n].set(head);
            kernel.queues.tails[n].set(tail);
        }
        (kernel.queues.bitmap, kernel.queues.ready_end) = old.bitmap;
        kernel.queues.release.set(old.release);
        kernel.fpu_owner = old.fpu_owner;
        (kernel.loaded_space, kernel.loaded_thread) = old.loaded;
        kernel.bases_of = old.bases_of;
        kernel.tags = old.tags.clone();
        kernel.work_units = old.work_units;
        kernel.machine = self.machine.clone();
    }

    /// Where the memories differ first.
    fn difference(&self, other: &Self) -> Option<usize> {
        if self.memory == other.memory {
            return None;
        }
        (0..self.memory.len()).find(|&n| self.memory[n] != other.memory[n])
    }
}

/// Links of threads that are in no queue of the scheduler say nothing.
fn forget_links(threads: [Ref<Tcb>; 2]) {
    for tcb in threads {
        if !tcb.in_ready_queue.get() && !tcb.in_release_queue.get() {
            tcb.sched_next.set(None);
            tcb.sched_prev.set(None);
        }
    }
}

/// Does the same both ways and compares; the kernel is as before then. Whether there was a short way.
fn compare(
    kernel: &mut Tested,
    short: impl Fn(&mut Tested) -> Option<Next>,
    long: impl Fn(&mut Tested),
) -> bool {
    let before = State::of(kernel);
    let first = kernel.current;
    let Some(next) = short(kernel) else {
        assert!(before == State::of(kernel), "a decision changed something");
        return false;
    };
    let second = kernel.current;
    forget_links([first, second]);
    // The short ways do not read the time: whoever enters next does.
    kernel.update_time();
    let fast = State::of(kernel);
    before.restore(kernel);
    kernel.update_time();
    let late = !kernel.sc_sufficient(kernel.current_sc, kernel.consumed);
    let due = kernel
        .queues
        .release
        .get()
        .and_then(|tcb| tcb.sc.get())
        .is_some_and(|sc| kernel.sc_ready(sc));
    before.restore(kernel);
    if late || due {
        // The timer's interrupt comes before anything else is done.
        return false;
    }
    long(kernel);
    let expected = kernel.decide();
    forget_links([first, second]);
    let slow = State::of(kernel);
    assert_eq!(next, expected, "another thread runs");
    assert_eq!(fast.kernel, slow.kernel);
    let difference = fast.difference(&slow);
    assert!(difference.is_none(), "at {difference:#x?}");
    before.restore(kernel);
    true
}

fn may_compare() -> bool {
    COMPARED.with(Cell::get) < MOST.with(Cell::get)
}

fn count(compared: bool) {
    COMPARED.with(|n| n.set(n.get() + u64::from(compared)));
}

/// Compares a system call that is about to be made.
pub fn compare_syscall(kernel: &mut Tested, number: i64) {
    let settled = kernel.action == Action::Keep && !kernel.reprogram;
    if may_compare() && settled && kernel.has_fast_syscall(number) {
        let compared = compare(
            kernel,
            |kernel| kernel.fast_syscall(number),
            |kernel| kernel.handle_syscall(number),
        );
        count(compared);
    }
}

/// Compares an exception that is about to be handled.
pub fn compare_exception(kernel: &mut Tested, number: u8, code: u64, cr2: u64) {
    let settled = kernel.action == Action::Keep && !kernel.reprogram;
    if may_compare() && settled {
        let compared = compare(
            kernel,
            |kernel| kernel.fast_exception(number, code, cr2),
            |kernel| kernel.handle_exception(number, code, cr2),
        );
        count(compared);
    }
}

/// Compares an unknown system call of the running thread.
fn compare_unknown(w: &mut World) {
    w.current().context.rdx.set(UNKNOWN as u64);
    compare_fault(w, fault::UNKNOWN_SYSCALL, &[UNKNOWN as u64]);
}

/// Compares a fault of the running thread. Whether it has a short way.
fn compare_fault(w: &mut World, label: u64, words: &[u64]) -> bool {
    let compared = compare(
        &mut w.kernel,
        |kernel| kernel.fast_fault(label, words),
        |kernel| {
            kernel.update_time();
            kernel.fault(kernel.current, label, words);
        },
    );
    count(compared);
    compared
}

/// How many comparisons this test has made.
fn compared_so_far() -> u64 {
    COMPARED.with(Cell::get)
}

/// A small generator of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end
    }
}

/// Some threads have a budget that is less than their period, and some of those a sporadic one.
fn limit(w: &mut World, thread: Thread, numbers: &mut Numbers) {
    if numbers.below(2) == 0 {
        w.configure(thread.sc, 5000, 10_000, 3, 0);
        let sporadic = numbers.below(2) == 0;
        w.sched_context(thread.sc).sporadic.set(sporadic);
    }
}

/// Three servers, of which each calls those after it and the last handles everybody's faults, and three clients; priorities,
/// message lengths, which servers have time of their own, whose time is limited and who does what are random.
fn traffic(seed: u64) {
    let mut w = World::new();
    let mut numbers = Numbers(seed);
    let gate = w.gate();
    let endpoints = [0; 3].map(|_| w.make(object::ENDPOINT, 0));
    let badged = endpoints.map(|endpoint| w.mint(endpoint, 15, 9));
    let servers = endpoints.map(|endpoint| {
        let server = w.thread(100 + 10 * numbers.below(4), true);
        w.set_handler(server, badged[2]);
        w.resume(server);
        w.wait(gate);
        w.expect_running(server);
        w.recv(endpoint, server.reply);
        w.interrupt();
        if numbers.below(3) == 0 {
            limit(&mut w, server, &mut numbers);
        } else {
            w.call(server.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
                .ok();
        }
        server
    });
    for _ in 0..3 {
        let client = w.thread(100 + 10 * numbers.below(4), true);
        limit(&mut w, client, &mut numbers);
        w.set_handler(client, badged[2]);
        w.resume(client);
    }
    w.wait(gate);
    for _ in 0..60 {
        let current = w.current();
        if current.state.get() != crate::object::tcb::State::Running {
            break;
        }
        let words: Vec<u64> = (0..numbers.below(9)).map(|n| n * 7).collect();
        w.kernel.machine.now += 10;
        let server = servers.iter().position(|server| server.tcb == current);
        let deepest = server.map_or(0, |n| n + 1);
        let choice = numbers.below(10);
        match server {
            Some(n) if choice < 6 || deepest > 2 => {
                let refuse = u64::from(numbers.below(20) == 0);
                w.reply_recv(endpoints[n], servers[n].reply, refuse, &words);
            }
            _ if choice < 8 => {
                let to = deepest + numbers.below(3 - deepest as u64) as usize;
                w.start_call(badged[to], numbers.below(3), &words, &[]);
            }
            _ if numbers.below(3) == 0 => {
                compare_unknown(&mut w);
                w.syscall(UNKNOWN);
            }
            _ => {
                let vector = [6, 7, 14][numbers.below(3) as usize];
                current.context.entered_by.set(crate::context::entry::FULL);
                compare_exception(&mut w.kernel, vector, 4, 0x1000);
                w.kernel.handle_exception(vector, 4, 0x1000);
                w.settle();
            }
        }
        w.check();
    }
}

#[test]
fn the_short_ways_leave_what_the_long_one_does() {
    MOST.with(|most| most.set(MANY));
    let mut seed = 0;
    while compared_so_far() < MANY {
        assert!(seed < MANY, "only {} comparisons", compared_so_far());
        seed += 1;
        traffic(seed);
    }
}

#[test]
fn an_exit_and_its_answer_leave_what_the_long_way_does() {
    let mut machine = super::vcpu::long_mode();
    machine.start();
    let w = &mut machine.guest.world;
    let time = w.sched_context(machine.vmm.sc);
    w.kernel.sc_unbind_tcb(time);
    w.kernel.decide();
    let class = exit_abi::ExitClass::Cpuid as u64;
    let words = [1, 2, 3, 4];
    let vcpu = machine.thread.tcb;
    assert_eq!(w.current(), vcpu, "the guest runs");
    for _ in 0..3 {
        assert!(compare_fault(w, class, &words), "the exit has no short way");
        let next = w
            .kernel
            .fast_fault(class, &words)
            .expect("as it had before");
        assert!(matches!(next, Next::User { .. }));
        let before = compared_so_far();
        let rip = exit_abi::Mask::default().with(exit_abi::Register::Rip).0;
        let next = w.reply_recv(machine.endpoint, machine.vmm.reply, 0, &[rip, 0x1234]);
        assert_eq!(compared_so_far(), before + 1, "the answer has no short way");
        assert!(matches!(next, Next::Guest { .. }));
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
        w.resume(server);
        w.wait(gate);
        w.expect_running(server);
        w.recv(endpoint, server.reply);
        w.interrupt();
        w.call(server.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
            .ok();
        w.resume(client);
        w.resume(ready);
        w.wait(gate);
        w.expect_running(client);
        w.message(0, &[1], &[]);
        client.tcb.context.rdi.set(endpoint);
        assert_eq!(w.kernel.has_fast_syscall(syscall::CALL), short);
        w.syscall(syscall::CALL);
        let runs = if short { server } else { ready };
        w.expect_running(runs);
    }
}

/// A client that runs, a passive server that waits for its call, and a stopped thread.
struct Scene {
    w: World,
    client: Thread,
    server: Thread,
    spare: Thread,
    endpoint: u64,
    /// Another endpoint, and an active notification.
    other: u64,
    signalled: u64,
    /// The endpoint to send but not to be answered, to receive only, to send only.
    mute: u64,
    inward: u64,
    outward: u64,
}

impl Scene {
    fn new() -> Self {
        Self::with(false)
    }

    /// The server keeps its time, or is passive.
    fn with(own_time: bool) -> Self {
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
        w.resume(server);
        w.wait(gate);
        w.expect_running(server);
        w.recv(endpoint, server.reply);
        w.interrupt();
        if !own_time {
            w.call(server.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
                .ok();
        }
        w.resume(client);
        w.wait(gate);
        w.expect_running(client);
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
    fn answering() -> Self {
        Self::answering_with(false)
    }

    fn answering_with(own_time: bool) -> Self {
        let mut scene = Self::with(own_time);
        scene.w.syscall(syscall::CALL);
        scene.w.expect_running(scene.server);
        scene.w.message(0, &[2], &[]);
        let context = &scene.server.tcb.context;
        context.rdi.set(scene.endpoint);
        context.r12.set(scene.server.reply);
        scene
    }

    fn has_short(&self, number: i64) -> bool {
        self.w.kernel.has_fast_syscall(number)
    }
    fn target(&self, cap: u64) {
        self.w.current().context.rdi.set(cap);
    }
    fn endpoint(&self) -> Ref<Endpoint> {
        let Cap::Endpoint { object, .. } = self.w.cap(self.endpoint) else {
            panic!("no endpoint")
        };
        object
    }
    fn reply_of(&self, thread: Thread) -> Ref<Reply> {
        let Cap::Reply { object, .. } = self.w.cap(thread.reply) else {
            panic!("no reply object")
        };
        object
    }
    fn spare_reply(&self) -> Ref<Reply> {
        self.reply_of(self.spare)
    }
    fn server_reply(&self) -> Ref<Reply> {
        self.reply_of(self.server)
    }
    fn spare_time(&self) -> Ref<SchedContext> {
        self.w.sched_context(self.spare.sc)
    }
    /// The spare thread is ready.
    fn ready(&mut self) {
        self.w.kernel.ready_push_tail(self.spare.tcb);
    }
    /// The thread's address space has another number, or none.
    fn renumber(thread: Thread, number: Option<u16>) {
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
    fn lessen_guard(&self) {
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
    fn fault(&self, label: u64, answer: u64) {
        self.client.tcb.fault.set(Fault {
            label,
            ..Fault::default()
        });
        self.w.message(answer, &[], &[]);
    }
    fn give_vcpu(thread: Thread) {
        thread.tcb.vcpu.set(Some(Ref::at(0x1000)));
    }
}

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
        let Cap::Notification { object, .. } = s.w.cap(s.signalled) else {
            panic!("no notification")
        };
        s.server.tcb.notification.set(Some(object));
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
        let Cap::Notification { object, .. } = s.w.cap(s.signalled) else {
            panic!("no notification")
        };
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

type Buffers = (&'static str, bool, fn(&Scene));

/// What becomes of the buffers before a long message is sent, and whether its words arrive all the same.
const BUFFERS: &[Buffers] = &[
    ("both have one", true, |_| {}),
    ("the sender has none", false, |s| s.client.tcb.buffer.set(0)),
    ("the receiver has none", false, |s| {
        s.server.tcb.buffer.set(0)
    }),
    ("the receiver may only read its own", false, |s| {
        let slot = &s.server.tcb.slots[slots::BUFFER];
        slot.set_cap(slot.cap().masked(Rights::new(Rights::READ)));
    }),
    ("they share one", true, |s| {
        let cap = s.client.tcb.slots[slots::BUFFER].cap();
        s.server.tcb.slots[slots::BUFFER].set_cap(cap);
    }),
];

#[test]
fn long_messages_are_short_calls_and_arrive_as_they_do_the_long_way() {
    for length in [4, 5, 6, 119, 120, 121, 127] {
        for (case, arrives, prepare) in BUFFERS {
            MOST.with(|most| most.set(0));
            let mut scene = Scene::new();
            scene.w.message(9, &[1, 2, 3, 4], &[]);
            let buffer = scene.w.kernel.ipc_buffer(scene.client.tcb, true);
            let buffer = buffer.expect("every thread has one at first");
            for (n, word) in buffer.msg.iter().enumerate().skip(4) {
                word.set(100 + n as u64);
            }
            let (client, server) = (scene.client.tcb, scene.server.tcb);
            client.context.rsi.set(9 << 12 | length);
            prepare(&scene);
            MOST.with(|most| most.set(u64::MAX));
            let before = compared_so_far();
            scene.w.syscall(syscall::CALL);
            assert_eq!(compared_so_far(), before + 1, "{length}, {case}");
            scene.w.expect_running(scene.server);
            let expected = match length {
                ..=4 => length,
                _ if *arrives => length.min(120),
                _ => 4,
            };
            let received = scene.w.received(server);
            let words: Vec<u64> = (1..=4).chain(104..220).take(expected as usize).collect();
            assert_eq!(received.words, words, "{length}, {case}");
            assert_eq!(received.label, 9);
            let context = &server.context;
            context.rdi.set(scene.endpoint);
            context.r12.set(scene.server.reply);
            context.rsi.set(length);
            scene.w.syscall(syscall::REPLY_RECV);
            assert_eq!(compared_so_far(), before + 2, "{length}, {case}");
            scene.w.expect_running(scene.client);
        }
    }
}

#[test]
fn an_unknown_calls_registers_reach_the_handler_and_come_back_from_it() {
    let mut scene = Scene::new();
    let names: Vec<u64> = (0..18).map(|n| 0x40 + 0x10 * n).collect();
    let order = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1, 2];
    for (n, name) in order.iter().zip(&names) {
        scene.client.tcb.context.registers()[*n].set(*name);
    }
    scene.w.syscall(UNKNOWN);
    scene.w.expect_running(scene.server);
    let mut told = names.clone();
    // RDX is the number, and RIP the instruction.
    (told[3], told[15]) = (UNKNOWN as u64, super::world::SYSCALL_AT);
    told.push(UNKNOWN as u64);
    let received = scene.w.received(scene.server.tcb);
    assert_eq!(received.label, fault::UNKNOWN_SYSCALL);
    assert_eq!(received.words, told);
    let answer: Vec<u64> = names.iter().map(|name| name + 1).collect();
    let before = compared_so_far();
    scene
        .w
        .reply_recv(scene.endpoint, scene.server.reply, 0, &answer);
    assert_eq!(compared_so_far(), before + 1, "the answer has no short way");
    scene.w.expect_running(scene.client);
    for (n, value) in order.iter().zip(answer).take(17) {
        assert_eq!(
            scene.client.tcb.context.registers()[*n].get(),
            value,
            "register {n}"
        );
    }
}
