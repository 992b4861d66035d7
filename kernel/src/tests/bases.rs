//! Threads that set FS.base and GS.base by instructions: what a thread set is its own, wherever it is asked for.

use super::fake::FakeMachine;
use super::vcpu::{long_mode, real_mode};
use super::world::{Thread, World};
use crate::machine::Next;
use sel4_abi::boot_info::slot as fixed;
use sel4_abi::{label, object, syscall};

/// A system on a processor that has the instructions.
fn world() -> World {
    let mut machine = FakeMachine::new();
    machine.threads_set_bases = true;
    World::with(machine)
}

/// A started thread of the highest priority beside the root task, which sleeps: the thread runs.
fn running(w: &mut World) -> (Thread, u64) {
    let gate = w.gate();
    let thread = w.thread(100, true);
    w.run(thread, gate);
    (thread, gate)
}

/// What a thread has been given, as others read it.
fn read(w: &mut World, thread: Thread) -> [u64; 2] {
    let words = w
        .call(thread.cap, label::TCB_READ_REGISTERS, &[0, 20], &[])
        .ok();
    [words[18], words[19]]
}

#[test]
fn bases_that_a_thread_sets_come_back_with_it_and_are_read_by_others() {
    let mut w = world();
    w.kernel.machine.bases = (1, 2);
    let (thread, gate) = running(&mut w);
    assert_eq!(w.kernel.machine.bases, (0, 0), "a new thread has none");
    w.kernel.machine.bases = (3, 4);
    w.interrupt();
    assert_eq!(w.kernel.machine.bases, (1, 2));
    assert_eq!(read(&mut w, thread), [3, 4]);
    w.kernel.machine.bases = (5, 6);
    w.wait(gate);
    w.expect_running(thread);
    assert_eq!(w.kernel.machine.bases, (3, 4));
    w.interrupt();
    assert_eq!(w.kernel.machine.bases, (5, 6));
    w.check();
}

#[test]
fn what_a_call_gives_a_thread_is_what_it_goes_on_with() {
    let mut w = world();
    w.kernel.machine.bases = (1, 2);
    w.call(fixed::TCB, label::TCB_SET_TLS_BASE, &[0x1000], &[])
        .ok();
    assert_eq!(w.kernel.machine.bases, (0x1000, 2));
    w.kernel.machine.bases = (3, 4);
    w.current().context.rdi.set(0x2000);
    w.syscall(syscall::SET_TLS_BASE);
    assert_eq!(w.kernel.machine.bases, (0x2000, 4));
    // Copied from the caller as it is, and to it.
    w.kernel.machine.bases = (5, 6);
    let thread = w.thread(100, false);
    w.call(thread.cap, label::TCB_COPY_REGISTERS, &[8], &[fixed::TCB])
        .ok();
    assert_eq!(read(&mut w, thread), [5, 6]);
    assert_eq!(w.kernel.machine.bases, (5, 6));
    w.call(thread.cap, label::TCB_SET_TLS_BASE, &[7], &[]).ok();
    w.call(fixed::TCB, label::TCB_COPY_REGISTERS, &[8], &[thread.cap])
        .ok();
    assert_eq!(w.kernel.machine.bases, (7, 6));
    w.check();
}

#[test]
fn a_short_call_and_its_answer_change_the_bases_too() {
    let mut w = world();
    let endpoint = w.make(object::ENDPOINT, 0);
    let server = w.thread(200, true);
    let gate = w.gate();
    w.run(server, gate);
    w.kernel.machine.bases = (1, 2);
    w.recv(endpoint, server.reply);
    w.interrupt();
    w.take_time(server);
    let client = w.thread(100, true);
    w.run(client, gate);
    w.kernel.machine.bases = (3, 4);
    w.message(0, &[], &[]);
    client.tcb.context.rdi.set(endpoint);
    assert!(w.kernel.fast_syscall(syscall::CALL).is_some());
    w.expect_running(server);
    assert_eq!(w.kernel.machine.bases, (1, 2));
    w.kernel.machine.bases = (5, 6);
    w.message(0, &[], &[]);
    server.tcb.context.rdi.set(endpoint);
    server.tcb.context.r12.set(server.reply);
    assert!(w.kernel.fast_syscall(syscall::REPLY_RECV).is_some());
    w.expect_running(client);
    assert_eq!(w.kernel.machine.bases, (3, 4));
    assert_eq!(server.tcb.context.fs_base.get(), 5);
    w.check();
}

#[test]
fn a_guests_turn_takes_nobodys_bases() {
    for make in [real_mode, long_mode] {
        let mut machine = make();
        machine.guest.world.kernel.machine.threads_set_bases = true;
        machine.start();
        // The server has waited, the guest runs: its exit brings the host's state of boot.
        machine.guest.world.kernel.machine.bases = (0, 0);
        machine.exit(words::svm::exit::CPUID);
        machine.guest.world.expect_running(machine.vmm);
        machine.guest.world.kernel.machine.bases = (8, 9);
        assert!(matches!(machine.answer(&[]), Next::Guest { .. }));
        machine.guest.world.kernel.machine.bases = (0, 0);
        machine.exit(words::svm::exit::CPUID);
        assert_eq!(machine.guest.world.kernel.machine.bases, (8, 9));
        let vcpu = machine.thread.tcb;
        assert_eq!(vcpu.context.fs_base.get(), 0, "the vCPU's thread set none");
    }
}

#[test]
fn a_deleted_threads_bases_go_nowhere() {
    let mut w = world();
    let (thread, _) = running(&mut w);
    w.kernel.machine.bases = (0x77, 0x88);
    let (fs_base, gs_base) = (&thread.tcb.context.fs_base, &thread.tcb.context.gs_base);
    w.message(label::CNODE_DELETE, &[thread.cap, 64], &[]);
    thread.tcb.context.rdi.set(fixed::CNODE);
    w.syscall(syscall::CALL);
    w.interrupt();
    // Whose memory it is now is not known.
    assert_eq!((fs_base.get(), gs_base.get()), (0, 0));
    w.check();
}

#[test]
fn without_the_instructions_a_thread_has_what_it_was_given() {
    let mut w = World::new();
    let (thread, gate) = running(&mut w);
    // By a selector: the kernel is not told.
    w.kernel.machine.bases = (0, 0);
    w.interrupt();
    w.call(thread.cap, label::TCB_SET_TLS_BASE, &[0x3000], &[])
        .ok();
    w.wait(gate);
    w.kernel.machine.bases = (9, 9);
    w.interrupt();
    w.wait(gate);
    assert_eq!(w.kernel.machine.bases, (0x3000, 0));
    w.check();
}
