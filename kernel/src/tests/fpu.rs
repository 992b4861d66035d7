//! The FPU: who has used it gets its state when it runs, and nobody else pays for it.

use super::world::{Thread, World};
use crate::fpu::FpuUse;
use crate::kernel::FpuOwner;
use crate::mem::Ref;
use crate::object::Tcb;
use sel4_abi::{label, syscall};
use words::x86::vector;

/// Three threads that run in turn.
fn three() -> (World, [Thread; 3]) {
    let mut w = World::new();
    let threads = [0; 3].map(|_| w.thread(100, true));
    threads.iter().for_each(|&thread| w.resume(thread));
    let gate = w.gate();
    w.wait(gate);
    (w, threads)
}

fn area(tcb: Ref<Tcb>) -> u64 {
    FpuOwner::thread(tcb)
        .area()
        .expect("a thread has one")
        .bits()
}

/// The running thread executes an instruction of the FPU. Whether it was an exception.
fn use_fpu(w: &mut World) -> bool {
    let asked = w.kernel.machine.task_switched;
    if asked {
        w.current()
            .context
            .entered_by
            .set(crate::context::entry::FULL);
        w.kernel.handle_exception(vector::NM, 0, 0);
        w.settle();
    }
    asked
}

/// The next thread's turn.
fn next(w: &mut World) -> Ref<Tcb> {
    w.syscall(syscall::YIELD);
    w.current()
}

#[test]
fn a_thread_that_has_used_the_fpu_gets_its_state_with_its_turn() {
    let (mut w, _) = three();
    let first = w.current();
    assert!(use_fpu(&mut w), "its first use is an exception");
    assert_eq!(w.current(), first, "it goes on");
    let second = next(&mut w);
    assert!(use_fpu(&mut w), "as the second one's is");
    let third = next(&mut w);
    assert!(w.kernel.machine.task_switched, "who has not used it asks");
    for (from, to) in [(second, first), (first, second)] {
        w.kernel.machine.fpu.clear();
        while w.current() != to {
            next(&mut w);
        }
        let moved = [("save", area(from)), ("restore", area(to))];
        assert_eq!(w.kernel.machine.fpu, moved);
        assert!(!use_fpu(&mut w), "it need not ask again");
    }
    assert_eq!(third.fpu_use.get(), FpuUse::Unused);
    w.check();
}

#[test]
fn the_registers_stay_where_nobody_else_uses_them() {
    let (mut w, _) = three();
    let user = w.current();
    use_fpu(&mut w);
    w.kernel.machine.fpu.clear();
    for _ in 0..6 {
        let tcb = next(&mut w);
        assert_eq!(w.kernel.machine.task_switched, tcb != user);
    }
    assert!(w.kernel.machine.fpu.is_empty());
    w.check();
}

#[test]
fn a_thread_that_may_not_use_the_fpu_faults_and_asks_again_once_it_may() {
    let mut w = World::new();
    let root = w.current();
    let flags = |w: &mut World, clear, set| {
        let words = [clear, set];
        w.call(
            sel4_abi::boot_info::slot::TCB,
            label::TCB_SET_FLAGS,
            &words,
            &[],
        )
        .ok()
    };
    use_fpu(&mut w);
    assert_eq!(flags(&mut w, 0, 0), [0], "nothing is changed");
    assert_eq!(root.fpu_use.get(), FpuUse::Used);
    w.kernel.machine.fpu.clear();
    assert_eq!(flags(&mut w, 0, 1), [1]);
    assert_eq!(w.kernel.machine.fpu, [("save", area(root))]);
    assert!(w.kernel.machine.task_switched);
    assert!(!w.kernel.fpu_first_use(), "it is its fault");
    assert_eq!(flags(&mut w, 1, 0), [0]);
    assert!(use_fpu(&mut w), "it asks for what it had");
    assert_eq!(w.kernel.machine.fpu[1..], [("restore", area(root))]);
    w.check();
}

#[test]
fn the_state_of_a_thread_that_is_gone_is_saved_nowhere() {
    let (mut w, threads) = three();
    let user = w.current();
    use_fpu(&mut w);
    w.kernel.machine.fpu.clear();
    w.interrupt();
    let gone = threads.iter().find(|thread| thread.tcb == user);
    w.delete(gone.expect("one of the three").cap);
    assert!(use_fpu(&mut w));
    assert_eq!(w.kernel.machine.fpu, [("restore", area(w.current()))]);
    w.check();
}
