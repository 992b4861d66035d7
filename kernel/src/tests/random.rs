//! Any system call with any registers, by several threads: the kernel stays whole.

use super::calls::{Call, Caller, KINDS, Kind, LIMIT, map_label};
use super::fake::{FakeMachine, MHZ};
use super::invariants::Checker;
use super::world::{SYSCALL_AT, Thread, World};
use crate::cap::Cap;
use crate::context::entry;
use crate::machine::Next;
use crate::mem::Ref;
use crate::object::tcb::State;
use crate::object::vcpu::After;
use crate::object::{Tcb, Vcpu};
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::label;
use sel4_abi::message::MessageInfo;
use sel4_abi::{object, syscall};
use std::collections::{BTreeMap, HashMap, VecDeque};
use words::svm::{event, exit, vmcb};

/// A small generator (splitmix64): a seed is a whole run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Tables below the root of a user's space and of a guest's, from the top down.
const HOST: [u64; 3] = [
    object::X86_PDPT,
    object::X86_PAGE_DIRECTORY,
    object::X86_PAGE_TABLE,
];
const GUEST: [u64; 3] = [
    object::GUEST_PDPT,
    object::GUEST_PAGE_DIRECTORY,
    object::GUEST_PAGE_TABLE,
];

/// A system with some of everything in it.
fn populate(random: &mut Random) -> World {
    let mut w = World::with(FakeMachine::new());
    w.gate();
    let endpoints: Vec<u64> = (0..3).map(|_| w.make(object::ENDPOINT, 0)).collect();
    for n in 0..4 {
        w.mint(endpoints[n % 3], 15, 1 + n as u64);
        w.make(object::NOTIFICATION, 0);
        w.make(object::REPLY, 0);
    }
    let threads: Vec<Thread> = (0..5)
        .map(|n| w.thread(100 + 20 * random.below(3), n < 3))
        .collect();
    for thread in &threads {
        w.set_handler(*thread, endpoints[0]);
        w.resume(*thread);
    }
    w.make(object::CAP_TABLE, 4);
    w.make(object::CAP_TABLE, 1);
    for _ in 0..3 {
        w.make(object::UNTYPED, 14);
    }
    w.make(object::UNTYPED, 18);
    w.make(object::UNTYPED, 12);
    let mut guest_spaces = Vec::new();
    for (ty, tables) in [
        (object::X64_PML4, HOST),
        (object::GUEST_PML4, GUEST),
        (object::GUEST_PML4, GUEST),
    ] {
        let root = w.make(ty, 0);
        w.call(fixed::ASID_POOL, label::X86_ASID_POOL_ASSIGN, &[], &[root])
            .ok();
        for ty in tables {
            let table = w.make(ty, 0);
            let map = map_label(w.cap(table));
            w.call(table, map, &[0, 0], &[root]).ok();
        }
        if ty == object::GUEST_PML4 {
            guest_spaces.push(root);
        }
    }
    for _ in 0..6 {
        w.make(object::X86_4K, 0);
    }
    w.make(object::X86_LARGE_PAGE, 0);
    for space in guest_spaces {
        let vcpu = w.make(object::VCPU, 0);
        let pool = w.make(object::SHADOW_POOL, 5);
        w.call(pool, label::POOL_BIND_VCPU, &[], &[vcpu]).ok();
        w.call(pool, label::POOL_BIND_SPACE, &[], &[space]).ok();
        for page in 0..4 {
            let frame = w.make(object::X86_4K, 0);
            w.call(frame, label::PAGE_MAP_GUEST, &[page << 12, 3, 0], &[space])
                .ok();
            w.call(pool, label::POOL_RESET, &[page, 4 - page], &[]).ok();
        }
    }
    let ports = w.empty();
    w.call(
        fixed::IO_PORT_CONTROL,
        label::X86_IO_PORT_CONTROL_ISSUE,
        &[0x3f8, 0x3ff, ports, 64],
        &[fixed::CNODE],
    )
    .ok();
    assert!(w.next_slot < LIMIT - 40);
    w
}

/// What was done, for who looks into a failure.
#[derive(Debug)]
#[allow(dead_code)] // read by `Debug` alone
enum Did {
    Call {
        by: Ref<Tcb>,
        number: i64,
        cap: u64,
        call: Call,
    },
    Again,
    Exception,
    Interrupt,
    Timer,
    GuestExit(u64),
    Wake(Ref<Tcb>),
}

