//! Threads: many that wait in one place, the longest message, what the kernel prints, and threads that cannot run.

#![allow(unsafe_code)] // two instructions as a thread's program

use super::{Stage, watch};
use crate::image::{
    kit::{Kit, at, none, path},
    priority,
};
use core::arch::global_asm;
use sel4::{
    CNodeCapData, CPtr, CapRights, CapTypeForObjectOfFixedSize, MessageInfo, RegisterFrame, Result,
    UserContext, cap, cap_type,
    init_thread::slot,
    sys::{self, syscall},
};

/// Threads that wait.
const WAITERS: usize = 1000;
const BADGE: u64 = 7;

/// Slots of the scene.
mod place {
    pub(super) const OBJECT: usize = 0;
    pub(super) const BADGED: usize = 1;
    pub(super) const THREADS: usize = 2;
}

// One system call, again and again, with the registers the thread was started with.
global_asm!(
    ".global umbra_bench_again",
    "umbra_bench_again:",
    "syscall",
    "jmp umbra_bench_again",
);

unsafe extern "C" {
    fn umbra_bench_again();
}

pub(super) fn measure(kit: &mut Kit, stage: &Stage) -> Result<()> {
    let time = kit.time()?;
    let endpoint = cap_type::Endpoint::object_blueprint();
    stage.make(endpoint, place::OBJECT, 1)?;
    waiters(stage, time, syscall::SEND, place::OBJECT)?;
    delete(stage, "delete-endpoint-1000-senders")?;
    stage.make(endpoint, place::OBJECT, 1)?;
    waiters(stage, time, syscall::WAIT, place::OBJECT)?;
    delete(stage, "delete-endpoint-1000-receivers")?;
    let notification = cap_type::Notification::object_blueprint();
    stage.make(notification, place::OBJECT, 1)?;
    waiters(stage, time, syscall::WAIT, place::OBJECT)?;
    delete(stage, "delete-notification-1000-waiters")?;
    for (name, cancelled) in [
        ("cancel-1000-badged-sends", BADGE),
        ("cancel-badged-sends-of-nobody", BADGE + 1),
    ] {
        stage.make(endpoint, place::OBJECT, 1)?;
        let (all, badged) = (
            CapRights::all(),
            path(at::<cap_type::Endpoint>(stage.slot(place::BADGED))),
        );
        let whole = path(at::<cap_type::Endpoint>(stage.slot(place::OBJECT)));
        badged.mint(&whole, all, BADGE)?;
        waiters(stage, time, syscall::SEND, place::BADGED)?;
        badged.delete()?;
        badged.mint(&whole, all, cancelled)?;
        watch(name, || badged.cancel_badged_sends())?;
        stage.clear()?;
    }
    nowhere(kit, stage)?;
    message(kit, stage, time)?;
    watch("debug-dump-scheduler", || {
        sel4::debug_dump_scheduler();
        Ok(())
    })
}

fn delete(stage: &Stage, name: &str) -> Result<()> {
    watch(name, || {
        path(at::<cap_type::Unspecified>(stage.slot(place::OBJECT))).delete()
    })?;
    stage.clear()
}

/// A thread that makes one call on a capability for ever, once it has time.
fn caller(tcb: cap::Tcb, call: i64, cap: usize) -> Result<()> {
    let nowhere = CPtr::from_bits(0);
    tcb.tcb_set_space(
        nowhere,
        slot::CNODE.cap(),
        CNodeCapData::skip(0),
        slot::VSPACE.cap(),
    )?;
    let authority = slot::TCB.cap();
    tcb.tcb_set_sched_params(authority, 0, priority::SERVER, none(), none())?;
    let mut registers = UserContext::from_inner(RegisterFrame {
        rip: umbra_bench_again as *const () as u64,
        rdx: call as u64,
        rdi: cap as u64,
        ..RegisterFrame::default()
    });
    tcb.tcb_write_all_registers(true, &mut registers)
}

