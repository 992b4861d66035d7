//! The short ways against the long one: the same system call or fault is done both ways from the same state, and every byte
//! of memory and what the scheduler knows must be equal afterwards. Every system call of every other test comes through
//! [`compare_syscall`], too.

use super::fake::FakeMachine;
use super::world::{MEMORY, World};
use crate::kernel::{Action, FpuOwner, Kernel};
use crate::machine::Next;
use crate::mem::{self, Ref};
use crate::object::{SchedContext, Tcb};
use core::cell::Cell;
use sel4_abi::{label, object, syscall};

type Tested = Kernel<FakeMachine>;

/// Comparisons a test makes by the way at most: each copies all of the memory.
const BY_THE_WAY: u64 = 10;
/// Comparisons of the test that is about them.
const MANY: u64 = 150;

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
    bitmap: [u64; 4],
    release: Option<Ref<Tcb>>,
    fpu_owner: FpuOwner,
    loaded: (u64, u64),
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
                bitmap: queues.bitmap,
                release: queues.release.get(),
                fpu_owner: kernel.fpu_owner,
                loaded: (kernel.loaded_space, kernel.loaded_thread),
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
        kernel.queues.bitmap = old.bitmap;
        kernel.queues.release.set(old.release);
        kernel.fpu_owner = old.fpu_owner;
        (kernel.loaded_space, kernel.loaded_thread) = old.loaded;
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

/// Three passive servers, of which each calls those after it and the last handles everybody's faults, and three clients;
/// priorities, message lengths and who does what are random.
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
        w.call(server.sc, label::SCHED_CONTEXT_UNBIND, &[], &[])
            .ok();
        server
    });
    for _ in 0..3 {
        let client = w.thread(100 + 10 * numbers.below(4), true);
        w.set_handler(client, badged[2]);
        w.resume(client);
    }
    w.wait(gate);
    for _ in 0..60 {
        let current = w.current();
        if current.state.get() != crate::object::tcb::State::Running {
            break;
        }
        let words: Vec<u64> = (0..numbers.below(6)).map(|n| n * 7).collect();
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
            _ => {
                let vector = [6, 14][numbers.below(2) as usize];
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
        let compared = compare(
            &mut w.kernel,
            |kernel| kernel.fast_fault(class, &words),
            |kernel| {
                kernel.update_time();
                kernel.fault(kernel.current, class, &words);
            },
        );
        assert!(compared, "the exit has no short way");
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