/// So many of the last things done are told.
const TOLD: usize = 25;

struct Run {
    world: World,
    random: Random,
    checker: Checker,
    /// What the first slots hold, as of the checker's version.
    caps: Vec<Cap>,
    version: u64,
    trace: VecDeque<Did>,
    /// Budgets of scheduling contexts, until they are configured again.
    totals: HashMap<u64, u64>,
    /// The budget that the last step may have given a context.
    configured: Option<u64>,
    idle: u32,
    focus: Kind,
    /// How many calls of each label succeeded.
    succeeded: BTreeMap<u64, u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let world = populate(&mut random);
        let checker = Checker::new(world.slot(0), LIMIT);
        Self {
            world,
            random,
            checker,
            caps: Vec::new(),
            version: 0,
            trace: VecDeque::new(),
            totals: HashMap::new(),
            configured: None,
            idle: 0,
            focus: KINDS[0],
            succeeded: BTreeMap::new(),
        }
    }

    fn note(&mut self, did: Did) {
        if self.trace.len() == TOLD {
            self.trace.pop_front();
        }
        self.trace.push_back(did);
    }

    fn caller(&mut self) -> Caller<'_> {
        Caller {
            world: &self.world,
            random: &mut self.random,
            caps: &self.caps,
        }
    }

    /// What to invoke: one kind of capability for a while, so that an object gets somewhere.
    fn target(&mut self) -> u64 {
        if self.random.chance(6) {
            self.focus = self.random.pick(KINDS);
        }
        let kind = if self.random.chance(60) {
            self.focus
        } else {
            self.random.pick(KINDS)
        };
        self.caller().slot_of(kind)
    }

    /// Half of the calls can succeed; of the others most fit what they are made on, and some nothing.
    fn invocation(&mut self) -> Call {
        if self.random.chance(50) {
            return self.caller().informed();
        }
        let target = self.target();
        if self.random.chance(25) {
            return self.caller().wild(target);
        }
        let mut call = self.caller().blind(target);
        if self.random.chance(10) && !call.words.is_empty() {
            let n = self.random.below(call.words.len() as u64) as usize;
            call.words[n] = self.caller().value();
        }
        call
    }

    fn number(&mut self) -> i64 {
        if self.random.chance(80) {
            return self.random.pick(&[
                syscall::CALL,
                syscall::CALL,
                syscall::CALL,
                syscall::CALL,
                syscall::SEND,
            ]);
        }
        self.random.pick(&[
            syscall::RECV,
            syscall::RECV,
            syscall::NB_RECV,
            syscall::WAIT,
            syscall::NB_WAIT,
            syscall::REPLY_RECV,
            syscall::NB_SEND_RECV,
            syscall::NB_SEND_WAIT,
            syscall::NB_SEND,
            syscall::YIELD,
            syscall::DEBUG_CAP_IDENTIFY,
            syscall::SET_TLS_BASE,
            -40,
        ])
    }

    fn system_call(&mut self) {
        let current = self.world.current();
        let call = self.invocation();
        let number = self.number();
        let receives = matches!(
            number,
            syscall::RECV
                | syscall::NB_RECV
                | syscall::WAIT
                | syscall::NB_WAIT
                | syscall::REPLY_RECV
                | syscall::NB_SEND_RECV
                | syscall::NB_SEND_WAIT
        );
        let mut caller = self.caller();
        let cap = if receives && caller.random.chance(85) {
            caller.slot_of(|cap| matches!(cap, Cap::Endpoint { .. } | Cap::Notification { .. }))
        } else {
            call.target
        };
        let reply = caller.slot_of(|cap| matches!(cap, Cap::Reply { .. }));
        let invoked = self.caps.get(cap as usize);
        let answers = !matches!(
            invoked,
            None | Some(Cap::Endpoint { .. } | Cap::Notification { .. } | Cap::Reply { .. })
        );
        let (operation, context) = (call.label, &current.context);
        let (caps, length) = (call.caps.len() as u64, call.words.len() as u64);
        let info = MessageInfo::new(operation, 0, caps, length);
        context.rsi.set(info.word());
        self.world.message(operation, &call.words, &call.caps);
        if let Some(buffer) = self.world.kernel.ipc_buffer(current, true) {
            buffer.receive_cnode.set(fixed::CNODE);
            buffer.receive_index.set(self.random.below(LIMIT));
            buffer.receive_depth.set(64);
        }
        context.rdi.set(cap);
        context.r12.set(reply);
        context.r13.set(call.target);
        self.world.enter(number);
        self.note(Did::Call {
            by: current,
            number,
            cap,
            call,
        });
        self.expect_configuration(current);
        super::fastpath::compare_syscall(&mut self.world.kernel, number);
        // As at the processor's edge, the short way first; or the long one alone, which must be able to do everything.
        let short = self.random.chance(50) && self.world.kernel.fast_syscall(number).is_some();
        if !short {
            self.world.kernel.handle_syscall(number);
        }
        let answered = number == syscall::CALL && answers && current.state.get() == State::Running;
        if answered && context.rsi.get() >> 12 == 0 {
            *self.succeeded.entry(operation).or_default() += 1;
        }
    }

    /// The call that the thread makes may give a scheduling context another budget.
    fn expect_configuration(&mut self, caller: Ref<Tcb>) {
        let info = MessageInfo::from_word(caller.context.rsi.get());
        if info.label() == label::SCHED_CONTROL_CONFIGURE_FLAGS {
            self.configured = Some(caller.mr(0).wrapping_mul(MHZ));
        }
    }

    fn user(&mut self) {
        let current = self.world.current();
        let context = &current.context;
        if context.rip.get() == SYSCALL_AT {
            // The last call is done again.
            let number = context.rdx.get() as i64;
            self.world.enter(number);
            self.note(Did::Again);
            self.expect_configuration(current);
            self.world.kernel.handle_syscall(number);
        } else if self.random.chance(2) {
            self.note(Did::Exception);
            context.entered_by.set(entry::FULL);
            let vector = self.random.pick(&[7, 13, 14]);
            self.world.kernel.handle_exception(vector, 4, 0x1234);
        } else {
            self.system_call();
        }
    }

    fn guest(&mut self, at: u64) {
        let vcpu: Ref<Vcpu> = Ref::at(at);
        assert_ne!(vcpu.tag.get(), 0, "tag 0");
        assert_eq!(vcpu.read(vmcb::ASID) as u32, vcpu.tag.get());
        let code = self.random.pick(&[
            exit::INTR,
            exit::EXCEPTION + 14,
            exit::EXCEPTION + 7,
            exit::HLT,
            exit::IOIO,
            exit::CPUID,
            exit::INVLPG,
            exit::WRITE_CR0 + 3,
            exit::SHUTDOWN,
            exit::VINTR,
            exit::INVALID,
            exit::XSETBV,
        ]);
        vcpu.write(vmcb::EXITCODE, code);
        vcpu.write(
            vmcb::EXITINTINFO,
            self.random
                .pick(&[0, event::interrupt(32), event::exception(6)]),
        );
        self.note(Did::GuestExit(code));
        if self.world.kernel.handle_guest_exit() == After::Interrupt {
            self.world
                .kernel
                .handle_interrupt(crate::syscall::TIMER_VECTOR);
        }
    }

    /// One turn of the loop at the processor's edge: ask what runs, run it, tell what happened.
    fn turn(&mut self) {
        let next = self.world.kernel.decide();
        self.check();
        let machine = &mut self.world.kernel.machine;
        machine.now += self.random.pick(&[0, 100, MHZ, 30 * MHZ]);
        machine.pending = self.random.chance(20);
        if machine.now >= machine.deadline && next != Next::Idle {
            self.note(Did::Timer);
            self.world
                .kernel
                .handle_interrupt(crate::syscall::TIMER_VECTOR);
            return;
        }
        if self.random.chance(3) {
            self.note(Did::Interrupt);
            let vector = crate::syscall::USER_VECTOR_BASE + self.random.below(8) as u8;
            self.world.kernel.handle_interrupt(vector);
            return;
        }
        match next {
            Next::User { .. } => {
                self.idle = 0;
                self.user();
            }
            Next::Guest { vmcb, .. } => self.guest(vmcb.bits()),
            Next::Idle => {
                self.idle += 1;
                if self.idle > 4 {
                    self.wake();
                }
                self.world.kernel.machine.now += 100 * MHZ;
                self.world
                    .kernel
                    .handle_interrupt(crate::syscall::USER_VECTOR_BASE);
            }
        }
    }

    /// All wait for each other: somebody with a budget is resumed behind the call that it waits in.
    fn wake(&mut self) {
        let able = |cap| match cap {
            Cap::Tcb { object } => object.sc.get().is_some_and(|sc| sc.is_active()),
            _ => false,
        };
        let slot = self.caller().slot_of(able);
        if let Cap::Tcb { object: tcb } = self.world.cap(slot)
            && able(self.world.cap(slot))
        {
            self.note(Did::Wake(tcb));
            tcb.context.rip.set(SYSCALL_AT + 2);
            tcb.context.entered_by.set(entry::FULL);
            self.world.kernel.restart(tcb);
        }
    }

    fn check(&mut self) {
        if let Err(what) = self.checker.check(&self.world.kernel) {
            panic!("{what}\nafter:\n{:#x?}", self.trace);
        }
        self.check_budgets();
        if self.version != self.checker.version() {
            self.version = self.checker.version();
            self.caps.clear();
            self.caps.extend((0..LIMIT).map(|n| self.world.cap(n)));
        }
    }

    /// The refills of a context sum to its budget, which is what it was before or what it has just been given.
    fn check_budgets(&mut self) {
        let configured = self.configured.take();
        for &sc in self.checker.contexts().iter().filter(|sc| sc.is_active()) {
            let total = sc.total();
            let before = self.totals.insert(sc.bits(), total).unwrap_or(total);
            assert!(
                before == total || configured == Some(total),
                "{sc:?}: the refills sum to {total}, not {before} or {configured:?}\nafter:\n{:#x?}",
                self.trace
            );
        }
    }

    /// Nobody runs any more, or the capability by which everything else is reached is gone.
    fn is_over(&self) -> bool {
        let root = self.world.cap(fixed::CNODE);
        self.idle > 30 || !matches!(root, Cap::CNode { .. })
    }

    fn steps(&mut self, count: u64) -> u64 {
        for done in 0..count {
            if self.is_over() {
                return done.max(1);
            }
            self.turn();
        }
        count
    }
}