/// Threads that each wait for the capability. They get the time one after another.
fn waiters(stage: &Stage, time: cap::SchedContext, call: i64, cap: usize) -> Result<()> {
    stage.make(cap_type::Tcb::object_blueprint(), place::THREADS, WAITERS)?;
    for n in 0..WAITERS {
        let tcb = at::<cap_type::Tcb>(stage.slot(place::THREADS + n));
        caller(tcb, call, stage.slot(cap))?;
        time.bind(tcb)?;
        time.unbind()?;
    }
    Ok(())
}

/// Threads that are ready and whose address space is gone: each faults when its turn comes.
fn nowhere(kit: &mut Kit, stage: &Stage) -> Result<()> {
    let bits = sys::object::MIN_SCHED_CONTEXT_BITS as usize;
    stage.make(cap_type::Endpoint::object_blueprint(), place::OBJECT, 1)?;
    stage.make(cap_type::PML4::object_blueprint(), place::BADGED, 1)?;
    stage.make(cap_type::Tcb::object_blueprint(), place::THREADS, WAITERS)?;
    let context =
        <cap_type::SchedContext as sel4::CapTypeForObjectOfVariableSize>::object_blueprint(bits);
    stage.make(context, place::THREADS + WAITERS, WAITERS)?;
    let space = at::<cap_type::PML4>(stage.slot(place::BADGED));
    slot::ASID_POOL.cap().asid_pool_assign(space)?;
    for n in 0..WAITERS {
        let tcb = at::<cap_type::Tcb>(stage.slot(place::THREADS + n));
        let sc = at::<cap_type::SchedContext>(stage.slot(place::THREADS + WAITERS + n));
        kit.lengthen(sc)?;
        tcb.tcb_set_space(
            CPtr::from_bits(0),
            slot::CNODE.cap(),
            CNodeCapData::skip(0),
            space,
        )?;
        let handler = at::<cap_type::Endpoint>(stage.slot(place::OBJECT));
        tcb.tcb_set_sched_params(slot::TCB.cap(), 0, priority::BELOW, sc, handler)?;
        tcb.tcb_resume()?;
    }
    path(space).revoke()?;
    watch("run-1000-threads-without-space", || {
        slot::TCB
            .cap()
            .tcb_set_priority(slot::TCB.cap(), priority::BELOW - 1)?;
        slot::TCB
            .cap()
            .tcb_set_priority(slot::TCB.cap(), priority::MAIN)
    })?;
    stage.clear()
}

/// A message of every word and three capabilities, of which one is moved, to a thread of higher priority.
fn message(kit: &mut Kit, stage: &Stage, time: cap::SchedContext) -> Result<()> {
    const RECEIVE_SLOT: [u64; 2] = [slot::CNODE.cptr().bits(), 64];
    /// Where the IPC buffer has the receive slot.
    const RECEIVE_WORD: usize = 125;
    stage.make(cap_type::Endpoint::object_blueprint(), place::OBJECT, 1)?;
    stage.make(cap_type::Reply::object_blueprint(), place::BADGED, 1)?;
    stage.make(cap_type::Tcb::object_blueprint(), place::THREADS, 1)?;
    let endpoint = at::<cap_type::Endpoint>(stage.slot(place::OBJECT));
    let tcb = at::<cap_type::Tcb>(stage.slot(place::THREADS));
    let buffer = kit.show()?;
    let [cnode, depth] = RECEIVE_SLOT;
    let receive = [cnode, stage.slot(place::THREADS + 1) as u64, depth];
    for (n, word) in receive.into_iter().enumerate() {
        buffer.write(RECEIVE_WORD + n, word);
    }
    caller(tcb, syscall::WAIT, stage.slot(place::OBJECT))?;
    tcb.tcb_set_ipc_buffer(buffer.address() as u64, buffer.frame)?;
    time.bind(tcb)?;
    watch("send-120-words-3-caps", || {
        sel4::with_ipc_buffer_mut(|buffer| {
            let caps = buffer.caps_or_badges_mut();
            caps.fill(endpoint.bits());
            caps[1] = stage.slot(place::BADGED) as u64;
        });
        endpoint.send(MessageInfo::new(0, 0, 3, sys::MSG_MAX_LENGTH));
        Ok(())
    })?;
    path(at::<cap_type::Reply>(stage.slot(place::THREADS + 1))).delete()?;
    stage.clear()
}
