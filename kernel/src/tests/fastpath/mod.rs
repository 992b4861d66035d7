//! The short ways against the long one: the same system call or fault is done both ways from the same state, and every byte
//! of memory and what the scheduler knows must be equal afterwards. The first system calls of every other test that have a
//! short way are compared so, too ([`compare_syscall`]).

mod messages;
mod reasons;
mod scene;
mod traffic;

use super::fake::FakeMachine;
use super::world::{MEMORY, World};
use crate::kernel::{Action, FpuOwner, Kernel};
use crate::machine::Next;
use crate::mem::{self, Ref};
use crate::object::vcpu::Tags;
use crate::object::{SchedContext, Tcb};
use core::cell::Cell;
use sel4_abi::fault;

type Tested = Kernel<FakeMachine>;

/// Comparisons a test makes by the way at most: each copies all of the memory.
const BY_THE_WAY: u64 = 10;
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

/// From now on this test makes comparisons by the way until it has made so many in all.
fn compare_until(most: u64) {
    MOST.with(|now| now.set(most));
}

/// How many comparisons this test has made.
fn compared_so_far() -> u64 {
    COMPARED.with(Cell::get)
}