/// Turns that one system is used for at most: by and by too much of it is deleted, and calls only fail.
const TURNS: u64 = 600;

/// Takes `count` turns, in as many systems as it takes, and answers how many calls of each label succeeded.
fn run(mut seed: u64, count: u64) -> BTreeMap<u64, u64> {
    let mut done = 0;
    let mut succeeded = BTreeMap::new();
    while done < count {
        seed += 1;
        let result = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            let steps = run.steps((count - done).min(TURNS));
            (steps, core::mem::take(&mut run.succeeded))
        });
        match result {
            Ok((steps, labels)) => {
                done += steps;
                for (label, times) in labels {
                    *succeeded.entry(label).or_default() += times;
                }
            }
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    succeeded
}

/// Labels that no capability takes.
const NOT_PROVIDED: [&str; 1] = [
    // The handler of a line of the two old interrupt controllers, which are masked: lines come by an IOAPIC.
    "IRQ_ISSUE_IRQ_HANDLER",
];

/// A run that only collects errors proves little.
fn expect_all(succeeded: &BTreeMap<u64, u64>) {
    let never: Vec<&str> = label::ALL
        .iter()
        .filter(|(_, label)| !succeeded.contains_key(label))
        .map(|&(name, _)| name)
        .collect();
    assert_eq!(never, NOT_PROVIDED, "operations that never succeeded");
}

/// Turns of each of the long tests; `UMBRA_RANDOM_STEPS` asks for others.
const STEPS: u64 = if cfg!(miri) { 50 } else { 250_000 };
/// Turns in which every operation succeeds.
const SHORT: u64 = if cfg!(miri) { 50 } else { 8000 };

fn long(seed: u64) {
    let steps = std::env::var("UMBRA_RANDOM_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok())
        .unwrap_or(STEPS);
    let succeeded = run(seed, steps);
    if steps >= SHORT && !cfg!(miri) {
        expect_all(&succeeded);
    }
}

#[test]
fn a_short_random_run_makes_every_operation_succeed() {
    let succeeded = run(0xabba_0000, SHORT);
    if !cfg!(miri) {
        expect_all(&succeeded);
    }
}

#[test]
fn a_quarter_of_a_million_random_turns_leave_every_invariant_standing() {
    long(0x5eed_0000);
}

#[test]
fn a_second_quarter_does_so_too() {
    long(0xfeed_0000);
}

#[test]
fn a_third_quarter_does_so_too() {
    long(0xbead_0000);
}

#[test]
fn the_last_quarter_of_a_million_does_so_too() {
    long(0xdeed_0000);
}
